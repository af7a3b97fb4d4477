"""The contracts of a gradient rule: each `check_x(case)` returns, or raises and says what is broken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
from contracts.common import (
    Fault,
    all_finite,
    call,
    check_documented,
    check_lowers_everywhere,
    check_parameters_are_known,
    check_stays_on_device,
    same,
)

import optimizers

PyTree = Any
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class GradientRule:
    """A public gradient rule, or (with `factory`) a function that makes one."""

    name: str
    function: Callable[..., Any]
    factory: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    schedules: tuple[str, ...] = ()
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    switches: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    # The loss is a vector of task losses, and each leaf of the gradient has them along its leading axis.
    per_task: bool = False
    # The loss is a vector of task losses, and the gradient is one, of a number made of them.
    vector_loss: bool = False
    # The loss is a vector with one entry an example, and the value is its mean.
    loss_of_examples: bool = False
    # The loss is an array of errors, one an output, and the value is their mean.
    per_output: bool = False
    # The value is the loss of each example, and each leaf of the gradient has them along its leading axis.
    per_example: bool = False
    # The leaves with tasks or examples along their leading axis, by path, where that is not all of them.
    stacked: Callable[[str], bool] = lambda path: True
    # Settings under which a rule that adds noise adds none.
    quiet: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    source: bool = True

    def make(self, **changes: Any) -> Callable[..., Any]:
        return without_state(call(self.function, {**self.arguments, **changes})) if self.factory else self.function

    @property
    def stateful(self) -> bool:
        return self.factory and isinstance(call(self.function, self.arguments), optimizers.StatefulRule)

    def variants(self, **changes: Any) -> dict[str, Callable[..., Any]]:
        switched = {f"{n}={v}": self.make(**{n: v, **changes}) for n, v in self.switches.items()}
        return {"default": self.make(**changes), **switched}

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", {})

    def compiled(self) -> dict[str, Callable[..., Any]]:
        """The variants with aux, jitted; the checks share what is compiled."""
        if not self._compiled:
            for name, rule in self.variants().items():
                self._compiled[name] = jax.jit(rule(self.loss_and_aux, True))
        return self._compiled

    def loss(
        self, params: PyTree, batch: PyTree, key: jax.Array | None = None, *, shift: Any = 0.0, teacher: PyTree = None
    ) -> jax.Array:
        """A mean over examples (or two of them, both positive, or what it is the mean of) that is no quadratic."""
        del teacher
        predictions = jnp.tanh(batch["x"] @ params["kernel"] + params["bias"] + shift)
        errors = jnp.square(predictions - batch["y"])
        if self.loss_of_examples:
            return jnp.mean(errors, axis=-1) * params["scale"]
        if self.per_output:
            return errors * params["scale"]
        mean = jnp.mean(errors) * params["scale"]
        return jnp.stack([mean, jnp.mean(jnp.square(predictions))]) if self.per_task or self.vector_loss else mean

    def loss_and_aux(
        self, params: PyTree, batch: PyTree, key: jax.Array | None = None, **keywords: Any
    ) -> tuple[jax.Array, PyTree]:
        return self.loss(params, batch, key, **keywords), {"mean": jnp.mean(batch["x"]), "none": None}

    def value(self, params: PyTree, batch: PyTree, *rest: Any, **keywords: Any) -> jax.Array:
        """The value that the rule has to return."""
        if self.loss_of_examples or self.per_output:
            return jnp.mean(self.loss(params, batch, *rest, **keywords))
        if not self.per_example:
            return self.loss(params, batch, *rest, **keywords)
        one = lambda example: self.loss(params, jax.tree.map(lambda x: x[None], example), *rest, **keywords)
        return jax.vmap(one)(batch)

    def value_and_aux(self, params: PyTree, batch: PyTree, *rest: Any) -> tuple[jax.Array, PyTree]:
        return self.value(params, batch, *rest), self.loss_and_aux(params, batch, *rest)[1]


def without_state(rule: Any) -> Callable[..., Any]:
    """A stateful rule as a stateless one that is always at its first step; any other rule as it is."""
    if not isinstance(rule, optimizers.StatefulRule):
        return rule

    def stateless(loss_fn: Callable[..., Any], has_aux: bool = False) -> Callable[..., Any]:
        value_and_grad = rule.rule(loss_fn, has_aux)
        return lambda params, *args, **kwargs: value_and_grad(params, *args, state=rule.init(params), **kwargs)[:2]

    return stateless


def parameters(dtype: Any = jnp.float32, seed: int = 0) -> PyTree:
    generator = np.random.default_rng(seed)
    kernel, bias = generator.normal(size=(3, 2)), generator.normal(size=(2,))
    return {"kernel": jnp.asarray(kernel, dtype), "bias": jnp.asarray(bias, dtype), "scale": jnp.asarray(2.0, dtype)}


def examples(dtype: Any = jnp.float32, seed: int = 0) -> PyTree:
    generator = np.random.default_rng(seed)
    return {"x": jnp.asarray(generator.normal(size=(4, 3)), dtype), "y": jnp.asarray(generator.random((4, 2)), dtype)}


def arguments(dtype: Any = jnp.float32, seed: int = 0) -> tuple[PyTree, PyTree, jax.Array]:
    """Parameters, a batch, and the key that rules draw from."""
    return parameters(dtype, seed), examples(dtype, seed), jax.random.key(seed)


def check_case_is_complete(case: GradientRule) -> None:
    known = {*case.arguments, *case.hyperparameters, *case.switches, *case.elsewhere}
    check_parameters_are_known(case.function, known if case.factory else {"loss_fn", "has_aux"})


def check_is_a_drop_in(case: GradientRule) -> None:
    """With and without aux: structure, shapes and dtypes are those of `jax.value_and_grad` (or of a Jacobian)."""
    with jax.enable_x64(True):
        for dtype in DTYPES:
            params, *rest = arguments(dtype)
            for name, rule in case.variants().items():
                kinds = (case.loss, case.value, False), (case.loss_and_aux, case.value_and_aux, True)
                for loss_fn, value_fn, has_aux in kinds:
                    value, gradient = jax.eval_shape(rule(loss_fn, has_aux), params, *rest)
                    expected = jax.eval_shape(value_fn, params, *rest)
                    assert jax.tree.map(describe, value) == jax.tree.map(describe, expected), f"{name}: value {value}"
                    tasks = (expected[0] if has_aux else expected).shape if case.per_task or case.per_example else ()
                    shapes = {
                        path: ((tasks if case.stacked(path) else ()) + x.shape, x.dtype) for path, x in params.items()
                    }
                    assert jax.tree.map(describe, gradient) == shapes, f"{name}: gradient {gradient} of {params}"


def describe(x: Any) -> tuple[Any, Any]:
    return (x.shape, x.dtype)


def check_visible_parameters_are_not_perturbed(case: GradientRule) -> None:
    """The value and aux are those of the loss at the given parameters, wherever the gradient is taken."""
    for name, value_and_grad in case.compiled().items():
        value, _ = value_and_grad(*arguments())
        same(value, case.value_and_aux(*arguments()), f"{name}: value or aux of other parameters")


def check_jit_equals_eager(case: GradientRule) -> None:
    for name, rule in case.variants().items():
        eager = rule(case.loss_and_aux, True)(*arguments())
        same(case.compiled()[name](*arguments()), eager, f"{name}: jit differs from eager")


def check_vmap_equals_loop(case: GradientRule) -> None:
    """Several models on several batches at once."""
    for name, rule in case.variants().items():
        value_and_grad = rule(case.loss_and_aux, True)
        several = [arguments(seed=seed) for seed in range(3)]
        together = jax.jit(jax.vmap(value_and_grad))(*jax.tree.map(lambda *x: jnp.stack(x), *several))
        apart = [case.compiled()[name](*one) for one in several]
        same(together, jax.tree.map(lambda *x: jnp.stack(x), *apart), f"{name}: vmap differs from a loop")


def check_arguments_reach_the_loss(case: GradientRule) -> None:
    """Keywords and keys reach the loss; `step` is taken by the rule."""

    def loss_fn(params: PyTree, batch: PyTree, key: jax.Array, *, shift: float, **others: Any) -> Any:
        return case.loss(params, batch, shift=shift + 0.0 * jax.random.normal(key))

    value_and_grad = jax.jit(case.make()(loss_fn))
    value, gradient = value_and_grad(*arguments(), shift=0.5, step=jnp.int32(3))
    same(value, case.value(parameters(), examples(), shift=0.5), "keywords do not reach the loss")
    all_finite(gradient, "gradient")


def check_zero_gradients_are_finite(case: GradientRule) -> None:
    """A loss that does not depend on the parameters: gradients zero, in float16 as well, where there is no noise."""
    for dtype in (jnp.float16, jnp.float32):
        for name, rule in case.variants(**case.quiet).items():
            constant = lambda params, batch, key, **others: jax.tree.map(
                lambda x: 0 * x, case.loss(params, batch, key, **others)
            )
            gradient = jax.jit(rule(constant))(*arguments(dtype))[1]
            assert not any(np.any(np.asarray(g, np.float32)) for g in jax.tree.leaves(gradient)), f"{name}: {gradient}"


def check_hyperparameters_may_be_traced(case: GradientRule) -> None:
    for name, value in case.hyperparameters.items():
        last = 0.25 * value if 0.0 in case.refused.get(name, ()) else 0.0
        values = jnp.asarray([value, 0.5 * value, last])
        at = lambda v, name=name: case.make(**{name: v})(case.loss)(*arguments())
        apart = [jax.jit(lambda v=float(v), at=at: at(v))() for v in values]
        same(jax.jit(jax.vmap(at))(values), jax.tree.map(lambda *x: jnp.stack(x), *apart), f"vmap over {name}")


def check_schedules_are_accepted(case: GradientRule) -> None:
    """A schedule is read at the `step` given."""
    for name in case.schedules:
        value = case.hyperparameters[name]
        scheduled = jax.jit(case.make(**{name: lambda step, v=value: v * (step + 1)})(case.loss))
        for step in (0, 2):
            expected = jax.jit(case.make(**{name: value * (step + 1)})(case.loss))(*arguments())
            same(scheduled(*arguments(), step=step), expected, f"{name} at step {step}")


def check_compiles_once(case: GradientRule) -> None:
    value_and_grad = jax.jit(case.make()(case.loss))
    for seed in range(3):
        value_and_grad(*arguments(seed=seed), step=jnp.int32(seed))
    assert value_and_grad._cache_size() <= 1, f"compiled {value_and_grad._cache_size()} times"


def check_odd_leaves(case: GradientRule) -> None:
    """None leaves, empty subtrees and zero-size leaves among the parameters."""
    params = {**parameters(), "none": None, "empty": {}, "zero": jnp.zeros((0, 3))}
    for name, rule in case.variants().items():
        gradient = rule(case.loss)(params, *arguments()[1:])[1]
        assert jax.tree.structure(gradient) == jax.tree.structure(params), f"{name}: {gradient}"


def check_state_survives(case: GradientRule) -> None:
    """The state keeps structure, shapes and dtypes in a scan; flax.serialization brings it back bit for bit."""
    stateful = call(case.function, case.arguments)
    value_and_grad = stateful.rule(case.loss)
    params, *rest = arguments()

    def step(state: PyTree, _: None) -> tuple[PyTree, None]:
        return value_and_grad(params, *rest, state=state, step=jnp.int32(0))[2], None

    state = jax.jit(lambda: jax.lax.scan(step, stateful.init(params), length=2)[0])()
    all_finite(state, "state")
    restored = flax.serialization.from_bytes(stateful.init(params), flax.serialization.to_bytes(state))
    same(restored, state, "flax.serialization", ulps=0)


def check_lowers_for_every_platform(case: GradientRule) -> None:
    check_lowers_everywhere(case.make()(case.loss_and_aux, True), *arguments())


def check_no_host_callback(case: GradientRule) -> None:
    check_stays_on_device(case.make()(case.loss), *arguments())


def check_faults_are_named(case: GradientRule) -> None:
    for name, values in case.refused.items():
        for value in (*values, float("nan")):
            Fault({name: value}, ValueError).check(case.function, case.arguments)
    for name in case.hyperparameters:
        Fault({name: "a string"}, TypeError).check(case.function, case.arguments)
    for fault in case.faults:
        fault.check(case.function, case.arguments)


def check_docstring(case: GradientRule) -> None:
    check_documented(case.function, raises=bool(case.refused or case.faults), source=case.source)


CHECKS: dict[Callable[[GradientRule], None], Callable[[GradientRule], bool]] = {
    check_case_is_complete: lambda case: True,
    check_is_a_drop_in: lambda case: True,
    check_visible_parameters_are_not_perturbed: lambda case: True,
    check_jit_equals_eager: lambda case: True,
    check_vmap_equals_loop: lambda case: True,
    check_arguments_reach_the_loss: lambda case: True,
    check_zero_gradients_are_finite: lambda case: True,
    check_hyperparameters_may_be_traced: lambda case: bool(case.hyperparameters),
    check_schedules_are_accepted: lambda case: bool(case.schedules),
    check_compiles_once: lambda case: True,
    check_odd_leaves: lambda case: True,
    check_state_survives: lambda case: case.stateful,
    check_lowers_for_every_platform: lambda case: True,
    check_no_host_callback: lambda case: True,
    check_faults_are_named: lambda case: bool(case.refused or case.faults or case.hyperparameters),
    check_docstring: lambda case: True,
}
