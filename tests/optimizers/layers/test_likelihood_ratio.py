"""The likelihood-ratio layers: score functions by hand, and estimates against the gradients of expected losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import likelihood_ratio_linear, likelihood_ratio_noise, likelihood_ratio_surrogate

RANDOM = np.random.default_rng(0)
X, W, B = RANDOM.normal(size=(1, 3)), RANDOM.normal(size=(3, 2)), RANDOM.normal(size=2)
DIRECTION = np.array([1.5, -0.5])


def assert_mean(samples, expected):
    """The mean of the samples is the expected one within five of its own standard errors."""
    samples = np.asarray(samples, np.float64)
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) < 5 * error + 1e-6), (samples.mean(axis=0), expected)


def estimates(loss_of, *, sigma, pairs=1, antithetic=True, baseline=0.0, count=20_000):
    """Gradients of W [count, 3, 2] of a layer and `loss_of(y) -> [B]`, each from its own key."""

    def surrogate(w, key):
        x = jnp.tile(jnp.asarray(X), (2 * pairs, 1))
        y, log_prob = likelihood_ratio_linear(x, w, B, key, sigma=sigma, antithetic=antithetic)
        return likelihood_ratio_surrogate(loss_of(y), log_prob, baseline=baseline, antithetic=antithetic)

    keys = jax.random.split(jax.random.key(1), count)
    return jax.jit(jax.vmap(jax.grad(surrogate), (None, 0)))(jnp.asarray(W), keys)


def test_the_log_density_and_its_gradients_are_those_of_the_normal_distribution():
    with jax.enable_x64(True):
        sigma, x = jnp.array([0.5, 2.0]), jnp.asarray(RANDOM.normal(size=(4, 3)))

        def layer(w, b, sigma, x):
            y, log_prob = likelihood_ratio_linear(x, w, b, jax.random.key(0), sigma=sigma)
            return jnp.sum(log_prob), (y, log_prob)

        grads, (y, log_prob) = jax.grad(layer, (0, 1, 2, 3), has_aux=True)(jnp.asarray(W), jnp.asarray(B), sigma, x)
        density = jax.scipy.stats.norm.logpdf(y, x @ W + B, sigma)
    x, sigma = np.asarray(x), np.asarray(sigma)
    noise = (np.asarray(y) - (x @ W + B)) / sigma
    np.testing.assert_allclose(log_prob, np.sum(np.asarray(density), axis=1), rtol=1e-12)
    np.testing.assert_allclose(grads[0], x.T @ (noise / sigma), rtol=1e-12)
    np.testing.assert_allclose(grads[1], np.sum(noise / sigma, axis=0), rtol=1e-12)
    np.testing.assert_allclose(grads[2], np.sum((noise**2 - 1) / sigma, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(grads[3], 0)


def test_no_gradient_flows_through_the_output():
    through = lambda w: jnp.sum(likelihood_ratio_linear(X, w, B, jax.random.key(0), sigma=0.1)[0] ** 2)
    np.testing.assert_array_equal(jax.grad(through)(jnp.asarray(W)), 0)


def test_one_antithetic_pair_on_a_linear_loss():
    # The estimate is (c eps) eps x^T, whatever sigma; its mean is c x^T.
    with jax.enable_x64(True):
        for sigma in (1e-4, 3.0):
            estimate = np.asarray(estimates(lambda y: y @ DIRECTION, sigma=sigma, count=5))
            noise = np.stack(
                [
                    np.asarray(jax.random.normal(key, (1, 2), jnp.float64))[0]
                    for key in jax.random.split(jax.random.key(1), 5)
                ]
            )
            expected = X[0][None, :, None] * (noise @ DIRECTION)[:, None, None] * noise[:, None, :]
            np.testing.assert_allclose(estimate, expected, rtol=1e-8)
    assert_mean(estimates(lambda y: y @ DIRECTION, sigma=0.3), np.outer(X[0], DIRECTION))


def test_a_quadratic_loss_has_its_gradient_at_every_sigma():
    y = X @ W + B
    assert_mean(estimates(lambda y: jnp.sum(y**2, axis=1), sigma=2.0), np.outer(X[0], 2 * y[0]))


def test_small_noise_gives_the_gradient_of_any_loss():
    with jax.enable_x64(True):
        loss_of = lambda y: jnp.sum(jnp.sin(3 * y) + y**3, axis=1)
        exact = jax.grad(lambda w: loss_of(X @ w + B)[0])(jnp.asarray(W))
        assert_mean(estimates(loss_of, sigma=1e-4), exact)


def test_a_constant_loss_has_none():
    ones = lambda y: jnp.ones(len(y))
    assert_mean(estimates(ones, sigma=0.5, antithetic=False), np.zeros((3, 2)))
    np.testing.assert_array_equal(estimates(ones, sigma=0.5, antithetic=False, baseline=None, count=4), 0)


def test_pairs_and_baselines_lower_the_variance():
    loss_of = lambda y: y @ DIRECTION + 10.0
    exact = np.outer(X[0], DIRECTION)
    variance = {}
    for name, options in {
        "plain": {"antithetic": False},
        "pairs": {},
        "baseline": {"antithetic": False, "baseline": None},
    }.items():
        samples = np.asarray(estimates(loss_of, sigma=0.5, pairs=4, **options))
        assert_mean(samples, exact)
        variance[name] = np.mean(np.var(samples, axis=0))
    assert max(variance["pairs"], variance["baseline"]) < variance["plain"] / 10


def test_all_layers_at_once_and_what_follows_them():
    # y = V h + noise, h = W x + noise, loss |u - y|^2 / 2 with u after the last noise: moments by hand.
    sigma, random = 0.4, np.random.default_rng(2)
    x, w, v, u = (
        random.normal(size=(1, 2)),
        random.normal(size=(2, 2)),
        random.normal(size=(2, 2)),
        random.normal(size=2),
    )

    def surrogate(params, key):
        first, second = jax.random.split(key)
        h, p = likelihood_ratio_linear(
            jnp.tile(jnp.asarray(x, jnp.float32), (8, 1)), params["w"], None, first, sigma=sigma
        )
        y, q = likelihood_ratio_linear(h, params["v"], None, second, sigma=sigma)
        return likelihood_ratio_surrogate(jnp.sum((params["u"] - y) ** 2, axis=1) / 2, {"w": p, "v": q})

    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), {"w": w, "v": v, "u": u})
    keys = jax.random.split(jax.random.key(0), 20_000)
    value, grads = jax.jit(jax.vmap(jax.value_and_grad(surrogate), (None, 0)))(params, keys)
    mean_h = x @ w
    residual = mean_h @ v - u
    spread = sigma**2 * (np.sum(v**2) + 2)  # the trace of y's covariance
    assert_mean(value, (np.sum(residual**2) + spread) / 2)
    assert_mean(grads["u"], -residual[0])
    assert_mean(grads["v"], mean_h.T @ residual + sigma**2 * v)
    assert_mean(grads["w"], x.T @ residual @ v.T)


def test_the_noise_of_a_module_may_be_learnt():
    # E|y|^2 = |mu|^2 + D sigma^2: the gradient with respect to sigma is 2 D sigma.
    def surrogate(sigma, key):
        y, log_prob = likelihood_ratio_noise(jnp.full((8, 3), 0.5), key, sigma=sigma)
        return likelihood_ratio_surrogate(jnp.sum(y**2, axis=1), log_prob)

    keys = jax.random.split(jax.random.key(0), 20_000)
    assert_mean(jax.jit(jax.vmap(jax.grad(surrogate), (None, 0)))(0.5, keys), 3.0)


def test_the_second_half_mirrors_the_first():
    mean = jnp.asarray(np.tile(RANDOM.normal(size=(2, 3, 2)), (2, 1, 1)), jnp.float32)
    y, log_prob = likelihood_ratio_noise(mean, jax.random.key(0), sigma=0.5, antithetic=True)
    np.testing.assert_allclose(y[:2] - mean[:2], mean[2:] - y[2:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_prob[:2], log_prob[2:], rtol=1e-6)
    assert np.min(np.abs(y - mean)) > 0


def test_baselines_are_of_the_others():
    losses, log_probs = jnp.array([1.0, 2.0, 4.0, 9.0]), jnp.zeros(4)
    advantages = lambda **options: 4 * jax.grad(lambda p: likelihood_ratio_surrogate(losses, p, **options))(log_probs)
    np.testing.assert_allclose(advantages(), [1 - 15 / 3, 2 - 14 / 3, 4 - 12 / 3, 9 - 7 / 3], rtol=1e-6)
    np.testing.assert_allclose(advantages(antithetic=True), [1 - 11 / 2, 2 - 5 / 2, 4 - 11 / 2, 9 - 5 / 2], rtol=1e-6)
    np.testing.assert_allclose(advantages(baseline=2.0), losses - 2, rtol=1e-6)
    alone = lambda p: likelihood_ratio_surrogate(jnp.array([3.0]), p)
    np.testing.assert_allclose(jax.value_and_grad(alone)(jnp.zeros(1))[1], [3.0], rtol=1e-6)
    learnt = jax.grad(lambda b: likelihood_ratio_surrogate(losses, log_probs + 1.0, baseline=b))(2.0)
    assert learnt == 0  # the baseline is not trained by the surrogate


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
    x, w = jnp.full((2, 4), 100, dtype), jnp.full((4, 3), 100, dtype)  # a mean of 40000: its square is no float16
    (y, log_prob), pull_back = jax.vjp(lambda w: likelihood_ratio_linear(x, w, None, jax.random.key(0), sigma=1e-3), w)
    assert (y.dtype, log_prob.dtype) == (dtype, jnp.float32)
    (gradient,) = pull_back((jnp.zeros_like(y), jnp.full(2, 1e-3)))
    assert gradient.dtype == dtype
    noise = jax.random.normal(jax.random.key(0), (2, 3))
    np.testing.assert_allclose(gradient, np.tile(100 * noise.sum(axis=0), (4, 1)), rtol=0.03)  # cotangents in `dtype`


def test_what_is_not_finite_is_not_hidden():
    _, log_prob = likelihood_ratio_noise(jnp.array([[jnp.inf, 0.0], [0.0, 0.0]]), jax.random.key(0), sigma=1.0)
    assert np.isnan(log_prob).tolist() == [True, False]
    assert np.isnan(jax.grad(lambda p: likelihood_ratio_surrogate(jnp.array([jnp.nan, 1.0]), p))(log_prob)).all()
