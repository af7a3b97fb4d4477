"""A gradient rule with a state of its own in the train step: here heavy-ball momentum, written as a rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import StatefulRule, TrainState, accumulate, backprop, make_train_step


def heavy_ball(decay=0.5, inner=backprop):
    def rule(loss_fn, has_aux=False):
        value_and_grad = inner(loss_fn, has_aux)

        def with_momentum(params, *args, state, step=None, **kwargs):
            value, gradient = value_and_grad(params, *args, step=step, **kwargs)
            momentum = jax.tree.map(lambda m, g: decay * m + g, state, gradient)
            return value, momentum, momentum

        return with_momentum

    return StatefulRule(lambda params: jax.tree.map(jnp.zeros_like, params), rule)


def loss_fn(params, batch, key):
    return jnp.mean((batch - params) ** 2), {}


BATCH = jnp.array([[1.0, 4.0], [3.0, -2.0]])


def train(gradient, tx, steps=3, batch=BATCH):
    step = make_train_step(loss_fn, tx, gradient=gradient)
    state = TrainState.create(params=jnp.zeros(2), tx=tx, gradient=gradient)
    for _ in range(steps):
        state, _ = step(state, batch)
    assert step._cache_size() <= 1
    return state


@pytest.mark.parametrize("inner", [backprop, accumulate(2)], ids=["backprop", "accumulate"])
def test_momentum_as_a_rule_equals_momentum_as_a_transformation(inner):
    state = train(heavy_ball(inner=inner), optax.sgd(0.1))
    np.testing.assert_allclose(state.params, train(backprop, optax.sgd(0.1, momentum=0.5)).params, rtol=1e-6)
    assert state.rule_state.shape == (2,)


def test_a_skipped_step_leaves_the_state_of_the_rule():
    state = train(heavy_ball(), optax.sgd(0.1), steps=1, batch=BATCH * jnp.nan)
    assert state.skipped == 1
    np.testing.assert_array_equal(state.rule_state, [0.0, 0.0])


def test_a_state_without_that_of_the_rule_is_refused():
    step = make_train_step(loss_fn, optax.sgd(0.1), gradient=heavy_ball())
    with pytest.raises(ValueError, match=r"StatefulRule.*TrainState\.create\(gradient=\)"):
        step(TrainState.create(params=jnp.zeros(2), tx=optax.sgd(0.1)), BATCH)


def test_microbatches_go_inside():
    with pytest.raises(ValueError, match=r"make_train_step: microbatches=2.*inner=accumulate\(2\)"):
        make_train_step(loss_fn, optax.sgd(0.1), gradient=heavy_ball(), microbatches=2)
    with pytest.raises(TypeError, match="inner"):
        accumulate(2, inner=heavy_ball())
