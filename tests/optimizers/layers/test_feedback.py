"""Feedback alignment: BioTorch, TinyDFA, backpropagation as a limit, closed forms, and learning on digits."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from optimizers import (
    alignment_cosine,
    direct_feedback,
    feedback_alignment_dense,
    feedback_matrices,
    product_feedback_dense,
    product_feedback_init,
)


def pullback(function, cotangent, *arguments):
    """The value and the gradients of all arguments."""
    value, pull = jax.vjp(function, *arguments)
    return value, pull(jnp.asarray(cotangent, value.dtype))


def close(actual, expected):
    """To the rounding of sums of a few float32 numbers near 1, whose order is the compiler's."""
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=4e-6)


def dense(x, w, b):
    return x @ w + b


def draw(*shapes, seed=0):
    random = np.random.default_rng(seed)
    return [jnp.asarray(random.normal(size=shape)) for shape in shapes]


def test_feedback_alignment_equals_biotorch(golden):
    case = golden("feedback_alignment")
    with jax.enable_x64(True):
        x, w, feedback, b = (jnp.asarray(a) for a in (case["x"], case["w"].T, case["feedback"], case["b"]))
        y, (dx, dw, dfeedback, db) = pullback(feedback_alignment_dense, case["cotangent"], x, w, feedback, b)
    for ours, theirs in ((y, case["y"]), (dx, case["d_x"]), (dw, case["d_w"].T), (db, case["d_b"])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(dfeedback, 0)


@pytest.mark.parametrize("shared", [True, False])
def test_direct_feedback_equals_tinydfa(shared, golden):
    case = golden("direct_feedback")

    def network(w1, w2, w3):
        h1 = jnp.tanh(case["x"] @ w1)
        h2 = jnp.tanh(jax.lax.stop_gradient(h1) @ w2)
        matrix = case["feedback"] / np.sqrt(5)  # divided by the root of the largest width
        return direct_feedback(jax.lax.stop_gradient(h2) @ w3, (h1, h2), matrix if shared else (matrix, matrix[:, :4]))

    with jax.enable_x64(True):
        weights = [jnp.asarray(case[name]) for name in ("w1", "w2", "w3")]
        _, gradients = pullback(network, case["cotangent"], *weights)
    for gradient, name in zip(gradients, ("w1", "w2", "w3")):
        np.testing.assert_allclose(gradient, case[f"d_{name}"], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3, 4)])
def test_transposed_weights_are_backpropagation_for_batches_of_any_rank(batch):
    x, w, b, cotangent = draw((*batch, 3), (3, 5), (5,), (*batch, 5))
    expected = pullback(dense, cotangent, x, w, b)
    y, (dx, dw, _, db) = pullback(feedback_alignment_dense, cotangent, x, w, w.T, b)
    jax.tree.map(close, (y, (dx, dw, db)), expected)
    fixed = jnp.eye(5)
    y, (dx, dw, _, dlearned, db) = pullback(product_feedback_dense, cotangent, x, w, fixed, w.T, b)
    jax.tree.map(close, (y, (dx, dw, db)), expected)
    close(dlearned, dw.T)  # Kolen and Pollack's rule


def test_a_linear_network_with_the_transposed_weights_is_backpropagation():
    x, w1, w2, cotangent = draw((6, 3), (3, 5), (5, 2), (6, 2))

    def network(w1, w2, feedback):
        hidden = x @ w1
        return direct_feedback(jax.lax.stop_gradient(hidden) @ w2, (hidden,), (feedback,))

    _, (d1, d2, _) = pullback(network, cotangent, w1, w2, w2.T)
    _, (e1, e2) = pullback(lambda w1, w2: x @ w1 @ w2, cotangent, w1, w2)
    close(d1, e1)
    close(d2, e2)
    _, (o1, o2, _) = pullback(network, cotangent, w1, w2, -3 * w2.T)
    np.testing.assert_allclose(o1, -3 * e1, rtol=1e-5, atol=1e-5)
    close(o2, e2)  # the last layer's gradient is exact whatever the matrix


def test_hidden_axes_of_features_count_as_one():
    output, hidden, feedback = draw((4, 2), (4, 3, 5), (2, 15))
    cotangent = jnp.ones((4, 2))
    received = jax.vjp(lambda h: direct_feedback(output, (h,), (feedback,)), hidden)[1](cotangent)[0]
    np.testing.assert_allclose(received, (cotangent @ feedback).reshape(4, 3, 5), rtol=1e-6)


def test_product_feedback_closed_form():
    with jax.enable_x64(True):
        x, w, fixed, learned, b, cotangent = draw((4, 3), (3, 5), (5, 7), (7, 3), (5,), (4, 5))
        y, gradients = pullback(product_feedback_dense, cotangent, x, w, fixed, learned, b)
        back = np.asarray(cotangent @ fixed)
        expected = (back @ learned, x.T @ cotangent, np.zeros((5, 7)), back.T @ x, cotangent.sum(axis=0))
        np.testing.assert_allclose(y, x @ w + b, rtol=1e-13)
        for gradient, exact in zip(gradients, expected):
            np.testing.assert_allclose(gradient, exact, rtol=1e-13, atol=1e-13)


def descend(network, params, steps, rate=0.05, decay=0.1):
    """Gradient descent with weight decay on squares, under one jit; the path of the parameters."""
    x, y = draw((32, 3), (32, 2), seed=1)

    def step(params, _):
        gradients = jax.grad(lambda p: jnp.mean((network(p, x) - y) ** 2))(params)
        params = jax.tree.map(lambda p, g: (1 - rate * decay) * p - rate * g, params, gradients)
        return params, params

    return jax.jit(lambda params: jax.lax.scan(step, params, None, steps)[1])(params)


def test_orthogonal_product_feedback_trains_as_backpropagation():
    with jax.enable_x64(True):
        w1, w2, square = draw((3, 6), (6, 2), (2, 2))
        fixed = jnp.linalg.qr(square)[0]

        def plain(params, x):
            return jnp.tanh(x @ params["w1"]) @ params["w2"]

        def product(params, x):
            return product_feedback_dense(jnp.tanh(x @ params["w1"]), params["w2"], fixed, params["r"])

        expected = descend(plain, {"w1": w1, "w2": w2}, 30)
        got = descend(product, {"w1": w1, "w2": w2, "r": fixed.T @ w2.T}, 30)
        np.testing.assert_allclose(got["w1"], expected["w1"], rtol=1e-12)
        np.testing.assert_allclose(got["r"][-1], fixed.T @ got["w2"][-1].T, rtol=1e-11)
        assert np.abs(expected["w1"][-1] - w1).max() > 0.1


def test_product_feedback_aligns_in_training():
    w1, w2 = draw((3, 6), (6, 2))
    fixed, learned = product_feedback_init(jax.random.key(0), 6, 2, expansion=50)

    def product(params, x):
        return product_feedback_dense(jnp.tanh(x @ params["w1"]), params["w2"], fixed, params["r"])

    path = descend(product, {"w1": w1, "w2": w2, "r": learned}, 1500)
    cosine = jax.vmap(lambda w, r: alignment_cosine(w.T, fixed @ r))(path["w2"], path["r"])
    assert cosine[0] < 0.6
    assert cosine[-1] > 0.95


def products(function, *arguments):
    """The number of products of matrices in the compiled value and gradients."""

    def value_and_gradients(*arguments):
        return pullback(function, jnp.ones((64, 32)), *arguments)

    text = jax.jit(value_and_gradients).lower(*arguments).compile().as_text()
    return len(re.findall(r" dot\(| custom-call\([^\n]*matmul", text))


def test_what_is_not_wanted_is_not_computed():
    x, w, b, feedback, fixed, learned = draw((64, 48), (48, 32), (32,), (32, 48), (32, 96), (96, 48))
    assert products(dense, x, w, b) == 3
    assert products(feedback_alignment_dense, x, w, feedback, b) == 3
    assert products(product_feedback_dense, x, w, fixed, learned, b) == 5


def test_random_matrices_have_their_moments():
    key = jax.random.key(0)
    middle, first = feedback_matrices(key, (64, 400), 50)
    shared = feedback_matrices(key, (64, 400), 50, shared=True)
    fixed, learned = product_feedback_init(key, 100, 20, expansion=30)
    variances = (1 / (3 * 64), 1 / (3 * 400), 1 / (3 * 400), 1 / 600, 2 / (100 + 600))
    for matrix, variance in zip((middle, first, shared, fixed, learned), variances):
        squares = np.square(np.asarray(matrix, np.float64))
        assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(squares.size)
        assert abs(np.mean(matrix)) < 5 * np.sqrt(variance / matrix.size)
        assert np.abs(matrix).max() == pytest.approx(np.sqrt(3 * variance), rel=1e-3)  # uniform
    assert np.abs(fixed @ fixed.T - np.eye(20)).max() < 5 / np.sqrt(600)


def test_alignment_cosine():
    g = {"w": jnp.array([[3.0, 4.0]]), "b": jnp.array([12.0])}
    h = {"w": jnp.array([[4.0, -3.0]]), "b": jnp.array([-1.0])}
    np.testing.assert_allclose(alignment_cosine(g, h), -12 / (13 * np.sqrt(26)), rtol=1e-6)
    np.testing.assert_allclose(alignment_cosine(g, jax.tree.map(lambda x: -7 * x, g)), -1, rtol=1e-6)
    leaves = alignment_cosine(g, h, per_leaf=True)
    np.testing.assert_allclose((leaves["w"], leaves["b"]), (0, -1), atol=1e-7)
    assert alignment_cosine(g, jax.tree.map(jnp.zeros_like, g)) == 0
    assert alignment_cosine({}, {}) == 0
    assert alignment_cosine({"a": None, "b": jnp.ones((0, 3))}, {"a": None, "b": jnp.ones((0, 3))}) == 0
    for extreme in (1e30, 1e-30):  # squares overflow and vanish
        tree = jax.tree.map(lambda x, e=extreme: e * x, g)
        np.testing.assert_allclose(alignment_cosine(tree, h), alignment_cosine(g, h), rtol=1e-5)
    half = jax.tree.map(lambda x: (1000 * x).astype(jnp.float16), g)
    np.testing.assert_allclose(alignment_cosine(half, h), alignment_cosine(g, h), rtol=1e-3)
    for bad in (jnp.nan, jnp.inf):
        assert np.isnan(alignment_cosine({**g, "b": jnp.array([bad])}, h))


def test_direct_feedback_learns_digits_and_aligns():
    images, labels = load_digits(return_X_y=True)
    x, y = jnp.asarray(images / 16.0, jnp.float32), jnp.asarray(labels)
    x, y, test_x, test_y = x[::2], y[::2], x[1::2], y[1::2]
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"w1": (64, 128), "w2": (128, 128), "w3": (128, 10)}
    params = {n: jax.random.normal(k, s) / s[0] ** 0.5 for k, (n, s) in zip(keys, shapes.items())}
    feedback, cut = feedback_matrices(keys[3], (128, 128), 10, shared=True), jax.lax.stop_gradient

    def network(params, x, direct=True):
        between = cut if direct else (lambda h: h)
        h1 = jnp.tanh(x @ params["w1"])
        h2 = jnp.tanh(between(h1) @ params["w2"])
        logits = between(h2) @ params["w3"]
        return direct_feedback(logits, (h1, h2), feedback) if direct else logits

    def loss(params, direct=True):
        logits = network(params, x, direct)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    tx = optax.adam(1e-2)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            gradient = jax.grad(loss)(params)
            updates, state = tx.update(gradient, state)
            cosines = alignment_cosine(gradient, jax.grad(lambda p: loss(p, False))(params), per_leaf=True)
            return (optax.apply_updates(params, updates), state), cosines

        (params, _), cosines = jax.lax.scan(step, (params, tx.init(params)), None, 60)
        return jnp.mean(network(params, test_x).argmax(-1) == test_y), cosines

    accuracy, cosines = train(params)
    assert accuracy > 0.9
    np.testing.assert_allclose(cosines["w3"], 1, rtol=1e-5)
    for layer in ("w1", "w2"):
        assert abs(cosines[layer][0]) < 0.2
        assert cosines[layer][-1] > cosines[layer][0] + 0.2
