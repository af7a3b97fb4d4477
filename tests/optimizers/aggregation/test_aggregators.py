"""What every aggregator owes: one table, held to the properties of its method and to the conventions of optax."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import optimizers
from optimizers import aggregation


@dataclass(frozen=True, kw_only=True)
class Aggregator:
    make: Callable
    counts: bool = False  # it takes the number of tasks
    # gramian -> weights, with as little regularization as the method allows; without, the last of so many updates with
    # the same gradients
    exact: Callable | None = None
    steps: int = 1
    agreeing: Callable | None = (
        None  # T -> the aggregate of gradients that do not conflict, as a multiple of their mean
    )
    equal: Callable  # T -> that of equal gradients
    vanishing: Callable | None = lambda tasks: 1  # T -> that of gradients whose squares vanish, or T of them
    alone: float = 1.0  # the multiple of a single gradient
    opposite: float = 0.0  # the multiple of the first of two that are opposite
    beside_zero: tuple[float, float] | None  # the aggregate of (0, 0), (1, 0) and (-1, 1)
    non_conflicting_tasks: int = 99  # up to so many tasks the aggregate conflicts with none
    permutation_tasks: int = 99  # up to so many tasks their order does not matter (beyond, only on average)
    roles: bool = False  # the order says which task is which, so that it matters
    fewest: int = 1  # tasks that it needs
    linear: bool = True  # linear under scaling of the gradients
    degree: float | None = 1.0  # of homogeneity in all gradients together; a multiple above is of |g|^(degree - 1) g
    # What makes the aggregate 0: "weak", that a convex combination of the gradients is; "strong", that one of positive
    # weights is, and nothing less; "without the last", that one of the other gradients is; None, not even that does
    # always.
    zero_at: str | None = None
    spreads_nan: bool = True  # to every entry
    squares_all: bool = True  # a gradient whose square overflows gives NaN
    drawn: bool = False  # a sign is drawn at every coordinate: opposite gradients do not cancel

    def made(self, tasks):
        return self.make(tasks) if self.counts else self.make()


AGGREGATORS = {
    "pcgrad": Aggregator(
        make=aggregation.pcgrad,
        exact=lambda g: aggregation.pcgrad_weights(g, jax.random.key(0)),
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.5, 1.5),
        non_conflicting_tasks=2,
        permutation_tasks=2,
    ),
    "upgrad": Aggregator(
        make=aggregation.upgrad,
        exact=lambda g: aggregation.upgrad_weights(g, norm_eps=0.0, reg_eps=1e-12),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.5 / 3, 0.5),
        zero_at="strong",
    ),
    "dualproj": Aggregator(
        make=aggregation.dualproj,
        exact=lambda g: aggregation.dualproj_weights(g, norm_eps=0.0, reg_eps=1e-12),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        linear=False,
        zero_at="strong",
    ),
    "mgda": Aggregator(
        make=aggregation.mgda,
        exact=aggregation.mgda_weights,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        linear=False,
        zero_at="weak",
    ),
    "cagrad": Aggregator(
        make=aggregation.cagrad,
        exact=aggregation.cagrad_weights,
        equal=lambda tasks: 1.5,
        alone=1.5,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "imtl_g": Aggregator(
        make=aggregation.imtl_g,
        exact=aggregation.imtl_g_weights,
        equal=lambda tasks: 1,
        beside_zero=(3 - 2 * 2**0.5, 2**0.5 - 1),
        non_conflicting_tasks=2,
        linear=False,
    ),
    "config": Aggregator(
        make=aggregation.config,
        exact=aggregation.config_weights,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: 0,
        beside_zero=(2**0.5 / 4, (2 + 2**0.5) / 4),
    ),
    "aligned_mtl": Aggregator(
        make=aggregation.aligned_mtl,
        exact=aggregation.aligned_mtl_weights,
        equal=lambda tasks: 1,
        beside_zero=((1 - 5**-0.5) / 6, (1 - 5**-0.5) / 2),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "nash_mtl": Aggregator(
        make=aggregation.nash_mtl,
        equal=lambda tasks: 1,
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        linear=False,
        degree=0.0,
        zero_at="weak",
    ),
    "fairgrad": Aggregator(
        make=lambda: aggregation.fairgrad(2.0),
        equal=lambda tasks: tasks ** (1 / 3),
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        linear=False,
        degree=-1 / 3,
        zero_at="weak",
    ),
    "pcd": Aggregator(
        make=aggregation.pcd,
        counts=True,
        equal=lambda tasks: 1,
        opposite=-1.0,
        vanishing=lambda tasks: 0,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
    ),
    "bloop": Aggregator(
        make=aggregation.bloop,
        equal=lambda tasks: 1,
        opposite=1.0,
        vanishing=lambda tasks: [2.0, 0.2],
        beside_zero=(0.0, 0.1),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
        squares_all=False,
    ),
    "balgrad": Aggregator(
        make=aggregation.balgrad,
        equal=lambda tasks: 2,
        opposite=-1.0,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 0.5),
        non_conflicting_tasks=1,
        permutation_tasks=1,
        roles=True,
        linear=False,
    ),
    "pareto_guided": Aggregator(
        make=aggregation.pareto_guided,
        equal=lambda tasks: 1,
        opposite=1.0,
        vanishing=lambda tasks: [2.0, 0.0],
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,  # it may harm the guide
        permutation_tasks=1,
        roles=True,
        fewest=2,
        linear=False,
        zero_at="without the last",
    ),
    "krum": Aggregator(
        make=aggregation.krum,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        fewest=3,
        non_conflicting_tasks=2,
        linear=False,
    ),
    "excess_mtl": Aggregator(
        make=aggregation.excess_mtl,
        counts=True,
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        non_conflicting_tasks=1,
    ),
    "modo": Aggregator(
        make=aggregation.modo,
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.1 / 3, 2.8 / 9),
        non_conflicting_tasks=1,
        linear=False,
        degree=None,
    ),
    "sdmgrad": Aggregator(
        make=lambda tasks: aggregation.sdmgrad(tasks, step_size=0.5),
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.1 / 1.3),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "cr_mogm": Aggregator(
        make=lambda tasks: aggregation.cr_mogm(aggregation.mgda_weights, tasks),
        counts=True,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        linear=False,
        zero_at="weak",
    ),
    "mean_tasks": Aggregator(
        make=optimizers.mean_tasks,
        exact=lambda g: jnp.full(len(g), 1 / len(g)),
        agreeing=lambda tasks: 1,
        equal=lambda tasks: 1,
        beside_zero=(0.0, 1 / 3),
        non_conflicting_tasks=1,
        spreads_nan=False,
    ),
    "sum_tasks": Aggregator(
        make=optimizers.sum_tasks,
        exact=lambda g: jnp.ones(len(g)),
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 1.0),
        non_conflicting_tasks=1,
        spreads_nan=False,
    ),
    "gradvac": Aggregator(  # at first PCGrad; with targets of its own in a file of its own
        make=aggregation.gradvac,
        counts=True,
        exact=lambda g: aggregation.gradvac_weights(g, jnp.zeros_like(g), jax.random.key(0))[0],
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.5, 1.5),
        non_conflicting_tasks=2,
        permutation_tasks=2,
    ),
    "gradnorm": Aggregator(
        make=aggregation.gradnorm,
        counts=True,
        steps=2,
        equal=lambda tasks: tasks,
        vanishing=lambda tasks: tasks,
        beside_zero=(0.0, 1.0),
        non_conflicting_tasks=1,
        linear=False,
    ),
    "moco": Aggregator(
        make=aggregation.moco,
        counts=True,
        equal=lambda tasks: 0.5,
        alone=0.5,
        vanishing=lambda tasks: 0.5,
        beside_zero=(1 / 240, 59 / 360),
        non_conflicting_tasks=1,
        linear=False,
        degree=None,
    ),
    "db_mtl": Aggregator(
        make=functools.partial(aggregation.db_mtl, decay=0.5),
        counts=True,
        equal=lambda tasks: 0.5 * tasks,
        alone=0.5,
        vanishing=lambda tasks: 0.5 * tasks,
        beside_zero=((2**0.5 - 1) / 2, 0.5),
        non_conflicting_tasks=2,  # two vectors of one length agree with their sum
        linear=False,
    ),
    "graddrop": Aggregator(
        make=aggregation.graddrop,
        agreeing=lambda tasks: tasks,
        equal=lambda tasks: tasks,
        vanishing=None,
        beside_zero=None,
        non_conflicting_tasks=1,
        linear=False,
        spreads_nan=False,
        drawn=True,
    ),
    "trimmed_mean": Aggregator(
        make=lambda: aggregation.trimmed_mean(0.34),
        equal=lambda tasks: 1,
        beside_zero=(0.0, 0.0),
        non_conflicting_tasks=1,
        linear=False,
        spreads_nan=False,
    ),
}
SIZES = (2, 5)

every = pytest.mark.parametrize("name", AGGREGATORS)
# The contracts hold every aggregator to the conventions; here are those whose weightings the table gives.
conventional = pytest.mark.parametrize("name", [name for name, each in AGGREGATORS.items() if each.exact])


def conflicting(tasks, size=7):
    gradients = np.random.default_rng(10 * tasks).standard_normal((tasks, size))
    return gradients - 0.9 * gradients.mean(axis=0)


@pytest.fixture(scope="module")
def aggregate():
    """(name, gradients [T, P]) -> aggregate [P] in float64; one compilation per name and T."""

    def last_update(name, gradients):
        transformation = AGGREGATORS[name].made(len(gradients))
        state = transformation.init(gradients[0])
        for _ in range(AGGREGATORS[name].steps):
            result, state = transformation.update(gradients, state, task_losses=jnp.ones(len(gradients)))
        return result

    compiled = {
        name: jax.jit(aggregator.exact or functools.partial(last_update, name))
        for name, aggregator in AGGREGATORS.items()
    }

    def call(name, gradients):
        with jax.enable_x64(True):
            if AGGREGATORS[name].exact is None:
                return np.asarray(compiled[name](jnp.asarray(gradients)))
            return np.asarray(compiled[name](jnp.asarray(gradients @ gradients.T))) @ gradients

    return call


@functools.cache
def jitted(name, tasks):
    return jax.jit(functools.partial(AGGREGATORS[name].made(tasks).update, task_losses=jnp.ones(tasks)))


def update(name, gradients):
    tasks = max([1, *(np.shape(leaf)[0] for leaf in jax.tree.leaves(gradients)[:1] if np.ndim(leaf))])
    return jitted(name, tasks)(gradients, AGGREGATORS[name].made(tasks).init(like_one_task(gradients)))[0]


def like_one_task(gradients):
    return jax.tree.map(lambda g: jnp.zeros(np.shape(g)[1:], jnp.asarray(g).dtype), gradients)


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_gradients_that_agree_are_averaged_or_summed(name, tasks, aggregate):
    if AGGREGATORS[name].agreeing is None:
        return
    gradients = np.abs(conflicting(tasks))
    total = AGGREGATORS[name].agreeing(tasks)
    np.testing.assert_allclose(aggregate(name, gradients), total * gradients.mean(axis=0), rtol=1e-10)


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_aggregate_conflicts_with_no_task(name, tasks, aggregate):
    if not AGGREGATORS[name].fewest <= tasks <= AGGREGATORS[name].non_conflicting_tasks:
        return
    gradients = conflicting(tasks)
    assert (gradients @ gradients.T).min() < -0.1
    assert (gradients @ aggregate(name, gradients)).min() > -1e-9


@every
def test_aggregate_of_one_task_more_may_conflict(name, aggregate):
    """Where the paper promises nothing, some of many draws do: a property that holds belongs in the table."""
    tasks = AGGREGATORS[name].non_conflicting_tasks + 1
    if tasks > 5:
        return
    draws = np.random.default_rng(2).standard_normal((300, tasks, tasks)) * np.linspace(1.0, 3.0, tasks)[:, None]
    assert min((draw @ aggregate(name, draw)).min() for draw in draws) < -0.05


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_order_of_the_tasks_does_not_matter(name, tasks, aggregate):
    gradients = conflicting(tasks)
    if AGGREGATORS[name].roles:
        assert np.abs(aggregate(name, gradients[::-1]) - aggregate(name, gradients)).max() > 1e-3
    elif AGGREGATORS[name].fewest <= tasks <= AGGREGATORS[name].permutation_tasks:
        np.testing.assert_allclose(aggregate(name, gradients[::-1]), aggregate(name, gradients), rtol=1e-8)


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_linear_under_scaling_of_the_gradients(name, tasks, aggregate):
    """A(diag(c) J) is linear in c > 0: the value at c + d is the sum of the values at c and d."""
    if tasks < AGGREGATORS[name].fewest:
        return
    gradients = conflicting(tasks)
    c, d = np.random.default_rng(1).uniform(0.1, 3.0, (2, tasks, 1))
    total = aggregate(name, (c + d) * gradients)
    parts = aggregate(name, c * gradients) + aggregate(name, d * gradients)
    if AGGREGATORS[name].linear:
        np.testing.assert_allclose(total, parts, atol=1e-7)
    elif tasks == SIZES[-1]:
        assert np.abs(total - parts).max() > 1e-3


STRONG = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -2.0]])  # 3, 2 and 1 of them add up to 0
WEAK = np.array([[1.0, 0.0], [-2.0, 0.0], [0.1, 1.0]])  # the third has none in the only combination that is 0


@every
def test_zero_at_pareto_stationary_points_as_the_method_promises(name, aggregate):
    aggregator = AGGREGATORS[name]
    at_strong, at_weak = (np.abs(aggregate(name, gradients)).max() for gradients in (STRONG, WEAK))
    assert (at_strong < 1e-5) == (aggregator.zero_at in {"weak", "strong"}), at_strong
    assert (at_weak < 1e-5) == (aggregator.zero_at in {"weak", "without the last"}), at_weak
    assert np.abs(aggregate(name, conflicting(3))).max() > 1e-3


def multiple_of(name, multiple, gradient):
    degree = AGGREGATORS[name].degree
    return multiple * np.linalg.norm(gradient) ** (0.0 if degree is None else degree - 1) * gradient


@every
def test_one_task_keeps_its_direction(name):
    if AGGREGATORS[name].fewest > 1:
        return
    expected = multiple_of(name, AGGREGATORS[name].alone, np.array([3.0, -4.0]))
    np.testing.assert_allclose(update(name, jnp.array([[3.0, -4.0]])), expected, rtol=1e-6)


@every
def test_zero_gradients_give_zero_and_one_beside_others_what_the_method_says(name):
    np.testing.assert_array_equal(update(name, np.zeros((3, 4))), np.zeros(4))
    gradients = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [-1.0, 1.0, 0.0, 0.0]])
    if AGGREGATORS[name].beside_zero is not None:
        expected = (*AGGREGATORS[name].beside_zero, 0.0, 0.0)
        np.testing.assert_allclose(update(name, gradients), expected, atol=3e-4)  # reg_eps


@every
def test_opposite_gradients_and_equal_ones_give_what_the_method_says(name):
    if AGGREGATORS[name].fewest > 2:
        return
    gradient = np.array([3.0, -4.0], np.float32)
    opposite = update(name, np.stack([gradient, -gradient]))
    if AGGREGATORS[name].drawn:
        np.testing.assert_array_equal(np.abs(opposite), np.abs(gradient))
    else:
        expected = multiple_of(name, AGGREGATORS[name].opposite, gradient)
        np.testing.assert_allclose(opposite, expected, atol=1e-5)
    expected = multiple_of(name, AGGREGATORS[name].equal(2), gradient)
    np.testing.assert_allclose(update(name, np.stack([gradient] * 2)), expected, rtol=1e-6)


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("tasks", [1, 3])
def test_nan_inf_and_overflowing_squares_give_nan_everywhere(name, bad, tasks):
    if tasks < AGGREGATORS[name].fewest:
        return
    gradients = np.ones((tasks, 4), np.float32)
    gradients[-1, 2] = bad
    updates = update(name, gradients)
    if np.isfinite(bad) and tasks > 1 and not AGGREGATORS[name].squares_all:
        assert np.isfinite(updates).all()
    elif AGGREGATORS[name].spreads_nan:
        assert np.isnan(updates).all()
    else:
        np.testing.assert_array_equal(np.isfinite(updates), [True, True, np.isfinite(bad), True])


@every
@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-36])
def test_gradients_whose_squares_vanish_are_averaged_or_summed(name, scale):
    if AGGREGATORS[name].fewest > 2 or AGGREGATORS[name].vanishing is None:
        return
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]], np.float32) * np.float32(scale)
    expected = np.broadcast_to(AGGREGATORS[name].vanishing(2), 2) @ gradients / 2
    np.testing.assert_allclose(update(name, gradients), expected, rtol=1e-6)


@every
@pytest.mark.parametrize("scale", [1e-1, 1e18])
def test_scale_within_range_only_scales_the_result(name, scale):
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0], [0.5, 0.0]], np.float32)
    if AGGREGATORS[name].fewest <= 2:
        gradients = gradients[:2]
    scaled, plain, degree = (
        update(name, gradients * np.float32(scale)),
        update(name, gradients),
        AGGREGATORS[name].degree,
    )
    if degree is None:
        assert np.abs(scaled / scale - plain).max() > 1e-3
    else:
        np.testing.assert_allclose(scaled, scale**degree * plain, rtol=1e-5)


@conventional
def test_tree_gives_the_flat_result_in_the_dtype_of_each_leaf(name):
    flat = jnp.asarray(conflicting(3, 12), jnp.float32)
    flat = flat.at[:, :4].set(flat[:, :4].astype(jnp.bfloat16).astype(jnp.float32))
    flat = flat.at[:, 4:8].set(flat[:, 4:8].astype(jnp.float16).astype(jnp.float32))
    tree = {
        "bfloat16": flat[:, :4].astype(jnp.bfloat16),
        "float16": flat[:, 4:8].reshape(3, 2, 2).astype(jnp.float16),
        "float32": [flat[:, 8:11], flat[:, 11]],
        "none": None,
        "zero_size": jnp.zeros((3, 0, 2)),
        "masked": optax.MaskedNode(),
    }
    whole, parts = update(name, flat), update(name, tree)
    assert jax.tree.structure(parts) == jax.tree.structure(tree)
    assert jax.tree.map(lambda x: (x.dtype, x.shape), parts) == jax.tree.map(lambda x: (x.dtype, x.shape[1:]), tree)
    np.testing.assert_allclose(parts["bfloat16"].astype(jnp.float32), whole[:4], rtol=2**-8)
    np.testing.assert_allclose(parts["float16"].astype(jnp.float32).ravel(), whole[4:8], rtol=2**-10)
    np.testing.assert_allclose(parts["float32"][0], whole[8:11], rtol=1e-5)
    np.testing.assert_allclose(parts["float32"][1], whole[11], rtol=1e-5)


@conventional
def test_empty_tree_passes(name):
    assert update(name, {}) == {}
    assert update(name, {"a": None}) == {"a": None}


@every
@pytest.mark.parametrize(
    "tree", [jnp.ones(()), {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 2))}, {"a": jnp.ones((0, 2))}]
)
def test_leaves_without_a_common_task_axis_are_an_error_that_names_the_function(name, tree):
    with pytest.raises(ValueError, match=rf"^{name}: .* has shape"):
        update(name, tree)


@conventional
def test_is_the_first_link_of_a_chain_compiled_once(name, compiled):
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    tasks = max(2, AGGREGATORS[name].fewest)
    transformation = optax.chain(AGGREGATORS[name].made(tasks), optax.adamw(1e-3))

    @jax.jit
    def chained(params, state, gradients):
        updates, state = transformation.update(
            gradients, state, params, value=jnp.float32(1.0), task_losses=jnp.ones(tasks)
        )
        return optax.apply_updates(params, updates), state

    factors = jnp.where(jnp.arange(tasks) == 1, -0.5, 1.0)
    gradients = {"w": factors[:, None, None] * jnp.ones((2, 3)), "b": jnp.ones((tasks, 3))}
    state = transformation.init(params)
    compiled.clear()
    first, state = chained(params, state, gradients)
    second, state = chained(first, state, gradients)
    assert [x for x in compiled if "chained" in x] == ["jit(chained)"]
    assert jax.tree.map(lambda x: (x.shape, x.dtype), second) == jax.tree.map(lambda x: (x.shape, x.dtype), params)
    np.testing.assert_allclose(first["b"], -1e-3, rtol=1e-4)  # Adam's first step is the sign of the aggregate


@conventional
def test_scan_and_vmap_equal_the_loop(name):
    step = jitted(name, 3)
    gradients = jnp.asarray(np.stack([conflicting(3), conflicting(3)[::-1] ** 3]), jnp.float32)
    state = AGGREGATORS[name].made(3).init(like_one_task(gradients[0]))
    together, _ = jax.jit(jax.vmap(step, in_axes=(0, None)))(gradients, state)
    for one, alone in zip(together, gradients, strict=True):
        np.testing.assert_allclose(one, step(alone, state)[0], rtol=1e-4, atol=1e-6)
    last, scanned = jax.lax.scan(lambda s, g: step(g, s)[::-1], state, gradients)
    for one, alone in zip(scanned, gradients, strict=True):
        expected, state = step(alone, state)
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), last, state)


@conventional
def test_sharded_gradients_give_the_unsharded_update(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    gradients = {"w": jnp.asarray(conflicting(3, 32), jnp.float32).reshape(3, 2, 16)}
    shard = jax.device_put(gradients, NamedSharding(mesh, PartitionSpec(None, None, "data")))
    expected, got = update(name, gradients)["w"], update(name, shard)["w"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert got.sharding.shard_shape(got.shape) == (2, 2)


@conventional
def test_lowers_for_every_platform(name):
    exported = jax.export.export(jitted(name, 3), platforms=["cpu", "cuda", "tpu"])(
        jax.ShapeDtypeStruct((3, 4, 5), jnp.float32), AGGREGATORS[name].made(3).init(jnp.zeros((4, 5)))
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "callback" not in exported.mlir_module()
