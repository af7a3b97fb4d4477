"""Scoring rules: proper at random truths, equal to their integrals and to each other where they are the same."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled
from scipy import integrate, stats

import objectives

o = all_compiled(objectives)

FAMILIES = {
    "crps_gaussian": stats.norm,
    "crps_logistic": stats.logistic,
    "crps_laplace": stats.laplace,
    "crps_student_t": stats.t(4.0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_crps_is_the_integral_over_thresholds(name):
    standard, y = FAMILIES[name], 0.7
    square = lambda x: (standard.cdf((x - 0.2) / 1.5) - (x >= y)) ** 2
    wanted = integrate.quad(square, -np.inf, y)[0] + integrate.quad(square, y, np.inf)[0]
    more = {"df": 4.0} if name == "crps_student_t" else {}
    with jax.enable_x64(True):
        actual = getattr(o, name)(np.array([0.2]), np.log([1.5]), np.array([y]), **more)
    np.testing.assert_allclose(actual, wanted, rtol=1e-7)


@pytest.mark.parametrize("name", FAMILIES)
def test_crps_is_proper(name):
    """The expected score has no gradient at the truth, and is larger at random parameters."""
    more = {"df": 4.0} if name == "crps_student_t" else {}
    probabilities = (np.arange(4000) + 0.5) / 4000
    y = 0.3 + 1.7 * FAMILIES[name].ppf(probabilities)
    rng = np.random.default_rng(0)
    guesses = np.concatenate([[[0.3, np.log(1.7)]], [0.3, np.log(1.7)] + 0.7 * rng.normal(size=(15, 2))])

    def expected(parameters):
        m, s = (jnp.full(y.shape, p) for p in parameters)
        return getattr(o, name)(m, s, y, **more).mean()

    with jax.enable_x64(True):
        scores, slopes = jax.jit(lambda g: jax.lax.map(jax.value_and_grad(expected), g))(jnp.asarray(guesses))
    assert (scores[1:] > scores[0]).all()
    np.testing.assert_allclose(slopes[0], 0, atol=3e-4)  # the midpoint rule's error in heavy tails


@pytest.mark.parametrize("name", ["brier_loss", "ranked_probability_score", "softmax_cross_entropy"])
def test_class_scores_are_strictly_proper(name):
    rng = np.random.default_rng(1)
    truth, guesses = rng.dirichlet(np.ones(4), 5), rng.dirichlet(np.ones(4), 200)

    @jax.jit
    def expected(p, q):
        logits = jnp.broadcast_to(jnp.log(p), (4, 4))
        return jnp.sum(q * getattr(o, name)(logits, jnp.arange(4)))

    def excess(q):
        return jax.vmap(lambda p: expected(p, q))(guesses) - expected(q, q)

    assert (jax.vmap(excess)(jnp.asarray(truth)) > 0).all()


def test_class_scores_of_ids_and_probabilities():
    rng = np.random.default_rng(2)
    logits, q = rng.normal(size=(6, 4)).astype(np.float32), rng.dirichlet(np.ones(4), 6)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(o.brier_loss(logits, q), ((p - q) ** 2).sum(-1), rtol=1e-5)
    gaps = (p - q).cumsum(-1)[:, :-1]
    np.testing.assert_allclose(o.ranked_probability_score(logits, q), (gaps**2).sum(-1), rtol=1e-5)
    distance = o.earth_movers_distance_loss(logits, q)
    wanted = [stats.wasserstein_distance(np.arange(4), np.arange(4), a, b) for a, b in zip(p, q)]
    np.testing.assert_allclose(distance, wanted, rtol=1e-5)
    squared = o.earth_movers_distance_loss(logits, q, power=2.0)
    np.testing.assert_allclose(squared, o.ranked_probability_score(logits, q), rtol=1e-6)


def test_a_confident_prediction_has_the_score_of_its_doubt():
    """1 - p near 1 would be rounded away."""
    score = o.ranked_probability_score(jnp.array([[12.0, 0.0, 0.0]]), jnp.array([0]))
    p = 1 / (np.exp(12.0) + 2)
    np.testing.assert_allclose(score, (2 * p) ** 2 + p**2, rtol=1e-5)


def test_fair_scores_do_not_depend_on_the_number_of_members():
    """The mean over all pairs of members is the fair score of all of them."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=2)
    pairs = np.array(list(itertools.combinations(range(6), 2)))
    with jax.enable_x64(True):
        score = lambda members: o.energy_score(members, jnp.broadcast_to(y, (*members.shape[:-2], 2)))
        np.testing.assert_allclose(score(x[pairs]).mean(), score(x), rtol=1e-12)
        score = lambda members: o.crps_ensemble(members, jnp.broadcast_to(y[0], members.shape[:-1]))
        np.testing.assert_allclose(score(x[pairs, 0]).mean(), score(x[:, 0]), rtol=1e-12)
        energy = o.energy_score(x[:, :1], y[:1])
        np.testing.assert_allclose(energy, o.crps_ensemble(x[:, 0], y[0]), rtol=1e-12)


def test_intervals_are_quantiles():
    rng = np.random.default_rng(4)
    quantiles, y = np.sort(rng.normal(size=(20, 5)), axis=-1).astype(np.float32), rng.normal(size=20)
    weighted = o.weighted_interval_score(quantiles[:, 2], quantiles[:, :2], quantiles[:, :2:-1], y, alphas=[0.1, 0.5])
    pinball = o.crps_quantiles(quantiles, y, levels=[0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(weighted, pinball, rtol=1e-5)


def test_many_quantiles_approach_the_crps():
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = stats.norm.ppf(levels)[None].astype(np.float32)
    score = o.crps_quantiles(quantiles, np.array([0.7]), levels=levels)
    closed = o.crps_gaussian(np.zeros(1, np.float32), np.zeros(1, np.float32), np.array([0.7]))
    np.testing.assert_allclose(score, closed, rtol=2e-4)  # the step of the quantiles


def test_variogram_score_sees_correlation():
    """Proper, and strictly so for correlations, which the mean of the energy score hardly moves for."""
    rng = np.random.default_rng(5)

    def draw(rho, n):
        return rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n)

    y = draw(0.8, 2000)
    scores = [
        o.variogram_score(jnp.broadcast_to(draw(rho, 300).astype(np.float32), (2000, 300, 2)), y).mean()
        for rho in (0.8, 0.0, -0.8)
    ]
    assert scores[0] < scores[1] < scores[2]


def test_energy_score_holds_no_square_of_the_members():
    """Neither forward nor backward is there an array of M² D numbers."""
    members, dim = 37, 3
    gradient = jax.grad(lambda x: o.energy_score(x, jnp.zeros(dim)))
    text = str(jax.make_jaxpr(gradient)(jnp.ones((members, dim))))
    assert f"[{members},{members},{dim}]" not in text
    assert f"[{members},{dim}]" in text


def test_energy_score_far_away_does_not_overflow():
    x = jnp.array([[3e30, 4e30], [3e30, 4e30]])
    np.testing.assert_allclose(o.energy_score(x, jnp.zeros(2)), 5e30, rtol=1e-6)


def test_monotone_quantiles_rise_and_reach_those_of_the_targets():
    steps = np.random.default_rng(0).normal(0, 30, (5, 9)).astype(np.float32)
    assert np.all(np.diff(o.monotone_quantiles(steps)) >= 0)
    wanted = stats.norm.ppf([0.1, 0.5, 0.9])
    outputs = np.r_[wanted[0], np.log(np.expm1(np.diff(wanted)))]
    np.testing.assert_allclose(o.monotone_quantiles(outputs.astype(np.float32)), wanted, rtol=1e-6)

    y = jnp.asarray(stats.norm.ppf((np.arange(1000) + 0.5) / 1000), jnp.float32)

    def loss(outputs):
        quantiles = jnp.broadcast_to(o.monotone_quantiles(outputs), (1000, 3))
        return o.crps_quantiles(quantiles, y, levels=[0.1, 0.5, 0.9]).mean()

    start = jnp.array([2.0, -1.0, -1.0])
    found = jax.jit(lambda x: jax.lax.fori_loop(0, 600, lambda _, x: x - jax.grad(loss)(x), x))(start)
    # the quantiles of a thousand numbers are where the gradient jumps, by a thousandth
    np.testing.assert_allclose(o.monotone_quantiles(found), wanted, atol=0.02)
