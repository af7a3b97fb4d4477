"""Distillation against the authors' SAF loss, closed forms and limits; the record of past logits; SAF itself."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers
from objectives import (
    distillation_loss,
    logits_memory,
    recall_logits,
    record_logits,
    reduce_mean,
    softmax_cross_entropy,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sharpness_stateful.npz")
RANDOM = np.random.default_rng(0)
OURS, THEIRS = RANDOM.normal(size=(2, 6, 4)) * 3


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def value_and_gradient(ours, theirs, **keywords):
    with jax.enable_x64(True):
        loss = lambda ours: distillation_loss(ours, jnp.asarray(theirs), **keywords)
        return loss(jnp.asarray(ours)), jax.grad(lambda ours: jnp.sum(loss(ours)))(jnp.asarray(ours))


def test_equals_the_authors_code():
    losses, gradient = value_and_gradient(GOLDEN["saf_logits"], GOLDEN["saf_past"])
    np.testing.assert_allclose(losses, GOLDEN["saf"], rtol=1e-12)
    np.testing.assert_allclose(gradient, GOLDEN["saf_gradient"], rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 5.0])
def test_closed_form(temperature):
    p, q = softmax(OURS / temperature), softmax(THEIRS / temperature)
    losses, gradient = value_and_gradient(OURS, THEIRS, temperature=temperature)
    np.testing.assert_allclose(losses, temperature**2 * np.sum(q * np.log(q / p), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(gradient, temperature * (p - q), rtol=1e-12, atol=1e-15)


def test_a_teacher_like_oneself_asks_for_nothing():
    losses, gradient = value_and_gradient(OURS, OURS)
    np.testing.assert_array_equal(losses, 0.0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-15)


def test_near_the_teacher_it_is_half_the_variance_of_the_difference():
    change = 1e-4 * RANDOM.normal(size=OURS.shape)
    q = softmax(OURS / 5)
    variance = np.sum(q * change**2, axis=-1) - np.sum(q * change, axis=-1) ** 2
    np.testing.assert_allclose(value_and_gradient(OURS + change, OURS)[0], variance / 2, rtol=1e-3)


def test_at_high_temperature_it_matches_logits():
    centred = lambda x: x - x.mean(axis=-1, keepdims=True)
    expected = np.mean(centred(OURS - THEIRS) ** 2, axis=-1) / 2
    np.testing.assert_allclose(value_and_gradient(OURS, THEIRS, temperature=1e4)[0], expected, rtol=1e-3)


def test_no_gradient_reaches_the_teacher():
    gradient = jax.grad(lambda theirs: jnp.sum(distillation_loss(jnp.asarray(OURS), theirs)))(jnp.asarray(THEIRS))
    np.testing.assert_array_equal(gradient, 0.0)


def test_a_class_that_both_exclude_does_not_count():
    shut = np.full((6, 1), -np.inf)
    with_shut = value_and_gradient(np.hstack([OURS, shut]), np.hstack([THEIRS, shut]))
    losses, gradient = value_and_gradient(OURS, THEIRS)
    np.testing.assert_allclose(with_shut[0], losses, rtol=1e-12)
    np.testing.assert_allclose(with_shut[1][:, :-1], gradient, rtol=1e-12)
    np.testing.assert_array_equal(with_shut[1][:, -1], 0.0)


@pytest.mark.parametrize("delay", [1, 3])
def test_the_memory_gives_back_what_was_recorded_so_many_epochs_ago(delay):
    epochs, examples = 3 * delay + 2, 5
    history = RANDOM.normal(size=(epochs, examples, 2)).astype(np.float32)
    record, recall = jax.jit(record_logits), jax.jit(recall_logits)
    memory = logits_memory(examples, 2, delay=delay)
    for epoch in range(epochs):
        order = RANDOM.permutation(examples)
        for ids in (order[:3], order[3:]):
            memory = record(memory, ids, history[epoch, ids], epoch)
            past, known = recall(memory, ids, epoch)
            assert known.all() == known.any() == (epoch >= delay)
            np.testing.assert_array_equal(past, history[epoch - delay, ids] if epoch >= delay else np.nan)
    assert memory.logits.shape == (examples, delay + 1, 2)


def test_the_memory_does_not_pass_off_older_logits_as_those_of_the_epoch():
    memory = record_logits(logits_memory(3, 2, delay=1), jnp.array([0, 1]), jnp.ones((2, 2)), 0)
    memory = record_logits(memory, jnp.array([0]), jnp.full((1, 2), 2.0), 2)  # example 1 is left out of epoch 2
    past, known = recall_logits(memory, jnp.arange(3), 3)
    np.testing.assert_array_equal(known, [True, False, False])
    np.testing.assert_array_equal(past, [[2.0, 2.0], [np.nan, np.nan], [np.nan, np.nan]])
    assert not recall_logits(logits_memory(3, 2, delay=2), jnp.arange(3), 1)[1].any()  # nothing before epoch 0


def test_ids_out_of_range_are_nobody():
    memory = logits_memory(3, 2, delay=1)
    after = record_logits(memory, jnp.array([-1, 3, 100]), jnp.ones((3, 2)), 0)
    jax.tree.map(np.testing.assert_array_equal, after, memory)
    full = record_logits(memory, jnp.arange(3), jnp.ones((3, 2)), 0)
    past, known = recall_logits(full, jnp.array([-1, 3, 2]), 1)
    np.testing.assert_array_equal(known, [False, False, True])
    assert np.isnan(past[:2]).all()


def test_a_record_in_half_precision_keeps_its_dtype():
    memory = logits_memory(2, 2, dtype=jnp.bfloat16)
    memory = record_logits(memory, jnp.array([0]), jnp.array([[1.0, 2.0]]), 0)
    past, _ = recall_logits(memory, jnp.array([0]), 3)
    assert memory.logits.dtype == past.dtype == jnp.bfloat16


def test_saf_in_the_train_step():
    """The logits are the parameters; plain descent for an epoch, then with the loss of the trajectory."""
    labels, weight, rate = np.array([0, 1, 2, 3, 0, 1]), 0.3, 0.5

    def loss_fn(table, batch, key, memory):
        logits = table[batch["id"]]
        past, known = recall_logits(memory, batch["id"], batch["epoch"])
        memory = record_logits(memory, batch["id"], logits, batch["epoch"])
        trajectory = reduce_mean(distillation_loss(logits, past, where=known))
        return jnp.mean(softmax_cross_entropy(logits, batch["y"])) + weight * trajectory, ({}, memory)

    tx = optax.sgd(rate)
    step = optimizers.make_train_step(loss_fn, tx)
    memory = logits_memory(6, 4, delay=1)
    state = optimizers.TrainState.create(params=jnp.asarray(OURS, jnp.float32), tx=tx, model_state=memory)
    table, past = OURS, None
    for epoch in range(3):
        state, _ = step(state, {"id": jnp.arange(6), "y": jnp.asarray(labels), "epoch": jnp.int32(epoch)})
        slope = (softmax(table) - np.eye(4)[labels]) / 6
        if past is not None:
            slope += weight * 5 * (softmax(table / 5) - softmax(past / 5)) / 6
        past, table = table, table - rate * slope
        np.testing.assert_allclose(state.params, table, rtol=1e-5)


def test_faults_are_named():
    memory = logits_memory(3, 2)
    with pytest.raises(ValueError, match=r"distillation_loss: teacher_logits must have the shape of logits"):
        distillation_loss(jnp.ones((2, 3)), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="logits_memory: delay must be at least 1, got 0"):
        logits_memory(3, 2, delay=0)
    with pytest.raises(TypeError, match="logits_memory: classes must be an integer, got float"):
        logits_memory(3, 2.0)
    with pytest.raises(TypeError, match="logits_memory: dtype must be floating point"):
        logits_memory(3, 2, dtype=jnp.int32)
    with pytest.raises(ValueError, match=r"record_logits: logits must have shape \[2, 2\], got float32\[2, 3\]"):
        record_logits(memory, jnp.array([0, 1]), jnp.ones((2, 3)), 0)
    with pytest.raises(TypeError, match="recall_logits: ids must be integers, got float32"):
        recall_logits(memory, jnp.array([0.0]), 0)
    with pytest.raises(TypeError, match="recall_logits: epoch must be integers, got float32"):
        recall_logits(memory, jnp.array([0]), 0.5)
    with pytest.raises(ValueError, match="recall_logits: epoch must be a scalar"):
        recall_logits(memory, jnp.array([0]), jnp.array([0]))
