"""Diagnostics: scikit-learn, closed forms, ties, masks, batches that add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled
from sklearn import metrics

import objectives

o = all_compiled(objectives)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(60, 5))
LABELS = RNG.integers(0, 4, 60)  # class 4 is predicted, never right
PREDICTED = SCORES.argmax(-1)
KEPT = RNG.random(60) > 0.3


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", "none"])
def test_scores_are_scikit_learns(average):
    peers = {"average": None if average == "none" else average, "zero_division": 0}
    run = jax.jit(
        lambda where: {
            "precision": o.precision(SCORES, LABELS, average=average, where=where),
            "recall": o.recall(SCORES, LABELS, average=average, where=where),
            "f_beta": o.f_beta_score(SCORES, LABELS, beta=2.0, average=average, where=where),
        }
    )
    with jax.enable_x64(True):
        for kept in (np.ones(60, bool), KEPT):
            pair = LABELS[kept], PREDICTED[kept]
            got = run(kept)
            np.testing.assert_allclose(got["precision"], metrics.precision_score(*pair, **peers), rtol=1e-12)
            np.testing.assert_allclose(got["recall"], metrics.recall_score(*pair, **peers), rtol=1e-12)
            np.testing.assert_allclose(got["f_beta"], metrics.fbeta_score(*pair, beta=2, **peers), rtol=1e-12)


def test_matrix_and_what_follows_from_it():
    with jax.enable_x64(True):
        matrix = o.confusion_matrix(SCORES, LABELS)
        np.testing.assert_array_equal(matrix, metrics.confusion_matrix(LABELS, PREDICTED))
        halves = [o.confusion_matrix(SCORES[part], LABELS[part]) for part in (slice(0, 25), slice(25, 60))]
        np.testing.assert_array_equal(halves[0] + halves[1], matrix)
        iou = metrics.jaccard_score(LABELS, PREDICTED, average="macro")
        np.testing.assert_allclose(o.mean_iou(SCORES, LABELS), iou, rtol=1e-12)
        mcc = metrics.matthews_corrcoef(LABELS, PREDICTED)
        np.testing.assert_allclose(o.matthews_correlation(SCORES, LABELS), mcc, rtol=1e-12)
        assert o.matthews_correlation(SCORES, np.zeros(60, int)) == 0
        # a class that neither labels nor predictions have is left out
        one_more = np.concatenate([SCORES, np.full((60, 1), -9.0)], axis=1)
        np.testing.assert_allclose(o.mean_iou(one_more, LABELS), iou, rtol=1e-12)


def test_soft_labels_count_in_part():
    soft = RNG.dirichlet(np.ones(5), 60)
    with jax.enable_x64(True):
        wanted = np.zeros((5, 5))
        for q, p in zip(soft, PREDICTED):
            wanted[:, p] += q
        np.testing.assert_allclose(o.confusion_matrix(SCORES, soft), wanted, rtol=1e-12)
        np.testing.assert_allclose(o.accuracy(SCORES, soft), soft[np.arange(60), PREDICTED], rtol=1e-12)


def test_hits_are_scikit_learns_and_ties_go_to_the_first():
    for k in (1, 2, 4, 9):
        got = np.mean(o.top_k_accuracy(SCORES, LABELS, k=k))
        wanted = metrics.top_k_accuracy_score(LABELS, SCORES, k=min(k, 5), labels=range(5)) if k < 5 else 1.0
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_array_equal(o.accuracy(jnp.zeros((3, 3)), jnp.arange(3)), [1, 0, 0])
    np.testing.assert_array_equal(o.top_k_accuracy(jnp.zeros((3, 3)), jnp.arange(3), k=2), [1, 1, 0])
    one_hot = jnp.eye(3)
    np.testing.assert_array_equal(o.top_k_accuracy(jnp.zeros((3, 3)), one_hot, k=2), [1, 1, 0])


def test_a_score_that_is_no_number_is_no_hit_and_no_miss():
    spoilt = jnp.asarray(SCORES).at[0, 0].set(jnp.nan)
    hits = o.accuracy(spoilt, LABELS)
    assert np.isnan(hits[0])
    assert not np.isnan(hits[1:]).any()
    assert np.isnan(o.confusion_matrix(spoilt, LABELS)).all()
    wrong = LABELS.copy()
    wrong[0] = 7
    assert np.isnan(o.f_beta_score(SCORES, wrong))
    assert np.isnan(jax.jit(o.accuracy)(SCORES, wrong)[0])


def test_many_pixels_are_counted_exactly():
    """More than 2^24 of one kind, which float32 cannot count one by one, in one batch of bytes."""
    labels = jnp.zeros((1 << 24) + 2, jnp.int32)
    counts = jax.jit(lambda y: o.confusion_matrix(jnp.ones((y.shape[0], 1), jnp.int8), y))(labels)
    assert counts[0, 0] == (1 << 24) + 2


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_scikit_learns(ties):
    scores = np.round(SCORES[:, 0], 0 if ties else 9)
    positive = LABELS == 1
    run = jax.jit(lambda where: o.average_precision(scores, positive, where=where))
    with jax.enable_x64(True):
        for kept in (np.ones(60, bool), KEPT):
            wanted = metrics.average_precision_score(positive[kept], scores[kept])
            np.testing.assert_allclose(run(kept), wanted, rtol=1e-12)
        hidden = np.where(KEPT, scores, -np.inf)  # what is masked may tie with what is not
        got = o.average_precision(hidden, positive, where=KEPT)
        np.testing.assert_allclose(got, metrics.average_precision_score(positive[KEPT], scores[KEPT]), rtol=1e-12)
    assert o.average_precision(np.float32(scores), np.zeros(60, bool)) == 0
    assert np.isnan(o.average_precision(np.float32(scores), np.full(60, 2)))


def test_perplexity_and_inception_score():
    p = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
    with jax.enable_x64(True):
        wanted = np.exp(metrics.log_loss(LABELS, p, labels=range(5)))
        np.testing.assert_allclose(o.perplexity(SCORES, LABELS), wanted, rtol=1e-12)
        divergence = (p * np.log(p / p.mean(0))).sum(-1).mean()
        np.testing.assert_allclose(o.inception_score(SCORES), np.exp(divergence), rtol=1e-12)
    sure = jnp.where(jnp.eye(4) == 1, 0.0, -jnp.inf)
    np.testing.assert_allclose(o.inception_score(sure), 4, rtol=1e-6)
    assert o.inception_score(jnp.zeros((3, 4))) == 1


def test_frechet_distance_keeps_its_digits_with_fewer_examples_than_features():
    """A root of eigenvalues loses half of float32's digits at every singular one; here there are 60."""
    features = RNG.normal(size=(5, 64)).astype(np.float32)
    assert o.frechet_distance(features, features) < 1e-4
    np.testing.assert_allclose(o.frechet_distance(features, features + 2), 4 * 64, rtol=1e-5)
    hidden = np.concatenate([features, np.full((2, 64), np.nan, np.float32)])
    got = o.frechet_distance(hidden, features + 2, where_a=np.arange(7) < 5)
    np.testing.assert_allclose(got, 4 * 64, rtol=1e-5)


def bleu(candidate, reference, **keywords):
    lengths = {
        "candidate_lengths": jnp.array([len(candidate)]),
        "reference_lengths": jnp.array([[len(reference)]]),
    }
    return o.bleu_score(jnp.array([candidate]), jnp.array([[reference]]), **lengths, **keywords)


def test_bleu_clips_counts_and_is_brief_only_at_a_price():
    # Papineni et al.: "the" seven times, of which the reference has two
    np.testing.assert_allclose(bleu([1] * 7, [1, 2, 3, 4, 1, 5], max_order=1), 2 / 7, rtol=1e-6)
    np.testing.assert_allclose(bleu([1, 2], [1, 2, 3, 4], max_order=2), np.exp(1 - 4 / 2), rtol=1e-6)
    assert bleu([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert bleu([5, 6, 7, 8], [1, 2, 3, 4]) == 0


def test_psnr_of_equal_images_is_infinite():
    image = jnp.ones((2, 2, 1))
    assert o.peak_signal_noise_ratio(image, image) == np.inf
    assert np.isnan(o.peak_signal_noise_ratio(image * jnp.nan, image))
