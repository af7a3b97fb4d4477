"""The contracts of an aggregator: each `check_x(case)` returns, or raises and says what is broken."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
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

PyTree = Any
DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)
TASKS = 3


def task_gradients(dtype: Any = jnp.float32, seed: int = 0, tasks: int = TASKS) -> PyTree:
    """Gradients that conflict: centred over the tasks and then shifted a little."""
    return _drawn({"kernel": (4, 2), "bias": (2,), "scale": ()}, dtype, seed, tasks)


def output_gradients(dtype: Any = jnp.float32, seed: int = 0, tasks: int = TASKS) -> PyTree:
    """Those of losses with respect to an output, whose leaves share a batch axis."""
    return _drawn({"kernel": (4, 2), "bias": (4,), "scale": (4, 1, 2)}, dtype, seed, tasks)


def _drawn(shapes: Mapping[str, tuple[int, ...]], dtype: Any, seed: int, tasks: int) -> PyTree:
    generator = np.random.default_rng(seed)

    def leaf(*shape: int) -> jax.Array:
        drawn = generator.normal(size=(tasks, *shape))
        return jnp.asarray(drawn - 0.9 * drawn.mean(axis=0) * (tasks > 1), dtype)

    return {name: leaf(*shape) for name, shape in shapes.items()}


def one_task(stacked: PyTree) -> PyTree:
    return jax.tree.map(lambda g: g[0] if jnp.ndim(g) else g, stacked)


def task_number(stacked: PyTree) -> int:
    """The leading axis of the first leaf; `TASKS` where there is none."""
    shapes = [jnp.shape(g) for g in jax.tree.leaves(stacked)]
    return shapes[0][0] if shapes and shapes[0] else TASKS


@dataclass(frozen=True, eq=False, kw_only=True)
class Aggregator:
    """A public factory of aggregators with the arguments that exercise it."""

    name: str
    function: Callable[..., optax.GradientTransformation]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Static keywords with another legal value, for three tasks, and keywords of other cases.
    switches: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    # For a number of tasks, the arguments that follow it, and the extra arguments that the update needs.
    sized: Callable[[int], Mapping[str, Any]] = lambda tasks: {}
    extra: Callable[[int], Mapping[str, Any]] = lambda tasks: {}
    gradients: Callable[..., PyTree] = task_gradients
    # What its paper promises: the order of the tasks does not matter (False: it does for more than two tasks, through
    # chance; None: always); the result harms no task, up to `conflict` relative to the norms; without conflict it is
    # `agreed` (sum or mean, None for neither) of the gradients; of one task it is `alone` times the gradient g, or
    # `alone |g|^(degree - 1) g` where the result is of another degree in the scale of the gradients than 1 (None: of
    # another direction).
    permutation_invariant: bool | None = True
    conflict: float | None = None
    agreed: str | None = "mean"
    alone: float | Callable[[PyTree], float] | None = 1.0
    degree: float = 1.0
    # The fewest tasks that the method can do with.
    fewest: int = 1
    faults: tuple[Fault, ...] = ()
    # The aggregator inside of this one, which names the faults of the gradients.
    inner: Callable[..., optax.GradientTransformation] | None = None

    def make(self, tasks: int = TASKS, **changes: Any) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(call(self.function, {**self.always(tasks), **changes}))

    def always(self, tasks: int = TASKS) -> dict[str, Any]:
        """The arguments that every call passes."""
        return {**self.arguments, **self.sized(tasks)}

    def aggregate(self, stacked: PyTree, extra: Mapping[str, Any] | None = None, **changes: Any) -> PyTree:
        tasks = task_number(stacked)
        tx = self.make(tasks, **changes)
        extra = self.extra(tasks) if extra is None else extra
        return tx.update(stacked, tx.init(one_task(stacked)), **extra)[0]

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", jax.jit(self.aggregate))  # shared by the checks


def matrix(stacked: PyTree) -> np.ndarray:
    """All gradients as one float64 matrix `[T, P]`."""
    return np.concatenate([np.asarray(g, np.float64).reshape(len(g), -1) for g in jax.tree.leaves(stacked)], axis=1)


def vector(tree: PyTree) -> np.ndarray:
    return matrix(jax.tree.map(lambda g: g[None], tree))[0]


def check_case_is_complete(case: Aggregator) -> None:
    known = {*case.always(), *case.hyperparameters, *case.switches, *case.elsewhere}
    check_parameters_are_known(case.function, known)


def check_tasks_become_one_gradient(case: Aggregator) -> None:
    """`[T, ...]` to `[...]` in the same dtype, for every T and dtype."""
    with jax.enable_x64(True):
        for dtype in DTYPES:
            for tasks in {1, 2, TASKS} - set(range(case.fewest)):
                stacked = case.gradients(dtype, tasks=tasks)
                aggregate = jax.eval_shape(case.aggregate, stacked)
                for path, leaf in jax.tree_util.tree_leaves_with_path(aggregate):
                    expected = one_task(stacked)[path[0].key]
                    assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype), f"{tasks} {dtype}: {leaf}"


def check_one_task_is_left_alone(case: Aggregator) -> None:
    assert case.alone is not None
    stacked = case.gradients(tasks=1)
    multiple = case.alone(stacked) if callable(case.alone) else case.alone
    multiple *= float(np.linalg.norm(matrix(stacked))) ** (case.degree - 1)
    expected = jax.tree.map(lambda g: multiple * g[0], stacked)
    same(case.compiled(stacked), expected, "T = 1 changes the gradient")


def check_agreeing_tasks_are_combined(case: Aggregator) -> None:
    """Without conflict the result is the mean, or the sum, of the gradients."""
    stacked = jax.tree.map(jnp.abs, case.gradients())
    reduce = {"mean": jnp.mean, "sum": jnp.sum}[str(case.agreed)]
    expected = jax.tree.map(lambda g: reduce(g, axis=0), stacked)
    same(case.compiled(stacked), expected, f"not the {case.agreed} of gradients that agree", ulps=256)


def check_no_task_is_harmed(case: Aggregator) -> None:
    """The inner product with every task's gradient is not negative."""
    assert case.conflict is not None
    for seed in range(5):
        stacked = case.gradients(seed=seed)
        jacobian, result = matrix(stacked), vector(case.compiled(stacked))
        allowed = case.conflict * np.linalg.norm(jacobian, axis=1).max() * np.linalg.norm(result)
        assert (jacobian @ result >= -allowed).all(), f"harms a task: {jacobian @ result}, allowed {-allowed}"


def check_order_of_tasks_does_not_matter(case: Aggregator) -> None:
    tasks = TASKS if case.permutation_invariant else 2
    stacked = case.gradients(tasks=tasks)
    reordered = jax.tree.map(lambda g: g[::-1], stacked)
    aggregate, extra = case.compiled, case.extra(tasks)
    swapped = aggregate(reordered, jax.tree.map(lambda x: x[::-1], extra))
    same(swapped, aggregate(stacked, extra), "the order of the tasks matters", ulps=512)


def check_zero_gradients_are_finite(case: Aggregator) -> None:
    """All zero gives zero; one task with a zero gradient, and equal or opposite tasks, stay finite. Also in float16."""
    for dtype in (jnp.float16, jnp.float32):
        stacked, aggregate = case.gradients(dtype), case.compiled
        zeros = aggregate(jax.tree.map(jnp.zeros_like, stacked))
        assert not vector(zeros).any(), f"zero gradients gave {zeros}"
        all_finite(aggregate(jax.tree.map(lambda g: g.at[1].set(0), stacked)), "one zero gradient")
        all_finite(aggregate(jax.tree.map(lambda g: g.at[1].set(g[0]), stacked)), "equal gradients")
        all_finite(aggregate(jax.tree.map(lambda g: g.at[1].set(-g[0]), stacked)), "opposite gradients")


def check_non_finite_gradients_show(case: Aggregator) -> None:
    """A NaN or inf in one task never gives a plausible gradient: whoever skips such steps must see it."""
    aggregate = case.compiled
    for bad in (jnp.nan, jnp.inf):
        stacked = case.gradients()
        result = vector(aggregate({**stacked, "bias": stacked["bias"].at[1, 0].set(bad)}))
        assert not np.isfinite(result).all(), f"{bad} in one task became {result}"


def check_jit_equals_eager(case: Aggregator) -> None:
    stacked = case.gradients()
    same(case.compiled(stacked), case.aggregate(stacked), "jit differs from eager", ulps=256)
    for name, value in case.switches.items():
        switched = lambda stacked, name=name, value=value: case.aggregate(stacked, **{name: value})
        result = switched(stacked)
        same(jax.jit(switched)(stacked), result, f"{name}={value}: jit differs from eager", ulps=256)
        assert not np.array_equal(vector(result), vector(case.compiled(stacked))), f"{name} does nothing"


def check_vmap_equals_loop(case: Aggregator) -> None:
    several = [case.gradients(seed=seed) for seed in range(3)]
    together = jax.jit(jax.vmap(case.aggregate))(jax.tree.map(lambda *g: jnp.stack(g), *several))
    aggregate = case.compiled
    apart = jax.tree.map(lambda *g: jnp.stack(g), *[aggregate(one) for one in several])
    same(together, apart, "vmap differs from a loop", ulps=512)


def check_hyperparameters_may_be_traced(case: Aggregator) -> None:
    """A sweep over the floats is one vmap, and equals a loop over Python floats."""
    stacked, base = case.gradients(), dict(case.hyperparameters)
    rows = [base, *({**base, name: 2 * value} for name, value in base.items())]
    traced = {name: jnp.asarray([row[name] for row in rows], jnp.float32) for name in base}
    sweep = jax.jit(jax.vmap(lambda row: case.aggregate(stacked, **row)))(traced)
    apart = [case.aggregate(stacked, **row) for row in rows]
    same(sweep, jax.tree.map(lambda *g: jnp.stack(g), *apart), "vmap differs from a loop", ulps=512)


def check_chains_with_an_optimizer(case: Aggregator) -> None:
    """First link of an Optax chain, in a scan: the carry keeps its dtypes, extra arguments pass, one compile."""
    extra = case.extra(TASKS)
    for dtype in (jnp.bfloat16, jnp.float32):
        params = one_task(case.gradients(dtype))
        tx = optax.chain(case.make(), optax.adamw(1e-2))

        @jax.jit
        def train(params: PyTree, state: PyTree, tx: Any = tx, dtype: Any = dtype) -> PyTree:
            def step(carry: PyTree, _: None) -> tuple[PyTree, None]:
                params, state = carry
                updates, state = tx.update(case.gradients(dtype), state, params, value=jnp.float32(1.0), **extra)
                return (optax.apply_updates(params, updates), state), None

            return jax.lax.scan(step, (params, state), length=2)[0]

        state = tx.init(params)
        for _ in range(2):
            params, state = train(params, state)
        all_finite(params, "after an Optax chain")
        assert train._cache_size() <= 1, "the state compiles the chain again"


def check_odd_leaves(case: Aggregator) -> None:
    """None leaves, empty trees and zero-size leaves."""
    zero = jnp.zeros((TASKS, *case.gradients()["bias"].shape[1:], 0, 3))
    odd = {"none": None, "empty": {}, "zero": zero, **case.gradients()}
    for stacked in (odd, {}, ()):
        result = case.aggregate(stacked)
        assert jax.tree.structure(result) == jax.tree.structure(stacked), f"{stacked} became {result}"
    same({name: case.aggregate(odd)[name] for name in case.gradients()}, case.aggregate(case.gradients()))


def check_state_survives_flax_serialization(case: Aggregator) -> None:
    tx = case.make()
    state = tx.update(case.gradients(), tx.init(one_task(case.gradients())), **case.extra(TASKS))[1]
    back = flax.serialization.from_bytes(tx.init(one_task(case.gradients())), flax.serialization.to_bytes(state))
    same(back, state, "flax.serialization", ulps=0)


def check_sharded_gradients_stay_sharded(case: Aggregator) -> None:
    """Gradients split along a parameter axis give the same numbers, split in the same way."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    stacked = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(TASKS, 16, 2)), jnp.float32)}
    placed = jax.device_put(stacked, jax.sharding.NamedSharding(mesh, spec(None, "data")))
    result = case.compiled(placed)
    same(jax.tree.map(np.asarray, result), jax.tree.map(np.asarray, case.compiled(stacked)), ulps=512)
    split = jax.sharding.NamedSharding(mesh, spec("data"))
    assert result["kernel"].sharding.is_equivalent_to(split, 2), f"laid out as {result['kernel'].sharding}"


def check_lowers_for_every_platform(case: Aggregator) -> None:
    check_lowers_everywhere(case.aggregate, case.gradients())


def check_no_host_callback(case: Aggregator) -> None:
    check_stays_on_device(case.aggregate, case.gradients())


def check_faults_are_named(case: Aggregator) -> None:
    """Hyperparameters out of range, and gradients without a common task axis."""
    for name, values in case.refused.items():
        for value in (*values, float("nan")):
            Fault({name: value}, ValueError).check(case.function, case.always())
    for name in case.hyperparameters:
        Fault({name: "a string"}, TypeError).check(case.function, case.always())
    for fault in case.faults:
        fault.check(case.function, case.always())
    for stacked in ({"w": jnp.float32(1.0)}, {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}):
        aggregate = functools.wraps(case.inner or case.function)(lambda stacked: case.aggregate(stacked))
        Fault({"stacked": stacked}, words=()).check(aggregate, {})


def check_extra_arguments_are_asked_for(case: Aggregator) -> None:
    """Without an extra argument that it needs, or with one of another length, the update says which and whose."""
    extra = case.extra(TASKS)
    for name in extra:
        for given in (None, extra[name][1:]):
            aggregate = functools.wraps(case.function)(lambda extra: case.aggregate(case.gradients(), extra))
            Fault({"extra": {**extra, name: given}}, ValueError, words=(name,)).check(aggregate, {})


def check_docstring(case: Aggregator) -> None:
    check_documented(case.function, raises=True, source=True)


CHECKS: dict[Callable[[Aggregator], None], Callable[[Aggregator], bool]] = {
    check_case_is_complete: lambda case: True,
    check_tasks_become_one_gradient: lambda case: True,
    check_one_task_is_left_alone: lambda case: case.fewest == 1 and case.alone is not None,
    check_agreeing_tasks_are_combined: lambda case: case.agreed is not None,
    check_no_task_is_harmed: lambda case: case.conflict is not None,
    check_order_of_tasks_does_not_matter: lambda case: case.permutation_invariant is not None,
    check_zero_gradients_are_finite: lambda case: True,
    check_non_finite_gradients_show: lambda case: True,
    check_jit_equals_eager: lambda case: True,
    check_vmap_equals_loop: lambda case: True,
    check_hyperparameters_may_be_traced: lambda case: bool(case.hyperparameters),
    check_chains_with_an_optimizer: lambda case: True,
    check_odd_leaves: lambda case: True,
    check_state_survives_flax_serialization: lambda case: True,
    check_sharded_gradients_stay_sharded: lambda case: True,
    check_lowers_for_every_platform: lambda case: True,
    check_no_host_callback: lambda case: True,
    check_faults_are_named: lambda case: True,
    check_extra_arguments_are_asked_for: lambda case: bool(case.extra(TASKS)),
    check_docstring: lambda case: True,
}
