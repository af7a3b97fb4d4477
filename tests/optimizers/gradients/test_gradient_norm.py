"""Penalties on the norm of the gradient: the exact Hessian-vector product, closed forms, limits, golden values."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import gam, gradient_norm_regularization, gsam, sam

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "sharpness.npz")
HESSIAN, START = GOLDEN["hessian"], GOLDEN["start"]
MODES = ("forward", "backward", "centered")


def quadratic(x):
    return 0.5 * x @ HESSIAN @ x


def quartic(x):
    return quadratic(x) + 0.25 * jnp.sum(x**4)


def gradient_of(rule, loss_fn=quartic):
    with jax.enable_x64(True):
        return np.asarray(rule(loss_fn)(jnp.asarray(START))[1])


def exact(gamma, squared):
    """The gradient of the penalised loss by differentiating twice."""
    with jax.enable_x64(True):
        slope = jax.grad(quartic)
        norm = lambda x: 0.5 * jnp.sum(slope(x) ** 2) if squared else jnp.linalg.norm(slope(x))
        return np.asarray(jax.grad(lambda x: quartic(x) + gamma * norm(x))(jnp.asarray(START)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("squared", [True, False])
def test_on_a_quadratic_every_difference_is_the_exact_product(mode, squared):
    slope = HESSIAN @ START
    direction = slope if squared else slope / np.linalg.norm(slope)
    got = gradient_of(gradient_norm_regularization(0.3, 0.7, mode=mode, squared=squared), quadratic)
    np.testing.assert_allclose(got, slope + 0.3 * HESSIAN @ direction, rtol=1e-13)


@pytest.mark.parametrize("squared", [True, False])
def test_differences_converge_to_the_twice_differentiated_penalty(squared):
    expected = exact(0.3, squared)
    error = lambda mode, epsilon: np.linalg.norm(
        gradient_of(gradient_norm_regularization(0.3, epsilon, mode=mode, squared=squared)) - expected
    )
    for mode, order in zip(MODES, (1, 1, 2)):
        # A tenth of the length: a tenth of the error of a one-sided difference, a hundredth of the centered one's.
        np.testing.assert_allclose(error(mode, 1e-3) / error(mode, 1e-4), 10.0**order, rtol=0.02)
    assert error("centered", 1e-4) < 1e-6 * np.linalg.norm(expected)


def test_one_sided_differences_err_on_opposite_sides():
    sides = [gradient_of(gradient_norm_regularization(0.3, 0.1, mode=mode)) for mode in MODES]
    np.testing.assert_allclose((sides[0] + sides[1]) / 2, sides[2], rtol=1e-12)
    assert np.linalg.norm(sides[0] - sides[1]) > 0.1


def test_a_forward_difference_of_length_gamma_is_one_gradient():
    # Unnormalised SAM with `squared`, SAM without.
    with jax.enable_x64(True):
        x = jnp.asarray(START)
        ahead = jax.grad(quartic)(x + 0.2 * jax.grad(quartic)(x))
    np.testing.assert_allclose(gradient_of(gradient_norm_regularization(0.2, 0.2)), ahead, rtol=1e-13)
    unsquared = gradient_of(gradient_norm_regularization(0.2, 0.2, squared=False))
    np.testing.assert_allclose(unsquared, gradient_of(sam(0.2)), rtol=1e-13)


def test_equals_pytorch_optimizer():
    # Coupled WSAM at gamma 0.4 is (1 - a) g + a g_perturbed with a = 2/3. Its norm is in float32.
    rule = gradient_norm_regularization(0.3 * 2 / 3, 0.3, squared=False)
    with jax.enable_x64(True):
        gradient = rule(quartic)
        _, path = jax.lax.scan(
            lambda x, _: (x - 0.05 * gradient(x)[1],) * 2, jnp.asarray(START), length=len(GOLDEN["wsam"])
        )
    np.testing.assert_allclose(path, GOLDEN["wsam"], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "beta"), [("gam", 1.0), ("gam_half", 0.5)])
def test_gam_equals_the_authors_code(name, beta):
    gradient = gam(0.1, 0.2, 0.3, beta)(quartic)
    with jax.enable_x64(True):
        _, path = jax.lax.scan(
            lambda x, _: (x - 0.05 * gradient(x)[1],) * 2, jnp.asarray(START), length=len(GOLDEN[name])
        )
    np.testing.assert_allclose(path, GOLDEN[name], rtol=1e-9, atol=1e-12)


def test_gam_closed_form_on_a_quadratic():
    rho, norm_rho, alpha, beta = 0.3, 0.4, 0.6, 0.7
    unit = lambda v: v / np.linalg.norm(v)
    here = HESSIAN @ START
    # On a quadratic the gradient's norm rises along the Hessian times the gradient, whatever rho.
    steep = START + norm_rho * unit(HESSIAN @ here)
    above, at_steep = HESSIAN @ (START + rho * unit(here)), HESSIAN @ steep
    n, m = above + beta * HESSIAN @ (steep + rho * unit(at_steep)), here + beta * at_steep
    expected = n - alpha * (m - (m @ unit(n)) * unit(n))
    np.testing.assert_allclose(gradient_of(gam(rho, norm_rho, alpha, beta), quadratic), expected, rtol=1e-12)


def test_gam_without_the_flatter_point_is_gsam_and_with_both_points_alike_twice_that():
    expected = gradient_of(gsam(0.3, 0.4))
    np.testing.assert_allclose(gradient_of(gam(0.3, 0.2, 0.4, 0.0)), expected, rtol=1e-13)
    np.testing.assert_allclose(gradient_of(gam(0.3, 0.0, 0.4, 1.0)), 2 * expected, rtol=1e-13)


def test_gam_without_a_radius_does_not_follow_rounding():
    # Two gradients of one point may round differently; normalised, that would be a step of norm_rho.
    calls = iter(range(4))

    def rounding(loss_fn, has_aux=False):
        value_and_grad = jax.value_and_grad(loss_fn, has_aux)
        return lambda p, step: (value_and_grad(p)[0], value_and_grad(p)[1] + 1e-12 * next(calls))

    twice = 2 * HESSIAN @ START
    np.testing.assert_allclose(gradient_of(gam(0.0, 0.2, inner=rounding), quadratic), twice, rtol=1e-9)


def test_gam_follows_the_gradient_of_the_norm():
    # For a short rho, g3 - g2 is rho times the gradient of the norm where the norm is largest.
    rho = 1e-5
    with jax.enable_x64(True):
        x, slope = jnp.asarray(START), jax.grad(quartic)
        norm = lambda x: jnp.linalg.norm(slope(x))
        up = jax.grad(norm)(x)
        steep = x + 0.2 * up / jnp.linalg.norm(up)
        expected = slope(x + rho * slope(x) / norm(x)) + slope(steep) + rho * jax.grad(norm)(steep)
    np.testing.assert_allclose(gradient_of(gam(rho, 0.2, 0.0)), expected, rtol=1e-4)


def test_length_may_be_traced_or_a_schedule():
    lengths = jnp.array([0.1, 0.5])
    x = jnp.asarray(START, jnp.float32)
    loss_fn = lambda x: jnp.sum(x**4)
    at = lambda epsilon: gradient_norm_regularization(0.3, epsilon)(loss_fn)(x)[1]
    np.testing.assert_allclose(jax.vmap(at)(lengths), jnp.stack([at(0.1), at(0.5)]), rtol=1e-5)
    scheduled = gradient_norm_regularization(0.3, lambda step: 0.05 * step)(loss_fn)
    np.testing.assert_allclose(scheduled(x, step=2)[1], at(0.1), rtol=1e-5)


def test_faults_are_named():
    with pytest.raises(ValueError, match="gradient_norm_regularization: mode must be one of .* got 'upward'"):
        gradient_norm_regularization(mode="upward")
    with pytest.raises(ValueError, match=r"gradient_norm_regularization: epsilon must lie in \(0, inf\], got 0.0"):
        gradient_norm_regularization(epsilon=0.0)
    with pytest.raises(ValueError, match="gradient_norm_regularization: epsilon is a schedule"):
        gradient_norm_regularization(epsilon=lambda step: 0.1)(quadratic)(jnp.ones(6))
    with pytest.raises(ValueError, match=r"gam: norm_rho must lie in \[0, inf\], got -0.1"):
        gam(norm_rho=-0.1)
