"""Losses of series: tslearn, the authors' code, all paths enumerated, limits and invariances.

tests/golden/regression.py wrote the arrays of the peers and names their versions.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled
from scipy.spatial.distance import braycurtis

import objectives

o = all_compiled(objectives)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "regression.npz")


def golden(case):
    return {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}


def loss_and_gradients(function, *arguments, **keywords):
    """The loss and the gradients of its sum with respect to all arguments, in float64."""

    @jax.jit
    def run(arguments):
        value, pullback = jax.vjp(lambda *x: function(*x, **keywords), *arguments)
        return value, pullback(jnp.ones_like(value))

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(arguments))


def test_soft_dtw_equals_tslearn():
    case = golden("soft_dtw")
    pair = case["predictions"], case["targets"]
    loss, gradients = loss_and_gradients(o.soft_dtw, *pair, gamma=0.3)
    np.testing.assert_allclose(loss, case["loss"], rtol=1e-12)
    np.testing.assert_allclose(gradients[0], case["grad_predictions"], rtol=1e-10, atol=1e-13)
    with jax.enable_x64(True):
        alignment = o.soft_dtw_alignment(*pair, gamma=0.3)
        np.testing.assert_allclose(alignment, case["alignment"], rtol=1e-10, atol=1e-14)
        sharp = o.soft_dtw(*pair, gamma=1e-6)
        np.testing.assert_allclose(sharp, case["dtw"], rtol=1e-9)


def paths(n, m):
    """All alignments of n and m steps."""
    if (n, m) == (1, 1):
        return [[(0, 0)]]
    before = [(i, j) for i, j in ((n - 1, m - 1), (n - 1, m), (n, m - 1)) if i and j]
    return [path + [(n - 1, m - 1)] for i, j in before for path in paths(i, j)]


def test_soft_dtw_is_the_soft_minimum_over_all_paths():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 1))
    y = y[:3]
    costs = (x - y.T) ** 2
    totals = np.array([sum(costs[i, j] for i, j in path) for path in paths(4, 3)])
    assert len(totals) == 25  # the Delannoy number of (3, 2)
    weights = np.exp(-totals / 0.7) / np.exp(-totals / 0.7).sum()
    alignment = np.zeros((4, 3))
    for weight, path in zip(weights, paths(4, 3), strict=True):
        for i, j in path:
            alignment[i, j] += weight
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.soft_dtw(x, y, gamma=0.7), -0.7 * np.log(np.exp(-totals / 0.7).sum()), rtol=1e-12)
        np.testing.assert_allclose(o.soft_dtw_alignment(x, y, gamma=0.7), alignment, rtol=1e-12)


def test_lengths_cut_series_off():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(3, 6, 2)), generator.normal(size=(3, 6, 2))
    n, m = np.array([6, 2, 4]), np.array([3, 5, 1])
    spoilt = [np.where(np.arange(6)[:, None] < k[:, None, None], s, np.nan) for s, k in ((x, n), (y, m))]
    for function, rows in ((o.soft_dtw, (0, 1, 2)), (o.soft_dtw_divergence, (1,))):
        loss, gradients = loss_and_gradients(function, *spoilt, prediction_lengths=n, target_lengths=m)
        for row in rows:
            alone, slopes = loss_and_gradients(function, x[row, : n[row]], y[row, : m[row]])
            np.testing.assert_allclose(loss[row], alone, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(gradients[0][row, : n[row]], slopes[0], rtol=1e-10, atol=1e-13)
            np.testing.assert_array_equal(gradients[0][row, n[row] :], 0)
    loss, _ = loss_and_gradients(o.dilate_loss, spoilt[0], np.where(np.isnan(spoilt[0]), 0, y), lengths=n)
    alone, _ = loss_and_gradients(o.dilate_loss, x[1, :2], y[1, :2])
    np.testing.assert_allclose(loss[1], alone, rtol=1e-12)
    run = jax.jit(lambda lengths: o.soft_dtw(jnp.ones((3, 6, 2)), jnp.zeros((3, 6, 2)), target_lengths=lengths))
    for wrong in (0, -1, 7):
        np.testing.assert_array_equal(np.isnan(run(jnp.array([6, wrong, 4]))), [False, True, False])


def test_soft_dtw_divergence_is_least_where_the_series_are_equal():
    x, y = np.random.default_rng(0).normal(size=(2, 5, 5, 2))
    loss, gradients = loss_and_gradients(o.soft_dtw_divergence, x, x)
    np.testing.assert_allclose(loss, 0, atol=1e-13)
    np.testing.assert_allclose(gradients[0], 0, atol=1e-12)
    forward, _ = loss_and_gradients(o.soft_dtw_divergence, x, y)
    backward, _ = loss_and_gradients(o.soft_dtw_divergence, y, x)
    assert (forward > 0).all()
    np.testing.assert_allclose(forward, backward, rtol=1e-12)


@pytest.mark.parametrize(
    ("case", "keywords"), [("dilate", {"alpha": 0.3, "gamma": 0.1}), ("temporal_distortion", {"gamma": 0.1})]
)
def test_dilate_equals_the_authors_code(case, keywords):
    wanted = golden(case)
    function = getattr(o, f"{case}_loss")
    loss, gradients = loss_and_gradients(function, wanted["predictions"], wanted["targets"], **keywords)
    # Their edges of the table are 1e8 and 1e10, not infinite, and their distances a difference of squares. Their value
    # is the mean over the batch, their gradient that of the sum.
    np.testing.assert_allclose(loss.mean(), wanted["loss"], rtol=1e-9)
    np.testing.assert_allclose(gradients[0], wanted["grad_predictions"], rtol=1e-6, atol=1e-9)


def test_large_series_stay_finite_in_float32():
    x = 1e4 * jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], size=(2, 30, 1)), jnp.float32)
    for function in (o.soft_dtw, o.soft_dtw_divergence, o.dilate_loss):
        value, gradient = jax.jit(jax.value_and_grad(lambda x, f=function: f(x, -x[:, ::-1]).sum()))(x)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_soft_dtw_is_one_scan_over_antidiagonals():
    text = str(jax.make_jaxpr(o.soft_dtw)(jnp.ones((2, 5, 1)), jnp.ones((2, 7, 1))))
    assert text.count("scan[") == 1
    assert "length=11" in text


def test_directional_losses():
    returns, predicted = np.array([0.1, -0.2, 0.3, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.madl(predicted, returns), [-0.1, 0.2, 0, 0])
        np.testing.assert_array_equal(o.madl(7 * predicted, returns), o.madl(predicted, returns))
        soft = o.gmadl(predicted, returns, sharpness=1e6)
        np.testing.assert_allclose(2 * soft, o.madl(predicted, returns), rtol=1e-12)
        a, b = 30.0, 1.7
        ours = o.gmadl(predicted, returns, sharpness=a, power=b)
        exact = -(1 / (1 + np.exp(-a * returns * predicted)) - 0.5) * np.abs(returns) ** b
        np.testing.assert_allclose(ours, exact, rtol=1e-12, atol=1e-17)


def test_signal_decay_scales_the_series():
    p, t = np.random.default_rng(0).normal(size=(2, 3, 6))
    ratio = 1 / np.sqrt(np.arange(1, 7))  # as in the authors' code
    with jax.enable_x64(True):
        ours = o.signal_decay_loss(p, t)
        np.testing.assert_allclose(ours, np.abs(p * ratio - t * ratio).mean(-1), rtol=1e-13)
        squared = o.signal_decay_loss(p, t, loss=o.squared_error)
        np.testing.assert_allclose(squared, ((p * ratio - t * ratio) ** 2).mean(-1), rtol=1e-13)
        np.testing.assert_allclose(o.signal_decay_loss(p, t, power=0), np.abs(p - t).mean(-1), rtol=1e-13)
        weights = o.horizon_decay_weights(6, power=np.float64(0.5))
        np.testing.assert_allclose(weights, ratio, rtol=1e-14)


def test_mase_is_one_for_the_error_of_the_seasonal_naive_forecast():
    generator = np.random.default_rng(0)
    h, p, t = generator.normal(size=(2, 12)), generator.normal(size=(2, 4)), generator.normal(size=(2, 4))
    with jax.enable_x64(True):
        for season in (1, 3):
            naive = np.abs(h[:, season:] - h[:, :-season]).mean(-1)
            ours = o.mean_absolute_scaled_error(p, t, h, seasonality=season)
            np.testing.assert_allclose(ours, np.abs(p - t).mean(-1) / naive, rtol=1e-13)
        moved = o.mean_absolute_scaled_error(5 * p, 5 * t, 5 * h + 3)
        np.testing.assert_allclose(moved, o.mean_absolute_scaled_error(p, t, h), rtol=1e-12)
        gaps = np.broadcast_to(np.arange(12) != 5, h.shape)
        holed = o.mean_absolute_scaled_error(p, t, np.where(gaps, h, np.nan), history_where=gaps)
        moves = np.delete(np.abs(np.diff(h)), [4, 5], axis=-1).mean(-1)
        np.testing.assert_allclose(holed, np.abs(p - t).mean(-1) / moves, rtol=1e-13)


@pytest.mark.parametrize(("case", "sharpness"), [("sdsc", None), ("sdsc_soft", 3.0)])
def test_sdsc_equals_the_authors_code(case, sharpness):
    wanted = golden(case)
    loss, gradients = loss_and_gradients(o.sdsc_loss, wanted["predictions"], wanted["targets"], sharpness=sharpness)
    np.testing.assert_allclose(loss, wanted["loss"], rtol=1e-12)
    np.testing.assert_allclose(gradients[0], wanted["grad_predictions"], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(gradients[1], wanted["grad_targets"], rtol=1e-11, atol=1e-15)


def test_sdsc_hybrid_equals_the_authors_code():
    wanted = golden("sdsc_hybrid")
    inputs = wanted["predictions"], wanted["targets"], wanted["scales"]
    loss, gradients = loss_and_gradients(o.sdsc_hybrid_loss, *inputs)
    np.testing.assert_allclose(loss, wanted["loss"], rtol=1e-12)
    for gradient, name in zip(gradients, ("predictions", "targets", "scales"), strict=True):
        np.testing.assert_allclose(gradient, wanted[f"grad_{name}"], rtol=1e-11, atol=1e-15)


def test_sdsc_of_equal_opposite_scaled_and_positive_signals():
    x = np.random.default_rng(0).normal(size=9)
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.sdsc_loss(x, x), 0, atol=1e-15)
        np.testing.assert_allclose(o.sdsc_loss(-x, x), 1, atol=1e-6)
        np.testing.assert_allclose(o.sdsc_loss(0.3 * x, x, epsilon=1e-12), 1 - 0.6 / 1.3, rtol=1e-9)
        u, v = np.abs(x), np.random.default_rng(1).random(9)
        np.testing.assert_allclose(o.sdsc_loss(u, v, epsilon=1e-12), braycurtis(u, v), rtol=1e-9)
