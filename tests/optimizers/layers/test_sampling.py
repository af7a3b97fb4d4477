"""Hard samples with soft gradients: the authors' sampler, exact distributions, soft gradients in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from objectives import expected_hypothesis_loss, msac_score
from optimizers import gumbel_subsample_mask, gumbel_topk, subsample_entropy_penalty

KEY = jax.random.key(0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def soft_gradient(scores, cotangent, tau):
    """The pullback of softmax(scores / tau) in NumPy."""
    p = softmax(scores / tau)
    return p * (cotangent - np.sum(p * cotangent, axis=-1, keepdims=True)) / tau


def frequencies_match(hits, probabilities):
    """Whether the mean of 0s and 1s over the first axis is within 5 of its standard errors."""
    error = np.sqrt(probabilities * (1 - probabilities) / len(hits))
    return np.all(np.abs(np.asarray(hits, np.float64).mean(axis=0) - probabilities) <= 5 * error + 1e-12)


@pytest.fixture
def with_noise(monkeypatch):
    """Replace the Gumbel noise by given numbers."""
    return lambda noise: monkeypatch.setattr(jax.random, "gumbel", lambda key, shape, dtype: jnp.asarray(noise, dtype))


def test_topk_equals_the_authors(golden, with_noise):
    case = golden("sampler")
    with jax.enable_x64(True):
        with_noise(case["noise"])
        draw = lambda logits: gumbel_topk(KEY, jnp.broadcast_to(logits, (3, 9)), 4, tau=0.7)
        mask, pull = jax.vjp(draw, jnp.asarray(case["logits"]))
        np.testing.assert_array_equal(mask, case["mask"])
        np.testing.assert_allclose(pull(jnp.asarray(case["cotangent"]))[0], case["d_logits"], rtol=1e-12, atol=1e-15)


def test_topk_draws_from_its_distribution():
    logits = jnp.array([0.3, -0.5, 1.2, 0.0])
    p = softmax(np.asarray(logits, np.float64))
    keys = jax.random.split(jax.random.key(1), 20_000)
    draw = jax.jit(jax.vmap(lambda key: (gumbel_topk(key, logits, 1), gumbel_topk(key, logits, 2))))
    one, two = draw(keys)
    assert frequencies_match(one, p)
    pairs = p[:, None] * p / (1 - p[:, None])  # without replacement, in order
    np.fill_diagonal(pairs, 0)
    assert frequencies_match(two, pairs.sum(axis=0) + pairs.sum(axis=1))
    np.testing.assert_array_equal(two.sum(axis=-1), 2)


def test_topk_edges():
    logits = jnp.array([[0.0, 1.0, -jnp.inf], [5.0, -5.0, 0.0]])
    mask, pull = jax.vjp(lambda x: gumbel_topk(KEY, x, 2), logits)
    np.testing.assert_array_equal(mask[0], [1, 1, 0])
    gradient = pull(jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))[0]
    assert np.isfinite(gradient).all()
    assert gradient[0, 2] == 0
    np.testing.assert_array_equal(gumbel_topk(KEY, logits[1], 3), 1)
    np.testing.assert_array_equal(np.isnan(gumbel_topk(KEY, logits, 3)), [[True] * 3, [False] * 3])  # only 2 to select
    np.testing.assert_array_equal(np.isnan(gumbel_topk(KEY, logits.at[1, 0].set(jnp.nan), 1))[:, 0], [False, True])
    ties = gumbel_topk(KEY, jnp.full(4, 1e9), 2)  # the noise is lost in the rounding
    assert ties.sum() == 2


def test_subsample_without_replacement_draws_from_its_distribution():
    logits = np.array([[0.3, -0.5, 1.2, 0.0], [0.5, 0.5, -1.0, 0.2]])
    p = softmax(logits)
    keys = jax.random.split(jax.random.key(2), 20_000)
    draw = lambda exclude: jax.jit(
        jax.vmap(lambda key: gumbel_subsample_mask(key, jnp.asarray(logits, jnp.float32), exclude=exclude))
    )
    masks = np.asarray(draw(True)(keys))
    np.testing.assert_array_equal(np.unique(masks), [0, 1])
    np.testing.assert_array_equal(masks.sum(axis=-1), 1)
    assert masks.sum(axis=1).max() == 1  # no entry twice
    pairs = p[0][:, None] * p[1] / (1 - p[1][:, None])
    np.fill_diagonal(pairs, 0)
    assert frequencies_match(masks[:, 0, :, None] * masks[:, 1, None, :], pairs)
    masks = np.asarray(draw(False)(keys))
    assert frequencies_match(masks[:, 0, :, None] * masks[:, 1, None, :], p[0][:, None] * p[1])


def test_subsample_gradient_is_that_of_the_soft_version(with_noise):
    random = np.random.default_rng(0)
    logits, noise, cotangent = (
        random.normal(size=(2, 3, 5)),
        random.gumbel(size=(2, 3, 5)),
        random.normal(size=(2, 3, 5)),
    )
    with jax.enable_x64(True):
        with_noise(noise)
        mask, pull = jax.vjp(lambda x: gumbel_subsample_mask(KEY, x, tau=0.6), jnp.asarray(logits))
        got = pull(jnp.asarray(cotangent))[0]
    for each in range(2):
        taken = np.zeros(5, bool)
        for row in range(3):
            scores = np.where(taken, -np.inf, (logits + noise)[each, row])
            np.testing.assert_array_equal(mask[each, row], np.arange(5) == scores.argmax())
            np.testing.assert_allclose(got[each, row], soft_gradient(scores, cotangent[each, row], 0.6), rtol=1e-12)
            taken[scores.argmax()] = True


def test_subsample_edges():
    everything = gumbel_subsample_mask(KEY, jnp.zeros((6, 6)))
    np.testing.assert_array_equal(everything.sum(axis=0), 1)
    sure = jnp.array([[0.0, 60.0, 0.0], [0.0, 60.0, 30.0]])
    np.testing.assert_array_equal(gumbel_subsample_mask(KEY, sure), [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(gumbel_subsample_mask(KEY, sure, exclude=False), [[0, 1, 0], [0, 1, 0]])
    assert np.isnan(gumbel_subsample_mask(KEY, jnp.zeros((2, 3)).at[0, 0].set(jnp.nan))).all()
    nothing_left = jnp.array([[0.0, -jnp.inf], [0.0, -jnp.inf]])
    assert np.isnan(gumbel_subsample_mask(KEY, nothing_left)).all()
    np.testing.assert_array_equal(gumbel_subsample_mask(KEY, nothing_left, exclude=False), [[1, 0], [1, 0]])


def test_entropy_penalty():
    with jax.enable_x64(True):
        logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)))
        p = softmax(np.asarray(logits))
        np.testing.assert_allclose(subsample_entropy_penalty(logits), -np.sum(p * np.log(p), axis=(1, 2)), rtol=1e-13)
        exact = -p * (np.log(p) - np.sum(p * np.log(p), axis=-1, keepdims=True))
        gradient = jax.grad(lambda x: subsample_entropy_penalty(x).sum())(logits)
        np.testing.assert_allclose(gradient, exact, rtol=1e-11, atol=1e-14)
    edges = jnp.array([[0.0, -jnp.inf, -jnp.inf], [1e4, 0.0, -1e4]])
    value, gradient = jax.value_and_grad(subsample_entropy_penalty)(edges)
    np.testing.assert_array_equal((value, np.abs(gradient).max()), 0)
    assert np.isnan(subsample_entropy_penalty(edges.at[0, 0].set(jnp.nan)))


def test_a_robust_line_finds_its_inliers():
    """Lines through samples of four points, scored: the logits learn which points fit, 60 % of them at the start."""
    random = np.random.default_rng(0)
    x, inlier = jnp.linspace(-1, 1, 10), np.arange(10) % 5 < 3
    y = jnp.where(inlier, 0.5 * x + 0.2, random.uniform(-2, 2, 10))
    design = jnp.stack([x, jnp.ones(10)], axis=1)

    def loss(logits, key):
        mask = gumbel_topk(key, jnp.broadcast_to(logits, (64, 10)), 4)
        normal = jnp.einsum("mn,ni,nj->mij", mask, design, design) + 1e-3 * jnp.eye(2)
        lines = jnp.linalg.solve(normal, jnp.einsum("mn,ni,n->mi", mask, design, y)[..., None])[..., 0]
        scores = msac_score((lines @ design.T - y) ** 2, 1.0)
        return expected_hypothesis_loss(scores, 1 - scores / 10, temperature=1e3)

    tx = optax.adam(0.1)

    @jax.jit
    def train(logits):
        def step(carry, key):
            logits, state = carry
            updates, state = tx.update(jax.grad(loss)(logits, key), state)
            return (optax.apply_updates(logits, updates), state), None

        return jax.lax.scan(step, (logits, tx.init(logits)), jax.random.split(KEY, 100))[0][0]

    p = np.asarray(jax.nn.softmax(train(jnp.zeros(10))))
    assert p[inlier].sum() > 0.85
