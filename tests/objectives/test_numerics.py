"""Arithmetic at its ends."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives._log_domain import finite_log_sum_exp, log_sum_exp
from objectives._numerics import power, root, unit_vectors


def test_unit_vectors_of_any_length():
    """No square overflows; what is shorter than 1e-12 has no direction; NaN is no direction either."""
    long, short, none, broken = [3e25, 4e25], [3e-11, 4e-11], [3e-14, 0.0], [np.nan, 1.0]
    got = unit_vectors(jnp.array([long, short, none, [0.0, 0.0], broken]))
    np.testing.assert_allclose(got, [[0.6, 0.8], [0.6, 0.8], [0, 0], [0, 0], [np.nan, np.nan]], rtol=3e-7)
    with jax.enable_x64(True):
        x = np.array([3.0, 4.0])  # the Jacobian is (1 - u uᵀ) / |x|
        np.testing.assert_allclose(jax.jacobian(unit_vectors)(x), [[0.128, -0.096], [-0.096, 0.072]], rtol=1e-14)
    np.testing.assert_array_equal(jax.jacobian(unit_vectors)(jnp.array(none)), 0)


def test_roots_and_powers_keep_nan_and_are_flat_at_zero():
    for function in (root, lambda x: power(x, 0.5)):
        np.testing.assert_allclose(function(jnp.array([4.0, 0.0, np.nan])), [2.0, 0.0, np.nan])
        np.testing.assert_array_equal(jax.vmap(jax.grad(function))(jnp.array([4.0, 0.0])), [0.25, 0.0])


def test_log_sum_exp_of_nothing_is_minus_infinity_and_of_nan_is_nan():
    infinite, nan = np.inf, np.nan
    values = jnp.array([[1e4, 1e4, -infinite], [-infinite] * 3, [nan, 0.0, 1.0], [infinite, 0.0, 0.0], [0.0, 1e4, 0.0]])
    expected = np.array([1e4 + np.log(2), -infinite, nan, infinite, 1e4])
    np.testing.assert_allclose(log_sum_exp(values), expected, rtol=1e-6)
    np.testing.assert_allclose(log_sum_exp(values.T, 0), expected, rtol=1e-6)
    some = np.array([[True, False, True], [True] * 3, [False, True, True], [False] * 3, [True, False, True]])
    expected = np.array([1e4, -infinite, np.logaddexp(0, 1), -infinite, np.log(2)])
    np.testing.assert_allclose(log_sum_exp(values, where=some), expected, rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(jnp.where(jnp.isneginf(y := log_sum_exp(x, where=some)), 0, y)))(values)
    shares = np.exp([0, 1]) / np.sum(np.exp([0, 1]))
    np.testing.assert_allclose(gradient, [[1, 0, 0], [0, 0, 0], [0, *shares], [0, 0, 0], [0.5, 0, 0.5]], rtol=1e-6)
    finite = finite_log_sum_exp(values[:3])
    np.testing.assert_allclose(finite, [1e4 + np.log(2), np.finfo(np.float32).min / 2, nan], rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: finite_log_sum_exp(x)[0])(values[1:2]), 0)
