"""The gradient of a batch that does not fit in memory at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.gradients._microbatches import fold_keys, microbatch, strided
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop


def accumulate(steps: int, *, inner: GradientRule = backprop) -> Callable[..., ValueAndGrad]:
    r"""Gradient accumulation: the batch in `steps` microbatches, one after the other, in the memory of one.

    $$
    g = \frac1n \sum_{i=1}^{n} \nabla L(\theta; B_i), \qquad B = B_1 \cup \dots \cup B_n
    $$

    Equals the gradient of the whole batch when the loss is a mean over examples. Values and gradients are summed in
    float32 or wider and averaged once. Floating leaves of `aux` (metrics, batch statistics) are averaged as well;
    other leaves are those of the last microbatch. Microbatch `i` takes examples `i, i + n, i + 2n, ...`, so a batch
    split over devices along its leading axis stays where it is.

    Args:
        steps: number of microbatches `n`; must divide the batch.
        inner: the gradient rule that each microbatch goes through. `accumulate(n, inner=sam())` perturbs each
            microbatch by its own gradient (m-sharpness); `sam(inner=accumulate(n))` is SAM of the whole batch.

    Returns:
        A gradient rule. The first argument after `params` is the batch, a pytree whose leaves have the examples
        along their leading axis; typed PRNG keys among the other arguments are folded with the number of the
        microbatch, so that each draws its own dropout; everything else is passed on as it is.

    Raises:
        TypeError: if `steps` is not an integer, or `inner` not a gradient rule.
        ValueError: if `steps` is less than 1, there is no batch, or a leaf's leading axis is not divisible by it.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss_fn = lambda w, batch: jnp.mean((batch - w) ** 2)
        >>> value, gradient = accumulate(2)(loss_fn)(0.0, jnp.array([1.0, 2.0, 3.0, 4.0]))
        >>> print(value, gradient)
        7.5 -5.0
    """
    steps = check_positive_integer("accumulate", "steps", steps)
    check_callable("accumulate", "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        value_and_grad = inner(loss_fn, has_aux)
        if steps == 1:
            return value_and_grad

        def accumulated(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            if not args:
                raise ValueError("accumulate: expected a batch as the first argument after params, got none")
            batch, *rest = args
            parts = strided("accumulate", "steps", batch, steps)

            def one(index: jax.Array) -> PyTree:
                args_here, kwargs_here = fold_keys((rest, kwargs), index)
                return value_and_grad(params, microbatch(parts, index), *args_here, step=step, **kwargs_here)

            def body(total: PyTree, index: jax.Array) -> tuple[PyTree, None]:
                return jax.tree.map(_add_or_replace, total, one(index)), None

            shapes = jax.eval_shape(one, jnp.int32(0))
            start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, _total_dtype(leaf.dtype)), shapes)
            total, _ = jax.lax.scan(body, start, jnp.arange(steps))
            return jax.tree.map(lambda t, leaf: (t / steps).astype(leaf.dtype) if _floating(leaf) else t, total, shapes)

        return accumulated

    return rule


def _floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _total_dtype(dtype: Any) -> Any:
    return accumulator_dtype(dtype) if jnp.issubdtype(dtype, jnp.inexact) else dtype


def _add_or_replace(total: jax.Array, leaf: jax.Array) -> jax.Array:
    return total + leaf if _floating(leaf) else leaf
