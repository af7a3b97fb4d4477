"""Losses for rare classes, values and examples: public implementations, closed forms in float64, limits, invariances.

tests/golden/imbalance.py wrote the golden arrays and names the public implementations with their versions.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage
import scipy.stats
import sklearn.cluster
import sklearn.metrics
from jax.sharding import PartitionSpec

import objectives as obj

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "imbalance.npz")
COUNTS = np.array([500.0, 60.0, 9.0, 2.0])
WEIGHTS = np.array([0.2, 0.5, 1.0, 2.3])
FREQUENCIES = np.array([0.5, 0.1, 1e-3, 5e-4])
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(7, 4))
IDS = np.arange(7) % 4
SOFT = RNG.dirichlet(np.ones(4), size=7)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def cross_entropy(scores, q):
    return -(q * (scores - np.log(np.exp(scores).sum(-1, keepdims=True)))).sum(-1)


def parts(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def boxes(logits, labels):
    """Label 4 is background."""
    return obj.equalization_loss(logits, labels, frequencies=FREQUENCIES, foreground=labels < 4)


def second_version(step):
    state = obj.equalization_state(3)
    if step:
        before = parts(f"equalization_v2_{step - 1}")
        state = obj.EqualizationState(jnp.asarray(before["state_positive"]), jnp.asarray(before["state_negative"]))
    return lambda logits, labels: obj.equalization_v2_loss(logits, labels, state=state)


CASES = {
    "vs": lambda x, y: obj.vs_loss(x, y, class_counts=COUNTS, gamma=0.3, tau=1.2, class_weights=WEIGHTS),
    "ldam": lambda x, y: obj.ldam_loss(x, y, class_counts=COUNTS, max_margin=0.5, scale=10.0, class_weights=WEIGHTS),
    "balanced_softmax": lambda x, y: obj.balanced_softmax_loss(x, y, class_counts=COUNTS),
    "influence_balanced": lambda x, h, y: obj.influence_balanced_loss(x, y, h, class_weights=WEIGHTS),
    "cost_sensitive": lambda x, y: obj.cost_sensitive_binary_loss(x, y, fn_weight=5.0),
    "seesaw": lambda x, y: obj.seesaw_loss(x, y, class_counts=np.array([500.0, 60.0, 9.0, 0.0])),
    "equalization": boxes,
    **{f"equalization_v2_{step}": second_version(step) for step in range(3)},
    "gml": lambda q, k, y, ky, seen: obj.gaussian_mixture_likelihood_loss(
        q, y, k, ky, class_counts=COUNTS, temperature=0.1, pairs=seen
    ),
    "enveloping": obj.enveloping_loss,
    "homogeneity": obj.homogeneity_loss,
    "contrastive_False": lambda x, y, s: obj.surrogate_contrastive_loss(x, y, s),
    # The authors divide the weights by the largest in the batch, 5 here.
    "contrastive_True": lambda x, y, s: obj.surrogate_contrastive_loss(x, y, s, distance_weighted=True) - np.log(5.0),
    "edges_dnorm": lambda x, y: obj.density_normalized_edge_loss(x, y, alpha=0.7, beta=0.4),
    "edges_dnorm-fgbg": lambda x, y: obj.density_normalized_edge_loss(x, y, alpha=0.7, beta=0.4, normalize="group"),
}


def x64(test):
    """Run a test in float64."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        with jax.enable_x64(True):
            return test(*args, **kwargs)

    return run


def gradient(function, *inputs):
    return jax.jit(jax.grad(lambda *x: function(*x).sum()))(*inputs)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_public_implementation(case):
    golden = {name: value for name, value in parts(case).items() if not name.startswith("state_")}
    wanted = {name: golden.pop(name) for name in list(golden) if name == "loss" or name.startswith("grad_")}
    inputs = [golden.pop(name.removeprefix("grad_")) for name in wanted if name != "loss"]
    constants = list(golden.values())

    @jax.jit
    def run(inputs):
        def total(inputs):
            loss = CASES[case](*inputs, *constants)
            return loss.sum(), loss

        return jax.value_and_grad(total, has_aux=True)(inputs)

    with jax.enable_x64(True):
        (_, loss), gradients = run([jnp.asarray(x) for x in inputs])
    assert loss.dtype == np.float64
    # The tolerance is float64's after sums of a few exponentials. The state of the second equalisation loss is in
    # float32, and so are the authors' weights by distance.
    rtol = 1e-6 if case.startswith(("equalization_v2", "contrastive_True")) else 1e-11
    np.testing.assert_allclose(loss, wanted["loss"], rtol=rtol)
    for name, value in zip([n for n in wanted if n != "loss"], gradients):
        np.testing.assert_allclose(value, wanted[name], rtol=100 * rtol, atol=rtol, err_msg=name)


def test_every_golden_case_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files} - {"peers"} == CASES.keys()


def test_equalization_state_equals_the_authors():
    state = obj.equalization_state(3)
    for step in range(3):
        golden = parts(f"equalization_v2_{step}")
        state = obj.record_equalization(state, np.float32(golden["logits"]), golden["labels"].astype(np.int32))
        np.testing.assert_allclose(state.positive, golden["state_positive"], rtol=2e-6)
        np.testing.assert_allclose(state.negative, golden["state_negative"], rtol=2e-6)


@x64
def test_adjusted_softmax_closed_form():
    scale, shift, margin = (
        np.array([1.0, 0.8, 0.5, 2.0]),
        np.array([0.3, -1.0, -2.0, 0.0]),
        np.array([0.0, 0.1, 0.5, 2]),
    )
    z = scale * LOGITS + shift
    of_label = np.stack([cross_entropy(z - margin[c] * np.eye(4)[c], np.eye(4)[c]) for c in range(4)], -1)
    keywords = {"scale": scale, "shift": shift, "margin": margin, "class_weights": WEIGHTS}
    got = obj.adjusted_softmax_loss(LOGITS, IDS, **keywords)
    np.testing.assert_allclose(got, WEIGHTS[IDS] * of_label[np.arange(7), IDS], rtol=1e-12)
    for q in (SOFT, 3 * SOFT):  # labels that do not sum to one count by their sum
        got = obj.adjusted_softmax_loss(LOGITS, q, **keywords)
        np.testing.assert_allclose(got, (q * WEIGHTS * of_label).sum(-1), rtol=1e-12)


@x64
def test_limits_of_the_adjusted_softmax():
    for q in (IDS, SOFT):
        plain = obj.softmax_cross_entropy(LOGITS, q)
        equal = np.full(4, 30.0)
        for got in (
            obj.vs_loss(LOGITS, q, class_counts=equal),
            obj.logit_adjusted_loss(LOGITS, q, class_counts=COUNTS, tau=0.0),
            obj.cdt_loss(LOGITS, q, class_counts=COUNTS, gamma=0.0),
            obj.balanced_softmax_loss(LOGITS, q, class_counts=equal),
            obj.ldam_loss(LOGITS, q, class_counts=COUNTS, max_margin=0.0, scale=1.0),
            obj.adjusted_softmax_loss(LOGITS, q),
        ):
            np.testing.assert_allclose(got, plain, rtol=1e-12)
        adjusted = obj.logit_adjusted_loss(LOGITS, q, class_counts=COUNTS, tau=0.7)
        np.testing.assert_allclose(
            obj.vs_loss(LOGITS, q, class_counts=COUNTS, gamma=0.0, tau=0.7), adjusted, rtol=1e-12
        )
        tempered = obj.cdt_loss(LOGITS, q, class_counts=COUNTS, gamma=0.2)
        np.testing.assert_allclose(
            obj.vs_loss(LOGITS, q, class_counts=COUNTS, gamma=0.2, tau=0.0), tempered, rtol=1e-12
        )
        np.testing.assert_allclose(  # a factor common to all counts means nothing
            obj.vs_loss(LOGITS, q, class_counts=COUNTS / 571), obj.vs_loss(LOGITS, q, class_counts=COUNTS), rtol=1e-12
        )


@x64
def test_logit_adjustment_is_best_where_the_balanced_posterior_is_known():
    """The expected loss under p(y | x) is least at f = log p - τ log π, that of the balanced classifier at τ = 1."""
    posterior = RNG.dirichlet(np.ones(4), size=50)
    best = np.log(posterior) - 0.8 * np.log(COUNTS / COUNTS.sum())
    loss = lambda f: obj.logit_adjusted_loss(f, posterior, class_counts=COUNTS, tau=0.8)
    np.testing.assert_allclose(gradient(loss, best), 0, atol=1e-14)
    entropy = -(posterior * np.log(posterior)).sum(-1)
    np.testing.assert_allclose(loss(best), entropy, rtol=1e-12)
    assert (loss(best + RNG.normal(size=best.shape)) > entropy).all()
    trained = obj.post_hoc_logits(np.log(posterior), class_counts=COUNTS, tau=0.8)
    np.testing.assert_allclose(trained, best, rtol=1e-12)
    factors = obj.post_hoc_logits(LOGITS, class_counts=COUNTS, tau=0.0, gamma=0.5)
    np.testing.assert_allclose(factors, LOGITS * (500 / COUNTS) ** 0.5, rtol=1e-12)


def test_a_class_never_seen_is_switched_off():
    counts = np.array([5.0, 3.0, 0.0])
    x = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    losses = obj.balanced_softmax_loss, obj.vs_loss, obj.logit_adjusted_loss

    @jax.jit
    def run(x, ids):
        total = lambda x, loss, counts: loss(x, ids, class_counts=counts).sum()
        whole = [jax.value_and_grad(total)(x, loss, counts) for loss in losses]
        shorter = [total(x[:, :2], loss, counts[:2]) for loss in losses]
        return whole, shorter, [loss(x[0], jnp.array(2), class_counts=counts) for loss in losses]

    for (value, slope), shorter, unseen in zip(*run(x, jnp.array([0, 1])), strict=True):
        np.testing.assert_allclose(value, shorter, rtol=1e-6)
        np.testing.assert_array_equal(slope[:, 2], 0)
        assert unseen == np.inf
    assert obj.post_hoc_logits(x, class_counts=counts)[0, 2] == -np.inf
    assert np.isfinite(obj.ldam_loss(x, jnp.array([2, 0]), class_counts=counts)).all()
    for weights in (obj.class_balanced_weights(counts), obj.inverse_frequency_weights(counts)):
        assert weights[2] == 0
        np.testing.assert_allclose(weights.sum(), 3, rtol=1e-6)


class TestClassWeights:
    def test_class_balanced_weights(self):
        effective = (1 - 0.9999**COUNTS) / (1 - 0.9999)
        wanted = 4 / effective / (1 / effective).sum()
        # float32 holds 1 - 0.9999 to four digits, and the weights all the same to seven
        np.testing.assert_allclose(obj.class_balanced_weights(np.float32(COUNTS)), wanted, rtol=1e-6)
        np.testing.assert_allclose(obj.class_balanced_weights(COUNTS, 0.0), np.ones(4), rtol=1e-6)
        inverse = 4 / COUNTS / (1 / COUNTS).sum()
        for weights in (
            obj.class_balanced_weights(COUNTS, 1.0),
            jax.jit(obj.class_balanced_weights)(COUNTS, 1.0),
            obj.inverse_frequency_weights(COUNTS),
        ):
            np.testing.assert_allclose(weights, inverse, rtol=1e-6)
        np.testing.assert_allclose(obj.inverse_frequency_weights(COUNTS, 0.0), np.ones(4), rtol=1e-6)
        assert np.isnan(obj.inverse_frequency_weights(np.array([1.0, -1.0]))[1])

    def test_deferred_weights_are_traced(self):
        run = jax.jit(lambda step: obj.deferred_class_weights(WEIGHTS, step, start=5))
        np.testing.assert_array_equal(run(4), np.ones(4))
        np.testing.assert_allclose(run(5), WEIGHTS, rtol=1e-6)

    def test_max_norm(self):
        w = RNG.normal(size=(5, 3)) * np.array([[0.1], [1], [2], [5], [0]])
        lengths = np.linalg.norm(w, axis=-1)
        np.testing.assert_allclose(obj.class_weight_norms(np.float32(w)), lengths, rtol=1e-6)
        projected = obj.max_norm_projection(np.float32(w), 0.7)
        np.testing.assert_allclose(obj.class_weight_norms(projected), np.minimum(lengths, 0.7), rtol=1e-6)
        np.testing.assert_allclose(projected[0], w[0], rtol=1e-6)


@x64
def test_rivals_without_weights_are_cross_entropy():
    plain = obj.softmax_cross_entropy(LOGITS, IDS)
    key = jax.random.key(0)
    for got in (
        obj.seesaw_loss(LOGITS, IDS, class_counts=COUNTS, mitigation=0.0, compensation=0.0),
        obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=FREQUENCIES, probability=0.0),
        obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=np.ones(4), probability=1.0),
    ):
        np.testing.assert_allclose(got, plain, rtol=1e-12)
    spared = obj.softmax_equalization_loss(LOGITS, IDS, key=key, frequencies=FREQUENCIES, probability=1.0)
    kept = (FREQUENCIES >= 1.77e-3) | (np.eye(4)[IDS] == 1)
    wanted = np.log((np.exp(LOGITS) * kept).sum(-1)) - LOGITS[np.arange(7), IDS]
    np.testing.assert_allclose(spared, wanted, rtol=1e-12)
    slope = gradient(
        lambda x: obj.softmax_equalization_loss(x, IDS, key=key, frequencies=FREQUENCIES, probability=1.0), LOGITS
    )
    np.testing.assert_array_equal(np.asarray(slope)[~kept], 0)


def test_softmax_equalization_spares_at_random():
    many = jnp.zeros((20_000, 4))
    losses = obj.softmax_equalization_loss(
        many, jnp.zeros(20_000, int), key=jax.random.key(1), frequencies=FREQUENCIES, probability=0.3
    )
    shares = [(np.isclose(losses, np.log(n))).mean() for n in (2, 3, 4)]
    np.testing.assert_allclose(shares, [0.09, 0.42, 0.49], atol=0.015)  # four standard errors


@x64
def test_equalization_limits():
    every = optax.losses.sigmoid_binary_cross_entropy(LOGITS, np.eye(4)[IDS]).sum(-1)
    np.testing.assert_allclose(obj.equalization_loss(LOGITS, IDS, frequencies=np.ones(4)), every, rtol=1e-12)
    fresh = obj.equalization_v2_loss(LOGITS, IDS, state=obj.equalization_state(4))
    np.testing.assert_allclose(fresh, every, rtol=1e-12)
    background = obj.equalization_loss(LOGITS, np.zeros((7, 4)), frequencies=FREQUENCIES)
    np.testing.assert_allclose(background, np.log1p(np.exp(LOGITS)).sum(-1), rtol=1e-12)
    assert np.isnan(obj.equalization_loss(LOGITS, np.full(7, 4), frequencies=FREQUENCIES)).all()
    at_the_threshold = obj.equalization_loss(LOGITS, IDS, frequencies=np.full(4, 0.25), threshold=0.25)
    np.testing.assert_allclose(at_the_threshold, every, rtol=1e-12)  # rare is below it


@x64
def test_what_is_recorded_of_a_masked_batch():
    state, kept = obj.EqualizationState(*jnp.array([[8.0, 1.0, 3.0, 2.0], [4.0, 9.0, 1.0, 1.0]])), np.arange(7) % 3 > 0
    spoilt, ids = np.where(kept[:, None], LOGITS, np.nan), np.where(kept, IDS, 99)
    left = obj.record_equalization(state, LOGITS[kept], IDS[kept])
    np.testing.assert_allclose(obj.record_equalization(state, spoilt, ids, where=kept), left, rtol=1e-12)
    assert np.isnan(obj.record_equalization(state, LOGITS, ids)).all()


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


class TestMixtureLikelihood:
    Q, K = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
    KEY_IDS = np.arange(4)

    def loss(self, q, y, k, ky, counts=COUNTS, **more):
        return obj.gaussian_mixture_likelihood_loss(q, y, k, ky, class_counts=counts, **more)

    @x64
    def test_one_key_a_class_is_logit_adjustment(self):
        unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
        cosine = unit(self.Q) @ unit(self.K).T
        got = self.loss(self.Q, IDS[:6], self.K, self.KEY_IDS, temperature=0.2)
        wanted = obj.logit_adjusted_loss(cosine / 0.2, IDS[:6], class_counts=COUNTS)
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
        uniform = self.loss(self.Q, SOFT[:6], self.K, self.KEY_IDS, np.ones(4), temperature=0.2)
        np.testing.assert_allclose(uniform, obj.softmax_cross_entropy(cosine / 0.2, SOFT[:6]), rtol=1e-12)

    @x64
    def test_more_of_the_same_keys_change_nothing(self):
        keys = np.r_[self.K, self.K[2:3], self.K[2:3]]
        wanted = self.loss(self.Q, IDS[:6], self.K, self.KEY_IDS)
        np.testing.assert_allclose(self.loss(self.Q, IDS[:6], keys, np.r_[self.KEY_IDS, 2, 2]), wanted, rtol=1e-12)
        spoilt = np.r_[self.K, np.full((2, 3), np.nan)]
        empty = self.loss(self.Q, IDS[:6], spoilt, np.r_[self.KEY_IDS, -1, 99], key_where=np.arange(6) < 4)
        np.testing.assert_allclose(empty, wanted, rtol=1e-12)

    @x64
    def test_equal_similarities_leave_the_prior(self):
        got = self.loss(np.zeros((4, 3)), self.KEY_IDS, self.K, self.KEY_IDS)
        np.testing.assert_allclose(got, -np.log(COUNTS / COUNTS.sum()), rtol=1e-12)

    def test_small_temperatures_stay_in_the_log_domain(self):
        got = self.loss(np.float32(self.Q), IDS[:6], np.float32(self.K), self.KEY_IDS, temperature=1e-4)
        assert np.isfinite(got).all()
        assert got.max() > 1e3

    def test_classes_without_keys(self):
        got = self.loss(np.float32(self.Q[:2]), np.array([0, 3]), np.float32(self.K[:3]), self.KEY_IDS[:3])
        assert np.isfinite(got[0])
        assert got[1] == np.inf
        assert np.isnan(self.loss(np.float32(self.Q), IDS[:6], np.float32(self.K), self.KEY_IDS + 1)).all()


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
        assert np.isnan(obj.label_centroids(x, y, labels=4)[1]).all()
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


def test_totals_under_shard_map():
    """What is summed over a batch equals the same over its shards."""
    x, y, guess = np.float32(RNG.normal(size=(16, 3))), RNG.integers(0, 3, 16), RNG.integers(0, 3, 16)
    kept = RNG.random(16) < 0.7
    state = obj.EqualizationState(jnp.array([8.0, 1.0, 0.0]), jnp.array([4.0, 9.0, 0.0]))

    def everything(x, y, guess, kept, axis_name=None):
        rest = {"where": kept, "axis_name": axis_name}
        return (
            obj.accumulate_class_counts(jnp.ones(3), y, **rest),
            obj.record_equalization(state, x, y, **rest),
            obj.label_centroids(x, y, labels=3, **rest),
            obj.soft_confusion_matrix(x[:, 0], y > 0, **rest),
            obj.false_head_rate(guess, y, border=1, **rest),
            obj.cone_effect(x, **rest),
            obj.fisher_discriminant_ratio(x, y, classes=3, **rest),
        )

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = PartitionSpec("data")
    sharded = jax.shard_map(
        lambda *batch: everything(*batch, axis_name="data"),
        mesh=mesh,
        in_specs=(split,) * 4,
        out_specs=PartitionSpec(),
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),  # sums in another order, and a solve
        jax.jit(sharded)(x, y, guess, kept),
        jax.jit(everything)(x, y, guess, kept),
    )


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
