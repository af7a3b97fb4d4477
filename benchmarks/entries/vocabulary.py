"""Cross-entropy over a large vocabulary, value and both gradients: our sweep beside Optax's loss of all logits.

The temporaries are the point. Ours are the logits of some hundred rows, and in half precision the weights' gradient in
float32; Optax's are the logits, 1 GB, and their gradient.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import objectives
from benchmarks.harness import Entry, Peer, Program, nbytes

SHAPE, QUICK = (4096, 512, 65_536), (64, 8, 256)
Arrays = tuple[jax.Array, jax.Array, jax.Array]


def entry(dtype: Any) -> Entry:
    """Features, weights and ids of one dtype."""

    def arrays(quick: bool) -> Arrays:
        rows, width, classes = QUICK if quick else SHAPE
        random = np.random.default_rng(0)
        features = jnp.asarray(random.standard_normal((rows, width), np.float32), dtype)
        weights = jnp.asarray(random.standard_normal((classes, width), np.float32) * width**-0.5, dtype)
        return features, weights, jnp.asarray(random.integers(0, classes, rows), jnp.int32)

    def ours(features: jax.Array, weights: jax.Array, ids: jax.Array) -> Program:
        def loss(features: jax.Array, weights: jax.Array) -> jax.Array:
            return objectives.linear_cross_entropy(features, weights, ids, reduction="mean")

        return Program(jax.value_and_grad(loss, (0, 1)), (features, weights))

    def theirs(features: jax.Array, weights: jax.Array, ids: jax.Array) -> Program:
        def loss(features: jax.Array, weights: jax.Array) -> jax.Array:
            return optax.losses.softmax_cross_entropy_with_integer_labels(features @ weights.T, ids).mean()

        return Program(jax.value_and_grad(loss, (0, 1)), (features, weights))

    return Entry(
        name=f"linear-cross-entropy/{jnp.dtype(dtype)}",
        arrays=arrays,
        ours=ours,
        peer=Peer("optax cross-entropy of features @ weights.T", "optax", theirs),
        moved=lambda features, weights, ids: 2 * nbytes((features, weights)),
        goal=1.0,
        # In half precision the peer's logits are rounded and ours are not.
        result=(lambda output: output) if dtype == jnp.float32 else None,
    )


ENTRIES = [entry(jnp.float32), entry(jnp.bfloat16)]
