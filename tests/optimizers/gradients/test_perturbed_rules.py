"""What all rules share that perturb the parameters before the gradient, each fact asserted for all from one place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import accumulate, gsam, sam

# Each rule at a strength that shows, the same without strength, and the gradients that it costs.
RULES = {
    "sam": (sam(0.3), sam(0.0), 2),
    "gsam": (gsam(0.3, 0.5), gsam(0.0, 0.5), 2),
}
each_rule = pytest.mark.parametrize(("rule", "powerless", "cost"), RULES.values(), ids=RULES)
HESSIAN = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]])
START = {"a": np.array([1.0, -0.5]), "b": np.array([[0.7]])}


def flat(params):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])


def quartic(params):
    x = flat(params)
    return 0.5 * x @ HESSIAN @ x + 0.25 * jnp.sum(x**4)


def on_start(rule, loss_fn=quartic):
    """The gradient of a rule at START in float64, as one vector."""
    with jax.enable_x64(True):
        return np.asarray(flat(rule(loss_fn)(jax.tree.map(jnp.asarray, START))[1]))


@each_rule
def test_it_differs_from_the_gradient_and_without_strength_is_the_gradient(rule, powerless, cost):
    plain = on_start(lambda loss_fn: jax.value_and_grad(loss_fn))
    np.testing.assert_allclose(on_start(powerless), plain, rtol=1e-13)
    assert np.linalg.norm(on_start(rule) - plain) > 0.01 * np.linalg.norm(plain)


@each_rule
def test_value_and_aux_are_of_the_first_pass_and_the_cost_is_as_documented(rule, powerless, cost):
    calls = []

    def loss_fn(params):
        calls.append(1)
        return quartic(params), params

    params = jax.tree.map(jnp.float32, START)
    (value, seen), _ = rule(loss_fn, has_aux=True)(params)
    assert len(calls) == cost
    assert value == quartic(params)
    jax.tree.map(np.testing.assert_array_equal, seen, params)


@each_rule
def test_a_linear_loss_has_one_gradient_everywhere(rule, powerless, cost):
    slope = np.array([3.0, 0.5, -1.0])
    np.testing.assert_allclose(on_start(rule, lambda p: slope @ flat(p)), slope, rtol=1e-15)


@each_rule
def test_accumulated_gradients_are_those_of_the_batch(rule, powerless, cost):
    # The same settings around `accumulate` as around the whole batch: every one of the gradients is of all examples.
    name = next(name for name in RULES if RULES[name][0] is rule)
    batch = np.random.default_rng(0).normal(size=(8, 2))
    with jax.enable_x64(True):
        loss_fn = lambda w, b: jnp.mean(jnp.sum((w - b) ** 4, axis=-1))
        w = jnp.array([0.3, -0.2])
        np.testing.assert_allclose(accumulated(name)(loss_fn)(w, batch)[1], rule(loss_fn)(w, batch)[1], rtol=1e-12)


def accumulated(name):
    return {
        "sam": lambda: sam(0.3, inner=accumulate(4)),
        "gsam": lambda: gsam(0.3, 0.5, inner=accumulate(4)),
    }[name]()


@each_rule
def test_half_precision_overflows_nothing(rule, powerless, cost):
    # Squares of 1000 overflow float16, and so would a norm; float32 says what the gradient should be.
    loss_fn = lambda p: jnp.sum(jnp.asarray(500.0, p.dtype) * p**2 * jnp.array([1, 2], p.dtype)).astype(jnp.float32)
    expected = rule(loss_fn)(jnp.full(2, 2.0))[1]
    half = rule(loss_fn)(jnp.full(2, 2.0, jnp.float16))[1]
    assert half.dtype == jnp.float16
    np.testing.assert_allclose(half, expected, rtol=4e-3)  # parameters and gradients are rounded to float16


@each_rule
def test_numbers_and_numpy_arrays_are_parameters(rule, powerless, cost):
    loss_fn = lambda p: p["a"] ** 4 + jnp.sum(p["b"] ** 2)
    _, expected = rule(loss_fn)({"a": jnp.float32(1.5), "b": jnp.ones((2, 2))})
    _, gradient = rule(loss_fn)({"a": 1.5, "b": np.ones((2, 2), np.float32)})
    jax.tree.map(np.testing.assert_array_equal, gradient, expected)
