"""Losses for calibration and calibration diagnostics: closed forms, limits, and a task with known posteriors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled

import objectives

o = all_compiled(objectives)

RNG = np.random.default_rng(0)
LOGITS = 4 * RNG.normal(size=(7, 4))
IDS = np.concatenate([LOGITS[:3].argmax(-1), [0, 1, 2, 3]])
HARD = np.eye(4)[IDS]
SOFT = RNG.dirichlet(np.ones(4), size=7)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


P = softmax(LOGITS)
LOG_P = np.log(P)
TOP = P.max(-1, keepdims=True)


def below(p):
    return np.array([[max([v for v in row if v < own], default=0.0) for own in row] for row in p])


PREDICTED = np.eye(4)[P.argmax(-1)]
LARGEST = LOGITS.max(-1, keepdims=True)
MBLS = 0.3 * np.maximum(LARGEST - LOGITS - 2, 0).mean(-1, keepdims=True)
ACLS = 0.3 * (
    2.0 * np.maximum(LARGEST - 2, 0) ** 2
    + 0.5 * ((1 - PREDICTED) * np.maximum(LARGEST - LOGITS - 2, 0) ** 2).sum(-1, keepdims=True) / 3
)
# The loss, and what every label costs `[B, C]`.
LINEAR = {
    "dual focal": (functools.partial(o.dual_focal_loss, gamma=3.0), -((1 - P + below(P)) ** 3) * LOG_P),
    "flsd": (o.sample_dependent_focal_loss, -((1 - P) ** np.where(P < 0.2, 5, 3)) * LOG_P),
    "mbls": (functools.partial(o.mbls_loss, alpha=0.3, margin=2.0), -LOG_P + MBLS),
    "acls": (
        functools.partial(o.acls_loss, alpha=0.3, positive_weight=2.0, negative_weight=0.5, margin=2.0),
        -LOG_P + ACLS,
    ),
    "correctness": (o.correctness_aware_loss, (PREDICTED - TOP) ** 2 * PREDICTED + TOP**2 * (1 - PREDICTED)),
}


@pytest.mark.parametrize("labels", ["ids", "probabilities"])
def test_closed_forms(labels):
    given, q = (IDS, HARD) if labels == "ids" else (SOFT, SOFT)
    with jax.enable_x64(True):
        losses = jax.jit(lambda x, y: {name: loss(x, y) for name, (loss, _) in LINEAR.items()})(LOGITS, given)
        for name, (_, per_label) in LINEAR.items():
            np.testing.assert_allclose(losses[name], (q * per_label).sum(-1), rtol=1e-11, atol=1e-13, err_msg=name)


def test_dual_focal_limits():
    with jax.enable_x64(True):
        dual, focal = (jax.jit(functools.partial(f, LOGITS, IDS)) for f in (o.dual_focal_loss, o.focal_loss))
        np.testing.assert_allclose(dual(gamma=0.0), o.softmax_cross_entropy(LOGITS, IDS), rtol=1e-12)
        assert (np.asarray(dual(gamma=2.0)) >= np.asarray(focal(gamma=2.0)) - 1e-12).all()
        least = P.argmin(-1)
        focal_of_least = o.focal_loss(LOGITS, least, gamma=5.0)
        np.testing.assert_allclose(o.dual_focal_loss(LOGITS, least), focal_of_least, rtol=1e-12)
        two = np.log([[0.8, 0.2]])  # (2 (1 - p))^gamma
        np.testing.assert_allclose(
            o.dual_focal_loss(two, np.array([0]), gamma=3.0), -(0.4**3) * np.log(0.8), rtol=1e-12
        )
        # As likely as the label is not below it, whatever rounding says.
        tied = np.log([[0.1, 0.45, 0.45]])
        np.testing.assert_allclose(o.dual_focal_loss(tied, np.array([1]), gamma=1.0), -0.65 * np.log(0.45), rtol=1e-12)


def test_logit_penalties_are_free_within_the_margin():
    within = np.array([[3.0, 1.0, -2.0]])
    with jax.enable_x64(True):
        cross_entropy = o.softmax_cross_entropy(within, np.array([0]))
        for loss in (o.mbls_loss, o.acls_loss):
            np.testing.assert_allclose(loss(within, np.array([0]), alpha=5.0), cross_entropy, rtol=1e-12)
    beyond = np.array([[12.0, 11.0]])
    penalty = o.acls_loss(beyond, np.array([0]), alpha=1.0) - o.softmax_cross_entropy(beyond, np.array([0]))
    np.testing.assert_allclose(penalty, 4.0, rtol=1e-6)  # (12 - 10)²
    gradient = jax.grad(lambda x: o.acls_loss(x, np.array([0]), alpha=1.0).sum())(np.array([[12.0, -3.0]]))
    # 2 · 2 of the predicted class, and of the other alone -0.1 · 2 · (15 - 10); the cross-entropy's is 3e-7.
    np.testing.assert_allclose(gradient, [[4.0, -1.0]], atol=1e-5)


def test_correctness_aware_loss_is_proper_and_lowers_what_is_narrowly_wrong():
    """The best constant confidence is the accuracy; where cross-entropy raises confidence, this lowers it."""
    confidences = np.linspace(0.51, 0.99, 97)
    logits = np.stack([np.log(confidences), np.log(1 - confidences)], -1)
    for accuracy in (0.6, 0.75, 0.9):
        q = np.broadcast_to([accuracy, 1 - accuracy], logits.shape)
        losses = o.correctness_aware_loss(logits, q)
        np.testing.assert_allclose(confidences[np.asarray(losses).argmin()], accuracy, atol=0.003)
    narrow = np.log([[0.5, 0.45, 0.05]])

    def by_temperature(loss, temperature):
        return loss(narrow / temperature, np.array([1]))[0]

    assert jax.grad(functools.partial(by_temperature, o.correctness_aware_loss))(1.0) < 0
    assert jax.grad(functools.partial(by_temperature, o.softmax_cross_entropy))(1.0) > 0


def dense_mmce(logits, labels, bandwidth):
    p = jax.nn.softmax(logits)
    confidence, gap = p.max(-1), (p.argmax(-1) == labels) - p.max(-1)
    kernel = jnp.exp(-jnp.abs(confidence[:, None] - confidence) / bandwidth)
    return jnp.sqrt(gap @ kernel @ gap) / len(gap)


def test_mmce_sums_all_pairs():
    """Value and gradient of the double sum, with equal confidences among them."""
    logits = np.concatenate([LOGITS / 3, LOGITS[:2] / 3, LOGITS[:2, ::-1] / 3])
    labels = np.concatenate([IDS, [1, 2, 3, 0]])
    with jax.enable_x64(True):
        for bandwidth in (0.05, 0.4):
            ours = jax.jit(jax.value_and_grad(functools.partial(o.mmce_loss, labels=labels, bandwidth=bandwidth)))
            dense = jax.jit(jax.value_and_grad(functools.partial(dense_mmce, labels=labels, bandwidth=bandwidth)))
            for mine, theirs in zip(ours(logits), dense(logits)):
                np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-13)


def test_mmce_holds_no_matrix_of_pairs():
    logits, labels = jnp.zeros((4096, 2)), jnp.zeros(4096, jnp.int32)
    compiled = jax.jit(jax.value_and_grad(o.mmce_loss)).lower(logits, labels).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4096 * 4096


def posteriors(count=4000):
    """Logits with known posteriors, overconfident by a factor of 2.5, and labels drawn from the posteriors."""
    rng = np.random.default_rng(5)
    z = 1.2 * rng.normal(size=(count, 3))
    true = softmax(z)
    labels = (true.cumsum(-1) < rng.random((count, 1))).sum(-1)
    return 2.5 * z, true, labels


def test_every_calibration_loss_is_least_at_the_true_temperature():
    """With posteriors for labels, the expected loss of tempered logits has its minimum where they are right."""
    logits, true, _ = posteriors(500)
    temperatures = np.linspace(1.0, 5.0, 17)
    losses = {
        "cross-entropy": lambda x: o.softmax_cross_entropy(x, true).mean(),
        "correctness": lambda x: o.correctness_aware_loss(x, true).mean(),
        "mmce": lambda x: o.mmce_loss(x, true),
        "soft-binned": lambda x: o.soft_binned_calibration_error(x, true),
        "ece": lambda x: o.expected_calibration_error(x, true),
        "equal mass": lambda x: o.expected_calibration_error(x, true, binning="equal_mass", norm="l2"),
        "class-wise": lambda x: o.classwise_calibration_error(x, true).mean(),
    }
    with jax.enable_x64(True):
        sweep = jax.jit(jax.vmap(lambda t: {name: loss(logits / t) for name, loss in losses.items()}))(temperatures)
        for name, values in sweep.items():
            assert temperatures[np.asarray(values).argmin()] == 2.5, name
            if name not in ("cross-entropy", "correctness"):
                np.testing.assert_allclose(np.min(values), 0, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(o.fit_temperature(logits, true), 2.5, rtol=1e-12)


def test_temperature_scaling_calibrates():
    logits, _, labels = posteriors()
    logits = logits.astype(np.float32)
    temperature = jax.jit(o.fit_temperature)(logits, labels)
    np.testing.assert_allclose(temperature, 2.5, rtol=0.05)  # four thousand labels: a standard error of 2 %
    error = jax.jit(o.expected_calibration_error)
    before, after = error(logits, labels), error(logits / temperature, labels)
    assert after < 0.03 < 0.15 < before
    slope = jax.grad(lambda t: o.softmax_cross_entropy(logits / t, labels).mean())(temperature)
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    fit = jax.jit(functools.partial(o.fit_temperature, bounds=(0.5, 3.0)))
    np.testing.assert_allclose(fit(logits, logits.argmax(-1)), 0.5, rtol=1e-6)
    np.testing.assert_allclose(fit(logits, logits.argmin(-1)), 3.0, rtol=1e-6)
    assert np.isnan(fit(logits, np.where(np.arange(4000) == 7, 3, labels)))


def bins_by_hand(p, y, index, num_bins):
    members = [index == b for b in range(num_bins)]
    return [(p[m].mean(), y[m].mean(), m.mean()) if m.any() else (0.0, 0.0, 0.0) for m in members]


@pytest.mark.parametrize("binning", ["uniform", "equal_mass"])
def test_bins_by_hand(binning):
    p = np.concatenate([RNG.random(60), np.repeat([0.25, 0.7], 12), [0.0, 1.0]])
    y = (RNG.random(len(p)) < p**2).astype(float)
    if binning == "uniform":
        index = np.clip(np.ceil(p * 8).astype(int) - 1, 0, 7)
    else:
        index = np.array([(p < v).sum() for v in p]) * 8 // len(p)
    wanted = np.array(bins_by_hand(p, y, index, 8)).T
    shuffled = RNG.permutation(len(p))
    with jax.enable_x64(True):
        keywords = {"num_bins": 8, "binning": binning}
        diagram = jax.jit(functools.partial(o.reliability_diagram, **keywords))
        np.testing.assert_allclose(diagram(p, y), wanted, rtol=1e-12)
        np.testing.assert_allclose(diagram(p[shuffled], y[shuffled]), wanted, rtol=1e-12)
        parts = jax.jit(functools.partial(o.brier_decomposition, **keywords))(p, y)
        whole = parts.reliability - parts.resolution + parts.uncertainty
        whole += parts.within_variance - parts.within_covariance
        np.testing.assert_allclose(whole, ((p - y) ** 2).mean(), rtol=1e-12)
        gap = np.abs(wanted[0] - wanted[1])
        np.testing.assert_allclose(parts.reliability, (wanted[2] * gap**2).sum(), rtol=1e-12)
        # The same through two classes, for those whose predicted class is the second.
        sure = p > 0.5
        logits = np.stack([np.zeros(sure.sum()), np.log(p[sure]) - np.log1p(-np.minimum(p[sure], 1 - 1e-16))], -1)
        mean, hit, share = diagram(p[sure], y[sure])
        norms = jax.jit(
            lambda x, labels: [
                o.expected_calibration_error(x, labels, norm=norm, **keywords) for norm in ("l1", "l2", "max")
            ]
        )(logits, y[sure].astype(int))
        gaps = np.abs(mean - hit)
        np.testing.assert_allclose(
            norms, [(share * gaps).sum(), np.sqrt((share * gaps**2).sum()), gaps.max()], rtol=1e-9
        )
    assert np.isnan(o.reliability_diagram(np.array([0.5, 1.5]), np.array([0, 1])).confidence).any()


def test_murphy_decomposition_where_forecasts_are_few():
    p, y = np.array([0.1, 0.1, 0.1, 0.9, 0.9, 0.6]), np.array([0, 0, 1, 1, 1, 0])
    with jax.enable_x64(True):
        parts = o.brier_decomposition(p, y.astype(bool), num_bins=10)
    np.testing.assert_allclose(parts.uncertainty, 0.25, rtol=1e-12)
    np.testing.assert_allclose(parts.resolution, (3 * (1 / 3 - 0.5) ** 2 + 2 * 0.25 + 0.25) / 6, rtol=1e-12)
    np.testing.assert_allclose(parts[3:], 0, atol=1e-15)


def test_soft_bins_become_hard():
    logits, labels = LOGITS / 3, IDS
    with jax.enable_x64(True):
        soft = o.soft_binned_calibration_error(logits, labels, num_bins=5, temperature=1e-6)
        hard = o.expected_calibration_error(logits, labels, num_bins=5, norm="l2")
        one = o.soft_binned_calibration_error(logits, labels, num_bins=1)
        np.testing.assert_allclose(soft, hard, rtol=1e-9)
        p = softmax(logits)
        np.testing.assert_allclose(one, abs((p.argmax(-1) == labels).mean() - p.max(-1).mean()), rtol=1e-12)


def test_classwise_error_is_that_of_every_class():
    logits, _, labels = posteriors(300)
    p = softmax(logits)
    with jax.enable_x64(True):
        by_class = jax.jit(functools.partial(o.classwise_calibration_error, num_bins=6))
        errors = by_class(logits, labels)
        diagram = jax.jit(functools.partial(o.reliability_diagram, num_bins=6))
        for c in range(3):
            mean, hit, share = diagram(p[:, c], labels == c)
            np.testing.assert_allclose(errors[c], (share * abs(mean - hit)).sum(), rtol=1e-12)
        assert np.isnan(by_class(logits, np.where(np.arange(300) == 0, 7, labels))).all()


def test_angular_visual_hardness():
    x, w = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    cosine = (x @ w.T) / np.linalg.norm(x, axis=-1, keepdims=True) / np.linalg.norm(w, axis=-1)
    wanted = np.arccos(cosine) / np.arccos(cosine).sum(-1, keepdims=True)
    labels = np.array([0, 1, 2, 3, 0])
    with jax.enable_x64(True):
        hardness = jax.jit(o.angular_visual_hardness)
        np.testing.assert_allclose(hardness(x, w, labels), wanted[np.arange(5), labels], rtol=1e-12)
        scales = np.array([1e-3, 1.0, 5.0, 1e4])[:, None]
        np.testing.assert_allclose(hardness(9 * x, scales * w, labels), hardness(x, w, labels), rtol=1e-12)
        np.testing.assert_allclose(hardness(x, w, HARD[:5]), (HARD[:5] * wanted).sum(-1), rtol=1e-12)
        np.testing.assert_allclose(o.angular_visual_hardness(np.ones((1, 4)), np.eye(4), np.array([2])), 0.25)
        assert o.angular_visual_hardness(np.eye(4)[:1], np.eye(4), np.array([0])) == 0


def test_multicalibration_and_multiaccuracy():
    rng = np.random.default_rng(2)
    n = 4000
    groups = np.stack([np.ones(n), rng.random(n) < 0.3, rng.random(n) < 0.5], -1)
    p = np.clip(rng.random(n), 0.05, 0.95)
    truth = np.where(groups[:, 1] > 0, p, p**2)
    y = (rng.random(n) < truth).astype(float)
    with jax.enable_x64(True):
        error = o.multicalibration_error(p, y, groups, num_bins=10)
        index = np.ceil(p * 10).astype(int) - 1
        wanted = [[abs((groups[:, g] * (y - p))[index == b].sum()) / n for b in range(10)] for g in range(3)]
        np.testing.assert_allclose(error, wanted, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(
            o.multiaccuracy_error(p, y, groups), abs((groups * (y - p)[:, None]).mean(0)), rtol=1e-10
        )
        # Everybody in one group: the expected calibration error.
        mean, hit, share = o.reliability_diagram(p, y, num_bins=10)
        np.testing.assert_allclose(error[0].sum(), (share * abs(mean - hit)).sum(), rtol=1e-12)
        # The best constant is calibrated, and as wrong about a group as the group is different.
        constant = np.full(n, y.mean())
        rates = np.array([(groups[:, g] * (y - y.mean())).mean() for g in range(3)])
        np.testing.assert_allclose(o.multiaccuracy_error(constant, y, groups), abs(rates), atol=1e-13)
        # The truth is multicalibrated to a standard error or four.
        assert o.multicalibration_error(truth, y, groups).max() < 4 * 0.5 / np.sqrt(10 * n) < error.max()


def test_one_predictor_serves_every_loss():
    """From the posterior, post-processed actions are the cheapest, and cheaper than the best linear hypothesis."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, 3000)
    p = 1 / (1 + np.exp(-3 * np.sin(2 * x)))
    actions = np.linspace(0, 1, 21)
    losses = {
        "square": np.stack([actions**2, (1 - actions) ** 2], -1),
        "absolute": np.stack([actions, 1 - actions], -1),
        "asymmetric": np.stack([actions, 5 * (1 - actions)], -1),
    }
    for name, table in losses.items():
        chosen = np.asarray(
            o.omniprediction(p.astype(np.float32), actions.astype(np.float32), table.astype(np.float32))
        )

        def risk(a, table=table):
            cost = [np.interp(a, actions, table[:, k]) for k in (0, 1)]
            return np.mean(p * cost[1] + (1 - p) * cost[0])

        everything = p[:, None] * table[:, 1] + (1 - p[:, None]) * table[:, 0]
        np.testing.assert_allclose(risk(chosen), everything.min(-1).mean(), rtol=1e-6, err_msg=name)
        slopes, shifts = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(0, 1, 21))
        linear = min(risk(np.clip(s * x + b, 0, 1)) for s, b in zip(slopes.ravel(), shifts.ravel()))
        assert risk(chosen) < 0.9 * linear, name
    # A price on acting moves the threshold: act where p > 1/5 + price.
    price = np.broadcast_to([0.0, 1.0], (5, 2)).astype(np.float32)
    table = np.array([[0.0, 4.0], [1.0, 0.0]], np.float32)
    p = np.array([0.1, 0.3, 0.39, 0.41, 1.5], np.float32)
    acted = o.omniprediction(p, np.array([0.0, 1.0], np.float32), table, costs=price)
    np.testing.assert_array_equal(acted, [0, 0, 0, 1, np.nan])
