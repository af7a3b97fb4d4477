"""Saddle-free and gradient-normalised Newton, and natural gradients: linear systems against NumPy and SciPy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

from optimizers import (
    gauss_newton_vector_product,
    gradient_normalized_newton,
    gradient_regularized_newton_direction,
    natural_gradient,
    ou_relax,
    saddle_free_direction,
    saddle_free_newton,
    thermodynamic_natural_gradient,
)
from optimizers.second_order._spectral import lanczos, matrix_function

RANDOM = np.random.default_rng(0)
SYMMETRIC = RANDOM.normal(size=(7, 7))
SYMMETRIC = SYMMETRIC + SYMMETRIC.T
POSITIVE = SYMMETRIC @ SYMMETRIC + 0.1 * np.eye(7)
GRADIENT = RANDOM.normal(size=7)


def split(vector):
    """A tree of two leaves."""
    return {"a": jnp.reshape(vector[..., :4], (*vector.shape[:-1], 2, 2)), "b": vector[..., 4:]}


def joined(tree):
    return jnp.concatenate([jnp.ravel(tree["a"]), tree["b"]])


def multiply(matrix):
    return lambda tree: split(jnp.asarray(matrix) @ joined(tree))


def absolute(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.abs(values)) @ vectors.T


def update_of(tx, gradient, **extra):
    params = jax.tree.map(jnp.zeros_like, gradient)
    return jax.jit(lambda g: tx.update(g, tx.init(params), params, **extra)[0])(gradient)


def test_saddle_free_direction_solves_with_the_absolute_hessian():
    with jax.enable_x64(True):
        found = saddle_free_direction(SYMMETRIC, GRADIENT, 0.3)
        np.testing.assert_allclose(found, np.linalg.solve(absolute(SYMMETRIC) + 0.3 * np.eye(7), GRADIENT), rtol=1e-11)
        newton = np.linalg.solve(POSITIVE, GRADIENT)
        np.testing.assert_allclose(saddle_free_direction(POSITIVE, GRADIENT, 0.0), newton, rtol=1e-9)


@pytest.mark.parametrize("rank", [None, 7, 20])
def test_saddle_free_newton_equals_its_direction(rank):
    """Exactly, and from a Krylov space that is the whole space."""
    with jax.enable_x64(True):
        tx = saddle_free_newton(0.5, 0.3, rank=rank)
        found = joined(update_of(tx, split(GRADIENT), grad_fn=multiply(SYMMETRIC)))
        expected = -0.5 * np.linalg.solve(absolute(SYMMETRIC) + 0.3 * np.eye(7), GRADIENT)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("rank", [None, 1, 2, 3])
def test_one_step_leaves_the_saddle(rank):
    """(x² - y²) / 2 from (x, y): to (0, 2y). One dimension of the Krylov space has the gradient alone."""
    grad_fn = jax.grad(lambda x: (x[0] ** 2 - x[1] ** 2) / 2)
    x, tx = jnp.array([3.0, 1.0]), saddle_free_newton(1.0, 0.0, rank=rank)
    moved = x + tx.update(grad_fn(x), tx.init(x), x, grad_fn=grad_fn)[0]
    g = np.array([3.0, -1.0])
    within = g / abs(g @ np.diag([1.0, -1.0]) @ g / (g @ g))
    np.testing.assert_allclose(moved, [0.0, 2.0] if rank != 1 else np.array([3.0, 1.0]) - within, atol=1e-5)


def test_saddle_free_newton_leaves_a_saddle_that_newton_goes_to():
    """x⁴ + y⁴ - x² + y² has minima at x = ±1/√2, a saddle at 0."""
    grad_fn = jax.grad(lambda x: jnp.sum(x**4) - x[0] ** 2 + x[1] ** 2)
    tx = saddle_free_newton(0.5)

    def step(x, _):
        newton = x[1] - 0.5 * jnp.linalg.solve(jax.jacobian(grad_fn)(x[1]), grad_fn(x[1]))
        return jnp.stack([x[0] + tx.update(grad_fn(x[0]), tx.init(x[0]), x[0], grad_fn=grad_fn)[0], newton]), None

    (ours, newton), _ = jax.jit(lambda x: jax.lax.scan(step, x, length=60))(jnp.array([[1e-3, 0.5], [1e-3, 0.5]]))
    np.testing.assert_allclose(ours, [0.5**0.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(newton, 0.0, atol=1e-4)


def test_the_lanczos_basis_is_orthonormal_and_ends_where_the_krylov_space_does():
    """A gradient with components along three eigenvectors: three vectors, then zeros."""
    with jax.enable_x64(True):
        values, vectors = np.linalg.eigh(SYMMETRIC)
        start = vectors[:, [0, 2, 5]] @ np.array([1.0, -2.0, 0.5])
        basis, matrix = lanczos(multiply(SYMMETRIC), split(start), 6)
        q = np.stack([joined(jax.tree.map(lambda x, k=k: x[k], basis)) for k in range(6)])
        np.testing.assert_allclose(q @ q.T, np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), atol=1e-12)
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix[:3, :3]), values[[0, 2, 5]], rtol=1e-11)
        np.testing.assert_allclose(matrix, q @ SYMMETRIC @ q.T, atol=1e-12)


def test_a_krylov_space_is_no_larger_than_the_space():
    basis, matrix = jax.eval_shape(lambda start: lanczos(multiply(SYMMETRIC), start, 20), split(jnp.ones(7)))
    assert basis["a"].shape == (7, 2, 2)
    assert matrix.shape == (7, 7)


def test_functions_of_a_matrix_equal_scipy():
    with jax.enable_x64(True):
        expected = scipy.linalg.expm(-POSITIVE / 10) @ GRADIENT
        for rank in (None, 7):
            found = matrix_function(lambda x: jnp.exp(-x / 10), multiply(POSITIVE), split(GRADIENT), rank)
            np.testing.assert_allclose(joined(found), expected, rtol=1e-10)


@pytest.mark.parametrize("metric", [None, POSITIVE + np.eye(7)])
def test_regularized_direction_equals_numpy(metric):
    with jax.enable_x64(True):
        shift = 5.0 * (np.eye(7) if metric is None else metric)
        found = gradient_regularized_newton_direction(SYMMETRIC, GRADIENT, 5.0, metric)
        if metric is None:  # 5 is less than the least eigenvalue's magnitude
            assert np.all(np.isnan(found))
            found = gradient_regularized_newton_direction(POSITIVE, GRADIENT, 5.0)
            np.testing.assert_allclose(found, np.linalg.solve(POSITIVE + shift, GRADIENT), rtol=1e-11)
        else:
            np.testing.assert_allclose(found, np.linalg.solve(SYMMETRIC + shift, GRADIENT), rtol=1e-11)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def normalized_path(tx, loss_fn, x, steps):
    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(loss_fn)(x)
        updates, state = tx.update(grad, state, x, value=value, value_fn=loss_fn, grad_fn=jax.grad(loss_fn))
        return (x + updates, state), (x, state.gamma, updates)

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=steps)[1])(x)


def test_gradient_normalized_newton_equals_the_authors_code():  # tests/golden/second_order.py wrote it
    """Points and radii on Rosenbrock's function; every step satisfies the inequality it was accepted by."""
    golden = np.load(pathlib.Path(__file__).parents[2] / "golden" / "second_order.npz")
    path, gamma = golden["gns_path"], golden["gns_gamma"]
    with jax.enable_x64(True):
        tx = gradient_normalized_newton(0.5)
        points, radii, steps = normalized_path(tx, rosenbrock, jnp.asarray(path[0]), 40)
        np.testing.assert_array_equal(radii, gamma[1:])
        np.testing.assert_allclose(points, path[:-1], rtol=1e-8, atol=1e-10)  # rounding grows along the valley
        gradient = jax.vmap(jax.grad(rosenbrock))
        lam = np.linalg.norm(gradient(points), axis=1) / (radii / 2)
        decrease = jax.vmap(rosenbrock)(points) - jax.vmap(rosenbrock)(points + steps)
        assert np.all(decrease >= np.sum(gradient(points + steps) ** 2, axis=1) / (8 * lam))


def test_gradient_normalized_newton_without_curvature_is_a_step_of_length_gamma():
    g, gamma = jnp.array([3.0, 4.0]), 0.7
    tx = gradient_normalized_newton(gamma, adaptive=False)
    updates, _ = tx.update(g, tx.init(g), jnp.zeros(2), grad_fn=lambda x: g)
    np.testing.assert_allclose(updates, -gamma * g / 5.0, rtol=1e-6)


def test_gradient_normalized_newton_of_a_large_radius_is_newtons_method():
    with jax.enable_x64(True):
        grad_fn = multiply(POSITIVE)
        found = update_of(gradient_normalized_newton(1e12, adaptive=False), split(GRADIENT), grad_fn=grad_fn)
        np.testing.assert_allclose(joined(found), -np.linalg.solve(POSITIVE, GRADIENT), rtol=1e-8)


def test_a_search_that_fails_takes_no_step_and_keeps_the_radius():
    """Of a function that only rises, and away from where the matrix is positive definite."""
    tx, x = gradient_normalized_newton(0.5, max_backtracks=4), jnp.ones(2)
    given = {"value": 0.0, "value_fn": lambda x: jnp.float32(1.0), "grad_fn": lambda x: -100.0 * x}
    updates, state = tx.update(jnp.ones(2), tx.init(x), x, **given)
    np.testing.assert_array_equal(updates, 0.0)
    assert state.gamma == 0.5


INPUTS = RANDOM.normal(size=(12, 2))
TARGETS = RANDOM.normal(size=(12, 3))


def model(params):
    return jnp.tanh(INPUTS @ params["a"]) @ jnp.stack([params["b"], params["b"] ** 2])


def squared(outputs):
    return 0.5 * jnp.mean(jnp.sum((outputs - TARGETS) ** 2, axis=1))


def gauss_newton_of_model(params):
    """J'J / B from the Jacobian, in NumPy."""
    jacobian = jax.jacobian(model)(params)
    rows = np.concatenate([np.reshape(jacobian[name], (36, -1)) for name in params], axis=1)
    return rows.T @ rows / 12


def test_natural_gradient_solves_the_gauss_newton_system():
    with jax.enable_x64(True):
        params = split(jnp.asarray(GRADIENT))
        grad = jax.grad(lambda p: squared(model(p)))(params)
        tx = natural_gradient(0.5, damping=0.1, iterations=50, tol=1e-14)

        def gnvp_fn(p, v):
            return gauss_newton_vector_product(model, squared, p, v)

        found, _ = jax.jit(lambda g: tx.update(g, tx.init(params), params, gnvp_fn=gnvp_fn))(grad)
        matrix = gauss_newton_of_model(params) + 0.1 * np.eye(7)
        np.testing.assert_allclose(joined(found), -0.5 * np.linalg.solve(matrix, joined(grad)), rtol=1e-10)


def test_natural_gradient_does_not_depend_on_the_parametrisation():
    """Undamped, a linear change of the parameters maps the step to the step."""
    with jax.enable_x64(True):
        change = RANDOM.normal(size=(7, 7)) + 3 * np.eye(7)
        tx = natural_gradient(1.0, damping=0.0, iterations=200, tol=1e-15)

        def step(outputs_fn, params):
            grad = jax.grad(lambda p: squared(outputs_fn(p)))(params)

            def gnvp_fn(p, v):
                return gauss_newton_vector_product(outputs_fn, squared, p, v)

            return jax.jit(lambda g: tx.update(g, tx.init(params), params, gnvp_fn=gnvp_fn)[0])(grad)

        plain = step(lambda p: model(split(p)), jnp.asarray(GRADIENT))
        mapped = step(lambda p: model(split(change @ p)), jnp.linalg.solve(change, GRADIENT))
        np.testing.assert_allclose(change @ mapped, plain, rtol=1e-6)  # of conjugate gradients, by the conditioning


def test_relaxation_has_its_mean_at_every_time():
    """x_i = (1 - exp(-F_i t)) / F_i from 0, and Euler's error falls with the step."""
    with jax.enable_x64(True):
        f, t = np.array([1.0, 10.0]), 0.37
        exact = (1 - np.exp(-f * t)) / f
        errors = [
            np.abs(ou_relax(lambda v: f * v, jnp.ones(2), jnp.zeros(2), t, dt=dt) - exact).max()
            for dt in (1e-2, 1e-3, 1e-4)
        ]
        assert errors[0] < 1e-2
        np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 10.0, rtol=0.15)
        np.testing.assert_array_equal(ou_relax(lambda v: f * v, jnp.ones(2), f, 0.0, dt=0.1), f)


def test_relaxation_has_its_stationary_distribution():
    """Mean A⁻¹g and covariance κ A⁻¹, to Euler's order and five standard errors of 4,000 processes."""
    with jax.enable_x64(True):
        matrix, g, noise, dt, count = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([1.0, -1.0]), 0.3, 0.02, 4000

        def sample(key):
            return ou_relax(lambda v: matrix @ v, jnp.asarray(g), jnp.zeros(2), 8.0, dt=dt, noise=noise, key=key)

        samples = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), count))
        # Euler's chain has the covariance κ A⁻¹ (I - A dt / 2)⁻¹.
        covariance = noise * np.linalg.inv(matrix @ (np.eye(2) - 0.5 * dt * matrix))
        error = np.sqrt(np.diag(covariance) / count)
        np.testing.assert_array_less(np.abs(samples.mean(0) - np.linalg.solve(matrix, g)), 5 * error)
        spread = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / count)
        np.testing.assert_array_less(np.abs(np.cov(samples.T) - covariance), 5 * spread)


def thermodynamic(gradient, **settings):
    tx = thermodynamic_natural_gradient(1.0, damping=0.2, **settings)
    gnvp_fn = {"gnvp_fn": lambda p, v: multiply(POSITIVE)(v)}
    return -joined(update_of(tx, split(gradient), **gnvp_fn))


@pytest.mark.parametrize("rank", [None, 7])
def test_thermodynamic_natural_gradient_interpolates(rank):
    """No time: the gradient. A long time: the natural gradient. Between them SciPy's matrix exponential."""
    with jax.enable_x64(True):
        matrix = POSITIVE + 0.2 * np.eye(7)
        natural = np.linalg.solve(matrix, GRADIENT)
        np.testing.assert_allclose(thermodynamic(GRADIENT, time=0.0, rank=rank), GRADIENT, rtol=1e-12)
        np.testing.assert_allclose(thermodynamic(GRADIENT, time=1e4, rank=rank), natural, rtol=1e-9)
        between = natural + scipy.linalg.expm(-0.1 * matrix) @ (GRADIENT - natural)
        np.testing.assert_allclose(thermodynamic(GRADIENT, time=0.1, rank=rank), between, rtol=1e-9)


def test_the_steps_of_the_process_tend_to_its_mean():
    with jax.enable_x64(True):
        exact = thermodynamic(GRADIENT, time=0.1)
        followed = thermodynamic(GRADIENT, time=0.1, dt=1e-5)
        np.testing.assert_allclose(followed, exact, rtol=1e-2, atol=1e-3 * np.abs(exact).max())  # Euler's error
        noisy = thermodynamic(GRADIENT, time=0.1, dt=1e-5, noise=1e-10)
        assert 0 < np.abs(noisy - followed).max() < 1e-4


def test_the_process_moves_at_constant_speed_where_there_is_no_curvature():
    g, tx = jnp.array([1.0, -2.0]), thermodynamic_natural_gradient(1.0, time=2.0, damping=0.0)
    updates, _ = tx.update(g, tx.init(g), g, gnvp_fn=lambda p, v: 0.0 * v)
    np.testing.assert_allclose(updates, -3.0 * g, rtol=1e-6)


def test_thermodynamic_momentum_without_time_is_heavy_ball():
    tx = thermodynamic_natural_gradient(0.1, time=0.0, momentum=0.9)
    peer, params = optax.sgd(0.1, momentum=0.9), jnp.zeros(2)
    state, peer_state = tx.init(params), peer.init(params)
    for g in (jnp.array([1.0, -2.0]), jnp.array([0.5, 0.3]), jnp.array([-1.0, 0.0])):
        updates, state = tx.update(g, state, params, gnvp_fn=lambda p, v: 3.0 * v)
        expected, peer_state = peer.update(g, peer_state, params)
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("tx", "missing"),
    [
        (saddle_free_newton(0.1), "grad_fn"),
        (natural_gradient(0.1), "gnvp_fn"),
        (natural_gradient(0.1, curvature="hessian"), "grad_fn"),
        (thermodynamic_natural_gradient(0.1), "gnvp_fn"),
        (gradient_normalized_newton(), "grad_fn"),
    ],
)
def test_what_update_lacks_is_named(tx, missing):
    with pytest.raises(ValueError, match=missing):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
