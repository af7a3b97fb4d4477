"""TrAct: first layers whose weights move so that their pre-activations descend, not the weights themselves.

Gradient descent moves a first layer's outputs by G X Xᵀ, hence bright images more than dark ones. The weight gradient
XᵀG is replaced by (XᵀX/B + λI)⁻¹ XᵀG, the solution of a small regularised least-squares problem. Nothing else differs
from the plain layer.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import wide
from optimizers.layers._inputs import add_bias, check_shape, dense_inputs, describe, floating


def _solve(matrix: Array, lam: Array, right: Array) -> Array:
    shifted = matrix + lam * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    return cho_solve(cho_factor(shifted), right)


def _whitened(x: Array, gradient: Array, lam: Array) -> Array:
    """(XᵀX/B + λI)⁻¹ Xᵀ G for inputs `[B, in]` and errors `[B, out]`, by the smaller of its two systems."""
    batch, inputs = x.shape
    if batch < inputs:
        return x.T @ _solve(x @ x.T / batch, lam, gradient)
    return _solve(x.T @ x / max(batch, 1), lam, x.T @ gradient)


@jax.custom_vjp
def _product(x: Array, w: Array, lam: Array) -> Array:
    del lam
    return x @ w


def _product_forward(x: Array, w: Array, lam: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return _product(x, w, lam), (x, w, lam)


def _product_backward(saved: tuple[Array, Array, Array], error: Array) -> tuple[Array, Array, Array]:
    x, w, lam = saved
    rows, errors = wide(x).reshape(-1, x.shape[-1]), wide(error).reshape(-1, error.shape[-1])
    on_weights = _whitened(rows, errors, lam.astype(rows.dtype))
    return (error @ w.T).astype(x.dtype), on_weights.astype(w.dtype), jnp.zeros_like(lam)


_product.defvjp(_product_forward, _product_backward)


def tract_linear(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs outputs"],
    b: Float[Array, " outputs"] | None = None,
    *,
    lam: jax.typing.ArrayLike = 0.1,
) -> Float[Array, "*batch outputs"]:
    r"""A dense first layer trained through its pre-activations.

    The forward pass is x W + b. With G the error of the output, over B rows of the batch,

    $$\frac{\partial L}{\partial W} := \left( \frac{X^\top X}{B} + \lambda I \right)^{-1} X^\top G$$

    and the gradients of x and b are the plain layer's. B counts rows over all leading axes. Scale λ times the gradient
    is the plain one for large λ.

    Args:
        x: Inputs `[..., inputs]`.
        w: Weights `[inputs, outputs]`.
        b: Bias `[outputs]`, or None.
        lam: λ, above 0, in squared units of the inputs.

    Returns:
        Pre-activations `[..., outputs]`.

    Raises:
        TypeError: An array is not floating point.
        ValueError: Shapes do not match, or `lam` is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w = jnp.array([[3.0, 0.0]]), jnp.zeros((2, 1))
        >>> print(jax.grad(lambda w: tract_linear(x, w, lam=1.0).sum())(w).ravel())
        [0.3 0. ]

    Source:
        F. Petersen, C. Borgelt, S. Ermon, "TrAct: Making First-layer Pre-Activations Trainable", 2024.
    """
    check_range("tract_linear", "lam", lam, 0.0, open_low=True)
    x, w, b = dense_inputs("tract_linear", x, w, b)
    return add_bias(_product(x, w, wide(jnp.asarray(lam, float))), b)


def tract_precondition(
    grad_w: Float[Array, "inputs outputs"], x: Float[Array, "*batch inputs"], *, lam: jax.typing.ArrayLike = 0.1
) -> Float[Array, "inputs outputs"]:
    r"""The weight gradient of a plain first layer turned into that of `tract_linear`.

    $$\left( \frac{X^\top X}{B} + \lambda I \right)^{-1} \frac{\partial L}{\partial W}$$

    Args:
        grad_w: Gradient Xᵀ G of the weights `[inputs, outputs]`.
        x: Inputs of the layer `[..., inputs]`.
        lam: λ, above 0, in squared units of the inputs.

    Returns:
        The gradient for any optimizer `[inputs, outputs]`, in the dtype of `grad_w`.

    Raises:
        TypeError: An array is not floating point.
        ValueError: Shapes do not match, or `lam` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> gradient = tract_precondition(jnp.array([[3.0], [0.0]]), jnp.array([[3.0, 0.0]]), lam=1.0)
        >>> print(jnp.array_str(gradient.ravel(), precision=3))
        [0.3 0. ]

    Source:
        F. Petersen, C. Borgelt, S. Ermon, "TrAct: Making First-layer Pre-Activations Trainable", 2024.
    """
    check_range("tract_precondition", "lam", lam, 0.0, open_low=True)
    grad_w, x = floating("tract_precondition", "grad_w", grad_w, 2), floating("tract_precondition", "x", x, 1)
    if grad_w.ndim != 2 or grad_w.shape[0] != x.shape[-1]:
        raise ValueError(f"tract_precondition: grad_w must have shape [{x.shape[-1]}, outputs], got {describe(grad_w)}")
    rows = wide(x).reshape(-1, x.shape[-1])
    right = wide(grad_w)
    lam = jnp.asarray(lam, rows.dtype)
    batch = rows.shape[0]
    if 0 < batch < rows.shape[1]:  # the smaller system: (XᵀX/B + λ)⁻¹ = (I - Xᵀ(XXᵀ/B + λ)⁻¹X/B) / λ
        small = _solve(rows @ rows.T / batch, lam, rows @ right / batch)
        return ((right - rows.T @ small) / lam).astype(grad_w.dtype)
    return _solve(rows.T @ rows / max(batch, 1), lam, right).astype(grad_w.dtype)


Padding = str | Sequence[tuple[int, int]]


def tract_conv(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kh kw channels outputs"],
    b: Float[Array, " outputs"] | None = None,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = "SAME",
    lam: jax.typing.ArrayLike = 0.1,
) -> Float[Array, "batch rows columns outputs"]:
    r"""A convolutional first layer trained through its pre-activations: `tract_linear` of the patches of the image.

    $$\frac{\partial L}{\partial W} := \left( \frac{X^\top X}{B} + \lambda I \right)^{-1} X^\top G$$

    with one row of X for each patch of each image, of kh kw channels entries, and B the number of patches.

    Args:
        x: Images `[batch, height, width, channels]`.
        w: Kernel `[kh, kw, channels, outputs]`.
        b: Bias `[outputs]`, or None.
        strides: Steps of the window.
        padding: `"SAME"`, `"VALID"`, or pairs of numbers of zeros, for height and width.
        lam: λ, above 0, in squared units of the inputs.

    Returns:
        Pre-activations `[batch, rows, columns, outputs]`.

    Raises:
        TypeError: An array is not floating point, or a stride no integer.
        ValueError: Shapes do not match, or `lam` is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w = jnp.full((1, 2, 2, 1), 3.0), jnp.zeros((1, 1, 1, 1))
        >>> print(f"{jax.grad(lambda w: tract_conv(x, w, lam=1.0).sum())(w).item():.3f}")
        1.200

    Source:
        F. Petersen, C. Borgelt, S. Ermon, "TrAct: Making First-layer Pre-Activations Trainable", 2024.
    """
    name = "tract_conv"
    check_range(name, "lam", lam, 0.0, open_low=True)
    x, w = floating(name, "x", x), floating(name, "w", w)
    if x.ndim != 4:
        raise ValueError(f"{name}: x must have shape [batch, height, width, channels], got {describe(x)}")
    if w.ndim != 4 or w.shape[2] != x.shape[3]:
        raise ValueError(f"{name}: w must have shape [kh, kw, {x.shape[3]}, outputs], got {describe(w)}")
    if b is not None:
        b = floating(name, "b", b)
        check_shape(name, "b", b, w.shape[3:])
    window = tuple(check_positive_integer(name, "strides", step) for step in strides)
    patches = lax.conv_general_dilated_patches(
        x, w.shape[:2], window, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    # Patches come with the channels outermost, [channels, kh, kw].
    kernel = jnp.moveaxis(w, 2, 0).reshape(-1, w.shape[3])
    return add_bias(_product(patches, kernel, wide(jnp.asarray(lam, float))), b)
