"""SAM and its relatives: closed forms, limits, golden trajectories of pytorch-optimizer, and optax's trajectory."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, accumulate, fisher_sam, gsam, make_train_step, sam

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "sharpness.npz")


def test_closed_form_on_a_quadratic():
    random = np.random.default_rng(0)
    root, w, rho = random.normal(size=(5, 5)), random.normal(size=5), 0.3
    hessian = root @ root.T
    with jax.enable_x64(True):
        value, gradient = jax.jit(sam(rho)(lambda p: 0.5 * p @ hessian @ p))(jnp.asarray(w))
    slope = hessian @ w
    np.testing.assert_allclose(value, 0.5 * w @ slope, rtol=1e-13)  # the value is that of the visible parameters
    np.testing.assert_allclose(gradient, hessian @ (w + rho * slope / np.linalg.norm(slope)), rtol=1e-13)


def test_adaptive_closed_form():
    random = np.random.default_rng(1)
    w, slope, rho, eta = random.normal(size=5), random.normal(size=5), 0.5, 0.1
    with jax.enable_x64(True):
        loss_fn = lambda p: jnp.sum(slope * p) + 0.5 * jnp.sum(p**2)
        _, gradient = sam(rho, adaptive=True, eta=eta)(loss_fn)(jnp.asarray(w))
    first, scale = slope + w, np.abs(w) + eta
    moved = w + rho * scale**2 * first / np.linalg.norm(scale * first)
    np.testing.assert_allclose(gradient, slope + moved, rtol=1e-13)


PEERS = {"sam": sam(0.05), "asam": sam(0.5, adaptive=True, eta=0.0), "gsam": gsam(0.3, 0.4)}


@pytest.mark.parametrize("name", PEERS)
def test_equals_pytorch_optimizer(name):
    # pytorch-optimizer computes the norm in float32, whatever the parameters' dtype, and has no eta.
    with jax.enable_x64(True):
        hessian, w, rule = jnp.asarray(GOLDEN["hessian"]), jnp.asarray(GOLDEN["start"]), PEERS[name]
        gradient = rule(lambda x: 0.5 * x @ hessian @ x + 0.25 * jnp.sum(x**4))
        _, path = jax.lax.scan(lambda x, _: (x - 0.05 * gradient(x)[1],) * 2, w, length=len(GOLDEN[name]))
    np.testing.assert_allclose(path, GOLDEN[name], rtol=1e-6, atol=1e-8)


def test_trajectory_equals_optax_contrib_sam():
    # optax perturbs the visible parameters on every first of two updates; every second result is a SAM step.
    with jax.enable_x64(True):
        loss_fn = lambda x: jnp.sum(jnp.array([1.0, 10.0, 3.0]) * x**2) + jnp.sum(jnp.sin(x))
        tx = optax.contrib.sam(optax.adam(0.05), optax.chain(optax.contrib.normalize(), optax.sgd(0.1)), sync_period=2)
        ours = theirs = jnp.array([1.0, -0.5, 2.0])
        their_state, inner = tx.init(theirs), optax.adam(0.05)
        our_state = inner.init(ours)
        for _ in range(20):
            for _ in range(2):
                updates, their_state = tx.update(jax.grad(loss_fn)(theirs), their_state, theirs)
                theirs = optax.apply_updates(theirs, updates)
            updates, our_state = inner.update(sam(0.1)(loss_fn)(ours)[1], our_state, ours)
            ours = optax.apply_updates(ours, updates)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_zero_gradient_is_zero(dtype, adaptive):
    value, gradient = sam(0.05, adaptive=adaptive)(lambda p: jnp.sum(p["w"] ** 2) + 0 * p["b"])(
        {"w": jnp.zeros(3, dtype), "b": jnp.ones((), dtype)}
    )
    assert value == 0
    assert gradient["w"].dtype == dtype
    np.testing.assert_array_equal(gradient["w"], 0)


def test_zero_radius_and_linear_loss_are_the_plain_gradient():
    w, slope = jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5])
    curved = lambda p: jnp.sum(jnp.cos(p))
    np.testing.assert_array_equal(sam(0.0)(curved)(w)[1], jax.grad(curved)(w))
    np.testing.assert_array_equal(sam(10.0)(lambda p: jnp.sum(slope * p))(w)[1], slope)


def test_radius_may_be_traced_or_a_schedule():
    loss_fn, w = (lambda p: jnp.sum(p**4)), jnp.array([1.0, 2.0])
    radii = jnp.array([0.0, 0.1, 0.5])
    swept = jax.vmap(lambda rho: sam(rho)(loss_fn)(w)[1])(radii)
    np.testing.assert_allclose(swept, jnp.stack([sam(float(rho))(loss_fn)(w)[1] for rho in radii]), rtol=1e-6)

    scheduled = sam(optax.linear_schedule(0.0, 0.5, 10))(loss_fn)
    np.testing.assert_allclose(scheduled(w, step=2)[1], sam(0.1)(loss_fn)(w)[1], rtol=1e-6)
    with pytest.raises(ValueError, match="sam: rho is a schedule"):
        scheduled(w)


def test_schedule_advances_in_the_train_step():
    loss_fn = lambda w, batch, key: jnp.sum(w**4)
    rule, tx = sam(lambda step: 0.1 * step), optax.sgd(0.01)
    step = make_train_step(loss_fn, tx, gradient=rule, has_aux=False)
    state, expected = TrainState.create(params=jnp.array([1.0, 2.0]), tx=tx), jnp.array([1.0, 2.0])
    for i in range(3):
        state, _ = step(state, jnp.zeros(1))
        expected = expected - 0.01 * sam(0.1 * i)(lambda w: jnp.sum(w**4))(expected)[1]
    np.testing.assert_allclose(state.params, expected, rtol=1e-6)


def test_aux_is_of_the_first_pass_and_two_gradients_are_taken():
    calls = []

    def loss_fn(w):
        calls.append(1)
        return jnp.sum(w**2), w

    w = jnp.array([3.0, 4.0])
    (_, seen), _ = sam(0.1)(loss_fn, has_aux=True)(w)
    np.testing.assert_array_equal(seen, w)
    assert len(calls) == 2


def test_sam_of_accumulated_gradients_is_sam_of_the_batch():
    batch = jnp.asarray(np.random.default_rng(2).normal(size=(8, 2)), jnp.float32)
    loss_fn = lambda w, b: jnp.mean(jnp.sum((w - b) ** 4, axis=-1))
    w = jnp.array([0.3, -0.2])
    np.testing.assert_allclose(
        sam(0.2, inner=accumulate(4))(loss_fn)(w, batch)[1], sam(0.2)(loss_fn)(w, batch)[1], rtol=1e-5
    )
    per_microbatch = np.mean([sam(0.2)(loss_fn)(w, batch[i::4])[1] for i in range(4)], axis=0)
    np.testing.assert_allclose(accumulate(4, inner=sam(0.2))(loss_fn)(w, batch)[1], per_microbatch, rtol=1e-5)


def test_half_precision_gradients_do_not_overflow_the_norm():
    # Squares of 1000 overflow float16; the perturbation is still rho along the gradient.
    w = jnp.full(2, 2.0, jnp.float16)
    _, gradient = sam(0.5)(lambda p: jnp.sum(jnp.float16(500.0) * p**2).astype(jnp.float32))(w)
    np.testing.assert_allclose(gradient, 1000 * (2 + 0.5 / np.sqrt(2)), rtol=1e-3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"sam: rho must lie in \[0, inf\], got -0.1"):
        sam(-0.1)
    with pytest.raises(ValueError, match=r"sam: eta must lie in"):
        sam(0.1, eta=-1.0)
    with pytest.raises(TypeError, match="sam: inner must be a function"):
        sam(0.1, inner=3)


def quadratic(seed):
    random = np.random.default_rng(seed)
    root, w = random.normal(size=(5, 5)), random.normal(size=5)
    return root @ root.T, w


def test_gsam_closed_form_on_a_quadratic():
    (hessian, w), rho, alpha = quadratic(3), 0.3, 0.7
    with jax.enable_x64(True):
        value, gradient = jax.jit(gsam(rho, alpha)(lambda p: 0.5 * p @ hessian @ p))(jnp.asarray(w))
    plain = hessian @ w
    above = hessian @ (w + rho * plain / np.linalg.norm(plain))
    unit = above / np.linalg.norm(above)
    np.testing.assert_allclose(value, 0.5 * w @ plain, rtol=1e-13)
    np.testing.assert_allclose(gradient, above - alpha * (plain - (plain @ unit) * unit), rtol=1e-12)


def test_gsam_changes_sam_only_across_its_gradient():
    (hessian, w), loss = quadratic(4), lambda p: jnp.sum(jnp.cos(p)) + 0.5 * p @ hessian @ p
    with jax.enable_x64(True):
        first = np.asarray(sam(0.3)(loss)(jnp.asarray(w))[1])
        np.testing.assert_array_equal(gsam(0.3, 0.0)(loss)(jnp.asarray(w))[1], first)
        change = np.asarray(gsam(0.3, 0.8)(loss)(jnp.asarray(w))[1]) - first
    assert np.linalg.norm(change) > 1e-3 * np.linalg.norm(first)
    np.testing.assert_allclose(change @ first, 0, atol=1e-13 * (first @ first))


def test_gsam_shrinks_the_surrogate_gap_more_than_sam():
    # One small step from the same point: the perturbed loss falls equally to first order, the plain loss falls less.
    (hessian, w), rho, rate = quadratic(5), 0.3, 1e-4
    with jax.enable_x64(True):
        loss = lambda p: 0.5 * p @ hessian @ p
        worst = lambda p: loss(p + rho * jax.grad(loss)(p) / jnp.linalg.norm(jax.grad(loss)(p)))
        gap = lambda p: float(worst(p) - loss(p))
        after = {a: jnp.asarray(w) - rate * gsam(rho, a)(loss)(jnp.asarray(w))[1] for a in (0.0, 2.0)}
        assert gap(after[2.0]) < gap(after[0.0]) < gap(jnp.asarray(w))


def test_gsam_names_its_faults():
    with pytest.raises(ValueError, match=r"gsam: alpha must lie in \[0, inf\], got -0.1"):
        gsam(0.1, -0.1)
    with pytest.raises(ValueError, match="gsam: alpha is a schedule"):
        gsam(0.1, lambda step: 0.1)(lambda w: w**2)(jnp.ones(()))


def test_fisher_sam_closed_form_on_a_quadratic():
    (hessian, w), rho, eta = quadratic(6), 0.3, 2.0
    with jax.enable_x64(True):
        value, gradient = jax.jit(fisher_sam(rho, eta=eta)(lambda p: 0.5 * p @ hessian @ p))(jnp.asarray(w))
    plain = hessian @ w
    inverse = np.diag(1 / (1 + eta * plain**2))
    moved = w + rho * inverse @ plain / np.sqrt(plain @ inverse @ plain)
    np.testing.assert_allclose(value, 0.5 * w @ plain, rtol=1e-13)
    np.testing.assert_allclose(gradient, hessian @ moved, rtol=1e-12)


def test_fisher_sam_ends_on_the_edge_of_its_ellipsoid_and_highest_there():
    # The gradient of |p|^2/2 is the point itself, so the rule's result is the perturbed point.
    random, rho, eta = np.random.default_rng(7), 0.3, 2.0
    w = random.normal(size=5)
    with jax.enable_x64(True):
        moved = np.asarray(fisher_sam(rho, eta=eta)(lambda p: 0.5 * jnp.sum(p**2))(jnp.asarray(w))[1]) - w
    metric = 1 + eta * w**2
    np.testing.assert_allclose(moved @ (metric * moved), rho**2, rtol=1e-12)
    others = random.normal(size=(1000, 5))
    others *= rho / np.sqrt(np.sum(metric * others**2, axis=1, keepdims=True))
    assert np.max(others @ w) < moved @ w


def test_fisher_sam_without_the_information_is_sam():
    (hessian, w), loss = quadratic(8), lambda p: jnp.sum(jnp.cos(p)) + 0.5 * p @ hessian @ p
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            fisher_sam(0.3, eta=0.0)(loss)(jnp.asarray(w))[1], sam(0.3)(loss)(jnp.asarray(w))[1], rtol=1e-14
        )
