"""Survival: definitions written as loops, probabilities that sum to one, SciPy's distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import objectives

RNG = np.random.default_rng(0)
N = 30
ETA, TIMES, EVENTS = RNG.normal(size=N), RNG.integers(0, 8, N).astype(float), RNG.integers(0, 2, N)
STRATA, WHERE = RNG.integers(-1, 2, N).astype(np.int32), RNG.random(N) < 0.8


def by_definition(eta, times, events, strata, where, ties):
    losses = np.zeros(len(eta))
    for i in np.flatnonzero(where & (events == 1)):
        together = where & (strata == strata[i])
        risk = np.exp(eta[together & (times >= times[i])]).sum()
        tied = together & (times == times[i]) & (events == 1)
        d = tied.sum()
        steps = np.arange(d) / d if ties == "efron" else np.zeros(1)
        losses[i] = np.log(risk - steps * np.exp(eta[tied]).sum()).mean() - eta[i]
    return losses


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_equals_its_definition(ties):
    wanted = by_definition(ETA, TIMES, EVENTS, STRATA, WHERE, ties)
    with jax.enable_x64(True):
        loss = jax.jit(
            lambda eta, order: objectives.cox_partial_likelihood_loss(
                eta[order], *(x[order] for x in arrays[:2]), strata=arrays[2][order], where=arrays[3][order], ties=ties
            )
        )
        arrays = [jnp.asarray(x) for x in (TIMES, EVENTS, STRATA, WHERE)]
        for order in (np.arange(N), RNG.permutation(N)):
            np.testing.assert_allclose(loss(ETA, order), wanted[order], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(loss(ETA + 1e3, np.arange(N)), wanted, rtol=1e-9, atol=1e-10)


def test_cox_at_extremes():
    """Hazards 20000 apart: the largest in the risk set decides."""
    times = jnp.array([1.0, 1.0, 2.0, 3.0, 4.0])

    @jax.jit
    @jax.value_and_grad
    def total(eta):
        return objectives.cox_partial_likelihood_loss(eta, times, jnp.ones(5)).sum()

    value, gradient = total(jnp.array([1e4, -1e4, 1e4, -1e4, 0.0]))
    share = (np.log(2.0) + np.log(1.5)) / 2  # two of hazard e^10000 at risk, then those two less half of one
    np.testing.assert_allclose(value, 2 * share + 2e4 + 1e4, rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(), 0, atol=1e-5)


def test_cox_needs_no_pairs():
    n = 101
    function = jax.grad(lambda eta: objectives.cox_partial_likelihood_loss(eta, jnp.arange(n), jnp.ones(n)).sum())
    assert f"{n},{n}" not in str(jax.make_jaxpr(function)(jnp.zeros(n)))


def test_faulty_examples_are_nan_and_in_no_risk_set():
    times, events = TIMES.astype(np.float32), EVENTS.astype(np.float32)
    times[3], events[5] = np.nan, 0.5
    loss = jax.jit(objectives.cox_partial_likelihood_loss)(ETA.astype(np.float32), times, events)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(loss)), [3, 5])
    rest = np.ones(N, bool)
    rest[[3, 5]] = False
    wanted = by_definition(ETA, TIMES, EVENTS, np.zeros(N), rest, "efron")
    np.testing.assert_allclose(loss[rest], wanted[rest], rtol=2e-5, atol=1e-5)
    assert np.isnan(objectives.concordance_index(ETA.astype(np.float32), times, events))


def test_concordance_index_equals_its_definition():
    risks = np.round(ETA).astype(np.float32)
    won = total = 0
    for i in np.flatnonzero(WHERE & (EVENTS == 1)):
        for j in np.flatnonzero(WHERE):
            if TIMES[j] > TIMES[i] or (TIMES[j] == TIMES[i] and EVENTS[j] == 0):
                total += 1
                won += (risks[i] > risks[j]) + 0.5 * (risks[i] == risks[j])
    index = objectives.concordance_index(risks, TIMES, EVENTS, where=WHERE)
    np.testing.assert_allclose(index, won / total, rtol=1e-6)
    assert objectives.concordance_index(risks, TIMES, 0 * EVENTS) == 0.5


@pytest.mark.parametrize("name", ["logistic_hazard_loss", "pmf_survival_loss"])
def test_all_outcomes_have_probability_one(name):
    logits = np.tile(RNG.normal(size=5).astype(np.float32), (6, 1))
    losses = getattr(objectives, name)(logits, np.array([0, 1, 2, 3, 4, 4]), np.array([1, 1, 1, 1, 1, 0]))
    np.testing.assert_allclose(np.exp(-losses).sum(), 1, rtol=1e-6)
    survived = getattr(objectives, name)(logits[:1], np.array([2]), np.array([0]))
    np.testing.assert_allclose(np.exp(-survived[0]), 1 - np.exp(-losses[:3]).sum(), rtol=1e-5)


def test_aft_equals_scipy():
    m, s = np.array([0.3, -0.5, 0.2, 0.1, 0.0]), np.array([0.2, -0.7, 0.1, 0.0, 0.5])
    lower, upper = np.array([1.5, 0.0, 2.0, 0.0, 1.0]), np.array([1.5, 0.7, np.inf, np.inf, 1.2])
    scale = np.exp(s)
    peers = {
        "weibull": stats.weibull_min(1 / scale, scale=np.exp(m)),
        "log_normal": stats.lognorm(scale, scale=np.exp(m)),
        "log_logistic": stats.fisk(1 / scale, scale=np.exp(m)),
    }

    @jax.jit
    def compute():
        return {d: objectives.aft_loss(m, s, lower, upper, distribution=d) for d in peers}

    with jax.enable_x64(True):
        actual = compute()
    for name, peer in peers.items():
        exact = lower == upper
        wanted = np.where(exact, -peer.logpdf(lower), -np.log(np.where(exact, 1, peer.sf(lower) - peer.sf(upper))))
        np.testing.assert_allclose(actual[name], wanted, rtol=1e-10, atol=1e-15, err_msg=name)


def test_a_faulty_interval_is_nan_and_in_no_pair():
    logits, bins = RNG.normal(size=(6, 4)).astype(np.float32), np.array([0, 3, 9, 1, 2, 1], np.int32)
    events, rest = np.array([1, 1, 1, 0, 1, 1]), np.arange(6) != 2
    loss = objectives.deephit_ranking_loss(logits, bins, events)
    assert np.isnan(loss).tolist() == (~rest).tolist()
    wanted = objectives.deephit_ranking_loss(logits[rest], bins[rest], events[rest])
    np.testing.assert_allclose(loss[rest], wanted, rtol=1e-5)
