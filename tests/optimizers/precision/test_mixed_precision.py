"""Gradients in 16 bits: what is cast, what scaling changes (nothing) and saves, and steps that overflow."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import (
    LossScale,
    TrainState,
    accumulate,
    adamw,
    backprop,
    dynamic_loss_scale,
    make_train_step,
    mixed_precision,
    pcgrad,
    per_task,
    sam,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "precision.npz")


@pytest.mark.parametrize(("peer", "smallest"), [("jmp", 1.0), ("torch", 2.0**-100)])
def test_the_scale_goes_the_way_of_the_peers(peer, smallest):
    """200 steps with overflows, one by one and many in a row; tests/golden/precision.py wrote them."""
    scaling = dynamic_loss_scale(64.0, period=5, min_scale=smallest)

    def step(state, finite):
        state = scaling.adjust(state, finite)
        return state, state.scale

    _, path = jax.lax.scan(step, scaling.init(), GOLDEN["finite"])
    np.testing.assert_array_equal(path, GOLDEN[peer])
    assert len(set(GOLDEN[peer].tolist())) > 5


def test_the_scale_stops_before_its_inverse_vanishes():
    scaling = dynamic_loss_scale(2.0**23, period=1)
    state = scaling.adjust(scaling.adjust(scaling.init(), True), True)
    assert state == LossScale(2.0**24, 0)


def data(dtype=jnp.float32):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 5))
    y = np.tanh(x @ random.normal(size=5))
    return {"x": jnp.asarray(x, dtype), "y": jnp.asarray(y, dtype), "index": jnp.arange(16)}


def weights():
    random = np.random.default_rng(1)
    return {"kernel": jnp.asarray(random.normal(size=(5, 4)), jnp.float32), "norm": {"scale": jnp.ones(4)}}


def loss_fn(params, batch, key=None):
    hidden = jnp.tanh(batch["x"] @ params["kernel"]) * params["norm"]["scale"]
    return jnp.mean((hidden.sum(-1) - batch["y"]).astype(jnp.float32) ** 2)


@pytest.mark.parametrize("exponent", [-20, 1, 15, 60])
def test_powers_of_two_change_no_bit(exponent):
    value, gradient = jax.jit(backprop(loss_fn))(weights(), data())
    scaled = jax.jit(mixed_precision(jnp.float32, 2.0**exponent)(loss_fn))(weights(), data())
    jax.tree.map(np.testing.assert_array_equal, scaled, (value, gradient))


def test_what_is_cast():
    """Wide floats of parameters and batch, but not what is kept, nor integers, keys and the model's state."""
    seen = {}

    def spy(params, batch, key, model_state):
        seen["dtypes"] = jax.tree.map(lambda x: x.dtype.name, (params, batch, key, model_state))
        return loss_fn(params, batch), {"aux": batch["x"]}

    def dtypes(**settings):
        rule = mixed_precision(jnp.bfloat16, **settings)(spy, True)
        (_, aux), gradient = rule(weights(), data(), jax.random.key(0), jnp.ones(2))
        assert {g.dtype.name for g in jax.tree.leaves(gradient)} == {"float32"}
        assert aux["aux"].dtype.name == seen["dtypes"][1]["x"]
        return seen["dtypes"]

    params, batch, key, state = dtypes()
    assert params == {"kernel": "bfloat16", "norm": {"scale": "bfloat16"}}
    assert batch == {"x": "bfloat16", "y": "bfloat16", "index": "int32"}
    assert (key, state) == ("key<fry>", "float32")
    params, batch, *_ = dtypes(keep=lambda path: path.startswith("norm/"), cast_batch=False)
    assert params == {"kernel": "bfloat16", "norm": {"scale": "float32"}}
    assert batch["x"] == "float32"


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_are_those_of_the_rounded_parameters(dtype):
    """All products in 16 bits: within a few of their roundings of the float32 gradient at rounded numbers."""
    rounded = jax.tree.map(lambda x: x.astype(dtype).astype(jnp.float32), weights())
    expected = jax.grad(loss_fn)(rounded, jax.tree.map(lambda x: x.astype(dtype).astype(x.dtype), data()))
    _, gradient = jax.jit(mixed_precision(dtype, 256.0)(loss_fn))(weights(), data())
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected))
    jax.tree.map(
        lambda g, e: np.testing.assert_allclose(g, e, atol=8 * float(jnp.finfo(dtype).eps) * largest),
        gradient,
        expected,
    )


@pytest.mark.parametrize("scale", [1.0, 2.0**10, 2.0**15])
def test_small_gradients_of_float16_need_a_scale(scale):
    """1e-8 lies below half of float16's smallest number, 6e-8."""
    tiny = lambda w, x: jnp.sum(w * x).astype(jnp.float32) * 1e-4
    _, gradient = mixed_precision(jnp.float16, scale)(tiny)(jnp.ones(3), jnp.full(3, 1e-4))
    expected = 0.0 if scale == 1.0 else 1e-8
    np.testing.assert_allclose(gradient, expected, rtol=2e-3)


def test_inner_rules_see_the_scaled_loss_and_give_the_gradient():
    scaled = lambda inner: jax.jit(mixed_precision(jnp.float32, 2.0**10, inner=inner)(loss_fn))(weights(), data())
    plain = lambda inner: jax.jit(inner(loss_fn))(weights(), data())
    batch = {name: data()[name] for name in ("x", "y")}
    for inner in (sam(0.1), accumulate(4)):
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-6), scaled(inner), plain(inner))
    tasks = lambda params, batch: jnp.stack([loss_fn(params, batch), 3 * loss_fn(params, batch)])
    found = mixed_precision(jnp.float32, 8.0, inner=per_task())(tasks)(weights(), batch)
    jax.tree.map(np.testing.assert_array_equal, found, per_task()(tasks)(weights(), batch))


def train_step(rule, tx=None, **settings):
    tx = adamw(1e-2) if tx is None else tx
    step = make_train_step(loss_fn, tx, gradient=rule, has_aux=False, **settings)
    return step, TrainState.create(params=weights(), tx=tx, gradient=rule)


def test_an_overflow_is_skipped_and_halves_the_scale():
    rule = mixed_precision(jnp.float16, dynamic_loss_scale(2.0**10, period=2))
    step, state = train_step(rule, donate=False)
    bad = {**data(), "x": data()["x"].at[0, 0].set(1e6)}  # infinite in float16
    after, metrics = step(state, bad)
    assert after.rule_state == LossScale(2.0**9, 0)
    assert (after.skipped, after.step) == (1, 1)
    assert not np.isfinite(metrics["grad_norm"])
    same = state._replace(rule_state=after.rule_state, skipped=after.skipped, step=after.step)
    jax.tree.map(np.testing.assert_array_equal, after, same)
    scales = []
    for _ in range(4):
        after, _ = step(after, data())
        scales.append((float(after.rule_state.scale), int(after.rule_state.good_steps)))
    assert scales == [(2.0**9, 1), (2.0**10, 0), (2.0**10, 1), (2.0**11, 0)]
    assert after.skipped == 1
    assert step._cache_size() == 1


def test_a_scale_too_large_comes_down_and_training_goes_on():
    """From 2^24, which overflows, in float16: skipped until it fits; then the loss of float32."""

    def final(rule):
        step, state = train_step(rule, donate=False)
        state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, data()), s, length=150))(state)
        return state, metrics["loss"]

    state, losses = final(mixed_precision(jnp.float16, dynamic_loss_scale(2.0**24, period=1000)))
    assert 1 <= state.skipped < 24
    assert state.rule_state.scale == 2.0 ** (24 - int(state.skipped))
    _, expected = final(backprop)
    assert losses[-1] < 0.1 * losses[0]
    np.testing.assert_allclose(losses[-1], expected[-1 - int(state.skipped)], rtol=0.05, atol=2e-3)


def test_aggregators_come_after():
    tasks = lambda params, batch, key: jnp.stack([loss_fn(params, batch), jnp.mean(params["kernel"] ** 2)])
    tx = optax.chain(pcgrad(), optax.sgd(0.05))
    rule = mixed_precision(jnp.bfloat16, inner=per_task())
    step = make_train_step(tasks, tx, gradient=rule, has_aux=False)
    state = TrainState.create(params=weights(), tx=tx)
    first = None
    for _ in range(20):
        state, metrics = step(state, data())
        first = metrics["loss"] if first is None else first
    assert (metrics["loss"] < first).all()
    assert state.params["kernel"].dtype == jnp.float32
