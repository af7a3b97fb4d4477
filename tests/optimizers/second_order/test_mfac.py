"""M-FAC: the dense matrix in float64, the authors' trajectories, limits, and the memory's turnover."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers


def fisher(grads, damping):
    return damping * np.eye(grads.shape[1]) + grads.T @ grads / len(grads)


@pytest.mark.parametrize("damping", [1e-6, 0.1, 10.0])
def test_inverse_equals_the_dense_matrix(damping):
    random = np.random.default_rng(0)
    grads, x = random.normal(size=(6, 15)), random.normal(size=15)
    with jax.enable_x64(True):
        matrix = fisher(grads, damping)
        inverse = np.linalg.inv(matrix)
        # Both sides divide by the damping: roundings are magnified by the condition number.
        rtol = 10 * np.finfo(float).eps * np.linalg.cond(matrix)
        found = optimizers.empirical_fisher_ihvp(grads, x, damping=damping)
        np.testing.assert_allclose(found, inverse @ x, atol=rtol * np.max(np.abs(inverse @ x)))
        found = optimizers.empirical_fisher_inverse_diag(grads, damping=damping)
        np.testing.assert_allclose(found, np.diag(inverse), rtol=rtol)


def test_one_gradient_is_sherman_and_morrison():
    with jax.enable_x64(True):
        g, x = np.array([[1.0, 2.0, -1.0]]), np.array([0.5, 1.0, 3.0])
        expected = x / 0.3 - g[0] * (g[0] @ x) / 0.3 / (0.3 + g[0] @ g[0])
        np.testing.assert_allclose(optimizers.empirical_fisher_ihvp(g, x, damping=0.3), expected, rtol=1e-12)
        np.testing.assert_allclose(optimizers.empirical_fisher_ihvp(g, x, damping=1e12) * 1e12, x, rtol=1e-9)
        np.testing.assert_allclose(optimizers.empirical_fisher_ihvp(np.zeros((0, 3)), x, damping=0.5), 2 * x)


def test_memory_holds_the_last_gradients_alone():
    """Before the memory is full the missing gradients are zeros; after three rounds the first ones are forgotten."""
    random = np.random.default_rng(0)
    m, grads = 4, random.normal(size=(12, 7))
    with jax.enable_x64(True):
        tx = optimizers.scale_by_mfac(m, 0.05)
        tree = lambda g: {"a": g[:6].reshape(2, 3), "b": g[6]}
        update, state = jax.jit(tx.update), tx.init(tree(jnp.asarray(grads[0])))
        for t, g in enumerate(grads):
            direction, state = update(tree(jnp.asarray(g)), state)
            memory = np.concatenate([np.zeros((m, 7)), grads[: t + 1]])[-m:]
            expected = np.linalg.solve(fisher(memory, 0.05), g)
            found = np.concatenate([direction["a"].reshape(-1), direction["b"][None]])
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_float32_loses_nothing_to_small_damping():
    """The difference of two large numbers that Woodbury's identity asks for is taken before the numbers are."""
    random = np.random.default_rng(0)
    grads = random.normal(size=(3, 20)).astype(np.float32)
    tx = optimizers.scale_by_mfac(3, 1e-6)
    state = tx.init(jnp.zeros(20))
    for g in grads:
        direction, state = tx.update(jnp.asarray(g), state)
    wide = grads.astype(np.float64)
    np.testing.assert_allclose(direction, np.linalg.solve(fisher(wide, 1e-6), wide[-1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "keywords"), [("mfac", {}), ("mfac_decay", {"momentum": None, "weight_decay": 0.2})])
def test_trajectory_equals_the_authors(name, keywords):
    with (
        np.load(pathlib.Path(__file__).parents[2] / "golden" / "second_order_fitted.npz") as golden,
        jax.enable_x64(True),
    ):
        gradients = [jnp.asarray(golden[f"gradients_{k}"]) for k in range(3)]
        tx = optimizers.mfac(0.01, num_grads=8, damping=0.05, **keywords)

        def step(carry, g):
            params, state = carry
            g = jax.tree.map(lambda g, p: g + 0.1 * p, g, params)
            updates, state = tx.update(g, state, params)
            return (optax.apply_updates(params, updates), state), None

        params = [jnp.ones(g.shape[1:]) for g in gradients]
        params = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), gradients)[0][0])(params)
        for number, found in enumerate(params):
            np.testing.assert_allclose(found, golden[f"{name}_{number}"], rtol=1e-9)
