"""Schedules from gradient norms: closed forms, invariances, the recorder, and the last iterate they are made for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    TrainState,
    linear_decay_schedule,
    make_train_step,
    record_gradient_norms,
    refine_schedule,
    schedule_from_array,
    schedule_from_weights,
)

T = 30
COUNTS = np.arange(T)


def test_equal_weights_give_the_linear_decay():
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            schedule_from_weights(np.full(T, 7.0))(COUNTS), 7 * (1 - (COUNTS + 1) / T), rtol=1e-12
        )
        refined = refine_schedule(np.full(T, 7.0), 0.2)(COUNTS)
        np.testing.assert_allclose(refined, 0.2 * (T - 1 - COUNTS) / (T - 1), rtol=1e-12)
        np.testing.assert_allclose(refined, linear_decay_schedule(0.2, T - 1)(COUNTS), rtol=1e-12, atol=1e-16)


def test_weights_give_the_sums_of_those_to_come():
    weights = np.random.default_rng(0).uniform(0.5, 2.0, T)
    expected = [w * weights[t + 1 :].sum() / weights.sum() for t, w in enumerate(weights)]
    with jax.enable_x64(True):
        np.testing.assert_allclose(schedule_from_weights(weights)(COUNTS), expected, rtol=1e-12)
        scaled = schedule_from_weights(weights, 0.3)(COUNTS)
        np.testing.assert_allclose(scaled, 0.3 * np.array(expected) / np.max(expected), rtol=1e-12)


@pytest.mark.parametrize("mode", ["sgd", "adam"])
def test_the_scale_of_the_gradients_does_not_matter(mode):
    norms = np.random.default_rng(0).uniform(0.5, 2.0, T)
    for scale in (1e-150, 1e150):
        scaled = refine_schedule(scale * norms, smoothing=0.2, mode=mode)(COUNTS)
        np.testing.assert_allclose(scaled, refine_schedule(norms, smoothing=0.2, mode=mode)(COUNTS), rtol=1e-6)


def test_large_first_gradients_give_a_warm_up_and_large_last_ones_a_fast_fall():
    warm = np.asarray(refine_schedule(1.0 / (1 + COUNTS), smoothing=0.0)(COUNTS))
    assert np.argmax(warm) > T // 3
    assert np.all(np.diff(warm[: T // 3]) > 0)
    falling = np.asarray(refine_schedule(1.0 + COUNTS, smoothing=0.0)(COUNTS))
    assert np.all(falling[1:-1] < linear_decay_schedule(1.0, T - 1)(COUNTS)[1:-1])
    assert falling[-1] == 0


def test_a_single_outlier_is_filtered_out():
    norms = np.full(T, 2.0)
    norms[12] = 100.0
    smooth = refine_schedule(norms, smoothing=0.1)(COUNTS)
    np.testing.assert_allclose(smooth, refine_schedule(np.full(T, 2.0))(COUNTS), rtol=1e-6)
    assert refine_schedule(norms, smoothing=0.0)(12) < 1e-3


def test_a_table_is_held_at_its_ends():
    schedule = schedule_from_array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(schedule(np.array([-1, 0, 2, 3, 2**31 - 1])), [0.1, 0.1, 0.3, 0.3, 0.3], rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_the_recorder_sees_what_the_train_step_reports(order):
    """L2 norms are the step's own metric; L1 norms those of the gradient itself. What is full stays as it is."""
    tx = optax.chain(record_gradient_norms(4, order), optax.sgd(0.1))
    step = make_train_step(lambda w, batch, key: (jnp.sum((w - batch) ** 2), {}), tx)
    state, norms = TrainState.create(params=jnp.zeros(3), tx=tx), []
    random = np.random.default_rng(0)
    for _ in range(5):
        batch = jnp.asarray(random.normal(size=3), jnp.float32)
        gradient = 2 * np.asarray(state.params - batch)
        state, metrics = step(state, batch)
        norms.append(np.abs(gradient).sum() if order == 1 else float(metrics["grad_norm"]))
    np.testing.assert_allclose(optax.tree.get(state.opt_state, "norms"), norms[:4], rtol=1e-6)
    assert int(optax.tree.get(state.opt_state[0], "count")) == 5


def test_the_recorder_leaves_gradients_alone_and_widens_sums():
    gradient = {"a": jnp.full(1000, 300.0, jnp.float16), "b": None, "c": jnp.array(3.0 + 4.0j)}
    tx = record_gradient_norms(1, order=2)
    updates, state = tx.update(gradient, tx.init(gradient))
    assert updates is gradient
    assert float(state.norms[0]) == pytest.approx(np.sqrt(300.0**2 * 1000 + 25), rel=1e-6)


def best_gap(make, seeds=64, steps=200):
    """Mean |x_T| over runs of gradient descent on |x| with noisy subgradients, at the best of several peaks."""

    def run(peak, key):
        def step(x, drawn):
            count, noise = drawn
            return x - make(peak, steps)(count) * (jnp.sign(x) + noise), None

        noise = jax.random.normal(key, (steps,))
        return jnp.abs(jax.lax.scan(step, jnp.float32(1.0), (jnp.arange(steps), noise))[0])

    peaks, keys = jnp.array([0.01, 0.03, 0.1, 0.3]), jax.random.split(jax.random.key(0), seeds)
    gaps = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(peaks, keys)
    return float(jnp.min(jnp.mean(gaps, axis=1)))


def test_the_last_iterate_of_the_linear_decay_is_the_best():
    """On |x|: it beats a constant rate and 1/√t, each at its best of several peaks."""
    linear = best_gap(linear_decay_schedule)
    assert linear < 0.7 * best_gap(lambda peak, steps: lambda count: peak)
    assert linear < 0.7 * best_gap(lambda peak, steps: lambda count: peak / jnp.sqrt(count + 1.0))
