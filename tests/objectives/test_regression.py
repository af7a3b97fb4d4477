"""Huber and pseudo-Huber: closed forms, limits, optax, precision near zero, no broadcasting."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from objectives import huber_loss, pseudo_huber_loss

ERRORS = np.array([-1e4, -3.0, -0.7, -0.2, 0.0, 1e-6, 0.5, 2.0, 1e4])
LOSSES = [huber_loss, pseudo_huber_loss]


def test_closed_forms_in_float64():
    delta, size = 0.7, np.abs(ERRORS)
    with jax.enable_x64(True):
        got = huber_loss(ERRORS, np.zeros(9), delta=delta)
        np.testing.assert_allclose(got, np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)), rtol=1e-14)
        got = pseudo_huber_loss(ERRORS, np.zeros(9), delta=delta)
        with mpmath.workdps(50):
            exact = [float(delta**2 * (mpmath.sqrt(1 + (mpmath.mpf(e) / delta) ** 2) - 1)) for e in ERRORS]
        np.testing.assert_allclose(got, exact, rtol=1e-14)


def test_small_errors_keep_their_digits_in_float32():
    error = np.float32(1e-4)  # sqrt(1 + 1e-8) - 1 is 0 in float32
    np.testing.assert_allclose(pseudo_huber_loss(error, np.float32(0)), 0.5e-8, rtol=1e-6)


def test_huber_equals_optax_in_value_and_gradient():
    x, y = jnp.asarray(ERRORS, jnp.float32) + 0.3, jnp.full(9, 0.3)
    ours = jax.vjp(lambda p, t: huber_loss(p, t, delta=0.7), x, y)
    theirs = jax.vjp(lambda p, t: optax.losses.huber_loss(p, t, delta=0.7), x, y)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=1e-12)
    for mine, peer in zip(ours[1](jnp.ones(9)), theirs[1](jnp.ones(9)), strict=True):
        np.testing.assert_allclose(mine, peer, rtol=1e-6)


def test_huber_gradient_is_the_clipped_error_and_its_curvature_at_zero_is_one():
    slope = jax.vmap(jax.grad(lambda e: huber_loss(e, jnp.zeros(()), delta=0.7)))(jnp.asarray(ERRORS, jnp.float32))
    np.testing.assert_allclose(slope, np.clip(ERRORS, -0.7, 0.7), rtol=1e-6)
    for loss in LOSSES:
        assert jax.grad(jax.grad(lambda e, f=loss: f(e, jnp.zeros(()))))(0.0) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_limits_in_delta(loss):
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(ERRORS, np.zeros(9), delta=1e9), ERRORS**2 / 2, rtol=1e-9)
        np.testing.assert_allclose(loss(ERRORS, np.zeros(9), delta=1e-9) / 1e-9, np.abs(ERRORS), rtol=1e-2)
        check_grads(
            lambda p, d: loss(p, np.zeros(9), delta=d), (ERRORS + 0.01, jnp.asarray(0.7)), 2, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_even_and_zero_only_at_zero(loss):
    forward, backward = loss(ERRORS, np.zeros(9)), loss(np.zeros(9), ERRORS)
    np.testing.assert_array_equal(forward, backward)
    np.testing.assert_array_equal(np.asarray(forward) == 0, ERRORS == 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_errors(loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}: targets must have the shape of predictions, \[3, 1\], got .*\[3\]"):
        loss(jnp.ones((3, 1)), jnp.ones(3))
    with pytest.raises(TypeError, match=rf"{name}: predictions must be floating point, got int32\[3\]"):
        loss(jnp.arange(3), jnp.ones(3))
    with pytest.raises(ValueError, match=rf"{name}: delta must lie in \(0, inf\], got 0.0"):
        loss(jnp.ones(3), jnp.ones(3), delta=0.0)
    assert loss(jnp.ones(3, jnp.float16), np.array([1, 0, 1])).dtype == jnp.float32
