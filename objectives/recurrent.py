"""Penalties on how gradients travel through the steps of a recurrent network."""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_classes,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
)
from objectives._typing import Array, ArrayLike, Bool, Float


def _norm(x: Array) -> Array:
    """The Euclidean norm of the last axis, scaled so that no square overflows; 0 with gradient 0 at 0."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    unit = x / jnp.where(largest > 0, largest, 1.0)
    square = jnp.sum(unit * unit, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)) * largest[..., 0], 0.0)


def vanishing_gradient_regularizer(
    products: Float[ArrayLike, "*batch units"],
    upstream: Float[ArrayLike, "*batch units"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""How far one step back through a recurrent network changes the length of the gradient.

    $$
    \Omega_k = \left( \frac{\left\lVert \frac{\partial E}{\partial x_{k+1}}
    \frac{\partial x_{k+1}}{\partial x_k} \right\rVert}
    {\left\lVert \frac{\partial E}{\partial x_{k+1}} \right\rVert} - 1 \right)^2
    $$

    Added to the loss (summed over the steps, with a weight of 0.5 to 4) it keeps the signal from vanishing where it is
    needed: only in the directions in which the error travels. Where no gradient arrives, $\partial E / \partial x_{k+1}
    = 0$, the penalty is 0.

    Args:
        products: $\frac{\partial E}{\partial x_{k+1}} \frac{\partial x_{k+1}}{\partial x_k}$ `[..., H]`, steps and
            examples on the leading axes; differentiated.
        upstream: $\frac{\partial E}{\partial x_{k+1}}$ `[..., H]`; constants, never differentiated.
        where: Mask `[...]` of the steps that count, such as those before the end of a sequence; None means all.

    Returns:
        One penalty a step and example `[...]`, at least in float32.

    Raises:
        TypeError: If an array is not floating point, or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> products, upstream = jnp.array([[1.5, 2.0], [3.0, 4.0]]), jnp.array([[3.0, 4.0], [3.0, 4.0]])
        >>> print(vanishing_gradient_regularizer(products, upstream))
        [0.25 0.  ]

    Source:
        R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    name = "vanishing_gradient_regularizer"
    products, upstream = floating(name, "products", products), floating(name, "upstream", upstream)
    check_rank(name, "products", products, 1, "[..., H]")
    check_same_shape(name, "upstream", upstream, "products", products)
    where = mask(name, where, products.shape[:-1])
    dtype = compute_dtype(products, upstream)
    after = _norm(clean(products, where).astype(dtype))
    before = lax.stop_gradient(_norm(clean(upstream, where).astype(dtype)))
    arrives = before > 0
    ratio = after / jnp.where(arrives, before, 1.0)
    return finish(jnp.where(arrives, (ratio - 1.0) ** 2, 0.0), where)


def recurrent_flow_penalty(
    recurrent_kernel: Float[ArrayLike, "units units"],
    derivatives: Float[ArrayLike, "*batch units"],
    upstream: Float[ArrayLike, "*batch units"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""`vanishing_gradient_regularizer` of a network $x_{k+1} = \sigma(x_k) W + \dots$, as a function of W alone.

    $$\Omega_k = \left( \frac{\lVert (g W^\top) \odot \sigma'(x_k) \rVert}{\lVert g \rVert} - 1 \right)^2, \qquad
    g = \frac{\partial E}{\partial x_{k+1}}$$

    Only its immediate derivative in W is taken: states and gradients are constants, as the paper has it. The gradients
    g come from one backward pass, such as that of `jax.grad` with respect to zeros added to the states.

    Args:
        recurrent_kernel: W `[H, H]`, input units first, as Flax has its kernels.
        derivatives: $\sigma'(x_k)$ `[..., H]`, the activation's derivatives at the states; constants.
        upstream: g `[..., H]`, the gradients that arrive at the next states; constants.
        where: Mask `[...]` of the steps that count; None means all.

    Returns:
        One penalty a step and example `[...]`, at least in float32.

    Raises:
        TypeError: If an array is not floating point, or `where` not boolean.
        ValueError: If shapes do not fit.

    Examples:
        A rotation changes no length, half of it halves it:

        >>> import jax.numpy as jnp
        >>> rotation = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
        >>> ones, upstream = jnp.ones((1, 2)), jnp.array([[3.0, 4.0]])
        >>> print(recurrent_flow_penalty(rotation, ones, upstream))
        [0.]
        >>> print(recurrent_flow_penalty(0.5 * rotation, ones, upstream))
        [0.25]

    Source:
        R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    name = "recurrent_flow_penalty"
    kernel = floating(name, "recurrent_kernel", recurrent_kernel)
    derivatives, upstream = floating(name, "derivatives", derivatives), floating(name, "upstream", upstream)
    check_classes(name, "derivatives", derivatives, "[..., H]")
    check_same_shape(name, "upstream", upstream, "derivatives", derivatives)
    units = derivatives.shape[-1]
    if kernel.shape != (units, units):
        raise ValueError(f"{name}: recurrent_kernel must have shape {[units, units]}, got {describe(kernel)}")
    where = mask(name, where, derivatives.shape[:-1])
    dtype = compute_dtype(kernel, derivatives, upstream)
    slopes, g = (lax.stop_gradient(clean(x, where)).astype(dtype) for x in (derivatives, upstream))
    products = jnp.matmul(g, kernel.T.astype(dtype), precision=lax.Precision.HIGHEST) * slopes
    return vanishing_gradient_regularizer(products, g, where=where)
