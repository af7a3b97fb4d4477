"""Optax transformations that ask for the loss, its function or its gradient run unchanged in the train step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, make_train_step

TARGET = jnp.array([1.0, -2.0, 0.5])


def loss_fn(params, batch, key):
    return jnp.sum(jnp.array([1.0, 10.0, 4.0]) * (params - TARGET) ** 2), {}


OPTIMIZERS = {
    "momo": optax.contrib.momo(1.0),
    "momo_adam": optax.contrib.momo_adam(0.1),
    "polyak_sgd": optax.polyak_sgd(max_learning_rate=1.0),
    "lbfgs": optax.lbfgs(),
    "sophia": optax.contrib.sophia(0.05, print_win_rate_every_n_steps=0),
    "reduce_on_plateau": optax.chain(optax.adam(0.2), optax.contrib.reduce_on_plateau(patience=30)),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_reaches_the_minimum(name):
    tx = OPTIMIZERS[name]
    step = make_train_step(loss_fn, tx)
    state = TrainState.create(params=jnp.zeros(3), tx=tx)
    state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, None), s, length=300))(state)
    assert state.skipped == 0
    assert metrics["loss"][-1] < 1e-3 * metrics["loss"][0]
    np.testing.assert_allclose(state.params, TARGET, atol=0.1)


def test_every_extra_argument_is_what_it_says():
    def update(updates, state, params, *, value, grad, value_fn, obj_fn, grad_fn, task_losses, **extra):
        del extra
        away = params + 1.0
        seen = {
            "value": value - value_fn(params),
            "obj_fn": obj_fn(away) - loss_fn(away, None, None)[0],
            "grad": jnp.abs(grad - updates).max(),
            "task_losses": task_losses - value,
            "grad_fn": jnp.abs(grad_fn(away, 0) - jax.grad(value_fn)(away)).max(),
        }
        return updates, seen

    names = ("value", "obj_fn", "grad", "grad_fn", "task_losses")
    tx = optax.GradientTransformationExtraArgs(lambda params: dict.fromkeys(names, jnp.ones(())), update)
    state, _ = make_train_step(loss_fn, tx)(TrainState.create(params=jnp.zeros(3), tx=tx), None)
    assert {name: float(state.opt_state[name]) for name in names} == dict.fromkeys(names, 0.0)
