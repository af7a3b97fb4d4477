"""Masks, corrections and filters around transformations: equal to public code, the authors' included, and to NumPy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import gradients, run, start

from optimizers import (
    TrainState,
    adam,
    cautious,
    grams,
    grokfast_ema,
    grokfast_ma,
    lion,
    make_train_step,
    mars,
    orthograd,
    sam,
    scale_by_adam,
    scale_by_lion,
)


@pytest.fixture(scope="module")
def golden():  # tests/golden/wrappers.py wrote it
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "wrappers.npz")


def tree_of(golden, kind):
    return {name: golden[f"{kind}_{name}"] for name in ("matrix", "vector")}


def flat_path(path):
    """Parameters of all steps, [steps, ...], in the order of the golden script."""
    return np.concatenate([np.asarray(path[name]).reshape(len(path[name]), -1) for name in ("matrix", "vector")], 1)


def decayed(directions, rate, decay):
    return optax.chain(directions, optax.add_decayed_weights(decay), optax.scale_by_learning_rate(rate))


FROM_PEERS = {
    # Cautious AdamW masks the direction and not the decay; timm takes the decay first, of the old parameters alike.
    "cautious": decayed(cautious(scale_by_adam()), 1e-2, 0.1),
    "cautious_no_decay": cautious(adam(1e-2), descent=True),
    "grams": decayed(grams(scale_by_adam(eps=1e-6)), 1e-2, 0.1),
    "grams_no_decay": grams(adam(1e-2, eps=1e-6), descent=True),
    # pytorch-optimizer's MARS divides eps by the bias correction, which the authors' code does not: without eps.
    "mars_adamw": optax.chain(mars(), decayed(scale_by_adam(b1=0.95, b2=0.99, eps=0.0), 1e-2, 0.1)),
    "orthograd": optax.chain(orthograd(rescale=True), adam(1e-2)),
    "grokfast_ema": optax.chain(grokfast_ema(alpha=0.9, lamb=2.0), adam(1e-2)),
    "grokfast_ma_mean_True": optax.chain(grokfast_ma(7, 5.0), adam(1e-2)),
    "grokfast_ma_mean_False": optax.chain(grokfast_ma(7, 5.0, warmup=False), adam(1e-2)),
    "grokfast_ma_sum_True": optax.chain(grokfast_ma(7, 5.0, "sum"), adam(1e-2)),
    "grokfast_ma_sum_False": optax.chain(grokfast_ma(7, 5.0, "sum", warmup=False), adam(1e-2)),
    # Lion whose direction is the sign of the momentum itself, as the authors' MARS-Lion has it: b1 = b2.
    "mars_lion": optax.chain(mars(), scale_by_lion(b1=0.95, b2=0.95), optax.scale(-1e-2)),
}


@pytest.mark.parametrize("name", FROM_PEERS)
def test_trajectory_equals_the_peers(golden, name):
    with jax.enable_x64(True):
        path, _ = run(FROM_PEERS[name], tree_of(golden, "start"), tree_of(golden, "gradients"))
        np.testing.assert_allclose(flat_path(path)[golden["kept_steps"]], golden[name], rtol=1e-10, atol=1e-11)


def one(tx, gradient, params=None, steps=1):
    """The last of several updates with the same gradient."""
    gradient = jnp.asarray(gradient)
    params = gradient if params is None else jnp.asarray(params)
    state = tx.init(params)
    for _ in range(steps):
        update, state = tx.update(gradient, state, params)
    return update


def fixed(direction):
    """A transformation whose direction is always the same."""
    return optax.stateless(lambda updates, params: jnp.asarray(direction))


def test_cautious_updates_in_numpy():
    u, g = np.array([1.0, -2.0, 3.0, 0.5, 0.0, 2.0]), np.array([0.1, -1e-30, -5.0, 1e-30, 3.0, 0.0])
    expected = np.where(u * g > 0, u, 0) / np.mean(u * g > 0)
    np.testing.assert_allclose(one(cautious(fixed(u)), g), expected, rtol=1e-6)
    np.testing.assert_allclose(one(cautious(fixed(-u), descent=True), g), -expected, rtol=1e-6)
    np.testing.assert_allclose(one(cautious(fixed(u), min_fraction=0.75), g), expected * 0.5 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(one(cautious(fixed(-np.sign(g))), g), 0)  # no agreement at all


def test_signs_of_small_numbers_agree_in_any_dtype():
    """The product of 1e-30 and 1e-30 is 0 in float32; the signs agree all the same."""
    for dtype, small in ((jnp.float32, 1e-30), (jnp.float16, 6e-8), (jnp.bfloat16, 1e-30)):
        u = jnp.full(4, small, dtype)
        np.testing.assert_array_equal(one(cautious(fixed(u)), u), u)


def test_grams_keeps_the_size_and_takes_the_sign():
    grads = np.random.default_rng(0).normal(size=(5, 4))
    tx, plain = grams(scale_by_adam()), scale_by_adam()
    state, plain_state = tx.init(jnp.zeros(4)), plain.init(jnp.zeros(4))
    for g in jnp.asarray(grads, jnp.float32):
        update, state = tx.update(g, state)
        size, plain_state = plain.update(g, plain_state)
        np.testing.assert_array_equal(update, jnp.sign(g) * jnp.abs(size))


def test_both_are_the_inner_transformation_where_all_agrees():
    g = np.array([3.0, -1.0, 2.0], np.float32)
    for wrap in (cautious, grams):
        np.testing.assert_allclose(one(wrap(scale_by_adam()), g, steps=3), one(scale_by_adam(), g, steps=3), rtol=1e-6)


@pytest.mark.parametrize("wrap", [cautious, grams])
def test_a_nan_stays_one(wrap):
    assert np.isnan(one(wrap(fixed(np.ones(3))), [jnp.nan, 1.0, 1.0])[0])
    assert np.isnan(one(wrap(fixed([jnp.nan, 1.0, 1.0])), np.ones(3))[0])


def test_cautious_steps_never_climb():
    """Of momentum that overshoots a parabola, no step has a component against the gradient: the paper's theorem."""
    tx, plain = cautious(optax.trace(0.95)), optax.trace(0.95)
    for transformation, climbs in ((tx, False), (plain, True)):
        x, state, products = jnp.array([1.0, -3.0]), transformation.init(jnp.zeros(2)), []
        for _ in range(100):
            g = x * jnp.array([1.0, 10.0])
            u, state = transformation.update(g, state)
            products.append(np.min(u * g))
            x = x - 0.01 * u
        assert (min(products) < 0) == climbs


def test_mars_without_strength_or_momentum_is_clipping():
    g = np.array([[3.0, 4.0]], np.float32)
    for tx in (mars(gamma=0.0), mars(b1=0.0, gamma=1.0)):
        np.testing.assert_allclose(one(tx, g, steps=2), g / 5, rtol=1e-6)
    np.testing.assert_array_equal(one(mars(gamma=0.0, max_norm=None), g), g)
    np.testing.assert_allclose(one(mars(gamma=0.0, max_norm=10.0), g), g, rtol=1e-6)


def test_mars_with_unit_strength_is_storm():
    """γ = 1 and momentum: d_t = g_t + β1 (d_{t-1} - g(θ_{t-1})), Cutkosky and Orabona's estimator."""
    b1, target = 0.9, np.random.default_rng(0).normal(size=(20, 3))

    def gradient(x, t):
        return x**3 - target[t]

    with jax.enable_x64(True):
        tx = optax.chain(mars(b1=b1, gamma=1.0, max_norm=None, exact=True), optax.ema(b1, debias=False))
        x = previous = jnp.array([1.0, -1.0, 0.5])
        state, d = tx.init(x), (1 - b1) * gradient(x, 0)
        for t in range(20):
            update, state = tx.update(gradient(x, t), state, x, grad_fn=lambda p, t=t: gradient(p, t))
            if t:
                d = gradient(x, t) * (1 - b1) + b1 * (d + gradient(x, t) - gradient(previous, t))
            np.testing.assert_allclose(update, d, rtol=1e-12)
            previous, x = x, x - 0.1 * update


def test_the_exact_correction_is_of_the_same_batch():
    """In the train step: with noise in the batch alone, the difference of two gradients holds none of it."""

    def loss_fn(params, batch, key):
        return jnp.sum(params**2) + jnp.vdot(params, batch), {}

    tx = optax.chain(mars(b1=0.5, gamma=1.0, max_norm=None, exact=True), optax.sgd(0.1))
    step, state = make_train_step(loss_fn, tx), TrainState.create(params=jnp.array([1.0, 2.0]), tx=tx)
    x, last = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    for batch in np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32):
        state, _ = step(state, jnp.asarray(batch))
        x, last = x - 0.1 * (2 * x + batch + (2 * x - 2 * last)), x
        np.testing.assert_allclose(state.params, x, rtol=1e-5)


def test_the_exact_correction_reduces_variance():
    """On noise that multiplies, the recursive estimator of the gradient is nearer the truth than momentum."""
    noise = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)

    def error(tx):
        def step(carry, z):
            x, state = carry
            gradient = lambda p: p * (1 + z) + z
            update, state = tx.update(gradient(x), state, x, grad_fn=gradient)
            return (x - 0.02 * update, state), jnp.mean((update - x) ** 2)

        x = jnp.ones(64)
        return float(jnp.mean(jax.lax.scan(step, (x, tx.init(x)), jnp.asarray(noise))[1][100:]))

    momentum = error(optax.chain(mars(gamma=0.0, max_norm=None), optax.ema(0.95, debias=False)))
    corrected = error(optax.chain(mars(gamma=1.0, max_norm=None, exact=True), optax.ema(0.95, debias=False)))
    assert corrected < 0.8 * momentum


def test_a_scheduled_strength_is_followed():
    g, tx = jnp.ones(2), mars(b1=0.5, gamma=lambda count: jnp.where(count < 1, 0.0, 1.0), max_norm=None)
    first, state = tx.update(g, tx.init(g))
    second, _ = tx.update(2 * g, state)
    np.testing.assert_allclose(first, 1.0)
    np.testing.assert_allclose(second, 3.0)


@pytest.mark.parametrize(("tx", "words"), [(mars(exact=True), "grad_fn"), (orthograd(), "params")])
def test_what_is_missing_is_named(tx, words):
    with pytest.raises(ValueError, match=f"^{words and ''}.*update needs {words}, got None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_grokfast_in_numpy():
    with jax.enable_x64(True):
        grads = gradients(steps=30)
        path, _ = run(optax.chain(grokfast_ema(0.9, 2.0), optax.scale(1.0)), start(), grads, pull=0.0)
        moved = jax.tree.map(lambda x, p: np.diff(np.concatenate([p[None], x]), axis=0), path, start())
        slow = grads["vector"][0]
        for t, g in enumerate(grads["vector"]):
            slow = slow if t == 0 else 0.9 * slow + 0.1 * g
            np.testing.assert_allclose(moved["vector"][t], g + 2 * slow, rtol=1e-9, atol=1e-9)


def test_the_filters_amplify_constants_by_one_plus_lamb():
    for tx in (grokfast_ema(lamb=2.0), grokfast_ma(window_size=3, lamb=2.0), grokfast_ma(3, 2.0, warmup=False)):
        np.testing.assert_allclose(one(tx, np.ones(2), steps=5), 3.0, rtol=1e-6)


def test_a_window_forgets():
    """After w steps the first gradient is gone; the counter of the window goes round without end."""
    tx = grokfast_ma(window_size=3, lamb=3.0)
    state, seen = tx.init(jnp.zeros(())), []
    for g in np.arange(1.0, 12.0):
        update, state = tx.update(jnp.asarray(g, jnp.float32), state)
        seen.append(float(update))
    expected = [g if g < 3 else g + (g + (g - 1) + (g - 2)) for g in np.arange(1.0, 12.0)]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_orthogonal_gradients():
    random = np.random.default_rng(0)
    w, g = random.normal(size=(2, 20, 7))
    with jax.enable_x64(True):
        plain, stretched = (one(orthograd(rescale=r), g, w) for r in (False, True))
        np.testing.assert_allclose(np.vdot(w, plain), 0, atol=1e-12)
        np.testing.assert_allclose(plain, g - np.vdot(w, g) / np.vdot(w, w) * w, rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(stretched), np.linalg.norm(g), rtol=1e-12)
        np.testing.assert_allclose(stretched / np.linalg.norm(g), plain / np.linalg.norm(plain), rtol=1e-12)
        np.testing.assert_allclose(one(orthograd(), plain, w), plain, rtol=1e-12)  # a projection
        np.testing.assert_allclose(one(orthograd(), g, np.zeros_like(w)), g)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_parallel_gradients_vanish(dtype, rescale):
    w = jnp.asarray(np.random.default_rng(0).normal(size=1000), dtype)
    np.testing.assert_array_equal(one(orthograd(rescale=rescale), -2 * w, w), 0)
    np.testing.assert_array_equal(one(orthograd(rescale=rescale), jnp.asarray(3.0, dtype), jnp.asarray(2.0, dtype)), 0)


def test_orthogonal_descent_finds_an_eigenvector():
    """Of a function of the direction alone ⊥Grad changes nothing, and it minimises what weights on a sphere would.

    It is no method for problems whose minimum has another norm than the start, such as those of Optax's suite: it
    never moves along the weights.
    """
    a = np.diag([1.0, 2.0, 5.0]).astype(np.float32)
    rayleigh = lambda x: x @ a @ x / (x @ x)
    plain = lambda x: 0.5 * x @ a @ x  # its minimum is 0; on the sphere it is the smallest eigenvalue
    x = jnp.array([0.5, 1.0, -1.0])
    np.testing.assert_allclose(one(orthograd(), jax.grad(rayleigh)(x), x), jax.grad(rayleigh)(x), rtol=1e-5, atol=1e-6)
    tx = optax.chain(orthograd(), optax.sgd(0.05))

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(jax.grad(plain)(x), state, x)
        return (optax.apply_updates(x, updates), state), None

    (found, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=500))(x)
    np.testing.assert_allclose(np.abs(found / jnp.linalg.norm(found)), [1, 0, 0], atol=1e-3)
    assert jnp.linalg.norm(found) >= jnp.linalg.norm(x)


def test_window_finds_the_minimum():
    """A sum over a window of past gradients delays them: of Optax's problems Rosenbrock's needs more patience."""
    tx = optax.chain(grokfast_ma(window_size=5, lamb=1.0), adam(1e-2))

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(2 * (x - jnp.array([1.0, -1.0, 1.0])), state, x)
        return (optax.apply_updates(x, updates), state), None

    x = jnp.array([-1.0, 10.0, 1.0])
    (found, _), _ = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=5000))(x)
    np.testing.assert_allclose(found, [1, -1, 1], atol=1e-3)


def test_wrappers_nest():
    """Masks, corrections, projections in one chain, under a sharpness-aware rule, in one train step."""
    tx = optax.chain(mars(exact=True), orthograd(), grokfast_ema(), cautious(lion(1e-2), descent=True))
    loss_fn = lambda params, batch, key: (jnp.sum((params - batch) ** 2), {})
    step = make_train_step(loss_fn, tx, gradient=sam(0.05))
    state = TrainState.create(params=jnp.array([3.0, 1.0]), tx=tx)
    losses = []
    for _ in range(200):
        state, metrics = step(state, jnp.array([1.0, 3.0]))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
