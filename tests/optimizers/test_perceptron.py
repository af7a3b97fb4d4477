"""Logistic regression with large steps is the perceptron, and Novikoff's bound holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import batch_perceptron_step, normalized_logistic_surrogate, normalized_logistic_weights


@pytest.fixture
def separable():
    """Examples with labels that a unit vector separates by a margin, and that vector."""
    random = np.random.default_rng(0)
    direction = random.normal(size=5)
    direction /= np.linalg.norm(direction)
    features = random.normal(size=(200, 5))
    features = features[np.abs(features @ direction) > 0.2]
    return features, np.sign(features @ direction), direction


def test_weights_are_the_logistic_gradient_over_its_mean_weight():
    margins = np.random.default_rng(1).normal(size=7) * 3
    with jax.enable_x64(True):
        weights = np.asarray(normalized_logistic_weights(jnp.asarray(margins)))
        gradient = np.asarray(jax.grad(lambda m: jnp.mean(jax.nn.softplus(-m)))(jnp.asarray(margins)))
        surrogate = np.asarray(jax.grad(normalized_logistic_surrogate)(jnp.asarray(margins)))
    sigmoid = 1 / (1 + np.exp(margins))
    np.testing.assert_allclose(weights, sigmoid / sigmoid.sum(), rtol=1e-12)
    np.testing.assert_allclose(surrogate, gradient / sigmoid.mean(), rtol=1e-12)


def test_masks_and_saturation():
    where = np.array([True, False, True])
    for large in (1e4, -1e4):
        weights = normalized_logistic_weights(jnp.array([large, jnp.nan, large]), where=where)
        np.testing.assert_allclose(weights, [0.5, 0, 0.5])
    nothing = np.zeros(3, bool)
    assert not np.any(normalized_logistic_weights(jnp.ones(3), where=nothing))
    assert normalized_logistic_surrogate(jnp.full(3, jnp.nan), where=nothing) == 0.0
    gradient = jax.grad(lambda m: normalized_logistic_surrogate(m, where=where))(jnp.array([1.0, jnp.nan, 1.0]))
    np.testing.assert_allclose(gradient, [-0.5, 0, -0.5])


@pytest.mark.parametrize("normalized", [True, False])
def test_large_steps_of_gradient_descent_are_the_perceptron(separable, normalized):
    """With a step size of 1e6, over the step size, step after step."""
    features, labels, _ = separable
    rate = 1e6
    with jax.enable_x64(True):
        a, y = jnp.asarray(features), jnp.asarray(labels)
        if normalized:
            loss = lambda w: normalized_logistic_surrogate(y * (a @ w))
        else:
            loss = lambda w: jnp.mean(jax.nn.softplus(-y * (a @ w)))
        w = theta = jnp.ones(5)
        w = rate * w
        for _ in range(4):
            w = w - rate * jax.grad(loss)(w)
            theta = batch_perceptron_step(theta, a, y, normalized=normalized)
            np.testing.assert_allclose(np.asarray(w) / rate, theta, atol=1e-4)


def test_novikoff(separable):
    """From zero, no more than R² / μ² steps to no training error, where the step is normalised."""
    features, labels, direction = separable
    bound = np.max(np.sum(features**2, 1)) / np.min(labels * (features @ direction)) ** 2
    step = jax.jit(batch_perceptron_step)
    w, count = jnp.zeros(5), 0
    while np.any(labels * (features @ np.asarray(w)) <= 0):
        w, count = step(w, jnp.float32(features), jnp.float32(labels)), count + 1
        assert count <= bound
    np.testing.assert_array_equal(step(w, jnp.float32(features), jnp.float32(labels)), w)


def test_examples_on_the_boundary_count_half_and_wrong_labels_show():
    features, labels = jnp.array([[1.0, 0.0], [0.0, -1.0]]), jnp.array([1.0, 1.0])
    step = batch_perceptron_step(jnp.array([0.0, 2.0]), features, labels)  # margins 0 and -2
    np.testing.assert_allclose(step, [0.5 / 1.5, 2 - 1 / 1.5], rtol=1e-6)
    assert np.all(np.isnan(batch_perceptron_step(jnp.ones(2), features, jnp.array([1.0, 0.0]))))
