"""UPGrad and the dual-cone projection: torchjd's golden weights, optimality conditions in float64, and the limits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers.aggregation import dual_cone_projection_weights, upgrad, upgrad_weights

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "aggregation.npz")  # torchjd 0.18.0, quadprog
CASES = sorted({name.split("/")[0] for name in GOLDEN.files if "/" in name})


def regularized(gramian, reg_eps=1e-4):
    return gramian / np.trace(gramian) + reg_eps * np.eye(len(gramian))


def optimality_error(matrix, u, w):
    """The largest violation of w >= u, A w >= 0, (w - u) (A w) = 0, for each row, in the variables of unit diagonal."""
    root = np.sqrt(np.diag(matrix))
    slack, slope = (w - u) * root, w @ matrix / root
    return np.abs(np.minimum(slack, slope)).max() / np.abs(u * root).max()


# One compilation a shape and dtype for the file; the default preference is 1/T.
weights_of = jax.jit(upgrad_weights)
preferring = jax.jit(lambda gramian, preference, **eps: upgrad_weights(gramian, preference=preference, **eps))
project = jax.jit(lambda gramian, u, reg_eps: dual_cone_projection_weights(gramian, u, reg_eps=reg_eps))


def aggregate(gradients, **keywords):
    transformation = upgrad(**keywords)
    return jax.jit(transformation.update)(jnp.asarray(gradients, jnp.float32), transformation.init(None))[0]


def test_weights_equal_torchjd_in_float64():
    with jax.enable_x64(True):
        for case in CASES:
            gradients = GOLDEN[f"{case}/jacobian"]
            gramian = jnp.asarray(gradients @ gradients.T)
            weights = np.asarray(preferring(gramian, jnp.full(len(gradients), 1 / len(gradients))))
            expected = GOLDEN[f"{case}/upgrad_weights"]
            # quadprog's own rounding is that of a condition number of 1e4.
            np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-11 * expected.max(), err_msg=case)
            np.testing.assert_allclose(
                weights @ gradients, GOLDEN[f"{case}/upgrad"], atol=1e-10 * np.abs(gradients).max()
            )
            expected = GOLDEN[f"{case}/upgrad_preferring"]
            weights = preferring(gramian, jnp.linspace(1.0, 2.0, len(gradients)))
            np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-11 * expected.max(), err_msg=case)


def test_float32_weights_and_aggregate_have_the_stated_accuracy():
    for case in CASES:
        gradients = GOLDEN[f"{case}/jacobian"]
        weights = np.asarray(weights_of(jnp.asarray(gradients @ gradients.T, jnp.float32)), np.float64)
        expected = GOLDEN[f"{case}/upgrad_weights"]
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-3 * expected.max(), err_msg=case)
        scale = np.linalg.norm(gradients)
        np.testing.assert_allclose(weights @ gradients, expected @ gradients, atol=1e-5 * scale, err_msg=case)


def test_example_of_torchjd():
    np.testing.assert_allclose(aggregate([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]]), [0.2929, 1.9004, 1.9004], atol=5e-5)


def test_two_tasks_by_hand():
    """(1, 0) is projected to (0.5, 0.5) and (-1, 1) to (0, 1); their mean."""
    np.testing.assert_allclose(aggregate([[1.0, 0.0], [-1.0, 1.0]], reg_eps=0.0), [0.25, 0.75], rtol=3e-6)


# Gradients on which exchanging all violated constraints at once goes round in circles for ever.
CYCLING = np.array([[2, -1, -2, 2, 0], [-3, 1, -3, -3, 2], [3, 1, 1, 3, 1], [-3, 0, -2, -3, 1.0]])


@pytest.mark.parametrize("kind", ["cycling", "low_rank", "square", "wide", "scaled", "opposite_pairs"])
def test_projection_satisfies_the_optimality_conditions(kind):
    random = np.random.default_rng(3)
    gradients = {
        "cycling": CYCLING,
        "low_rank": random.standard_normal((64, 8)),
        "square": random.standard_normal((64, 64)),
        "wide": random.standard_normal((64, 500)) - 0.2,
        "scaled": random.standard_normal((64, 40)) * 10.0 ** random.uniform(-4, 4, (64, 1)),
        "opposite_pairs": np.repeat(random.standard_normal((32, 40)), 2, axis=0) * np.tile([1.0, -1.0], 32)[:, None],
    }[kind]
    gramian, u = gradients @ gradients.T, np.eye(len(gradients))
    u[1, 0] = 0.5
    with jax.enable_x64(True):
        wide = np.asarray(project(jnp.asarray(gramian), jnp.asarray(u), 1e-6))
    assert (wide >= u).all()
    assert optimality_error(regularized(gramian, 1e-6), u, wide) < 1e-9
    narrow = project(jnp.asarray(gramian, jnp.float32), jnp.asarray(u, jnp.float32), 1e-4)
    assert narrow.dtype == jnp.float32
    assert optimality_error(regularized(gramian), u, np.asarray(narrow, np.float64)) < 1e-4


def test_projection_of_negative_and_zero_weights():
    """-g_1 alone projects onto 0 where its only task is g_1; u = 0 stays 0."""
    np.testing.assert_allclose(dual_cone_projection_weights(jnp.array([[4.0]]), jnp.array([-3.0])), [0.0], atol=1e-6)
    np.testing.assert_array_equal(dual_cone_projection_weights(jnp.eye(3), jnp.zeros((2, 3))), np.zeros((2, 3)))


def test_preference_weighs_the_projections():
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]])
    gramian = jnp.asarray(gradients @ gradients.T, jnp.float32)
    for preference in (np.array([3.0, 0.5], np.float32), jnp.array([3.0, 0.5])):
        weights = upgrad_weights(gramian, preference=preference, reg_eps=0.0)
        np.testing.assert_allclose(
            weights @ gradients, 3.0 * np.array([0.5, 0.5]) + 0.5 * np.array([0.0, 1.0]), rtol=1e-5
        )
    np.testing.assert_allclose(aggregate(gradients, preference=[3.0, 0.5]), [1.5, 2.0], atol=1e-3)


def test_norm_eps_leaves_small_gradients_alone():
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]], np.float32) * 1e-3  # trace 3e-6
    np.testing.assert_allclose(aggregate(gradients), [0.0, 5e-4], atol=1e-9)
    projected = aggregate(gradients, norm_eps=1e-6, reg_eps=0.0)
    np.testing.assert_allclose(projected, [2.5e-4, 7.5e-4], rtol=1e-4)


def test_dependent_gradients_without_regularization():
    gradients = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    np.testing.assert_allclose(aggregate(gradients, norm_eps=0.0, reg_eps=0.0), [0.0, 0.0], atol=1e-5)
    np.testing.assert_array_equal(aggregate(np.zeros((3, 2)), norm_eps=0.0, reg_eps=0.0), [0.0, 0.0])


def test_hyperparameters_may_be_traced():
    gramian = jnp.array([[1.0, -1.0], [-1.0, 2.0]])
    reg_eps = jnp.array([1e-4, 1e-2, 1.0])
    sweep = jax.jit(jax.vmap(lambda r: upgrad_weights(gramian, reg_eps=r)))(reg_eps)
    for weights, value in zip(sweep, reg_eps.tolist(), strict=True):
        # e_1: v = (1, s), s = -q/A_22; e_2: v = (s, 1), s = -q/A_11 with A = G/3 + reg_eps
        expected = 0.5 * np.array([1 + (1 / 3) / (1 / 3 + value), 1 + (1 / 3) / (2 / 3 + value)])
        np.testing.assert_allclose(weights, expected, rtol=1e-5)
    transformation = optax.inject_hyperparams(upgrad)(norm_eps=1e-4, reg_eps=1e-4)
    gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
    updates, _ = jax.jit(transformation.update)(gradients, transformation.init(gradients[0]))
    np.testing.assert_allclose(updates, [0.25, 0.75], atol=2e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_of_a_bad_gramian_are_nan(bad):
    gramian = np.eye(3, dtype=np.float32)
    gramian[0, 2] = gramian[2, 0] = gramian[2, 2] = bad
    assert np.isnan(weights_of(gramian)).any()
    assert np.isnan(weights_of(np.full((3, 3), bad, np.float32))).all()


def test_errors_name_function_and_argument():
    with pytest.raises(ValueError, match=r"^upgrad: reg_eps must lie in \[0, inf\]"):
        upgrad(reg_eps=-1.0)
    with pytest.raises(ValueError, match=r"^upgrad: norm_eps must lie in"):
        upgrad(norm_eps=-1.0)
    with pytest.raises(ValueError, match=r"^dual_cone_projection_weights: reg_eps must lie in"):
        dual_cone_projection_weights(jnp.eye(2), jnp.ones(2), reg_eps=-1.0)
    with pytest.raises(ValueError, match=r"^dual_cone_projection_weights: u must have shape \[..., 2\], got \(3,\)"):
        dual_cone_projection_weights(jnp.eye(2), jnp.ones(3))
    with pytest.raises(ValueError, match=r"^dual_cone_projection_weights: gramian must have shape \[T, T\]"):
        dual_cone_projection_weights(jnp.ones((2, 3)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"^upgrad_weights: preference must have one entry per task, expected \(2,\)"):
        upgrad(preference=[1.0, 2.0, 3.0]).update(jnp.ones((2, 4)), optax.EmptyState())
