"""Gradient rules that weigh tasks by the course of their losses: torchjd's trajectories, closed forms, invariances."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contracts.common import primitives

from optimizers import (
    TrainState,
    accumulate,
    dwa,
    famo,
    make_train_step,
    per_task,
    random_loss_weighting,
    sam,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "scalarization.npz")
STEPS, EPOCH = 12, 3
TRAJECTORIES = {
    "famo": famo(2),
    "famo_settings": famo(2, learning_rate=0.1, weight_decay=0.5, min_losses=np.array([0.05, 0.0])),
    "dwa": dwa(2, steps_per_epoch=EPOCH, temperature=0.5),
}


def parabolas(params, units=(1.0, 1.0)):
    """Two tasks, above 0.1 and 0.2."""
    losses = jnp.sum(GOLDEN["curvatures"] * (params - GOLDEN["centres"]) ** 2, axis=1)
    return (losses + jnp.array([0.1, 0.2])) * jnp.array(units)


def descend(rule):
    """The parameters after each step of gradient descent, in float64."""
    value_and_grad = rule.rule(parabolas)

    def step(carry, _):
        params, state = carry
        _, gradient, state = value_and_grad(params, state=state)
        moved = params - 0.02 * gradient
        return (moved, state), moved

    with jax.enable_x64(True):
        params = jnp.zeros(2, jnp.float64)
        return jax.jit(lambda: jax.lax.scan(step, (params, rule.init(params)), length=STEPS))()[1]


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectory_equals_torchjd(name):
    np.testing.assert_allclose(descend(TRAJECTORIES[name]), GOLDEN[name], rtol=1e-10, atol=1e-12)


def two_losses(params, batch, key=None):
    predictions = jnp.tanh(batch @ params)
    return jnp.stack([jnp.mean(predictions**2), jnp.mean((predictions - 1.0) ** 2)])


BATCH = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
PARAMS = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)


def stateless(rule):
    """A stateful rule at its first step."""
    if not hasattr(rule, "init"):
        return rule
    return lambda loss_fn: lambda *args: rule.rule(loss_fn)(*args, state=rule.init(args[0]))[:2]


RULES = {"famo": famo, "dwa": dwa, "random": lambda tasks, **settings: random_loss_weighting(**settings)}
each_rule = pytest.mark.parametrize("make", RULES.values(), ids=RULES)


@each_rule
def test_costs_one_forward_and_one_backward_pass(make):
    calls = []

    def counted(*args):
        calls.append(1)
        return two_losses(*args)

    args = (PARAMS, BATCH, jax.random.key(0))
    products = list(primitives(jax.make_jaxpr(stateless(make(2))(counted))(*args))).count("dot_general")
    plain = jax.make_jaxpr(jax.value_and_grad(lambda *args: two_losses(*args).sum()))(*args)
    assert len(calls) == 1
    assert products == list(primitives(plain)).count("dot_general")


@each_rule
def test_gradient_is_a_positive_combination_of_the_task_gradients(make):
    args = (PARAMS, BATCH, jax.random.key(0))
    losses, gradient = jax.jit(stateless(make(2))(two_losses))(*args)
    expected, jacobian = jax.jit(per_task()(two_losses))(*args)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    weights, residual, *_ = np.linalg.lstsq(np.reshape(jacobian, (2, -1)).T, np.ravel(gradient))
    assert residual[0] < 1e-10
    assert (weights > 0).all()
    # FAMO and RLW combine convexly, DWA starts from the sum; the least squares lose a digit or two.
    np.testing.assert_allclose(weights.sum(), 2.0 if make is dwa else 1.0, rtol=1e-5)


@each_rule
def test_a_nan_among_the_losses_shows(make):
    def broken(params, batch, key):
        return two_losses(params, batch) * jnp.array([1.0, jnp.nan])

    _, gradient = stateless(make(2))(broken)(PARAMS, BATCH, jax.random.key(0))
    assert np.isnan(gradient).all()


@each_rule
def test_losses_that_are_no_vector_of_the_tasks_are_refused(make):
    args = (PARAMS, BATCH, jax.random.key(0))
    with pytest.raises(ValueError, match=r"loss_fn must return the losses of the tasks as a vector .*got shape \(\)"):
        stateless(make(2))(lambda *args: two_losses(*args).sum())(*args)
    if make in (famo, dwa):
        with pytest.raises(ValueError, match=rf"{make.__name__}: .*vector \[3\], got shape \(2,\)"):
            stateless(make(3))(two_losses)(*args)


@pytest.mark.parametrize("make", [dwa, RULES["random"]], ids=["dwa", "random"])
def test_microbatches_share_the_weights(make):
    args = (PARAMS, BATCH, jax.random.key(0))
    whole = jax.jit(stateless(make(2))(two_losses))(*args)
    parts = jax.jit(stateless(make(2, inner=accumulate(2)))(two_losses))(*args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), parts, whole)


def test_the_state_follows_the_losses_at_the_parameters_whatever_the_inner_rule():
    plain, perturbed = famo(2), famo(2, inner=sam(0.5))
    value, gradient, state = plain.rule(two_losses)(PARAMS, BATCH, state=plain.init(PARAMS))
    other, ascended, same = perturbed.rule(two_losses)(PARAMS, BATCH, state=perturbed.init(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, (other, same), (value, state))
    assert np.abs(ascended - gradient).max() > 1e-3


# --- FAMO


def test_famo_does_not_see_the_units_of_the_losses():
    """Other units change neither the logits nor the direction of the gradient, c Σ z ∇log L."""
    rule = famo(2)
    ends = []
    for units in ([1.0, 1.0], [1e3, 1e-2]):
        value_and_grad = jax.jit(rule.rule(lambda params, units=units: parabolas(params, units)))
        state = rule.init(jnp.zeros(2))
        for params in (jnp.zeros(2), jnp.array([0.1, 0.2]), jnp.array([-0.3, 0.5])):
            _, gradient, state = value_and_grad(params, state=state)
        ends.append((state.logits, gradient / jnp.linalg.norm(gradient)))
    np.testing.assert_allclose(ends[1][0], ends[0][0], rtol=1e-4)  # differences of logs lose digits
    np.testing.assert_allclose(ends[1][1], ends[0][1], rtol=1e-4)
    assert np.abs(ends[0][0]).min() > 0.005


def test_famo_gives_weight_to_the_task_that_fell_less():
    rule = famo(2, learning_rate=0.1, weight_decay=0.0)
    value_and_grad = rule.rule(lambda params, losses: params * losses)
    state = rule.init(1.0)
    _, _, state = value_and_grad(1.0, jnp.array([1.0, 1.0]), state=state)
    np.testing.assert_array_equal(state.logits, [0.0, 0.0])
    _, second, state = value_and_grad(1.0, jnp.array([0.5, 0.9]), state=state)
    np.testing.assert_allclose(state.logits, [-0.1, 0.1], rtol=1e-5)  # the first step of Adam is a sign
    shares = np.exp([-0.1, 0.1]) / [0.5, 0.9]
    np.testing.assert_allclose(second, shares @ [0.5, 0.9] / shares.sum(), rtol=1e-5)


def test_famo_in_a_train_step():
    rule, tx = famo(2), optax.sgd(0.1)
    step = make_train_step(lambda *args: (two_losses(*args), {}), tx, gradient=rule)
    state = TrainState.create(params=PARAMS, tx=tx, gradient=rule)
    losses = []
    for _ in range(4):
        state, metrics = step(state, BATCH)
        losses.append(metrics["loss"])
    assert losses[-1].shape == (2,)
    assert losses[-1].sum() < losses[0].sum()
    assert step._cache_size() <= 1
    assert state.rule_state.adam[1][0].count == 3
    state, _ = step(state, BATCH * np.nan)
    assert state.skipped == 1
    assert np.isfinite(state.rule_state.log_losses).all()


# --- DWA


def weights_over(rule, epochs):
    """The weights of each step: the gradients of losses that are the two parameters times the losses given."""
    value_and_grad = jax.jit(rule.rule(lambda params, losses: params * losses))
    state, weights = rule.init(jnp.ones(2)), []
    for losses in epochs:
        losses = jnp.asarray(losses, jnp.float32)
        _, gradient, state = value_and_grad(jnp.ones(2), losses, state=state)
        weights.append(np.asarray(gradient) / np.where(losses == 0, 1, losses))
    return np.stack(weights)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def test_dwa_closed_form_over_epochs_of_two_steps():
    losses = [[4.0, 1.0], [2.0, 3.0], [1.0, 1.0], [2.0, 1.0], [5.0, 5.0], [1.0, 3.0], [1.0, 1.0]]
    weights = weights_over(dwa(2, steps_per_epoch=2, temperature=0.5), losses)
    np.testing.assert_allclose(weights[:4], np.ones((4, 2)), rtol=1e-6)
    np.testing.assert_allclose(weights[4], 2 * softmax(np.array([1.5 / 3.0, 1.0 / 2.0]) / 0.5), rtol=1e-6)
    np.testing.assert_allclose(weights[5], weights[4], rtol=1e-6)
    np.testing.assert_allclose(weights[6], 2 * softmax(np.array([3.0 / 1.5, 4.0 / 1.0]) / 0.5), rtol=1e-6)


def test_dwa_of_a_loss_that_stays_at_zero_counts_it_as_constant():
    weights = weights_over(dwa(2), [[0.0, 1.0], [0.0, 0.5], [1.0, 1.0]])
    np.testing.assert_allclose(weights[2], 2 * softmax(np.array([1.0, 0.5]) / 2.0), rtol=1e-6)


# --- RLW


def test_random_loss_weighting_is_on_average_the_gradient_of_the_mean():
    draws = 4000
    value_and_grad = random_loss_weighting()(lambda params, key: params * jnp.array([1.0, 2.0, 4.0]))
    keys = jax.random.split(jax.random.key(0), draws)
    losses, weighted = jax.jit(jax.vmap(lambda key: value_and_grad(jnp.ones(3), key)))(keys)
    weights = np.asarray(weighted) / [1.0, 2.0, 4.0]
    np.testing.assert_array_equal(losses[0], [1.0, 2.0, 4.0])
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    assert (np.abs(weights.mean(axis=0) - 1 / 3) < 5 * weights.std(axis=0) / np.sqrt(draws)).all()
    ratio = np.log(weights[:, 0] / weights[:, 1])  # of two standard normals: variance 2
    assert abs(ratio.var() - 2) < 5 * 2 * np.sqrt(2 / draws)


def test_random_loss_weighting_needs_a_key():
    with pytest.raises(ValueError, match="random_loss_weighting: expected a typed PRNG key"):
        random_loss_weighting()(two_losses)(PARAMS, BATCH)
