"""Box losses: areas counted on a grid, invariances, limits, degenerate and wrong boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import all_compiled

import objectives

o = all_compiled(objectives)


LOSSES = [o.iou_loss, o.giou_loss, o.diou_loss, o.ciou_loss, o.eiou_loss, o.siou_loss]
RNG = np.random.default_rng(0)
CORNERS, SIZES = RNG.integers(0, 6, (2, 20, 2)), RNG.integers(1, 6, (2, 20, 2))
A, B = np.concatenate([CORNERS, CORNERS + SIZES], axis=-1).astype(np.float32)


def cells(box):
    """The unit squares of a box with integer corners."""
    grid = np.zeros((12, 12), bool)
    x1, y1, x2, y2 = box.astype(int)
    grid[x1:x2, y1:y2] = True
    return grid


def test_areas_are_those_counted_on_a_grid():
    for a, b, iou, giou in zip(A, B, o.iou_loss(A, B), o.giou_loss(A, B), strict=True):
        both, either = (cells(a) & cells(b)).sum(), (cells(a) | cells(b)).sum()
        hull = cells(np.concatenate([np.minimum(a, b)[:2], np.maximum(a, b)[2:]])).sum()
        np.testing.assert_allclose(iou, 1 - both / either, rtol=1e-6)
        np.testing.assert_allclose(giou, 1 - both / either + (hull - either) / hull, rtol=1e-6)
    matrix = o.box_iou(A, B)
    assert matrix.shape == (20, 20)
    np.testing.assert_allclose(matrix, [[1 - o.iou_loss(a, b) for b in B] for a in A], rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_invariances(loss):
    plain = loss(A, B)
    np.testing.assert_allclose(loss(3 * A + 7, 3 * B + 7), plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss(B, A), plain, rtol=1e-6)
    swapped = [1, 0, 3, 2]
    np.testing.assert_allclose(loss(A[:, swapped], B[:, swapped]), plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss(A, A), 0, atol=1e-7)


def test_boxes_that_do_not_meet_are_pulled_together_by_all_but_iou():
    box, away = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([3.0, 0.0, 4.0, 1.0])
    np.testing.assert_array_equal(jax.grad(o.iou_loss)(box, away), 0)
    for loss in LOSSES[1:]:
        moved = jax.grad(lambda t, loss=loss: loss(box + t * jnp.array([1.0, 0.0, 1.0, 0.0]), away))(0.0)
        # SIoU's cost of distance levels off: half of 1 - exp(-2 (3/4)²), of which (3 - t) / (4 - t) moves
        assert moved < (-0.05 if loss is not o.siou_loss else -0.03)
    # one shape: complete IoU has nothing to add to distance IoU
    for loss in (o.ciou_loss, o.eiou_loss):
        np.testing.assert_allclose(loss(box, away), o.diou_loss(box, away), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_box_inside_out_is_nan_and_a_point_is_not(loss):
    boxes = jnp.array([[1.0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    values = np.asarray(loss(boxes, jnp.tile(boxes[3], (4, 1))))
    np.testing.assert_array_equal(np.isnan(values), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(loss(jnp.tile(boxes[3], (4, 1)), boxes)), [True, True, False, False])
    gradients = jax.vmap(jax.grad(loss))(jnp.zeros((2, 4)), jnp.stack([jnp.zeros(4), boxes[3]]))
    assert np.isfinite(gradients).all()
    assert np.isnan(o.box_iou(boxes, boxes[3:])[:2]).all()


def test_focal_eiou_weighs_and_its_weight_is_a_constant():
    weights = (1 - o.iou_loss(A, B)) ** 0.5
    np.testing.assert_allclose(o.eiou_loss(A, B, gamma=0.5), weights * o.eiou_loss(A, B), rtol=1e-6)
    focal, plain = (jax.grad(lambda a, g=g: o.eiou_loss(a, B, gamma=g).sum())(jnp.asarray(A)) for g in (0.5, 0.0))
    np.testing.assert_allclose(focal, weights[:, None] * plain, rtol=1e-5, atol=1e-6)


def test_efficient_iou_minds_width_and_height_where_complete_iou_minds_their_ratio():
    small, large = jnp.array([1.0, 1.0, 2.0, 2.0]), jnp.array([0.0, 0.0, 3.0, 3.0])  # one centre and one ratio
    np.testing.assert_allclose(o.ciou_loss(small, large), 1 - 1 / 9, rtol=1e-6)
    np.testing.assert_allclose(o.eiou_loss(small, large), 1 - 1 / 9 + 2 * (2 / 3) ** 2, rtol=1e-6)


@pytest.mark.parametrize("theta", [2.0, 4.0])
def test_siou_is_the_papers_with_its_arcsine(theta):
    a, b = np.float64(A), np.float64(B)
    size, true = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    offset = (b[:, :2] + b[:, 2:] - a[:, :2] - a[:, 2:]) / 2
    length = np.maximum(np.hypot(*offset.T), 1e-300)
    angle = 1 - 2 * np.sin(np.arcsin(np.abs(offset[:, 1]) / length) - np.pi / 4) ** 2
    around = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    distance = np.sum(1 - np.exp(-(2 - angle)[:, None] * (offset / around) ** 2), axis=-1)
    shape = np.sum((1 - np.exp(-np.abs(size - true) / np.maximum(size, true))) ** theta, axis=-1)
    expected = np.float64(o.iou_loss(A, B)) + (distance + shape) / 2
    np.testing.assert_allclose(o.siou_loss(A, B, theta=theta), expected, rtol=2e-6)
