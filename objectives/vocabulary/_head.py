"""From the arguments of the public functions to a sweep and back: checks, masks, reductions, shards."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
    static_integer,
)
from objectives._typing import Array, ArrayLike, Scalar
from objectives.vocabulary._sweep import Head, Plan, Rows, axes_of, losses_apart, unit, vary, weighted_sum


def linear_loss(
    function: str,
    features: ArrayLike,
    weights: ArrayLike,
    labels: ArrayLike,
    penalty: Callable[..., Array],
    arguments: Sequence[Any],
    *,
    bias: ArrayLike | None = None,
    label_smoothing: Scalar = 0.0,
    z_penalty: Scalar = 0.0,
    soft_cap: Scalar | None = None,
    reduction: str,
    example_weights: ArrayLike | None,
    class_axis: int,
    row_chunk: int | None,
    class_chunk: int,
    vocabulary_axis: str | Sequence[str] | None,
    axis_name: str | Sequence[str] | None,
    where: ArrayLike | None,
    scale: Scalar | None = None,
) -> Array:
    """The losses of a linear head with the penalty φ; those of cosines times `scale` where there is one."""
    features, weights = floating(function, "features", features), floating(function, "weights", weights)
    check_rank(function, "features", features, 1, "[..., D]")
    if class_axis not in (0, 1):
        raise ValueError(f"{function}: class_axis must be 0 (weights [C, D]) or 1 ([D, C]), got {class_axis!r}")
    width = features.shape[-1]
    if weights.ndim != 2 or weights.shape[1 - class_axis] != width or weights.shape[class_axis] == 0:
        expected = f"[C, {width}]" if class_axis == 0 else f"[{width}, C]"
        raise ValueError(f"{function}: weights must have shape {expected}, with a class, got {describe(weights)}")
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f'{function}: reduction must be "none", "sum" or "mean", got {reduction!r}')
    if reduction == "none" and axis_name is not None:
        raise ValueError(f"{function}: axis_name needs a reduction; losses per example are not coupled")
    batch, local = features.shape[:-1], weights.shape[class_axis]
    count = math.prod(batch)
    if bias is not None:
        bias = floating(function, "bias", bias)
        if bias.shape != (local,):
            raise ValueError(f"{function}: bias must have shape [{local}], got {describe(bias)}")
    dtype = compute_dtype(*(x for x in (features, weights, bias) if x is not None))
    kept = mask(function, where, batch)
    shards, data = _names(vocabulary_axis), _names(axis_name)
    classes = local * math.prod(lax.axis_size(name) for name in shards)

    array = real(function, "labels", labels)
    soft = array.ndim == features.ndim and scale is None
    # A table of probabilities is as large as the logits: it is neither widened nor cleaned here.
    targets = class_labels(function, array, (*batch, local if soft else classes), array.dtype, None if soft else kept)
    if scale is not None and not targets.are_ids:
        raise ValueError(f"{function}: labels must be class ids {list(batch)}, got {describe(array)}")

    plan = Plan(
        penalty=penalty,
        soft=soft,
        class_axis=class_axis,
        directions=scale is not None,
        rows=static_integer(function, "row_chunk", _default_rows(weights, width) if row_chunk is None else row_chunk),
        columns=static_integer(function, "class_chunk", class_chunk),
        shards=shards,
        classes=classes,
    )
    features = clean(features, kept).reshape(count, width)
    if scale is not None:
        features = scale * unit(features.astype(dtype), 1)
    head = Head(
        weights,
        bias,
        None
        if soft_cap is None
        else jnp.asarray(hyperparameter(function, "soft_cap", soft_cap, dtype, 0, open_low=True), dtype),
        _unless_zero(function, "label_smoothing", label_smoothing, dtype, 1),
        _unless_zero(function, "z_penalty", z_penalty, dtype, math.inf),
        tuple(jnp.asarray(x, dtype) for x in arguments),
    )
    ids = targets.values.reshape(count, *array.shape[len(batch) :])
    counted = jnp.ones(count, bool) if kept is None else kept.reshape(count)
    head, rows = _place(function, plan, head, Rows(features, ids, counted, None))

    factor = None
    if example_weights is not None:
        factor = real(function, "example_weights", example_weights)
        if factor.shape != batch:
            raise ValueError(f"{function}: example_weights must have shape {list(batch)}, got {describe(factor)}")
        factor = clean(factor, kept).astype(dtype)
    if reduction == "none":
        losses = finish(losses_apart(plan, head, rows).reshape(batch), kept, targets.valid)
        return losses if factor is None else losses * factor
    factor = jnp.ones(batch, dtype) if factor is None else factor
    factor = clean(factor, kept)
    if reduction == "mean":
        total = jnp.sum(factor)
        total = lax.psum(total, data) if data else total
        factor = jnp.where(total == 0, 0, factor / jnp.where(total == 0, 1, total))
    factor = finish(factor, kept, targets.valid).reshape(count)
    loss = weighted_sum(plan, head, rows._replace(coefficients=vary(factor, axes_of(rows.kept))))
    return lax.psum(loss, data) if data else loss


def _place(function: str, plan: Plan, head: Head, rows: Rows) -> tuple[Head, Rows]:
    """Under `shard_map`: arrays of the types that their gradients have, and ids counted from the shard's first class.

    Gradients by weights, bias, cap and features differ from shard to shard of the classes; all others are the same.
    """
    if plan.shards and not set(plan.shards) <= set(axes_of(head.weights)):
        raise ValueError(
            f"{function}: weights must be split over vocabulary_axis {list(plan.shards)}, "
            "inside a jax.shard_map that checks types (check_vma=True)"
        )
    data = tuple(axis for axis in axes_of((head, rows)) if axis not in plan.shards)
    every = (*data, *plan.shards)
    labels = rows.labels
    if plan.shards and not plan.soft:
        labels = labels - lax.axis_index(plan.shards) * head.weights.shape[plan.class_axis]
    rows = Rows(vary(rows.features, every), vary(labels, every), vary(rows.kept, data), None)
    split = head._replace(smoothing=None, z_penalty=None, arguments=())
    whole = head._replace(weights=None, bias=None, soft_cap=None)
    split, whole = vary(split, every), vary(whole, data)
    return Head(*split[:3], *whole[3:]), rows


def _default_rows(weights: Array, width: int) -> int:
    """Rows whose float32 logits take the memory of the weights, which is enough for the products to be efficient."""
    return min(max(width * weights.dtype.itemsize // 4, 128), 1024)


def _names(axes: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if axes is None else (axes,) if isinstance(axes, str) else tuple(axes)


def _unless_zero(function: str, name: str, value: Scalar, dtype: Any, high: float) -> Array | None:
    """A hyperparameter whose term is left out where it is a Python 0."""
    number = hyperparameter(function, name, value, dtype, 0, high)
    return None if isinstance(number, float) and number == 0 else jnp.asarray(number, dtype)


def elementwise(given: Any, dtype: Any) -> tuple[Callable[..., Array], list[Any]]:
    """A caller's elementwise function and the traced numbers that it closes over, so that those have gradients too."""
    converted, constants = jax.closure_convert(given, jnp.zeros((), dtype))
    if not constants:
        return given, []

    def apply(values: Array, *constants: Array) -> Array:
        one = converted
        for _ in range(values.ndim):
            one = jax.vmap(one, in_axes=(0, *[None] * len(constants)))
        return one(values, *constants)

    return apply, constants
