"""Forward gradients: closed-form moments, projections, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import TrainState, accumulate, forward_gradient, guided_forward_gradient, make_train_step

PARAMS = {"w": jnp.array([[0.5, -1.0], [0.2, 0.8]]), "b": jnp.array([0.3, -0.4])}
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)), jnp.float32)


def loss_fn(params, key=None):
    return jnp.mean((jnp.tanh(X @ params["w"] + params["b"]) - 0.5) ** 2) + jnp.sum(params["b"] ** 3)


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


GRADIENT = np.asarray(flat(jax.grad(loss_fn)(PARAMS)), np.float64)


def draws(rule, count=20_000, params=PARAMS):
    """Estimates [count, P] in float64, from as many keys."""
    keys = jax.random.split(jax.random.key(1), count)
    estimate = jax.jit(jax.vmap(lambda key: flat(rule(loss_fn)(params, key)[1])))
    return np.asarray(estimate(keys), np.float64)


def assert_mean(samples, expected):
    """The mean of the samples is the expected one within five of its own standard errors."""
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) < 5 * error + 1e-6), (samples.mean(axis=0), expected)


# The second moment over the squared norm of the gradient, for P = 6 parameters: of one direction P + 2 and P; of the
# mean of K, (that - 1) / K + 1.
@pytest.mark.parametrize(
    ("rule", "moment"),
    [
        (forward_gradient(), 8),
        (forward_gradient(distribution="rademacher"), 6),
        (forward_gradient(3, sequential=True), 7 / 3 + 1),
    ],
    ids=["normal", "rademacher", "three"],
)
def test_it_is_unbiased_and_of_known_variance(rule, moment):
    samples = draws(rule)
    assert_mean(samples, GRADIENT)
    assert_mean(np.sum(samples**2, axis=1), moment * np.sum(GRADIENT**2))


def test_the_product_with_the_gradient_is_the_squared_slope():
    # <g, grad> = s^2, and |g|^2 = s^2 |v|^2, with |v|^2 = P for Rademacher directions.
    samples = draws(forward_gradient(distribution="rademacher"), 10)
    np.testing.assert_allclose(samples @ GRADIENT, np.sum(samples**2, axis=1) / GRADIENT.size, rtol=1e-5)


def test_one_parameter_and_a_rademacher_direction_are_exact():
    value, gradient = forward_gradient(distribution="rademacher")(lambda w, key: w**4)(1.5, jax.random.key(0))
    np.testing.assert_allclose((value, gradient), (1.5**4, 4 * 1.5**3), rtol=1e-6)


def test_all_at_once_and_one_after_the_other_draw_the_same():
    with_aux = lambda params, key: (loss_fn(params), {"draw": jax.random.uniform(key), "key": key, "count": 3})
    key = jax.random.key(2)
    results = [jax.jit(forward_gradient(4, sequential=s)(with_aux, True))(PARAMS, key) for s in (False, True)]
    for (value, aux), _ in results:
        np.testing.assert_allclose(value, loss_fn(PARAMS), rtol=1e-6)
        assert aux["draw"] == jax.random.uniform(key)
        assert aux["key"] == key
        assert aux["count"] == 3
    np.testing.assert_allclose(flat(results[0][1]), flat(results[1][1]), rtol=1e-6)


@pytest.mark.parametrize("sequential", [False, True])
def test_it_costs_one_jvp_a_direction_and_no_backward_pass(sequential):
    executed = []

    def count(x):
        executed.append(1)
        return np.asarray(x)

    @jax.custom_jvp
    def cube(x):
        return x**3

    @cube.defjvp
    def cube_jvp(primals, tangents):
        counted = jax.pure_callback(count, tangents[0], tangents[0], vmap_method="sequential")
        return primals[0] ** 3, 3 * primals[0] ** 2 * counted

    def twice(w, key):  # a while loop has a forward mode and no reverse one
        return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, cube(c[1])), (0, w))[1]

    rule = jax.jit(forward_gradient(5, distribution="rademacher", sequential=sequential)(twice))
    value, gradient = jax.block_until_ready(rule(2.0, jax.random.key(0)))
    assert (float(value), float(gradient)) == (2.0**9, 9 * 2.0**8)
    assert len(executed) == 5 * 2
    with pytest.raises(ValueError, match="Reverse-mode differentiation"):
        jax.grad(twice)(2.0, None)


def test_half_precision_keeps_its_dtype_and_is_multiplied_in_float32():
    # The slope, 512 times a sum of signs, times a sign: nothing is rounded.
    steep = lambda w, key: jnp.sum(w.astype(jnp.float32)) * 512
    value, gradient = forward_gradient(2, distribution="rademacher")(steep)(jnp.ones(4, jnp.float16), jax.random.key(3))
    assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.float16)
    assert np.all(np.asarray(gradient, np.float64) % 512 == 0)


def test_a_gradient_that_is_not_finite_is_not_hidden():
    broken = lambda params, key=None: loss_fn(params) + jnp.sqrt(params["b"][1])
    assert np.isnan(flat(forward_gradient()(broken)(PARAMS, jax.random.key(0))[1])).all()
    for bad in (jnp.nan, jnp.inf):
        guess = {**PARAMS, "b": jnp.array([1.0, bad])}
        assert np.isnan(flat(guided_forward_gradient(lambda p, guess=guess: guess)(loss_fn)(PARAMS)[1])).all()


def test_the_loss_keeps_its_own_key_and_microbatches_have_theirs():
    seen = lambda w, batch, key: (jnp.sum(w) * jnp.mean(batch), jax.random.uniform(key))
    key = jax.random.key(4)
    (_, draw), _ = forward_gradient()(seen, True)(jnp.ones(2), jnp.ones(2), key)
    assert draw == jax.random.uniform(key)
    w, batch = jnp.ones(50), jnp.array([1.0, 1.0])
    parts = [forward_gradient()(seen, True)(w, batch[i::2], jax.random.fold_in(key, i))[1] for i in range(2)]
    assert np.max(np.abs(parts[0] - parts[1])) > 1.0
    both = accumulate(2, inner=forward_gradient())(seen, True)(w, batch, key)[1]
    np.testing.assert_allclose(both, (parts[0] + parts[1]) / 2, rtol=1e-4)


def test_a_train_step_descends():
    curved = lambda w, batch, key: jnp.sum(jnp.array([1.0, 2.0, 3.0]) * (w - batch) ** 2)
    tx = optax.sgd(0.02)
    guided = guided_forward_gradient(lambda w, batch, key: w - batch)
    for rule in (forward_gradient(4, distribution="rademacher"), guided):
        step = make_train_step(curved, tx, gradient=rule, has_aux=False)
        state, first = step(TrainState.create(params=jnp.zeros(3), tx=tx, key=0), jnp.ones(3))
        for _ in range(100):
            state, last = step(state, jnp.ones(3))
        assert last["loss"] < 0.01 * first["loss"]


def test_the_projection_on_a_multiple_of_the_gradient_is_the_gradient():
    for factor in (-3.0, 1e-30, 1e25):  # squares of the last two are no float32
        guess_fn = lambda params, factor=factor: jax.tree.map(lambda g: factor * g, jax.grad(loss_fn)(params))
        value, gradient = guided_forward_gradient(guess_fn)(loss_fn)(PARAMS)
        np.testing.assert_allclose(flat(gradient), GRADIENT, rtol=2e-5)
        np.testing.assert_allclose(value, loss_fn(PARAMS), rtol=1e-6)


def test_the_projection_is_that_of_linear_algebra():
    guess = np.random.default_rng(1).normal(size=6)
    _, unflatten = jax.flatten_util.ravel_pytree(PARAMS)
    tree = unflatten(jnp.asarray(guess, jnp.float32))
    got = np.asarray(flat(guided_forward_gradient(lambda p: tree)(loss_fn)(PARAMS)[1]), np.float64)
    np.testing.assert_allclose(got, (GRADIENT @ guess) / (guess @ guess) * guess, rtol=2e-5)
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(cosine(got, GRADIENT), abs(cosine(guess, GRADIENT)), rtol=1e-5)
    raw = flat(guided_forward_gradient(lambda p: tree, normalize=False)(loss_fn)(PARAMS)[1])
    np.testing.assert_allclose(raw, (GRADIENT @ guess) * guess, rtol=2e-5)


def test_an_orthogonal_or_a_zero_guess_gives_zero():
    loss = lambda w: jnp.sum(jnp.array([1.0, 2.0]) * w)
    for guess in ([2.0, -1.0], [0.0, 0.0]):
        gradient = guided_forward_gradient(lambda w, guess=guess: jnp.array(guess))(loss)(jnp.ones(2))[1]
        np.testing.assert_array_equal(gradient, 0)


def test_random_guesses_are_a_forward_gradient():
    def normal(params, key):
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves)])

    samples = draws(guided_forward_gradient(normal, normalize=False))
    assert_mean(samples, GRADIENT)
    assert_mean(np.sum((samples - GRADIENT) ** 2, axis=1), 7 * np.sum(GRADIENT**2))


def test_the_gradient_of_a_local_loss_beats_noise():
    # A block h = tanh(x w) before a head: the local loss has a head of its own, close to the true one.
    x = jnp.asarray(np.random.default_rng(2).normal(size=(16, 4)), jnp.float32)
    y, key = jnp.sin(x[:, 0]), jax.random.key(0)
    w, head, local_head = (0.5 * jax.random.normal(jax.random.fold_in(key, i), s) for i, s in enumerate([(4, 8), 8, 8]))
    loss_with = lambda h: lambda w: jnp.mean((jnp.tanh(x @ w) @ h - y) ** 2)
    exact = jax.grad(loss_with(head))(w)
    miss = lambda guess: jnp.linalg.norm(guided_forward_gradient(lambda w: guess)(loss_with(head))(w)[1] - exact)
    local = miss(jax.grad(loss_with(head + 0.3 * local_head))(w))
    noise = jax.vmap(miss)(jax.random.normal(key, (64, 4, 8)))
    assert local < 0.8 * jnp.min(noise)


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"forward_gradient: loss_fn must return a scalar, got shape \(2,\)"):
        forward_gradient()(lambda w, key: w)(jnp.ones(2), jax.random.key(0))
    with pytest.raises(ValueError, match="forward_gradient: expected a typed PRNG key"):
        forward_gradient()(lambda w: jnp.sum(w))(jnp.ones(2))
    for guess in (jnp.ones(3), {"w": jnp.ones(2)}):
        with pytest.raises(ValueError, match="guided_forward_gradient: guess_fn must return"):
            guided_forward_gradient(lambda w, guess=guess: guess)(jnp.sum)(jnp.ones(2))
