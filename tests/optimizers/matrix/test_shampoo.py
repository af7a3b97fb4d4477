"""Shampoo and SOAP: NumPy, golden values of pytorch-optimizer, their limits."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contracts.common import primitives

import optimizers
from optimizers.matrix._factors import inverse_root as root_of_second_moment

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "matrix.npz")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def polar(g):
    u, _, vh = np.linalg.svd(g, full_matrices=False)
    return u @ vh


def updates_of(tx, gradients):
    first = jax.tree.map(lambda g: g[0], gradients)
    return jax.jit(lambda g: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(first), g)[1])(gradients)


def inverse_root(s, order):
    values, vectors = np.linalg.eigh(s)
    return vectors @ np.diag(values ** (-1 / order)) @ vectors.T


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (2, 3, 4)])
def test_first_step_of_shampoo_is_the_polar_factor(shape):
    with jax.enable_x64(True):
        g = normal(*shape)
        tx = optimizers.scale_by_shampoo(eps=1e-24)
        found = tx.update(g, tx.init(g))[0].reshape(-1, shape[-1])
        np.testing.assert_allclose(found, polar(g.reshape(-1, shape[-1])), atol=1e-6)


@pytest.mark.parametrize("b2", [1.0, 0.9])
def test_shampoo_equals_numpy(b2):
    eps, growth = 1e-3, 1.0 if b2 == 1 else 1 - b2
    shapes = {"wide": (3, 5), "tall": (5, 3), "vector": (4,), "long": (5, 9), "scalar": ()}
    with jax.enable_x64(True):
        gradients = {name: normal(6, *shape) for name, shape in shapes.items()}
        found = updates_of(optimizers.scale_by_shampoo(b2, eps, max_dim=5), gradients)
    for name, steps in gradients.items():
        left = right = 0.0
        for t, g in enumerate(steps):
            g2 = g.reshape(-1, g.shape[-1]) if g.ndim > 1 else g.reshape(1, -1)
            left, right = b2 * left + growth * g2 @ g2.T, b2 * right + growth * g2.T @ g2
            whole = 1.0 if b2 == 1 else 1 - b2 ** (t + 1)
            use_left, use_right = name != "vector", name in ("wide", "tall", "vector")
            order = 2 * (use_left + use_right)
            x = inverse_root(left / whole + eps * np.eye(len(left)), order) @ g2 if use_left else g2
            x = x @ inverse_root(right / whole + eps * np.eye(len(right)), order) if use_right else x
            np.testing.assert_allclose(found[name][t].reshape(x.shape), x, rtol=1e-9, atol=1e-10)


def test_roots_are_kept_between_updates():
    with jax.enable_x64(True):
        gradients = normal(4, 3, 4)
        tx = optimizers.scale_by_shampoo(update_every=3)
        state, roots = tx.init(gradients[0]), []
        for g in gradients:
            update, state = tx.update(g, state)
            roots.append(np.asarray(state.left_root))
            np.testing.assert_allclose(update, state.left_root @ g @ state.right_root, rtol=1e-12)
        np.testing.assert_array_equal(roots[1], roots[0])
        np.testing.assert_array_equal(roots[2], roots[0])
        assert not np.array_equal(roots[3], roots[0])


@pytest.mark.parametrize(
    ("grafting", "b2", "eps", "reference"),
    [
        ("sgd", 1.0, 1e-6, optax.identity()),
        ("rms", 1.0, 1e-6, optax.scale_by_rss(0.0, 1e-6)),
        ("rms", 0.9, 0.1, optax.scale_by_adam(b1=0.0, b2=0.9, eps=0.1)),
    ],
)
def test_grafting_takes_the_length_of_another_step(grafting, b2, eps, reference):
    """Leaf by leaf, also where two of equal shape are one stack."""
    gradients = {"w": normal(5, 3, 4), "b": normal(5, 6, seed=1), "other": 3 * normal(5, 3, 4, seed=2)}
    gradients = jax.tree.map(jnp.float32, gradients)
    found = updates_of(optimizers.scale_by_shampoo(b2, eps, grafting=grafting), gradients)
    plain = updates_of(optimizers.scale_by_shampoo(b2, eps), gradients)
    expected = updates_of(reference, gradients)
    for name in gradients:
        for step in range(5):
            a, b, c = (np.ravel(x[name][step]) for x in (found, plain, expected))
            np.testing.assert_allclose(np.linalg.norm(a), np.linalg.norm(c), rtol=1e-4)
            np.testing.assert_allclose(a / np.linalg.norm(a), b / np.linalg.norm(b), rtol=1e-3, atol=1e-5)


def test_a_leaf_without_factors_is_adam_a_step_late():
    with jax.enable_x64(True):
        gradients = {"w": normal(6, 3, 4), "b": normal(6, 5, seed=1)}
        found = updates_of(optimizers.scale_by_soap(0.9, 0.99, max_precondition_dim=2), gradients)
        late = jax.tree.map(lambda g: g[1:], gradients)
        expected = updates_of(optimizers.scale_by_adam(0.9, 0.99), late)
        for name in gradients:
            np.testing.assert_array_equal(found[name][0], 0)
            np.testing.assert_allclose(found[name][1:], expected[name], rtol=1e-12)
        tx = optimizers.scale_by_soap(0.9, 0.99, eps=0.0)  # nothing over nothing is not the first update
        only = updates_of(tx, gradients["b"])
        np.testing.assert_array_equal(only[0], 0)
        np.testing.assert_allclose(
            only[1:], updates_of(optimizers.scale_by_adam(0.9, 0.99, 0.0), late["b"]), rtol=1e-12
        )


def test_second_moments_of_soap_are_averages():
    with jax.enable_x64(True):
        tx, (one, two) = optimizers.scale_by_soap(shampoo_beta=0.7), normal(2, 3, 4)
        state = tx.update(two, tx.update(one, tx.init(one))[1])[1]
        np.testing.assert_allclose(state.left, 0.3 * (0.7 * one @ one.T + two @ two.T), rtol=1e-12)
        np.testing.assert_allclose(state.right, 0.3 * (0.7 * one.T @ one + two.T @ two), rtol=1e-12)


def test_momentum_of_shampoo_is_the_trace_of_optax():
    with jax.enable_x64(True):
        gradients = normal(5, 3, 3)
        for nesterov in (False, True):
            found = updates_of(optimizers.shampoo(0.1, 0.8, nesterov=nesterov), gradients)
            chain = optax.chain(optimizers.scale_by_shampoo(), optax.trace(0.8, nesterov), optax.scale(-0.1))
            np.testing.assert_allclose(found, updates_of(chain, gradients), rtol=1e-12)


def test_eigenvalues_that_rounding_made_negative_are_zeros():
    values = jnp.array([-1e-3, 0.0, 0.24])
    for eps, expected in ((0.01, [10.0, 10.0, 2.0]), (0.0, [0.0, 0.0, 0.24**-0.5])):
        np.testing.assert_allclose(np.diag(root_of_second_moment(jnp.diag(values), 2, eps)), expected, rtol=1e-5)


def test_soap_commutes_with_rotations():
    with jax.enable_x64(True):
        gradients = normal(12, 4, 4)
        left, right = np.linalg.qr(normal(4, 4, seed=1))[0], np.linalg.qr(normal(4, 4, seed=2))[0]
        tx = optimizers.scale_by_soap(precondition_frequency=3)
        rotated = updates_of(tx, left @ gradients @ right)
        np.testing.assert_allclose(rotated, left @ np.asarray(updates_of(tx, gradients)) @ right, atol=1e-9)


GOLDEN_CASES = {
    "shampoo": lambda rate: optimizers.shampoo(rate, momentum=0.0, eps=1e-6),
    "soap": lambda rate: optimizers.soap(rate, eps=1e-15, precondition_frequency=4, max_precondition_dim=5),
    "soap_betas": lambda rate: optimizers.soap(
        rate, eps=1e-15, b1=0.9, b2=0.99, shampoo_beta=0.8, precondition_frequency=4, max_precondition_dim=5
    ),
}


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_trajectories_of_pytorch_optimizer(name):
    """SOAP of matrices whose first gradient makes one basis only: square, or with the longer axis left alone."""
    shapes = ("square", "wide") if name != "shampoo" else ("square", "wide", "tall")
    with jax.enable_x64(True):
        tx = GOLDEN_CASES[name](float(GOLDEN["rate"]))
        start = {shape: jnp.asarray(GOLDEN[f"{shape}_start"].T) for shape in shapes}
        gradients = {shape: jnp.asarray(GOLDEN[f"{shape}_gradients"].mT) for shape in shapes}

        def step(carry, gradient):
            params, state = carry
            gradient = jax.tree.map(lambda g, p: g + 0.1 * p, gradient, params)
            updates, state = tx.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        path = jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(start, gradients)
        for shape in shapes:
            found = np.asarray(path[shape])[GOLDEN["kept_steps"]].mT
            np.testing.assert_allclose(found, GOLDEN[f"{shape}_{name}"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("make", [optimizers.scale_by_shampoo, optimizers.scale_by_soap])
def test_equal_shapes_are_one_decomposition(make):
    params = [jnp.ones((3, 4) if k % 2 else (4, 3)) for k in range(20)]
    tx = make()
    names = list(primitives(jax.make_jaxpr(tx.update)(params, tx.init(params))))
    assert names.count("eigh") == 2
