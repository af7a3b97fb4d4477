"""The trainer with two momenta: the authors' trajectories, its limits, and both ways to give it two gradients."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import compiled_step

import optimizers
from optimizers import distillation_oriented_trainer, per_task


@pytest.fixture(scope="module")
def golden():
    return np.load(pathlib.Path(__file__).parents[1] / "golden" / "elementwise.npz")


def path_of(tx, start, gradients, others, *, stacked):
    """The parameters after each step on gradients[t] + 0.1 * parameters and others[t]."""

    def step(carry, both):
        x, state = carry
        task, other = both[0] + 0.1 * x, both[1]
        if stacked:
            updates, state = tx.update(jnp.stack([task, other]), state, x)
        else:
            updates, state = tx.update(task, state, x, kd_grads=other)
        return (x + updates, state), x + updates

    x = jnp.asarray(start)
    return jax.lax.scan(step, (x, tx.init(x)), (jnp.asarray(gradients), jnp.asarray(others)))[1]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(("name", "decay"), [("distillation", None), ("distillation_decay", 0.1)])
def test_trajectory_equals_the_authors(golden, name, decay, stacked):  # tests/golden/elementwise.py wrote it
    with jax.enable_x64(True):
        tx = distillation_oriented_trainer(1e-2, weight_decay=decay)
        path = path_of(tx, golden["start"], golden["gradients"], golden["others"], stacked=stacked)
        np.testing.assert_allclose(path, golden[name], rtol=1e-12)


def test_without_a_difference_it_is_momentum_on_the_sum(golden):
    with jax.enable_x64(True):
        both = golden["start"], golden["gradients"], golden["others"]
        path = path_of(distillation_oriented_trainer(1e-2, 0.8, 0.0), *both, stacked=True)
        sgd = optax.chain(optax.stateless(lambda g, p: g[0] + g[1]), optax.sgd(1e-2, momentum=0.8))
        np.testing.assert_allclose(path, path_of(sgd, *both, stacked=True), rtol=1e-12)


def test_constant_gradients_reach_their_limits():
    """η (g / (1 - μ + Δ) + k / (1 - μ - Δ)) a step: distillation weighs more, the longer its memory."""
    tx = distillation_oriented_trainer(0.1, 0.8, 0.1)
    state = tx.init(jnp.zeros(2))
    for _ in range(200):
        update, state = tx.update(jnp.array([1.0, 2.0]), state, kd_grads=jnp.array([-3.0, 0.5]))
    expected = -0.1 * (np.array([1.0, 2.0]) / 0.3 + np.array([-3.0, 0.5]) / 0.1)
    np.testing.assert_allclose(update, expected, rtol=1e-5)


def test_the_train_step_feeds_it():
    """`per_task` stacks the gradients of a task and of a distillation loss; the minimum of their sum is found."""
    loss_fn = lambda w, batch, key: (jnp.stack([jnp.sum((w - 1) ** 2), jnp.sum((w + 3) ** 2)]), {})
    tx = distillation_oriented_trainer(optax.cosine_decay_schedule(0.02, 300), momentum=0.5)
    step = optimizers.make_train_step(loss_fn, tx, gradient=per_task())
    state = optimizers.TrainState.create(params=jnp.array([4.0, -4.0]), tx=tx)
    weights = 1 / (1 - 0.425), 1 / (1 - 0.575)  # of the two gradients, in the long run
    for _ in range(300):
        state, _ = step(state, None)
    expected = (weights[0] - 3 * weights[1]) / sum(weights)
    np.testing.assert_allclose(state.params, expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_no_temporary(dtype):
    leaves = {"a": jnp.ones((64, 128), dtype), "b": jnp.ones((4096,), dtype)}
    tx = distillation_oriented_trainer(1e-3, weight_decay=0.1, accumulator_dtype=dtype)
    fed = optax.GradientTransformationExtraArgs(tx.init, lambda g, s, p: tx.update(g, s, p, kd_grads=p))
    executable, donated = compiled_step(fed, leaves)
    assert executable.memory_analysis().temp_size_in_bytes <= 512
    assert executable.memory_analysis().alias_size_in_bytes == sum(x.nbytes for x in donated)


def test_gradients_of_two_losses_are_asked_for():
    tx = distillation_oriented_trainer(0.1)
    with pytest.raises(ValueError, match=r"^distillation_oriented_trainer: expected gradients of two losses"):
        tx.update(jnp.ones((3, 2)), tx.init(jnp.ones(2)))
    with pytest.raises(ValueError, match=r"^distillation_oriented_trainer: every leaf needs a leading axis"):
        tx.update(jnp.float32(1.0), tx.init(jnp.ones(())))
    with pytest.raises(ValueError, match=r"^distillation_oriented_trainer: delta must lie in \[0, 0.1\), got 0.1"):
        distillation_oriented_trainer(0.1, 0.9, 0.1)
