"""The misfit of a factorised matrix and its gradient, worked in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives import matrix_sensing_loss


def test_closed_form_and_gradient():
    """For symmetric measurements the gradient is A*(A(X Xᵀ) - y) X."""
    random = np.random.default_rng(0)
    sensing = random.normal(size=(7, 4, 4))
    sensing = (sensing + sensing.transpose(0, 2, 1)) / 2
    factor, measurements = random.normal(size=(4, 2)), random.normal(size=7)
    misfit = np.einsum("mij,ij->m", sensing, factor @ factor.T) - measurements
    with jax.enable_x64(True):
        total = lambda x: jnp.sum(matrix_sensing_loss(x, jnp.asarray(sensing), jnp.asarray(measurements)))
        losses = np.asarray(matrix_sensing_loss(jnp.asarray(factor), jnp.asarray(sensing), jnp.asarray(measurements)))
        gradient = np.asarray(jax.grad(total)(jnp.asarray(factor)))
    np.testing.assert_allclose(losses, misfit**2 / 4, rtol=1e-12)
    np.testing.assert_allclose(gradient, np.einsum("m,mij->ij", misfit, sensing) @ factor, rtol=1e-12)
