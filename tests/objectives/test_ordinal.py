"""Ordinal losses: probabilities that sum to one, soft labels as expectations, links against SciPy and mpmath."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import stats

import objectives

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32)


def test_corn_is_the_likelihood_of_its_probabilities():
    probabilities = objectives.corn_probabilities(LOGITS)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)
    losses = jnp.stack([objectives.corn_loss(LOGITS, np.full(6, k)) for k in range(5)], -1)
    np.testing.assert_allclose(np.exp(-losses), probabilities, rtol=1e-5)


def test_coral_probabilities_are_differences():
    above = 1 / (1 + np.exp(-LOGITS))
    probabilities = objectives.coral_probabilities(LOGITS)
    np.testing.assert_allclose(1 - np.cumsum(probabilities, -1)[:, :-1], above, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["coral_loss", "corn_loss"])
def test_a_soft_label_costs_what_is_expected(name):
    q = RNG.dirichlet(np.ones(5), 6).astype(np.float32)
    each = jnp.stack([getattr(objectives, name)(LOGITS, np.full(6, k)) for k in range(5)], -1)
    np.testing.assert_allclose(getattr(objectives, name)(LOGITS, q), (q * each).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(getattr(objectives, name)(LOGITS, 3 * q), 3 * (q * each).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("name", ["coral_loss", "corn_loss"])
def test_steps_are_proper(name):
    """The expected loss is least where the steps' probabilities are the truth's."""
    q = RNG.dirichlet(np.ones(4))
    above = np.cumsum(q[::-1])[::-1]
    steps = above[1:] if name == "coral_loss" else above[1:] / above[:-1]
    best = np.log(steps / (1 - steps))[None]
    guesses = best + RNG.normal(size=(50, 3))
    score = lambda x: getattr(objectives, name)(x, np.broadcast_to(q, (len(x), 4)))
    assert (score(guesses) > score(best)).all()


LINKS = {"logit": stats.logistic, "probit": stats.norm, "cloglog": stats.gumbel_l}


@pytest.mark.parametrize("link", LINKS)
def test_links_equal_scipy(link):
    cuts, scores = np.array([-1.0, 0.2, 0.21, 3.0]), np.array([-2.0, 0.1, 4.0])
    edges = np.concatenate([[-np.inf], cuts, [np.inf]]) - scores[:, None]
    wanted = np.diff(LINKS[link].cdf(edges), axis=-1)
    with jax.enable_x64(True):
        actual = objectives.cumulative_link_probabilities(scores, cuts, link=link)
        loss = objectives.cumulative_link_loss(scores, cuts, np.array([0, 2, 4]), link=link)
    np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(loss, -np.log(wanted[[0, 1, 2], [0, 2, 4]]), rtol=1e-9)


@pytest.mark.parametrize("link", LINKS)
def test_narrow_levels_far_out_equal_mpmath(link):
    """A level 1e-4 wide, in float32, in the middle and in the tails: the difference of two tails would be noise."""
    cdf = {"logit": lambda x: 1 / (1 + mp.exp(-x)), "probit": mp.ncdf, "cloglog": lambda x: -mp.expm1(-mp.exp(x))}[link]
    cuts = np.float32([0.0, 1e-4])
    scores = np.float32([-20.0 if link != "cloglog" else -3.0, -1.0, 0.0, 1.0, 20.0])
    labels = np.ones(5, np.int32)

    def total(scores):
        loss = objectives.cumulative_link_loss(scores, cuts, labels, link=link)
        return loss.sum(), loss

    slopes, loss = jax.jit(jax.grad(total, has_aux=True))(scores)
    with mp.workdps(200):
        exact = lambda s: -mp.log(cdf(mp.mpf(float(cuts[1])) - s) - cdf(-s))
        wanted = [(float(exact(s)), float(mp.diff(exact, s))) for s in map(mp.mpf, scores.tolist())]
    np.testing.assert_allclose(loss, [value for value, _ in wanted], rtol=1e-5)
    np.testing.assert_allclose(slopes, [slope for _, slope in wanted], rtol=1e-3, atol=1e-3)


def test_thresholds_out_of_order_are_nan():
    loss = objectives.cumulative_link_loss(jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.array([0, 1]))
    assert np.isnan(loss).all()
    ordered = objectives.ordered_thresholds(jnp.array([1.0, -5.0, 0.0]))
    assert (np.diff(ordered) > 0).all()
    assert ordered[0] == 1


def test_soft_labels():
    labels = objectives.soft_ordinal_labels(jnp.array([1, 3, -1]), levels=4, scale=2.0, power=2.0)
    wanted = np.exp(-2.0 * (np.arange(4) - np.array([[1], [3]])) ** 2)
    np.testing.assert_allclose(labels[:2], wanted / wanted.sum(-1, keepdims=True), rtol=1e-6)
    assert np.isnan(labels[2]).all()
    assert (labels[:2].argmax(-1) == jnp.array([1, 3])).all()
