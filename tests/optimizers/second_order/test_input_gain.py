"""Optimal input gains: best over all rescalings of a quadratic, and least squares in one step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optimizers


def quadratic(n, h):
    random = np.random.default_rng(0)
    root = random.normal(size=(n * h, n * h))
    matrix, linear = root @ root.T + np.eye(n * h), random.normal(size=n * h)
    return lambda w: 0.5 * w.reshape(-1) @ matrix @ w.reshape(-1) - linear @ w.reshape(-1)


def test_no_rescaling_of_a_quadratic_is_better():
    with jax.enable_x64(True):
        loss, w = quadratic(4, 3), jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)))
        gradient = jax.grad(loss)(w)
        gains = optimal = optimizers.optimal_input_gains(loss, w, damping=0.0)
        slope = jax.grad(lambda r: loss(w - r[:, None] * gradient))(optimal)
        np.testing.assert_allclose(slope, 0.0, atol=1e-9 * np.sum(gradient**2))
        tx = optimizers.scale_by_optimal_input_gain(damping=0.0)
        direction, _ = tx.update(gradient, tx.init(w), w, grad_fn=jax.grad(loss))
        np.testing.assert_allclose(direction, gains[:, None] * gradient, rtol=1e-9)


def test_one_input_is_the_exact_line_search():
    with jax.enable_x64(True):
        loss, w = quadratic(1, 5), jnp.ones((1, 5))
        g = jax.grad(loss)(w).reshape(-1)
        expected = g @ g / (g @ jax.hessian(loss)(w).reshape(5, 5) @ g)
        np.testing.assert_allclose(optimizers.optimal_input_gains(loss, w, damping=0.0), [expected], rtol=1e-12)


def test_indefinite_curvature_still_gives_descent():
    with jax.enable_x64(True):
        loss = lambda w: jnp.sum(jnp.array([[1.0], [-2.0]]) * w**2)
        gains = optimizers.optimal_input_gains(loss, jnp.ones((2, 1)), damping=0.0)
        np.testing.assert_allclose(gains, [0.5, 0.25], rtol=1e-12)


def test_decorrelated_step_is_least_squares():
    random = np.random.default_rng(0)
    x, y, w = random.normal(size=(20, 4)), random.normal(size=(20, 2)), random.normal(size=(4, 2))
    with jax.enable_x64(True):
        gradient = x.T @ (x @ w - y) / len(x)
        step = optimizers.hidden_weight_optimization_direction(gradient, x, damping=0.0)
        np.testing.assert_allclose(w - step, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-9, atol=1e-12)


def test_trains_a_network_in_the_step():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(32, 3)) * [1.0, 10.0, 0.1], jnp.float32)
    y = jnp.sin(x[:, :1])
    params = {"a": jnp.asarray(0.3 * random.normal(size=(3, 8)), jnp.float32), "b": jnp.ones((8, 1)) / 8}

    def loss_fn(params, batch, key):
        return jnp.mean((jnp.tanh(batch[0] @ params["a"]) @ params["b"] - batch[1]) ** 2), {}

    tx = optax.chain(optimizers.scale_by_optimal_input_gain(1e-4), optax.sgd(0.3))
    step = optimizers.make_train_step(loss_fn, tx)
    state, losses = optimizers.TrainState.create(params=params, tx=tx), []
    for _ in range(50):
        state, metrics = step(state, (x, y))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.3 * losses[0], losses
