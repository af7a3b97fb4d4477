"""Steps on a model of the loss in the outputs: gradient descent, targets reached, and a bound."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers
from optimizers import target_surrogate, target_surrogate_descent


@pytest.fixture
def regression():
    random = np.random.default_rng(0)
    return random.normal(size=(3, 6)), random.normal(size=3), random.normal(size=6)


def outputs(w, x, y):
    return x @ w


def logistic(z, x, y):
    return jnp.mean(jax.nn.softplus(-z * jnp.sign(y)))


def test_one_inner_step_is_gradient_descent(regression):
    x, y, w = map(jnp.float32, regression)
    value, displacement = target_surrogate_descent(outputs, 0.7, optax.sgd(0.3), 1)(logistic)(w, x, y)
    expected = jax.value_and_grad(lambda w: logistic(x @ w, x, y))(w)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    np.testing.assert_allclose(displacement, 0.3 * expected[1], rtol=1e-5)


def test_minimised_over_a_rich_model_the_outputs_are_the_target(regression):
    """Three examples, six parameters: z(θ) becomes z_t - eta g_t."""
    with jax.enable_x64(True):
        x, y, w = map(jnp.asarray, regression)
        displacement = jax.jit(target_surrogate_descent(outputs, 0.7, optax.sgd(0.05), 3000)(logistic))(w, x, y)[1]
        reached, target = x @ (w - displacement), x @ w - 0.7 * jax.grad(logistic)(x @ w, x, y)
    np.testing.assert_allclose(reached, target, rtol=1e-9)


def test_of_a_squared_loss_at_its_own_smoothness_the_model_is_the_loss(regression):
    x, y, w = map(jnp.float32, regression)
    loss = lambda z: 0.5 * jnp.sum((z - y) ** 2)
    anchor, z = x @ w, x @ (w + 1.0)
    model = loss(anchor) + target_surrogate(z, anchor, jax.grad(loss)(anchor), eta=1.0)
    np.testing.assert_allclose(model, loss(z), rtol=1e-5)


@pytest.mark.parametrize("eta", [4.0, 1.0])
def test_the_model_is_a_bound_of_a_smooth_loss(eta):
    """softplus has curvature at most 1/4: with eta ≤ 4 the model is never below the loss, and touches it."""
    z = np.linspace(-8, 8, 41)
    with jax.enable_x64(True):
        anchors = jnp.asarray(np.random.default_rng(1).normal(size=5) * 3)
        for anchor in anchors:
            slope = jax.nn.sigmoid(anchor)
            model = jax.vmap(functools.partial(target_surrogate, eta=eta), (0, None, None))(z, anchor, slope)
            gap = jax.nn.softplus(anchor) + model - jax.nn.softplus(z)
            assert np.all(gap >= -1e-12)
            assert target_surrogate(anchor, anchor, slope, eta=eta) == 0.0


def test_the_loss_is_evaluated_once_a_step_and_the_train_step_makes_the_displacement(regression):
    """Through `make_train_step` with `optax.sgd(1.0)`: one call of the loss in the program, and descent."""
    x, y, w = map(jnp.float32, regression)
    calls = []

    def loss_fn(z, batch, key):
        calls.append(1)
        return logistic(z, *batch), {}

    rule = target_surrogate_descent(lambda w, batch, key: outputs(w, *batch), 4.0, optax.sgd(0.1), 20)
    tx = optax.sgd(1.0)
    step = optimizers.make_train_step(loss_fn, tx, gradient=rule)
    state = optimizers.TrainState.create(params=w, tx=tx)
    losses = []
    for _ in range(20):
        state, metrics = step(state, (x, y))
        losses.append(float(metrics["loss"]))
    assert len(calls) == 1
    assert all(b < a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.2 * losses[0]
