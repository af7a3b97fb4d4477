"""Straight-through functions: the authors' ReSTE, closed forms, limits, and exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import reste, reste_schedule, reverse_gradient, straight_through


def slope(function, x):
    return jax.vjp(function, x)[1](jnp.ones_like(x))[0]


def test_reste_equals_the_authors(golden):
    case = golden("reste")
    with jax.enable_x64(True):
        x = jnp.asarray(case["x"])
        for o, t, expected in zip(case["o"], case["t"], case["dx"], strict=True):
            np.testing.assert_allclose(slope(lambda x, o=o, t=t: reste(x, o=o, t=t), x), expected, rtol=1e-6)
            np.testing.assert_array_equal(reste(x, o=o, t=t), np.sign(x))


def test_reste_closed_form_and_printed_values():
    with jax.enable_x64(True):
        x = jnp.array([0.05, -0.05, 0.0, 0.1, 0.5, -0.5, 1.5, 1.5001, -7.0])
        exact = [0.1 ** (1 / 3) / 0.1] * 4 + [0.5 ** (-2 / 3) / 3] * 2 + [1.5 ** (-2 / 3) / 3, 0, 0]
        np.testing.assert_allclose(slope(reste, x), exact, rtol=1e-13)
    np.testing.assert_allclose(slope(reste, jnp.array([0.05, 0.5])), [4.6416, 0.5291], atol=5e-5)


def test_reste_at_power_one_is_the_clipped_estimator():
    x = jnp.linspace(-3, 3, 41)
    np.testing.assert_allclose(slope(lambda x: reste(x, o=1.0, t=1.0), x), np.abs(x) <= 1.0, rtol=1e-6)


def test_reste_slopes_integrate_to_the_power():
    """Between m and t the slope is the derivative of sign(x) |x|^(1/o), which nears the sign as o grows."""
    x = jnp.linspace(0.1, 1.5, 20_001)
    for o in (1.5, 3.0, 50.0):
        rise = np.trapezoid(np.asarray(slope(lambda x, o=o: reste(x, o=o), x[1:]), np.float64), x[1:])
        np.testing.assert_allclose(rise, 1.5 ** (1 / o) - float(x[1]) ** (1 / o), rtol=1e-3)
    assert rise < 0.06


def test_reste_sweeps_and_half_precision():
    x = jnp.array([-0.7, 0.02, 0.5, 1.2], jnp.float16)
    powers = jnp.array([1.0, 2.0, 3.0])
    swept = jax.vmap(lambda o: slope(lambda x: reste(x, o=o), x))(powers)
    for o, row in zip((1.0, 2.0, 3.0), swept):
        wide = slope(lambda x, o=o: reste(x, o=o), x.astype(jnp.float32))
        np.testing.assert_array_equal(row, wide.astype(jnp.float16))
    gradient = jax.grad(lambda o, t, m: jnp.sum(reste(x.astype(jnp.float32), o=o, t=t, m=m)), (0, 1, 2))(3.0, 1.5, 0.1)
    np.testing.assert_array_equal(gradient, 0)


def test_not_a_number_shows():
    bad = jnp.array([jnp.nan, 1.0])
    np.testing.assert_array_equal(np.isnan(reste(bad)), [True, False])
    np.testing.assert_array_equal(np.isnan(slope(reste, bad)), [True, False])
    np.testing.assert_array_equal(slope(reste, jnp.array([jnp.inf, -jnp.inf])), 0)


def test_schedule():
    counts = np.array([0, 1, 33, 99, 100, 5000])
    ratio = np.minimum(counts / 100, 1)
    got = [float(reste_schedule(100, o_end=4.0)(count)) for count in counts]
    np.testing.assert_allclose(got, 1 + (1 - np.cos(np.pi / 2 * ratio)) * 3, rtol=1e-6)
    np.testing.assert_array_equal([float(reste_schedule(7, o_end=1.0)(count)) for count in (0, 3, 9)], 1)


def test_straight_through_is_exact_where_a_difference_rounds():
    value, surrogate = jnp.array([1.0, 0.0, 2.0]), jnp.array([1e9, 3e-8, jnp.inf])
    np.testing.assert_array_equal(straight_through(value, surrogate), value)
    assert (surrogate + (value - surrogate))[0] != value[0]  # what the usual expression gives
    mask = straight_through(jnp.array([True, False]), jnp.ones(2, jnp.bfloat16))
    assert mask.dtype == jnp.bfloat16
    np.testing.assert_array_equal(mask, [1, 0])


def test_straight_through_differentiates_the_surrogate_alone():
    function = lambda x: straight_through(x**3, jnp.sin(x))
    value, tangent = jax.jvp(function, (0.7,), (2.0,))
    np.testing.assert_allclose((value, tangent), (0.343, 2 * np.cos(0.7)), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(function)(0.7), np.cos(0.7), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.grad(function))(0.7), -np.sin(0.7), rtol=1e-6)


def test_reversed_gradient():
    x = jnp.array([0.3, -1.7, 2.0])
    loss = lambda x: jnp.sum(jnp.cos(x) ** 2)
    expected = jax.grad(loss)(x)
    assert loss(reverse_gradient(x)) == loss(x)
    np.testing.assert_array_equal(jax.grad(lambda x: loss(reverse_gradient(x)))(x), -expected)
    np.testing.assert_array_equal(jax.grad(lambda x: loss(reverse_gradient(reverse_gradient(x))))(x), expected)
    scales = jnp.array([0.0, 0.5, 1.0])
    swept = jax.vmap(lambda scale: jax.grad(lambda x: loss(reverse_gradient(x, scale)))(x))(scales)
    np.testing.assert_allclose(swept, -scales[:, None] * expected, rtol=1e-6)
    assert jax.grad(lambda scale: loss(reverse_gradient(x, scale)))(1.0) == 0


def test_reversed_gradient_makes_a_saddle():
    """One descent on both: the features climb the loss that the discriminator descends."""
    loss = lambda features, weight: weight * reverse_gradient(features)
    assert jax.grad(loss, (0, 1))(2.0, 3.0) == (-3.0, 2.0)


@pytest.mark.parametrize("function", [reste, reverse_gradient])
def test_numbers_are_arrays(function):
    assert function(0.5).dtype == jnp.float32
