"""Many losses to one gradient through the Gramian of their gradients, none of which is kept."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer
from optimizers._trees import PyTree, global_norm, wide
from optimizers.aggregation import upgrad_weights
from optimizers.aggregation._gramian import Weighting, nan_unless_finite
from optimizers.gradients._losses import pullback_of_losses
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def jacobian_descent(weighting: Weighting = upgrad_weights, *, chunk: int = 1) -> Callable[..., ValueAndGrad]:
    r"""Jacobian descent: the gradient of a vector of losses, weighted by their Gramian; the Jacobian is never formed.

    $$
    g = J^\top w, \qquad w = \text{weighting}(J J^\top), \qquad J_t = \nabla_\theta L_t(\theta)
    $$

    With P parameters, `per_task()` and an aggregator hold J, T·P numbers; this rule holds `chunk`·P. A column of the
    Gramian is one gradient $v = J^\top e_t$, pulled back, and its inner products $J v$ with all gradients, which come
    from the transpose of the same pullback. One forward pass, T/`chunk` times a pullback and its transpose (each about
    the cost of a backward pass, for `chunk` columns at once), and one pullback of the weights: twice the backward
    passes of `per_task()`, for memory that does not grow with T.

    The losses may be those of tasks, or of the examples of a batch: with UPGrad's weighting that is instance-wise risk
    minimisation, in which no example is traded for another. The gradient is ready for an optimizer, without an
    aggregator. NaN or inf in a gradient gives NaN. Inner products are carried in float32 or wider; of parameters or
    losses of 16 bits they are as accurate as one forward pass in that dtype.

    Args:
        weighting: a function of the Gramian `[T, T]` that returns the weights `[T]` of the gradients, such as
            `mgda_weights`, or `lambda gramian: pcgrad_weights(gramian, key)`.
        chunk: columns of the Gramian that are computed at once, at least 1; T or more means all of them.

    Returns:
        A gradient rule for a `loss_fn` that returns a vector of losses, shape `[T]`. Its value is that `[T]` vector;
        the leaves of its gradient have the shapes of the parameters. A custom backward pass (`jax.custom_vjp`) must be
        linear in its cotangent, and JAX able to transpose it.

    Raises:
        TypeError: if `weighting` is not a function, or `chunk` not an integer.
        ValueError: if `chunk` is less than 1, `loss_fn` does not return a vector `[T]`, or `weighting` does not.

    Examples:
        The gradients (2, 0) and (-2, 2) become those of `upgrad_weights`, and their mean:

        >>> import jax.numpy as jnp
        >>> two_tasks = lambda w: jnp.stack([w[0] ** 2, (w[0] - 2.0) ** 2 + (w[1] + 1.0) ** 2])
        >>> losses, gradient = jacobian_descent()(two_tasks)(jnp.array([1.0, 0.0]))
        >>> print(losses, gradient.round(2))
        [1. 2.] [0.5 1.5]

    Source:
        Pierre Quinton, Valérian Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.
    """
    check_callable("jacobian_descent", "weighting", weighting, "gramian [T, T] -> weights [T]")
    chunk = check_positive_integer("jacobian_descent", "chunk", chunk)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def value_and_gradient(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, PyTree]:
            del step
            value, losses, pull_back = pullback_of_losses("jacobian_descent", loss_fn, has_aux, params, args, kwargs)
            products = _gramian(losses, pull_back, chunk)
            weights = jnp.asarray(weighting(products))
            if weights.shape != losses.shape:
                raise ValueError(
                    f"jacobian_descent: weighting must return one weight per loss, expected {losses.shape}, "
                    f"got {weights.shape}"
                )
            return value, pull_back(nan_unless_finite(products, weights).astype(losses.dtype))

        return value_and_gradient

    return rule


def _gramian(losses: jax.Array, pull_back: Callable[[jax.Array], PyTree], chunk: int) -> jax.Array:
    """`J J^T`, with `pull_back` for `J^T`; its transpose is J."""
    push_forward = jax.linear_transpose(pull_back, losses)

    def column(basis_vector: jax.Array) -> jax.Array:
        gradient = pull_back(basis_vector)
        length = global_norm(gradient)
        length = jnp.where(length == 0, 1.0, length)
        # Of unit length, so that inner products overflow no 16-bit dtype on their way.
        unit = jax.tree.map(lambda g: (wide(g) / length).conj().astype(g.dtype), gradient)
        return length * wide(push_forward(unit)[0])

    count = losses.shape[0]
    columns = jax.lax.map(column, jnp.eye(count, dtype=losses.dtype), batch_size=min(chunk, count))
    return 0.5 * (columns + columns.T)
