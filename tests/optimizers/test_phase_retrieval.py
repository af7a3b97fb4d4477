"""Newton's steps of sparse phase retrieval against automatic Hessians, and the quadratic rate they are made for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from optimizers import sparse_phase_newton_step, spectral_init_sparse


def problem(size, sparsity, measurements, seed=0):
    random = np.random.default_rng(seed)
    signal = np.zeros(size)
    signal[random.choice(size, sparsity, replace=False)] = random.choice([-1, 1], sparsity) * random.uniform(
        1, 2, sparsity
    )
    sensing = random.normal(size=(measurements, size))
    return signal, sensing, np.abs(sensing @ signal)


def test_errors_square_until_rounding():
    signal, sensing, magnitudes = problem(100, 5, 150)
    start = signal * (1 + 0.1 * np.random.default_rng(1).uniform(-1, 1, 100))
    with jax.enable_x64(True):
        step = jax.jit(lambda z: sparse_phase_newton_step(z, sensing, magnitudes, 5))
        z, errors = jnp.asarray(start), []
        for _ in range(6):
            errors.append(float(np.linalg.norm(np.asarray(z) - signal) / np.linalg.norm(signal)))
            z = step(z)
    assert errors[0] > 0.02
    assert all(after < 10 * before**2 + 1e-10 for before, after in itertools.pairwise(errors))
    assert errors[-1] < 1e-10


def test_step_is_newtons_by_automatic_differentiation():
    """With every coordinate in the support: a plain Newton step of the intensity loss."""
    signal, sensing, magnitudes = problem(6, 6, 40)
    with jax.enable_x64(True):
        f = lambda z: jnp.mean(((sensing @ z) ** 2 - magnitudes**2) ** 2) / 4
        z = jnp.asarray(signal) + 0.1
        expected = z - jnp.linalg.solve(jax.hessian(f)(z), jax.grad(f)(z))
        found = sparse_phase_newton_step(z, sensing, magnitudes, 6, ridge=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_leaves_the_support_is_accounted_for():
    """Newton's model at z, minimised over points that are zero off the new support."""
    signal, sensing, magnitudes = problem(6, 2, 40)
    with jax.enable_x64(True):
        f = lambda z: jnp.mean(((sensing @ z) ** 2 - magnitudes**2) ** 2) / 4
        z = jnp.asarray(np.where(signal != 0, signal, 0.05))
        support = np.flatnonzero(signal)
        h, g = np.asarray(jax.hessian(f)(z)), np.asarray(jax.grad(f)(z))
        found = np.asarray(sparse_phase_newton_step(z, sensing, magnitudes, 2, ridge=0.0))
        z = np.asarray(z)
    # The model's gradient g + H (x - z) vanishes on the support.
    np.testing.assert_array_equal(np.flatnonzero(found), support)
    np.testing.assert_allclose((g + h @ (found - z))[support], 0, atol=1e-9)


def test_recovers_a_signal_from_the_spectral_start():
    """Up to its sign, in float32."""
    signal, sensing, magnitudes = problem(40, 3, 300, seed=2)
    z = spectral_init_sparse(jnp.float32(sensing), jnp.float32(magnitudes), 3)
    step = jax.jit(lambda z: sparse_phase_newton_step(z, jnp.float32(sensing), jnp.float32(magnitudes), 3))
    for _ in range(8):
        z = step(z)
    z = np.asarray(z)
    np.testing.assert_allclose(z * np.sign(z @ signal), signal, atol=1e-5)
