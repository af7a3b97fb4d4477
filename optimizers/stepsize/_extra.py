"""What the transformations of this room ask `update` for beside the gradient, and inner products of trees."""

from typing import Any

import jax
import jax.numpy as jnp

from optimizers._trees import PyTree, accumulator_dtype, wide


def required(function: str, name: str, value: Any) -> Any:
    """`value`, or a ValueError that says which argument of `update` is missing."""
    if value is None:
        raise ValueError(f"{function}: update needs {name}, which make_train_step gives it; got None")
    return value


def at_count(value: Any, count: jax.Array) -> Any:
    """A hyperparameter at this step: a schedule is evaluated, a number or array is itself in float32 or wider."""
    if isinstance(value, int | float):
        return float(value)
    value = jnp.asarray(value(count) if callable(value) else value)
    return value.astype(accumulator_dtype(value.dtype))


def inner_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The real inner product, in float32 or wider."""
    return jnp.sum(jnp.real(jnp.conj(wide(jnp.asarray(a))) * wide(jnp.asarray(b))))


def dots(left: PyTree, right: PyTree) -> list[jax.Array]:
    """The inner product of each pair of leaves."""
    return jax.tree.leaves(jax.tree.map(inner_product, left, right))


def total(numbers: list[jax.Array]) -> jax.Array:
    """The sum of scalars, 0 for none."""
    return sum(numbers, start=jnp.zeros([], jnp.float32))


def scalar_dtype(params: PyTree) -> Any:
    """The dtype of sums over the tree: float32 or wider, and real."""
    dtypes = [jnp.finfo(accumulator_dtype(jnp.result_type(p))).dtype for p in jax.tree.leaves(params)]
    return jnp.result_type(jnp.float32, *dtypes)
