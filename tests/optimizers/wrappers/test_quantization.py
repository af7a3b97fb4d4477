"""States in eight bits: bitsandbytes' code books and codes, what is lost at most, and training that does not notice."""

import pathlib

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optimizers import adamw, lion, quantize_state, schedule_free_adamw
from optimizers.wrappers._blocks import Blocks, code_book, dequantize, quantize


@pytest.fixture(scope="module")
def golden():  # tests/golden/wrappers.py wrote it
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "wrappers.npz")


def coded(x, block_size=256):
    return quantize(jnp.asarray(x), block_size, "nearest", jnp.int32(0), 0)


def read(blocks, block_size=256):
    return np.asarray(dequantize(blocks, block_size))


@pytest.mark.parametrize("signed", [True, False])
def test_the_code_books_are_those_of_bitsandbytes(golden, signed):
    peer = golden["signed_book" if signed else "unsigned_book"]
    np.testing.assert_allclose(code_book(signed=signed), peer, rtol=2e-7)


@pytest.mark.parametrize("signed", [True, False])
def test_every_code_stands_for_its_number(signed):
    """Reading is arithmetic, not a table; of a block with scale 1 it gives the book."""
    scale = jnp.array([1.0 if signed else -1.0])
    numbers = read(Blocks(jnp.arange(256, dtype=jnp.uint8), scale))
    np.testing.assert_allclose(numbers, code_book(signed=signed), rtol=2e-7)


@pytest.mark.parametrize("signed", [True, False])
def test_numbers_of_the_book_are_kept(signed):
    """Writing what was read gives the same codes; also where the largest number is not exactly 1."""
    book = code_book(signed=signed)
    for scale in (1.0, 0.3, 7e-20):
        np.testing.assert_array_equal(coded(scale * book).codes, np.arange(256))


@pytest.mark.parametrize("signed", [True, False])
def test_codes_equal_bitsandbytes(golden, signed):
    """Three blocks, the last one short. Wherever bitsandbytes has the nearest number, we have the same.

    Its CPU kernel looks codes up in a table and misses the nearest one among small numbers; ours is never farther off.
    """
    kind, x = ("signed", golden["numbers"]) if signed else ("unsigned", golden["numbers"] ** 2)
    blocks, peer, book = coded(x), golden[f"{kind}_codes"].astype(int), code_book(signed=signed).astype(float)
    np.testing.assert_allclose(np.abs(blocks.scales), golden[f"{kind}_scales"], rtol=1e-7)
    assert np.all((np.asarray(blocks.scales) > 0) == signed)
    ratio = np.float64(x) / np.repeat(golden[f"{kind}_scales"], 256)[:600]
    apart = np.abs(ratio[:, None] - book)
    nearest = np.argmin(apart, axis=1)
    ours = np.asarray(blocks.codes).astype(int)
    agrees = peer == nearest
    assert np.mean(agrees) > (0.95 if signed else 0.5)
    np.testing.assert_array_equal(ours[agrees], nearest[agrees] if signed else np.maximum(nearest[agrees], 1))
    rows, above = np.arange(600), ratio > (0 if signed else book[1])
    assert np.all(apart[rows, ours][above] <= apart[rows, peer][above] + 1e-7)


def test_each_number_goes_to_the_nearest_of_the_book():
    random = np.random.default_rng(0)
    x = (random.normal(size=(300, 16)) * 10.0 ** random.uniform(-8, 0, (300, 16))).astype(np.float32)
    for y, signed in ((x, True), (x * x, False)):
        book, blocks = code_book(signed=signed), coded(y, block_size=100)
        scales = np.repeat(np.max(np.abs(y.reshape(3, 100, 16)), axis=1), 100, axis=0)
        nearest = np.argmin(np.abs((y / scales)[..., None] - book), axis=-1)
        nearest = nearest if signed else np.maximum(nearest, y > 0)
        np.testing.assert_array_equal(blocks.codes, nearest)
        np.testing.assert_allclose(read(blocks, 100), scales * book[nearest], rtol=5e-7)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 9, 4), (300,), (600, 2)])
def test_any_shape_and_block(shape):
    """Blocks run along the longest axis; codes keep the shape; the error is at most half a cell of the top decade."""
    x = np.random.default_rng(0).uniform(0.1, 1, size=shape).astype(np.float32)
    for block_size in (1, 4, 256):
        blocks = coded(x, block_size)
        longest = max(shape, default=1)
        assert blocks.codes.shape == shape
        assert blocks.scales.size == np.size(x) // longest * -(-longest // block_size)
        np.testing.assert_allclose(read(blocks, block_size), x, rtol=0.5 * 0.9 / 128 / 0.1)


def test_degenerate_blocks():
    for x in (np.zeros(4), np.full(4, 1e-45), np.full(4, -1e-45)):
        np.testing.assert_array_equal(read(coded(x.astype(np.float32))), 0)
    np.testing.assert_allclose(read(coded(np.float32([0, -2, 0, 1]))), [0, -2 * 0.99296875, 0, 1], rtol=2e-3)
    big = read(coded(np.float32([3e38, -3e38, 1e38])))
    np.testing.assert_allclose(big, [3e38, -3e38, 1e38], rtol=0.02)
    for bad in (np.nan, np.inf):
        assert not np.any(np.isfinite(read(coded(np.float32([1.0, bad, -1.0, 0.5])))))


def test_no_second_moment_becomes_zero():
    """Numbers eight decades below the largest of the block: kept as the smallest number, but 0 stays 0."""
    x = np.float32([1.0, 1e-9, 1e-30, 0.0])
    np.testing.assert_allclose(read(coded(x)), np.float32([1.0, 3.25e-7, 3.25e-7, 0.0]), rtol=1e-6)


def test_stochastic_rounding_is_unbiased():
    x = np.float32([1.0, -0.5, 0.0123, 0.333, 4.56e-5, 0.98765])
    read_at = jax.jit(lambda t: dequantize(quantize(jnp.asarray(x), 256, "stochastic", t, 3), 256))
    seen = np.asarray(jax.vmap(read_at)(jnp.arange(20_000)), np.float64)
    error = np.abs(seen.mean(0) - np.float64(x))
    assert np.all(error[1:] <= 5 * seen[:, 1:].std(0) / np.sqrt(20_000) + 1e-7)
    assert np.all(seen.std(0)[1:] > 0)


def test_leaves_and_steps_are_rounded_with_noise_of_their_own():
    x = jnp.asarray(np.random.default_rng(0).normal(size=5000), jnp.float32)
    tx, grads = quantize_state(optax.ema(0.9, debias=False)), {"a": x, "b": x}
    state = tx.init(grads)
    update = jax.jit(tx.update)
    first, later = (update(grads, state._replace(count=jnp.int32(count)))[1].inner_state.ema for count in (0, 7))
    for other in (first["b"], later["a"]):
        assert 0.1 < np.mean(np.asarray(first["a"].codes != other.codes)) < 0.5


PARAMS = {"w": jnp.ones((128, 96)), "b": jnp.ones(96), "e": jnp.ones((5000,))}


def nbytes(tree):
    return sum(x.nbytes for x in jax.tree.leaves(tree))


def test_bytes_of_the_state():
    """One byte a word and four for each block of 256; what is smaller than min_size stays in float32."""
    large, small = 128 * 96 + 5000, 96
    scales = 96 * 1 + -(-5000 // 256)  # the longest axis of w has one block of 128 words in each of its 96 columns
    # Three counters: of the wrapper, of Adam; and none of the fixed learning rate.
    expected = 2 * (large + 4 * scales + 4 * small) + 2 * 4
    assert nbytes(quantize_state(adamw(1e-3)).init(PARAMS)) == expected
    assert nbytes(adamw(1e-3).init(PARAMS)) == 2 * 4 * (large + small) + 4
    wide = {"w": jnp.ones((1024, 256))}
    ratio = nbytes(quantize_state(adamw(1e-3)).init(wide)) / nbytes(adamw(1e-3).init(wide))
    assert 0.25 < ratio < 0.255


def kinds(state):
    """The paths of the arrays in codes."""
    leaves = jax.tree_util.tree_leaves_with_path(state, is_leaf=lambda x: isinstance(x, Blocks))
    return {jax.tree_util.keystr(p, simple=True, separator="/") for p, x in leaves if isinstance(x, Blocks)}


def test_what_is_kept_in_codes():
    nu_only = quantize_state(adamw(1e-3), where=lambda path: "nu" in path)
    assert kinds(nu_only.init(PARAMS)) == {"inner_state/0/nu/e", "inner_state/0/nu/w"}
    assert kinds(quantize_state(adamw(1e-3), min_size=96).init(PARAMS)) == {
        f"inner_state/0/{moment}/{name}" for moment in ("mu", "nu") for name in PARAMS
    }
    mask = {"w": True, "b": True, "e": False}
    assert kinds(quantize_state(optax.masked(adamw(1e-3), mask)).init(PARAMS)) == {
        "inner_state/inner_state/0/mu/w",
        "inner_state/inner_state/0/nu/w",
    }
    factored = quantize_state(optax.adafactor(1e-3, min_dim_size_to_factor=8))  # rows and columns are not the shape
    assert kinds(factored.init(PARAMS)) <= {"inner_state/0/v/e", "inner_state/4/v/e"}
    injected = quantize_state(optax.inject_hyperparams(adamw)(learning_rate=1e-3))
    assert len(kinds(injected.init(PARAMS))) == 4
    no_z = quantize_state(schedule_free_adamw(1e-3), where=lambda path: not path.startswith("z"))
    assert {path.split("/")[-2] for path in kinds(no_z.init(PARAMS))} == {"nu"}


def test_below_min_size_nothing_changes():
    params = {"w": jnp.ones((3, 4))}
    grads = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)}
    tx, plain = quantize_state(adamw(1e-2)), adamw(1e-2)
    state, plain_state = tx.init(params), plain.init(params)
    for _ in range(5):
        update, state = tx.update(grads, state, params)
        expected, plain_state = plain.update(grads, plain_state, params)
        np.testing.assert_array_equal(update["w"], expected["w"])


def test_the_update_reads_what_is_kept():
    """One step from a state is a step of the inner transformation from that state as it reads."""
    random = np.random.default_rng(0)
    params, g = (jnp.asarray(random.normal(size=(64, 64)), jnp.float32) for _ in range(2))
    tx, plain = quantize_state(adamw(1e-2)), adamw(1e-2)
    state = tx.init(params)
    for _ in range(3):
        kept = jax.tree.map(
            lambda x: dequantize(x, 256) if isinstance(x, Blocks) else x,
            state.inner_state,
            is_leaf=lambda x: isinstance(x, Blocks),
        )
        expected, _ = plain.update(g, kept, params)
        update, state = tx.update(g, state, params)
        np.testing.assert_allclose(update, expected, rtol=1e-6, atol=1e-9)


def test_codes_survive_serialization_and_moment_dtypes():
    for tx in (quantize_state(adamw(1e-2)), quantize_state(lion(1e-2, mu_dtype=jnp.bfloat16), rounding="stochastic")):
        _, state = jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
        back = flax.serialization.from_bytes(tx.init(PARAMS), flax.serialization.to_bytes(state))
        jax.tree.map(np.testing.assert_array_equal, back, state)
    scales = [x.scales for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, Blocks)) if hasattr(x, "scales")]
    assert {x.dtype for x in scales} == {jnp.dtype(jnp.bfloat16)}


def test_sharded_parameters_have_sharded_codes():
    """Eight devices: codes as the parameters, scales along with them, the same numbers as on one device."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = lambda *axes: jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(512, 16)), jnp.float32)
    placed, tx = jax.device_put(x, split("data")), quantize_state(optax.ema(0.9, debias=False), block_size=64)
    state = tx.init(placed)
    update, after = jax.jit(tx.update)(placed, state, placed)
    expected, expected_state = tx.update(x, tx.init(x), x)
    for each in (state, after):
        assert each.inner_state.ema.codes.sharding.is_equivalent_to(split("data"), 2)
    assert after.inner_state.ema.scales.sharding.is_equivalent_to(split("data"), 2)
    jax.tree.map(np.testing.assert_array_equal, after, expected_state)
    np.testing.assert_allclose(update, expected, rtol=1e-6)
    text = jax.jit(tx.update).lower(placed, state, placed).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))


def test_averages_need_no_array_of_float32():
    """Of an average alone the compiled update keeps scales and no more: codes are read and written in passing."""
    params = {str(k): jnp.ones((256, 256)) for k in range(4)}
    tx = quantize_state(optax.ema(0.9, debias=False))
    update = lambda grads, state, params: tx.update(grads, state, params)
    program = jax.jit(update, donate_argnums=(0, 1)).lower(params, tx.init(params), params).compile()
    assert program.memory_analysis().temp_size_in_bytes < 0.05 * params["0"].nbytes


def train(tx, seed=0):
    """The loss of a two-layer network on teacher data over 300 steps."""
    random = np.random.default_rng(7)
    shapes = {"a": (16, 64), "b": (64, 8)}
    teacher = {name: jnp.asarray(random.normal(size=s) / np.sqrt(s[0]), jnp.float32) for name, s in shapes.items()}
    network = lambda params, x: jnp.tanh(x @ params["a"]) @ params["b"]
    key = jax.random.key(seed)
    params = {n: jax.random.normal(jax.random.fold_in(key, i), s) * 0.1 for i, (n, s) in enumerate(shapes.items())}

    def step(carry, t):
        params, state = carry
        x = jax.random.normal(jax.random.fold_in(key, t), (32, 16))
        loss = lambda params: jnp.mean((network(params, x) - network(teacher, x)) ** 2)
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(300) + 100)[1]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_training_is_within_noise_of_float32(rounding):
    """The curve of the loss, smoothed, stays as near the float32 curve as another seed's does."""
    smooth = lambda losses: np.asarray(losses).reshape(10, 30).mean(1)
    run = jax.jit(train, static_argnums=0)
    plain = adamw(1e-2)
    full, other = smooth(run(plain, 0)), smooth(run(plain, 1))
    coded = smooth(run(quantize_state(adamw(1e-2), min_size=1, rounding=rounding), 0))
    assert full[-1] < 0.3 * full[0]
    noise = np.max(np.abs(np.log(other / full)))
    assert np.max(np.abs(np.log(coded / full))) < noise
