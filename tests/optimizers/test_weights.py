"""Pulls on weights, pruning, reparametrisations, coordinatewise clipping and the sharpness along an update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    TrainState,
    add_lobster_decay,
    add_norm_decay,
    clip_coordinatewise,
    condition_number,
    directional_sharpness,
    iterative_magnitude_prune,
    loss_sensitivity,
    magnitude_threshold_prune,
    make_train_step,
    norm_loss,
    pruning_threshold,
    row_equilibrate,
    selective_weight_decay,
    weight_compander,
    weight_compander_init,
    weight_compander_params,
    weight_conditioning,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


PARAMS = {"kernel": normal(4, 3), "conv": normal(2, 2, 3, 5, seed=1), "bias": normal(3, seed=2)}


def update_of(tx, gradient, params, **extra):
    tx = optax.with_extra_args_support(tx)
    return tx.update(gradient, tx.init(params), params, **extra)[0]


# Pulls on weights


def test_norm_loss_is_the_papers_sum():
    outputs = (("kernel", 3), ("conv", 5))
    filters = np.concatenate([np.linalg.norm(PARAMS[name].reshape(-1, size), axis=0) for name, size in outputs])
    with jax.enable_x64(True):
        np.testing.assert_allclose(norm_loss(PARAMS, 0.3), 0.3 * np.sum((1 - filters) ** 2), rtol=1e-12)
        rows = 0.3 * np.sum((1 - np.linalg.norm(PARAMS["kernel"], axis=1)) ** 2)
        np.testing.assert_allclose(norm_loss({"kernel": PARAMS["kernel"]}, 0.3, axis=0), rows, rtol=1e-12)
        alone = norm_loss(PARAMS, 0.3, mask={"kernel": True, "conv": False, "bias": False})
        np.testing.assert_allclose(alone, 0.3 * np.sum((1 - filters[:3]) ** 2), rtol=1e-12)


def test_norm_decay_is_the_gradient_of_norm_loss():
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    with jax.enable_x64(True):
        for axis in (-1, 0):
            pull = update_of(add_norm_decay(0.3, axis=axis), zeros, PARAMS)
            expected = jax.grad(lambda p, axis=axis: norm_loss(p, 0.3, axis=axis))(PARAMS)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), pull, expected)
    np.testing.assert_array_equal(pull["bias"], 0.0)


def test_norm_decay_alone_leads_to_norm_one():
    x = {"kernel": jnp.array([[3.0, 0.01, 0.6], [4.0, 0.0, 0.8]])}
    unit = jnp.array([[0.6], [0.8]])
    assert norm_loss({"w": unit}) == pytest.approx(0, abs=1e-13)
    tx = optax.chain(add_norm_decay(0.5), optax.scale(-0.2))
    for _ in range(60):
        x = optax.apply_updates(x, update_of(tx, jax.tree.map(jnp.zeros_like, x), x))
    np.testing.assert_allclose(jnp.linalg.norm(x["kernel"], axis=0), 1.0, rtol=1e-5)


def test_zero_filters_are_left_alone():
    zero = {"kernel": jnp.zeros((3, 2))}
    assert norm_loss(zero, 1.0) == 2.0
    np.testing.assert_array_equal(jax.grad(norm_loss)(zero)["kernel"], 0.0)
    np.testing.assert_array_equal(update_of(add_norm_decay(), zero, zero)["kernel"], 0.0)


def test_lobster_by_hand_and_in_its_limits():
    params = jnp.array([2.0, 2.0, 2.0, -3.0])
    gradient = jnp.array([0.25, 1.0, -7.0, 0.0])
    tx = optax.chain(optax.sgd(0.1), add_lobster_decay(0.01))
    moved = params + update_of(tx, gradient, params, grad=gradient)
    np.testing.assert_allclose(moved, [1.96, 1.9, 2.7, -2.97], rtol=1e-6)
    with pytest.raises(ValueError, match="^add_lobster_decay: update needs grad"):
        update_of(add_lobster_decay(), gradient, params)


def test_the_train_step_feeds_lobster():
    tx = optax.chain(optax.sgd(0.1), add_lobster_decay(0.01))
    step = make_train_step(lambda params, batch, key: (0.25 * jnp.sum(params), {}), tx, donate=False)
    state, _ = step(TrainState.create(params=jnp.array([2.0]), tx=tx), None)
    np.testing.assert_allclose(state.params, [1.96], rtol=1e-6)


def test_selective_decay_of_all_is_optax_decay_and_of_none_is_nothing():
    gradient = jax.tree.map(lambda x: 0.1 * x, PARAMS)
    mask = {"kernel": True, "conv": False, "bias": True}
    rate = optax.linear_schedule(0.1, 0.0, 4)
    with jax.enable_x64(True):
        ours, peer = selective_weight_decay(lambda g, w: 1.0, rate, mask=mask), optax.add_decayed_weights(rate, mask)
        states = ours.init(PARAMS), peer.init(PARAMS)
        for _ in range(3):
            a, b = ours.update(gradient, states[0], PARAMS), peer.update(gradient, states[1], PARAMS)
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-14), a[0], b[0])
            states = a[1], b[1]
        nothing = update_of(selective_weight_decay(lambda g, w: jnp.zeros_like(w), 0.5), gradient, PARAMS)
        jax.tree.map(np.testing.assert_array_equal, nothing, gradient)


def test_irrelevance_sees_the_gradient_and_is_not_differentiated():
    quiet = lambda g, w: jnp.maximum(0.0, 1 - jnp.abs(g))
    w, g = jnp.array([2.0, 2.0]), jnp.array([0.25, 3.0])
    np.testing.assert_allclose(update_of(selective_weight_decay(quiet, 0.1), g, w), [0.25 + 0.15, 3.0], rtol=1e-6)
    of = lambda w: update_of(selective_weight_decay(lambda g, w: w, 1.0), jnp.zeros(()), w)
    assert jax.grad(of)(jnp.float32(3.0)) == 3.0  # of I(w) w with I held fixed


# Pruning


def test_pruning_is_a_mask_and_idempotent():
    pruned, kept = magnitude_threshold_prune(jax.tree.map(jnp.float32, PARAMS), 0.7)
    for name, x in PARAMS.items():
        np.testing.assert_array_equal(pruned[name], np.where(np.abs(x) >= 0.7, np.float32(x), 0))
    again, same = magnitude_threshold_prune(pruned, 0.7)
    jax.tree.map(np.testing.assert_array_equal, (again, same), (pruned, kept))
    assert loss_sensitivity({"g": jnp.array([-2.0])})["g"] == 2.0
    chosen = {"kernel": False, "conv": True, "bias": True}
    assert magnitude_threshold_prune(jnp.array([0.5]), 0.5)[1].all()  # what equals the threshold stays
    untouched, all_kept = magnitude_threshold_prune(pruned, 99.0, mask=chosen)
    np.testing.assert_array_equal(untouched["kernel"], pruned["kernel"])
    assert all_kept["kernel"].all()
    assert not all_kept["conv"].any()


def test_bisection_finds_the_weight_that_the_loss_misses():
    """The loss is one plus the squares of what is gone: the threshold is the first weight that is too much."""
    params = jnp.asarray(normal(50), jnp.float32)
    ordered = np.sort(np.abs(params))
    for tolerance in (0.0, 0.01, 0.5):
        first_missed = ordered[np.searchsorted(np.cumsum(ordered.astype(np.float64) ** 2), tolerance, side="right")]
        loss = lambda p: 1 + jnp.sum((p - params) ** 2)
        found = jax.jit(lambda p, loss=loss, t=tolerance: pruning_threshold(loss, p, t, steps=24))(params)
        np.testing.assert_allclose(found, first_missed, rtol=1e-6, atol=1e-6)
        assert loss(magnitude_threshold_prune(params, found)[0]) <= (1 + tolerance) * (1 + 1e-6)
    assert pruning_threshold(lambda p: 0.0 * p.sum(), params) == pytest.approx(ordered[-1], rel=1e-5)
    assert np.isnan(pruning_threshold(lambda p: jnp.nan * p.sum(), params))


def test_rounds_of_pruning_forget_nothing():
    params, kept = iterative_magnitude_prune({"w": jnp.array([0.5, 0.1, 0.3])}, 0.2)
    params, kept = iterative_magnitude_prune(jax.tree.map(lambda x: x + 0.3, params), 0.7, kept)
    np.testing.assert_allclose(params["w"], [0.8, 0.0, 0.0])
    np.testing.assert_array_equal(kept["w"], [True, False, False])
    params, kept = iterative_magnitude_prune(jax.tree.map(lambda x: x + 0.3, params), 0.0, kept)
    np.testing.assert_allclose(params["w"], [1.1, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(kept["w"], [True, False, False])


# Reparametrisations


def test_rows_have_norm_one_and_rescaling_them_changes_nothing():
    with jax.enable_x64(True):
        for axis in (-1, 0, 2):
            w = jnp.asarray(PARAMS["conv"])
            scaled = row_equilibrate(w, axis=axis)
            others = tuple({0, 1, 2, 3} - {axis % 4})
            np.testing.assert_allclose(jnp.sum(scaled**2, axis=others), 1.0, rtol=1e-12)
            np.testing.assert_allclose(row_equilibrate(scaled, axis=axis), scaled, rtol=1e-12)
        np.testing.assert_allclose(row_equilibrate(w * jnp.arange(1.0, 6.0)), row_equilibrate(w), rtol=1e-12)
    zero = jnp.zeros((3, 2)).at[0, 0].set(2.0)
    np.testing.assert_array_equal(row_equilibrate(zero), zero / 2)
    assert np.all(np.isfinite(jax.jacobian(row_equilibrate)(zero)))


def test_conditioning_lowers_the_condition_number():
    """Of scaled rows of an orthogonal matrix to 1; of any matrix to within √outputs of the best diagonal scaling."""
    with jax.enable_x64(True):
        q, _ = np.linalg.qr(normal(5, 5))
        bad = jnp.asarray(q * np.logspace(0, 4, 5))
        assert condition_number(bad) == pytest.approx(1e4, rel=1e-9)
        assert condition_number(row_equilibrate(bad)) == pytest.approx(1.0, rel=1e-9)
        w = normal(6, 4, seed=3) * np.logspace(0, 2, 4)
        ours = condition_number(row_equilibrate(jnp.asarray(w)))
        assert ours == pytest.approx(np.linalg.cond(w / np.linalg.norm(w, axis=0)), rel=1e-9)
        others = [np.linalg.cond(w * np.exp(normal(4, seed=k))) for k in range(200)]
        assert ours <= 2 * min(others)
        assert condition_number(jnp.asarray(PARAMS["conv"])) == pytest.approx(
            np.linalg.cond(PARAMS["conv"].reshape(-1, 5))
        )


def test_parameters_are_conditioned_by_path():
    params = {
        "head": {"kernel": jnp.asarray(PARAMS["kernel"])},
        "body": {"kernel": jnp.asarray(PARAMS["conv"]), "bias": jnp.ones(5)},
    }
    everywhere = weight_conditioning(params)
    np.testing.assert_allclose(everywhere["head"]["kernel"], row_equilibrate(params["head"]["kernel"]))
    assert everywhere["body"]["bias"] is params["body"]["bias"]
    body = weight_conditioning(params, lambda path: path == "body/kernel")
    assert body["head"]["kernel"] is params["head"]["kernel"]
    np.testing.assert_allclose(body["body"]["kernel"], row_equilibrate(params["body"]["kernel"]))


def test_compander_is_odd_bounded_and_inverted_by_its_initialisation():
    with jax.enable_x64(True):
        v, a, b = jnp.asarray(normal(50) * 10), 0.3, 0.1
        w = weight_compander(v, a=a, b=b)
        np.testing.assert_allclose(w, 0.3 * np.arctan(v / 0.1), rtol=1e-14)
        np.testing.assert_allclose(weight_compander(-v, a=a, b=b), -w)
        assert np.max(np.abs(w)) < a * np.pi / 2
        np.testing.assert_allclose(weight_compander_init(w, a=a, b=b), v, rtol=1e-9)  # tan is steep near its pole
        slope = jax.vmap(jax.grad(lambda v: weight_compander(v, a=a, b=b)))(v)
        np.testing.assert_allclose(slope, (a / b) / (1 + (v / b) ** 2), rtol=1e-12)
    assert np.isnan(weight_compander_init(jnp.float32(0.3 * np.pi / 2 + 1e-3), a=a, b=b))


def test_compander_scales_may_be_trees_and_trained():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    scales = {"kernel": jnp.float32(2.0), "bias": jnp.float32(5.0)}
    weights = weight_compander_params(params, scales, 1.0)
    np.testing.assert_allclose(weights["kernel"], 2 * np.pi / 4, rtol=1e-6)
    assert weights["bias"] is params["bias"]
    gradient = jax.grad(lambda a: weight_compander_params(params, a, 1.0)["kernel"].sum())(scales)
    np.testing.assert_allclose(gradient["kernel"], np.pi, rtol=1e-6)
    biases = weight_compander_params(params, 4.0, 1.0, lambda path: path == "bias")
    np.testing.assert_allclose(biases["bias"], np.pi, rtol=1e-6)


# Clipping by coordinate, sharpness


@pytest.mark.parametrize("tau", [0.0, 0.5, jnp.inf])
def test_clip_at_a_threshold_is_optax_clip(tau):
    grads = jax.tree.map(jnp.float32, PARAMS)
    clipped = update_of(clip_coordinatewise(tau), grads, grads)
    jax.tree.map(np.testing.assert_array_equal, clipped, update_of(optax.clip(tau), grads, grads))


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_exactly_a_fraction_of_all_coordinates_is_cut(fraction, dtype):
    """τ is NumPy's k-th largest magnitude of the whole tree, to the bit."""
    with jax.enable_x64(True):
        grads = jax.tree.map(lambda x: jnp.asarray(x, dtype), PARAMS)
        flat = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(grads)])
        count = max(1, round(fraction * flat.size))
        tau = np.sort(np.abs(flat))[-count]
        clipped = update_of(clip_coordinatewise(top_fraction=fraction), grads, grads)
        got = np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(clipped)])
    np.testing.assert_array_equal(got, np.clip(flat, -tau, tau))
    if dtype in (jnp.float32, jnp.float64):  # 16 bits have ties
        assert np.sum(np.abs(got) == tau) == count


def test_clipped_gradients_with_nan_or_without_anything():
    tx = clip_coordinatewise(top_fraction=0.5)
    assert update_of(tx, {}, {}) == {}
    np.testing.assert_array_equal(update_of(tx, jnp.zeros(4), jnp.zeros(4)), 0.0)
    nan = update_of(tx, jnp.array([1.0, jnp.nan, 3.0, 2.0]), jnp.zeros(4))
    np.testing.assert_array_equal(nan, [1.0, np.nan, 3.0, 2.0])  # NaN counts as the largest, 3 sets the threshold


def test_sharpness_along_an_update_is_a_rayleigh_quotient():
    with jax.enable_x64(True):
        a = normal(6, 6)
        hessian = a @ a.T
        split = lambda x: {"w": x[:4].reshape(2, 2), "b": x[4:]}
        join = lambda tree: jnp.concatenate([tree["w"].ravel(), tree["b"]])
        loss = lambda tree: 0.5 * join(tree) @ hessian @ join(tree) + jnp.sum(join(tree))
        u = normal(6, seed=1)
        found = directional_sharpness(loss, split(normal(6, seed=2)), split(1e-3 * u))
        np.testing.assert_allclose(found, u @ hessian @ u / (u @ u), rtol=1e-12)
        assert np.isnan(directional_sharpness(loss, split(u), split(0 * u)))


def test_sharpness_in_low_precision_is_that_of_the_rounded_direction():
    """A unit vector of bfloat16 numbers is not quite one; along any vector this loss has the curvature 3."""
    loss = lambda x: 1.5 * jnp.sum(jnp.square(x.astype(jnp.float32)))
    update = jnp.asarray(normal(7), jnp.bfloat16)
    assert directional_sharpness(loss, jnp.ones(7, jnp.bfloat16), update) == pytest.approx(3.0, rel=1e-5)


def test_clipping_lowers_the_sharpness_of_uneven_gradients():
    """The paper's example: of the quadratic diag(1, 100) from 99.99 to 50.5, that of the sign."""
    loss = lambda x: 0.5 * (x[0] ** 2 + 100 * x[1] ** 2)
    gradient = jax.grad(loss)(jnp.ones(2))
    clipped = update_of(clip_coordinatewise(1.0), gradient, gradient)
    assert directional_sharpness(loss, jnp.ones(2), gradient) == pytest.approx((1 + 1e6) / (1 + 1e4), rel=1e-5)
    assert directional_sharpness(loss, jnp.ones(2), clipped) == pytest.approx(50.5, rel=1e-5)
