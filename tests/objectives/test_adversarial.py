"""Adversarial games: optimal discriminators, the divergences they measure, and gradient penalties in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import objectives
from objectives import gradient_penalty, r1_penalty

SCORES = np.linspace(-3, 3, 7)
P, Q = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.3, 0.2])


def test_closed_forms():
    sigmoid = 1 / (1 + np.exp(-SCORES))
    real = np.array([0, 1, 0, 1, 0.9, 1, 0])
    with jax.enable_x64(True):
        forms = {
            "minimax_discriminator": -real * np.log(sigmoid) - (1 - real) * np.log(1 - sigmoid),
            "hinge_discriminator": real * np.maximum(0, 1 - SCORES) + (1 - real) * np.maximum(0, 1 + SCORES),
            "wasserstein_critic": (1 - 2 * real) * SCORES,
            "least_squares_discriminator": real * (SCORES - 1) ** 2 / 2 + (1 - real) * SCORES**2 / 2,
        }
        for name, form in forms.items():
            got = getattr(objectives, f"{name}_loss")(SCORES, real)
            np.testing.assert_allclose(got, form, rtol=1e-12, atol=1e-14)
        forms = {
            "minimax": np.log(1 - sigmoid),
            "non_saturating": -np.log(sigmoid),
            "wasserstein": -SCORES,
            "least_squares": (SCORES - 1) ** 2 / 2,
        }
        for name, form in forms.items():
            np.testing.assert_allclose(getattr(objectives, f"{name}_generator_loss")(SCORES), form, rtol=1e-12)


def best_score(loss, p, q):
    """The score that minimises the discriminator's expected loss where the densities are p and q, and the least."""
    found = minimize_scalar(lambda s: float(p * loss(s, True) + q * loss(s, False)), bounds=(-8, 8), method="bounded")
    return found.x, found.fun


def test_optimal_discriminators_and_their_divergences():
    """The logit of p / (p + q) and 2 log 2 - 2 JS; the share of p; the sign of p - q and 2 - 2 TV."""
    with jax.enable_x64(True):

        def at(name):
            function = jax.jit(getattr(objectives, f"{name}_discriminator_loss"))
            return lambda s, real: function(jnp.array(s, jnp.float64), jnp.array(real))

        minimax = np.array([best_score(at("minimax"), p, q) for p, q in zip(P, Q)])
        np.testing.assert_allclose(minimax[:, 0], np.log(P / Q), atol=1e-4)
        middle = (P + Q) / 2
        divergence = (P * np.log(P / middle) + Q * np.log(Q / middle)).sum() / 2
        np.testing.assert_allclose(minimax[:, 1].sum(), 2 * np.log(2) - 2 * divergence, rtol=1e-6)
        squares = np.array([best_score(at("least_squares"), p, q) for p, q in zip(P, Q)])
        np.testing.assert_allclose(squares[:, 0], P / (P + Q), atol=1e-4)
        hinge = np.array([best_score(at("hinge"), p, q) for p, q in zip(P, Q)])
        np.testing.assert_allclose(hinge[:, 0], np.sign(P - Q), atol=1e-3)
        np.testing.assert_allclose(hinge[:, 1].sum(), 2 - np.abs(P - Q).sum(), rtol=1e-5)


def test_a_share_of_real_outside_the_unit_interval_is_nan():
    losses = objectives.hinge_discriminator_loss(jnp.zeros(4), jnp.array([-1, 0, 1, 2]))
    np.testing.assert_array_equal(np.isnan(losses), [True, False, False, True])


def test_gradient_penalty_of_a_quadratic_critic():
    """D(x) = |x|² / 2 has gradient x: the penalty says where between the two examples the critic was asked."""
    real, generated = np.full((500, 2), 3.0), np.zeros((500, 2))
    with jax.enable_x64(True):
        places = gradient_penalty(lambda x: 0.5 * (x**2).sum(-1), real, generated, key=jax.random.key(0), norm=0.0)
        share = np.sqrt(np.asarray(places) / 10 / 18)
        assert 0 <= share.min() < 0.02
        assert 0.98 < share.max() <= 1
        np.testing.assert_allclose(share.mean(), 0.5, atol=4 / np.sqrt(12 * 500))
        direction = np.array([0.6, 0.8, 0.0])
        wanted = 10 * (2.5 - 1) ** 2
        got = gradient_penalty(lambda x: 2.5 * x @ direction, np.ones((4, 3)), np.zeros((4, 3)), key=jax.random.key(1))
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_penalties_train_the_critics_parameters():
    """The gradient to the parameters that the critic closes over is that of the closed form."""
    x, w = np.random.default_rng(0).normal(size=(2, 3, 4))
    with jax.enable_x64(True):
        w = jnp.asarray(w[0])
        value, gradient = jax.value_and_grad(lambda w: r1_penalty(lambda x: jnp.tanh(x @ w), x, weight=2.0).sum())(w)
        slope = 1 - np.tanh(x @ w) ** 2
        np.testing.assert_allclose(value, (slope**2).sum() * (w @ w), rtol=1e-12)
        wanted = jax.grad(lambda w: (((1 - jnp.tanh(x @ w) ** 2) ** 2) * (w @ w)).sum())(w)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12)
        at_norm = jax.grad(lambda w: gradient_penalty(lambda x: x @ w, x, x, key=jax.random.key(0)).sum())(w)
        length = np.linalg.norm(w)
        np.testing.assert_allclose(at_norm, 3 * 20 * (length - 1) * w / length, rtol=1e-12)


def test_a_critic_without_slope_has_the_full_penalty_and_no_direction():
    def penalty(w):
        return gradient_penalty(lambda x: x @ w, jnp.ones((2, 3)), jnp.ones((2, 3)), key=jax.random.key(0)).sum()

    value, gradient = jax.value_and_grad(penalty)(jnp.zeros(3))
    assert value == 20
    np.testing.assert_array_equal(gradient, 0)


def test_errors():
    with pytest.raises(ValueError, match=r"r1_penalty: critic must return scores \[2\], got float32\[2, 3\]"):
        r1_penalty(lambda x: x, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"gradient_penalty: generated_examples must have the shape of real_examples"):
        gradient_penalty(lambda x: x[:, 0], jnp.ones((2, 3)), jnp.ones((1, 3)), key=jax.random.key(0))
