"""The next byte of English: the language reference that Python carries for `help()`, `pydoc_data.topics`.

The text differs a little between versions of Python, so bits per byte compare within one version only.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.train.tasks.common import (
    Arrays,
    ClassHead,
    Defaults,
    LossFn,
    Metric,
    Objective,
    Task,
    mean_objective,
    predicted_class,
)
from objectives import softmax_cross_entropy

CONTEXT = 64
HELD_OUT = 0.1
TEST_WINDOWS = 128
BITS = Metric("bits_per_byte", "bits per byte", 1.0, 3, "", higher_is_better=False)
ACCURACY = Metric("accuracy", "next-byte accuracy", 100.0, 2, "%", higher_is_better=True)
ENTRIES = ({"optimizer": "adamw"}, {"optimizer": "ademamix"}, {"optimizer": "lion"})


def load() -> Task:
    """The task: a byte from the 64 before it; the last tenth of the text is held out."""
    train, test = load_text_split()
    network = Transformer()
    windows = len(train["bytes"]) // (CONTEXT + 1)
    return Task(
        name="text",
        about="bytes of Python's pydoc_data.topics, small transformer, 64 bytes of context; the last tenth held out",
        train=train,
        test=test,
        init=lambda key: network.init(key, jnp.zeros((1, CONTEXT), jnp.int32)),
        sample=_windows,
        loss=lambda objective, apart: _loss(network, objective),
        evaluate=lambda objective, params, test: _evaluate(network, objective, params, test),
        metrics=(BITS, ACCURACY),
        defaults=Defaults(seeds=2, steps=400, batch=32, learning_rate=3e-3, entries=ENTRIES),
        examples=windows,
    )


def load_text_split() -> tuple[Arrays, Arrays]:
    """Training text as `bytes` uint8 `[N]`, and evenly spaced `windows` of the held-out tail, uint8 `[M, 65]`."""
    from pydoc_data.topics import topics

    text = np.frombuffer("\n\n".join(topics[name] for name in sorted(topics)).encode(), np.uint8)
    cut = int(len(text) * (1.0 - HELD_OUT))
    tail = text[cut:]
    starts = np.linspace(0, len(tail) - CONTEXT - 1, TEST_WINDOWS).astype(int)
    return {"bytes": text[:cut]}, {"windows": np.stack([tail[start : start + CONTEXT + 1] for start in starts])}


class Transformer(nn.Module):
    """Two causal layers of attention and a dense layer each."""

    width: int = 64
    heads: int = 4
    layers: int = 2

    @nn.compact
    def __call__(self, tokens: jax.Array) -> Arrays:
        """Bytes `[B, T]` to logits `[B, T, 256]`, under the names that an objective may ask for."""
        positions = self.param("positions", nn.initializers.normal(0.02), (CONTEXT, self.width))
        x = nn.Embed(256, self.width)(tokens) + positions
        for _ in range(self.layers):
            x = x + self._attend(nn.LayerNorm()(x))
            x = x + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        logits = ClassHead(256)(nn.LayerNorm()(x))["logits"]
        return {"logits": logits, "predictions": logits}

    def _attend(self, x: jax.Array) -> jax.Array:
        length, size = x.shape[1], self.width // self.heads
        query, key, value = jnp.split(nn.DenseGeneral((self.heads, 3 * size))(x), 3, axis=-1)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * size**-0.5
        causal = jnp.tril(jnp.ones((length, length), bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
        return nn.DenseGeneral(self.width, axis=(-2, -1))(mixed)


def _windows(arrays: Arrays, key: jax.Array, step: jax.Array, size: int) -> Arrays:
    text = jnp.asarray(arrays["bytes"])
    starts = jax.random.randint(jax.random.fold_in(key, step), (size,), 0, len(text) - CONTEXT)
    return {"windows": text[starts[:, None] + jnp.arange(CONTEXT + 1)]}


def _loss(network: Transformer, objective: Objective) -> LossFn:
    def loss_fn(params: Arrays, batch: Arrays, key: jax.Array) -> tuple[jax.Array, Arrays]:
        del key
        windows = batch["windows"].astype(jnp.int32)
        outputs: Any = network.apply(params, windows[:, :-1])
        return mean_objective(objective, outputs, windows[:, 1:]), {}

    return loss_fn


def _evaluate(network: Transformer, objective: Objective, params: Arrays, test: Arrays) -> Arrays:
    windows = test["windows"].astype(jnp.int32)
    outputs: Any = network.apply(params, windows[:, :-1])
    nats = jnp.mean(softmax_cross_entropy(outputs["logits"], windows[:, 1:]))
    return {
        "bits_per_byte": nats / jnp.log(2.0),
        "accuracy": jnp.mean(predicted_class(objective, outputs) == windows[:, 1:]),
    }
