"""MSAC scores and expected losses of hypotheses: the authors' code, closed forms, limits, gradients in NumPy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from objectives import expected_hypothesis_loss, msac_score

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "layers.npz"


def test_score_equals_the_authors():
    with np.load(GOLDEN) as file, jax.enable_x64(True):
        squared, threshold, scores = (file[f"msac/{name}"] for name in ("squared_residuals", "threshold", "scores"))
        np.testing.assert_allclose(msac_score(squared, threshold), scores, rtol=1e-12)


def test_score_closed_form_and_gradient():
    r = np.array([0.0, 0.5, -0.9, 1.0, 3.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(msac_score(r**2, 1.0), 1 + 0.75 + 0.19, rtol=1e-14)
        np.testing.assert_allclose(msac_score(r**2, 2.0), 4 - (0.25 + 0.81 + 1.0) / 4, rtol=1e-14)
        slopes = jax.grad(lambda s: msac_score(s, 2.0))(jnp.asarray(r**2))
        np.testing.assert_allclose(slopes, [-0.25, -0.25, -0.25, -0.25, 0], rtol=1e-14)
    assert msac_score(jnp.zeros((2, 7)), 0.1).tolist() == [7, 7]
    assert np.isnan(msac_score(jnp.array([jnp.nan, 0.0]), 1.0))


def test_score_counts_inliers_at_a_wide_margin():
    squared = jnp.array([1e-12] * 4 + [1e6] * 3)
    assert msac_score(squared, 1.0) == 4


def test_expected_loss_closed_form_and_gradients():
    random = np.random.default_rng(0)
    scores, losses, temperature = random.normal(size=6), random.normal(size=6), 0.4
    p = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    with jax.enable_x64(True):
        call = lambda s, v: expected_hypothesis_loss(s, v, temperature=temperature)
        value, slopes = jax.value_and_grad(call, (0, 1))(jnp.asarray(scores), jnp.asarray(losses))
    np.testing.assert_allclose(value, p @ losses, rtol=1e-13)
    np.testing.assert_allclose(slopes[0], p * (losses - p @ losses) / temperature, rtol=1e-12)
    np.testing.assert_allclose(slopes[1], p, rtol=1e-13)


def test_expected_loss_limits():
    scores, losses = jnp.array([1.0, 3.0, 2.0]), jnp.array([5.0, 7.0, 9.0])
    np.testing.assert_allclose(expected_hypothesis_loss(scores, losses, temperature=1e9), 7.0, rtol=1e-6)
    np.testing.assert_allclose(expected_hypothesis_loss(scores, losses, temperature=1e-3), 7.0, rtol=1e-6)
    np.testing.assert_allclose(expected_hypothesis_loss(scores[::2], losses[::2], temperature=1e-3), 9.0, rtol=1e-6)
    shifted = expected_hypothesis_loss(scores + 100, losses + 1)
    np.testing.assert_allclose(shifted, expected_hypothesis_loss(scores, losses) + 1, rtol=1e-6)
