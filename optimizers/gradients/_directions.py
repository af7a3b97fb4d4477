"""What the estimators share that need no backward pass: random directions, and the mean over them.

A slope along a random direction v, times v, is the gradient on average, because the entries of v are uncorrelated and
of variance 1: E[(v g) v] = g.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from optimizers._trees import PyTree, accumulator_dtype, wide

Distribution = Literal["normal", "rademacher"]


def check_distribution(function: str, distribution: Any) -> None:
    """Raise ValueError unless `distribution` is the name of one."""
    if distribution not in get_args(Distribution):
        raise ValueError(f"{function}: distribution must be one of {get_args(Distribution)}, got {distribution!r}")


def check_scalar(function: str, value: Any) -> None:
    """Raise ValueError unless the loss is a scalar."""
    if jnp.ndim(value):
        raise ValueError(f"{function}: loss_fn must return a scalar, got shape {jnp.shape(value)}")


def same_structure(left: PyTree, right: PyTree) -> bool:
    """Whether two pytrees have the same structure."""
    structure: Any = jax.tree.structure(left)
    return bool(structure == jax.tree.structure(right))


def random_direction(key: jax.Array, params: PyTree, distribution: Distribution) -> PyTree:
    """Independent entries of mean 0 and variance 1, in the structure, shapes and dtypes of `params`."""
    draw = jax.random.normal if distribution == "normal" else jax.random.rademacher
    leaves, structure = jax.tree.flatten(params)
    drawn = [
        draw(jax.random.fold_in(key, i), leaf.shape, accumulator_dtype(leaf.dtype)).astype(leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, drawn)


def times(slope: jax.Array, direction: PyTree) -> PyTree:
    """`slope * direction` in float32 or wider."""
    return jax.tree.map(lambda d: wide(slope) * wide(d), direction)


def like(params: PyTree, estimate: PyTree) -> PyTree:
    """The estimate in the dtypes of the parameters."""
    return jax.tree.map(lambda p, e: e.astype(p.dtype), params, estimate)


def mean_over_draws(
    one: Callable[[jax.Array], tuple[PyTree, PyTree]], key: jax.Array, draws: int, sequential: bool
) -> tuple[PyTree, PyTree]:
    """The outcome and the mean estimate of `draws` calls of `one(key) -> (outcome, estimate)`.

    The outcome, which no draw changes, is that of one of them.
    """
    if draws == 1:
        return one(key)
    keys = jax.random.split(key, draws)
    if not sequential:
        outcomes, estimates = jax.vmap(one)(keys)
        return jax.tree.map(lambda x: x[0], outcomes), jax.tree.map(lambda e: jnp.mean(e, axis=0), estimates)

    def body(carry: PyTree, key: jax.Array) -> tuple[PyTree, None]:
        outcome, estimate = one(key)
        return (outcome, jax.tree.map(jnp.add, carry[1], estimate)), None

    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, key))
    (outcome, total), _ = jax.lax.scan(body, start, keys)
    return outcome, jax.tree.map(lambda t: t / draws, total)
