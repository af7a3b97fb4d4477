"""Expectations and their gradients: conjugate models, enumeration, and means within five of their standard errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objectives

DRAWS = 40_000


def assert_unbiased(draws, expected):
    """The mean of independent draws is as expected, within five of its standard errors."""
    draws = np.asarray(draws, np.float64)
    assert abs(draws.mean() - expected) < 5 * draws.std() / np.sqrt(draws.size), (draws.mean(), expected)


# --- bounds: z ~ N(0, 1), x = 1 given z ~ N(z, 1), so that x ~ N(0, 2) and z given x ~ N(1/2, 1/2)

OBSERVED = 1.0
EVIDENCE = -0.5 * OBSERVED**2 / 2 - 0.5 * np.log(2 * np.pi * 2)


def log_normal(x, mean, std):
    return -0.5 * ((x - mean) / std) ** 2 - jnp.log(std) - 0.5 * np.log(2 * np.pi)


def log_joint(z):
    return log_normal(z, 0.0, 1.0) + log_normal(OBSERVED, z, 1.0)


def test_elbo_of_the_exact_posterior_is_the_evidence_at_each_sample():
    z = 0.5 + np.sqrt(0.5) * np.random.default_rng(0).normal(size=(1, 100)).astype(np.float32)
    bound = objectives.elbo(log_joint(z), log_normal(z, 0.5, np.sqrt(0.5)))
    np.testing.assert_allclose(bound, np.full(100, EVIDENCE), rtol=1e-5)


def test_elbo_and_its_gradient_are_those_of_the_conjugate_model():
    """ELBO = log p(x) - KL, by Gauss-Hermite quadrature of the reparameterised samples, exact here."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    mean, std = 0.2, 0.9

    def bound(mean, std):
        z = mean + std * nodes
        values = objectives.elbo(log_joint(z)[None], log_normal(z, mean, std)[None])
        return values @ (weights / weights.sum())

    with jax.enable_x64(True):
        value, gradients = jax.value_and_grad(bound, argnums=(0, 1))(jnp.float64(mean), jnp.float64(std))
    ratio = std**2 / 0.5
    divergence = 0.5 * (ratio + (mean - 0.5) ** 2 / 0.5 - 1 - np.log(ratio))
    np.testing.assert_allclose(value, EVIDENCE - divergence, rtol=1e-12)
    np.testing.assert_allclose(gradients, [-(mean - 0.5) / 0.5, 1 / std - std / 0.5], rtol=1e-12)


def test_iwelbo_of_one_sample_is_elbo_and_more_samples_are_tighter():
    z = np.random.default_rng(0).normal(size=(64, 2000)).astype(np.float32)
    log_weights = log_joint(z) - log_normal(z, 0.0, 1.0)
    one = objectives.iwelbo(log_weights[:1])
    np.testing.assert_allclose(one, objectives.elbo(log_joint(z[:1]), log_normal(z[:1], 0.0, 1.0)), rtol=1e-5)
    bounds = [objectives.iwelbo(log_weights[:samples]).mean() for samples in (1, 4, 16, 64)]
    assert bounds == sorted(bounds)
    assert EVIDENCE - 0.01 < bounds[-1] < EVIDENCE + 0.005


def test_iwelbo_is_the_log_of_the_mean_weight_at_any_size():
    log_weights = jnp.log(jnp.array([0.5, 0.0, 1.5])) + 1e4
    np.testing.assert_allclose(objectives.iwelbo(log_weights), 1e4 + np.log(2 / 3), rtol=1e-6)
    assert objectives.iwelbo(jnp.full(3, -jnp.inf)) == -np.inf
    assert np.isnan(objectives.iwelbo(jnp.array([0.0, jnp.nan])))


# --- the score function: all outcomes of two independent coins, each weighed by its probability, is an exact mean

BASELINES = {"none": None, "number": 0.7, "one each": np.array([0.3, -0.2]), "leave_one_out": "leave_one_out"}


def log_prob(logit, heads):
    return jax.nn.log_sigmoid(jnp.where(heads, logit, -logit))


def value_of(logit, heads):
    """A value that depends on the parameter by itself as well."""
    return jnp.where(heads, jnp.sin(logit), logit**2)


def mean_of_surrogates(logit, baseline):
    total = 0.0
    for coins in itertools.product([True, False], repeat=2):
        heads = jnp.array(coins)
        log_probs = log_prob(logit, heads)
        values = objectives.score_function_surrogate(value_of(logit, heads), log_probs, baseline=baseline)
        total += jax.lax.stop_gradient(jnp.exp(log_probs.sum())) * values.mean()
    return total


def exact_mean(logit):
    p = jax.nn.sigmoid(logit)
    return p * value_of(logit, True) + (1 - p) * value_of(logit, False)


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=BASELINES)
def test_score_function_gives_value_gradient_and_second_derivative(baseline):
    def derivatives(function):
        grad = jax.grad(function)
        return jax.jit(lambda logit: (function(logit), grad(logit), jax.grad(grad)(logit)))(jnp.float64(0.3))

    with jax.enable_x64(True):
        actual = derivatives(lambda logit: mean_of_surrogates(logit, baseline))
        np.testing.assert_allclose(actual, derivatives(exact_mean), rtol=1e-12)


def test_score_function_values_are_the_values_and_the_baseline_is_in_front_of_the_score():
    values, log_probs = jnp.array([3.0, 5.0, 10.0]), jnp.array([-1.0, -2.0, -3.0])
    for baseline in (None, 2.0, "leave_one_out"):
        surrogate = objectives.score_function_surrogate(values, log_probs, baseline=baseline)
        np.testing.assert_array_equal(surrogate, values)
    gradient = jax.grad(
        lambda log_probs: objectives.score_function_surrogate(values, log_probs, baseline="leave_one_out").sum()
    )(log_probs)
    np.testing.assert_allclose(gradient, [3.0 - 7.5, 5.0 - 6.5, 10.0 - 4.0], rtol=1e-6)


def test_leave_one_out_takes_the_variance_of_a_constant_away():
    draws = jax.random.bernoulli(jax.random.key(0), 0.5, (8, 1000))

    def gradient(logits, baseline):
        def total(logits):
            values = 100.0 + draws.astype(jnp.float32)
            return objectives.score_function_surrogate(values, log_prob(logits, draws), baseline=baseline).mean(0).sum()

        return np.asarray(jax.grad(total)(logits))

    plain, left_out = gradient(jnp.zeros(1000), None), gradient(jnp.zeros(1000), "leave_one_out")
    assert_unbiased(plain, 0.25)
    assert_unbiased(left_out, 0.25)
    assert left_out.std() < 0.01 * plain.std()


# --- enumeration


def test_enumerated_expectation_of_a_coin():
    def mean(p, values):
        return objectives.enumerated_expectation(jnp.stack([1 - p, p]), values)

    value, (by_p, by_values) = jax.value_and_grad(mean, argnums=(0, 1))(jnp.float32(0.25), jnp.array([2.0, 10.0]))
    assert value == 0.75 * 2 + 0.25 * 10
    assert by_p == 10 - 2
    np.testing.assert_array_equal(by_values, [0.75, 0.25])


def test_impossible_outcomes_may_be_infinite_and_no_others():
    probs = jnp.array([0.0, 1.0])
    assert objectives.enumerated_expectation(probs, jnp.array([-jnp.inf, 3.0])) == 3
    assert objectives.enumerated_expectation(probs, jnp.array([3.0, jnp.inf])) == np.inf
    assert np.isnan(objectives.enumerated_expectation(probs, jnp.array([jnp.nan, 3.0])))


# --- measure-valued derivatives

MEAN, STD = 0.4, 0.8
DENSITY = np.exp(-0.5 * (MEAN / STD) ** 2) / np.sqrt(2 * np.pi)
INTEGRANDS = {
    # function: expectation, and its derivatives by mean and standard deviation
    "square": (jnp.square, MEAN**2 + STD**2, 2 * MEAN, 2 * STD),
    "fourth power": (
        lambda x: x**4,
        MEAN**4 + 6 * MEAN**2 * STD**2 + 3 * STD**4,
        4 * MEAN**3 + 12 * MEAN * STD**2,
        12 * MEAN**2 * STD + 12 * STD**3,
    ),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0), 0.6914625, DENSITY / STD, -MEAN / STD**2 * DENSITY),
}


def derivatives_of(integrand, mean=MEAN, std=STD):
    """Values and derivatives of many independent samples."""
    ones = jnp.ones(DRAWS)
    value, pull_back = jax.vjp(
        lambda mean, std: objectives.normal_expectation(integrand, mean, std, jax.random.key(0)),
        mean * ones,
        std * ones,
    )
    return value, *pull_back(ones)


@pytest.mark.parametrize("name", INTEGRANDS)
def test_measure_valued_derivatives_are_unbiased(name):
    integrand, *expected = INTEGRANDS[name]
    for draws, exact in zip(derivatives_of(integrand), expected):
        assert_unbiased(draws, exact)


def test_measure_valued_derivative_has_its_closed_form_variance():
    """Of a square by the mean: 4 μ W / √(2π), with W of variance (4 - π) / 2."""
    by_mean = np.asarray(derivatives_of(jnp.square)[1], np.float64)
    np.testing.assert_allclose(by_mean.var(), 16 * MEAN**2 / (2 * np.pi) * (4 - np.pi) / 2, rtol=0.05)


def test_samples_are_standard_normal_and_parameters_of_the_integrand_have_their_gradient():
    def mean(scale):
        ones = jnp.ones(DRAWS)
        return objectives.normal_expectation(lambda x: scale * x, 0 * ones, ones, jax.random.key(1)).mean()

    value, by_scale = jax.value_and_grad(mean)(2.0)
    np.testing.assert_allclose(by_scale, value / 2, rtol=1e-5)
    samples = derivatives_of(lambda x: x, 0.0, 1.0)[0]
    assert_unbiased(samples, 0.0)
    assert_unbiased(samples**2, 1.0)
    assert_unbiased(samples**4, 3.0)


def test_what_is_no_normal_distribution_gives_nan():
    mean, std = jnp.array([jnp.nan, 0.0, 0.0, 0.0]), jnp.array([1.0, 0.0, -1.0, jnp.nan])
    step, key = INTEGRANDS["step"][0], jax.random.key(0)
    value, pull_back = jax.vjp(lambda m, s: objectives.normal_expectation(step, m, s, key), mean, std)
    assert np.isnan(value).all()
    assert np.isnan(pull_back(jnp.ones(4))).all()
