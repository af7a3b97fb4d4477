"""Regression losses: closed forms, limits, invariances, scikit-learn, torch, optax and the authors' code.

tests/golden/regression.py wrote the arrays of the peers and names their versions.
"""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from programs import all_compiled

import objectives

o = all_compiled(objectives)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "regression.npz")

ERRORS = np.array([-1e4, -3.0, -0.7, -0.2, 0.0, 1e-6, 0.5, 2.0, 1e4])
LOSSES = [o.huber_loss, o.pseudo_huber_loss]


def test_closed_forms_in_float64():
    delta, size = 0.7, np.abs(ERRORS)
    with jax.enable_x64(True):
        got = o.huber_loss(ERRORS, np.zeros(9), delta=delta)
        np.testing.assert_allclose(got, np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)), rtol=1e-14)
        got = o.pseudo_huber_loss(ERRORS, np.zeros(9), delta=delta)
        with mpmath.workdps(50):
            exact = [float(delta**2 * (mpmath.sqrt(1 + (mpmath.mpf(e) / delta) ** 2) - 1)) for e in ERRORS]
        np.testing.assert_allclose(got, exact, rtol=1e-14)


def test_small_errors_keep_their_digits_in_float32():
    error = np.float32(1e-4)  # sqrt(1 + 1e-8) - 1 is 0 in float32
    np.testing.assert_allclose(o.pseudo_huber_loss(error, np.float32(0)), 0.5e-8, rtol=1e-6)


def test_huber_equals_optax_in_value_and_gradient():
    x, y = jnp.asarray(ERRORS, jnp.float32) + 0.3, jnp.full(9, 0.3)
    ours = jax.vjp(lambda p, t: o.huber_loss(p, t, delta=0.7), x, y)
    theirs = jax.vjp(lambda p, t: optax.losses.huber_loss(p, t, delta=0.7), x, y)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-6, atol=1e-12)
    for mine, peer in zip(ours[1](jnp.ones(9)), theirs[1](jnp.ones(9)), strict=True):
        np.testing.assert_allclose(mine, peer, rtol=1e-6)


def test_huber_gradient_is_the_clipped_error_and_its_curvature_at_zero_is_one():
    slope = jax.vmap(jax.grad(lambda e: o.huber_loss(e, jnp.zeros(()), delta=0.7)))(jnp.asarray(ERRORS, jnp.float32))
    np.testing.assert_allclose(slope, np.clip(ERRORS, -0.7, 0.7), rtol=1e-6)
    for loss in LOSSES:
        assert jax.grad(jax.grad(lambda e, f=loss: f(e, jnp.zeros(()))))(0.0) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_limits_in_delta(loss):
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(ERRORS, np.zeros(9), delta=1e9), ERRORS**2 / 2, rtol=1e-9)
        np.testing.assert_allclose(loss(ERRORS, np.zeros(9), delta=1e-9) / 1e-9, np.abs(ERRORS), rtol=1e-2)
        check_grads(
            lambda p, d: loss(p, np.zeros(9), delta=d), (ERRORS + 0.01, jnp.asarray(0.7)), 2, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_even_and_zero_only_at_zero(loss):
    forward, backward = loss(ERRORS, np.zeros(9)), loss(np.zeros(9), ERRORS)
    np.testing.assert_array_equal(forward, backward)
    np.testing.assert_array_equal(np.asarray(forward) == 0, ERRORS == 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_errors(loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}: targets must have the shape of predictions, \[3, 1\], got .*\[3\]"):
        loss(jnp.ones((3, 1)), jnp.ones(3))
    with pytest.raises(TypeError, match=rf"{name}: predictions must be floating point, got int32\[3\]"):
        loss(jnp.arange(3), jnp.ones(3))
    with pytest.raises(ValueError, match=rf"{name}: delta must lie in \(0, inf\], got 0.0"):
        loss(jnp.ones(3), jnp.ones(3), delta=0.0)
    assert loss(jnp.ones(3, jnp.float16), np.array([1, 0, 1])).dtype == jnp.float32


def golden(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def loss_and_gradient(function, *arguments, **keywords):
    """The loss and the gradient of its sum with respect to the first argument, in float64."""

    @jax.jit
    def run(first, *others):
        value, pullback = jax.vjp(lambda x: function(x, *others, **keywords), first)
        return value, pullback(jnp.ones_like(value))[0]

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(*arguments))


PEERS = {
    "smooth_l1": ("smooth_l1_loss", {"beta": 0.7}),
    **{
        f"general_robust_{a}": ("general_robust_loss", {"alpha": a, "scale": 0.8})
        for a in (-np.inf, -2.0, 0.0, 0.5, 1.0, 2.0)
    },
}


@pytest.mark.parametrize("case", PEERS)
def test_equals_the_public_implementation(case):
    name, keywords = PEERS[case]
    wanted = golden(case)
    loss, gradient = loss_and_gradient(getattr(o, name), wanted["predictions"], wanted["targets"], **keywords)
    np.testing.assert_allclose(loss, wanted["loss"], rtol=1e-12)
    if case == "general_robust_-inf":  # where the gradient of the author's code is NaN
        wanted["grad_predictions"] = (e := wanted["predictions"] - wanted["targets"]) / 0.64 * np.exp(-(e**2) / 1.28)
    np.testing.assert_allclose(gradient, wanted["grad_predictions"], rtol=1e-11, atol=1e-14)


def test_scores_of_scikit_learn():
    scores = golden("scores")
    pair = scores.pop("predictions"), scores.pop("targets")
    with jax.enable_x64(True):
        entrywise = {
            "mean_squared_error": o.squared_error(*pair),
            "mean_absolute_error": o.absolute_error(*pair),
            "mean_squared_log_error": o.squared_log_error(*pair),
            "mean_absolute_percentage_error": o.absolute_percentage_error(*pair),
            "mean_pinball_loss": o.quantile_loss(*pair, quantile=0.3),
        }
        ours = {name: loss.mean(axis=-1) for name, loss in entrywise.items()}
        for name in ("root_mean_squared_error", "root_mean_squared_log_error", "r2_score"):
            ours[name] = getattr(o, name)(*pair)
    # D² of absolute errors compares with the median, the relative absolute error with the mean.
    median = np.median(pair[1], axis=-1, keepdims=True)
    scale = np.abs(pair[1] - median).sum(-1) / np.abs(pair[1] - pair[1].mean(-1, keepdims=True)).sum(-1)
    with jax.enable_x64(True):
        ours["d2_absolute_error_score"] = 1 - o.relative_absolute_error(*pair) / scale
    assert ours.keys() == scores.keys()
    for name, score in scores.items():
        np.testing.assert_allclose(ours[name], score, rtol=1e-12, err_msg=name)


BIG = np.array([-1e4, -31.0, -2.0, -1.0, -0.5, -1e-3, 0.0, 1e-5, 0.3, 1.0, 1.7, 88.0, 1e4])
mp = mpmath


def barron(e, a, c):
    z = (e / c) ** 2
    if a == 2:
        return z / 2
    if a == 0:
        return mp.log(z / 2 + 1)
    if a == -mp.inf:
        return 1 - mp.exp(-z / 2)
    return abs(a - 2) / a * ((z / abs(a - 2) + 1) ** (mp.mpf(a) / 2) - 1)


CLOSED = {
    "squared_error": ({}, lambda e: e**2),
    "absolute_error": ({}, abs),
    "log_cosh_loss": ({}, lambda e: mp.log(mp.cosh(e))),
    "smooth_l1_loss": ({"beta": 0.7}, lambda e: e**2 / 1.4 if abs(e) < 0.7 else abs(e) - 0.35),
    "cauchy_loss": ({"scale": 2.0}, lambda e: 2 * mp.log(1 + (e / 2) ** 2)),
    "geman_mcclure_loss": ({"scale": 2.0}, lambda e: 2 * e**2 / (4 + e**2)),
    "welsch_loss": ({"scale": 2.0}, lambda e: 2 * (1 - mp.exp(-((e / 2) ** 2)))),
    "tukey_biweight_loss": ({"scale": 2.0}, lambda e: mp.mpf(2) / 3 * (1 - (1 - min(e**2 / 4, 1)) ** 3)),
    "quantile_loss": ({"quantile": 0.25}, lambda e: max(-e / 4, 3 * e / 4)),
    "expectile_loss": ({"expectile": 0.25}, lambda e: (0.75 if e > 0 else 0.25) * e**2),
    **{
        f"general_robust_loss {a}": ({"alpha": a, "scale": 1.5}, lambda e, a=a: barron(e, mp.mpf(a), mp.mpf(1.5)))
        for a in (-np.inf, -1e6, -2.0, -1e-9, 0.0, 1e-4, 0.7, 1.0, 2.0 - 1e-9, 2.0)
    },
}


def test_losses_of_a_residual_equal_fifty_digits():
    """Value and derivative in float64 and float32, from errors of 1e-5 to 1e4."""
    jitted = jax.jit(
        lambda e: {
            case: getattr(o, case.split()[0])(e, jnp.zeros_like(e), **keywords)
            for case, (keywords, _) in CLOSED.items()
        }
    )
    gradient = jax.jit(jax.grad(lambda e: sum(jnp.sum(jitted(e)[case]) * w for w, case in enumerate(CLOSED, 1))))
    with jax.enable_x64(True):
        double, slopes = jitted(BIG), gradient(jnp.asarray(BIG + 1e-3))
    single = jitted(BIG.astype(np.float32))
    with mp.workdps(50):
        for case, (_, exact) in CLOSED.items():
            wanted = np.array([float(exact(mp.mpf(float(e)))) for e in BIG])
            np.testing.assert_allclose(double[case], wanted, rtol=1e-13, err_msg=case)
            exact32 = np.array([float(exact(mp.mpf(float(e)))) for e in BIG.astype(np.float32)])
            # Near alpha = 0 and 2 float32 cannot hold the shape itself.
            if not case.endswith(("1e-09", "1.999999999", "-1000000.0")):
                np.testing.assert_allclose(single[case], exact32, rtol=2e-6, atol=1e-37, err_msg=case)
        weighted = [
            float(mp.fsum(w * mp.diff(f, mp.mpf(float(e))) for w, (_, f) in enumerate(CLOSED.values(), 1)))
            for e in BIG + 1e-3
        ]
    np.testing.assert_allclose(slopes, weighted, rtol=1e-9)


def test_all_robust_losses_are_half_the_square_near_zero_and_flatten():
    for name in ("cauchy_loss", "geman_mcclure_loss", "welsch_loss", "tukey_biweight_loss"):
        loss = getattr(o, name)
        near, far = loss(jnp.array([1e-3, 1e3]), jnp.zeros(2), scale=1.0)
        np.testing.assert_allclose(near, 0.5e-6, rtol=2e-6)
        assert far < 8  # the squared error is 1e6


def test_balanced_l1_has_the_gradient_that_the_paper_prescribes():
    size = np.array([1e-3, 0.2, 0.7, 0.999, 1.001, 5.0, 1e4])
    alpha, gamma = 0.5, 1.5
    loss, gradient = loss_and_gradient(o.balanced_l1_loss, -size, np.zeros(7), alpha=alpha, gamma=gamma)
    b = np.expm1(gamma / alpha)
    np.testing.assert_allclose(gradient, -np.where(size < 1, alpha * np.log(b * size + 1), gamma), rtol=1e-12)
    inner = alpha / b * (b * size + 1) * np.log(b * size + 1) - alpha * size
    np.testing.assert_allclose(loss, np.where(size < 1, inner, gamma * size + gamma / b - alpha), rtol=1e-10)


def test_gradient_without_an_error_is_zero():
    for name in ("absolute_error", "log_cosh_loss", "smooth_l1_loss", "huber_loss", "squared_error", "welsch_loss"):
        assert jax.grad(getattr(o, name))(jnp.float32(2), jnp.float32(2)) == 0, name
    assert jax.grad(o.root_mean_squared_error)(jnp.ones(3), jnp.ones(3)).tolist() == [0, 0, 0]


def test_least_loss_is_at_the_quantile_the_expectile_the_mean_and_the_median():
    """Properness: over samples of a random distribution the best constant is the statistic that the loss names."""
    sample = np.random.default_rng(0).gamma(2.0, size=501)
    grid = np.linspace(0, 8, 3201)

    def best(loss, **keywords):
        total = jax.vmap(lambda c: jnp.sum(loss(jnp.full(501, c), sample.astype(np.float32), **keywords)))
        return grid[int(np.argmin(total(grid.astype(np.float32))))]

    np.testing.assert_allclose(best(o.squared_error), sample.mean(), atol=4e-3)  # the grid's step is 2.5e-3
    np.testing.assert_allclose(best(o.absolute_error), np.median(sample), atol=4e-3)
    for q in (0.1, 0.9):
        near = np.sort(sample)[[int(501 * q) - 2, int(501 * q) + 3]]
        assert near[0] <= best(o.quantile_loss, quantile=q) <= near[1]
        m = best(o.expectile_loss, expectile=q)
        up, down = np.maximum(sample - m, 0).sum(), np.maximum(m - sample, 0).sum()
        np.testing.assert_allclose(q * up / ((1 - q) * down), 1, rtol=0.02)


def test_optax_agrees():
    x, y = jnp.asarray(BIG, jnp.float32), jnp.full(13, 0.3)
    np.testing.assert_allclose(o.squared_error(x, y), optax.losses.squared_error(x, y), rtol=1e-6)
    # optax's log_cosh has lost the digits of small errors, hence atol
    np.testing.assert_allclose(o.log_cosh_loss(x, y), optax.losses.log_cosh(x, y), rtol=1e-6, atol=1e-7)


ROWS = {
    "mean_bias_error": lambda p, t: (p - t).mean(-1),
    "root_mean_squared_error": lambda p, t: np.sqrt(((p - t) ** 2).mean(-1)),
    "root_mean_squared_log_error": lambda p, t: np.sqrt(((np.log1p(p) - np.log1p(t)) ** 2).mean(-1)),
    "relative_absolute_error": lambda p, t: np.abs(p - t).sum(-1) / np.abs(t - t.mean(-1, keepdims=True)).sum(-1),
    "relative_squared_error": lambda p, t: ((p - t) ** 2).mean(-1) / t.var(-1),
    "r2_score": lambda p, t: 1 - ((p - t) ** 2).mean(-1) / t.var(-1),
    "normalized_root_mean_squared_error": lambda p, t: np.sqrt(((p - t) ** 2).mean(-1)) / np.ptp(t, axis=-1),
    "relative_root_mean_squared_error": lambda p, t: np.sqrt(((p - t) ** 2).sum(-1) / (p**2).sum(-1)),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_equal_numpy_shift_and_scale_as_they_should(name):
    generator = np.random.default_rng(3)
    p, t = generator.random((3, 7)), generator.random((3, 7))
    function = getattr(o, name)
    with jax.enable_x64(True):
        np.testing.assert_allclose(function(p, t), ROWS[name](p, t), rtol=1e-13)
        keep = np.arange(7) < 5
        spoilt = np.where(keep, p, np.nan)
        masked = function(spoilt, t, where=np.broadcast_to(keep, p.shape))
        np.testing.assert_allclose(masked, ROWS[name](p[:, :5], t[:, :5]), rtol=1e-13)
        if name.startswith(("relative_a", "relative_s", "r2", "normalized")):
            np.testing.assert_allclose(function(3 * p + 1e4, 3 * t + 1e4), ROWS[name](p, t), rtol=1e-9)


def test_other_normalisers():
    p, t = np.random.default_rng(4).random((2, 3, 7))
    rmse = np.sqrt(((p - t) ** 2).mean(-1))
    with jax.enable_x64(True):
        for word, scale in (("mean", t.mean(-1)), ("std", t.std(-1))):
            ours = o.normalized_root_mean_squared_error(p, t, normaliser=word)
            np.testing.assert_allclose(ours, rmse / scale, rtol=1e-13)
        ours = o.relative_root_mean_squared_error(p, t, relative_to="targets")
        np.testing.assert_allclose(ours, np.sqrt(((p - t) ** 2).sum(-1) / (t**2).sum(-1)), rtol=1e-13)


def test_equal_targets_are_scored_as_by_scikit_learn():
    targets = jnp.full((2, 5), 0.1)  # whose mean in float32 is not 0.1
    predictions = targets.at[1, 0].set(0.3)
    np.testing.assert_array_equal(o.r2_score(predictions, targets), [1.0, 0.0])
    np.testing.assert_array_equal(o.relative_absolute_error(predictions, targets), [0.0, 1.0])


EDGES = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 3.0])


def test_hl_gauss_equals_the_peer_and_fifty_digits():
    case = golden("hl_gauss")
    loss, gradient = loss_and_gradient(o.hl_gauss_loss, case["logits"], case["targets"], case["bin_edges"])
    # The peer's probabilities, and the width its sigma is made of, are rounded to float32.
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-6)
    np.testing.assert_allclose(gradient, case["grad_logits"], rtol=1e-5, atol=1e-6)
    targets, sigma = np.array([0.2, -1.9, 7.0, -20.0]), 0.5
    with mp.workdps(1000):
        exact = []
        for y in targets:
            cdf = [mp.erfc(-(mp.mpf(float(b)) - mp.mpf(float(y))) / sigma / mp.sqrt(2)) / 2 for b in EDGES]
            exact.append([float((b - a) / (cdf[-1] - cdf[0])) for a, b in itertools.pairwise(cdf)])
    with jax.enable_x64(True):
        ours = o.hl_gauss_targets(targets, EDGES, sigma_ratio=0.5)
    np.testing.assert_allclose(ours, exact, rtol=1e-9, atol=1e-300)
    single = o.hl_gauss_targets(targets.astype(np.float32), EDGES, sigma_ratio=0.5)
    np.testing.assert_allclose(single, exact, rtol=2e-4, atol=1e-30)  # exponents of some hundred in float32
    assert single[2, -1] > 0.99
    assert single[3, 0] > 0.99  # the quotient of differences of cdfs is 0/0 there


def test_hl_gauss_is_least_at_its_targets_and_keeps_the_mean():
    edges = np.linspace(-4, 4, 65)
    y = np.random.default_rng(0).uniform(-2, 2, 9)
    with jax.enable_x64(True):
        p = o.hl_gauss_targets(y, edges)
        gradient = jax.grad(lambda s: o.hl_gauss_loss(s, y, edges).sum())(jnp.log(p))
        np.testing.assert_allclose(gradient, 0, atol=1e-14)
        np.testing.assert_allclose(o.histogram_mean(p, edges), y, atol=1e-3)  # the bins are 0.125 wide


def test_discretized_targets_are_those_of_numpy():
    y = np.concatenate([np.linspace(-3, 4, 57), EDGES])
    expected = np.clip(np.digitize(y, EDGES) - 1, 0, 4)
    np.testing.assert_array_equal(o.discretize_targets(y.astype(np.float32), EDGES), expected)
    assert o.discretize_targets(np.float32([np.nan]), EDGES)[0] == -1


def test_regression_with_classification_is_the_sum_of_its_terms():
    generator = np.random.default_rng(0)
    p, y, logits = generator.normal(size=5), generator.normal(size=5), generator.normal(size=(5, 5))
    with jax.enable_x64(True):
        ours = o.regression_with_classification_loss(p, logits, y, EDGES, class_weight=0.3)
        ids = np.clip(np.digitize(y, EDGES) - 1, 0, 4)
        cross = optax.softmax_cross_entropy_with_integer_labels(logits, ids)
        np.testing.assert_allclose(ours, (p - y) ** 2 + 0.3 * cross, rtol=1e-13)
        plain = o.regression_with_classification_loss(p, logits, y, EDGES, class_weight=0.0)
        np.testing.assert_array_equal(plain, o.squared_error(p, y))
    spoilt = o.regression_with_classification_loss(jnp.ones(1), jnp.ones((1, 5)), jnp.array([jnp.nan]), EDGES)
    assert np.isnan(spoilt[0])


def test_bits():
    np.testing.assert_array_equal(
        o.binary_target_encoding(np.float32([203 / 255]))[0],
        [1, 1, 0, 0, 1, 0, 1, 1],  # the paper's example
    )
    y = np.linspace(-1, 3, 41)
    with jax.enable_x64(True):
        bits = o.binary_target_encoding(y, bits=8, low=-1, high=3)
        decoded = o.binary_target_decoding(bits, low=-1, high=3)
        np.testing.assert_allclose(decoded, np.round((y + 1) / 4 * 255) / 255 * 4 - 1, rtol=1e-13)
        exact = o.binary_encoding_loss(1e4 * (2 * bits - 1), y, low=-1, high=3)
        np.testing.assert_array_equal(exact, 0)
        logits = np.random.default_rng(0).normal(size=(41, 8))
        weights = 2.0 ** np.arange(8)[::-1]
        ours = o.binary_encoding_loss(logits, y, low=-1, high=3, bit_weights=weights)
        theirs = (weights * optax.sigmoid_binary_cross_entropy(logits, bits)).mean(-1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    outside = o.binary_encoding_loss(jnp.zeros((3, 8)), jnp.array([-0.1, 1.1, jnp.nan]))
    assert np.isnan(outside).all()


def test_neural_field_classifier_is_least_at_the_target_with_the_binary_entropy():
    y = np.array([0.1, 0.5, 0.93])
    loss, gradient = loss_and_gradient(o.neural_field_classifier_loss, y, y, bce_weight=2.0)
    np.testing.assert_allclose(loss, -2 * (y * np.log(y) + (1 - y) * np.log(1 - y)), rtol=1e-13)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)
    p = np.array([0.3, 0.2, 0.5])
    _, gradient = loss_and_gradient(o.neural_field_classifier_loss, p, y, bce_weight=1.5)
    np.testing.assert_allclose(gradient, 2 * (p - y) + 1.5 * (p - y) / (p * (1 - p)), rtol=1e-12)
    assert np.isnan(o.neural_field_classifier_loss(jnp.ones(2), jnp.array([-0.1, 1.1]))).all()


def test_bags_differ_by_the_variance_inside_them():
    generator = np.random.default_rng(0)
    ids, f, y = generator.integers(0, 4, 30), generator.normal(size=30), generator.normal(size=4)
    with jax.enable_x64(True):
        whole = o.bag_level_loss(f, y, ids)
        lone = o.bag_level_loss(f, y, ids, instance_weight=1.0)
        between = o.bag_level_loss(f, y, ids, instance_weight=0.3)
    whole, lone = np.asarray(whole), np.asarray(lone)
    inside = np.array([f[ids == b].var() for b in range(4)])
    np.testing.assert_allclose(whole, [(f[ids == b].mean() - y[b]) ** 2 for b in range(4)], rtol=1e-12)
    np.testing.assert_allclose(lone - whole, inside, rtol=1e-12)
    np.testing.assert_allclose(between, 0.7 * whole + 0.3 * lone, rtol=1e-12)
    f, y = f.astype(np.float32), y.astype(np.float32)
    absolute = [o.bag_level_loss(f, y, ids, loss=o.absolute_error, instance_weight=w) for w in (0.0, 1.0)]
    assert (np.asarray(absolute[0]) <= np.asarray(absolute[1])).all()  # Jensen
    one_each = o.bag_level_loss(jnp.arange(3.0), jnp.ones(3), jnp.arange(3), instance_weight=0.5)
    np.testing.assert_array_equal(one_each, [1, 0, 1])
    assert np.isnan(o.bag_level_loss(jnp.ones(2), jnp.ones(3), jnp.array([0, 3]))).all()
    np.testing.assert_array_equal(o.bag_level_loss(jnp.ones(2), jnp.zeros(3), jnp.array([0, 0])), [1, 0, 0])


@pytest.mark.parametrize("upper", ["absolute", "squared"])
def test_u2_has_the_gradient_of_the_plain_loss_on_clean_data(upper):
    generator = np.random.default_rng(0)
    p, y, rho = generator.normal(size=20), generator.normal(size=20), 0.7
    fraction = (y >= p).mean()
    _, gradient = loss_and_gradient(o.u2_regression_loss, p, y, upper_fraction=fraction, slope=rho, upper_loss=upper)
    above = -1.0 if upper == "absolute" else 2 * (p - y)
    np.testing.assert_allclose(gradient, np.where(y >= p, above, rho) / 20, rtol=1e-12)


def test_u2_fits_the_truth_where_labels_are_missing():
    """The best constant for labels of which half are far too low is that for clean ones, where plain losses are low.

    With squares above, the gradient is 0 where the mean excess of a label over the constant is slope/2 (at half above):
    for the standard normal distribution at 0, whose mean excess is sqrt(2/pi).
    """
    generator = np.random.default_rng(0)
    clean = 5 + generator.normal(size=4000)
    observed = np.where(generator.random(4000) < 0.5, clean - 4 - generator.random(4000), clean).astype(np.float32)
    slope = float(2 * np.sqrt(2 / np.pi))

    def plain(p, y):
        return jnp.where(y >= p, (y - p) ** 2, slope * (p - y)).mean()

    def u2(p, y):
        return o.u2_regression_loss(p, y, upper_fraction=0.5, slope=slope, upper_loss="squared")

    def fit(loss):
        step = lambda c: c - 0.1 * jax.grad(lambda c: loss(jnp.full(4000, c), observed))(c)
        return float(jax.jit(lambda c: jax.lax.fori_loop(0, 400, lambda _, c: step(c), c))(jnp.float32(3)))

    assert fit(plain) < 4.3
    assert abs(fit(u2) - 5) < 0.1  # three standard errors of 2000 labels


def test_grownet_stages_are_newton_steps():
    generator = np.random.default_rng(0)
    f, score, y = generator.normal(size=(3, 12))
    with jax.enable_x64(True):
        residual = o.grownet_stage_loss(f, y, score, boost_rate=0.5)
        np.testing.assert_allclose(residual, 2 * (0.5 * f - (y - score)) ** 2 - 2 * (y - score) ** 2, rtol=1e-12)
        # The logistic loss of labels of +-1, as the authors' code has it: target y (1 + exp(-yF)), weight h.
        y = np.sign(y)
        logistic = lambda scores, y: jnp.logaddexp(0, -y * scores)
        ours = o.grownet_stage_loss(f, y, score, loss=logistic, boost_rate=0.5)
        target, h = y * (1 + np.exp(-y * score)), 1 / ((1 + np.exp(y * score)) * (1 + np.exp(-y * score)))
        np.testing.assert_allclose(ours, h * (0.5 * f - target) ** 2 - h * target**2, rtol=1e-10, atol=1e-13)
        whole = o.grownet_corrective_loss(np.stack([f, score], -1), y, np.array([0.5, 2.0]), loss=logistic)
        np.testing.assert_allclose(whole, np.logaddexp(0, -y * (0.5 * f + 2 * score)), rtol=1e-12)


def test_a_target_that_is_not_a_number_never_gives_one():
    predictions, targets = jnp.ones(3), jnp.array([1.0, jnp.nan, 1.0])
    for name in ROWS:
        assert np.isnan(getattr(o, name)(predictions, targets)), name
    for word in ("range", "mean", "std"):
        assert np.isnan(o.normalized_root_mean_squared_error(predictions, targets, normaliser=word))
    assert np.isnan(o.u2_regression_loss(predictions, targets, upper_fraction=0.5))
    names = {case.split()[0] for case in CLOSED} | {"balanced_l1_loss", "pseudo_huber_loss", "huber_loss"}
    names |= {"squared_log_error", "absolute_percentage_error", "symmetric_absolute_percentage_error", "madl", "gmadl"}
    for name in sorted(names):
        losses = getattr(o, name)(predictions, targets)
        np.testing.assert_array_equal(np.isnan(losses), [False, True, False], err_msg=name)


def test_every_golden_case_is_used():
    series = {"soft_dtw", "dilate", "temporal_distortion", "sdsc", "sdsc_soft", "sdsc_hybrid"}
    assert {name.split("/")[0] for name in GOLDEN.files} == PEERS.keys() | series | {"peers", "scores", "hl_gauss"}


def test_grownets_lambdas_are_the_derivatives_of_the_loss_of_pairs():
    generator = np.random.default_rng(3)
    scores, new, grades = generator.normal(size=7), generator.normal(size=7), generator.integers(0, 3, 7)
    kept = np.arange(7) != 4

    def of_pairs(scores):
        above = (grades[:, None] > grades) & kept[:, None] & kept
        return jnp.sum(jnp.where(above, jax.nn.softplus(-1.7 * (scores[:, None] - scores)), 0))

    with jax.enable_x64(True):
        slope, bend = jax.grad(of_pairs)(scores), jnp.diagonal(jax.hessian(of_pairs)(scores))
        rates = {"steepness": 1.7, "boost_rate": 0.6}
        loss = o.grownet_ranking_loss(new, grades, scores, where=kept, **rates)
        np.testing.assert_allclose(loss, bend * (0.6 * new) ** 2 + 2 * slope * 0.6 * new, rtol=1e-12, atol=1e-15)


def test_private_means_are_means_with_laplacian_noise():
    generator = np.random.default_rng(4)
    y, bags = generator.normal(0, 3, 60), generator.integers(0, 4, 60)
    clipped = np.clip(y, -2, 2)
    means = np.array([clipped[bags == b].mean() for b in range(4)])
    sizes = np.bincount(bags)

    def private(key, epsilon, where=None):
        return o.private_bag_means(y, bags, key, bags=5, bound=2.0, epsilon=epsilon, where=where)

    keys = jax.random.split(jax.random.key(0), 4000)
    np.testing.assert_allclose(private(keys[0], 1e9)[:4], means, rtol=1e-5)
    noise = np.asarray(jax.vmap(lambda key: private(key, 0.5))(keys)[:, :4] - means)
    scale = 2 * 2.0 / (0.5 * sizes)
    # of 4000 draws the mean magnitude has a standard error of 1/63, the mean square of √20/63, the mean of √2/63
    np.testing.assert_allclose(np.abs(noise).mean(axis=0) / scale, 1, atol=0.06)
    np.testing.assert_allclose((noise**2).mean(axis=0) / scale**2, 2, atol=0.4)
    np.testing.assert_allclose(noise.mean(axis=0) / scale, 0, atol=0.1)
    assert private(keys[0], 0.5)[4] == 0
    where = bags != 1
    others = jnp.array([0, 2, 3])
    np.testing.assert_array_equal(private(keys[0], 0.5, where)[others], private(keys[0], 0.5)[others])
    for key in keys[:2]:
        assert np.all(np.isnan(o.private_bag_means(y, bags + 2, key, bags=5, bound=2.0, epsilon=1.0)))
