"""Weights as functions of the parameters that are trained: better conditioned matrices, bounded weights.

Apply one of these to the parameters inside the loss, `loss_fn(weight_conditioning(params), batch)`: the gradient goes
through it, and the optimizer sees the parameters.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_range
from optimizers._trees import PyTree, mask_by_path, wide


def _transform(
    leaf: Callable[..., jax.Array], params: PyTree, predicate: Callable[[str], bool] | None, *settings: PyTree
) -> PyTree:
    """`leaf(w, *settings)` of the leaves that the predicate chooses, by default those of two axes or more."""
    chosen = jax.tree.map(lambda w: jnp.ndim(w) > 1, params) if predicate is None else mask_by_path(predicate, params)
    alike: Any = jax.tree.structure(params)  # opaque to the type checker
    full = [x if jax.tree.structure(x) == alike else jax.tree.map(lambda _, x=x: x, params) for x in settings]
    return jax.tree.map(lambda w, on, *values: leaf(w, *values) if on else w, params, chosen, *full)


def row_equilibrate(w: jax.Array, *, axis: int = -1, eps: jax.typing.ArrayLike = 1e-8) -> jax.Array:
    r"""Scale the weights of each output to norm 1.

    $$W_c = E\,W, \qquad E_{oo} = \frac{1}{\lVert W_o \rVert_2}$$

    with $W_o$ all weights that lead to output o: a row in the paper's layout, a column of a Flax kernel, a filter of a
    convolution. Of all diagonal factors on that side it is within the root of the number of rows of the one with the
    least condition number (van der Sluis). Rows of norm `eps` or less stay as they are, with the gradient they have.

    Args:
        w: Weights [..., outputs].
        axis: The axis of the outputs, the last in Flax.
        eps: Norm up to which a row is left alone, at least 0.

    Returns:
        The scaled weights, of the shape and dtype of `w`. The gradient passes through E.

    Raises:
        ValueError: A concrete `eps` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(row_equilibrate(jnp.array([[3.0, 0.0], [4.0, 0.5]])))
        [[0.6 0. ]
         [0.8 1. ]]

    Source:
        H. Saratchandran, T. X. Wang, S. Lucey, "Weight Conditioning for Smooth Optimization of Neural Networks", 2024.
    """
    check_range("row_equilibrate", "eps", eps, 0.0)
    others = tuple(each for each in range(w.ndim) if each != axis % w.ndim)
    x = wide(w)
    squared = jnp.sum(x * x, axis=others, keepdims=True)
    large = squared > jnp.asarray(eps, x.dtype) ** 2
    return jnp.where(large, x * jax.lax.rsqrt(jnp.where(large, squared, 1.0)), x).astype(w.dtype)


def weight_conditioning(
    params: PyTree,
    predicate: Callable[[str], bool] | None = None,
    *,
    axis: int = -1,
    eps: jax.typing.ArrayLike = 1e-8,
) -> PyTree:
    r"""Row-equilibrate the weights of a model: every output of every chosen layer has weights of norm 1.

    Args:
        params: Tree of parameters.
        predicate: From a parameter's path (its keys joined by slashes) to whether it is conditioned; None means the
            parameters of two axes or more.
        axis: The axis of the outputs, the last in Flax.
        eps: Norm up to which a row is left alone, at least 0.

    Returns:
        The parameters to apply the model with; the others are the same arrays.

    Raises:
        ValueError: A concrete `eps` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.array([[3.0], [4.0]]), "bias": jnp.array([2.0])}
        >>> print(weight_conditioning(params)["kernel"].ravel(), weight_conditioning(params)["bias"])
        [0.6 0.8] [2.]

    Source:
        H. Saratchandran, T. X. Wang, S. Lucey, "Weight Conditioning for Smooth Optimization of Neural Networks", 2024.
    """
    check_range("weight_conditioning", "eps", eps, 0.0)
    return _transform(lambda w: row_equilibrate(w, axis=axis, eps=eps), params, predicate)


def condition_number(w: jax.Array, *, axis: int = -1) -> jax.Array:
    r"""The largest singular value over the smallest, of the weights as a matrix of outputs by everything else.

    $$\kappa(W) = \frac{\sigma_1(W)}{\sigma_n(W)}, \qquad n = \min(\text{outputs}, \text{inputs})$$

    Args:
        w: Weights [..., outputs] of two axes or more.
        axis: The axis of the outputs, the last in Flax.

    Returns:
        A scalar in float32 or wider, at least 1; infinity for a matrix without full rank, NaN for zero.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{condition_number(jnp.diag(jnp.array([1.0, 100.0]))):.1f}")
        100.0

    Source:
        H. Saratchandran, T. X. Wang, S. Lucey, "Weight Conditioning for Smooth Optimization of Neural Networks", 2024.
    """
    matrix = jnp.moveaxis(wide(w), axis, 0)
    values = jnp.linalg.svd(matrix.reshape(matrix.shape[0], -1), compute_uv=False)
    return values[0] / values[-1]


def _check_scales(function: str, a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> None:
    for name, value in (("a", a), ("b", b)):
        check_range(function, name, value, 0.0, open_low=True)


def _compand(v: jax.Array, a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> jax.Array:
    return jnp.asarray(a * jnp.arctan(wide(v) / b)).astype(v.dtype)


def weight_compander(v: jax.Array, *, a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> jax.Array:
    r"""Bound weights and push them off zero: an odd function, steep at zero, that saturates.

    $$w = \psi(v) = a \arctan\frac{v}{b}, \qquad |w| < \frac{\pi}{2} a, \quad \psi'(0) = \frac{a}{b}$$

    The paper's abstract states the reparametrisation of each weight by one nonlinear function, which restricts its
    magnitude and forces it away from zero, and whose hyperparameters may be learnt. That the function is this
    arctangent could not be confirmed from the paper's text; any other with these properties reads the abstract as well.

    Args:
        v: Trained parameters [...].
        a: Bound of the weights over π/2, positive. May be a trained array that broadcasts.
        b: Scale of v, positive; b < a stretches weights near zero. May be trained as well.

    Returns:
        The weights [...], in the dtype of `v`.

    Raises:
        ValueError: A concrete `a` or `b` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(weight_compander(jnp.array([0.0, 0.5, 1e6]), a=2.0, b=0.5).round(4))
        [0.     1.5708 3.1416]

    Source:
        R. Cakaj, J. Mehnert, B. Yang, "Weight Compander: A Simple Weight Reparameterization for Regularization", 2023.
    """
    _check_scales("weight_compander", a, b)
    return _compand(v, a, b)


def weight_compander_init(w: jax.Array, *, a: jax.typing.ArrayLike, b: jax.typing.ArrayLike) -> jax.Array:
    r"""The parameters from which `weight_compander` makes given weights: the start of training where a network is.

    $$v = b \tan\frac{w}{a}$$

    Args:
        w: Weights [...], smaller than π a / 2 in magnitude; NaN comes of the others.
        a: As for `weight_compander`.
        b: As for `weight_compander`.

    Returns:
        The parameters v [...], in the dtype of `w`.

    Raises:
        ValueError: A concrete `a` or `b` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> v = weight_compander_init(jnp.array([0.5, -2.0]), a=2.0, b=0.5)
        >>> print(weight_compander(v, a=2.0, b=0.5).round(2))
        [ 0.5 -2. ]

    Source:
        R. Cakaj, J. Mehnert, B. Yang, "Weight Compander: A Simple Weight Reparameterization for Regularization", 2023.
    """
    _check_scales("weight_compander_init", a, b)
    angle = wide(w) / a
    inside = jnp.abs(angle) < jnp.pi / 2
    return jnp.where(inside, b * jnp.tan(jnp.where(inside, angle, 0.0)), jnp.nan).astype(w.dtype)


def weight_compander_params(
    params: PyTree, a: PyTree, b: PyTree, predicate: Callable[[str], bool] | None = None
) -> PyTree:
    r"""`weight_compander` of the weights of a model.

    Args:
        params: Tree of trained parameters.
        a: Bound over π/2, positive: one number, or a tree of numbers (or of arrays that broadcast) like `params`.
        b: Scale, positive: likewise. Trained, a and b are arguments of the loss beside `params`.
        predicate: From a parameter's path (its keys joined by slashes) to whether it is a companded weight; None means
            the parameters of two axes or more.

    Returns:
        The parameters to apply the model with; the others are the same arrays.

    Raises:
        ValueError: A concrete `a` or `b` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.array([[0.5]]), "bias": jnp.array([2.0])}
        >>> weights = weight_compander_params(params, a=2.0, b=0.5)
        >>> print(weights["kernel"].round(4), weights["bias"])
        [[1.5708]] [2.]

    Source:
        R. Cakaj, J. Mehnert, B. Yang, "Weight Compander: A Simple Weight Reparameterization for Regularization", 2023.
    """
    for name, values in (("a", a), ("b", b)):
        for value in jax.tree.leaves(values):
            check_range("weight_compander_params", name, value, 0.0, open_low=True)
    return _transform(_compand, params, predicate, a, b)
