"""The contracts of an Optax transformation: each `check_x(case)` returns, or raises and says what is broken."""

import inspect
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
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
from jax.sharding import NamedSharding, PartitionSpec

PyTree = Any
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)
STEPS = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Transformation:
    """A public factory of transformations with the arguments that exercise it."""

    name: str
    function: Callable[..., optax.GradientTransformation]
    # What every call passes: required arguments, and values that let the checks see something move.
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # Float arguments that may be Python floats, traced scalars or injected; those that may be schedules as well.
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    schedules: tuple[str, ...] = ()
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Keywords that set the dtype of a moment, static keywords with another legal value, keywords of other cases.
    dtypes: tuple[str, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    # Extra arguments that `update` needs, as a train step gives them, from the parameters.
    extra: Callable[[PyTree], Mapping[str, Any]] | None = None
    # Arrays of parameter size that the state keeps for each parameter.
    moments: int = 0
    # Arrays of other shapes (rows, blocks, scales of codes) that it keeps for the three parameters of `parameters`,
    # together.
    statistics: int = 0
    # All arrays of the state that belong to one of the three parameters, where not each has all of the moments.
    marked: int | None = None
    # The dtype of the moments where it is neither float32 nor the parameters' own.
    moment_dtype: Any = None
    # Bytes of scalars in the state that the update writes without reading them: there is nothing to alias.
    unread: int = 0
    # These are float32 or wider; otherwise they are in the dtype of the parameters.
    wide_moments: bool = True
    # No temporary as large as a parameter is needed: each word of an update depends on those at its place alone, or on
    # a norm besides, for which they are read once more.
    elementwise: bool = True
    # The update is made of the gradient, whose buffer it takes; an estimate of the curvature is not.
    reads_gradient: bool = True
    # The update and a moment change places, gradient and old moment becoming moment and update: without parameters to
    # write to, one of them has to wait elsewhere.
    exchanges: bool = False
    faults: tuple[Fault, ...] = ()
    source: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stepped", {})
        object.__setattr__(self, "_scanned", {})

    def make(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        tx = optax.with_extra_args_support(call(self.function, {**self.arguments, **changes}))
        return tx if self.extra is None else given(tx, self.extra)

    def variants(self) -> dict[str, optax.GradientTransformationExtraArgs]:
        """As it comes, with all schedules, each low-precision moment and each switch."""
        value_of = {**self.hyperparameters, **self.arguments}
        scheduled = {name: lambda _, v=value_of[name]: jnp.float32(v) for name in self.schedules}
        return {
            "default": self.make(),
            **({"scheduled": self.make(**scheduled)} if scheduled else {}),
            **{f"{n}=bfloat16": self.make(**{n: jnp.bfloat16}) for n in self.dtypes},
            **self.switched(),
        }

    def switched(self) -> dict[str, optax.GradientTransformationExtraArgs]:
        return {f"{name}={value}": self.make(**{name: value}) for name, value in self.switches.items()}

    def stepped(self) -> dict[str, tuple[PyTree, int]]:
        """For every variant the state after three jitted updates of bfloat16 parameters, and the number of compiles."""
        if not self._stepped:  # type: ignore[attr-defined]
            params, grads = parameters(jnp.bfloat16), parameters(jnp.bfloat16, seed=1)
            for name, tx in self.variants().items():
                update, state = jax.jit(tx.update), tx.init(params)
                for _ in range(STEPS):
                    _, state = update(grads, state, params)
                self._stepped[name] = (state, update._cache_size())  # type: ignore[attr-defined]
        return self._stepped  # type: ignore[attr-defined]

    def scanned(self) -> dict[tuple[Any, str], tuple[PyTree, PyTree, PyTree] | TypeError]:
        """For every dtype and variant what `trajectory` returns, as shapes, or why the state is no scan carry."""
        with jax.enable_x64(True):
            for dtype, name in () if self._scanned else product(DTYPES, self.variants()):  # type: ignore[attr-defined]
                try:
                    run = partial(trajectory, self.variants()[name])
                    found = jax.eval_shape(run, parameters(dtype), gradients(dtype))
                except TypeError as error:
                    found = error
                self._scanned[dtype, name] = found  # type: ignore[attr-defined]
        return self._scanned  # type: ignore[attr-defined]


def given(
    tx: optax.GradientTransformationExtraArgs, extra: Callable[[PyTree], Mapping[str, Any]]
) -> optax.GradientTransformationExtraArgs:
    """`tx` whose update gets what it needs wherever the caller gives nothing of that name."""

    def update(updates: PyTree, state: PyTree, params: PyTree | None = None, **args: Any) -> tuple[PyTree, PyTree]:
        return tx.update(updates, state, params, **{**extra(params), **args})

    return optax.GradientTransformationExtraArgs(tx.init, update)


def parameters(dtype: Any = jnp.float32, seed: int = 0) -> PyTree:
    """A small tree with a matrix, a vector and a scalar; as gradients, with another seed."""
    generator = np.random.default_rng(seed)
    shapes = {"kernel": (4, 3), "bias": (3,), "scale": ()}
    return {name: jnp.asarray(generator.normal(size=shape), dtype) for name, shape in shapes.items()}


def gradients(dtype: Any = jnp.float32, steps: int = STEPS) -> PyTree:
    """Gradients of several steps, stacked."""
    return jax.tree.map(lambda *g: jnp.stack(g), *[parameters(dtype, seed=10 + step) for step in range(steps)])


def trajectory(tx: optax.GradientTransformation, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree, PyTree]:
    """Scan over stacked gradients: final parameters, final state, all updates."""

    def step(carry: tuple[PyTree, PyTree], grad: PyTree) -> tuple[tuple[PyTree, PyTree], PyTree]:
        params, state = carry
        updates, state = tx.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), updates

    (params, state), updates = jax.lax.scan(step, (params, tx.init(params)), grads)
    return params, state, updates


def run(tx: optax.GradientTransformation, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree, PyTree]:
    return jax.jit(lambda params, grads: trajectory(tx, params, grads))(params, grads)


def dtypes_of(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def nbytes(tree: PyTree) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree))


def check_case_is_complete(case: Transformation) -> None:
    """The case covers the signature, so that a keyword cannot arrive untested."""
    handled = {*case.arguments, *case.hyperparameters, *case.dtypes, *case.switches, *case.elsewhere}
    has_mask = "mask" in inspect.signature(case.function).parameters
    check_parameters_are_known(case.function, handled | ({"mask"} if has_mask else set()))


def check_dtypes_are_kept(case: Transformation) -> None:
    """Updates have the dtype of the parameters; moments are at least float32 unless a keyword says else."""
    for (dtype, name), found in case.scanned().items():
        if not isinstance(found, TypeError):
            for update in jax.tree.leaves(found[2]):
                assert update.dtype == dtype, f"{name}: {jnp.dtype(dtype)} parameters: {update}"
    with jax.enable_x64(True):
        for dtype in DTYPES:
            params = parameters(dtype)
            state = jax.eval_shape(case.make().init, params)
            kernels = [x for x in jax.tree.leaves(state) if x.shape == params["kernel"].shape]
            assert len(kernels) == case.moments, f"{len(kernels)} moments a parameter instead of {case.moments}"
            usual = jnp.promote_types(dtype, jnp.float32) if case.wide_moments else dtype
            expected = usual if case.moment_dtype is None else case.moment_dtype
            assert all(x.dtype == expected for x in kernels), f"{jnp.dtype(dtype)}: moments in {kernels[0].dtype}"


def check_moment_dtypes_are_obeyed(case: Transformation) -> None:
    """Each dtype keyword changes some moment, and the state keeps it."""
    for name in case.dtypes:
        tx, params = case.make(**{name: jnp.bfloat16}), parameters()
        state = jax.eval_shape(tx.init, params)
        _, after = jax.eval_shape(tx.update, parameters(seed=1), state, params)
        for when, moments in (("initial", state), ("updated", after)):
            low = [x for x in jax.tree.leaves(moments) if x.dtype == jnp.bfloat16]
            assert low, f"{name}=bfloat16: no {when} moment is bfloat16"


def check_state_is_dtype_stable_in_scan(case: Transformation) -> None:
    """init and update agree on the state's dtypes, for every parameter dtype and every variant."""
    for (dtype, name), found in case.scanned().items():
        if isinstance(found, TypeError):
            raise AssertionError(f"{name}: {jnp.dtype(dtype)}: the state is no scan carry: {found}") from found


def check_zero_gradients_are_finite(case: Transformation) -> None:
    """Three zero gradients, at zero and nonzero parameters, in float16 and float32."""
    for dtype in (jnp.float16, jnp.float32):
        tx, params = case.make(), parameters(dtype)
        update, zeros = jax.jit(tx.update), jax.tree.map(jnp.zeros_like, params)
        for start in (params, zeros):
            state = tx.init(start)
            for _ in range(STEPS):
                updates, state = update(zeros, state, start)
            all_finite((updates, state), f"zero gradients in {jnp.dtype(dtype)}")


def check_jit_equals_eager(case: Transformation) -> None:
    tx, params, grads = case.make(), parameters(), parameters(seed=1)
    state = tx.init(params)
    same(jax.jit(tx.update)(grads, state, params), tx.update(grads, state, params), "jit differs from eager")


def check_extra_arguments_are_accepted(case: Transformation) -> None:
    """In a chain whose other links need them, extra arguments change nothing."""
    params, grads = parameters(), parameters(seed=1)
    tx = optax.chain(case.make())
    extra = {"value": jnp.float32(1.0), "grad": grads, "value_fn": lambda p: 0.0, "obj_fn": None, "unheard_of": 1}
    if case.extra is not None:  # what it does need, it gets from the case
        extra = {name: value for name, value in extra.items() if name not in case.extra(params)}
    state = tx.init(params)
    same(tx.update(grads, state, params, **extra)[0], tx.update(grads, state, params)[0], "extra arguments matter")


def check_schedules_are_accepted(case: Transformation) -> None:
    """A constant schedule gives the updates of the number; one that moves after the first step is followed."""
    params, grads = {"kernel": parameters()["kernel"]}, {"kernel": gradients()["kernel"]}

    def updates(schedule: Any) -> list[jax.Array]:
        tx = case.make(**{name: schedule})
        state, collected = tx.init(params), []
        for step in range(STEPS):
            update, state = tx.update({"kernel": grads["kernel"][step]}, state, params)
            collected.append(update["kernel"])
        return collected

    for name in case.schedules:
        value = {**case.hyperparameters, **case.arguments}[name]
        number = updates(value)
        same(updates(optax.constant_schedule(value)), number, f"{name}: a constant schedule differs from the number")
        moving = updates(lambda count, value=value: jnp.where(count < 1, value, 0.5 * value))
        same(moving[0], number[0], f"{name}: the schedule does not start at step 0")
        assert not np.array_equal(moving[-1], number[-1]), f"{name}: the schedule never advances"


def check_hyperparameters_may_be_traced(case: Transformation) -> None:
    """A sweep over the floats is one vmap over the whole trajectory, and equals runs with Python floats."""
    params, grads = {"kernel": parameters()["kernel"]}, {"kernel": gradients()["kernel"]}
    base = {name: {**case.hyperparameters, **case.arguments}[name] for name in case.hyperparameters}
    runs = [base, *({**base, name: 0.75 * value} for name, value in base.items())]
    stacked = {name: jnp.asarray([values[name] for values in runs], jnp.float32) for name in base}
    sweep = jax.jit(jax.vmap(lambda values: trajectory(case.make(**values), params, grads)[2]))(stacked)["kernel"]
    for number, values in enumerate(runs):
        tx, state = case.make(**values), case.make(**values).init(params)
        for step in range(STEPS):
            updates, state = tx.update({"kernel": grads["kernel"][step]}, state, params)
            message = f"{values} traced differs from Python floats at step {step}"
            same(sweep[number, step], updates["kernel"], message, ulps=256)
            params = optax.apply_updates(params, updates)
        params = {"kernel": parameters()["kernel"]}


def check_inject_hyperparams(case: Transformation) -> None:
    """`optax.inject_hyperparams` gives the same updates, and a changed hyperparameter needs no second compile."""
    params, grads = parameters(), parameters(seed=1)
    values = {name: {**case.hyperparameters, **case.arguments}[name] for name in case.hyperparameters}
    static = tuple(name for name in inspect.signature(case.function).parameters if name not in values)
    other = {name: value for name, value in case.arguments.items() if name not in values}
    tx, plain = optax.inject_hyperparams(case.function, static_args=static)(**other, **values), case.make(**values)
    tx = tx if case.extra is None else given(tx, case.extra)
    state = tx.init(params)
    assert set(state.hyperparams) == set(values), f"injected {sorted(state.hyperparams)}"
    update = jax.jit(tx.update)
    expected = plain.update(grads, plain.init(params), params)[0]
    same(update(grads, state, params)[0], expected, "injected hyperparameters differ", ulps=256)
    for name in values:
        changed = state._replace(hyperparams={**state.hyperparams, name: 0.5 * state.hyperparams[name]})
        update(grads, changed, params)
    assert update._cache_size() <= 1, "a changed hyperparameter compiles again"


def check_masked_leaves_cost_nothing(case: Transformation) -> None:
    """Under `optax.masked` the masked leaf passes through, and the state holds nothing for it."""
    params, grads = parameters(), parameters(seed=1)
    tx = optax.masked(case.make(), {"kernel": False, "bias": True, "scale": True})
    state = tx.init(params)
    assert all(x.shape != params["kernel"].shape for x in jax.tree.leaves(state)), "a masked leaf has a moment"
    updates, after = jax.jit(tx.update)(grads, state, params)
    same(updates["kernel"], grads["kernel"], "a masked leaf was touched", ulps=0)
    assert dtypes_of(after) == dtypes_of(state)


def check_weight_decay_mask(case: Transformation) -> None:
    """`mask`, a tree or a function of the parameters, names the leaves that decay: the others keep a zero update."""
    params = parameters()
    zeros = jax.tree.map(jnp.zeros_like, params)
    mask = {"kernel": True, "bias": False, "scale": False}
    for given in (mask, lambda params: mask):
        tx = case.make(mask=given)
        updates, _ = tx.update(zeros, tx.init(params), params)
        np.testing.assert_array_equal(updates["bias"], 0.0, err_msg="a leaf outside the mask decays")
        assert np.all(np.asarray(updates["kernel"]) != 0.0), "a leaf in the mask does not decay"


def check_map_params(case: Transformation) -> None:
    """`optax.tree.map_params` finds every moment and nothing else."""
    params = parameters()
    tx = case.make()
    marked = optax.tree.map_params(tx, lambda _: "moment", tx.init(params))
    found = sum(leaf == "moment" for leaf in jax.tree.leaves(marked) if isinstance(leaf, str))
    expected = case.moments * len(params) + case.statistics if case.marked is None else case.marked
    assert found == expected, f"map_params found {found} moments instead of {expected}"


def check_apply_if_finite(case: Transformation) -> None:
    """A gradient that is not finite leaves the inner state as it was, and the next step goes on from there."""
    params, grads = parameters(), parameters(seed=1)
    tx = optax.apply_if_finite(case.make(), max_consecutive_errors=3)
    update = jax.jit(tx.update)
    bad = {**grads, "bias": grads["bias"].at[0].set(jnp.nan)}
    state = update(grads, tx.init(params), params)[1]
    updates, after = update(bad, state, params)
    same(after.inner_state, state.inner_state, "a NaN reached the state", ulps=0)
    assert not any(np.any(x) for x in jax.tree.leaves(updates)), "a NaN gradient moves the parameters"
    all_finite(update(grads, after, params), "after a NaN")


def check_multi_steps(case: Transformation) -> None:
    """`optax.MultiSteps(2)` of g - d and g + d does what one step with g does."""
    params, grads, shift = parameters(), parameters(seed=1), parameters(seed=2)
    single = case.make()
    multi = optax.MultiSteps(single, every_k_schedule=2)
    state = multi.init(params)
    update = jax.jit(multi.update)
    updates, state = update(jax.tree.map(jnp.subtract, grads, shift), state, params)
    assert not any(np.any(x) for x in jax.tree.leaves(updates)), "moved before the batch was complete"
    updates, state = update(jax.tree.map(jnp.add, grads, shift), state, params)
    expected = single.update(grads, single.init(params), params)[0]
    same(jax.tree.map(jnp.float32, updates), expected, "MultiSteps differs from one step", ulps=256)


def check_odd_leaves(case: Transformation) -> None:
    """Scalars, empty trees, None leaves and zero-size leaves."""
    odd = {"none": None, "empty": {}, "zero": jnp.zeros((0, 3)), "scalar": jnp.float32(1.0), "list": [jnp.ones(2)]}
    for params in (odd, {}, (), jnp.float32(2.0), jnp.ones((2, 0))):
        grads = jax.tree.map(lambda x: 0.1 + x, params)
        for name, tx in {"default": case.make(), **(case.switched() if params is odd else {})}.items():
            state = tx.init(params)
            for _ in range(2):
                updates, state = tx.update(grads, state, params)
            assert jax.tree.structure(updates) == jax.tree.structure(params), f"{name}: {params} gave {updates}"
            all_finite(updates, f"{name}: {params}")


def check_compiles_once(case: Transformation) -> None:
    """The state that comes out of an update is, to `jit`, the kind of state that went in."""
    for name, (_, compiles) in case.stepped().items():
        assert compiles == 1, f"{name}: compiled {compiles} times"


def check_donated_buffers_are_reused(case: Transformation) -> None:
    """A jitted step writes over every donated buffer, and needs no temporary as large as a parameter."""
    leaf = (64, 64)
    params = {"a": jnp.ones(leaf), "b": 2.0 * jnp.ones(leaf)}
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    tx = case.make()
    state = tx.init(params)

    def step(params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def update(grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        return tx.update(grads, state, params)

    uses = [(step, (params, state, grads)), (update, (grads, state, params))]
    for function, arguments in uses if case.reads_gradient else uses[:1]:
        memory = jax.jit(function, donate_argnums=(0, 1)).lower(*arguments).compile().memory_analysis()
        donated = nbytes(arguments[:2]) - case.unread
        assert memory.alias_size_in_bytes >= donated, f"{memory.alias_size_in_bytes} of {donated} bytes are aliased"
        if case.elementwise and not (case.exchanges and function is update):
            temporary, size = memory.temp_size_in_bytes, params["a"].nbytes
            assert temporary < size, f"{function.__name__}: {temporary} bytes of temporaries; a parameter has {size}"


def check_state_survives_flax_serialization(case: Transformation) -> None:
    """Restored over a fresh state, bit for bit, low-precision moments included."""
    for name, (state, _) in case.stepped().items():
        fresh = case.variants()[name].init(parameters(jnp.bfloat16))
        back = flax.serialization.from_bytes(fresh, flax.serialization.to_bytes(state))
        assert jax.tree.structure(back) == jax.tree.structure(state)
        assert_bits_equal(back, state, f"{name}: flax.serialization")


def check_state_survives_orbax(case: Transformation) -> None:
    """Saved and restored into the shapes of a fresh state, bit for bit."""
    states = {name: state for name, (state, _) in case.stepped().items()}
    fresh = {name: tx.init(parameters(jnp.bfloat16)) for name, tx in case.variants().items()}
    with tempfile.TemporaryDirectory() as folder, orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder) / "state", {"state": states, "step": jnp.int32(STEPS)})
        checkpointer.wait_until_finished()
        back = checkpointer.restore(Path(folder) / "state", {"state": fresh, "step": jnp.int32(0)})
    assert_bits_equal(back["state"], states, "Orbax")


def assert_bits_equal(actual: PyTree, expected: PyTree, message: str) -> None:
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).dtype == np.asarray(e).dtype, f"{message}: {a.dtype} instead of {e.dtype}"
        assert np.asarray(a).tobytes() == np.asarray(e).tobytes(), f"{message}: bits differ"


def check_sharded_parameters_give_sharded_states(case: Transformation) -> None:
    """On eight devices every moment is laid out as its parameter, from init on and after a jitted step."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    params = jax.device_put({"a": jnp.ones((16, 3)), "b": jnp.arange(8.0)}, split)
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    tx = case.make()
    state = tx.init(params)
    updates, after = jax.jit(tx.update)(grads, state, params)
    for when, tree in (("initial state", state), ("updates", updates), ("updated state", after)):
        for x in jax.tree.leaves(tree):
            if x.shape in {(16, 3), (8,)}:
                assert x.sharding.is_equivalent_to(split, x.ndim), f"{when}: {x.shape} laid out as {x.sharding}"
    alone = jax.tree.map(np.asarray, (params, grads))
    expected = jax.jit(tx.update)(alone[1], tx.init(alone[0]), alone[0])[0]
    same(jax.tree.map(np.asarray, updates), jax.tree.map(np.asarray, expected), "sharded updates differ")


def check_lowers_for_every_platform(case: Transformation) -> None:
    tx, params = case.make(), parameters()
    check_lowers_everywhere(tx.update, parameters(seed=1), tx.init(params), params)


def check_no_host_callback(case: Transformation) -> None:
    tx, params = case.make(), parameters()
    check_stays_on_device(tx.update, parameters(seed=1), tx.init(params), params)


def check_faults_are_named(case: Transformation) -> None:
    for name, values in case.refused.items():
        for value in (*values, float("nan")):
            Fault({name: value}, ValueError).check(case.function, case.arguments)
            Fault({name: jnp.float32(value)}, ValueError).check(case.function, case.arguments)
    for name in case.hyperparameters:
        Fault({name: "a string"}, TypeError).check(case.function, case.arguments)
    for fault in case.faults:
        fault.check(case.function, case.arguments)


def check_docstring(case: Transformation) -> None:
    check_documented(case.function, raises=bool(case.refused or case.faults), source=case.source)


def takes_mask(case: Transformation) -> bool:
    return "mask" in inspect.signature(case.function).parameters


CHECKS: dict[Callable[[Transformation], None], Callable[[Transformation], bool]] = {
    check_case_is_complete: lambda case: True,
    check_dtypes_are_kept: lambda case: True,
    check_moment_dtypes_are_obeyed: lambda case: bool(case.dtypes),
    check_state_is_dtype_stable_in_scan: lambda case: True,
    check_zero_gradients_are_finite: lambda case: True,
    check_jit_equals_eager: lambda case: True,
    check_extra_arguments_are_accepted: lambda case: True,
    check_schedules_are_accepted: lambda case: bool(case.schedules),
    check_hyperparameters_may_be_traced: lambda case: bool(case.hyperparameters),
    check_inject_hyperparams: lambda case: bool(case.hyperparameters),
    check_masked_leaves_cost_nothing: lambda case: True,
    check_weight_decay_mask: takes_mask,
    check_map_params: lambda case: True,
    check_apply_if_finite: lambda case: True,
    check_multi_steps: lambda case: True,
    check_odd_leaves: lambda case: True,
    check_compiles_once: lambda case: True,
    check_donated_buffers_are_reused: lambda case: True,
    check_state_survives_flax_serialization: lambda case: True,
    check_state_survives_orbax: lambda case: True,
    check_sharded_parameters_give_sharded_states: lambda case: True,
    check_lowers_for_every_platform: lambda case: True,
    check_no_host_callback: lambda case: True,
    check_faults_are_named: lambda case: bool(case.refused or case.faults or case.hyperparameters),
    check_docstring: lambda case: True,
}
# How a transformation lives with others and with storage: its static options have no part in that.
ONCE = {
    check_extra_arguments_are_accepted,
    check_schedules_are_accepted,
    check_inject_hyperparams,
    check_masked_leaves_cost_nothing,
    check_weight_decay_mask,
    check_apply_if_finite,
    check_multi_steps,
    check_state_survives_flax_serialization,
    check_state_survives_orbax,
    check_lowers_for_every_platform,
    check_no_host_callback,
}
# What is left to check of `scale_by_x` when `x`, which is made of it, passes everything.
INNER = {
    check_case_is_complete,
    check_dtypes_are_kept,
    check_moment_dtypes_are_obeyed,
    check_map_params,
    check_donated_buffers_are_reused,
    check_faults_are_named,
    check_docstring,
}
# What another version of JAX, Flax or Orbax may do otherwise; the rest is arithmetic.
NEWEST = {
    check_dtypes_are_kept,
    check_state_is_dtype_stable_in_scan,
    check_jit_equals_eager,
    check_inject_hyperparams,
    check_map_params,
    check_compiles_once,
    check_donated_buffers_are_reused,
    check_state_survives_flax_serialization,
    check_state_survives_orbax,
    check_sharded_parameters_give_sharded_states,
    check_lowers_for_every_platform,
    check_no_host_callback,
}
