"""Optimizer states in eight bits a word, around any transformation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer
from optimizers._trees import PyTree
from optimizers.wrappers._blocks import Rounding, dequantize, is_blocks, quantize
from optimizers.wrappers._inner import check_transformation


class QuantizedState(NamedTuple):
    """The state of the inner transformation with `Blocks` in place of large arrays, and the number of updates."""

    count: jax.Array  # type: ignore[assignment]
    inner_state: PyTree


def _is_masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def quantize_state(
    inner: optax.GradientTransformation,
    block_size: int = 256,
    min_size: int = 4096,
    *,
    rounding: Rounding = "stochastic",
    where: Callable[[str], bool] | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep the moments of any transformation in eight bits a word.

    $$m_i = s_{b(i)}\, q_{k_i}, \qquad s_b = \max_{i \in b} |m_i|$$

    for blocks b of `block_size` words, codes k_i of eight bits and a code book q of 256 numbers, finer for large
    numbers and seven decades deep (dynamic-tree quantization). At each step the state is read through the book, the
    inner transformation updates it in float32, and it is written back. A block without negative numbers, such as those
    of a second moment, uses a book without signs: nothing has to be said about which moment is which.

    What is kept in codes: every floating-point array of the state that has the shape of its parameter and at least
    `min_size` elements; counters, factored moments, masked leaves and small arrays stay as they are. 8 bits hold
    statistics of gradients, not parameters: exclude copies of parameters (`schedule_free`'s z, `mars(exact=True)`,
    `parameter_ema`) by `where`, or leave them outside this wrapper in the chain.

    What is saved is what the state holds between updates. While an update runs, the compiler may keep the new moments
    of all leaves in float32 beside it, in the memory that activations have left; and coding is arithmetic, a hundred
    operations a word, with which the update of a large tree on a CPU takes about ten times as long as AdamW's.

    Blocks run along the longest axis of an array, and codes have its shape, so a sharded parameter has equally sharded
    codes, its scales are sharded along with it, and nothing is exchanged between devices where each holds whole blocks.
    bitsandbytes cuts the flattened array instead, in row-major order. It also rounds small second moments to 0; here a
    positive number of a block without signs never becomes 0, since a step divides by its root.

    Args:
        inner: The transformation whose state is kept in codes.
        block_size: Words in a block, at least 1. A scale takes four bytes.
        min_size: Number of elements from which on an array is kept in codes, at least 1.
        rounding: "stochastic", up or down at random without bias, which follows the curve of float32 states the
            closest; or "nearest", bitsandbytes' way, in which an average stays where it is as long as a step is less
            than half a cell of the book.
        where: `where(path) -> bool`, whether an array may be kept in codes; the path is that of the array in the inner
            state, such as "0/mu/dense/kernel". None means all.

    Returns:
        An Optax transformation; updates are those of `inner` for the state as it is kept.

    Raises:
        ValueError: `block_size` or `min_size` is less than 1, or `rounding` is neither of the two.
        TypeError: `inner` is not a transformation, `where` not a function, or a size no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from optimizers import adamw
        >>> params = {"w": jnp.ones((256, 256)), "b": jnp.ones(256)}
        >>> bytes_of = lambda tx: sum(x.nbytes for x in jax.tree.leaves(tx.init(params)))
        >>> print(bytes_of(adamw(1e-3)), bytes_of(quantize_state(adamw(1e-3))))
        526340 135176

    Source:
        T. Dettmers, M. Lewis, S. Shleifer, L. Zettlemoyer, "8-bit Optimizers via Block-wise Quantization", 2022.
    """
    inner = check_transformation("quantize_state", "inner", inner)
    block_size = check_positive_integer("quantize_state", "block_size", block_size)
    min_size = check_positive_integer("quantize_state", "min_size", min_size)
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f"quantize_state: rounding must be 'nearest' or 'stochastic', got {rounding!r}")
    if where is not None:
        check_callable("quantize_state", "where", where, "(path) -> bool")

    def write(number: int, x: Any, count: jax.Array) -> Any:
        return quantize(jnp.asarray(x), block_size, rounding, count, number)

    def init(params: PyTree) -> QuantizedState:
        state, count = inner.init(params), jnp.zeros([], jnp.int32)

        def large(x: Any, p: Any) -> Any:
            if _is_masked(x):
                return x
            like = jnp.shape(x) == jnp.shape(p) and jnp.issubdtype(jnp.result_type(x), jnp.floating)
            return like and jnp.size(x) >= min_size

        chosen = optax.tree.map_params(
            inner, large, state, params, transform_non_params=lambda _: False, is_leaf=_is_masked
        )
        treedef: Any  # opaque to the type checker
        paths, treedef = jax.tree_util.tree_flatten_with_path(state)

        def leaf(number: int, path: Any, x: Any, chosen: bool) -> Any:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return write(number, x, count) if chosen and (where is None or where(name)) else x

        leaves = [leaf(k, *px, c) for k, (px, c) in enumerate(zip(paths, treedef.flatten_up_to(chosen), strict=True))]
        return QuantizedState(count, treedef.unflatten(leaves))

    def update(
        updates: PyTree, state: QuantizedState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, QuantizedState]:
        count = optax.safe_increment(state.count)
        treedef: Any  # opaque to the type checker
        olds, treedef = jax.tree.flatten(state.inner_state, is_leaf=is_blocks)
        wide = treedef.unflatten([dequantize(x, block_size) if is_blocks(x) else x for x in olds])
        updates, wide = inner.update(updates, wide, params, **extra_args)
        new = treedef.flatten_up_to(wide)
        kept = [
            write(number, x, count) if is_blocks(old) else x
            for number, (x, old) in enumerate(zip(new, olds, strict=True))
        ]
        return updates, QuantizedState(count, treedef.unflatten(kept))

    return optax.GradientTransformationExtraArgs(init, update)
