"""Barlow Twins, InfoNCE, SimSiam: closed forms, invariances, constant features, and a batch split over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads
from programs import all_compiled

import objectives

o = all_compiled(objectives)


RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 3))
HADAMARD = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # decorrelated, mean 0, variance 1


def reference(a, b, weight=5e-3, epsilon=1e-5):
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + epsilon) for z in (a, b))
    correlation = a.T @ b / len(a)
    diagonal = np.eye(*correlation.shape, dtype=bool)
    return correlation, np.where(diagonal, (1 - correlation) ** 2, weight * correlation**2).sum()


def test_closed_form_in_float64():
    with jax.enable_x64(True):
        np.testing.assert_allclose(o.cross_correlation_matrix(A, B[:, :2]), reference(A, B[:, :2])[0], rtol=1e-12)
        np.testing.assert_allclose(
            o.barlow_twins_loss(A, B, redundancy_weight=0.3), reference(A, B, 0.3)[1], rtol=1e-12
        )
        check_grads(jax.jit(lambda a, b: o.barlow_twins_loss(a, b, redundancy_weight=0.3)), (A, B), 2, rtol=1e-6)


def test_decorrelated_views():
    np.testing.assert_allclose(o.barlow_twins_loss(HADAMARD, HADAMARD, epsilon=1e-12), 0, atol=1e-12)
    np.testing.assert_allclose(o.barlow_twins_loss(HADAMARD, -HADAMARD, epsilon=1e-12), 12, rtol=1e-6)


def test_affine_maps_of_the_features_change_nothing():
    with jax.enable_x64(True):
        moved = A * np.array([0.5, 2.0, 30.0]) + np.array([1.0, -5.0, 100.0])
        plain, mapped = o.barlow_twins_loss(A, B, epsilon=1e-14), o.barlow_twins_loss(moved, B, epsilon=1e-14)
        np.testing.assert_allclose(mapped, plain, rtol=1e-10)


@pytest.mark.parametrize("level", [0.0, 1e4, 1.2345e4])
def test_constant_features_correlate_with_nothing(level):
    a, b = (np.float32(np.where(np.arange(3) == 1, level, z)) for z in (A[:7], B[:7]))
    correlation = np.asarray(o.cross_correlation_matrix(a, b))
    np.testing.assert_allclose(correlation[1], 0, atol=1e-6)
    np.testing.assert_allclose(correlation[:, 1], 0, atol=1e-6)
    assert np.isfinite(jax.grad(o.barlow_twins_loss)(a, b)).all()


def test_nothing_and_one_example():
    assert o.barlow_twins_loss(jnp.zeros((0, 3)), jnp.zeros((0, 3))) == 0
    value, gradient = jax.value_and_grad(o.barlow_twins_loss)(jnp.ones((1, 3)), jnp.ones((1, 3)))
    assert value == 3
    np.testing.assert_array_equal(gradient, 0)


def test_where_equals_leaving_the_examples_out():
    kept = np.arange(8) % 3 != 0
    hidden = jnp.where(kept[:, None], A, jnp.nan).astype(jnp.float32)
    value, gradient = jax.value_and_grad(o.barlow_twins_loss)(hidden, B.astype(np.float32), where=kept)
    wanted, wanted_gradient = jax.value_and_grad(o.barlow_twins_loss)(*(jnp.float32(z[kept]) for z in (A, B)))
    np.testing.assert_allclose(value, wanted, rtol=2e-6)
    np.testing.assert_allclose(gradient[kept], wanted_gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(gradient[~kept], 0)


@pytest.mark.parametrize("masked", [False, True])
def test_split_over_devices_value_and_gradient_are_those_of_the_global_batch(masked):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    kept = np.arange(8) != 2 if masked else np.ones(8, bool)
    where = {"where": kept} if masked else {}
    split, whole = P("data"), P()

    def shard_loss(a, b, kept):
        return o.barlow_twins_loss(a, b, axis_name="data", **({"where": kept} if masked else {}))

    with jax.enable_x64(True):
        value, wanted = jax.value_and_grad(lambda a, b: o.barlow_twins_loss(a, b, **where), argnums=(0, 1))(A, B)
        outside = jax.shard_map(shard_loss, mesh=mesh, in_specs=(split,) * 3, out_specs=whole)
        inside = jax.shard_map(
            jax.value_and_grad(shard_loss, argnums=(0, 1)),
            mesh=mesh,
            in_specs=(split,) * 3,
            out_specs=(whole, (split, split)),
        )
        for got in (jax.jit(jax.value_and_grad(outside, argnums=(0, 1)))(A, B, kept), jax.jit(inside)(A, B, kept)):
            np.testing.assert_allclose(got[0], value, rtol=1e-12)
            for mine, theirs in zip(got[1], wanted, strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_errors():
    with pytest.raises(
        ValueError, match=r"barlow_twins_loss: embeddings_b must have shape \[8, D\], got float32\[7, 3\]"
    ):
        o.barlow_twins_loss(jnp.ones((8, 3)), jnp.ones((7, 3)))
    with pytest.raises(ValueError, match=r"barlow_twins_loss: .* equally many features, got \[3, 2\]"):
        o.barlow_twins_loss(jnp.ones((8, 3)), jnp.ones((8, 2)))
    with pytest.raises(ValueError, match=r"cross_correlation_matrix: embeddings_a must have shape \[B, D\]"):
        o.cross_correlation_matrix(jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match=r"barlow_twins_loss: redundancy_weight must lie in \[0, inf\], got -1.0"):
        o.barlow_twins_loss(jnp.ones((8, 3)), jnp.ones((8, 3)), redundancy_weight=-1.0)


def test_info_nce_tells_pairs_from_the_rest_of_the_batch():
    unit = [z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (A, B)]
    scores = unit[0] @ unit[1].T / 0.2
    kept = np.arange(8) % 3 != 0
    with jax.enable_x64(True):
        wanted = np.log(np.exp(scores).sum(1)) - np.diag(scores)
        np.testing.assert_allclose(o.info_nce_loss(A, B, temperature=0.2), wanted, rtol=1e-12)
        hidden = np.where(kept[:, None], A, np.nan)
        got = o.info_nce_loss(hidden, B, temperature=0.2, where=kept)
        np.testing.assert_allclose(got[kept], o.info_nce_loss(A[kept], B[kept], temperature=0.2), rtol=1e-12)
        # candidates that all look alike leave only chance
        np.testing.assert_allclose(o.info_nce_loss(A, np.ones_like(B)), np.log(8), rtol=1e-12)


def test_simsiam_moves_only_the_prediction():
    with jax.enable_x64(True):
        cosine = (A * B).sum(-1) / np.linalg.norm(A, axis=-1) / np.linalg.norm(B, axis=-1)
        np.testing.assert_allclose(o.simsiam_loss(A, B), -cosine, rtol=1e-12)
        towards, held = jax.grad(lambda a, b: o.simsiam_loss(a, b).sum(), argnums=(0, 1))(A, B)
        np.testing.assert_array_equal(held, 0)
        np.testing.assert_allclose((towards * A).sum(-1), 0, atol=1e-14)  # no gain from length
