"""Generalised implicit FTRL: limits, proximal points in closed form, and the inequality that its theory rests on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import gradients, run, start

from optimizers import generalized_implicit_ftrl

MODES = ("linear", "truncated", "extragradient", "prox")
CURVATURE = np.array([0.5, 4.0, 30.0])
CENTRE = np.array([1.0, -2.0, 0.5])


def quadratic(x):
    return 0.5 * jnp.sum(CURVATURE * (x - CENTRE) ** 2)


def follow(tx, x, losses):
    """The points before each loss, and after the last; and the states."""
    x = jnp.asarray(x)
    state = tx.init(x)
    points, states = [x], [state]
    for loss_fn in losses:
        value, grad = jax.value_and_grad(loss_fn)(x)
        updates, state = tx.update(grad, state, x, value=value, grad_fn=jax.grad(loss_fn))
        x = optax.apply_updates(x, updates)
        points.append(x)
        states.append(state)
    return np.array(points), states


def test_linear_at_a_constant_rate_is_gradient_descent():
    with jax.enable_x64(True):
        tx = generalized_implicit_ftrl(1e-2, "linear")
        (path, _), (expected, _) = (run(tx, start(), gradients()) for tx in (tx, optax.sgd(1e-2)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), path, expected)


def test_linear_at_a_falling_rate_is_dual_averaging():
    """x = x₁ - η_t (g_1 + … + g_t): old gradients are weighed by the new rate."""
    with jax.enable_x64(True):
        rate = lambda count: 0.3 / jnp.sqrt(count + 1.0)
        tx, grads = generalized_implicit_ftrl(rate, "linear"), gradients()["vector"]
        path, _ = run(tx, start()["vector"], grads, pull=0.0)
        steps = 0.3 / np.sqrt(np.arange(1, 201))[:, None]
        np.testing.assert_allclose(path, start()["vector"] - steps * np.cumsum(grads, axis=0), rtol=1e-11)


def test_truncated_at_a_constant_rate_is_the_polyak_step_with_a_ceiling():
    with jax.enable_x64(True):
        tx = generalized_implicit_ftrl(0.05, "truncated", lower_bound=0.2)
        loss_fn = lambda x: quadratic(x) + 0.2
        points, _ = follow(tx, np.zeros(3), [loss_fn] * 30)
        peer = optax.polyak_sgd(max_learning_rate=0.05, f_min=0.2)
        x, state = jnp.zeros(3), peer.init(jnp.zeros(3))
        for point in points[1:]:
            value, grad = jax.value_and_grad(loss_fn)(x)
            updates, state = peer.update(grad, state, x, value=value)
            x = optax.apply_updates(x, updates)
            np.testing.assert_allclose(point, x, rtol=1e-9, atol=1e-12)


def test_prox_of_a_quadratic_is_exact_at_every_rate():
    with jax.enable_x64(True):
        for rate in (0.1, 1.0, 1e3):
            tx = generalized_implicit_ftrl(rate, "prox", newton_steps=1, cg_steps=3)
            points, _ = follow(tx, np.full(3, 5.0), [quadratic] * 4)
            shrink = (1 + rate * CURVATURE) ** -np.arange(5.0)[:, None]
            np.testing.assert_allclose(points, CENTRE + shrink * (5.0 - CENTRE), rtol=1e-6)  # 1e-5 is CG's residual


def test_prox_of_a_smooth_loss_is_a_fixed_point():
    """x' = x - η ∇ℓ(x'), for log cosh, by a few steps of Newton's method."""
    with jax.enable_x64(True):
        loss_fn = lambda x: jnp.sum(jnp.log(jnp.cosh(x)))
        points, _ = follow(generalized_implicit_ftrl(2.0, "prox", newton_steps=8), np.array([0.3, -2.0]), [loss_fn])
        np.testing.assert_allclose(points[1], points[0] - 2.0 * np.tanh(points[1]), rtol=1e-6)


def test_extragradient_is_mirror_prox():
    with jax.enable_x64(True):
        points, _ = follow(generalized_implicit_ftrl(0.02, "extragradient"), np.zeros(3), [quadratic] * 5)
        x = np.zeros(3)
        for point in points[1:]:
            half = x - 0.02 * CURVATURE * (x - CENTRE)
            x = x - 0.02 * CURVATURE * (half - CENTRE)
            np.testing.assert_allclose(point, x, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["extragradient", "prox"])
def test_each_z_is_no_worse_than_the_gradient(mode):
    """H(z) = η/2 |θ - z|² + ℓ*(z) of quadratics ℓ, whose conjugate is Σ z² / 2h + z c, at a falling rate."""
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        centres = random.normal(size=(12, 3))
        losses = [lambda x, c=c: 0.5 * jnp.sum(CURVATURE * (x - c) ** 2) for c in centres]
        rate = lambda count: 0.03 / jnp.sqrt(count + 1.0)
        points, states = follow(generalized_implicit_ftrl(rate, mode), np.zeros(3), losses)
        for t, centre in enumerate(centres):
            theta, eta = np.asarray(states[t].theta), float(rate(t))
            h = lambda z, theta=theta, eta=eta, centre=centre: (
                0.5 * eta * np.sum((theta - z) ** 2) + np.sum(z**2 / (2 * CURVATURE) + z * centre)
            )
            z, g = theta - np.asarray(states[t + 1].theta), CURVATURE * (points[t] - centre)
            assert h(z) <= h(g) + 1e-12
            if mode == "prox":  # no z is better
                assert all(h(z) <= h(z + 1e-3 * random.normal(size=3)) + 1e-9 for _ in range(20))


def test_truncated_and_prox_bear_a_rate_that_is_too_large():
    """Regret on hinge losses of a separable stream, at 30 times a good rate."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 3))
    labels = np.sign(inputs @ np.array([1.0, -2.0, 0.5]))
    losses = [lambda w, x=x, y=y: jnp.maximum(0.0, 1.0 - y * (x @ w)) for x, y in zip(inputs, labels, strict=True)]
    paid = {}
    for mode in ("linear", "truncated"):
        points, _ = follow(generalized_implicit_ftrl(30.0, mode), np.zeros(3), losses)
        paid[mode] = sum(float(loss_fn(point)) for loss_fn, point in zip(losses, points))
    assert paid["truncated"] < 0.1 * paid["linear"]


@pytest.mark.parametrize("mode", MODES[1:])
def test_missing_arguments_are_named(mode):
    tx, w = generalized_implicit_ftrl(0.1, mode), jnp.ones(2)
    with pytest.raises((TypeError, ValueError), match="^generalized_implicit_ftrl: .*(value|grad_fn)"):
        tx.update(w, tx.init(w), w)
    with pytest.raises(ValueError, match="^generalized_implicit_ftrl: update needs params"):
        tx.update(w, tx.init(w))
