"""Softmax losses of a linear head in one sweep over chunks of rows and tiles of classes.

With the logits z_v = cap(<x, w_v> + b_v) of a row, its label's logit t, the log total r = log Σ_{v≠y} e^{z_v} of the
others, Z = Σ_v e^{z_v} and the mean logit m, a loss and its derivative are

    loss       = φ(t, r) + ψ(log Z, m),
    ∂loss/∂z_v = (v = y ? ∂_t : ∂_r e^{z_v - r}) + ∂_m / V.

So a row needs three numbers of its logits, which tiles of classes (and shards of them) give one after the other. A sum
Σ_n a_n loss_n needs the logits of a chunk of rows once: for the three numbers, for the derivative, and gone. Losses
that stay apart learn their a_n only in the backward pass and pay for it with a second product.

Soft labels q are the same with r = log Z for every class: loss = Σ_c q_c φ(t_c, r) + ψ(log Z, m).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import compute_dtype
from objectives._typing import Array

Axes: TypeAlias = tuple[str, ...]
Maybe: TypeAlias = Any
"""An array, or None where there is none."""


@dataclass(frozen=True)
class Plan:
    """The static part of a sweep.

    Attributes:
        penalty: φ as a function of log p, the logit and the log total of the others, and of the head's arguments;
            elementwise. For soft labels the log total is that of all classes.
        soft: Whether labels are probabilities.
        class_axis: The axis of the weights that counts classes.
        directions: Whether every class weight is taken at length one.
        rows: Rows of a chunk, at most.
        columns: Classes of a tile, at most.
        shards: The mesh axes over which classes are split.
        classes: Number of all classes.
    """

    penalty: Callable[..., Array]
    soft: bool
    class_axis: int
    directions: bool
    rows: int
    columns: int
    shards: Axes
    classes: int


class Head(NamedTuple):
    """What all rows share, or its gradients; None where there is none.

    Attributes:
        weights: `[C, D]` or `[D, C]`; of this shard.
        bias: `[C]`; of this shard.
        soft_cap: Bound of the logits.
        smoothing: Share of the label mass that is spread evenly over the classes.
        z_penalty: Coefficient of (log Z)².
        arguments: Further arguments of φ.
    """

    weights: Maybe
    bias: Maybe
    soft_cap: Maybe
    smoothing: Maybe
    z_penalty: Maybe
    arguments: tuple[Array, ...]


class Rows(NamedTuple):
    """What every row has, or its gradients; None where there is none.

    Attributes:
        features: `[N, D]`.
        labels: Ids `[N]`, counted from the first class of this shard, or probabilities `[N, C]` of its classes.
        kept: `[N]`, False for rows that count for nothing.
        coefficients: `[N]`, what the losses are multiplied by.
    """

    features: Maybe
    labels: Maybe
    kept: Maybe
    coefficients: Maybe


class Statistics(NamedTuple):
    """Of the logits of rows `[B]`: their peak and Σ e^(z - peak) (without the label's), the label's, their sum."""

    peak: Array
    total: Array
    target: Array
    sum: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def losses_apart(plan: Plan, head: Head, rows: Rows) -> Array:
    """Losses `[N]`, of masked rows too: one matrix product, and in the backward pass three more, the logits' again."""
    return _sweep(plan, head, rows)[0]


def _apart_forward(plan: Plan, head: Head, rows: Rows) -> tuple[Array, tuple[Head, Rows]]:
    return losses_apart(plan, head, rows), (head, rows)


def _apart_backward(plan: Plan, residuals: tuple[Head, Rows], cotangent: Array) -> tuple[Head, Rows]:
    head, rows = residuals
    _, head_gradient, row_gradient = _sweep(plan, head, rows._replace(coefficients=cotangent))
    return _as_cotangent(head, head_gradient), _as_cotangent(rows, row_gradient)


losses_apart.defvjp(_apart_forward, _apart_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_sum(plan: Plan, head: Head, rows: Rows) -> Array:
    """Σ coefficient × loss: one matrix product, and three in all where there is a gradient."""
    return _weigh(rows, _sweep(plan, head, rows._replace(coefficients=None))[0])


def _sum_forward(plan: Plan, head: Head, rows: Rows) -> tuple[Array, Any]:
    losses, of_head, of_rows = _sweep(plan, head, rows)
    dtypes = jax.tree.map(lambda x: jnp.zeros(0, x.dtype), (head, rows))
    return _weigh(rows, losses), (dtypes, of_head, of_rows._replace(coefficients=losses))


def _sum_backward(plan: Plan, residuals: Any, cotangent: Array) -> tuple[Head, Rows]:
    dtypes, *gradients = residuals
    return tuple(_as_cotangent(like, jax.tree.map(lambda g: cotangent * g, g)) for like, g in zip(dtypes, gradients))


weighted_sum.defvjp(_sum_forward, _sum_backward)


def _weigh(rows: Rows, losses: Array) -> Array:
    return jnp.sum(jnp.where(rows.kept, rows.coefficients * losses, 0))


def _as_cotangent(like: Any, gradient: Any) -> Any:
    """The gradient, field by field, in the dtypes of what it is of; None stands for 0, as of integers."""

    def one(x: Any, g: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(map(one, x, g))
        return None if g is None or not jnp.issubdtype(x.dtype, jnp.floating) else g.astype(x.dtype)

    return type(like)(*map(one, like, gradient))


def axes_of(tree: Any) -> Axes:
    """The mesh axes over which anything in the tree varies, under `shard_map`."""
    return tuple(sorted({axis for x in jax.tree.leaves(tree) for axis in jax.typeof(x).manual_axis_type.varying}))


def vary(tree: Any, axes: Axes) -> Any:
    """The tree, of a type that varies over the axes; the gradient is summed over those that are new."""

    def one(x: Array) -> Array:
        return lax.pcast(x, tuple(axis for axis in axes if axis not in axes_of(x)), to="varying")

    return jax.tree.map(one, tree)


def _zeros(like: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    return vary(jnp.zeros(shape, dtype), axes_of(like))


def _sweep(plan: Plan, head: Head, rows: Rows) -> tuple[Array, Head, Rows]:
    """Losses `[N]`, and the gradients of Σ coefficient × loss, which are empty where there are no coefficients."""
    count, dtype = rows.features.shape[0], _dtype(head, rows)
    chunks = -(-count // plan.rows)
    size = -(-count // max(chunks, 1))

    def split(array: Array) -> Array:
        """Chunks `[chunks, size, ...]` of every so manieth row, so that a chunk spreads over rows that are sharded."""
        padded = jnp.pad(array, [(0, chunks * size - count)] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(size, chunks, *array.shape[1:]).swapaxes(0, 1)

    def join(array: Any) -> Array:
        return array.swapaxes(0, 1).reshape(chunks * size, *array.shape[2:])[:count]

    def step(sums: Any, part: tuple[Rows, Array]) -> tuple[Any, tuple[Array, Array | None]]:
        piece, first = part
        if not plan.soft:
            losses, sums, features = _chunk_of_ids(plan, head, piece, sums)
            return sums, (losses, features)
        index = first + chunks * jnp.arange(size)  # a table as large as the logits is neither padded nor transposed
        piece = piece._replace(labels=rows.labels.at[index].get(mode="clip"))
        losses, sums, features, labels = _chunk_of_tables(plan, head, piece, sums)
        if sums is not None and sums[1] is not None:
            sums = (sums[0], sums[1].at[index].set(labels, mode="drop"))
        return sums, (losses, features)

    sums = None
    if rows.coefficients is not None:
        table = rows.labels if plan.soft and jnp.issubdtype(rows.labels.dtype, jnp.floating) else None
        sums = jax.tree.map(lambda x: _zeros(x, x.shape, dtype), (head, table))
    pieces = jax.tree.map(split, rows._replace(labels=None) if plan.soft else rows)
    sums, (losses, features) = lax.scan(step, sums, (pieces, jnp.arange(chunks)))
    if sums is None:
        return join(losses), Head(None, None, None, None, None, ()), Rows(None, None, None, None)
    gradient, labels = sums
    if plan.directions:
        pull = jax.vjp(lambda w: unit(w, 1 - plan.class_axis), head.weights.astype(dtype))[1]
        gradient = gradient._replace(weights=pull(gradient.weights)[0])
    return join(losses), gradient, Rows(join(features), labels, None, None)


def _dtype(head: Head, rows: Rows) -> Any:
    return compute_dtype(head.weights, rows.features, *(() if head.bias is None else (head.bias,)))


def unit(vectors: Array, axis: int) -> Array:
    """Vectors at length one along either axis; those without direction are 0, with gradient 0.

    `unit_vectors` looks for the largest entry first, a pass more over every tile: here squares must not overflow.
    """
    squared = jnp.sum(vectors**2, axis=axis, keepdims=True)
    directed = squared > 1e-24
    return vectors * jnp.where(directed, lax.rsqrt(jnp.where(directed, squared, 1)), 0)


def _tile(plan: Plan, head: Head, number: Array) -> tuple[Array, Array, Array]:
    """The first class of a tile, its classes, and which of them no earlier tile had: the last two tiles may overlap."""
    classes = head.weights.shape[plan.class_axis]
    width = _width(plan, head)
    first = jnp.minimum(number * width, classes - width)
    index = first + jnp.arange(width)
    return first, index, index >= number * width


def _tiles(plan: Plan, head: Head) -> int:
    return -(-head.weights.shape[plan.class_axis] // plan.columns)


def _width(plan: Plan, head: Head) -> int:
    return -(-head.weights.shape[plan.class_axis] // _tiles(plan, head))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _slice(array: Array, first: Array, size: int, axis: int) -> Array:
    """A dynamic slice, of bits where the array is of 16: XLA would widen all of it on CPU before it slices."""
    if array.dtype.itemsize != 2:
        return lax.dynamic_slice_in_dim(array, first, size, axis)
    bits = lax.dynamic_slice_in_dim(lax.bitcast_convert_type(array, jnp.uint16), first, size, axis)
    return lax.bitcast_convert_type(bits, array.dtype)


@_slice.defjvp
def _slice_tangent(size: int, axis: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (array, first), (tangent, _) = primals, tangents
    return _slice(array, first, size, axis), lax.dynamic_slice_in_dim(tangent, first, size, axis)


def _weights_of(plan: Plan, head: Head, first: Array, dtype: Any) -> Array:
    tile = _slice(head.weights, first, _width(plan, head), plan.class_axis)
    return unit(tile.astype(dtype), 1 - plan.class_axis) if plan.directions else tile


def _raw_logits(plan: Plan, head: Head, features: Array, first: Array, dtype: Any) -> Array:
    """Logits before the cap, `[B, width]`."""
    weights = _weights_of(plan, head, first, dtype)
    if weights.dtype != features.dtype:
        weights, features = weights.astype(dtype), features.astype(dtype)
    contracted = (((1,), (1 - plan.class_axis,)), ((), ()))
    raw = lax.dot_general(features, weights, contracted, preferred_element_type=dtype)
    if head.bias is None:
        return raw
    return raw + lax.dynamic_slice_in_dim(head.bias, first, _width(plan, head)).astype(dtype)


def _cap(raw: Array, soft_cap: Array | None) -> Array:
    """Logits within ± the cap; a class that is switched off stays so."""
    if soft_cap is None:
        return raw
    off = jnp.isneginf(raw)
    return jnp.where(off, raw, soft_cap * jnp.tanh(jnp.where(off, 0, raw) / soft_cap))


def _read_classes(
    plan: Plan, head: Head, rows: Rows, keep_logits: bool, ids: Array | None
) -> tuple[Array, Array, Array, Maybe]:
    """Log total `[B]` (without the label's, where there are ids), the label's logit, the mean, and the raw logits."""
    dtype, size = _dtype(head, rows), rows.features.shape[0]

    def step(number: Array, carry: tuple[Statistics, Array | None]) -> tuple[Statistics, Array | None]:
        seen, kept = carry
        first, index, fresh = _tile(plan, head, number)
        raw = _raw_logits(plan, head, rows.features, first, dtype)
        if kept is not None:
            kept = lax.dynamic_update_slice_in_dim(kept, raw, first, 1)
        logits = _cap(raw, head.soft_cap)
        mine = jnp.zeros((), bool) if ids is None else (ids[:, None] == index) & fresh
        others = jnp.where(fresh & ~mine, logits, -jnp.inf)
        peak = jnp.maximum(seen.peak, jnp.max(others, axis=1))
        safe = _finite(peak)
        total = seen.total * jnp.exp(seen.peak - safe) + jnp.sum(jnp.exp(others - safe[:, None]), axis=1)
        target = seen.target + (0 if ids is None else jnp.sum(jnp.where(mine, logits, 0), axis=1))
        summed = seen.sum
        if head.smoothing is not None:
            summed = summed + jnp.sum(jnp.where(fresh, logits, 0), axis=1)
        return Statistics(peak, total, target, summed), kept

    nothing = _zeros((rows.features, head.weights), (size,), dtype)
    buffer = None
    if keep_logits:
        buffer = _zeros((rows.features, head.weights), (size, head.weights.shape[plan.class_axis]), dtype)
    start = Statistics(nothing - jnp.inf, nothing, nothing, nothing)
    seen, buffer = lax.fori_loop(0, _tiles(plan, head), step, (start, buffer))
    if plan.shards:
        peak = lax.pmax(seen.peak, plan.shards)
        total = seen.total * jnp.exp(seen.peak - _finite(peak))
        seen = Statistics(peak, *lax.psum((total, seen.target, seen.sum), plan.shards))
    return _finite(seen.peak) + jnp.log(seen.total), seen.target, seen.sum / plan.classes, buffer


def _finite(peak: Array) -> Array:
    return jnp.where(jnp.isfinite(peak), peak, 0)


def _of_row(head: Head, log_z: Array, mean: Array) -> Array:
    """ψ: what smoothing takes from all classes alike, and the z-penalty."""
    loss = jnp.zeros_like(log_z)
    if head.smoothing is not None:  # without smoothing a class that is switched off is no infinity here
        loss = loss + head.smoothing * jnp.where(head.smoothing == 0, 0, log_z - mean)
    return loss if head.z_penalty is None else loss + head.z_penalty * log_z**2


def _share(head: Head) -> Array | int:
    """What smoothing leaves to the labels."""
    return 1 if head.smoothing is None else 1 - head.smoothing


def _chunk_of_ids(plan: Plan, head: Head, rows: Rows, sums: Any) -> tuple[Array, Any, Array | None]:
    """Losses `[B]` of class ids, the head's gradients added to `sums`, and those of the features."""
    rest, target, mean, raw = _read_classes(plan, head, rows, sums is not None, rows.labels)

    def of_statistics(head: Head, target: Array, rest: Array, mean: Array) -> Array:
        log_p = -jax.nn.softplus(rest - target)
        return _share(head) * plan.penalty(log_p, target, rest, *head.arguments) + _of_row(
            head, jnp.logaddexp(rest, target), mean
        )

    shared = head._replace(weights=None, bias=None, soft_cap=None)
    losses, pull = jax.vjp(of_statistics, shared, target, rest, mean)
    if sums is None:
        return losses, None, None
    by_scalars, *by_statistics = pull(jnp.where(rows.kept, rows.coefficients, 0))
    by_target, by_rest, by_mean = (vary(jnp.where(rows.kept, g, 0), axes_of(raw)) for g in by_statistics)
    rest = vary(_finite(rest), axes_of(raw))

    def cotangent(logits: Array, index: Array) -> Array:
        mine = rows.labels[:, None] == index
        others = by_rest[:, None] * jnp.exp(jnp.where(mine, -jnp.inf, logits) - rest[:, None])
        spread = 0 if head.smoothing is None else by_mean[:, None] / plan.classes
        return jnp.where(mine, by_target[:, None], others) + spread

    features, sums = _products(plan, head, rows, raw, cotangent, _add_scalars(sums, by_scalars))
    return losses, sums, features


def _chunk_of_tables(plan: Plan, head: Head, rows: Rows, sums: Any) -> tuple[Array, Any, Array | None, Array | None]:
    """Losses `[B]` of probabilities, the gradients as for ids, and those of the probabilities."""
    log_z, _, mean, raw = _read_classes(plan, head, rows, True, None)
    logits = _cap(raw, head.soft_cap)
    shared = vary(head._replace(weights=None, bias=None, soft_cap=None), axes_of(raw))

    def of_labels(head: Head, logits: Array, log_z: Array, labels: Array) -> Array:
        impossible = (labels == 0) & jnp.isneginf(logits)  # 0 times inf is 0 here
        logits, log_z = jnp.where(impossible, 0, logits), jnp.broadcast_to(log_z[:, None], logits.shape)
        log_p = jnp.where(impossible, 0, logits - log_z)
        return _share(head) * jnp.sum(labels * plan.penalty(log_p, logits, log_z, *head.arguments), axis=1)

    labels = jnp.where(rows.kept[:, None], rows.labels, 0).astype(raw.dtype)
    losses, pull = jax.vjp(of_labels, shared, logits, vary(log_z, axes_of(raw)), labels)
    of_row, pull_row = jax.vjp(_of_row, head._replace(weights=None, bias=None, soft_cap=None), log_z, mean)
    if plan.shards:
        losses = lax.psum(losses, plan.shards)
    losses = losses + of_row
    if sums is None:
        return losses, None, None, None
    coefficients = jnp.where(rows.kept, rows.coefficients, 0)
    by_scalars, by_logits, by_log_z, by_labels = pull(vary(coefficients, axes_of(raw)))
    if plan.shards:
        by_scalars, by_log_z = lax.psum((by_scalars, by_log_z), plan.shards)
    more_by_scalars, more_by_log_z, by_mean = pull_row(coefficients)
    by_log_z = jnp.where(rows.kept, by_log_z + more_by_log_z, 0)
    by_scalars = jax.tree.map(jnp.add, by_scalars, more_by_scalars)
    whole = jnp.where(rows.kept[:, None], by_logits, 0)
    whole = whole + by_log_z[:, None] * jnp.exp(logits - _finite(log_z)[:, None])
    if head.smoothing is not None:
        whole = whole + jnp.where(rows.kept, by_mean, 0)[:, None] / plan.classes

    def cotangent(logits: Array, index: Array) -> Array:
        return lax.dynamic_slice_in_dim(whole, index[0], index.shape[0], 1)

    features, sums = _products(plan, head, rows, raw, cotangent, _add_scalars(sums, by_scalars))
    return losses, sums, features, by_labels


def _add_scalars(sums: tuple[Head, Array | None], gradient: Head) -> tuple[Head, Array | None]:
    head, labels = sums
    scalars = {
        name: jax.tree.map(jnp.add, getattr(head, name), getattr(gradient, name))
        for name in ("smoothing", "z_penalty", "arguments")
    }
    return head._replace(**scalars), labels


def _products(
    plan: Plan,
    head: Head,
    rows: Rows,
    raw: Array,
    cotangent: Callable[[Array, Array], Array],
    sums: tuple[Head, Array | None],
) -> tuple[Array, tuple[Head, Array | None]]:
    """The gradients of the features `[B, D]`, and those of weights, bias and cap added to `sums`, tile by tile."""
    dtype = raw.dtype
    features = rows.features.astype(dtype)

    def add(total: Array, update: Array, first: Array, axis: int) -> Array:
        old = lax.dynamic_slice_in_dim(total, first, update.shape[axis], axis)
        return lax.dynamic_update_slice_in_dim(total, old + update, first, axis)

    def step(number: Array, carry: tuple[Array, Head]) -> tuple[Array, Head]:
        by_features, by_head = carry
        first, index, fresh = _tile(plan, head, number)
        before = lax.dynamic_slice_in_dim(raw, first, index.shape[0], 1)
        logits, uncap = jax.vjp(_cap, before, head.soft_cap)
        by_raw, by_cap = uncap(jnp.where(fresh, cotangent(logits, index), 0))
        weights = _weights_of(plan, head, first, dtype).astype(dtype)
        by_features = by_features + lax.dot_general(by_raw, weights, (((1,), (plan.class_axis,)), ((), ())))
        pair = (by_raw, features) if plan.class_axis == 0 else (features, by_raw)
        by_weights = lax.dot_general(pair[0], pair[1], (((0,), (0,)), ((), ())))
        by_head = by_head._replace(weights=add(by_head.weights, by_weights, first, plan.class_axis))
        if head.bias is not None:
            by_head = by_head._replace(bias=add(by_head.bias, jnp.sum(by_raw, axis=0), first, 0))
        if head.soft_cap is not None:
            by_head = by_head._replace(soft_cap=by_head.soft_cap + by_cap)
        return by_features, by_head

    start = _zeros((rows.features, head.weights), rows.features.shape, dtype)
    by_features, by_head = lax.fori_loop(0, _tiles(plan, head), step, (start, sums[0]))
    return by_features, (by_head, sums[1])
