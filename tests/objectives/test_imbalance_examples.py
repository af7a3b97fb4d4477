"""Losses for rare values and examples, and metrics of rare classes: closed forms in float64, limits, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import sklearn.cluster
import sklearn.metrics
from programs import all_compiled, gradient, x64

import objectives

obj = all_compiled(objectives)
WEIGHTS = np.array([0.2, 0.5, 1.0, 2.3])
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(7, 4))
IDS = np.arange(7) % 4
SOFT = RNG.dirichlet(np.ones(4), size=7)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def test_likelihood_weights():
    losses, share = np.float32([1.0, 2.0, 3.0]), np.float32([0.0, 0.5, 1.0])
    weights = (0.3 + (1 - share) ** 2) / 1.3
    np.testing.assert_allclose(
        obj.likelihood_weighted_loss(losses, share, eta=0.3, gamma=2.0), weights * losses, rtol=1e-6
    )
    np.testing.assert_allclose(obj.likelihood_weighted_loss(losses, share, gamma=0.0), losses, rtol=1e-6)
    focal = obj.likelihood_weighted_loss(losses, share, eta=0.0, gamma=2.0)
    np.testing.assert_allclose(focal, (1 - share) ** 2 * losses, rtol=1e-6)
    assert np.isnan(obj.likelihood_weighted_loss(losses, np.float32([0.5, 1.5, -0.1]))).tolist() == [False, True, True]
    assignments = RNG.integers(0, 5, 40)
    wanted = np.bincount(assignments, minlength=5)[assignments] / 40
    np.testing.assert_allclose(obj.cluster_likelihood(assignments, 5), wanted, rtol=1e-6)
    assert np.isnan(obj.cluster_likelihood(np.array([0, 5, -1]), 5)).tolist() == [False, True, True]
    counted = obj.cluster_likelihood(np.array([0, 0, 1, 9]), 2, where=np.array([True, False, True, False]))
    np.testing.assert_array_equal(counted, [0.5, 0, 0.5, 0])
    slope = jax.grad(lambda share: obj.likelihood_weighted_loss(losses, share).sum())(jnp.asarray(share))
    np.testing.assert_array_equal(slope, 0)


@x64
def test_class_mean_log_loss_equals_scikit_learn():
    y, w = np.array([0, 0, 0, 1, 1, 2, 0]), np.array([1.0, 2.0, 0.5, 7.0])
    sizes = np.bincount(y, minlength=4)
    wanted = sklearn.metrics.log_loss(y, P, sample_weight=(w / np.maximum(sizes, 1))[y], labels=[0, 1, 2, 3])
    np.testing.assert_allclose(obj.class_mean_log_loss(LOGITS, y, class_weights=w), wanted, rtol=1e-12)
    np.testing.assert_allclose(obj.class_mean_log_loss(np.log(P), y, class_weights=w), wanted, rtol=1e-12)
    again = np.r_[np.arange(7), np.flatnonzero(y == 0)]
    np.testing.assert_allclose(obj.class_mean_log_loss(LOGITS[again], y[again], class_weights=w), wanted, rtol=1e-12)
    balanced = obj.softmax_cross_entropy(LOGITS[:4], np.arange(4)).mean()
    np.testing.assert_allclose(obj.class_mean_log_loss(LOGITS[:4], np.arange(4)), balanced, rtol=1e-12)


@x64
def test_background_edges_do_not_shrink_the_annotated_ones():
    y = np.array([0, 1, 2, 0, 0, 3, 0])
    every = obj.softmax_cross_entropy(LOGITS, y)
    np.testing.assert_allclose(obj.density_normalized_edge_loss(LOGITS, y), every.sum() / 3, rtol=1e-12)
    more = np.r_[np.arange(7), [0, 3, 4, 6] * 5]
    few = gradient(lambda x: obj.density_normalized_edge_loss(x, y), LOGITS)
    many = gradient(lambda x: obj.density_normalized_edge_loss(x, y[more]), LOGITS[more])[:7]
    np.testing.assert_allclose(few[y > 0], many[y > 0], rtol=1e-12)
    only = obj.density_normalized_edge_loss(LOGITS[y > 0], y[y > 0])
    np.testing.assert_allclose(only, every[y > 0].mean(), rtol=1e-12)
    alone = obj.density_normalized_edge_loss(LOGITS[y == 0], y[y == 0])  # none annotated: their sum
    np.testing.assert_allclose(alone, every[y == 0].sum(), rtol=1e-12)


METRICS = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f_beta": lambda y, d: sklearn.metrics.fbeta_score(y, d, beta=2.0),
    "balanced_accuracy": sklearn.metrics.balanced_accuracy_score,
    "mcc": sklearn.metrics.matthews_corrcoef,
    "g_mean": lambda y, d: np.sqrt(
        sklearn.metrics.recall_score(y, d) * sklearn.metrics.recall_score(y, d, pos_label=0)
    ),
}


@pytest.mark.parametrize("metric", METRICS)
@x64
def test_anyloss_of_sharp_decisions_is_the_metric(metric):
    z, y = RNG.normal(size=200), RNG.integers(0, 2, 200)
    run = jax.jit(lambda z, **more: obj.anyloss(z, y, metric=metric, beta=2.0, **more))
    z = np.where(np.abs(z) < 0.01, 0.5, z)
    np.testing.assert_allclose(run(z, scale=1e6), 1 - METRICS[metric](y, np.int32(z > 0)), rtol=1e-9)
    sharp = np.where(z > 0, 1.0, 0.0)  # probabilities 0 and 1 are decisions, up to e^{-L/2}
    got = obj.anyloss(sharp, y, metric=metric, beta=2.0, apply_sigmoid=False)
    np.testing.assert_allclose(got, 1 - METRICS[metric](y, np.int32(z > 0)), rtol=1e-9)


@x64
def test_anyloss_closed_form():
    z, y = RNG.normal(size=30), RNG.integers(0, 2, 30)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    d = sigmoid(20 * (sigmoid(z) - 0.5))
    tp, fp, fn, tn = (y * d).sum(), ((1 - y) * d).sum(), (y * (1 - d)).sum(), ((1 - y) * (1 - d)).sum()
    np.testing.assert_allclose(obj.soft_confusion_matrix(z, y, scale=20.0), [tp, fp, fn, tn], rtol=1e-12)
    np.testing.assert_allclose(obj.anyloss(z, y, scale=20.0), 1 - 2 * tp / (2 * tp + fn + fp), rtol=1e-12)
    np.testing.assert_allclose(
        obj.anyloss(z, y, scale=20.0, metric="g_mean"), 1 - np.sqrt(tp / (tp + fn) * tn / (tn + fp)), rtol=1e-12
    )
    jaccard = obj.anyloss(z, y, scale=20.0, metric=lambda c: c.tp / (c.tp + c.fp + c.fn))
    np.testing.assert_allclose(jaccard, 1 - tp / (tp + fp + fn), rtol=1e-12)
    np.testing.assert_allclose(obj.soft_confusion_matrix(np.zeros(2), np.array([1, 0])), np.full(4, 0.5), rtol=1e-12)
    d = sigmoid(73 * (sigmoid(z) - 0.5))
    np.testing.assert_allclose(obj.soft_confusion_matrix(z, y)[0], (y * d).sum(), rtol=1e-11)


def test_anyloss_of_one_class_alone():
    z = jnp.array([3.0, -3.0])
    # Half of the decisions are right; the other class has nothing wrong, and no correlation with anything.
    wanted = {"accuracy": 0.5, "balanced_accuracy": 0.25, "mcc": 1.0, "g_mean": 1 - np.sqrt(0.5)}
    runs = {
        (metric, y): lambda z, m=metric, y=y: obj.anyloss(z, np.full(z.shape, y), metric=m)
        for metric in METRICS
        for y in (0.0, 1.0)
    }
    found = jax.jit(lambda z: {key: (jax.value_and_grad(f)(z), f(z[:0])) for key, f in runs.items()})(z)
    for (metric, y), ((value, slope), empty) in found.items():
        of_f1 = 1 / 3 if y else 1.0  # precision 1 and recall 1/2, or no positive found among none
        np.testing.assert_allclose(value, wanted.get(metric, of_f1), rtol=1e-6, err_msg=metric)
        assert np.isfinite(slope).all()
        assert empty == 0


@pytest.mark.parametrize("wrong", [-1.0, 2.0])
def test_binary_labels_out_of_range_are_nan(wrong):
    z, y, kept = jnp.array([0.3, -1.0, 2.0]), np.array([0.0, wrong, 1.0]), np.array([True, False, True])
    for metric in METRICS:
        assert np.isnan(obj.anyloss(z, y, metric=metric)), metric
        assert np.isfinite(obj.anyloss(z, y, metric=metric, where=kept)), metric
    assert np.isnan(obj.soft_confusion_matrix(z, y)).all()
    assert np.isnan(obj.cost_sensitive_binary_loss(z, y)).tolist() == [False, True, False]


class TestDecisions:
    @x64
    def test_closed_form_and_limits(self):
        u, logits = RNG.normal(size=(4, 4)), 2 * RNG.normal(size=(3, 7, 4))
        log_p = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
        gain = (np.eye(4)[IDS] + u[IDS] / 2.0)[None] * log_p
        wanted = -WEIGHTS[IDS] * gain.sum(-1).mean(0)
        keywords = {"utility": u, "alpha": 2.0, "class_weights": WEIGHTS}
        np.testing.assert_allclose(obj.decision_theoretic_loss(logits, IDS, **keywords), wanted, rtol=1e-11)
        soft = obj.decision_theoretic_loss(logits, SOFT, **keywords)
        rows = [obj.decision_theoretic_loss(logits, np.full(7, c), **keywords) for c in range(4)]
        np.testing.assert_allclose(soft, (SOFT * np.stack(rows, -1)).sum(-1), rtol=1e-11)
        plain = obj.softmax_cross_entropy(LOGITS, IDS)
        for got in (
            obj.decision_theoretic_loss(LOGITS[None], IDS),
            obj.decision_theoretic_loss(LOGITS[None], IDS, utility=np.zeros((4, 4))),
        ):
            np.testing.assert_allclose(got, plain, rtol=1e-12)
        weighed = obj.decision_theoretic_loss(LOGITS[None], IDS, class_weights=WEIGHTS)
        np.testing.assert_allclose(weighed, WEIGHTS[IDS] * plain, rtol=1e-12)
        off = np.where(np.arange(4) == 1, -np.inf, logits)  # what is impossible costs infinitely much where it counts
        found = obj.decision_theoretic_loss(off, np.array([0, 1, 2] * 2 + [3]), utility=-np.eye(4)[[0, 2, 1, 3]])
        assert np.isposinf(found).tolist() == [False, True, False, False, True, False, False]

    def test_a_mask_reaches_every_particle(self):
        logits = jnp.asarray(np.stack([LOGITS, 2 * LOGITS]), jnp.float32)
        kept = np.arange(7) != 2
        run = jax.jit(jax.value_and_grad(lambda x: obj.decision_theoretic_loss(x, IDS, utility=U, where=kept).sum()))
        U = np.float32(RNG.normal(size=(4, 4)))
        clean, spoilt = run(logits), run(logits.at[:, 2].set(jnp.nan))
        np.testing.assert_array_equal(clean[0], spoilt[0])
        np.testing.assert_array_equal(clean[1], spoilt[1])
        np.testing.assert_array_equal(clean[1][:, 2], 0)
        removed = obj.decision_theoretic_loss(logits[:, kept], IDS[kept], utility=U).sum()
        np.testing.assert_allclose(clean[0], removed, rtol=1e-6)

    def test_decisions(self):
        np.testing.assert_array_equal(obj.bayes_decision(P, np.eye(4)), P.argmax(-1))
        np.testing.assert_array_equal(obj.bayes_decision(P, np.diag(WEIGHTS)), (P * WEIGHTS).argmax(-1))

    def test_repulsion(self):
        stack = {"w": RNG.normal(size=(5, 3, 2)), "b": RNG.normal(size=(5, 4))}
        variances = np.r_[stack["w"].var(0).ravel(), stack["b"].var(0)]
        np.testing.assert_allclose(
            obj.particle_repulsion(stack, epsilon=1e-30), -0.5 * np.log(variances).mean(), rtol=1e-5
        )
        slope = jax.grad(lambda t: obj.particle_repulsion(t))(jnp.ones((3, 2)))
        np.testing.assert_array_equal(slope, 0)

    def test_false_heads(self):
        y = np.arange(8)
        assert obj.false_head_rate(y, y, border=4) == 0
        assert obj.false_head_rate(0 * y, y, border=4) == 1
        guess = np.array([7, 7, 7, 7, 0, 4, 1, 5])
        assert obj.false_head_rate(guess, y, border=4) == 0.5
        assert obj.false_head_rate(guess[:4], y[:4], border=4) == 0
        assert np.isnan(obj.false_head_rate(guess, -y, border=0))
        assert np.isnan(obj.false_head_rate(guess, np.where(y == 5, -1, y), border=4))


class TestValues:
    @x64
    def test_importance_is_an_involution(self):
        d = np.linspace(0, 1, 11)
        for alpha in (0.5, 1.0, 2.0, 3.0):
            curve = lambda d, a=alpha: obj.mdi_importance(np.r_[d, 1.0], alpha=a, epsilon=0.0)[:-1]
            np.testing.assert_allclose(curve(curve(d)), d, atol=1e-9)  # roots near 1 lose digits
            assert (np.diff(curve(d)) < 0).all()
        np.testing.assert_allclose(curve(np.array([0.0, 1.0])), [1, 0], atol=1e-15)
        np.testing.assert_allclose(obj.mdi_importance(d, alpha=1.0, epsilon=0.0), 1 - d, atol=1e-15)
        density = RNG.random(20)
        wanted = (1 - (density / (density.max() + 1e-3)) ** 2) ** 0.5
        np.testing.assert_allclose(obj.mdi_importance(density), wanted, rtol=1e-12)

    @x64
    def test_correlation(self):
        p, y, w = RNG.normal(size=30), RNG.normal(size=30), RNG.random(30)
        pearson = scipy.stats.pearsonr(p, y)[0]
        for moved in (p, 3 * p - 7):
            np.testing.assert_allclose(obj.correlation_loss(moved, y, epsilon=0.0), 1 - pearson, rtol=1e-11)
        np.testing.assert_allclose(obj.correlation_loss(-p, y, epsilon=0.0), 1 + pearson, rtol=1e-11)
        np.testing.assert_allclose(obj.correlation_loss(2 * y + 1, y, epsilon=0.0), 0, atol=1e-12)
        a, b = p - p.mean(), y - y.mean()
        weighted = 1 - (w * a * b).sum() / (np.sqrt((w * a**2).sum() * (w * b**2).sum()) + 1e-3)
        np.testing.assert_allclose(obj.correlation_loss(p, y, weights=w, epsilon=1e-3), weighted, rtol=1e-12)
        v = RNG.random(30)
        total = obj.cisir_loss(p, y, mse_weights=v, correlation_weights=w, correlation_strength=0.4, epsilon=1e-3)
        np.testing.assert_allclose(total, (v * (p - y) ** 2).mean() + 0.4 * weighted, rtol=1e-12)

    def test_constant_predictions_have_no_correlation(self):
        p, y = jnp.full(7, 0.1), np.float32(RNG.normal(size=7))
        value, slope = jax.jit(jax.value_and_grad(lambda p: obj.correlation_loss(p, y)))(p)
        assert value == 1
        np.testing.assert_array_equal(slope, 0)

    def test_batches_hold_all_strata(self):
        targets = np.float32(RNG.normal(size=23))
        run = jax.jit(lambda key: obj.stratified_batch_indices(targets, 5, key=key))
        ranks = scipy.stats.rankdata(targets) - 1
        seen = np.zeros(23)
        for seed in range(40):
            indices = np.asarray(run(jax.random.key(seed)))
            assert indices.shape == (4, 5)
            assert len(np.unique(indices)) == 20
            bounds = np.arange(6) * 23 // 5
            for stratum in range(5):
                inside = ranks[indices[:, stratum]]
                assert ((inside >= bounds[stratum]) & (inside < bounds[stratum + 1])).all()
            seen[indices] += 1
        assert seen.min() > 20  # no example is always left out, the largest target neither


class TestTraces:
    @x64
    def test_closed_values(self):
        s = RNG.normal(size=(6, 3))
        unit = s / np.linalg.norm(s, axis=-1, keepdims=True)
        np.testing.assert_allclose(obj.enveloping_loss(s, 2 * s), 0, atol=1e-14)
        same = obj.enveloping_loss(np.ones((6, 1)) * s[:1], s)
        np.testing.assert_allclose(same, 1 - (unit @ unit[0]).mean(), rtol=1e-12)
        angles = np.linspace(0, 2, 6)
        circle = np.c_[np.cos(angles), np.sin(angles)]
        np.testing.assert_allclose(obj.homogeneity_loss(circle, variance_weight=1e6), -5 * np.cos(0.4), rtol=1e-8)
        squares = (np.diff(unit, axis=0) ** 2).sum()
        np.testing.assert_allclose(obj.homogeneity_loss(s, variance_weight=0.0), squares / 2 - 5, rtol=1e-12)
        loss = obj.surrogate_contrastive_loss(np.eye(3), np.arange(3), np.eye(3), temperature=0.5)
        np.testing.assert_allclose(loss, np.log(1 + 2 * np.exp(-2)), rtol=1e-12)
        loss = obj.surrogate_contrastive_loss(
            np.eye(3), np.arange(3), np.eye(3), temperature=0.5, distance_weighted=True
        )
        np.testing.assert_allclose(loss, np.log1p(np.array([5, 4, 5]) * np.exp(-2)), rtol=1e-12)

    def test_centroids_and_surrogates(self):
        x, y = np.float32(RNG.normal(size=(8, 3))), np.array([0, 0, 2, 2, 2, 0, 5, 2])
        kept = y != 5
        centroids, counts = obj.label_centroids(np.where(kept[:, None], x, np.nan), y, labels=4, where=kept)
        unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
        np.testing.assert_array_equal(counts, [3, 0, 4, 0])
        np.testing.assert_allclose(centroids[2], unit[y == 2].mean(0), rtol=1e-5)
        np.testing.assert_array_equal(centroids[1], 0)
        assert all(np.isnan(spoilt).all() for spoilt in obj.label_centroids(x, y, labels=4))
        stored = np.float32(np.r_[np.zeros((1, 3)), RNG.normal(size=(3, 3))])
        new = obj.update_surrogates(stored, centroids, counts, momentum=0.75)
        np.testing.assert_allclose(new[0], centroids[0], rtol=1e-6)
        np.testing.assert_array_equal(new[1], stored[1])
        np.testing.assert_allclose(new[2], 0.75 * stored[2] + 0.25 * centroids[2], rtol=1e-5)


@x64
def test_refined_generalized_focal_loss():
    z, s = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 6, 7))
    y, t, g = RNG.random((3, 4, 5)), RNG.integers(0, 2, (3, 6, 7)), RNG.random((3, 4, 5))
    bce = lambda z, y: np.logaddexp(0, z) - y * z
    stencil = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    laplacian = np.stack([scipy.ndimage.convolve(image, stencil, mode="mirror") for image in s])
    smooth = (laplacian**2).mean((1, 2))
    np.testing.assert_allclose(obj.laplacian_smoothness(s), smooth, rtol=1e-12)
    focal = 0.25 * (1 - np.exp(-bce(z, y))) ** 2 * bce(z, y)
    wanted = focal.mean((1, 2)) + bce(s, t).mean((1, 2)) + 0.1 * smooth
    np.testing.assert_allclose(obj.refined_generalized_focal_loss(z, y, s, t), wanted, rtol=1e-12)
    only = {"segmentation_weight": 0.0, "smoothness_weight": 0.0}
    placed = obj.refined_generalized_focal_loss(z, y, s, t, spatial_weights=g, detection_weight=2.0, **only)
    np.testing.assert_allclose(placed, 2 * (g * focal).mean((1, 2)), rtol=1e-12)
    plain = obj.refined_generalized_focal_loss(z, y, s, t, gamma=0.0, alpha=1.0, **only)
    np.testing.assert_allclose(plain, bce(z, y).mean((1, 2)), rtol=1e-12)
    hard = obj.refined_generalized_focal_loss(z, y > 0.5, s, t, alpha=1.0, **only)
    np.testing.assert_allclose(hard, obj.sigmoid_focal_loss(z, y > 0.5).mean((1, 2)), rtol=1e-12)


def test_k_means_finds_planted_clusters_and_is_scikit_learns_fixed_point():
    generator = np.random.default_rng(0)
    planted = np.repeat(np.arange(3), [40, 15, 5])
    x = (100 + np.array([[0, 0], [9, 0], [0, 9]])[planted] + generator.normal(size=(60, 2))).astype(np.float32)
    found = jax.jit(lambda x, key: obj.k_means(x, 3, key))
    best = min((found(x, key) for key in jax.random.split(jax.random.key(0), 4)), key=lambda clusters: clusters.inertia)
    shares = obj.cluster_likelihood(best.assignments, 3)
    np.testing.assert_allclose(shares, np.array([40, 15, 5])[planted] / 60, rtol=1e-6)
    again = sklearn.cluster.KMeans(3, init=np.asarray(best.centers), n_init=1).fit(x)
    assert again.n_iter_ <= 2
    np.testing.assert_array_equal(best.assignments, again.labels_)
    np.testing.assert_allclose(best.centers, again.cluster_centers_, rtol=1e-6)
    np.testing.assert_allclose(best.inertia, again.inertia_, rtol=1e-4)  # of float32 around 100

    where = np.arange(60) < 55
    masked = obj.k_means(np.where(where[:, None], x, np.nan), 2, jax.random.key(1), where=where)
    alone = obj.k_means(x[:55], 2, jax.random.key(1))
    assert np.all(np.isfinite(masked.centers))
    assert np.all(masked.assignments[55:] == 0)
    np.testing.assert_allclose(masked.inertia, alone.inertia, rtol=1e-4)


def test_k_means_of_few_examples():
    same = obj.k_means(jnp.ones((3, 2)), 5, jax.random.key(0))
    np.testing.assert_array_equal(same.inertia, 0)
    one = obj.k_means(jnp.ones((3, 2)), 2, jax.random.key(0), iterations=1, where=jnp.zeros(3, bool))
    assert np.all(np.isfinite(one.centers))
    assert one.inertia == 0
    assert obj.k_means(jnp.ones((0, 2)), 2, jax.random.key(0)).centers.shape == (2, 2)
