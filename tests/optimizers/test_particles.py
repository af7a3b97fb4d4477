"""Particles: the sum over pairs with the kernel differentiated, samples of a normal distribution, linear functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import ensemble_kalman_step, svgd_direction

svgd = jax.jit(lambda particles, scores, bandwidth: svgd_direction(particles, scores, bandwidth=bandwidth))
svgd_median = jax.jit(svgd_direction)
kalman = jax.jit(
    lambda particles, outputs, targets, precision=1.0, scale=1.0: ensemble_kalman_step(
        particles, outputs, targets, noise_precision=precision, scale=scale
    )
)


def pairs(particles, scores, bandwidth):
    """The definition, with the kernel's gradient by JAX."""

    def kernel(x, y):
        return jnp.exp(-jnp.sum((x - y) ** 2) / bandwidth)

    def at(x):
        each = jax.vmap(lambda y, s: kernel(y, x) * s + jax.grad(kernel)(y, x))
        return jnp.mean(each(particles, scores), axis=0)

    return jax.vmap(at)(particles)


def median_bandwidth(particles):
    distances = [np.linalg.norm(x - y) for i, x in enumerate(particles) for y in particles[:i]]
    return np.median(distances) ** 2 / np.log(len(particles) + 1)


def test_svgd_is_the_mean_over_pairs():
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        particles, scores = jnp.asarray(generator.normal(size=(2, 7, 3)))
        particles = 1e3 + particles  # far from the origin
        for bandwidth in (0.3, 5.0):
            expected = pairs(particles, scores, bandwidth)
            np.testing.assert_allclose(svgd(particles, scores, bandwidth), expected, rtol=1e-9, atol=1e-12)
        expected = pairs(particles, scores, median_bandwidth(np.asarray(particles)))
        np.testing.assert_allclose(svgd_median(particles, scores), expected, rtol=1e-9, atol=1e-12)


def test_svgd_limits():
    generator = np.random.default_rng(1)
    particles, scores = generator.normal(size=(2, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(svgd_median(particles[:1], scores[:1]), scores[:1])  # one particle: its score
    np.testing.assert_allclose(
        svgd(particles, scores, 1e12), np.broadcast_to(scores.mean(axis=0), (5, 2)), atol=1e-6
    )  # a flat kernel: the mean score for all
    np.testing.assert_allclose(svgd(particles, scores, 1e-6), scores / 5, atol=1e-5)  # each for itself
    apart = svgd(np.float32([[0.0], [2.0]]), np.zeros((2, 1), np.float32), 1.0)  # 2/h (x_i - x_j) k / N
    np.testing.assert_allclose(apart[:, 0], [-2 * np.exp(-4), 2 * np.exp(-4)], rtol=1e-5)
    same = svgd_median(np.ones((4, 2), np.float32), scores[:4])  # a median of 0
    np.testing.assert_allclose(same, np.broadcast_to(scores[:4].mean(axis=0), (4, 2)), rtol=1e-5)
    assert svgd_median(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0, 2)
    assert np.isnan(svgd_median(particles * np.nan, scores)).all()
    assert svgd_median(jnp.bfloat16(particles), jnp.bfloat16(scores)).dtype == jnp.bfloat16


def test_svgd_does_not_differentiate_the_median():
    particles = jnp.asarray(np.random.default_rng(2).normal(size=(5, 2)), jnp.float32)
    fixed = jnp.float32(median_bandwidth(np.asarray(particles)))
    through = jax.grad(lambda x: jnp.sum(svgd_median(x, -x) ** 2))(particles)
    np.testing.assert_allclose(through, jax.grad(lambda x: jnp.sum(svgd(x, -x, fixed) ** 2))(particles), atol=1e-5)


def test_svgd_samples_a_normal_distribution():
    start = 3.0 + 0.1 * jax.random.normal(jax.random.key(0), (50, 1))

    @jax.jit
    def run(particles):
        return jax.lax.fori_loop(0, 500, lambda _, x: x + 0.5 * svgd_direction(x, 1.0 - x), particles)

    samples = np.asarray(run(start))
    assert abs(samples.mean() - 1.0) < 0.02
    assert abs(samples.var() - 1.0) < 0.1  # 50 points of one kernel, not a sample: what is left is its bias


def linear_case():
    generator = np.random.default_rng(3)
    return generator.normal(size=(6, 4)), generator.normal(size=(3, 4)), generator.normal(size=3)


def test_kalman_step_of_a_linear_function_is_the_preconditioned_gradient():
    particles, matrix, targets = linear_case()
    precision = np.array([0.5, 1.0, 4.0])
    outputs = particles @ matrix.T
    deviations, residuals = outputs - outputs.mean(axis=0), precision * (outputs - targets)
    norm = np.linalg.norm(residuals @ deviations.T / 6)
    covariance = np.cov(particles.T, bias=True)
    expected = particles - residuals @ matrix @ covariance
    with jax.enable_x64(True):
        moved = kalman(*map(jnp.asarray, (particles, outputs, targets, precision)), norm)  # scale / |C| = 1
    np.testing.assert_allclose(moved, expected, rtol=1e-10)


def test_kalman_step_stays_in_the_span_and_has_the_length_asked_for():
    particles, matrix, targets = (np.float32(x) for x in linear_case())
    particles = particles[:3]  # a plane of four dimensions
    moved = np.asarray(kalman(particles, np.tanh(particles @ matrix.T), targets, 1.0, 0.5))
    span = particles[1:] - particles[0]
    inside = (moved - particles[0]) @ np.linalg.pinv(span) @ span
    np.testing.assert_allclose(moved - particles[0], inside, atol=1e-5)
    again = kalman(particles, np.tanh(particles @ matrix.T), targets, 7.0, 0.5)  # a precision for all: only a length
    np.testing.assert_allclose(moved, again, rtol=1e-5)
    twice = kalman(particles, np.tanh(particles @ matrix.T), targets, 1.0, 1.0)
    np.testing.assert_allclose(twice - particles, 2 * (moved - particles), rtol=1e-4, atol=1e-6)


def test_kalman_steps_solve_an_inverse_problem_without_derivatives():
    particles, matrix, _ = (np.float32(x) for x in linear_case())
    wanted = np.tanh(matrix @ np.float32([0.3, -0.2, 0.5, 0.1]))

    def misfit(x):
        return float(jnp.mean(jnp.sum((jnp.tanh(x @ matrix.T) - wanted) ** 2, axis=1)))

    moved = particles
    for _ in range(40):
        moved = kalman(moved, np.tanh(moved @ matrix.T), wanted, 1.0, 0.5)
    assert misfit(moved) < 0.05 * misfit(particles)


def test_kalman_stays_where_there_is_nothing_to_gain_or_to_go_by():
    particles, matrix, targets = (np.float32(x) for x in linear_case())
    outputs = particles @ matrix.T
    same = np.broadcast_to(particles[0], particles.shape)
    np.testing.assert_array_equal(kalman(same, same @ matrix.T, targets), same)  # identical particles
    np.testing.assert_array_equal(kalman(particles, np.broadcast_to(targets, (6, 3)), targets), particles)
    np.testing.assert_array_equal(kalman(particles, np.ones((6, 3), np.float32), targets), particles)
    np.testing.assert_array_equal(kalman(particles, outputs, targets, 0.0), particles)
    assert np.isnan(kalman(particles, outputs * np.nan, targets)).all()
    tiny = kalman(particles, outputs * 1e-25, targets * 1e-25)  # coefficients beneath float32
    assert np.isfinite(tiny).all()
    large = kalman(particles, outputs * 1e15, targets * 1e15)
    np.testing.assert_allclose(large, kalman(particles, outputs, targets), rtol=1e-4, atol=1e-6)
    assert kalman(jnp.bfloat16(particles), outputs, targets).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: svgd_direction(jnp.ones((2, 3)), jnp.ones((2, 2))), r"^svgd_direction: particles and scores must be"),
        (lambda: svgd_direction(jnp.ones((2, 3)), jnp.ones((2, 3)), bandwidth=0.0), r"^svgd_direction: bandwidth must"),
        (lambda: ensemble_kalman_step(jnp.ones((2, 3)), jnp.ones((2, 2)), jnp.ones(3)), r"^ensemble_.*: targets must"),
    ],
)
def test_errors_name_function_and_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
