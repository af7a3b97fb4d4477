"""Curvature products against dense matrices, and estimates against their moments in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    gauss_newton_bartlett_diagonal,
    gauss_newton_vector_product,
    hessian_vector_product,
    hutchinson_diagonal,
    hutchinson_trace,
    rademacher_like,
)
from optimizers.curvature import linear
from optimizers.second_order._spectral import dense

RANDOM = np.random.default_rng(0)
INPUTS, LABELS = RANDOM.normal(size=(6, 3)), RANDOM.integers(0, 4, 6)
PARAMS = {"hidden": RANDOM.normal(size=(3, 2)), "out": RANDOM.normal(size=(2, 4))}
MATRIX = RANDOM.normal(size=(5, 5))
MATRIX = MATRIX + MATRIX.T


def logits(params):
    return jnp.tanh(INPUTS @ params["hidden"]) @ params["out"]


def loss_of_logits(z):
    return optax.softmax_cross_entropy_with_integer_labels(z, LABELS).mean()


def loss_fn(params):
    return loss_of_logits(logits(params))


def flat(tree):
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


def matrix_of(product, params):
    """The matrix of a linear function of trees, column by column in NumPy."""
    leaves, treedef = jax.tree.flatten(params)
    sizes = np.cumsum([x.size for x in leaves])
    columns = []
    for unit in np.eye(sizes[-1]):
        pieces = [u.reshape(x.shape) for u, x in zip(np.split(unit, sizes[:-1]), leaves)]
        columns.append(flat(product(jax.tree.unflatten(treedef, [jnp.asarray(piece) for piece in pieces]))))
    return np.stack(columns, axis=1)


def test_hessian_product_is_that_of_the_dense_hessian():
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        blocks = jax.hessian(loss_fn)(params)
        expected = np.block(
            [[np.reshape(blocks[a][b], (PARAMS[a].size, PARAMS[b].size)) for b in PARAMS] for a in PARAMS]
        )
        product = jax.jit(lambda v: hessian_vector_product(jax.grad(loss_fn), params, v))
        np.testing.assert_allclose(matrix_of(product, params), expected, rtol=1e-12, atol=1e-14)
        once = linear(lambda v: hessian_vector_product(jax.grad(loss_fn), params, v), params)
        np.testing.assert_allclose(dense(once, params)[0], expected, rtol=1e-12, atol=1e-14)


def softmax_hessian():
    """J' (diag(p) - p p') J / B, from the Jacobian and the probabilities."""
    jacobian = jax.jacobian(logits)(PARAMS)
    rows = np.concatenate([np.reshape(jacobian[name], (6, 4, -1)) for name in PARAMS], axis=2)
    p = np.asarray(jax.nn.softmax(logits(PARAMS)))
    return sum(j.T @ (np.diag(q) - np.outer(q, q)) @ j for j, q in zip(rows, p)) / len(p)


def test_gauss_newton_product_is_that_of_the_jacobian():
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        product = jax.jit(lambda v: gauss_newton_vector_product(logits, loss_of_logits, params, v))
        np.testing.assert_allclose(matrix_of(product, params), softmax_hessian(), rtol=1e-12, atol=1e-14)


def test_bartlett_diagonal_is_the_gauss_newton_diagonal_on_average():
    """Each entry within five standard errors of 4,000 estimates."""

    def sampled_losses(z, key):
        return optax.softmax_cross_entropy_with_integer_labels(z, jax.random.categorical(key, z))

    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, PARAMS)
        keys = jax.random.split(jax.random.key(0), 4000)
        estimate = jax.vmap(lambda key: gauss_newton_bartlett_diagonal(logits, sampled_losses, params, key))
        estimates = np.concatenate(
            [np.reshape(x, (4000, -1)) for x in jax.tree.leaves(jax.jit(estimate)(keys))], axis=1
        )
        expected = np.diag(softmax_hessian())
        assert np.all(estimates >= 0)
        error = np.std(estimates, axis=0) / np.sqrt(4000)
        assert np.all(np.abs(estimates.mean(axis=0) - expected) < 5 * error)
        assert np.all(error < 0.1 * expected)  # the test above can tell


@pytest.mark.parametrize(("distribution", "own"), [("rademacher", 0.0), ("normal", 2.0)])
def test_hutchinson_has_its_mean_and_variance(distribution, own):
    """Variance of entry i: the squares of the rest of row i, and twice its own for normal probes; over the samples."""
    with jax.enable_x64(True):
        matrix, count, samples = jnp.asarray(MATRIX), 20_000, 2
        settings = {"samples": samples, "distribution": distribution}

        def both(key):
            vector = jnp.zeros(5)
            return (
                hutchinson_diagonal(lambda v: matrix @ v, vector, key, **settings),
                hutchinson_trace(lambda v: matrix @ v, vector, key, **settings),
            )

        diagonals, traces = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(1), count))
        squares = MATRIX**2
        rest = squares.sum(axis=1) - np.diag(squares)
        variance = (rest + own * np.diag(squares)) / samples
        np.testing.assert_array_less(np.abs(diagonals.mean(0) - np.diag(MATRIX)), 5 * np.sqrt(variance / count))
        np.testing.assert_allclose(diagonals.var(0), variance, rtol=0.1)  # of 20,000 draws
        of_trace = (2 * rest.sum() + own * np.diag(squares).sum()) / samples
        assert abs(traces.mean() - np.trace(MATRIX)) < 5 * np.sqrt(of_trace / count)
        np.testing.assert_allclose(traces.var(), of_trace, rtol=0.1)


def test_hutchinson_is_exact_for_a_diagonal_matrix():
    diagonal = {"a": np.float32([[1.0, -2.0]]), "b": np.float32(3.0)}
    params = jax.tree.map(jnp.zeros_like, diagonal)

    def product(v):
        return jax.tree.map(lambda d, x: d * x, diagonal, v)

    for key in range(3):
        found = hutchinson_diagonal(product, params, key, samples=2)
        jax.tree.map(np.testing.assert_array_equal, found, diagonal)
        np.testing.assert_allclose(hutchinson_trace(product, params, key), 2.0)


def test_random_signs_are_signs_in_the_dtypes_of_the_tree():
    tree = {"half": jnp.zeros((200, 5), jnp.bfloat16), "single": jnp.zeros(1000)}
    signs = rademacher_like(jax.random.key(0), tree)
    for leaf, like in zip(jax.tree.leaves(signs), jax.tree.leaves(tree)):
        assert (leaf.shape, leaf.dtype) == (like.shape, like.dtype)
        assert np.all(np.abs(np.float32(leaf)) == 1)
        assert abs(np.float32(leaf).mean()) < 5 / np.sqrt(1000)
    assert abs(np.mean(np.float32(signs["half"]).ravel() * np.float32(signs["single"]))) < 5 / np.sqrt(1000)


def test_a_linear_product_evaluates_the_model_once():
    """No exponential is left inside the loop over vectors."""

    def three(params, vectors):
        product = linear(lambda v: hessian_vector_product(jax.grad(lambda x: jnp.exp(x).sum()), params, v), params)
        return jax.lax.map(product, vectors)

    jaxpr = jax.make_jaxpr(three)(jnp.zeros(2), jnp.ones((3, 2)))
    (loop,) = [e for e in jaxpr.eqns if e.primitive.name == "scan"]
    assert "exp" not in str(loop.params["jaxpr"])
