"""Box losses: areas counted on a grid, invariances, limits, degenerate and wrong boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import box_iou, ciou_loss, diou_loss, giou_loss, iou_loss

LOSSES = [iou_loss, giou_loss, diou_loss, ciou_loss]
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
    for a, b, iou, giou in zip(A, B, iou_loss(A, B), giou_loss(A, B), strict=True):
        both, either = (cells(a) & cells(b)).sum(), (cells(a) | cells(b)).sum()
        hull = cells(np.concatenate([np.minimum(a, b)[:2], np.maximum(a, b)[2:]])).sum()
        np.testing.assert_allclose(iou, 1 - both / either, rtol=1e-6)
        np.testing.assert_allclose(giou, 1 - both / either + (hull - either) / hull, rtol=1e-6)
    matrix = box_iou(A, B)
    assert matrix.shape == (20, 20)
    np.testing.assert_allclose(matrix, [[1 - iou_loss(a, b) for b in B] for a in A], rtol=1e-6)


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
    np.testing.assert_array_equal(jax.grad(iou_loss)(box, away), 0)
    for loss in (giou_loss, diou_loss, ciou_loss):
        moved = jax.grad(lambda t, loss=loss: loss(box + t * jnp.array([1.0, 0.0, 1.0, 0.0]), away))(0.0)
        assert moved < -0.05
    # one shape: complete IoU has nothing to add to distance IoU
    np.testing.assert_allclose(ciou_loss(box, away), diou_loss(box, away), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_box_inside_out_is_nan_and_a_point_is_not(loss):
    boxes = jnp.array([[1.0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    values = np.asarray(loss(boxes, jnp.tile(boxes[3], (4, 1))))
    np.testing.assert_array_equal(np.isnan(values), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(loss(jnp.tile(boxes[3], (4, 1)), boxes)), [True, True, False, False])
    gradients = jax.vmap(jax.grad(loss))(jnp.zeros((2, 4)), jnp.stack([jnp.zeros(4), boxes[3]]))
    assert np.isfinite(gradients).all()
    assert np.isnan(box_iou(boxes, boxes[3:])[:2]).all()
