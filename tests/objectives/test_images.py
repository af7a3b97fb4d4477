"""Losses of images: windows counted by hand, invariances, masks."""

import jax
import numpy as np
from programs import all_compiled

import objectives

o = all_compiled(objectives)


RNG = np.random.default_rng(0)
X, Y = RNG.random((2, 2, 12, 13, 2))


def window_similarity(x, y, weights, c1, c2):
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    return (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def test_structural_similarity_window_by_window():
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    wanted = [
        np.mean(
            [
                window_similarity(x[i : i + 11, j : j + 11, c], y[i : i + 11, j : j + 11, c], weights, 1e-4, 9e-4)
                for i in range(2)
                for j in range(3)
                for c in range(2)
            ]
        )
        for x, y in zip(X, Y)
    ]
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.structural_similarity(X, Y), wanted, rtol=1e-10)
        np.testing.assert_allclose(o.structural_similarity(255 * X, 255 * Y, data_range=255.0), wanted, rtol=1e-10)
        np.testing.assert_allclose(o.structural_similarity(X, X), 1, rtol=1e-12)


def test_photometric_loss_pixel_by_pixel():
    pad = [(0, 0), (1, 1), (1, 1), (0, 0)]
    x, y = np.pad(X, pad, mode="reflect"), np.pad(Y, pad, mode="reflect")
    weights = np.full((3, 3), 1 / 9)
    wanted = np.empty(X.shape[:3])
    for b, i, j in np.ndindex(*wanted.shape):
        at = (b, slice(i, i + 3), slice(j, j + 3))
        similarity = np.array([window_similarity(x[at][..., c], y[at][..., c], weights, 1e-4, 9e-4) for c in range(2)])
        wanted[b, i, j] = (0.425 * (1 - similarity) + 0.15 * np.abs(X - Y)[b, i, j]).mean()
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.photometric_loss(X, Y), wanted, rtol=1e-9)
        np.testing.assert_allclose(o.photometric_loss(X, Y, alpha=0.0), np.abs(X - Y).mean(-1), rtol=1e-12)
        np.testing.assert_allclose(o.photometric_loss(X, X), 0, atol=1e-12)


def test_masked_pixels_are_black_to_their_neighbours():
    kept = RNG.random(X.shape[:3]) > 0.2
    hole = kept[..., None]
    with jax.enable_x64(True):
        got = o.photometric_loss(np.where(hole, X, np.nan), np.where(hole, Y, np.inf), where=kept)
        filled = o.photometric_loss(np.where(hole, X, 0), np.where(hole, Y, 0))
        np.testing.assert_allclose(got, np.where(kept, filled, 0), rtol=1e-12)


def test_smoothness_and_variation():
    d = X[..., 0]
    along = [np.abs(np.diff(d, axis=a)) * np.exp(-np.abs(np.diff(Y, axis=a)).mean(-1)) for a in (1, 2)]
    with jax.enable_x64(True):
        got = o.disparity_smoothness_loss(d, Y)
        np.testing.assert_allclose(got, sum(g.mean((1, 2)) for g in along), rtol=1e-12)
        variation = sum(np.abs(np.diff(X, axis=a)).sum((1, 2, 3)) for a in (1, 2))
        np.testing.assert_allclose(o.total_variation(X), variation, rtol=1e-12)
        numbers = np.sort(RNG.random(9))  # along a monotone line the total variation is the rise
        np.testing.assert_allclose(o.total_variation(numbers[None, :, None]), numbers[-1] - numbers[0], rtol=1e-12)


def test_what_is_flat_or_equal_is_pulled_nowhere():
    flat = np.full((1, 4, 5, 1), 0.5)
    with jax.enable_x64(True):
        for gradient in (
            jax.grad(lambda x: o.total_variation(x).sum())(flat),
            jax.grad(lambda d: o.disparity_smoothness_loss(d, flat).sum())(flat[..., 0]),
            jax.grad(lambda x: o.photometric_loss(x, flat).sum())(flat),
        ):
            np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_silog_counts_only_what_is_measured_and_may_ignore_scale():
    x, y = 0.5 + X[..., 0], 0.5 + Y[..., 0]
    kept = RNG.random(x.shape) > 0.3
    wanted = []
    for a, b, k in zip(x, y, kept):
        d = np.log(a[k]) - np.log(b[k])
        wanted.append((d**2).mean() - 0.85 * d.mean() ** 2)
    with jax.enable_x64(True):
        hidden = np.where(kept, y, 0)  # no depth was measured
        np.testing.assert_allclose(o.silog_loss(x, hidden, variance_focus=0.85, where=kept), wanted, rtol=1e-12)
        free = o.silog_loss(x, y, variance_focus=1.0)
        np.testing.assert_allclose(o.silog_loss(7 * x, y, variance_focus=1.0), free, rtol=1e-12)
        gradient = jax.grad(lambda x: o.silog_loss(x, hidden, where=kept).sum())(x)
        np.testing.assert_array_equal(np.asarray(gradient)[~kept], 0)
    losses = o.silog_loss(np.where(np.arange(2)[:, None, None] == 0, -x, x).astype(np.float32), y)
    np.testing.assert_array_equal(np.isnan(losses), [True, False])
