"""What all rules share that perturb the parameters before the gradient, each fact asserted for all from one place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contracts.gradient_checks import without_state

from optimizers import (
    accumulate,
    adversarial_model_perturbation,
    adversarial_weight_perturbation,
    fisher_sam,
    friendly_sam,
    gam,
    gradient_norm_regularization,
    gsam,
    looksam,
    sam,
)


def at_first(make):
    """A stateful rule at its first step, where both of these are SAM; what follows is in test_sharpness_memory.py."""
    return lambda **settings: without_state(make(**settings))


# Each rule with settings that show, the settings that leave nothing of it, and the gradients that it costs.
SAM, GSAM = (sam, {"rho": 0.3}), (gsam, {"rho": 0.3, "alpha": 0.5})
AWP = adversarial_weight_perturbation, {"gamma": 0.3, "min_ndim": 1}
AMP = adversarial_model_perturbation, {"epsilon": 0.3, "inner_rate": 0.2, "steps": 3}
NORM = gradient_norm_regularization, {"gamma": 0.02, "epsilon": 0.01}
GAM = gam, {"rho": 0.3, "norm_rho": 0.2, "alpha": 0.4, "beta": 0.5}
RULES = {
    "sam": (*SAM, {"rho": 0.0}, 2),
    "gsam": (*GSAM, {"rho": 0.0}, 2),
    "fisher_sam": (fisher_sam, {"rho": 0.3, "eta": 0.5}, {"rho": 0.0}, 2),
    "awp": (*AWP, {"gamma": 0.0}, 2),
    "amp": (*AMP, {"epsilon": 0.0}, 4),
    "amp[inner_rate]": (*AMP, {"inner_rate": 0.0}, 4),
    "amp[per_leaf]": (AMP[0], {**AMP[1], "per_leaf": True}, {"epsilon": 0.0}, 4),
    "norm": (*NORM, {"gamma": 0.0}, 2),
    "norm[backward]": (NORM[0], {**NORM[1], "mode": "backward"}, {"gamma": 0.0}, 2),
    "norm[centered]": (NORM[0], {**NORM[1], "mode": "centered", "squared": False}, {"gamma": 0.0}, 3),
    "looksam": (at_first(looksam), {"rho": 0.3}, {"rho": 0.0}, 2),
    "friendly_sam": (at_first(friendly_sam), {"rho": 0.3}, {"rho": 0.0}, 2),
    "gam": (*GAM, {"rho": 0.0, "norm_rho": 0.0, "beta": 0.0}, 4),
}
each_rule = pytest.mark.parametrize(("make", "settings", "nothing", "cost"), RULES.values(), ids=RULES)
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
def test_it_differs_from_the_gradient_and_without_strength_is_the_gradient(make, settings, nothing, cost):
    plain = on_start(lambda loss_fn: jax.value_and_grad(loss_fn))
    np.testing.assert_allclose(on_start(make(**{**settings, **nothing})), plain, rtol=1e-13)
    assert np.linalg.norm(on_start(make(**settings)) - plain) > 0.01 * np.linalg.norm(plain)


@each_rule
def test_value_and_aux_are_of_the_first_pass_and_the_cost_is_as_documented(make, settings, nothing, cost):
    calls = []

    def loss_fn(params):
        calls.append(1)
        return quartic(params), params

    params = jax.tree.map(jnp.float32, START)
    (value, seen), _ = make(**settings)(loss_fn, has_aux=True)(params)
    assert len(calls) == cost
    assert value == quartic(params)
    jax.tree.map(np.testing.assert_array_equal, seen, params)


@each_rule
def test_a_linear_loss_has_one_gradient_everywhere(make, settings, nothing, cost):
    slope, gradients = np.array([3.0, 0.5, -1.0]), 1.0 + settings.get("beta", 0.0)  # GAM's is a sum of 1 + beta
    got = on_start(make(**settings), lambda p: slope @ flat(p))
    np.testing.assert_allclose(got, gradients * slope, rtol=1e-15)


@each_rule
def test_accumulated_gradients_are_those_of_the_batch(make, settings, nothing, cost):
    batch = np.random.default_rng(0).normal(size=(8, 2))
    with jax.enable_x64(True):
        loss_fn = lambda w, b: jnp.mean(jnp.sum((w - b) ** 4, axis=-1))
        parts, whole = make(**settings, inner=accumulate(4)), make(**settings)
        w = jnp.array([0.3, -0.2])
        np.testing.assert_allclose(parts(loss_fn)(w, batch)[1], whole(loss_fn)(w, batch)[1], rtol=1e-12)


@each_rule
def test_half_precision_overflows_nothing(make, settings, nothing, cost):
    # Squares of 1000 overflow float16, and so would a norm; float32 says what the gradient should be.
    loss_fn = lambda p: jnp.sum(jnp.array([250, 375], p.dtype) * p**2).astype(jnp.float32)
    rule = make(**settings)
    expected = rule(loss_fn)(jnp.full(2, 2.0))[1]
    half = rule(loss_fn)(jnp.full(2, 2.0, jnp.float16))[1]
    assert half.dtype == jnp.float16
    np.testing.assert_allclose(half, expected, rtol=4e-3)  # parameters and gradients are rounded to float16


@each_rule
def test_numbers_and_numpy_arrays_are_parameters(make, settings, nothing, cost):
    loss_fn = lambda p: p["a"] ** 4 + jnp.sum(p["b"] ** 2)
    rule = make(**settings)
    _, expected = rule(loss_fn)({"a": jnp.float32(1.5), "b": jnp.ones((2, 2))})
    _, gradient = rule(loss_fn)({"a": 1.5, "b": np.ones((2, 2), np.float32)})
    jax.tree.map(np.testing.assert_array_equal, gradient, expected)
