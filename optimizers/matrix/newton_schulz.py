"""The polar factor of a matrix by matrix products alone: singular values become about 1, singular vectors stay."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import TINY
from optimizers._trees import accumulator_dtype

Coefficients = str | Sequence[float] | Sequence[Sequence[float]] | jax.Array
Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]

MUON: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
PRESETS: dict[str, Any] = {
    "muon": MUON,
    "standard": MUON,
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


def check_iteration(function: str, coeffs: Any, steps: int, preconditioning: str, names: tuple[str, str]) -> jax.Array:
    """The coefficients [iterations, 3] that preset, triple or triples mean; raises where they mean nothing."""
    check_positive_integer(function, names[1], steps)
    if isinstance(coeffs, str):
        if coeffs not in PRESETS:
            raise ValueError(f"{function}: {names[0]} must be one of {sorted(PRESETS)} or numbers, got {coeffs!r}")
        coeffs = PRESETS[coeffs]
    if preconditioning not in ("frobenius", "spectral", "aol", "schatten"):
        raise ValueError(
            f"{function}: preconditioning must be 'frobenius', 'spectral', 'aol' or 'schatten', got {preconditioning!r}"
        )
    table = jnp.asarray(coeffs, dtype=float)
    if table.ndim not in (1, 2) or table.shape[-1] != 3:
        raise ValueError(f"{function}: {names[0]} must have shape (3,) or (iterations, 3), got {table.shape}")
    return jnp.broadcast_to(table, (steps, 3)) if table.ndim == 1 else table


def _gram(x: jax.Array) -> jax.Array:
    return x @ jnp.conj(x.mT)


def _bounded(x: jax.Array, eps: Any, preconditioning: str) -> jax.Array:
    """`x` scaled so that no singular value exceeds 1; of any magnitude, since its largest entry is divided by first."""
    peak = jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True)
    x = x / jnp.where(peak > 0, peak, 1)
    eps = eps / jnp.where(peak > 0, peak, 1)
    if preconditioning == "spectral":
        return x / (jnp.linalg.svd(x, compute_uv=False)[..., :1, None] + eps)
    if preconditioning == "aol":
        return x * lax.rsqrt(
            jnp.maximum(jnp.sum(jnp.abs(_gram(x)), axis=-1, keepdims=True), eps / jnp.maximum(peak, TINY))
        )
    if preconditioning == "schatten":
        norm = jnp.sqrt(jnp.sum(jnp.abs(_gram(x)) ** 2, axis=(-2, -1), keepdims=True))
        return x * lax.rsqrt(jnp.maximum(norm, eps / jnp.maximum(peak, TINY)))
    return x / (jnp.sqrt(jnp.sum(jnp.abs(x) ** 2, axis=(-2, -1), keepdims=True)) + eps)


def orthogonalize_wide(x: jax.Array, coeffs: jax.Array, eps: Any, preconditioning: str) -> jax.Array:
    """The iteration on wide matrices [..., m, n], m at most n, in the dtype of `x`."""
    coeffs = coeffs.astype(jnp.finfo(x.dtype).dtype)

    def iteration(step: jax.Array, x: jax.Array) -> jax.Array:
        a, b, c = coeffs[step]
        gram = _gram(x)
        return a * x + (b * gram + c * (gram @ gram)) @ x

    return lax.fori_loop(0, coeffs.shape[0], iteration, _bounded(x, eps, preconditioning))


def newton_schulz_orthogonalize(
    gradient: Inexact[Array, "*batch m n"],
    steps: int = 5,
    coeffs: Coefficients = MUON,
    *,
    eps: jax.typing.ArrayLike = 1e-8,
    preconditioning: Preconditioning = "frobenius",
) -> Inexact[Array, "*batch m n"]:
    r"""Matrices with the singular vectors of `gradient` and singular values of about 1.

    $$X_0 = \frac{G}{\lVert G \rVert_F + \varepsilon}, \qquad X_{k+1} = a X_k + (b A_k + c A_k^2) X_k, \qquad
    A_k = X_k X_k^\top$$

    approaches the polar factor $U V^\top$ of $G = U \Sigma V^\top$. The default coefficients do not converge: they are
    the steepest at 0, and leave the singular values between about 0.68 and 1.2 after five iterations.
    `coeffs=(1.5, -0.5, 0.0)` converges, slowly for small singular values.

    Computed in float32 or wider, and without overflow or underflow at any scale of `gradient`. A zero matrix gives 0.

    Args:
        gradient: Matrices [..., m, n].
        steps: Number of iterations, at least 1; ignored where `coeffs` are several triples.
        coeffs: (a, b, c), or a triple for each iteration, or a preset: `"muon"` (`"standard"`) or `"dion"`.
        eps: Added to the norm, at least 0, in the units of `gradient`.
        preconditioning: What bounds the singular values by 1 first: `"frobenius"` divides by that norm, `"spectral"` by
            the largest singular value (from an SVD), `"schatten"` by the Schatten-4 norm, `"aol"` scales each row by
            the sum of its row of |A| (almost-orthogonal layer), for which the result is not quite the polar factor of
            `gradient`.

    Returns:
        Matrices [..., m, n] in the dtype of `gradient`.

    Raises:
        ValueError: `steps`, `coeffs`, `eps` or `preconditioning` is not as above, or `gradient` is no matrix.
        TypeError: `steps` is not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> g = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
        >>> print(jnp.linalg.svd(newton_schulz_orthogonalize(g), compute_uv=False).round(2))
        [1.04 0.71]
        >>> print(newton_schulz_orthogonalize(g, 20, (1.5, -0.5, 0.0)).round(3))
        [[1. 0. 0.]
         [0. 1. 0.]]

    Source:
        K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; J. Bernstein, L. Newhouse,
        "Old Optimizer, New Norm: An Anthology", 2024.
    """
    name = "newton_schulz_orthogonalize"
    table = check_iteration(name, coeffs, steps, preconditioning, ("coeffs", "steps"))
    check_range(name, "eps", eps, 0.0)
    gradient = jnp.asarray(gradient)
    if gradient.ndim < 2:
        raise ValueError(f"{name}: gradient must have shape [..., m, n], got {gradient.shape}")
    if gradient.size == 0:
        return gradient
    tall = gradient.shape[-2] > gradient.shape[-1]
    wide = gradient.astype(accumulator_dtype(gradient.dtype))
    found = orthogonalize_wide(wide.mT if tall else wide, table, eps, preconditioning)
    return (found.mT if tall else found).astype(gradient.dtype)
