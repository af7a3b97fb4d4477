"""Tversky, compound, Lovász and boundary losses: closed forms in float64, limits, and SciPy's distance transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled
from scipy.ndimage import distance_transform_edt

import objectives

o = all_compiled(objectives)


RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(3, 4, 5, 3))
IDS = RNG.integers(0, 3, (3, 4, 5))
IDS[0] %= 2  # class 2 is absent from an image
T = np.eye(3)[IDS]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def tversky(a, b, s):
    tp, p, t = (P * T).sum((1, 2)), P.sum((1, 2)), T.sum((1, 2))
    return (tp + s) / (tp + a * (p - tp) + b * (t - tp) + s)


def test_closed_forms():
    with jax.enable_x64(True):
        index = tversky(0.3, 0.7, 1.0)
        np.testing.assert_allclose(o.tversky_loss(LOGITS, IDS), 1 - index.mean(-1), rtol=1e-12)
        np.testing.assert_allclose(o.focal_tversky_loss(LOGITS, IDS), ((1 - index) ** 0.75).mean(-1), rtol=1e-12)
        np.testing.assert_allclose(o.focal_tversky_loss(LOGITS, IDS, gamma=1.0), 1 - index.mean(-1), rtol=1e-12)
        halves = o.tversky_loss(LOGITS, IDS, alpha=0.5, beta=0.5)
        np.testing.assert_allclose(halves, o.dice_loss(LOGITS, IDS), rtol=1e-12)
        np.testing.assert_allclose(o.log_cosh_dice_loss(LOGITS, IDS), np.log(np.cosh(halves)), rtol=1e-12)
        entropy = -(0.3 * T * np.log(P) + 0.7 * (1 - T) * np.log(1 - P)).mean((1, 2, 3))
        got = o.combo_loss(LOGITS, IDS, mixture=0.6, recall_weight=0.3)
        np.testing.assert_allclose(got, 0.6 * entropy + 0.4 * halves, rtol=1e-12)
        np.testing.assert_allclose(o.combo_loss(LOGITS, T, mixture=0.6, recall_weight=0.3), got, rtol=1e-12)


def test_generalised_dice_weighs_by_squared_size():
    tp, p, t = (P * T).sum((0, 1, 2)), P.sum((0, 1, 2)), T.sum((0, 1, 2))
    with jax.enable_x64(True):
        got = o.generalized_dice_loss(LOGITS, IDS, per="dataset", smooth=0.0)
        np.testing.assert_allclose(got, 1 - 2 * (tp / t**2).sum() / ((p + t) / t**2).sum(), rtol=1e-12)


def test_focal_tversky_of_an_exact_prediction_is_finite():
    exact = 1e4 * (2 * T - 1)
    value, gradient = jax.value_and_grad(lambda x: o.focal_tversky_loss(x, IDS).sum())(jnp.asarray(exact, jnp.float32))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_combo_is_right_where_probabilities_round_to_one():
    """log(1 - p) of a class with p = 1 in float32 is minus the gap of the logits, not minus infinity."""
    scores = jnp.array([[[200.0, 0.0, -50.0]]])
    loss, gradient = jax.value_and_grad(lambda x: o.combo_loss(x, jnp.array([[1]]), mixture=1.0).sum())(scores)
    np.testing.assert_allclose(loss, 0.5 * (200 + 200) / 3, rtol=1e-6)
    np.testing.assert_allclose(gradient, 0.5 * np.array([[[2.0, -2.0, 0.0]]]) / 3, atol=1e-6)


def jaccard(errors, members, k):
    """The Jaccard loss of the set of the k largest errors, which are the mistakes."""
    wrong = np.zeros(len(errors), bool)
    wrong[np.argsort(-errors)[:k]] = True
    union = (members | wrong).sum()
    return 1 - (members & ~wrong).sum() / union if union else 0.0


def extension(errors, members):
    steps = np.diff([jaccard(errors, members, k) for k in range(len(errors) + 1)])
    return (np.sort(errors)[::-1] * steps).sum()


def test_lovasz_extension_is_that_of_its_definition():
    kept = RNG.uniform(size=IDS.shape) > 0.3
    with jax.enable_x64(True):
        for where, some in ((None, np.ones_like(kept)), (kept, kept)):
            wanted = []
            for p, t, k in zip(P, T.astype(bool), some):
                classes = [extension(np.abs(t - p)[k][:, c], t[k][:, c]) for c in range(3) if t[k][:, c].any()]
                wanted.append(np.mean(classes))
            got = o.lovasz_softmax_loss(LOGITS, IDS, per="image", where=where)
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
            hinge, foreground = np.maximum(0, 1 - LOGITS[..., 0] * (2 * T[..., 0] - 1)), T[..., 0].astype(bool)
            wanted = [extension(h[k], t[k]) for h, t, k in zip(hinge, foreground, some)]
            got = o.lovasz_hinge_loss(LOGITS[..., 0], IDS == 0, where=where)
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_lovasz_of_a_hard_prediction_is_its_jaccard_loss():
    hard = np.eye(3)[RNG.integers(0, 3, IDS.shape)]
    intersection, union = (hard * T).sum((0, 1, 2)), np.maximum(hard, T).sum((0, 1, 2))
    got = o.lovasz_softmax_loss(hard.astype(np.float32), IDS, apply_softmax=False)
    np.testing.assert_allclose(got, (1 - intersection / union).mean(), rtol=1e-6)


def test_lovasz_refuses_soft_labels():
    with pytest.raises(TypeError, match="lovasz_softmax_loss: labels must be integers or boolean"):
        o.lovasz_softmax_loss(LOGITS.astype(np.float32), T.astype(np.float32))


def authors_map(inside):
    """Kervadec's distances of one class of one image."""
    if not inside.any():
        return np.zeros(inside.shape)
    return distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside


@pytest.mark.parametrize("shape", [(2, 13, 17), (2, 5, 6, 7), (2, 9)])
def test_distances_are_scipys(shape):
    ids = RNG.integers(0, 12, shape) // 5
    ids[0][ids[0] == 2] = 0
    wanted = np.stack([[authors_map(image == c) for c in range(3)] for image in ids])
    np.testing.assert_allclose(o.signed_distance_map(ids, classes=3), np.moveaxis(wanted, 1, -1), rtol=1e-6)


def test_a_class_that_fills_the_image_has_no_contour():
    np.testing.assert_array_equal(o.signed_distance_map(jnp.zeros((1, 3, 3), jnp.int32), classes=2), 0)
    np.testing.assert_array_equal(o.signed_distance_map(jnp.array([[0, 1, 1]]), classes=1)[0, :, 0], [1, 0, -1])


def test_boundary_loss_is_least_for_the_truth():
    maps = o.signed_distance_map(IDS, classes=3)
    with jax.enable_x64(True):
        got = o.boundary_loss(LOGITS, np.asarray(maps, np.float64), ignore_background=True)
        np.testing.assert_allclose(got, (P * maps)[..., 1:].mean((1, 2, 3)), rtol=1e-12)
    truth = o.boundary_loss(T.astype(np.float32), maps, apply_softmax=False)
    for _ in range(20):
        other = RNG.dirichlet(np.ones(3), size=IDS.shape).astype(np.float32)
        assert (o.boundary_loss(other, maps, apply_softmax=False) >= truth).all()
