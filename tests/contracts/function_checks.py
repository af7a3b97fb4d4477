"""The contracts of the other public functions (schedules, weightings, rules of thumb) and types."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import (
    LOW_PRECISION,
    Fault,
    all_finite,
    call,
    check_documented,
    check_lowers_everywhere,
    check_parameters_are_known,
    check_stays_on_device,
    same,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Function:
    """A public function with arguments (from a seed) that may be traced, and others that may not."""

    name: str
    function: Callable[..., Any]
    traced: Callable[[np.random.Generator], Mapping[str, Any]]
    static: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    # How the function is used with its arguments by name; a schedule's maker is called, and then its schedule.
    use: Callable[..., Any] = call
    # The shape of the result, or those of its leaves.
    shape: tuple[int, ...] = ()
    shapes: tuple[tuple[int, ...], ...] | None = None
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # The arrays among the traced arguments that have a gradient, and whether the result has their dtype.
    differentiable: tuple[str, ...] = ()
    keeps_dtype: bool = True
    # Floats among the arguments that must be numbers.
    numbers: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    source: bool = True
    # A function of Python numbers to a Python number, that runs on the host and is never traced.
    host: bool = False

    def example(self, seed: int = 0) -> dict[str, Any]:
        drawn = self.traced(np.random.default_rng(seed))
        return dict(drawn) if self.host else {name: jax.tree.map(jnp.asarray, x) for name, x in drawn.items()}

    def evaluate(self, traced: Mapping[str, Any]) -> Any:
        return self.use(self.function, {**self.static, **traced})

    def gradients(self, traced: Mapping[str, Any]) -> tuple[Any, Any]:
        """The value, and the pullback of a cotangent that weighs every entry differently."""
        moving = {name: traced[name] for name in self.differentiable}
        value, pullback = jax.vjp(lambda moving: self.evaluate({**traced, **moving}), moving)
        weights = jax.tree.map(lambda x: jnp.linspace(1.0, 2.0, x.size).reshape(x.shape).astype(x.dtype), value)
        return value, pullback(weights)[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Type:
    """A public type: a NamedTuple that is a pytree, or an alias."""

    name: str
    type: Any
    alias: bool = False


def check_case_is_complete(case: Function) -> None:
    known = {*case.traced(np.random.default_rng(0)), *case.static, *case.elsewhere}
    check_parameters_are_known(case.function, known & set(inspect.signature(case.function).parameters))


def check_returns_a_float32(case: Function) -> None:
    value = jax.tree.leaves(jax.eval_shape(case.evaluate, case.example()))
    shapes = (case.shape,) if case.shapes is None else case.shapes
    assert [(x.shape, x.dtype) for x in value] == [(shape, jnp.float32) for shape in shapes], f"returned {value}"
    all_finite(case.evaluate(case.example()), "value")


def check_returns_a_number(case: Function) -> None:
    """A Python float, the same for NumPy's numbers and for concrete arrays."""
    value = case.evaluate(case.example())
    assert isinstance(value, float), f"returned {value!r}"
    assert math.isfinite(value), f"returned {value!r}"
    for kind in (np.float64, jnp.asarray):
        given = {name: kind(x) if isinstance(x, float) else x for name, x in case.example().items()}
        same(case.evaluate(given), value, f"of {kind.__name__}")


def check_tracers_are_refused(case: Function) -> None:
    """With an error that names the argument, not one from the depths of a library."""
    for name in case.numbers:
        traced = functools.wraps(case.function)(
            lambda name=name: jax.jit(lambda x: case.evaluate({**case.example(), name: x}))(case.example()[name])
        )
        del traced.__wrapped__
        Fault({}, TypeError, (name,)).check(traced, {})


def check_jit_equals_eager(case: Function) -> None:
    eager = jax.tree.map(jnp.asarray, case.evaluate(case.example()))
    same(jax.jit(case.evaluate)(case.example()), eager, "jit differs from eager")


def check_vmap_equals_loop(case: Function) -> None:
    several = [case.example(seed) for seed in range(3)]
    together = jax.jit(jax.vmap(case.evaluate))(jax.tree.map(lambda *x: jnp.stack(x), *several))
    one = jax.jit(case.evaluate)
    apart = jax.tree.map(lambda *x: jnp.stack(x), *map(one, several))
    same(together, apart, "vmap differs from a loop", ulps=256)


def check_gradients(case: Function) -> None:
    """Gradients are finite and have their arguments' dtypes, and so has the value; jit and vmap change nothing."""
    eager, one = case.gradients(case.example()), jax.jit(case.gradients)
    all_finite(eager, "gradient")
    same(one(case.example()), eager, "gradient under jit differs from eager", ulps=256)
    several = [case.example(seed) for seed in range(2)]
    together = jax.jit(jax.vmap(case.gradients))(jax.tree.map(lambda *x: jnp.stack(x), *several))
    apart = jax.tree.map(lambda *x: jnp.stack(x), *map(one, several))
    same(together, apart, "gradient under vmap differs from a loop", ulps=256)
    for dtype in LOW_PRECISION:
        traced = case.example()
        moving = {name: traced[name] for name in case.differentiable}
        narrow = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), moving)
        value, gradients = jax.eval_shape(case.gradients, {**traced, **narrow})
        assert {x.dtype for x in jax.tree.leaves(gradients)} == {jnp.dtype(dtype)}, f"{jnp.dtype(dtype)}: {gradients}"
        expected = dtype if case.keeps_dtype else jnp.float32
        assert {x.dtype for x in jax.tree.leaves(value)} == {jnp.dtype(expected)}, f"{jnp.dtype(dtype)}: {value}"


def check_lowers_for_every_platform(case: Function) -> None:
    check_lowers_everywhere(case.gradients if case.differentiable else case.evaluate, case.example())


def check_no_host_callback(case: Function) -> None:
    check_stays_on_device(case.gradients if case.differentiable else case.evaluate, case.example())


def check_faults_are_named(case: Function) -> None:
    parameters = inspect.signature(case.function).parameters
    arguments = {n: x for n, x in {**case.example(), **case.static}.items() if n in parameters}
    for name, values in case.refused.items():
        for value in (*values, float("nan")):
            Fault({name: value}, ValueError).check(case.function, arguments)
    for name in case.numbers:
        Fault({name: "a string"}, TypeError).check(case.function, arguments)
    for fault in case.faults:
        fault.check(case.function, arguments)


def check_docstring(case: Function) -> None:
    check_documented(case.function, raises=bool(case.refused or case.faults), source=case.source)


def check_type(case: Type) -> None:
    """A NamedTuple is a pytree of its fields and says what they are; an alias can be called with."""
    if case.alias:
        assert case.type is not None
        return
    assert issubclass(case.type, tuple), f"{case.name} is no NamedTuple"
    instance = case.type(*range(len(case.type._fields)))
    assert jax.tree.leaves(instance) == list(range(len(case.type._fields)))
    text = inspect.getdoc(case.type) or ""
    assert not text.startswith(f"{case.name}("), f"{case.name}: no docstring"
    if len(case.type._fields) > 1:
        for name in case.type._fields:
            assert name in text, f"{case.name}: the docstring does not mention {name}"


CHECKS: dict[Callable[[Function], None], Callable[[Function], bool]] = {
    check_case_is_complete: lambda case: True,
    check_returns_a_float32: lambda case: not case.host,
    check_returns_a_number: lambda case: case.host,
    check_tracers_are_refused: lambda case: case.host,
    check_jit_equals_eager: lambda case: not case.host,
    check_vmap_equals_loop: lambda case: not case.host,
    check_gradients: lambda case: bool(case.differentiable),
    check_lowers_for_every_platform: lambda case: not case.host,
    check_no_host_callback: lambda case: not case.host,
    check_faults_are_named: lambda case: bool(case.refused or case.numbers or case.faults),
    check_docstring: lambda case: True,
}
TYPE_CHECKS: dict[Callable[[Type], None], Callable[[Type], bool]] = {check_type: lambda case: True}
