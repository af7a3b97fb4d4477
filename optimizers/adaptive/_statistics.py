"""Numbers of a whole tensor: norms, means of squares, and second moments kept as rows and columns.

What they are numbers of is computed once more for the update: made of `reread` arrays, it takes no memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from optimizers._moments import TINY, average, real_dtype, reread, square, zeros_for
from optimizers._trees import PyTree, accumulator_dtype

Axes = tuple[int, int]


def mean(x: jax.Array) -> jax.Array:
    """The mean of all elements, 0 of nothing."""
    return jnp.sum(x) / max(x.size, 1)


def norm(x: jax.Array) -> jax.Array:
    """The L2 norm of the elements."""
    return jnp.sqrt(jnp.sum(square(x)))


def root_mean_square(x: jax.Array) -> jax.Array:
    """√(mean |x|²), 0 of nothing."""
    return norm(x) / max(x.size, 1) ** 0.5


class Factored(NamedTuple):
    """Averages of squares: of the rows and of the columns of a tensor, or of its elements; the others are None."""

    row: Any
    col: Any
    whole: Any


def squares(axes: Axes | None, made: Callable[..., jax.Array], *arrays: Any) -> Factored:
    """Squares of what is `made` of arrays: means over the second of two axes and over the first; without axes, all."""
    if axes is None:
        return Factored(None, None, square(made(*arrays)))
    row = jnp.mean(square(made(*reread(*arrays))), axis=axes[1])
    again, _ = reread(arrays, row)
    return Factored(row, jnp.mean(square(made(*again)), axis=axes[0]), None)


def factored_average(decay: Any, growth: Any, old: Factored, x: Factored, shift: Any) -> Factored:
    """A moving average of `x + shift`."""
    return Factored(*(None if o is None else average(decay, growth, o, s + shift) for o, s in zip(old, x, strict=True)))


def roots(squares: Factored, axes: Axes | None) -> Factored:
    """What `over_root` takes: 1 / √V as rows and columns where V = rows ⊗ columns / mean(rows), otherwise all of V."""
    if axes is None:
        return squares
    row, col = jnp.expand_dims(squares.row, axes[1]), jnp.expand_dims(squares.col, axes[0])
    relative = row / (jnp.mean(row, axis=axes[0], keepdims=True) + TINY)
    return Factored(lax.rsqrt(relative + TINY), lax.rsqrt(col + TINY), None)


def over_root(x: jax.Array, root: Factored, part: Any = 1.0) -> jax.Array:
    """A part of x / √V, 0 where both are 0."""
    return part * x * lax.rsqrt(root.whole + TINY) if root.row is None else x * (part * root.row) * root.col


def factored_moment(
    name: str, axes_of: Callable[[tuple[int, ...]], Axes | None]
) -> dict[str, Callable[[PyTree], PyTree]]:
    """The initial moments `name_row`, `name_col` and `name`, each None for the tensors that have another.

    Rows and columns are made of parts of their parameter, so that they lie on the devices where those do.
    """

    def without(p: jax.Array, axis: int) -> jax.Array:
        wide = real_dtype(accumulator_dtype(p.dtype))
        return jnp.zeros_like(lax.index_in_dim(p, 0, axis, keepdims=False), dtype=wide)

    def made_by(leaf: Callable[[jax.Array, Axes | None], jax.Array | None]) -> Callable[[PyTree], PyTree]:
        return lambda params: jax.tree.map(lambda p: leaf(jnp.asarray(p), axes_of(jnp.shape(p))), params)

    return {
        f"{name}_row": made_by(lambda p, axes: axes and without(p, axes[1])),
        f"{name}_col": made_by(lambda p, axes: axes and without(p, axes[0])),
        name: made_by(lambda p, axes: zeros_for(p, real=True) if axes is None else None),
    }
