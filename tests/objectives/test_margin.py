"""Margin softmax losses: closed forms in float64, the cosine extremes, sub-centres, probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import shared

import objectives
from objectives import margin_softmax_loss, softmax_cross_entropy

arcface_loss, subcenter_arcface_loss = map(shared, (objectives.arcface_loss, objectives.subcenter_arcface_loss))
RNG = np.random.default_rng(0)
X, W, W3 = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2, 3))
IDS = np.array([0, 1, 2, 3, 0, 2])
SOFT = RNG.dirichlet(np.ones(4), size=6)


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def reference(cosine, ids, margin, scale, easy=False):
    """ArcFace by its angles."""
    target = cosine[np.arange(len(ids)), ids]
    angle = np.arccos(target)
    shifted = np.cos(angle + margin)
    if easy:
        shifted = np.where(target > 0, shifted, target)
    else:
        shifted = np.where(angle + margin <= np.pi, shifted, target - margin * np.sin(margin))
    logits = scale * cosine
    logits[np.arange(len(ids)), ids] = scale * shifted
    return np.log(np.exp(logits).sum(-1)) - scale * shifted


@pytest.mark.parametrize("easy", [False, True])
def test_closed_forms(easy):
    for margin in (0.0, 0.5, 2.0):  # at 2.0 most angles pass pi
        with jax.enable_x64(True):
            got = arcface_loss(X, W, IDS, scale=8.0, margin=margin, easy_margin=easy)
            np.testing.assert_allclose(got, reference(unit(X) @ unit(W).T, IDS, margin, 8.0, easy), rtol=1e-11)
            cosine = np.einsum("bd,ckd->bck", unit(X), unit(W3)).max(-1)
            got = subcenter_arcface_loss(X, W3, IDS, scale=8.0, margin=margin, easy_margin=easy)
            np.testing.assert_allclose(got, reference(cosine, IDS, margin, 8.0, easy), rtol=1e-11)


def test_limits_and_invariances():
    with jax.enable_x64(True):
        plain = softmax_cross_entropy(8.0 * unit(X) @ unit(W).T, IDS)
        np.testing.assert_allclose(arcface_loss(X, W, IDS, scale=8.0, margin=0.0), plain, rtol=1e-12, atol=1e-15)
        wanted = arcface_loss(X, W, IDS)
        np.testing.assert_allclose(subcenter_arcface_loss(X, W[:, None], IDS), wanted, rtol=1e-14)
        np.testing.assert_allclose(arcface_loss(3e4 * X, 1e-4 * W, IDS), wanted, rtol=1e-10)
        sweep = jax.vmap(lambda m: arcface_loss(X, W, IDS, margin=m))(jnp.array([0.0, 0.2, 0.4]))
        assert (np.diff(sweep, axis=0) > 0).all()
        cosface = margin_softmax_loss(X, W, IDS, margin=lambda cosine: cosine - 0.35, scale=8.0)
        shifted = 8.0 * (unit(X) @ unit(W).T - 0.35 * np.eye(4)[IDS])
        np.testing.assert_allclose(cosface, softmax_cross_entropy(shifted, IDS), rtol=1e-12)


def test_probabilities_mean_the_expected_loss():
    with jax.enable_x64(True):
        for run in (
            lambda y: arcface_loss(X, W, y),
            lambda y: subcenter_arcface_loss(X, W3, y),
            lambda y: margin_softmax_loss(X, W, y, margin=lambda cosine: cosine - 0.35),
        ):
            per_class = np.stack([run(np.full(6, c)) for c in range(4)], -1)
            np.testing.assert_allclose(run(SOFT), (SOFT * per_class).sum(-1), rtol=1e-12)
            np.testing.assert_allclose(run(np.eye(4)[IDS]), run(IDS), rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
@pytest.mark.parametrize("soft", [False, True])
def test_cosine_extremes_zero_vectors_and_ties(dtype, soft):
    w = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype)
    x = jnp.array([[5.0, 0, 0], [-5, 0, 0], [0, 0, 0], [1e4, 1e4, 1e4], [0.01, 0.01, 0]], dtype)
    labels = jnp.array([0, 0, 1, 3, 2])
    labels = jax.nn.one_hot(labels, 4) if soft else labels

    @jax.jit
    def run(x, w):
        losses = [lambda x, w, e=e: arcface_loss(x, w, labels, easy_margin=e).sum() for e in (False, True)]
        losses.append(lambda x, w: subcenter_arcface_loss(x, jnp.stack([w, w], 1), labels).sum())
        return [jax.value_and_grad(loss, argnums=(0, 1))(x, w) for loss in losses]

    for loss, gradients in run(x, w):
        assert loss.dtype == jnp.float32
        assert np.isfinite(loss)
        assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)
        np.testing.assert_array_equal(
            np.asarray(gradients[0], np.float32)[2], 0
        )  # a zero vector has no direction to turn


def test_extreme_values():
    w = jnp.eye(2)
    at_centre = arcface_loss(jnp.array([[3.0, 0.0]]), w, jnp.array([0]), scale=4.0, margin=0.5)
    np.testing.assert_allclose(at_centre, np.log1p(np.exp(-4 * np.cos(0.5))), rtol=1e-6)
    opposite = arcface_loss(jnp.array([[-3.0, 0.0]]), w, jnp.array([0]), scale=4.0, margin=0.5)
    np.testing.assert_allclose(opposite, np.log1p(np.exp(4 * (1 + 0.5 * np.sin(0.5)))), rtol=1e-6)
    tiny = arcface_loss(jnp.array([[3.0, 0.0]]), w, jnp.array([0]), margin=0.1)  # below float32's resolution of p
    np.testing.assert_allclose(tiny, np.exp(-64 * np.cos(0.1)), rtol=2e-5)
    for labels in (jnp.array([0]), jnp.ones((1, 1))):
        one = jax.value_and_grad(lambda x, y=labels: arcface_loss(x, w[:1], y).sum())(jnp.array([[0.3, 0.4]]))
        assert one[0] == 0
        np.testing.assert_array_equal(one[1], 0)


def test_a_rival_that_is_nan_makes_the_loss_nan():
    """It was left out of the sum, and a model that had diverged had losses of 0."""
    embeddings, weights = jnp.ones((2, 3)), jnp.eye(3).at[2, 0].set(jnp.nan)
    for labels in (jnp.array([0, 1]), jnp.eye(3)[:2]):
        assert np.isnan(objectives.cosface_loss(embeddings, weights, labels)).all()


def test_errors():
    for call, error, message in [
        (
            lambda: arcface_loss(X, W3, IDS),
            ValueError,
            r"arcface_loss: weights must have shape \[C, D\], got .*\[4, 2, 3\]",
        ),
        (lambda: subcenter_arcface_loss(X, W, IDS), ValueError, r"weights must have shape \[C, K, D\], got .*\[4, 3\]"),
        (lambda: arcface_loss(X, W[:, :2], IDS), ValueError, r"arcface_loss: weights must have shape \[C, 3\] and not"),
        (
            lambda: objectives.arcface_loss(X, W, IDS, margin=4.0),
            ValueError,
            r"margin must lie in \[0, 3.14159\], got 4.0",
        ),
        (lambda: objectives.arcface_loss(X, W, IDS, scale=0.0), ValueError, r"scale must lie in \(0, inf\], got 0.0"),
        (lambda: arcface_loss(X, W, IDS * 1.0), TypeError, r"labels of shape \[6\] must be integer class ids"),
        (
            lambda: margin_softmax_loss(X, W, IDS, margin=0.3),
            TypeError,
            r"margin must be a function of cosines, got float",
        ),
    ]:
        with pytest.raises(error, match=message):
            call()
