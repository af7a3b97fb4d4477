"""The maximal update parametrisation against the mup package, against Adam, and by its coordinate check."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from optimizers import adam, adamw, mup_adam, mup_adamw, mup_init, mup_multipliers, mup_scale

NAMES = ("input", "hidden", "output")


def layers(width):
    shapes = {"input": (3, width), "hidden": (width, width), "output": (width, 2)}
    return {
        f"{name}/{part}": shapes[name][-1:] if part == "bias" else shapes[name]
        for name in NAMES
        for part in ("kernel", "bias")
    }


def arrays(width):
    return {name: jnp.ones(shape) for name, shape in layers(width).items()}


def network(params, x):
    """Activations of all layers."""
    found = [jnp.tanh(x @ params["input/kernel"] + params["input/bias"])]
    found.append(jnp.tanh(found[-1] @ params["hidden/kernel"] + params["hidden/bias"]))
    return [*found, found[-1] @ params["output/kernel"] + params["output/bias"]]


def loss_fn(params, x, y):
    return jnp.mean((network(params, x)[-1] - y) ** 2)


def train(tx, params, x, y, steps):
    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss_fn)(params, x, y), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0][0]

    return run(params)


@pytest.fixture(scope="module")
def golden():  # tests/golden/maximal_update.py wrote it
    return np.load(pathlib.Path(__file__).parents[1] / "golden" / "maximal_update.npz")


BASE = jax.eval_shape(lambda: arrays(8))
GOLDEN = {
    "adam": mup_adam(1e-2, BASE, eps=0.0),
    "adamw": mup_adamw(1e-2, BASE, eps=0.0, weight_decay=0.1),
    "sgd": optax.chain(mup_scale(BASE, "sgd"), optax.sgd(1e-2)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_training_equals_the_mup_package(golden, name):
    """The effective weights; in the form with a multiplier their decay is that of the stored ones."""
    with jax.enable_x64(True):
        before, after = ({k: golden[f"{name} {when} {k}"] for k in layers(32)} for when in ("before", "after"))
        x, y = golden[f"{name} x"], golden[f"{name} y"]
        found = train(GOLDEN[name], jax.tree.map(jnp.asarray, before), x, y, 10)
        for leaf in layers(32):
            np.testing.assert_allclose(found[leaf], after[leaf], rtol=1e-8, atol=1e-10, err_msg=leaf)
            assert np.max(np.abs(after[leaf] - before[leaf])) > 1e-4


@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_factors_follow_the_papers_table(method):
    """Table 3 of Tensor Programs V: rates as powers of fan-in and fan-out, relative to the base."""
    found = mup_multipliers(jax.eval_shape(lambda: arrays(24)), BASE, method)
    rates = {"adam": (1.0, 1 / 3, 1 / 3, 1.0), "sgd": (3.0, 1.0, 1 / 3, 3.0)}[method]
    assert [found[f"{name}/kernel"] for name in NAMES] == pytest.approx(rates[:3])
    assert [found[f"{name}/bias"] for name in NAMES] == pytest.approx([rates[3], rates[3], 1.0])


def test_axes_of_attention_and_other_layouts():
    shapes = lambda width: {
        "query": jax.ShapeDtypeStruct((width, 4, width // 4), jnp.float32),
        "mix": jax.ShapeDtypeStruct((4, width // 4, width), jnp.float32),
        "embedding": jax.ShapeDtypeStruct((256, width), jnp.float32),
        "stacked": jax.ShapeDtypeStruct((6, width, 4 * width), jnp.float32),
        "torch": jax.ShapeDtypeStruct((10, width), jnp.float32),
    }
    found = mup_multipliers(shapes(128), shapes(64), is_output=lambda path: path == "torch")
    assert found == {"query": 0.5, "mix": 0.5, "embedding": 1.0, "stacked": 0.5, "torch": 0.5}
    assert mup_multipliers(shapes(128), shapes(64))["torch"] == 1.0
    with pytest.raises(ValueError, match="^mup_multipliers: base must differ in two axes of a leaf at most"):
        mup_multipliers(jnp.ones((4, 4, 4)), jnp.ones((2, 2, 2)))


def test_the_base_model_itself_is_trained_by_plain_adam_bit_for_bit():
    random = np.random.default_rng(0)
    params = {k: jnp.asarray(random.normal(size=s), jnp.float32) for k, s in layers(8).items()}
    x, y = (jnp.asarray(random.normal(size=(4, n)), jnp.float32) for n in (3, 2))
    for ours, plain in ((mup_adam(1e-2, BASE), adam(1e-2)), (mup_adamw(1e-2, BASE), adamw(1e-2))):
        jax.tree.map(np.testing.assert_array_equal, *(train(tx, params, x, y, 5) for tx in (ours, plain)))
    jax.tree.map(np.testing.assert_array_equal, mup_init(params, params), params)


def standard(width, seed=0, seeds=()):
    """The usual first values: 1 / √fan-in, and zero biases; several of them along a leading axis."""
    random = np.random.default_rng(seed)
    normal = lambda s: random.normal(size=(*seeds, *s)) * s[0] ** -0.5 if len(s) == 2 else np.zeros((*seeds, *s))
    return {name: normal(shape).astype(np.float32) for name, shape in layers(width).items()}


def test_first_values_have_the_papers_size_whatever_the_initialiser():
    sizes = {"input": 3**-0.5, "hidden": 1 / 16, "output": 256**-0.5 * (64 / 256) ** 0.5}
    narrow, wide = standard(64), standard(256, seed=1)
    spoilt = jax.tree.map(lambda p: 7.0 * p, wide)
    for params in (wide, spoilt):
        found = mup_init(params, narrow)
        for name in NAMES:
            # The base's own root mean square is off by 1 / √(2 · 128) at most, where 128 numbers are drawn.
            assert float(jnp.std(found[f"{name}/kernel"])) == pytest.approx(sizes[name], rel=0.2)
            np.testing.assert_array_equal(found[f"{name}/bias"], 0.0)
    half = mup_init(jax.tree.map(lambda p: p.astype(jnp.bfloat16), wide), narrow)
    assert {p.dtype for p in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}


def movement(width, make, prepare):
    """How far each layer's activations have moved after three steps, root mean square over entries and seeds."""
    random = np.random.default_rng(0)
    x, y = (jnp.asarray(random.normal(size=(8, n)), jnp.float32) for n in (3, 2))

    def moved(params, base):
        params = prepare(params, base)
        trained = train(make(), params, x, y, 3)
        return jnp.stack([jnp.mean((b - a) ** 2) for a, b in zip(network(params, x), network(trained, x))])

    starts = standard(width, 0, (4,)), standard(32, 1, (4,))
    return np.sqrt(np.mean(jax.jit(jax.vmap(moved))(*starts), axis=0))


WIDE = {
    "mup": (lambda: mup_adam(3e-4, jax.eval_shape(lambda: arrays(32))), mup_init),
    "standard": (lambda: adam(3e-4), lambda params, base: params),
}


def test_activations_move_as_far_at_every_width():
    """The coordinate check: eight times the width, the same movement of every layer; not so with plain Adam."""
    growth = {name: movement(256, *pieces) / movement(32, *pieces) for name, pieces in WIDE.items()}
    assert np.all((growth["mup"] > 0.5) & (growth["mup"] < 2)), growth
    assert growth["standard"][-1] > 4, growth


def test_trees_that_differ_are_named():
    tx = mup_scale(BASE)
    with pytest.raises(ValueError, match="^mup_scale: base must have the leaves of the parameters"):
        tx.update({"w": jnp.ones(3)}, tx.init(None))
    with pytest.raises(ValueError, match="^mup_init: base must have the axes of w"):
        mup_init({"w": jnp.ones((3, 3))}, {"w": jnp.ones(3)})


class LinenNet(linen.Module):
    width: int

    @linen.compact
    def __call__(self, x):
        for size in (self.width, self.width):
            x = jnp.tanh(linen.Dense(size)(x))
        return linen.Dense(2)(x)


class NnxNet(nnx.Module):
    def __init__(self, width, rngs):
        self.layers = nnx.List([nnx.Linear(*sizes, rngs=rngs) for sizes in ((3, width), (width, width), (width, 2))])

    def __call__(self, x):
        first, hidden, head = self.layers
        return head(jnp.tanh(hidden(jnp.tanh(first(x)))))


def test_linen_and_nnx_train_alike():
    """The same first values give the same losses, and the hidden layer and the head a quarter of the step."""
    x, y = jnp.ones((5, 3)), jnp.ones((5, 2))
    model, narrow = NnxNet(8, nnx.Rngs(0)), nnx.state(NnxNet(2, nnx.Rngs(1)), nnx.Param)
    nnx.update(model, mup_init(nnx.state(model, nnx.Param), narrow))
    name = lambda number: f"Dense_{number}"
    linen_of = lambda model: {
        "params": {
            name(n): {k: jnp.array(getattr(layer, k)[...]) for k in ("kernel", "bias")}
            for n, layer in enumerate(model.layers)
        }
    }
    params, base = linen_of(model), LinenNet(2).init(jax.random.key(0), x)
    optimizer = nnx.Optimizer(model, mup_adam(1e-2, narrow), wrt=nnx.Param)
    tx = mup_adam(1e-2, base)
    state, before = tx.init(params), params
    losses = []
    for _ in range(2):
        loss, grad = nnx.value_and_grad(lambda model: jnp.mean((model(x) - y) ** 2))(model)
        optimizer.update(model, grad)
        other, grad = jax.value_and_grad(lambda p: jnp.mean((LinenNet(8).apply(p, x) - y) ** 2))(params)
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        losses.append((loss, other))
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), linen_of(model), params)
    steps = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), before, params)["params"]
    assert steps["Dense_1"]["kernel"] < 0.3 * steps["Dense_0"]["kernel"]
    assert steps["Dense_2"]["kernel"] < 0.3 * steps["Dense_0"]["kernel"]
