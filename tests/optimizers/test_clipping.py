"""Clipping by the global norm: one factor, known before anything is written."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import compiled_step, gradients, run, start

from optimizers import adamw, clip_by_global_norm
from optimizers._rounding import round_to_nearest


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e9])
def test_trajectory_equals_optax(max_norm):
    with jax.enable_x64(True):
        (path, _), (expected, _) = (
            run(optax.chain(clip, rule), start(), gradients())
            for clip, rule in (
                (clip_by_global_norm(max_norm), adamw(1e-2)),
                (optax.clip_by_global_norm(max_norm), optax.adamw(1e-2)),
            )
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), path, expected)


def clip(updates, max_norm=1.0):
    tx = clip_by_global_norm(max_norm)
    return tx.update(updates, tx.init(updates), extra="accepted")[0]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_norm_and_direction(dtype):
    random = np.random.default_rng(0)
    tree = {"a": jnp.asarray(300 * random.normal(size=(30, 40)), dtype), "b": jnp.asarray(7.0, dtype), "c": None}
    clipped = clip(tree, 3.0)
    norm = lambda t: np.sqrt(sum(np.sum(np.square(np.asarray(x, np.float64))) for x in jax.tree.leaves(t)))
    assert clipped["a"].dtype == dtype
    assert norm(clipped) == pytest.approx(3.0, rel=float(jnp.finfo(dtype).eps))  # float16 squares would overflow at 300
    exact = np.asarray(tree["a"], np.float64) * (3.0 / norm(tree))
    np.testing.assert_allclose(np.asarray(clipped["a"], np.float64), exact, rtol=float(jnp.finfo(dtype).eps), atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, clip(clipped, 4.0), clipped)  # inside the ball nothing changes


def test_bfloat16_is_rounded_as_a_conversion_rounds():
    """The integer form of the rounding, ties to even, against the conversion, on every kind of number."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(size=5000) * 10.0 ** random.uniform(-30, 30, 5000), [0.0, -0.0, 3e38]])
    x = jnp.asarray(x, jnp.bfloat16)
    scale = np.float32(0.3)
    products = x.astype(jnp.float32) * scale
    ties = jnp.asarray([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, jnp.inf, -jnp.inf], jnp.float32)
    for values in (products, ties):
        found = round_to_nearest(values, jnp.bfloat16)
        np.testing.assert_array_equal(found.view(jnp.uint16), values.astype(jnp.bfloat16).view(jnp.uint16))
    assert jnp.isnan(round_to_nearest(jnp.float32(jnp.nan), jnp.bfloat16))


@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf, jnp.nan, 1e30])
def test_a_gradient_without_a_norm_gives_nan_everywhere(bad):
    clipped = clip({"a": jnp.array([1.0, bad]), "b": jnp.ones(2)})
    assert all(jnp.isnan(x).all() for x in jax.tree.leaves(clipped))
    if not np.isfinite(bad):  # Optax looks at the gradient, not at its norm
        skipped_by_optax(bad)


def skipped_by_optax(bad):
    careful = optax.apply_if_finite(optax.chain(clip_by_global_norm(1.0), adamw(1e-2)), 5)
    updates, _ = careful.update(jnp.array([1.0, bad]), careful.init(jnp.ones(2)), jnp.ones(2))
    np.testing.assert_array_equal(updates, [0.0, 0.0])


@pytest.mark.parametrize(("max_norm", "expected"), [(0.0, 0.0), (np.inf, 2.0), (1.0, 1.0)])
def test_limits(max_norm, expected):
    np.testing.assert_allclose(clip(jnp.array([2.0, 0.0]), max_norm), [expected, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(clip(jnp.zeros(2), max_norm), [0.0, 0.0])
    assert clip({}, max_norm) == {}
    assert clip({"none": None, "empty": jnp.zeros((0, 3))}, max_norm)["empty"].shape == (0, 3)


def test_complex_gradients_keep_their_phase():
    np.testing.assert_allclose(clip(jnp.array([3.0j, -4.0 + 0.0j])), [0.6j, -0.8], rtol=1e-6)


def test_the_norm_may_be_traced_and_injected():
    gradient = jnp.array([3.0, 4.0])
    bounds = np.array([1.0, 2.5, 10.0], np.float32)
    swept = jax.vmap(lambda bound: clip(gradient, bound))(bounds)
    np.testing.assert_allclose(np.linalg.norm(swept, axis=1), [1.0, 2.5, 5.0], rtol=1e-6)
    tx = optax.inject_hyperparams(clip_by_global_norm)(max_norm=optax.linear_schedule(1.0, 2.0, 1))
    state = tx.init(gradient)
    norms = []
    for _ in range(2):
        clipped, state = tx.update(gradient, state, gradient)
        norms.append(float(jnp.linalg.norm(clipped)))
    assert norms == pytest.approx([1.0, 2.0], rel=1e-6)


def test_the_clipped_tree_is_never_written():
    """Optax's clipping holds a copy of the tree; one factor needs the norm's 4 KiB and no more, whatever the size."""
    params = {"w": jnp.ones((512, 512))}
    for tx, copies in (
        (optax.chain(clip_by_global_norm(1.0), adamw(1e-3)), 0),
        (optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)), 1),
    ):
        executable, _ = compiled_step(tx, params)
        assert 0 <= executable.memory_analysis().temp_size_in_bytes - copies * params["w"].nbytes < 5000


def test_a_negative_bound_is_named():
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"^clip_by_global_norm: max_norm must lie in \[0, inf\], got"):
            clip_by_global_norm(bad)
