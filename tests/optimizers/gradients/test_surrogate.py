"""The sharpness of a surrogate against closed forms and the ball itself, and the multiplier that bounds it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, ignite, make_train_step, surrogate_sharpness

RANDOM = np.random.default_rng(0)
INPUTS, START = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=3)


def linear(w, x):
    return x @ w


def quadratic(w, x):
    """Its gradient in w is the mean of 2 (x w) x: a matrix times w."""
    return (x @ w) ** 2


def network(w, x):
    return jnp.sin(x @ w) + jnp.exp(0.3 * x @ w)


def test_a_linear_surrogate_is_as_sharp_everywhere():
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(lambda w: surrogate_sharpness(linear, w, INPUTS, rho=0.3))(START)
    np.testing.assert_allclose(value, 0.3 * np.linalg.norm(INPUTS.mean(axis=0)), rtol=1e-14)
    np.testing.assert_array_equal(gradient, 0.0)


def test_a_quadratic_surrogate_in_closed_form():
    matrix = 2 * INPUTS.T @ INPUTS / len(INPUTS)
    norm = np.linalg.norm(matrix @ START)
    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(lambda w: surrogate_sharpness(quadratic, w, INPUTS, rho=0.3))(START)
    np.testing.assert_allclose(value, 0.3 * norm, rtol=1e-14)
    np.testing.assert_allclose(gradient, 0.3 * matrix @ matrix @ START / norm, rtol=1e-13)


def test_it_is_how_far_the_mean_output_moves_within_a_small_ball():
    mean = lambda w: np.mean(np.sin(INPUTS @ w) + np.exp(0.3 * INPUTS @ w))
    directions = RANDOM.normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    errors = []
    for rho in (1e-1, 1e-2, 1e-3):
        farthest = max(abs(mean(START + rho * d) - mean(START)) for d in directions)
        with jax.enable_x64(True):
            errors.append(abs(farthest / float(surrogate_sharpness(network, START, INPUTS, rho=rho)) - 1))
    # Of 4000 directions the nearest to the best is within a few degrees; the rest of the error is of the order of rho.
    assert errors[0] < 0.1
    assert errors[2] < 2e-3


def test_its_gradient_is_that_of_finite_differences_and_of_the_authors_code():
    with jax.enable_x64(True):
        sharpness = lambda w: surrogate_sharpness(network, w, INPUTS, rho=0.3)
        gradient = np.asarray(jax.grad(sharpness)(START))
        differences = [(sharpness(START + e) - sharpness(START - e)) / 2e-5 for e in 1e-5 * np.eye(3)]
        slope = jax.grad(lambda w: jnp.mean(network(w, INPUTS)))
        g = slope(START)
        ahead = np.asarray(0.3 / 1e-6 * (slope(START + 1e-6 * g / jnp.linalg.norm(g)) - g))
    np.testing.assert_allclose(gradient, differences, rtol=1e-7)
    np.testing.assert_allclose(gradient, ahead, rtol=1e-5)


def test_no_slope_is_no_sharpness_and_a_nan_stays_one():
    value, gradient = jax.value_and_grad(lambda w: surrogate_sharpness(quadratic, w, INPUTS))(jnp.zeros(3))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    assert np.isnan(surrogate_sharpness(quadratic, jnp.array([jnp.nan, 0.0, 0.0]), INPUTS))


def test_half_precision_is_summed_in_float32():
    w = jnp.full(3, 300.0, jnp.float16)  # the squares of its gradient overflow float16
    x = jnp.ones((4, 3), jnp.float16)
    got = surrogate_sharpness(lambda w, x: 0.1 * (x @ w) ** 2, w, x, rho=1.0)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, 180 * np.sqrt(3), rtol=2e-3)


def terms(w):
    """Nearer to 2, and within 1 of 0: the best is at 1, where both gradients have length 2 and the multiplier is 1."""
    return jnp.stack([jnp.sum((w - 2.0) ** 2), jnp.sum(w**2)])


def test_gradient_and_multiplier_in_closed_form():
    rule = ignite(bound=1.5, multiplier_rate=0.5, initial=0.25)
    losses, gradient, multiplier = rule.rule(terms)(jnp.array(3.0), state=rule.init(jnp.array(3.0)))
    np.testing.assert_allclose(losses, [1.0, 9.0])
    np.testing.assert_allclose(gradient, 2.0 + 0.25 * 6.0)
    np.testing.assert_allclose(multiplier, 0.25 + 0.5 * (9.0 - 1.5))


def test_the_multiplier_rests_at_zero_while_the_bound_is_kept():
    rule = ignite(bound=1.0, multiplier_rate=10.0, initial=0.5)
    value_and_grad, state = rule.rule(terms), rule.init(jnp.array(0.5))
    for _ in range(3):
        _, gradient, state = value_and_grad(jnp.array(0.5), state=state)
        assert state == 0.0
    np.testing.assert_allclose(gradient, -3.0)  # that of the loss alone


def test_training_ends_where_the_bound_binds_with_the_multiplier_of_the_optimum():
    rule, tx = ignite(bound=1.0, multiplier_rate=0.1, initial=0.0), optax.sgd(0.05)
    step = make_train_step(lambda w, batch, key: (terms(w), {}), tx, gradient=rule, donate=False)
    state = TrainState.create(params=jnp.array(0.0), tx=tx, gradient=rule)
    state, _ = jax.jit(lambda state: jax.lax.scan(lambda s, _: step(s, jnp.zeros(1)), state, length=500))(state)
    np.testing.assert_allclose(state.params, 1.0, rtol=1e-5)
    np.testing.assert_allclose(state.rule_state, 1.0, rtol=1e-5)


def test_one_gradient_is_taken():
    calls = []

    def loss_fn(w):
        calls.append(1)
        return terms(w), w

    rule = ignite()
    (_, aux), _, _ = rule.rule(loss_fn, has_aux=True)(jnp.array(3.0), state=rule.init(jnp.array(3.0)))
    assert len(calls) == 1
    assert aux == 3.0


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"surrogate_sharpness: rho must lie in \[0, inf\], got -1"):
        surrogate_sharpness(linear, START, INPUTS, rho=-1.0)
    rule = ignite()
    with pytest.raises(ValueError, match=r"ignite: loss_fn must return .*\[loss, sharpness\].* got shape \(\)"):
        rule.rule(lambda w: w)(jnp.ones(()), state=rule.init(None))
