"""The contracts of an objective: each `check_x(case)` returns, or raises and says what is broken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from jax.sharding import PartitionSpec

Arguments = dict[str, Any]
Shape = tuple[int, ...]
SHARDS = 8


def per_entry(batch: Shape) -> Shape:
    """One value per entry of the batch: the returned shape of a separable loss, and the shape of its mask."""
    return batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Objective:
    """One public function with the arguments that exercise it; the contracts that apply follow from its fields."""

    name: str
    function: Callable[..., jax.Array]
    # From a generator and a batch shape to named NumPy arguments: floating ones are cast to the dtype under test.
    arguments: Callable[[np.random.Generator, Shape], Mapping[str, Any]]
    differentiable: tuple[str, ...]
    batches: tuple[Shape, ...] = ((4,), (2, 3), ())
    shape: Callable[[Shape], Shape] = per_entry
    # The arguments whose leading axes are those of `where`; empty for functions that take no mask.
    masked: tuple[str, ...] = ()
    mask_shape: Callable[[Shape], Shape] = per_entry
    # The argument that holds integer ids below `classes`; `probabilities`: it may also hold [..., classes] floats.
    ids: str | None = None
    classes: int = 0
    probabilities: bool = True
    # Float keywords, with the values of a sweep and with values that must be refused.
    hyperparameters: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Static keywords this case sets, and static keywords that other cases of the same function set.
    options: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    # Legal inputs at the edge: arguments that replace those of the first batch.
    degenerate: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    # The order to which derivatives are checked against finite differences.
    smooth: int = 2
    # Whether the value of the others stays what it is when masked entries are taken away instead.
    removable: bool = True
    # Takes `axis_name`: under `shard_map` it stands for the global batch.
    coupled: bool = False
    # Integer inputs are numbers to this function, not a mistake.
    integers: bool = False
    source: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", {})

    def example(self, dtype: Any = jnp.float32, *, batch: Shape | None = None, seed: int = 0) -> Arguments:
        batch = self.batches[0] if batch is None else batch
        return cast(self.arguments(np.random.default_rng(seed), batch), dtype)

    def label_kinds(self, arguments: Arguments) -> Iterator[Arguments]:
        yield arguments
        if self.ids and self.probabilities:
            one_hot = np.asarray(arguments[self.ids])[..., None] == np.arange(self.classes)
            yield {**arguments, self.ids: jnp.asarray(one_hot, arguments[self.differentiable[0]].dtype)}

    def value_and_gradients(self, arguments: Arguments, cotangent: jax.Array | None = None) -> tuple[Any, Arguments]:
        """The value, and the pullback of a cotangent that weighs every returned entry differently."""
        fixed = {name: x for name, x in arguments.items() if name not in self.differentiable}

        def function(moving: Arguments) -> jax.Array:
            return call(self.function, {**fixed, **moving}, **self.options)

        value, pullback = jax.vjp(function, {name: arguments[name] for name in self.differentiable})
        return value, pullback(weights_of(value) if cotangent is None else cotangent.astype(value.dtype))[0]

    def compiled(self, arguments: Arguments, cotangent: jax.Array | None = None) -> tuple[Any, Arguments]:
        """`value_and_gradients`, compiled once per kind of arguments and shared by the checks."""
        jitted = self._compiled.setdefault("function", jax.jit(self.value_and_gradients))  # type: ignore[attr-defined]
        return jitted(arguments, cotangent)


def cast(arguments: Mapping[str, Any], dtype: Any) -> Arguments:
    def leaf(x: Any) -> jax.Array:
        x = np.asarray(x)
        return jnp.asarray(x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x)

    return {name: leaf(x) for name, x in arguments.items()}


def weights_of(value: jax.Array) -> jax.Array:
    return jnp.linspace(1.0, 2.0, value.size).reshape(value.shape).astype(value.dtype)


def some_mask(shape: Shape, seed: int = 0) -> np.ndarray:
    """A mask with entries of both kinds (of the kept kind alone, where there is only one entry)."""
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask.reshape(-1)[:1] = False
    mask.reshape(-1)[-1:] = True
    return mask


def holes(mask: Any, x: Any) -> np.ndarray:
    """Where `x`, whose leading axes are those of the mask, is masked out."""
    return np.broadcast_to(~np.asarray(mask).reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)


def poisoned(case: Objective, arguments: Arguments, mask: Any, poison: float) -> Arguments:
    """Masked floats become the poison, masked ids a number far outside the classes."""
    result = dict(arguments)
    for name in case.masked:
        x = arguments[name]
        bad = poison if jnp.issubdtype(x.dtype, jnp.inexact) else (-100 if np.isnan(poison) else np.iinfo(np.int32).max)
        result[name] = jnp.asarray(np.where(holes(mask, x), np.asarray(bad, x.dtype), np.asarray(x)))
    return result


def check_case_is_complete(case: Objective) -> None:
    """The case covers the signature, and a loss takes `where`."""
    handled = set(case.arguments(np.random.default_rng(0), case.batches[0])) | set(case.hyperparameters)
    handled |= set(case.options) | set(case.elsewhere)
    handled |= ({"where"} if case.masked else set()) | ({"axis_name"} if case.coupled else set())
    check_parameters_are_known(case.function, handled)
    assert set(case.refused) <= set(case.hyperparameters)


def check_returned_shape_and_dtype(case: Objective) -> None:
    """The documented shape for every batch shape; float32 for 16-bit inputs, float64 for float64."""
    expected = {jnp.float16: jnp.float32, jnp.bfloat16: jnp.float32, jnp.float32: jnp.float32, jnp.float64: jnp.float64}
    combinations = [(dtype, case.batches[0]) for dtype in expected]
    combinations += [(jnp.float32, batch) for batch in case.batches[1:]]
    with jax.enable_x64(True):
        for given, batch in combinations:
            for arguments in case.label_kinds(case.example(given, batch=batch)):
                value, gradients = jax.eval_shape(case.value_and_gradients, arguments)
                assert value.shape == case.shape(batch), f"returned {value.shape} instead of {case.shape(batch)}"
                assert value.dtype == expected[given], f"{jnp.dtype(given)} in gave {value.dtype}"
                for name, gradient in gradients.items():
                    assert gradient.dtype == given, f"gradient of {name} is {gradient.dtype}"


def check_low_precision_is_computed_in_float32(case: Objective) -> None:
    """16-bit inputs give what the same numbers give as float32 inputs: nothing is accumulated in 16 bits."""
    programs = {  # the float16 one is that of the degenerate inputs
        jnp.float16: lambda arguments: case.compiled(arguments)[0],
        jnp.bfloat16: jax.jit(lambda arguments: call(case.function, arguments, **case.options)),
    }
    for dtype, value in programs.items():
        arguments = case.example(dtype)
        wide = case.compiled(cast(arguments, jnp.float32))[0]
        same(value(arguments), wide, f"{jnp.dtype(dtype)} accumulates in 16 bits")


def check_masked_entries_change_nothing(case: Objective) -> None:
    """Masked entries may hold anything; they have value 0 and gradient 0, and the others do not notice."""
    batch = case.batches[0]
    mask = some_mask(case.mask_shape(batch))
    for arguments in case.label_kinds(case.example(batch=batch)):
        value, gradients = case.compiled({**arguments, "where": mask})
        all_finite((value, gradients), "with a mask")
        for poison in (np.nan, np.inf, -np.inf):
            spoilt = case.compiled({**poisoned(case, arguments, mask, poison), "where": mask})
            same(spoilt, (value, gradients), f"masked {poison} leaks", ulps=0)
        if case.shape(batch) == mask.shape:
            np.testing.assert_array_equal(np.asarray(value)[~mask], 0.0, err_msg="a masked value is not 0")
        for name in set(case.masked) & set(gradients):
            masked_gradient = np.asarray(gradients[name])[holes(mask, gradients[name])]
            np.testing.assert_array_equal(masked_gradient, 0.0, err_msg=f"masked gradient of {name}")


def check_masking_equals_removing(case: Objective) -> None:
    """What is left of a masked batch equals the batch without the masked examples, in value and gradient."""
    mask = some_mask(case.mask_shape(case.batches[0]))
    arguments = case.example()
    value, gradients = case.compiled({**arguments, "where": mask})
    per_entry_value = value.shape == mask.shape
    cotangent = jnp.asarray(np.asarray(weights_of(value))[mask]) if per_entry_value else None

    def kept(arrays: Arguments) -> Arguments:
        return {name: jnp.asarray(np.asarray(x)[mask]) if name in case.masked else x for name, x in arrays.items()}

    actual = (jnp.asarray(np.asarray(value)[mask]) if per_entry_value else value, kept(gradients))
    same(actual, case.compiled(kept(arguments), cotangent), "masking is not removing")


def check_full_mask_changes_nothing(case: Objective) -> None:
    arguments = case.example()
    everything = np.ones(case.mask_shape(case.batches[0]), bool)
    same(case.compiled({**arguments, "where": everything}), case.compiled(arguments), "where=True differs from no mask")


def check_empty_mask_is_finite(case: Objective) -> None:
    """Nothing left: the value is finite (0 per entry), the gradient 0, even where all inputs are NaN."""
    nothing = np.zeros(case.mask_shape(case.batches[0]), bool)
    for arguments in case.label_kinds(case.example()):
        value, gradients = case.compiled({**poisoned(case, arguments, nothing, np.nan), "where": nothing})
        all_finite(value, "value under an empty mask")
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(np.asarray(gradient), 0.0, err_msg=f"{name} under an empty mask")


def check_label_kinds_agree(case: Objective) -> None:
    """Integer ids and their one-hot probabilities give the same value and gradient."""
    ids, one_hot = case.label_kinds(case.example())
    same(case.compiled(ids), case.compiled(one_hot), "ids and one-hot probabilities differ")


def check_degenerate_inputs_are_finite(case: Objective) -> None:
    """Finite value and gradient at every legal edge in float32, and in float16 where it has the example's shapes."""
    for name, changes in case.degenerate.items():
        for dtype in (jnp.float32, jnp.float16):
            example = case.example(dtype)
            arguments = {**example, **cast(changes, dtype)}
            if dtype == jnp.float32 or jax.tree.map(jnp.shape, arguments) == jax.tree.map(jnp.shape, example):
                all_finite(case.compiled(arguments), f"{name} ({jnp.dtype(dtype)})")


def check_jit_equals_eager(case: Objective) -> None:
    arguments = case.example()
    eager = call(case.function, arguments, **case.options)
    same(case.compiled(arguments)[0], eager, "jit differs from eager")


def check_vmap_equals_loop(case: Objective) -> None:
    examples = [case.example(seed=seed) for seed in range(3)]
    together = jax.jit(jax.vmap(case.value_and_gradients))(jax.tree.map(lambda *x: np.stack(x), *examples))
    apart = jax.tree.map(lambda *x: np.stack(x), *[case.compiled(example) for example in examples])
    same(together, apart, "vmap differs from a loop")


def check_derivatives(case: Objective) -> None:
    """Forward and reverse derivatives in float64 against central differences; second ones where the case is smooth."""
    eps = 1e-5
    with jax.enable_x64(True):
        arguments = case.example(jnp.float64)
        moving = {name: arguments[name] for name in case.differentiable}
        random = np.random.default_rng(0)
        direction = {name: jnp.asarray(random.standard_normal(x.shape)) for name, x in moving.items()}

        def function(moving: Arguments) -> jax.Array:
            value = call(case.function, {**arguments, **moving}, **case.options)
            return jnp.sum(weights_of(value) * value)

        def reverse(moving: Arguments) -> tuple[jax.Array, Any]:
            """The value, and the gradient where that is to be differentiated again."""
            return jax.value_and_grad(function)(moving) if case.smooth > 1 else (function(moving), ())

        @jax.jit
        def derivatives(moving: Arguments, direction: Arguments) -> tuple[Any, Any, Any]:
            points = {
                name: jnp.stack([x + eps * direction[name], x - eps * direction[name]]) for name, x in moving.items()
            }
            differences = jax.tree.map(lambda y: (y[0] - y[1]) / (2 * eps), jax.lax.map(reverse, points))
            forward = jax.jvp(reverse, (moving,), (direction,))[1]
            gradient = jax.grad(function)(moving)
            return differences, forward, sum(jnp.vdot(gradient[name], direction[name]) for name in moving)

        differences, forward, projected = derivatives(moving, direction)
        for mode, found in {"forward": forward, "reverse": (projected, forward[1])}.items():
            for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(differences), strict=True):
                np.testing.assert_allclose(
                    a, e, rtol=1e-4, atol=1e-5, err_msg=f"{mode} mode: not the finite difference"
                )


def check_hyperparameters_may_be_traced(case: Objective) -> None:
    """A sweep over the float keywords is one `vmap`, gradients included, and equals a loop over Python floats."""
    arguments = case.example()
    base = {name: values[-1] for name, values in case.hyperparameters.items()}
    rows = [{**base, name: value} for name, values in case.hyperparameters.items() for value in values]
    stacked = {name: jnp.asarray([row[name] for row in rows], jnp.float32) for name in base}
    sweep = jax.jit(jax.vmap(lambda row: case.value_and_gradients({**arguments, **row})))
    values, gradients = sweep(stacked)
    all_finite(gradients, "gradients of a sweep")
    for row, value in zip(rows, values):
        concrete = call(case.function, {**arguments, **row}, **case.options)
        same(value, concrete, f"traced {row} differs from Python floats")


def check_faults_are_named(case: Objective) -> None:
    """Static faults raise, and the message names the function and the argument; the case adds to the general ones."""
    arguments = case.example()
    for fault in (*general_faults(case), *case.faults):
        fault.check(case.function, {**arguments, **case.options})


def check_labels_out_of_range_are_nan(case: Objective) -> None:
    """An id outside [0, classes) makes its own value NaN and leaves the others as they are."""
    arguments = case.example()
    value = np.ravel(case.compiled(arguments)[0])
    for wrong in (case.classes, -1, -100, np.iinfo(np.int32).max):
        ids = np.array(arguments[case.ids])
        ids.reshape(-1)[0] = wrong
        spoilt = np.ravel(case.compiled({**arguments, case.ids: jnp.asarray(ids)})[0])
        assert np.isnan(spoilt[0]), f"label {wrong} gave {spoilt[0]}, not NaN"
        same(spoilt[1:], value[1:], f"label {wrong} changes other examples")


def check_nothing_broadcasts(case: Objective) -> None:
    """Arguments that share a batch must have it in full: size 1, a missing axis or one more axis is refused."""
    arguments = {**case.example(), **case.options}
    for name in paired(case):
        given = np.asarray(arguments[name])
        for wrong in (given[:1], given[:, None], given[None]):
            Fault({name: jnp.asarray(wrong)}, words=()).check(case.function, arguments)


def check_shards_equal_global_batch(case: Objective) -> None:
    """Under `shard_map` with `axis_name`, value and gradient equal those of the whole batch, masked or not."""
    mesh = jax.make_mesh((SHARDS,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    batch = (2 * SHARDS, *case.batches[0][1:])
    split, whole = PartitionSpec("data"), PartitionSpec()
    for where in (None, some_mask(case.mask_shape(batch))):
        arguments = case.example(batch=batch)
        if where is not None:
            arguments = {**poisoned(case, arguments, where, np.nan), "where": jnp.asarray(where)}
        specs = {name: split if name in case.masked or name == "where" else whole for name in arguments}
        sharded = jax.shard_map(
            lambda arguments: call(case.function, arguments, axis_name="data", **case.options),
            mesh=mesh,
            in_specs=(specs,),
            out_specs=split if case.shape(batch) == batch else whole,
        )

        def outside(arguments: Arguments, sharded: Callable[..., Any] = sharded) -> tuple[Any, Arguments]:
            fixed = {name: x for name, x in arguments.items() if name not in case.differentiable}
            moving = {name: arguments[name] for name in case.differentiable}
            value, pullback = jax.vjp(lambda moving: sharded({**fixed, **moving}), moving)
            return value, pullback(weights_of(value))[0]

        expected = case.compiled(arguments)
        same(jax.jit(outside)(arguments), expected, "shards differ from the global batch", ulps=128)
        if case.shape(batch) == ():
            inside = jax.shard_map(
                lambda arguments: case.value_and_gradients({**arguments, "axis_name": "data"}),
                mesh=mesh,
                in_specs=(specs,),
                out_specs=(whole, {name: specs[name] for name in case.differentiable}),
            )
            same(jax.jit(inside)(arguments), expected, "gradient inside the shards differs", ulps=128)


def check_lowers_for_every_platform(case: Objective) -> None:
    arguments = case.example()
    where = {"where": np.ones(case.mask_shape(case.batches[0]), bool)} if case.masked else {}
    check_lowers_everywhere(case.value_and_gradients, {**arguments, **where})


def check_no_host_callback(case: Objective) -> None:
    for arguments in case.label_kinds(case.example()):
        check_stays_on_device(case.value_and_gradients, arguments)


def check_docstring(case: Objective) -> None:
    check_documented(case.function, raises=bool(list(general_faults(case)) or case.faults), source=case.source)


def paired(case: Objective) -> tuple[str, ...]:
    """The arguments with a batch that another argument has too, if the batch is one the checks can spoil."""
    batched = tuple(name for name in case.masked if case.example()[name].ndim)
    return batched if len(batched) > 1 else ()


def general_faults(case: Objective) -> Iterator[Fault]:
    """What every objective must refuse: integer predictions, masks of the wrong kind, hyperparameters out of range."""
    for name in case.differentiable:
        if not case.integers:
            yield Fault({name: lambda x: jnp.ones(x.shape, jnp.int32)}, TypeError, (name, "int32"))
        yield Fault({name: "a string"}, TypeError)
    if case.masked:
        shape = case.mask_shape(case.batches[0])
        yield Fault({"where": np.ones(shape, np.float32)}, TypeError, ("where", "float32"))
        yield Fault({"where": np.ones((7, *shape), bool)}, ValueError, ("where", ", ".join(map(str, (7, *shape)))))
        if shape:
            yield Fault({"where": np.ones((*shape[:-1], shape[-1] + 1), bool)}, ValueError)
            yield Fault({"where": np.ones((*shape[:-1], 1), bool)}, ValueError)
    if case.ids:
        yield Fault({case.ids: lambda x: x[..., None, None]}, ValueError)
    for name, values in case.refused.items():
        for value in (*values, np.nan):
            yield Fault({name: value}, ValueError)
            yield Fault({name: jnp.float32(value)}, ValueError)
    for name in case.hyperparameters:
        yield Fault({name: "a string"}, TypeError)


CHECKS: dict[Callable[[Objective], None], Callable[[Objective], bool]] = {
    check_case_is_complete: lambda case: True,
    check_returned_shape_and_dtype: lambda case: True,
    check_low_precision_is_computed_in_float32: lambda case: True,
    check_masked_entries_change_nothing: lambda case: bool(case.masked),
    check_masking_equals_removing: lambda case: bool(case.masked) and case.removable,
    check_full_mask_changes_nothing: lambda case: bool(case.masked),
    check_empty_mask_is_finite: lambda case: bool(case.masked),
    check_label_kinds_agree: lambda case: case.ids is not None and case.probabilities,
    check_degenerate_inputs_are_finite: lambda case: bool(case.degenerate),
    check_jit_equals_eager: lambda case: True,
    check_vmap_equals_loop: lambda case: True,
    check_derivatives: lambda case: case.smooth > 0,
    check_hyperparameters_may_be_traced: lambda case: bool(case.hyperparameters),
    check_faults_are_named: lambda case: True,
    check_labels_out_of_range_are_nan: lambda case: case.ids is not None,
    check_nothing_broadcasts: lambda case: bool(paired(case)),
    check_shards_equal_global_batch: lambda case: case.coupled,
    check_lowers_for_every_platform: lambda case: True,
    check_no_host_callback: lambda case: True,
    check_docstring: lambda case: True,
}
# A function's other cases set static options, which change what is computed but not how eagerly.
ONCE = {check_jit_equals_eager}
# What another version of JAX may do otherwise, arithmetic at the edges included: its code is not made by the emitters
# that make it here.
NEWEST = {
    check_returned_shape_and_dtype,
    check_degenerate_inputs_are_finite,
    check_vmap_equals_loop,
    check_shards_equal_global_batch,
    check_lowers_for_every_platform,
    check_no_host_callback,
}
