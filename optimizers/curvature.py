"""Products with the curvature of the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable
from optimizers._trees import PyTree, global_norm, wide


def hessian_vector_product(grad_fn: Callable[[PyTree], PyTree], params: PyTree, vector: PyTree) -> PyTree:
    """The Hessian at `params` times `vector`, a forward derivative of the gradient: the extra argument `grad_fn`."""
    product: PyTree = jax.jvp(grad_fn, (params,), (vector,))[1]
    return product


def directional_sharpness(
    loss_fn: Callable[[PyTree], jax.typing.ArrayLike], params: PyTree, update: PyTree
) -> jax.Array:
    r"""The curvature of the loss along an update: what an optimizer pays, to second order, for the way it moves.

    $$S = \frac{u^\top \nabla^2 L(\theta)\, u}{\lVert u \rVert_2^2}, \qquad
    L(\theta + u) \approx L(\theta) + \nabla L(\theta)^\top u + \tfrac12 \lVert u \rVert_2^2\, S$$

    Two forward derivatives, no gradient and no Hessian: about the cost of three evaluations.

    Args:
        loss_fn: From parameters to a scalar; of the operations that forward differentiation knows.
        params: Tree of parameters.
        update: Tree of the same shapes, the update or any direction; its length does not matter.

    Returns:
        A scalar in float32 or wider, in units of the loss over squared units of the parameters; NaN for a zero update.

    Raises:
        TypeError: `loss_fn` is no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = lambda x: 0.5 * (x[0] ** 2 + 100 * x[1] ** 2)
        >>> gradient = jnp.array([1.0, 100.0])
        >>> for update in (gradient, jnp.sign(gradient)):
        ...     print(directional_sharpness(loss, jnp.ones(2), update).round(2))
        99.99
        50.5

    Source:
        Y. Pan, Y. Li, "Toward Understanding Why Adam Converges Faster Than SGD for Transformers", 2023.
    """
    check_callable("directional_sharpness", "loss_fn", loss_fn, "params -> scalar")
    scale = 1 / global_norm(update)
    unit = jax.tree.map(lambda p, u: (scale * wide(jnp.asarray(u))).astype(jnp.result_type(p)), params, update)

    def slope(x: PyTree) -> jax.Array:
        return jax.jvp(lambda x: jnp.asarray(loss_fn(x)), (x,), (unit,))[1]

    return wide(jax.jvp(slope, (params,), (unit,))[1]) / jnp.square(global_norm(unit))
