"""Optimal input gains: each input of a layer has a step of its own, found by Newton's method.

A kernel W `[inputs, outputs]` moves along D = -∂E/∂W with a gain for each input, W + diag(r) D. As a function of r the
loss has the gradient -p, p_n = Σ_h D_nh², and the Hessian H_mn = Σ_hl D_mh D_nl ∂²E/∂W_mh∂W_nl; the gains solve
(|H| + λI) r = p, the absolute value of H keeping to descent where the loss is not convex.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from optimizers._checks import check_callable, check_range
from optimizers._moments import wide_scalar
from optimizers._trees import PyTree, wide
from optimizers.curvature import hessian_vector_product
from optimizers.second_order._arrays import check_shape, floats


def _gains(curvature: Array, slopes: Array, damping: Any) -> Array:
    """(|H| + λI)⁻¹ p; 0 where both vanish."""
    values, basis = jnp.linalg.eigh(0.5 * (curvature + curvature.T))
    values = jnp.abs(values) + damping
    projected = basis.T @ slopes
    return basis @ jnp.where(values > 0, projected / jnp.where(values > 0, values, 1.0), 0.0)


def optimal_input_gains(
    loss_fn: Callable[..., Array],
    kernel: Float[Array, "inputs outputs"],
    damping: jax.typing.ArrayLike = 1e-6,
) -> Float[Array, " inputs"]:
    r"""The gains of a layer's inputs for a step along the negative gradient.

    $$E(r) = E\bigl(W - \operatorname{diag}(r) \nabla E\bigr), \qquad
    \left( \left| \nabla^2_r E(0) \right| + \lambda I \right) r = -\nabla_r E(0)$$

    For a quadratic loss and λ = 0 the step `kernel - r[:, None] * gradient` is the best of all rescalings of the
    inputs.

    Args:
        loss_fn: `loss_fn(kernel)`, a scalar.
        kernel: Weights W `[inputs, outputs]`.
        damping: λ, at least 0, in units of the curvature.

    Returns:
        The gains r `[inputs]`.

    Raises:
        TypeError: `loss_fn` cannot be called, or `kernel` is not floating point.
        ValueError: `kernel` is no matrix, or `damping` is negative.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss = lambda w: 0.5 * jnp.sum(jnp.array([[2.0], [8.0]]) * w**2)
        >>> print(optimal_input_gains(loss, jnp.ones((2, 1)), damping=0.0))
        [0.5   0.125]

    Source:
        C. Nguyen, S. Auddy, M. Manry, "Optimal Input Gain: All You Need to Supercharge a Feed-Forward Neural Network",
        2023, whose Gauss-Newton curvature is the exact one here, in absolute value.
    """
    check_callable("optimal_input_gains", "loss_fn", loss_fn, "(kernel) -> loss")
    check_range("optimal_input_gains", "damping", damping, 0.0)
    (kernel,) = floats("optimal_input_gains", kernel=kernel)
    check_shape("optimal_input_gains", "kernel", kernel, (None, None))
    direction = -jax.grad(loss_fn)(kernel)

    def along(r: Array) -> Array:
        return loss_fn(kernel + r[:, None] * direction)

    curvature = jax.hessian(along)(jnp.zeros(kernel.shape[0], kernel.dtype))
    return _gains(curvature, jnp.sum(direction**2, axis=1), damping)


def hidden_weight_optimization_direction(
    grad: Float[Array, "inputs outputs"], x: Float[Array, "batch inputs"], *, damping: jax.typing.ArrayLike = 1e-6
) -> Float[Array, "inputs outputs"]:
    r"""The gradient of a layer's weights, its inputs decorrelated.

    $$\left( \frac{1}{B} X^\top X + \lambda I \right)^{-1} \frac{\partial E}{\partial W}$$

    For a linear layer with squared loss a step of 1 along it reaches the least-squares solution.

    Args:
        grad: Gradient of the mean loss by the weights `[inputs, outputs]`.
        x: Inputs of the layer `[batch, inputs]`.
        damping: λ, at least 0, in squared units of the inputs.

    Returns:
        The direction `[inputs, outputs]`.

    Raises:
        TypeError: An array is not floating point.
        ValueError: Shapes do not match, or `damping` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> direction = hidden_weight_optimization_direction(jnp.ones((2, 1)), x, damping=0.0)
        >>> print(direction.ravel().round(3))
        [0.5 2. ]

    Source:
        C. Nguyen, S. Auddy, M. Manry, "Optimal Input Gain: All You Need to Supercharge a Feed-Forward Neural Network",
        2023.
    """
    function = "hidden_weight_optimization_direction"
    check_range(function, "damping", damping, 0.0)
    grad, x = floats(function, grad=grad, x=x)
    check_shape(function, "x", x, (None, None))
    check_shape(function, "grad", grad, (x.shape[1], None))
    moments = x.T @ x / max(x.shape[0], 1) + damping * jnp.eye(x.shape[1], dtype=x.dtype)
    return cho_solve(cho_factor(moments), grad)


def scale_by_optimal_input_gain(damping: jax.typing.ArrayLike = 1e-6) -> optax.GradientTransformationExtraArgs:
    r"""Scale the gradient of every kernel by its optimal input gains.

    $$u = \operatorname{diag}(r)\, g, \qquad (|H_r| + \lambda I)\, r = p, \qquad p_n = \sum_h g_{nh}^2$$

    for leaves `[..., inputs, outputs]`, all axes but the last counting as inputs, each leaf by itself; biases and
    scalars keep their gradients. H_r costs a product with the Hessian for every input, one after another. Chain
    `optax.sgd(1.0)` after it for the full step.

    Args:
        damping: λ, at least 0, in units of the curvature of r: those of the squared gradient times the Hessian.

    Returns:
        An Optax transformation without state, for real parameters. `update` needs `params` and the extra argument
        `grad_fn`, as the train step gives it.

    Raises:
        ValueError: A concrete `damping` is negative.
        TypeError: `grad_fn` is missing.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> grad_fn = jax.grad(lambda w: 0.5 * jnp.sum(jnp.array([[2.0], [8.0]]) * w**2))
        >>> w, tx = jnp.ones((2, 1)), scale_by_optimal_input_gain(damping=0.0)
        >>> direction, _ = tx.update(grad_fn(w), tx.init(w), w, grad_fn=grad_fn)
        >>> print((w - direction).ravel())
        [0. 0.]

    Source:
        C. Nguyen, S. Auddy, M. Manry, "Optimal Input Gain: All You Need to Supercharge a Feed-Forward Neural Network",
        2023.
    """
    function = "scale_by_optimal_input_gain"
    check_range(function, "damping", damping, 0.0)
    damping = wide_scalar(damping)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        grad_fn = check_callable(function, "grad_fn", extra_args.get("grad_fn"), "params -> gradient")
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        values = treedef.flatten_up_to(params)

        def scaled(number: int, gradient: Array) -> Array:
            if gradient.ndim < 2 or not gradient.size:
                return gradient
            rows = wide(gradient).reshape(-1, gradient.shape[-1])

            def column(row: Array) -> Array:
                along = (rows * row[:, None]).reshape(gradient.shape).astype(values[number].dtype)
                vectors = [along if k == number else jnp.zeros_like(x) for k, x in enumerate(values)]
                product = hessian_vector_product(grad_fn, params, treedef.unflatten(vectors))
                moved = wide(treedef.flatten_up_to(product)[number])
                return jnp.sum(rows * moved.reshape(rows.shape), axis=1)

            curvature = lax.map(column, jnp.eye(rows.shape[0], dtype=rows.dtype))
            gains = _gains(curvature, jnp.sum(rows**2, axis=1), damping)
            return (gains[:, None] * rows).reshape(gradient.shape).astype(gradient.dtype)

        return treedef.unflatten([scaled(k, jnp.asarray(g)) for k, g in enumerate(leaves)]), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
