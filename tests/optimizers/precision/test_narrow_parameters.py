"""Parameters in 16 bits that lose no update: originals beside them, what is cut off beside them, or fair rounding."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from optimizers import (
    TrainState,
    adamw,
    apply_updates_stochastic_rounding,
    make_train_step,
    riemannian_adam,
    sphere,
    with_kahan_summation,
    with_master_weights,
)
from optimizers.precision.kahan import _nearest

HALVES = [jnp.bfloat16, jnp.float16]
SHAPES = {"matrix": (3, 4), "vector": (5,), "scalar": ()}


def walk(tx, params, grads):
    """Final parameters and state after stacked gradients."""

    def step(carry, grad):
        params, state = carry
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    return jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(params, grads)


def start(dtype):
    random = np.random.default_rng(0)
    params = {name: jnp.asarray(random.normal(size=shape), dtype) for name, shape in SHAPES.items()}
    grads = {name: jnp.asarray(random.normal(size=(200, *shape)), dtype) for name, shape in SHAPES.items()}
    return params, grads


@pytest.mark.parametrize("dtype", HALVES)
def test_parameters_are_the_rounded_originals(dtype):
    """And the originals are AdamW's float32 trajectory of the same gradients, decay included."""
    params, grads = start(dtype)
    found, state = walk(with_master_weights(adamw(1e-2, weight_decay=0.1)), params, grads)
    widen = lambda tree: jax.tree.map(jnp.float32, tree)
    expected, _ = walk(optax.adamw(1e-2, weight_decay=0.1), widen(params), widen(grads))
    for name in SHAPES:
        np.testing.assert_allclose(state.master[name], expected[name], rtol=1e-4, atol=1e-5)
        before = np.concatenate([params[name][None], found[name][:-1]]).astype(np.float32)
        ours, rounded = (np.asarray(x, np.float32) for x in (found[name], state.master[name].astype(dtype)))
        exact = (
            (rounded * before > 0) & (np.abs(rounded) / 2 <= np.abs(before)) & (np.abs(before) <= 2 * np.abs(rounded))
        )
        assert exact.mean() > 0.9
        np.testing.assert_array_equal(ours[exact], rounded[exact])
        # The rest moved by more than half of itself: off by a rounding of the move, of one step or of the two before.
        move = np.abs(rounded - before)
        assert (np.abs(ours - rounded) <= float(jnp.finfo(dtype).eps) * np.maximum(move, np.abs(rounded))).all()


def test_a_small_update_is_lost_without_and_kept_with_an_original():
    """Weight 1 and updates of 2^-12 in float16, whose spacing there is 2^-10."""
    params, grads = jnp.ones(2, jnp.float16), -jnp.ones((8, 2), jnp.float16)
    lost, _ = walk(optax.sgd(2.0**-12), params, grads)
    np.testing.assert_array_equal(lost[-1], 1.0)
    kept, state = walk(with_master_weights(optax.sgd(2.0**-12)), params, grads)
    np.testing.assert_array_equal(state.master[-1], 1 + 8 * 2.0**-12)
    np.testing.assert_array_equal(kept[-1], 1 + 8 * 2.0**-12)


def test_manifolds_in_16_bits():
    """The original stays on the sphere to float32, the parameter to a rounding of it."""
    x = sphere().random(jax.random.key(0), (3, 4))
    tx = with_master_weights(riemannian_adam(0.1, sphere()))
    found, state = walk(tx, x.astype(jnp.bfloat16), jnp.ones((50, 3, 4), jnp.bfloat16))
    np.testing.assert_allclose(jnp.linalg.norm(state.master[-1], axis=-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[-1].astype(jnp.float32), state.master[-1], atol=2.0**-8)


@pytest.mark.parametrize("dtype", HALVES)
def test_rounding_by_operations_is_the_conversion(dtype):
    """Every number of the format, and those between, in and below the normal range and above the largest."""
    bits = jnp.arange(2**16, dtype=jnp.uint16)
    exact = jax.lax.bitcast_convert_type(bits, dtype).astype(jnp.float32)
    random = np.random.default_rng(0)
    # Not those that float32 has as subnormal numbers, which XLA's CPU code flushes to 0.
    scales = random.uniform(-24 if dtype == jnp.float16 else -37, 37, 2**16)
    between = jnp.asarray(random.normal(size=2**16) * 10.0 ** (scales / 4 if dtype == jnp.float16 else scales))
    normal = jnp.abs(exact) >= np.finfo(np.float32).tiny
    for x in (exact[normal & jnp.isfinite(exact)], jnp.float32(between), jnp.array([jnp.inf, 1e38, -0.0])):
        found = jax.jit(lambda x: _nearest(x, jnp.dtype(dtype)))(x)
        half = {jnp.bfloat16: ml_dtypes.bfloat16, jnp.float16: np.float16}[dtype]
        with np.errstate(over="ignore"):
            expected = np.asarray(x).astype(half).astype(np.float32)
        np.testing.assert_array_equal(found, expected)
    assert jnp.isnan(_nearest(jnp.array(jnp.nan), jnp.dtype(dtype)))


def test_kahan_of_float32_is_kahan():
    """The four operations of the compensated sum, in NumPy's float32, to the last bit; and a sum without its length."""
    random = np.random.default_rng(0)
    updates = (1e-3 * random.random((1000, 3))).astype(np.float32)
    total, missing = np.ones(3, np.float32), np.zeros(3, np.float32)
    for u in updates:
        y = u + missing
        new = total + y
        total, missing = new, y - (new - total)
    found, state = walk(with_kahan_summation(optax.sgd(1.0)), jnp.ones(3), -jnp.asarray(updates))
    np.testing.assert_array_equal(found[-1], total)
    np.testing.assert_array_equal(state.compensation[-1], missing)
    exact = 1 + updates.astype(np.float64).sum(0)
    np.testing.assert_allclose(
        np.asarray(found[-1], np.float64) + np.asarray(state.compensation[-1]), exact, rtol=2e-10
    )


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("first", [1.0, 2.0**-20], ids=["normal", "near zero"])
def test_ten_thousand_small_updates_arrive(dtype, first):
    """Each far below the spacing of the numbers: the sum is float32's, up to one of them."""
    if dtype == jnp.float16 and first < 1:
        first = 2.0**-15  # subnormal there; and updates must not be so small that float16 cannot store what is missing
    steps, random = 10_000, np.random.default_rng(0)
    size = float(jnp.finfo(dtype).eps) / 64 * max(first, 2.0**-14 if dtype == jnp.float16 else 0)
    updates = (size * (0.5 + random.random((steps, 4)))).astype(np.float32)
    params = jnp.full(4, first, dtype)
    inner = optax.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates))
    found, state = walk(with_kahan_summation(inner), params, -jnp.asarray(updates))
    plain, _ = walk(inner, params, -jnp.asarray(updates))
    exact = first + updates.astype(np.float64).sum(0)
    last = np.asarray(found[-1], np.float64)
    spacing = np.asarray(jnp.finfo(dtype).eps, np.float64) * np.maximum(exact, 2.0**-14)
    # The stored remainders, at most half a spacing, are themselves rounded at random, to multiples of `grain`.
    grain = np.maximum(spacing / 2 * float(jnp.finfo(dtype).eps), 2.0**-24 if dtype == jnp.float16 else 0)
    noise = 5 * np.sqrt(steps * np.minimum(grain**2 / 4, 1.5 * size * grain))
    assert (np.abs(last + np.asarray(state.compensation[-1], np.float64) - exact) <= noise + 1e-7 * exact).all()
    assert (np.abs(last - exact) <= spacing + noise).all()
    assert (np.asarray(plain[-1], np.float64) < first + 0.6 * (exact - first)).all()


def test_updates_too_small_for_the_compensation_arrive_on_average():
    """2^-20 on 1 in bfloat16: less than half of what a remainder of 2^-9 resolves."""
    params, steps = jnp.ones(4096, jnp.bfloat16), 1500
    tx = with_kahan_summation(optax.sgd(2.0**-20))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(-jnp.ones_like(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (last, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))((params, tx.init(params)))
    mean = np.mean(np.asarray(last, np.float64) + np.asarray(state.compensation, np.float64)) - 1
    assert mean == pytest.approx(steps * 2.0**-20, rel=0.02)


def test_the_inner_transformation_sees_the_compensated_parameters():
    params = jnp.full(2, 2.0**-7, jnp.bfloat16)
    tx = with_kahan_summation(optax.stateless(lambda updates, params: params))
    state = tx.init(params)._replace(compensation=jnp.full(2, 2.0**-12, jnp.bfloat16))
    updates, _ = tx.update(params, state, params)
    np.testing.assert_array_equal(updates, 2.0**-7 + 2 * 2.0**-12)


@pytest.mark.parametrize("tx", [with_master_weights, with_kahan_summation], ids=lambda tx: tx.__name__)
def test_none_updates_and_missing_parameters(tx):
    params = {"a": jnp.ones(2, jnp.bfloat16), "b": None}
    made = tx(optax.sgd(0.1))
    state = made.init(params)
    updates, _ = made.update({"a": jnp.ones(2, jnp.bfloat16), "b": None}, state, params)
    assert updates["b"] is None
    with pytest.raises(ValueError, match=f"{tx.__name__}: params must be given"):
        made.update(params, state)


@pytest.mark.parametrize("dtype", HALVES)
def test_random_rounding_is_right_on_average(dtype):
    """Only the two neighbours of the sum appear, with the frequencies that make the mean the sum."""
    size, step = 2**16, float(jnp.finfo(dtype).eps)
    params, update = jnp.ones(size, dtype), 0.3 * step
    found = apply_updates_stochastic_rounding(params, jnp.full(size, update), 3)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.unique(np.asarray(found, np.float64)), [1.0, 1.0 + step])
    rate = (np.asarray(found, np.float64) > 1).mean()
    assert rate == pytest.approx(0.3, abs=5 * np.sqrt(0.3 * 0.7 / size))


def test_ten_thousand_randomly_rounded_updates():
    """Mean of 256 sums in bfloat16, each a random walk around float32's; rounding to nearest stays at 1."""
    size, steps, update = 256, 10_000, 2.0**-13

    def step(p, t):
        return apply_updates_stochastic_rounding(p, jnp.full(size, update), t), None

    found = np.asarray(jax.jit(lambda p: jax.lax.scan(step, p, jnp.arange(steps)))(jnp.ones(size, jnp.bfloat16))[0])
    expected = 1 + steps * update
    spread = np.sqrt(steps * update * 2.0**-7)  # variance of a step: at most update times the spacing, 2^-7 below 2
    assert found.astype(np.float64).mean() == pytest.approx(expected, abs=5 * spread / np.sqrt(size))
    assert np.abs(found.astype(np.float64) - expected).max() < 5 * spread


def test_random_rounding_depends_on_step_and_leaf_and_leaves_the_rest_alone():
    params = {"a": jnp.ones(64, jnp.bfloat16), "b": jnp.ones(64, jnp.bfloat16), "wide": jnp.ones(2), "none": None}
    updates = {"a": jnp.full(64, 0.004), "b": jnp.full(64, 0.004), "wide": jnp.full(2, 1e-3), "none": None}
    one, two, again = (apply_updates_stochastic_rounding(params, updates, step) for step in (1, 2, 1))
    assert (one["a"] != two["a"]).any()
    assert (one["a"] != one["b"]).any()
    jax.tree.map(np.testing.assert_array_equal, one, again)
    np.testing.assert_array_equal(one["wide"], optax.apply_updates(params, updates)["wide"])
    assert one["none"] is None
    kept = apply_updates_stochastic_rounding(params, {**updates, "a": None}, 1)
    np.testing.assert_array_equal(kept["a"], params["a"])
    keyed = [apply_updates_stochastic_rounding(params, updates, jax.random.key(seed))["a"] for seed in (0, 1)]
    assert (keyed[0] != keyed[1]).any()


def distance(params, batch, key):
    return jnp.sum((params.astype(jnp.float32) - batch) ** 2)


@pytest.mark.parametrize("how", ["nearest", "master", "kahan", "stochastic"])
def test_trains_in_bfloat16(how):
    """From 1 to 1.5 by steps of a thousandth, in the train step: rounding to nearest does not move at all."""
    sgd = optax.sgd(1e-3)
    tx = {"master": with_master_weights(sgd), "kahan": with_kahan_summation(sgd)}.get(how, sgd)
    settings = {"apply_updates": apply_updates_stochastic_rounding} if how == "stochastic" else {}
    step = make_train_step(distance, tx, has_aux=False, donate=False, **settings)
    state = TrainState.create(params=jnp.ones(64, jnp.bfloat16), tx=tx)
    state, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, jnp.float32(1.5)), s, length=2000))(state)
    mean = float(jnp.mean(state.params.astype(jnp.float32)))
    assert state.params.dtype == jnp.bfloat16
    assert mean == 1.0 if how == "nearest" else mean == pytest.approx(1.5, abs=0.02)
