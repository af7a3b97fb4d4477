"""Arithmetic at its ends."""

import jax
import jax.numpy as jnp
import numpy as np

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
