"""Metric learning: loops over pairs and triplets in float64, invariances, equal rows, centres, NaN under masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from objectives import (
    center_loss,
    circle_loss,
    contrastive_loss,
    multi_similarity_loss,
    n_pair_loss,
    triplet_loss,
    update_centers,
)

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(9, 3)), np.array([0, 1, 2, 0, 1, 0, 3, 2, 0])
SAME = (LABELS[:, None] == LABELS) & ~np.eye(9, dtype=bool)
OTHER = LABELS[:, None] != LABELS
D = np.linalg.norm(X[:, None] - X, axis=-1)


def mean(values):
    return np.mean(values) if len(values) else 0.0


def hinges(i, mining, d, margin):
    positives, negatives = d[i][SAME[i]], d[i][OTHER[i]]
    if not len(positives):
        return []
    if mining == "all":
        return [max(0, margin + p - n) for p in positives for n in negatives]
    if mining == "hard":
        return [max(0, margin + positives.max() - negatives.min())]
    chosen = [min(negatives[negatives > p], default=negatives.max()) for p in positives]
    return [max(0, margin + p - n) for p, n in zip(positives, chosen)]


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("squared", [False, True])
def test_triplets_are_those_of_a_loop(mining, squared):
    wanted = [mean(hinges(i, mining, D**2 if squared else D, 0.8)) for i in range(9)]
    with jax.enable_x64(True):
        got = triplet_loss(X, LABELS, margin=0.8, mining=mining, squared=squared)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


def test_pairs_are_those_of_a_loop():
    terms = np.where(SAME, D**2 / 2, np.where(OTHER, np.maximum(0, 2 - D) ** 2 / 2, 0))
    with jax.enable_x64(True):
        np.testing.assert_allclose(contrastive_loss(X, LABELS, margin=2.0), terms.sum(1) / 8, rtol=1e-10)
        scores = X @ X[::-1].T
        wanted = np.log(1 + (np.exp(scores - np.diag(scores)[:, None]) * OTHER).sum(1))
        np.testing.assert_allclose(n_pair_loss(X, X[::-1], LABELS), wanted, rtol=1e-12)


@pytest.mark.parametrize("loss", [contrastive_loss, triplet_loss, circle_loss, multi_similarity_loss])
def test_labels_are_names_and_the_order_of_examples_and_a_rotation_do_not_count(loss):
    with jax.enable_x64(True):
        loss = jax.jit(loss)
        plain = loss(X, LABELS)
        rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
        np.testing.assert_allclose(loss(X @ rotation, 100 - 7 * LABELS), plain, rtol=1e-9, atol=1e-12)
        order = RNG.permutation(9)
        np.testing.assert_allclose(loss(X[order], LABELS[order]), plain[order], rtol=1e-9, atol=1e-12)


def test_equal_rows_are_at_distance_zero_in_float32():
    """Not at the root of a rounding error: the loss is the margin to the last digit, far from the origin too."""
    for row in (RNG.normal(size=3), 1e3 + RNG.normal(size=3)):
        x = np.tile(row, (9, 1)).astype(np.float32)
        for mining in ("all", "hard"):
            losses = jax.jit(triplet_loss, static_argnames="mining")(x, LABELS, margin=0.2, mining=mining)
            np.testing.assert_allclose(losses, np.where(SAME.any(1), 0.2, 0), rtol=2e-6)


def test_pairs_of_equal_rows_are_at_distance_zero_in_float32():
    """The margin to the last digit, not 3e-4 more or less, which a rounded squared distance would have for a root."""
    rows = RNG.normal(size=(32, 64)).astype(np.float32)
    losses = jax.jit(triplet_loss)(np.tile(rows, (4, 1)), np.repeat([0, 0, 1, 1], 32) + 2 * np.tile(np.arange(32), 4))
    np.testing.assert_allclose(losses, 0.2, rtol=2e-6)


def test_a_semi_hard_negative_is_farther_than_the_positive():
    x, labels = np.float32([[0], [1], [-1], [3]]), np.array([0, 0, 1, 2])
    assert triplet_loss(x, labels, mining="semi_hard")[0] == 0  # the negative as near as the positive is not it


def test_centers_move_as_in_the_paper():
    centers = RNG.normal(size=(5, 3))
    wanted = centers.copy()
    for c in range(4):
        members = X[c == LABELS]
        wanted[c] -= 0.3 * (centers[c] - members).sum(0) / (1 + len(members))
    with jax.enable_x64(True):
        np.testing.assert_allclose(update_centers(centers, X, LABELS, rate=0.3), wanted, rtol=1e-12)
        np.testing.assert_allclose(
            center_loss(X, centers, LABELS), ((X - centers[LABELS]) ** 2).sum(-1) / 2, rtol=1e-12
        )
        kept = np.arange(9) != 4
        hidden = np.where(kept[:, None], X, np.nan)
        got = update_centers(centers, hidden, LABELS, where=kept)
        np.testing.assert_allclose(got, update_centers(centers, X[kept], LABELS[kept]), rtol=1e-12)
        np.testing.assert_array_equal(update_centers(centers, X, np.full(9, 5)), centers)
        gradient = jax.grad(lambda c: center_loss(X, c, LABELS).sum() + update_centers(c, X, LABELS).sum())(centers)
        np.testing.assert_array_equal(gradient, 0)
    assert update_centers(jnp.zeros((4, 3), jnp.bfloat16), X.astype(np.float32), LABELS).dtype == jnp.bfloat16


def test_centers_of_a_batch_split_over_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x, labels, centers = X[:8].astype(np.float32), LABELS[:8], np.ones((4, 3), np.float32)
    split = jax.shard_map(
        lambda c, x, y: update_centers(c, x, y, axis_name="data"),
        mesh=mesh,
        in_specs=(P(), P("data"), P("data")),
        out_specs=P(),
    )
    np.testing.assert_allclose(jax.jit(split)(centers, x, labels), update_centers(centers, x, labels), rtol=1e-6)


def test_all_triplets_need_no_table_of_triplets():
    """The temporaries of value and gradient are a few [B, B] matrices: with B = 256, a [B, B, B] one is 67 MB."""
    step = jax.jit(jax.grad(lambda x, y: triplet_loss(x, y, mining="all").sum()))
    compiled = step.lower(jnp.zeros((256, 8)), jnp.zeros(256, jnp.int32)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 16 * 256 * 256 * 4


def test_errors():
    with pytest.raises(ValueError, match=r"triplet_loss: labels must have shape \[9\], got int32\[8\]"):
        triplet_loss(X.astype(np.float32), jnp.zeros(8, jnp.int32))
    with pytest.raises(TypeError, match=r"center_loss: labels must be class ids \[9\], got probabilities"):
        center_loss(X.astype(np.float32), jnp.zeros((4, 3)), jnp.zeros((9, 4)))
