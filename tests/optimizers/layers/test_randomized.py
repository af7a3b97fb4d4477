"""Randomised dense layers: exactness, unbiasedness, the variance in closed form, and what is saved."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import randomized_dense, randomized_matmul, randomized_matmul_variance

SKETCHES = ("gaussian", "rademacher", "row_sample", "dct")
each_sketch = pytest.mark.parametrize("sketch", SKETCHES)
KEY = jax.random.key(0)


def draw(*shapes, dtype=jnp.float32):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape) + 0.5, dtype) for shape in shapes]


def pullback(function, cotangent, *arguments):
    value, pull = jax.vjp(function, *arguments)
    return value, pull(cotangent.astype(value.dtype))


@each_sketch
@pytest.mark.parametrize("batch", [(8,), (2, 4)])
def test_all_but_the_weights_gradient_is_exact_and_that_is_the_randomised_product(sketch, batch):
    x, w, b, g = draw((*batch, 3), (3, 5), (5,), (*batch, 5))
    layer = lambda x, w, b: randomized_dense(x, w, KEY, b, fraction=0.5, sketch=sketch)
    y, (dx, dw, db) = jax.jit(lambda *a: pullback(layer, *a))(g, x, w, b)
    exact, (ex, ew, eb) = jax.jit(lambda *a: pullback(lambda x, w, b: x @ w + b, *a))(g, x, w, b)
    for ours, plain in ((y, exact), (dx, ex), (db, eb)):
        np.testing.assert_allclose(ours, plain, rtol=2e-6, atol=4e-6)  # sums of a few numbers near 1
    assert np.abs(dw - ew).max() > 0.1
    same_draw = randomized_matmul(x, g, KEY, sketch_size=4, sketch=sketch)  # drawn anew from the key, not under jit
    np.testing.assert_allclose(dw, same_draw, rtol=1e-5, atol=1e-5)


@each_sketch
def test_unbiased_with_the_variance_of_the_closed_form(sketch):
    x, g = draw((7, 2), (7, 3))
    keys = jax.random.split(jax.random.key(1), 20_000)
    draws = jax.jit(jax.vmap(lambda key: randomized_matmul(x, g, key, sketch_size=3, sketch=sketch)))(keys)
    draws, exact = np.asarray(draws, np.float64), np.asarray(x, np.float64).T @ np.asarray(g, np.float64)
    assert np.all(np.abs(draws.mean(axis=0) - exact) < 5 * draws.std(axis=0) / np.sqrt(len(keys)))
    squares = np.sum((draws - exact) ** 2, axis=(1, 2))
    variance = randomized_matmul_variance(x, g, sketch_size=3, sketch=sketch)
    assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(len(keys))


def test_variance_by_enumeration_and_in_numpy():
    with jax.enable_x64(True):
        a, b = draw((5, 2), (5, 3), dtype=jnp.float64)
        a, b = np.asarray(a), np.asarray(b)
        exact = a.T @ b
        variance = lambda sketch, k: randomized_matmul_variance(a, b, sketch_size=k, sketch=sketch)
        error = lambda estimate: np.sum((estimate - exact) ** 2)
        signs = [np.array(s) for s in itertools.product((-1, 1), repeat=5)]
        rademacher = np.mean([error(np.outer(s @ a, s @ b)) for s in signs])
        np.testing.assert_allclose(variance("rademacher", 1), rademacher, rtol=1e-13)
        np.testing.assert_allclose(variance("rademacher", 4), rademacher / 4, rtol=1e-13)
        index = np.arange(5)
        cosines = np.sqrt(2 / 5) * np.cos(np.pi * (2 * index + 1) * index[:, None] / 10)
        cosines[0] /= np.sqrt(2)
        np.testing.assert_allclose(cosines @ cosines.T, np.eye(5), atol=1e-14)
        for sketch, basis in (("row_sample", np.eye(5)), ("dct", cosines)):
            rows_a, rows_b = basis @ a, basis @ b
            samples = [list(s) for s in itertools.combinations(range(5), 2)]
            sampled = np.mean([error(2.5 * rows_a[s].T @ rows_b[s]) for s in samples])
            np.testing.assert_allclose(variance(sketch, 2), sampled, rtol=1e-12)
        norms = np.sum(a**2) * np.sum(b**2) + np.sum(exact**2)  # with a plus
        np.testing.assert_allclose(variance("gaussian", 4), norms / 4, rtol=1e-14)


@pytest.mark.parametrize("sketch", ["row_sample", "dct"])
def test_all_rows_are_exact(sketch):
    x, w, g = draw((8, 3), (3, 5), (8, 5))
    dw = jax.grad(lambda w: jnp.vdot(g, randomized_dense(x, w, KEY, fraction=1.0, sketch=sketch)))(w)
    np.testing.assert_allclose(dw, x.T @ g, rtol=1e-5, atol=1e-5)
    assert randomized_matmul_variance(x, g, sketch_size=8, sketch=sketch) == 0


@each_sketch
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_only_the_sketch_and_the_key_are_saved(sketch, dtype):
    x, w, b = draw((4, 16, 32), (32, 8), (8,), dtype=dtype)
    layer = lambda x, w, b: randomized_dense(x, w, KEY, b, fraction=1 / 8, sketch=sketch)
    saved = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(layer, *a)[1], x, w, b))
    arrays = [leaf for leaf in saved if jnp.issubdtype(leaf.dtype, jnp.floating)]
    keys = [leaf for leaf in saved if not jnp.issubdtype(leaf.dtype, jnp.floating)]
    # The sketch of 8 of 64 rows, in the input's dtype, and the weights, which are there anyway.
    assert sorted(leaf.shape for leaf in arrays if leaf.ndim > 1) == [(8, 32), (32, 8)]
    assert {leaf.dtype for leaf in arrays if leaf.ndim > 1} == {jnp.dtype(dtype)}
    assert sum(leaf.size for leaf in (*arrays, *keys) if leaf.ndim < 2) <= 16


@pytest.mark.parametrize(
    ("rows", "fraction", "kept"), [(8, 0.25, 2), (8, 0.01, 1), (8, 1.0, 8), (1, 0.1, 1), (0, 0.5, 0)]
)
def test_sizes(rows, fraction, kept):
    x, w = draw((rows, 3), (3, 5))
    for sketch in SKETCHES:
        layer = lambda x, w, sketch=sketch: randomized_dense(x, w, KEY, fraction=fraction, sketch=sketch)
        saved = jax.tree.leaves(jax.eval_shape(lambda *a, layer=layer: jax.vjp(layer, *a)[1], x, w))
        assert (kept, 3) in [leaf.shape for leaf in saved]
        if rows < 2:
            _, (dx, dw) = jax.jit(lambda *a, layer=layer: pullback(layer, *a))(jnp.ones((rows, 5)), x, w)
            assert (dx.shape, dw.shape) == ((rows, 3), (3, 5))
            assert np.isfinite(dw).all()
            assert np.isfinite(randomized_matmul_variance(x, x, fraction=fraction, sketch=sketch))


def test_mixed_precision_has_the_dtypes_of_the_plain_layer():
    x, w, b = draw((8, 3), (3, 5), (5,))
    x = x.astype(jnp.bfloat16)
    layer = lambda x, w, b: randomized_dense(x, w, KEY, b, sketch_size=4)
    for function in (layer, lambda x, w, b: x @ w + b):
        y, gradients = pullback(function, jnp.ones((8, 5)), x, w, b)
        assert y.dtype == jnp.float32
        assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32, jnp.float32]


def test_half_precision_is_accumulated_in_float32():
    x, g = draw((64, 3), (64, 5), dtype=jnp.bfloat16)
    product = jax.jit(lambda x, g: randomized_matmul(x, g, KEY, fraction=0.5))
    np.testing.assert_array_equal(product(x, g), product(*(a.astype(jnp.float32) for a in (x, g))).astype(jnp.bfloat16))


def test_not_a_number_shows():
    x, w = draw((8, 3), (3, 5))
    for sketch in ("gaussian", "rademacher", "dct"):
        loss = lambda w, sketch=sketch: randomized_dense(x.at[0, 0].set(jnp.nan), w, KEY, fraction=0.5, sketch=sketch)
        value, (dw,) = pullback(loss, jnp.ones((8, 5)), w)
        assert np.isnan(value).any()
        assert np.isnan(dw).any()


def test_a_traced_fraction_is_refused():
    x, w = draw((8, 3), (3, 5))
    with pytest.raises(TypeError, match="randomized_dense: fraction .* cannot be traced"):
        jax.jit(lambda f: randomized_dense(x, w, KEY, fraction=f))(0.5)
    assert math.isclose(randomized_dense(x, w, KEY, fraction=np.float32(0.5))[0, 0], (x @ w)[0, 0])
