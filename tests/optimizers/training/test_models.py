"""The same train step with flax.linen, flax.nnx and a bare pytree, each to 95 % on held-out digits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from optimizers import TrainState, make_train_step, sam


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images.astype(np.float32) / 16.0, labels, test_size=0.2, stratify=labels, random_state=0)
    return [jnp.asarray(part) for part in split]


def cross_entropy(logits, labels):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train(loss_fn, tx, digits, steps=250, **options):
    """A whole training under one jit: `steps` random batches of 128."""
    train_x, _, train_y, _ = digits
    rule = options.pop("gradient", None)
    step = make_train_step(loss_fn, tx, **({"gradient": rule} if rule else {}))
    state = TrainState.create(tx=tx, **options)

    @jax.jit
    def loop(state):
        def body(state, key):
            rows = jax.random.randint(key, (128,), 0, len(train_x))
            return step(state, {"x": train_x[rows], "y": train_y[rows]})

        return jax.lax.scan(body, state, jax.random.split(jax.random.key(7), steps))[0]

    return loop(state)


def accuracy(logits, digits):
    return float(jnp.mean(logits.argmax(-1) == digits[3]))


class Perceptron(nn.Module):
    """Batch normalisation and dropout: mutable state and a key."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(64)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(10)(x)


@pytest.mark.parametrize("gradient", [None, sam(0.05)], ids=["backprop", "sam"])
def test_linen_with_batch_statistics_and_dropout(gradient, digits):
    model = Perceptron()
    variables = model.init(jax.random.key(0), digits[0][:1], train=False)

    def loss_fn(params, batch, key, batch_stats):
        logits, changed = model.apply(
            {"params": params, "batch_stats": batch_stats},
            batch["x"],
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return cross_entropy(logits, batch["y"]), ({}, changed["batch_stats"])

    options = {"params": variables["params"], "model_state": variables["batch_stats"]}
    state = train(loss_fn, optax.adam(3e-3), digits, gradient=gradient, **options)
    logits = model.apply({"params": state.params, "batch_stats": state.model_state}, digits[1], train=False)
    assert accuracy(logits, digits) >= 0.95


def test_batch_statistics_are_those_of_the_first_pass():
    model = nn.BatchNorm(use_running_average=False, momentum=0.5)
    batch = jnp.array([[1.0], [3.0]])
    variables = model.init(jax.random.key(0), batch)

    def loss_fn(params, batch, key, batch_stats):
        out, changed = model.apply(
            {"params": params["norm"], "batch_stats": batch_stats}, batch * params["scale"], mutable=["batch_stats"]
        )
        return jnp.sum(out**3) + params["scale"] ** 2, ({}, changed["batch_stats"])

    params, tx = {"norm": variables["params"], "scale": jnp.float32(1.0)}, optax.sgd(0.1)
    state = TrainState.create(params=params, tx=tx, model_state=variables["batch_stats"])
    state, _ = make_train_step(loss_fn, tx, gradient=sam(1.0))(state, batch)
    # One update from mean 0 and variance 1 with the unperturbed batch, mean 2 and variance 1.
    np.testing.assert_allclose(state.model_state["mean"], [1.0], rtol=1e-6)
    np.testing.assert_allclose(state.model_state["var"], [1.0], rtol=1e-6)


def test_nnx(digits):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(64, 64, rngs=rngs)
            self.norm = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
            self.head = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.norm(self.hidden(x))))

    graph, params, rest = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)

    def loss_fn(params, batch, key, rest):
        model = nnx.merge(graph, params, rest, copy=True)
        loss = cross_entropy(model(batch["x"]), batch["y"])
        return loss, ({}, nnx.split(model, nnx.Param, ...)[2])

    state = train(loss_fn, optax.adam(3e-3), digits, params=params, model_state=rest)
    model = nnx.merge(graph, state.params, state.model_state)
    model.eval()
    assert accuracy(model(digits[1]), digits) >= 0.95


def test_bare_pytree(digits):
    random = np.random.default_rng(0)
    params = [
        {"w": jnp.asarray(random.normal(size=shape) / np.sqrt(shape[0]), jnp.float32), "b": jnp.zeros(shape[1])}
        for shape in ((64, 64), (64, 10))
    ]

    def predict(params, x):
        return jax.nn.relu(x @ params[0]["w"] + params[0]["b"]) @ params[1]["w"] + params[1]["b"]

    loss_fn = lambda params, batch, key: (cross_entropy(predict(params, batch["x"]), batch["y"]), {})
    state = train(loss_fn, optax.adam(3e-3), digits, params=params)
    assert accuracy(predict(state.params, digits[1]), digits) >= 0.95
