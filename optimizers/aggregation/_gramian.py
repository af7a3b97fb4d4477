"""The Gramian of stacked task gradients, and optax transformations built from a weighting of it.

A *weighting* is a function `gramian [T, T] -> weights [T]`, where `gramian[i, j]` is the inner product of the gradients
of tasks i and j over the whole tree. The aggregate is `sum_t weights[t] * gradient_t`, leaf by leaf: the tree is never
flattened into one vector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._trees import PyTree, accumulator_dtype

Weighting = Callable[[Array], Array]
StatefulWeighting = Callable[[Array, Any], tuple[Array, Any]]
Preference = Float[Array, " T"] | Sequence[float] | None

# XLA's CPU compiler multiplies so many columns by their transpose out of the cache, and 1e7 at a fifth of that speed.
# Leaves of fewer than 16 such blocks are multiplied at once.
_COLUMNS = 8192

# Up to so many tasks their weighted sum is written out: one pass that reads each gradient once and fuses with what
# follows. A matrix product, which widens a copy of 16-bit leaves, compiles faster for many.
_FEW_TASKS = 16


def task_count(function: str, tree: PyTree) -> int | None:
    """The common leading axis T of the leaves, None for an empty tree.

    Raises:
        ValueError: a leaf without a leading axis, with no tasks, or with another number of them than the first leaf.
    """
    count = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        shape = jnp.shape(leaf)
        name = jax.tree_util.keystr(path) or "the gradient"
        if not shape or shape[0] == 0:
            raise ValueError(
                f"{function}: every leaf needs a leading axis of at least one task, {name} has shape {shape}"
            )
        if count is not None and shape[0] != count:
            raise ValueError(
                f"{function}: expected the same number of tasks in all leaves, {count}, {name} has shape {shape}"
            )
        count = shape[0]
    return count


def check_gramian(function: str, gramian: Any) -> Float[Array, "T T"]:
    """The Gramian as an array of float32 or wider; ValueError unless it is square with at least one task."""
    gramian = jnp.asarray(gramian)
    if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1] or gramian.shape[0] == 0:
        raise ValueError(f"{function}: gramian must have shape [T, T] with T of at least 1, got {gramian.shape}")
    return gramian.astype(accumulator_dtype(gramian.dtype))


def task_vector(function: str, name: str, vector: Preference, like: Array, default: float) -> Float[Array, " T"]:
    """`vector` with one entry per row of `like` and in its dtype, all `default` where it is None; else ValueError."""
    size = like.shape[0]
    given = jnp.full((size,), default, like.dtype) if vector is None else jnp.asarray(vector, like.dtype)
    if given.shape != (size,):
        raise ValueError(f"{function}: {name} must have one entry per task, expected ({size},), got {given.shape}")
    return given


def nan_unless_finite(gramian: Float[Array, "T T"], weights: Float[Array, " T"]) -> Float[Array, " T"]:
    """NaN for all weights where the Gramian holds NaN or inf: a weighting may not look at the entry."""
    return jnp.where(jnp.all(jnp.isfinite(gramian)), weights, jnp.nan)


def unit_gramian(gramian: Float[Array, "T T"]) -> tuple[Float[Array, "T T"], Float[Array, " T"]]:
    """Cosines of the gradients and their norms: `G = diag(norms) C diag(norms)`; rows of 0 where a gradient vanishes.

    Each entry of G is rounded in proportion to the two norms, so C is as accurate for small gradients as for large.
    """
    square = jnp.diagonal(gramian)
    vanishes = square < jnp.finfo(gramian.dtype).tiny
    norms = jnp.sqrt(jnp.where(vanishes, 1.0, square))
    cosines = jnp.where(vanishes[:, None] | vanishes, 0.0, gramian / norms[:, None] / norms)
    return cosines, jnp.where(vanishes, 0.0, norms)


def gramian(tree: PyTree) -> Float[Array, "T T"]:
    """Inner products of the task gradients stacked in `tree`, in float32 or wider.

    `G[i, j] = Re sum_leaves <g_i, g_j>`. Squares must fit the dtype: in float32, gradients of norm below 1e-19 count as
    zero, and above 1e19 the result is inf, which the aggregators turn into NaN.

    Args:
        tree: leaves of shape `[T, ...]`, real or complex, with one T for all.

    Returns:
        The symmetric matrix `[T, T]`; NaN or inf where a gradient holds them. `[0, 0]` for an empty tree.

    Raises:
        ValueError: leaves with different leading axes, or with none.

    Examples:
        >>> import jax.numpy as jnp
        >>> gramian({"w": jnp.array([[1.0, 0.0], [-1.0, 1.0]]), "b": jnp.array([2.0, 0.0])}).tolist()
        [[5.0, -1.0], [-1.0, 2.0]]
    """
    count = task_count("gramian", tree)
    if count is None:
        return jnp.zeros((0, 0), jnp.float32)
    return _sum_of_inner_products(tree)


def cross_gramian(first: PyTree, second: PyTree) -> Float[Array, "T T"]:
    r"""Inner products of the task gradients of one batch with those of another, in float32 or wider.

    $$
    C_{ij} = \sum_{\text{leaves}} \langle g_i, h_j \rangle
    $$

    Where the batches are independent, `w^T C w` is an unbiased estimate of the squared norm of the expected gradients'
    combination; a Gramian of one batch adds its variance. See `modo` and `sdmgrad`.

    Args:
        first: gradients g, leaves of shape `[T, ...]`.
        second: gradients h, a tree of the same structure and shapes.

    Returns:
        The matrix `[T, T]`, in general not symmetric.

    Raises:
        ValueError: leaves with different leading axes, or with none; trees of different structure or shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> cross_gramian(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), jnp.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [[2.0, 0.0], [-2.0, 1.0]]

    Source:
        Chen, Fernando, Ying, Chen, "Three-Way Trade-Off in Multi-Objective Learning" (2023), for its use.
    """
    count = task_count("cross_gramian", first)
    if jax.tree.map(jnp.shape, first) != jax.tree.map(jnp.shape, second):
        raise ValueError("cross_gramian: first and second must have the same structure and shapes")
    if count is None:
        return jnp.zeros((0, 0), jnp.float32)
    return _sum_of_inner_products(first, second)


def _sum_of_inner_products(*trees: PyTree) -> Float[Array, "T T"]:
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    return sum((_inner_products(*map(jnp.asarray, each)) for each in leaves), start=jnp.zeros((), jnp.float32))


def _inner_products(*leaves: Array) -> Float[Array, "T T"]:
    """Re<g_i, h_j> of two leaves [T, ...], or of one with itself, without widened copies of them."""
    wide = accumulator_dtype(leaves[0].dtype)

    def contract(*leaves: Array) -> Array:
        x, y = leaves[0], leaves[-1]
        axes = tuple(range(1, x.ndim))
        return lax.dot_general(
            x,
            y.conj(),
            ((axes, axes), ((), ())),
            precision=lax.Precision.HIGHEST,  # accelerators would otherwise round the factors to 8 or 11 bits
            preferred_element_type=wide,
        ).real

    def contract_flat(*leaves: Array) -> Array:
        flat = [leaf.reshape(leaf.shape[0], -1) for leaf in leaves]
        blocks = flat[0].shape[1] // _COLUMNS
        # Slices of bfloat16 would be cut from a widened copy of the whole leaf.
        if blocks < 16 or flat[0].dtype == jnp.bfloat16:
            return contract(*flat)

        def add_block(number: Array, total: Array) -> Array:
            start = number * _COLUMNS
            return total + contract(*(lax.dynamic_slice_in_dim(x, start, _COLUMNS, axis=1) for x in flat))

        return lax.fori_loop(0, blocks, add_block, contract(*(x[:, blocks * _COLUMNS :] for x in flat)))

    # Contracted over several axes, a leaf is copied by XLA's CPU compiler; flattened, it would be gathered where it
    # is sharded over the last of them.
    leaves = tuple(leaf.astype(leaves[0].dtype) for leaf in leaves)
    return lax.platform_dependent(*leaves, cpu=contract_flat, default=contract)


def combine(weights: Float[Array, " T"], tree: PyTree) -> PyTree:
    """`sum_t weights[t] * leaf[t]` for each leaf `[T, ...]`, summed in float32 or wider, in the dtype of the leaf.

    Examples:
        >>> import jax.numpy as jnp
        >>> combine(jnp.array([0.5, 2.0]), {"w": jnp.array([[1.0, 0.0], [-1.0, 1.0]])})["w"].tolist()
        [-1.5, 2.0]
    """

    def leaf_sum(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        wide = accumulator_dtype(leaf.dtype)
        count = leaf.shape[0]
        if count > _FEW_TASKS:
            return jnp.tensordot(weights, leaf.astype(wide), axes=1, precision=lax.Precision.HIGHEST).astype(leaf.dtype)
        terms = [weights[t] * lax.index_in_dim(leaf, t, keepdims=False).astype(wide) for t in range(count)]
        return sum(terms[1:], start=terms[0]).astype(leaf.dtype)

    return jax.tree.map(leaf_sum, tree)


def stateful_weighted(
    function: str, weighting: StatefulWeighting, initial_state: Callable[[], Any]
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a weighting `(gramian, state) -> (weights, state)`; `function` names it in errors."""

    def weigh(updates: PyTree, count: int, state: Any) -> tuple[Array, Any]:
        del count
        products = gramian(updates)
        weights, state = weighting(products, state)
        # A weighting may ignore a task whose inner products are NaN; its gradient must not pass for a finite one.
        return nan_unless_finite(products, weights), state

    return _combining(function, weigh, initial_state)


def blindly_weighted(
    function: str, weighting: Callable[[int, Any], tuple[Array, Any]], initial_state: Callable[[], Any]
) -> optax.GradientTransformationExtraArgs:
    """The transformation of weights that ignore the gradients, `(T, state) -> (weights, state)`: no Gramian is made."""
    return _combining(function, lambda _, count, state: weighting(count, state), initial_state)


def _combining(
    function: str, weigh: Callable[[PyTree, int, Any], tuple[Array, Any]], initial_state: Callable[[], Any]
) -> optax.GradientTransformationExtraArgs:
    def init(params: PyTree) -> Any:
        del params
        return initial_state()

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        count = task_count(function, updates)
        if count is None:
            return updates, state
        weights, state = weigh(updates, count, state)
        return combine(weights, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def weighted(function: str, weighting: Weighting) -> optax.GradientTransformationExtraArgs:
    """The stateless transformation of a weighting `gramian -> weights`."""
    return stateful_weighted(function, lambda products, state: (weighting(products), state), optax.EmptyState)
