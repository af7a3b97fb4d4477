"""Multi-label losses: brute-force sums over pairs, limits, and what imbalance does to each surrogate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import shared

import objectives as o
from objectives.multilabel import auc

RNG = np.random.default_rng(0)
SCORES = np.round(2 * RNG.normal(size=(14, 3)), 1)  # with ties
LABELS = RNG.integers(0, 2, (14, 3))
LABELS[0], LABELS[1] = 1, 0
KEPT = RNG.random((14, 3)) < 0.7
KEPT[:2] = True
BASES = {
    "logistic": lambda t: np.log1p(np.exp(-t)),
    "hinge": lambda t: np.maximum(0, 1 - t),
    "exponential": lambda t: np.exp(-t),
}


def brute(function, kept):
    """Mean over labels of a function of the kept positive and negative scores."""
    return np.mean(
        [function(f[m & (y == 1)], f[m & (y == 0)]) for f, y, m in zip(SCORES.T, LABELS.T, kept.T, strict=True)]
    )


@pytest.mark.parametrize("base", BASES)
def test_macro_auc_surrogates_by_brute_force(base):
    phi = BASES[base]
    with jax.enable_x64(True):
        for kept, where in ((np.ones((14, 3), bool), None), (KEPT, KEPT)):
            for loss, direct in (
                (o.macro_auc_pairwise_loss, lambda p, n: phi(p[:, None] - n).mean()),
                (o.macro_auc_univariate_loss, lambda p, n: np.concatenate([phi(p), phi(-n)]).mean()),
                (o.macro_auc_reweighted_loss, lambda p, n: phi(p).mean() + phi(-n).mean()),
            ):
                got = loss(SCORES, LABELS, base=base, where=where)
                np.testing.assert_allclose(got, brute(direct, kept), rtol=1e-12)


def test_pairs_at_the_bend_of_the_hinge_have_no_gradient():
    run = jax.jit(jax.grad(partial(o.macro_auc_pairwise_loss, labels=np.array([[1], [0], [0]]), base="hinge")))
    np.testing.assert_array_equal(run(jnp.array([[1.0], [0.0], [0.5]])), [[-0.5], [0], [0.5]])


@pytest.mark.parametrize("base", BASES)
def test_pairwise_gradients_by_brute_force(base):
    phi = {
        "logistic": lambda t: jax.nn.softplus(-t),
        "hinge": lambda t: jax.nn.relu(1 - t),
        "exponential": lambda t: jnp.exp(-t),
    }[base]
    scores = SCORES + 0.01 * RNG.normal(size=SCORES.shape)  # no pair at the bend

    def direct(f):
        pairs = LABELS[:, None] * (1 - LABELS)
        return jnp.mean(jnp.sum(pairs * phi(f[:, None] - f), (0, 1)) / pairs.sum((0, 1)))

    with jax.enable_x64(True):
        got = jax.jit(jax.grad(partial(o.macro_auc_pairwise_loss, labels=LABELS, base=base)))(scores)
        np.testing.assert_allclose(got, jax.jit(jax.grad(direct))(scores), rtol=1e-10, atol=1e-14)


def test_chunks_equal_the_whole(monkeypatch):
    with jax.enable_x64(True):
        run = jax.value_and_grad(partial(o.macro_auc_pairwise_loss, labels=LABELS, where=KEPT))
        whole = run(SCORES)
        monkeypatch.setattr(auc, "CHUNK", 4)
        parts = run(SCORES)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-13)
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-11, atol=1e-15)


def test_no_table_of_pairs_is_held():
    n = 8 * auc.CHUNK
    scores, labels = jnp.zeros((n, 2)), jnp.arange(2 * n).reshape(n, 2) % 3 == 0
    for base in ("logistic", "hinge"):
        run = jax.jit(jax.value_and_grad(partial(o.macro_auc_pairwise_loss, labels=labels, base=base)))
        memory = run.lower(scores).compile().memory_analysis().temp_size_in_bytes
        # a table of all pairs is eight chunks of it; the derivative of a chunk holds three, and sorting none
        assert memory < 4 * n * auc.CHUNK * 2 * (3.1 if base == "logistic" else 0.2)


def test_values_at_equal_scores():
    zeros = jnp.zeros((6, 3))
    labels = jnp.asarray(np.arange(18).reshape(6, 3) % 4 == 0)
    np.testing.assert_allclose(o.macro_auc_pairwise_loss(zeros, labels), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(o.macro_auc_univariate_loss(zeros, labels), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(o.macro_auc_reweighted_loss(zeros, labels), 2 * np.log(2), rtol=1e-6)
    assert o.macro_auc(zeros, labels) == 0.5


def test_imbalance_moves_the_univariate_loss_alone():
    single = slice(0, 1)  # a label, whose negatives are doubled
    doubled = np.concatenate([SCORES[:, single], SCORES[LABELS[:, 0] == 0][:, single]])
    of_doubled = np.concatenate([LABELS[:, single], LABELS[LABELS[:, 0] == 0][:, single]])
    with jax.enable_x64(True):
        for loss, moved in (
            (o.macro_auc_pairwise_loss, False),
            (o.macro_auc_reweighted_loss, False),
            (o.macro_auc_univariate_loss, True),
        ):
            before, after = loss(SCORES[:, single], LABELS[:, single]), loss(doubled, of_doubled)
            assert (abs(before - after) > 1e-3) == moved
        balanced = np.tile([[1], [0]], (7, 1))
        twice = 2 * o.macro_auc_univariate_loss(SCORES[:, :1], balanced)
        np.testing.assert_allclose(o.macro_auc_reweighted_loss(SCORES[:, :1], balanced), twice, rtol=1e-12)
        shifted = o.macro_auc_pairwise_loss(SCORES + np.array([1.0, -5.0, 9.0]), LABELS)
        np.testing.assert_allclose(shifted, o.macro_auc_pairwise_loss(SCORES, LABELS), rtol=1e-12)


def test_labels_of_one_kind_are_left_out_and_bad_ones_are_nan():
    labels = LABELS.copy()
    labels[:, 1] = 1
    with jax.enable_x64(True):
        functions = o.macro_auc_pairwise_loss, o.macro_auc_univariate_loss, o.macro_auc_reweighted_loss, o.macro_auc
        for function in map(shared, functions):
            some = function(SCORES[:, [0, 2]], labels[:, [0, 2]])
            np.testing.assert_allclose(function(SCORES, labels), some, rtol=1e-13)
            assert np.isnan(function(SCORES, np.where(labels == 1, 2, 0)))
        assert np.isnan(o.two_way_loss(SCORES, labels - 1))
        assert o.macro_auc(SCORES[:, :1], np.ones((14, 1))) == 0


def test_asymmetric_loss_limits():
    logits, labels, asymmetric_loss = 3 * RNG.normal(size=(5, 4)), RNG.integers(0, 2, (5, 4)), shared(o.asymmetric_loss)
    with jax.enable_x64(True):
        plain = asymmetric_loss(logits, labels, gamma_neg=0.0, gamma_pos=0.0, margin=0.0)
        np.testing.assert_allclose(plain, o.sigmoid_cross_entropy(logits, labels), rtol=1e-12)
        focal = asymmetric_loss(logits, labels, gamma_neg=2.0, gamma_pos=2.0, margin=0.0)
        np.testing.assert_allclose(focal, o.sigmoid_focal_loss(logits, labels, gamma=2.0), rtol=1e-12)
        p, base = 1 / (1 + np.exp(-logits)), {"gamma_neg": 3.0, "gamma_pos": 1.5, "margin": 0.2}
        shifted = np.maximum(p - 0.2, 0)
        closed = -np.where(labels, (1 - p) ** 1.5 * np.log(p), shifted**3 * np.log(1 - shifted))
        np.testing.assert_allclose(asymmetric_loss(logits, labels, **base), closed, rtol=1e-11, atol=1e-15)
        easy = np.array([-4.0, -3.0])  # probabilities of 0.018 and 0.047, below the margin
        value, gradient = jax.value_and_grad(lambda z: o.asymmetric_loss(z, np.zeros(2)).sum())(easy)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
        single = o.asymmetric_single_label_loss(logits, labels[:, 0], gamma_pos=0.0, gamma_neg=0.0, label_smoothing=0.2)
        smoothed = o.softmax_cross_entropy(logits, labels[:, 0], label_smoothing=0.2)
        np.testing.assert_allclose(single, smoothed, rtol=1e-12)


def test_saturated_negatives_keep_their_logarithm():
    loss, gradient = jax.value_and_grad(lambda z: o.asymmetric_loss(z, jnp.zeros(()), gamma_neg=0.0, margin=0.0))(500.0)
    np.testing.assert_allclose([loss, gradient], [500.0, 1.0], rtol=1e-6)
    capped = o.asymmetric_loss(jnp.array([500.0]), jnp.zeros(1), gamma_neg=0.0, margin=0.05)
    np.testing.assert_allclose(capped, -np.log(0.05), rtol=1e-6)


def test_zlpr_of_one_label_is_above_softmax_and_soft_labels_interpolate():
    with jax.enable_x64(True):
        got = o.zlpr_loss(np.array([[2.0, -1.0, 0.5]]), np.array([[0.25, 1.0, 0.0]]))
        wanted = np.log1p(0.75 * np.exp(2.0) + np.exp(0.5)) + np.log1p(0.25 * np.exp(-2.0) + np.exp(1.0))
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
    assert np.isnan(o.zlpr_loss(jnp.zeros((1, 2)), jnp.array([[0, 2]])))[0]


def test_two_way_loss_without_absent_labels_is_nothing():
    assert o.two_way_loss(jnp.array([[1.0, -2.0]]), np.ones((1, 2))) == 0


def test_two_way_loss_of_sharp_temperatures_is_the_hardest_pair():
    scores, labels = np.array([[1.0, 0.5, -2.0], [0.0, 2.0, 1.0]]), np.array([[1, 0, 0], [0, 1, 1]])
    with jax.enable_x64(True):
        got = o.two_way_loss(scores, labels, positive_temperature=1e-3, negative_temperature=1e-3)
        softplus = lambda x: np.log1p(np.exp(x))
        by_example = (softplus(0.5 - 1.0) + softplus(0.0 - 1.0)) / 2
        by_label = (softplus(0.0 - 1.0) + softplus(0.5 - 2.0) + softplus(-2.0 - 1.0)) / 3
        np.testing.assert_allclose(got, by_example + by_label, rtol=1e-9)
