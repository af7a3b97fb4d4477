"""GradCache: the gradient of the whole batch, to rounding, at the stated cost and in the stated memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from objectives import barlow_twins_loss
from optimizers import TrainState, accumulate, backprop, grad_cache, make_train_step, sam

RANDOM = np.random.default_rng(0)
PARAMS = {
    "left": jnp.asarray(RANDOM.normal(size=(3, 4)), jnp.float32),
    "right": jnp.asarray(RANDOM.normal(size=(5, 4)), jnp.float32),
    "temperature": jnp.float32(0.7),
}
BATCH = {
    "left": RANDOM.normal(size=(12, 3)).astype(np.float32),
    "right": RANDOM.normal(size=(12, 5)).astype(np.float32),
    "label": np.arange(12) % 5,
}
KEY = jax.random.key(0)


def encode(params, batch, key, *, rate=0.8):
    """Two towers with dropout, and the labels passed on."""
    kept = jax.random.bernoulli(key, rate, (batch["left"].shape[0], 4))
    return {
        "left": jnp.where(kept, jnp.tanh(batch["left"] @ params["left"]), 0.1),
        "right": jnp.tanh(batch["right"] @ params["right"]),
        "label": batch["label"],
    }


def info_nce(params, codes, key, *, rate=0.8):
    """Pairs against all others whose label differs, with a learnt temperature."""
    logits = codes["left"] @ codes["right"].T / params["temperature"]
    rival = (codes["label"][:, None] != codes["label"]) | jnp.eye(len(logits), dtype=bool)
    loss = -jnp.mean(jnp.diagonal(jax.nn.log_softmax(jnp.where(rival, logits, -1e9), axis=-1)))
    return loss, {"draw": jax.random.uniform(key), "codes": codes["left"]}


def barlow(params, codes, key, *, rate=0.8):
    return barlow_twins_loss(codes["left"], codes["right"], redundancy_weight=0.1), None


def at_once(loss_fn, chunks):
    """The loss of the whole batch, with the dropout that the chunks draw."""

    def whole(params, batch, key, **keywords):
        parts = [
            encode(
                params,
                jax.tree.map(lambda x, i=i: x[i::chunks], batch),
                jax.random.fold_in(key, i) if chunks > 1 else key,
                **keywords,
            )
            for i in range(chunks)
        ]
        codes = jax.tree.map(lambda *x: jnp.stack(x, axis=1).reshape(-1, *x[0].shape[1:]), *parts)
        return loss_fn(params, codes, key, **keywords)

    return whole


@pytest.mark.parametrize(("loss_fn", "chunks"), [(info_nce, 1), (info_nce, 3), (info_nce, 6), (barlow, 4)])
def test_it_is_the_gradient_of_the_whole_batch(loss_fn, chunks):
    with jax.enable_x64(True):
        params, batch = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x, jnp.float32)), (PARAMS, BATCH))
        params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
        expected = jax.jit(jax.value_and_grad(at_once(loss_fn, chunks), has_aux=True))(params, batch, KEY, rate=0.5)
        got = jax.jit(grad_cache(encode, chunks)(loss_fn, has_aux=True))(params, batch, KEY, rate=0.5)
    chex.assert_trees_all_close(got, expected, rtol=1e-12, atol=1e-14)


def test_accumulation_is_not():
    # What the rule is for: microbatches know only their own negatives, and have fewer to fear.
    loss_fn = at_once(info_nce, 1)
    value, _ = loss_fn(PARAMS, BATCH, KEY)
    (parts, _), _ = jax.jit(accumulate(3)(loss_fn, has_aux=True))(PARAMS, BATCH, KEY)
    assert parts < 0.9 * value


def test_two_forward_passes_and_one_backward_pass_of_the_encoder():
    passes = []

    def counted(name, x):
        def note(x):
            passes.append(name)
            return np.asarray(x)

        return jax.pure_callback(note, x, x)

    @jax.custom_vjp
    def layer(x):
        return counted("forward", x)

    layer.defvjp(lambda x: (counted("forward", x), None), lambda _, g: (counted("backward", g),))
    # The square needs the layer's output to be pulled back; what no gradient needs is not computed again.
    rule = jax.jit(grad_cache(lambda w, batch: layer(w * batch) ** 2, 3)(lambda w, codes: jnp.var(codes)))
    value, gradient = jax.block_until_ready(rule(2.0, jnp.arange(6.0)))
    squares = np.arange(6.0) ** 2
    np.testing.assert_allclose((value, gradient), (2**4 * np.var(squares), 4 * 2**3 * np.var(squares)), rtol=1e-6)
    assert (passes.count("forward"), passes.count("backward")) == (2 * 3, 3)


def test_memory_is_that_of_a_chunk_and_the_representations():
    width, chunk = 64, 64

    def deep(w, batch):
        for _ in range(8):
            batch = jnp.tanh(batch @ w)
        return batch[:, :2]

    def temporaries(rule, loss_fn, size):
        shapes = jax.ShapeDtypeStruct((width, width), jnp.float32), jax.ShapeDtypeStruct((size, width), jnp.float32)
        return jax.jit(rule(loss_fn)).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    spread = lambda w, codes: jnp.sum(jnp.var(codes, axis=0))
    few, many = (temporaries(grad_cache(deep, n), spread, n * chunk) for n in (4, 32))
    codes = (32 - 4) * chunk * 2 * 4
    assert many - few < 6 * codes  # stacked, in order, their gradients, and what the loss does with them
    whole = temporaries(backprop, lambda w, batch: spread(w, deep(w, batch)), 32 * chunk)
    assert whole > 8 * 32 * chunk * width * 4 > 4 * many


def test_sums_are_of_float32():
    # A thousand shares of 1/1000 added to a bfloat16 total would stop at 0.25.
    rule = jax.jit(grad_cache(lambda w, batch: batch * w, 1000)(lambda w, codes: jnp.mean(codes.astype(jnp.float32))))
    value, gradient = rule(jnp.bfloat16(1.0), jnp.ones(1000, jnp.bfloat16))
    assert gradient.dtype == jnp.bfloat16
    assert (float(value), float(gradient)) == (1.0, 1.0)


def test_a_batch_split_over_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(BATCH, NamedSharding(mesh, PartitionSpec("data")))
    rule = jax.jit(grad_cache(encode, 3)(info_nce, has_aux=True))
    (value, aux), gradient = rule(PARAMS, split, KEY)
    chex.assert_trees_all_close(((value, aux), gradient), rule(PARAMS, BATCH, KEY), rtol=1e-5, atol=1e-6)
    assert aux["codes"].sharding.spec == PartitionSpec("data")


def test_it_is_an_inner_rule_and_a_rule_of_the_train_step():
    loss_fn = lambda params, codes, key: info_nce(params, codes, key)
    cached = sam(0.1, inner=grad_cache(encode, 3))
    tx = optax.sgd(0.1)
    start = TrainState.create(params=PARAMS, tx=tx, key=1)
    one = make_train_step(loss_fn, tx, gradient=cached, donate=False)(start, BATCH)
    other = make_train_step(at_once(info_nce, 3), tx, gradient=sam(0.1), donate=False)(start, BATCH)
    chex.assert_trees_all_close(one, other, rtol=1e-5, atol=1e-6)


def test_faults_are_named():
    codes = lambda w, batch: w * batch
    with pytest.raises(ValueError, match=r"grad_cache: .*divisible by chunks=5, got a leaf of shape \(12,\)"):
        grad_cache(codes, 5)(lambda w, codes: jnp.var(codes))(1.0, jnp.ones(12))
    with pytest.raises(ValueError, match="grad_cache: expected a batch"):
        grad_cache(codes, 2)(lambda w: w)(1.0)
    with pytest.raises(
        ValueError, match=r"grad_cache: encode_fn must return representations .*\(\) for a chunk of \[6"
    ):
        grad_cache(lambda w, batch: jnp.mean(w * batch), 2)(lambda w, codes: jnp.var(codes))(1.0, jnp.ones(12))
