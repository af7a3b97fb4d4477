"""Which leaves are matrices, and which of their axes are rows and columns."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from optimizers._trees import PyTree
from optimizers.matrix._stacks import WideView, wide_view

DimensionNumbers = Any  # MuonDimensionNumbers, a tree of them and None, or a function from parameters to one

_EMBEDDING = re.compile(r"embed|^wte$|^wpe$|vocab")
_LAST = re.compile(r"^(.*_)?(head|heads|logits|classifier|readout|lm_head|output_layer|output_projection)(_?\d+)?$")
_CONVOLUTION = re.compile(r"conv")


def _leaf_numbers(path: Any, leaf: Any) -> MuonDimensionNumbers | None:
    names = re.split(r"[/.]", jax.tree_util.keystr(path, simple=True, separator="/").lower())
    first = [name for name in names if name not in ("params", "")][:1]
    rank = jnp.ndim(leaf)
    if rank < 2 or jnp.size(leaf) == 0 or first in (["output"], ["out"]):
        return None
    if any(_EMBEDDING.search(name) or _LAST.match(name) for name in names):
        return None
    if rank == 2:
        return MuonDimensionNumbers(0, 1)
    if rank > 3 or any(_CONVOLUTION.search(name) for name in names):
        return MuonDimensionNumbers(tuple(range(rank - 1)), rank - 1)
    return None


def muon_dimension_numbers(params: PyTree) -> PyTree:
    """Which leaves are weights of hidden layers, for Muon, and which are not, for AdamW: the default rule.

    A leaf is left to AdamW (None) if it is

    - a scalar, a vector or empty,
    - an embedding: a key on its path contains `embed` or `vocab`, or is `wte` or `wpe`,
    - a last layer: a key is `head`, `logits`, `classifier`, `readout`, `output_layer` or `output_projection`, also with
      a prefix or a number (`lm_head`, `head_2`); or the outermost key, `params` apart, is `output` or `out`,
    - of rank 3 and no key contains `conv`: such a leaf may be a stack of layers or the projection to several attention
      heads, and only you know its axes.

    Other matrices are [in, out]; other leaves of higher rank are convolution kernels [..., in, out], whose leading axes
    are flattened together.

    Args:
        params: Tree of arrays, or of their gradients.

    Returns:
        A tree with `optax.contrib.MuonDimensionNumbers` or None in the place of each leaf; edit it, or write a function
        like this one, for the argument `muon_weight_dimension_numbers`.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"embed": jnp.ones((9, 4)), "dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
        >>> print(muon_dimension_numbers(params)["dense"]["kernel"].output_axis)
        1
        >>> print(muon_dimension_numbers(params)["embed"], muon_dimension_numbers(params)["dense"]["bias"])
        None None

    Source:
        K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    return jax.tree_util.tree_map_with_path(_leaf_numbers, params)


def is_numbers(x: Any) -> bool:
    """Whether `x` takes the place of a leaf in a tree of dimension numbers."""
    return x is None or isinstance(x, MuonDimensionNumbers | optax.MaskedNode)


def spread(numbers: DimensionNumbers | None, params: PyTree) -> PyTree:
    """A tree of dimension numbers or None, one in the place of each leaf, from a tree's prefix or a function."""
    tree = numbers(params) if callable(numbers) else numbers
    return jax.tree.map(lambda number, below: jax.tree.map(lambda _: number, below), tree, params, is_leaf=is_numbers)


def _axes(axes: Any) -> tuple[int, ...]:
    return (axes,) if isinstance(axes, int) else tuple(axes)


def view_of(function: str, shape: tuple[int, ...], numbers: MuonDimensionNumbers | None = None) -> WideView:
    """The leaf as matrices; without numbers, [..., in, out] with all axes but the last as rows, a vector as one row."""
    rank = len(shape)
    if numbers is None:
        return wide_view(shape, range(rank - 1), range(max(rank - 1, 0), rank))
    rows, columns = (tuple(axis % rank for axis in _axes(axes)) for axes in numbers)
    if rank < 2 or set(rows) & set(columns):
        raise ValueError(f"{function}: weight_dimension_numbers must be disjoint axes of a leaf {shape}, got {numbers}")
    return wide_view(shape, rows, columns)
