"""GradVac, GradNorm, MoCo and DB-MTL: the peers' updates step by step, and what defines each, in float64."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers
from optimizers.aggregation.gradnorm import _rates
from optimizers.aggregation.gradvac import _weights_in_order

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "aggregation_coordinate.npz")  # torchjd 0.18.0, LibMTL


def run(transformation, gradients, losses=None, params=None):
    """The updates and the states of some steps, in one compilation."""
    with jax.enable_x64(True):
        gradients = jax.tree.map(lambda g: jnp.asarray(g, jnp.float64), gradients)
        losses = jnp.ones(jax.tree.leaves(gradients)[0].shape[:2]) if losses is None else jnp.asarray(losses)

        def step(state, given):
            updates, state = transformation.update(given[0], state, task_losses=given[1])
            return state, (updates, state)

        state = transformation.init(jax.tree.map(lambda g: g[0, 0], gradients))
        return jax.tree.map(np.asarray, jax.lax.scan(step, state, (gradients, losses))[1])


def golden(name):
    return {key.split("/")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/")}


def decaying(rate):
    return lambda count: rate / jnp.sqrt(count + 1.0)


# --- GradVac


def test_gradvac_equals_torchjd_over_several_updates_in_the_same_orders():
    case = golden("gradvac")
    with jax.enable_x64(True):
        compiled, targets, turned = jax.jit(_weights_in_order), jnp.zeros((4, 4)), 0
        for gradients, orders, weights, averages in zip(
            case["gradients"], case["orders"], case["weights"], case["targets"], strict=True
        ):
            found, cosines = compiled(jnp.asarray(gradients @ gradients.T), targets, jnp.asarray(orders))
            np.testing.assert_allclose(found, weights, rtol=1e-9)
            turned += np.abs(weights - 1).max() > 1e-3
            targets = 0.5 * targets + 0.5 * cosines
            np.testing.assert_allclose(targets, averages, atol=1e-12)
        assert turned >= 4
        assert targets.max() > 0.1  # positive targets were in play


def test_gradvac_per_leaf_equals_libmtl_by_matrix():
    """LibMTL's orders are drawn by `random.shuffle`; one Gramian and one target for each of two leaves."""
    case = golden("gradvac_per_leaf")
    with jax.enable_x64(True):
        compiled = jax.jit(jax.vmap(_weights_in_order, in_axes=(0, 0, None)))
        targets = jnp.zeros((2, 3, 3))
        for gradients, orders, expected in zip(case["gradients"], case["orders"], case["updates"], strict=True):
            parts = gradients[:, :2], gradients[:, 2:]
            products = jnp.stack([jnp.asarray(g @ g.T) for g in parts])
            weights, cosines = compiled(products, targets, jnp.asarray(orders))
            found = np.concatenate([np.asarray(w) @ g for w, g in zip(weights, parts, strict=True)])
            np.testing.assert_allclose(found, expected, rtol=1e-6)  # LibMTL adds 1e-8 to norms
            targets = 0.5 * targets + 0.5 * cosines


def test_gradvac_starts_as_pcgrad_and_advances_key_and_targets():
    gradients = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    vaccine, surgery = optimizers.gradvac(5, 3), optimizers.pcgrad(3)
    found, state = jax.jit(vaccine.update)(gradients, vaccine.init(None))
    expected, key = surgery.update(gradients, surgery.init(None))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(state.key_data, key.key_data)
    _, cosines = optimizers.gradvac_weights(
        gradients @ gradients.T, jnp.zeros((5, 5)), jax.random.split(jax.random.key(3))[1]
    )
    np.testing.assert_allclose(state.targets, 0.01 * cosines, rtol=1e-4, atol=1e-7)


def test_gradvac_gives_each_of_two_tasks_its_target_cosine():
    generator, key = np.random.default_rng(1), jax.random.key(0)
    with jax.enable_x64(True):
        compiled = jax.jit(optimizers.gradvac_weights)
        for target in (-0.5, 0.0, 0.3, 0.9):
            first, second = generator.standard_normal((2, 4)) * np.array([[1.0], [5.0]])
            pair = np.stack([first, second])
            cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
            row = jnp.array([[0.0, target], [-1.0, 0.0]])  # the second gradient stays as it is
            weights, seen = compiled(jnp.asarray(pair @ pair.T), row, key)
            turned = np.asarray(weights) @ pair - second
            reached = turned @ second / np.linalg.norm(turned) / np.linalg.norm(second)
            np.testing.assert_allclose(reached, max(target, cosine), atol=1e-9)
            np.testing.assert_allclose(seen[0, 1], cosine, rtol=1e-9)


def test_gradvac_is_finite_at_the_ends_and_keeps_targets_without_a_cosine():
    weights = jax.jit(optimizers.gradvac_weights)
    key = jax.random.key(0)
    for gramian in (np.ones((2, 2)), np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(2)):
        for target in (-1.0, 1.0):
            found, seen = weights(gramian, jnp.full((2, 2), target), key)
            assert np.isfinite(found).all()
            np.testing.assert_allclose(seen[0, 1], gramian[0, 1], atol=1e-6)
    found, seen = weights(np.diag([1.0, 0.0]), jnp.full((2, 2), 0.7), key)
    np.testing.assert_array_equal(found, [1.0, 1.0])
    np.testing.assert_allclose(seen, 0.7)
    found, seen = weights(np.array([[1.0, np.nan], [np.nan, 1.0]]), jnp.full((2, 2), 0.7), key)
    assert np.isnan(found).all()
    np.testing.assert_allclose(seen, 0.7)


def test_gradvac_moves_its_targets_to_the_usual_cosine():
    gradients = np.array([[1.0, 0.0], [0.8, 0.6]])
    _, states = run(optimizers.gradvac(2, decay=0.5), np.broadcast_to(gradients, (3, 2, 2)))
    np.testing.assert_allclose(states.targets[:, 0, 1], 0.8 * np.array([0.5, 0.75, 0.875]), rtol=1e-12)


# --- GradNorm


def test_gradnorm_equals_the_differentiated_loss_of_the_weights():
    case = golden("gradnorm")
    updates, states = run(optimizers.gradnorm(3, learning_rate=0.002), case["gradients"], case["losses"])
    np.testing.assert_allclose(states.weights[:-1], case["weights"][1:], rtol=1e-12)
    np.testing.assert_allclose(updates, np.einsum("st,stp->sp", case["weights"], case["gradients"]), rtol=1e-12)
    np.testing.assert_array_equal(states.initial_losses, np.broadcast_to(case["losses"][0], (4, 3)))


def test_gradnorm_ends_with_norms_in_the_proportion_of_the_rates():
    """At alpha 1 the targets add up to the norms and all are met; the weights are in closed form."""
    gradients = np.diag([1.0, 2.0, 0.5])
    losses = np.broadcast_to([1.0, 0.5, 1.0], (2000, 3)).copy()
    losses[0] = 1.0
    _, states = run(
        optimizers.gradnorm(3, learning_rate=1e-3, alpha=1.0), np.broadcast_to(gradients, (2000, 3, 3)), losses
    )
    expected = np.array([1.0, 0.5, 1.0]) / np.diag(gradients)
    np.testing.assert_allclose(states.weights[-1], 3 * expected / expected.sum(), atol=5e-3)  # steps of 1e-3 |g|
    np.testing.assert_allclose(states.weights.sum(axis=1), 3.0, rtol=1e-12)


def test_gradnorm_with_losses_of_zero():
    gradients = np.broadcast_to(np.eye(3), (2, 3, 3))
    for losses, expected in (
        ([[0.0, 1.0, 1.0], [0.0, 0.5, 1.0]], [1.1, 0.9, 1.1]),  # a loss of 0 from the start does not change
        ([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [1.0, 1.0, 1.0]),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [1.0, 1.0, 1.0]),
        ([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]], [0.9, 1.1, 1.1]),
    ):
        _, states = run(optimizers.gradnorm(3, learning_rate=0.1), gradients, np.array(losses))
        np.testing.assert_allclose(states.weights[-1], 3 * np.array(expected) / np.sum(expected), err_msg=str(losses))
    np.testing.assert_array_equal(_rates(jnp.zeros(2), jnp.ones(2)), [1.0, 1.0])
    # A step past 0 leaves a weight at 0; with no weight left they start again.
    _, states = run(optimizers.gradnorm(2, learning_rate=1e3), np.broadcast_to(np.diag([5.0, 1.0]), (1, 2, 2)))
    np.testing.assert_allclose(states.weights[0], [0.0, 2.0])


# --- MoCo


def test_moco_equals_libmtl():
    case = golden("moco")
    transformation = optimizers.moco(
        3,
        tracking_rate=decaying(0.5),
        learning_rate=decaying(0.1),
        regularization=0.2,
        projection="softmax",
        normalize=True,
    )
    updates, _ = run(transformation, case["gradients"], case["losses"])
    np.testing.assert_allclose(updates, case["updates"], rtol=1e-7)  # LibMTL adds 1e-8 to norms


def simplex(point):
    """The nearest point of the simplex, by bisection on the amount that is taken off."""
    low, high = point.min() - 1.0, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(point - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(point - low, 0)


def test_moco_follows_algorithm_1():
    generator = np.random.default_rng(6)
    gradients = generator.standard_normal((5, 4, 3)) * np.array([3.0, 1.0, 1.0, 0.1])[:, None]
    updates, states = run(
        optimizers.moco(4, tracking_rate=0.6, learning_rate=0.2, regularization=0.3, max_norm=2.0), gradients
    )
    tracked, weights, left_out = np.zeros((4, 3)), np.full(4, 0.25), 0
    for step in range(5):
        tracked = tracked - 0.6 * (tracked - gradients[step])
        tracked = tracked * np.minimum(1, 2.0 / np.linalg.norm(tracked, axis=1, keepdims=True))
        weights = simplex(weights - 0.2 * (tracked @ tracked.T + 0.3 * np.eye(4)) @ weights)
        left_out += (weights == 0).any()
        np.testing.assert_allclose(states.tracked[step], tracked, rtol=1e-12)
        np.testing.assert_allclose(states.weights[step], weights, atol=1e-12)
        np.testing.assert_allclose(updates[step], weights @ tracked, atol=1e-12)
    assert left_out > 0


def test_moco_reaches_mgda_through_noise_where_mgda_of_the_noise_does_not():
    """The point of the paper: weights of noisy gradients are biased, those of tracked ones are not."""
    true = np.array([[1.0, 0.0, 0.2], [-0.8, 0.6, 0.0], [0.0, -0.3, 1.0]])
    noise = np.random.default_rng(7).standard_normal((4000, 3, 3))
    best = np.asarray(optimizers.mgda_weights(jnp.asarray(true @ true.T))) @ true
    rates = {"tracking_rate": lambda count: 1.0 / (count + 1.0), "learning_rate": 0.2}
    updates, _ = run(optimizers.moco(3, **rates), true + noise)
    with jax.enable_x64(True):
        noisy = jax.vmap(lambda g: optimizers.mgda_weights(g @ g.T) @ true)(jnp.asarray(true + noise[:500]))
    assert np.linalg.norm(updates[-1] - best) < 0.05
    assert np.linalg.norm(np.asarray(noisy).mean(axis=0) - best) > 0.1


def test_moco_weights_of_large_gradients_add_up_to_1():
    gradients = jnp.full((11, 8), 1.2345e6)  # the steps are of 1e12
    transformation = optimizers.moco(11)
    _, state = transformation.update(gradients, transformation.init(gradients[0]))
    np.testing.assert_allclose(state.weights, 1 / 11, rtol=1e-6)


# --- DB-MTL


def test_db_mtl_equals_libmtl():
    case = golden("db_mtl")
    updates, states = run(optimizers.db_mtl(3, decay=decaying(0.9)), case["gradients"], case["losses"])
    np.testing.assert_allclose(updates, case["updates"], rtol=1e-6)  # LibMTL adds 1e-8 to norms of 0.02
    np.testing.assert_array_equal(states.count, [1, 2, 3, 4])


def test_db_mtl_depends_on_no_scale_of_the_losses():
    case = golden("db_mtl")
    scales = np.array([100.0, 1.0, 0.01])
    plain, _ = run(optimizers.db_mtl(3, eps=0.0), case["gradients"], case["losses"])
    scaled, _ = run(optimizers.db_mtl(3, eps=0.0), case["gradients"] * scales[:, None], case["losses"] * scales)
    np.testing.assert_allclose(scaled, plain, rtol=1e-9)


def test_db_mtl_with_a_loss_of_zero_adds_nothing_for_its_zero_gradient():
    gradients = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    updates, _ = run(optimizers.db_mtl(2, decay=0.0), gradients, np.array([[2.0, 0.0]]))
    np.testing.assert_allclose(updates, [[0.5, 0.0]])
    updates, _ = run(optimizers.db_mtl(2, decay=0.0), gradients[:, ::-1] + gradients, np.array([[2.0, 0.0]]))
    assert np.isfinite(updates).all()


# --- those with a state


@pytest.mark.parametrize("make", [optimizers.gradnorm, optimizers.db_mtl, lambda t: optimizers.moco(t, normalize=True)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_loss_that_is_no_loss_gives_nan(make, bad):
    updates, _ = run(make(2), np.ones((1, 2, 3)), np.array([[1.0, bad]]))
    assert np.isnan(updates).all()


@pytest.mark.parametrize("make", [optimizers.moco, optimizers.db_mtl])
def test_tracked_gradients_are_wide_and_laid_out_as_the_parameters(make):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    state = make(3).init({"w": jax.device_put(jnp.zeros((16, 2), jnp.bfloat16), sharding)})
    (tracked,) = (leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 3)
    assert (tracked.shape, tracked.dtype) == ((3, 16, 2), jnp.float32)
    assert tracked.sharding.shard_shape(tracked.shape) == (3, 2, 2)


@pytest.mark.parametrize("make", [optimizers.gradvac, optimizers.gradnorm, optimizers.moco, optimizers.db_mtl])
def test_another_number_of_tasks_is_an_error(make):
    with pytest.raises(ValueError, match=r"^\w+: tasks is 2, but the gradients are stacked for 3 tasks"):
        make(2).update(jnp.ones((3, 4)), make(2).init(jnp.ones(4)), task_losses=jnp.ones(3))


def test_all_train_in_the_step_with_the_losses_it_passes():
    """Two quadratics whose scales differ by 1e4: DB-MTL and GradNorm need the losses, and lower both."""

    def loss_fn(params, batch, key):
        return jnp.array([1e4, 1.0]) * jnp.array([jnp.sum((params - 1.0) ** 2), jnp.sum((params + 1.0) ** 2)]), {}

    for aggregator in (optimizers.db_mtl(2), optimizers.gradnorm(2, learning_rate=1e-5)):
        tx = optax.chain(aggregator, optax.scale_by_adam(), optax.scale(-0.02))
        step = optimizers.make_train_step(loss_fn, tx, gradient=optimizers.per_task())
        state = optimizers.TrainState.create(params=jnp.full(3, 4.0), tx=tx)
        state, metrics = jax.jit(lambda s, step=step: jax.lax.scan(lambda s, _: step(s, None), s, length=250))(state)
        assert state.skipped == 0
        assert (metrics["loss"][-1] < 0.5 * metrics["loss"][0]).all()
