"""Normalised descent and SPIDER: closed forms, Optax at beta 0, and variance against plain gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import gradients, run, start

from optimizers import (
    TrainState,
    beta_normalized_sgd,
    make_train_step,
    normalized_spider,
    scale_by_beta_normalized_gradient,
)


def test_beta_zero_is_gradient_descent():
    with jax.enable_x64(True):
        (path, _), (expected, _) = (
            run(tx, start(), gradients()) for tx in (beta_normalized_sgd(1e-3, beta=0.0), optax.sgd(1e-3))
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), path, expected)


def test_beta_one_gives_unit_length():
    path, _ = run(beta_normalized_sgd(0.1, beta=1.0), start(np.float32), gradients(np.float32))
    steps = np.concatenate([np.diff(p, axis=0).reshape(199, -1) for p in jax.tree.leaves(path)], axis=1)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.1, rtol=1e-4)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_a_quartic_shrinks_by_one_factor_from_any_start(size):
    """x⁴ / 4 has gradient x³: at β = 2/3, x ← (1 - η) x; plain descent diverges where x² > 2 / η."""
    x, tx = jnp.float32(size), beta_normalized_sgd(0.25, beta=2 / 3)
    for _ in range(4):
        x = x + tx.update(x**3, tx.init(x), x)[0]
    assert float(x) == pytest.approx(0.75**4 * size, rel=1e-4)


def test_zero_stays_zero_and_what_is_not_finite_is_nan():
    tx = scale_by_beta_normalized_gradient(0.5)
    for dtype in (jnp.float16, jnp.float32):
        for value, expected in ((0.0, 0.0), (jnp.inf, jnp.nan), (jnp.nan, jnp.nan)):
            update, _ = tx.update(jnp.full(3, value, dtype), tx.init(None))
            np.testing.assert_array_equal(update.astype(jnp.float32), np.full(3, expected))
    assert np.isnan(tx.update(jnp.full(3, 1e30), tx.init(None))[0]).all()


POINTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def loss_fn(w, batch):
    return jnp.mean(jnp.sum(jnp.cosh(w - batch), axis=-1))  # its curvature grows with its gradient


def test_spider_adds_up_differences_on_one_batch():
    """Against NumPy: sinh(w - x), the mean over each batch; every third gradient is taken as it is."""
    tx, rate, period = normalized_spider(0.05, 3), 0.05, 3
    with jax.enable_x64(True):
        w = jnp.zeros(3)
        state = tx.init(w)
        expected, previous, v = np.zeros(3), None, None
        for step in range(8):
            batch = POINTS[8 * step : 8 * step + 8].astype(np.float64)
            grad_fn = lambda w, batch=batch: jax.grad(loss_fn)(w, batch)
            updates, state = tx.update(grad_fn(w), state, w, grad_fn=grad_fn)
            w = optax.apply_updates(w, updates)
            slope = lambda x, batch=batch: np.sinh(x - batch).mean(axis=0)
            v = slope(expected) if step % period == 0 else v + slope(expected) - slope(previous)
            previous, expected = expected, expected - rate * v / np.linalg.norm(v)
            np.testing.assert_allclose(w, expected, rtol=1e-12)
            np.testing.assert_allclose(optax.tree.get(state, "estimate"), v, rtol=1e-12)


def test_spider_estimates_the_full_gradient_better_than_its_batches_do():
    """In the train step, a large batch every 16 steps: the error of the estimate against that of the small batches."""
    tx, random = normalized_spider(0.01, 16), np.random.default_rng(1)
    step = make_train_step(lambda w, batch, key: (loss_fn(w, batch), {}), tx)
    state, errors = TrainState.create(params=jnp.zeros(3), tx=tx), []
    for number in range(48):
        batch = POINTS if number % 16 == 0 else POINTS[random.integers(0, 64, 4)]
        w = jnp.copy(state.params)
        state, _ = step(state, batch)
        full = jax.grad(loss_fn)(w, POINTS)
        estimate = optax.tree.get(state.opt_state, "estimate")
        errors.append([np.sum((estimate - full) ** 2), np.sum((jax.grad(loss_fn)(w, batch) - full) ** 2)])
    spider, plain = np.mean(errors, axis=0)
    assert spider < 0.1 * plain
    assert step._cache_size() == 2  # one for each size of batch


def test_missing_arguments_are_named():
    tx, w = normalized_spider(0.1, 2), jnp.ones(2)
    with pytest.raises(TypeError, match="^normalized_spider: grad_fn must be a function"):
        tx.update(w, tx.init(w), w)
    with pytest.raises(ValueError, match="^normalized_spider: update needs params"):
        tx.update(w, tx.init(w), grad_fn=lambda w: w)
