"""The mean teacher: the average in closed form, its place in the train step, and MESA."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import objectives
from optimizers import TrainState, accumulate, make_train_step, mean_teacher, sam

POINTS = np.random.default_rng(0).normal(size=(6, 3))


def pull(w, *, teacher):
    return jnp.sum((w - teacher) ** 2)


@pytest.mark.parametrize("decay", [0.0, 0.8, 1.0])
def test_the_teacher_is_the_average_up_to_and_with_these_parameters(decay):
    with jax.enable_x64(True):
        rule = mean_teacher(decay)
        value_and_grad, state = rule.rule(pull), rule.init(jnp.asarray(POINTS[0]))
        average = POINTS[0]
        for point in POINTS[1:]:
            value, gradient, state = value_and_grad(jnp.asarray(point), state=state)
            average = decay * average + (1 - decay) * point
            np.testing.assert_allclose(state, average, rtol=1e-13)
            np.testing.assert_allclose(value, np.sum((point - average) ** 2), rtol=1e-12, atol=1e-28)
            np.testing.assert_allclose(gradient, 2 * (point - average), rtol=1e-12, atol=1e-14)


def test_a_slow_average_of_half_precision_parameters_does_not_stick():
    rule = mean_teacher(0.999)
    w, value_and_grad = jnp.bfloat16(2.0), rule.rule(lambda w, teacher: (w - teacher).astype(jnp.float32))
    step = lambda state, _: (lambda value, gradient, state: (state, value))(*value_and_grad(w, state=state))
    state, values = jax.jit(lambda: jax.lax.scan(step, rule.init(jnp.bfloat16(1.0)), length=1000))()
    assert state.dtype == jnp.float32
    np.testing.assert_allclose(state, 2 - 0.999**1000, rtol=1e-4)  # the rounding of a thousand steps
    np.testing.assert_allclose(values[-1], 0.999**1000, atol=2**-7)  # the teacher is given in bfloat16


def test_it_is_the_average_of_the_train_step():
    tx = optax.sgd(0.1)
    step = make_train_step(
        lambda w, batch, key, *, teacher: (jnp.mean((w - batch) ** 2) + 0.1 * pull(w, teacher=teacher), {}),
        tx,
        gradient=mean_teacher(0.9, inner=sam(0.05, inner=accumulate(2))),
        ema_decay=0.9,
    )
    state = TrainState.create(params=jnp.asarray(POINTS[0], jnp.float32), tx=tx, ema=True, gradient=mean_teacher())
    for _ in range(3):
        before = np.asarray(state.ema_params)
        state, _ = step(state, jnp.asarray(POINTS, jnp.float32))
        np.testing.assert_allclose(state.rule_state, before, rtol=1e-6)


def test_the_keyword_reaches_a_loss_with_a_model_state():
    def loss_fn(w, batch, key, model_state, *, teacher):
        return pull(w, teacher=teacher), ({}, model_state + 1)

    rule, tx = mean_teacher(0.5), optax.sgd(0.1)
    state = TrainState.create(params=jnp.ones(2), tx=tx, model_state=jnp.int32(0), gradient=rule)
    state, _ = make_train_step(loss_fn, tx, gradient=rule)(state, jnp.zeros(1))
    assert state.model_state == 1


def test_mesa_starts_as_the_loss_of_the_labels_and_then_resists_change():
    logits, labels = jnp.asarray(POINTS, jnp.float32), jnp.array([0, 1, 2, 0, 1, 2])
    cross_entropy = lambda w: jnp.mean(objectives.softmax_cross_entropy(w, labels))

    def loss_fn(w, *, teacher):
        return cross_entropy(w) + 0.8 * jnp.mean(objectives.distillation_loss(w, teacher, temperature=5.0))

    rule = mean_teacher(0.5)
    value_and_grad = rule.rule(loss_fn)
    _, gradient, state = value_and_grad(logits, state=rule.init(logits))
    np.testing.assert_allclose(gradient, jax.grad(cross_entropy)(logits), atol=1e-7)
    moved = logits - gradient
    _, gradient, _ = value_and_grad(moved, state=state)
    # Back towards the teacher, whose distance is half the step.
    assert jnp.vdot(gradient - jax.grad(cross_entropy)(moved), moved - logits) > 0


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"mean_teacher: decay must lie in \[0, 1\], got 1.5"):
        mean_teacher(1.5)
    rule = mean_teacher(lambda step: 0.9)
    with pytest.raises(ValueError, match="mean_teacher: decay is a schedule"):
        rule.rule(pull)(jnp.ones(2), state=rule.init(jnp.ones(2)))
