"""Sparse phase retrieval: a signal from the magnitudes of its products with known vectors, by Newton's method."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import wide


def _check(function: str, sensing: jax.Array, magnitudes: jax.Array, sparsity: Any) -> int:
    if sensing.ndim != 2 or magnitudes.shape != sensing.shape[:1]:
        raise ValueError(
            f"{function}: sensing and magnitudes must have shapes [m, n] and [m], "
            f"got sensing {sensing.shape} and magnitudes {magnitudes.shape}"
        )
    return _check_sparsity(function, sparsity, sensing.shape[1])


def _check_sparsity(function: str, sparsity: Any, size: int) -> int:
    sparsity = check_positive_integer(function, "sparsity", sparsity)
    if sparsity > size:
        raise ValueError(f"{function}: sparsity must be at most {size}, got {sparsity}")
    return sparsity


def hard_threshold(x: Float[Array, " n"], sparsity: int) -> Float[Array, " n"]:
    """The nearest vector with at most `sparsity` entries: those of largest magnitude, the others 0.

    Args:
        x: the vector.
        sparsity: number of entries kept, from 1 to n. Of equal magnitudes the first are kept.

    Returns:
        The thresholded vector, in the dtype of `x`.

    Raises:
        ValueError: `sparsity` is out of range.
        TypeError: `sparsity` is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(hard_threshold(jnp.array([1.0, -3.0, 2.0]), 2))
        [ 0. -3.  2.]

    Source:
        T. Blumensath, M. E. Davies, "Iterative Hard Thresholding for Compressed Sensing", 2009.
    """
    x = jnp.asarray(x)
    kept = lax.top_k(jnp.abs(x), _check_sparsity("hard_threshold", sparsity, x.size))[1]
    return jnp.zeros_like(x).at[kept].set(x[kept])


def spectral_init_sparse(
    sensing: Float[Array, "m n"], magnitudes: Float[Array, " m"], sparsity: int
) -> Float[Array, " n"]:
    r"""A start for sparse phase retrieval: a support, and the leading eigenvector on it.

    The support is that of the largest $\frac1m \sum_i y_i^2 a_{ij}^2$; the direction the leading eigenvector of
    $\frac1m \sum_i y_i^2 a_{iS} a_{iS}^\top$; the length $\sqrt{\frac1m \sum_i y_i^2}$, that of the signal where the
    entries of the sensing vectors are independent standard normals.

    Args:
        sensing: the vectors a, one a row.
        magnitudes: y, the absolute values of their products with the signal.
        sparsity: number of nonzero entries, from 1 to n.

    Returns:
        The start, in float32 or wider; its sign is arbitrary, as the signal's is.

    Raises:
        ValueError: shapes do not fit, or `sparsity` is out of range.
        TypeError: `sparsity` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> sensing = jax.random.normal(jax.random.key(0), (400, 6))
        >>> start = spectral_init_sparse(sensing, jnp.abs(sensing[:, 2]), 1)
        >>> print(jnp.flatnonzero(start), f"{jnp.abs(start).max():.1f}")
        [2] 1.0

    Source:
        J.-F. Cai, Y. Long, R. Wen, J. Ying, "A Fast and Provable Algorithm for Sparse Phase Retrieval", 2024; G. Wang,
        L. Zhang, G. B. Giannakis, M. Akçakaya, J. Chen, "Sparse Phase Retrieval via Truncated Amplitude Flow", 2018.
    """
    sensing, magnitudes = wide(jnp.asarray(sensing)), wide(jnp.asarray(magnitudes))
    sparsity = _check("spectral_init_sparse", sensing, magnitudes, sparsity)
    squares = magnitudes**2
    support = lax.top_k(jnp.mean(squares[:, None] * sensing**2, axis=0), sparsity)[1]
    rows = sensing[:, support]
    correlation = jnp.dot(rows.T * squares, rows, precision=lax.Precision.HIGHEST) / len(rows)
    leading = jnp.linalg.eigh(correlation)[1][:, -1]
    return jnp.zeros(sensing.shape[1], sensing.dtype).at[support].set(leading * jnp.sqrt(jnp.mean(squares)))


def sparse_phase_newton_step(
    z: Float[Array, " n"],
    sensing: Float[Array, "m n"],
    magnitudes: Float[Array, " m"],
    sparsity: int,
    *,
    eta: Any = 0.95,
    ridge: Any = 1e-12,
) -> Float[Array, " n"]:
    r"""One step of Newton's method on the support that a gradient step finds; quadratically convergent near a signal.

    $$
    f_A(z) = \frac{1}{2m} \sum_i (|a_i^\top z| - y_i)^2, \qquad f_I(z) = \frac{1}{4m} \sum_i ((a_i^\top z)^2 - y_i^2)^2
    $$

    The support S is that of the `sparsity` largest entries of $z - \eta \nabla f_A(z)$. The new point is zero outside
    it, and on it the solution of Newton's equation for $f_I$ at z,

    $$
    H_{SS} (z_S - z_S^+) = \nabla_S f_I(z) - H_{S \bar S} z_{\bar S}, \qquad
    H = \frac1m \sum_i (3 (a_i^\top z)^2 - y_i^2)\, a_i a_i^\top
    $$

    where what leaves the support is accounted for. Costs one product with all rows and $O(m s^2)$ beyond it.

    Args:
        z: the point, with at most `sparsity` nonzero entries, such as `spectral_init_sparse` gives.
        sensing: the vectors a, one a row.
        magnitudes: y, the absolute values of their products with the signal.
        sparsity: s, number of nonzero entries of the signal, from 1 to n.
        eta: step size of the gradient step that finds the support, above 0.
        ridge: added to the diagonal of the system, at least 0, as a fraction of its mean absolute value.

    Returns:
        The new point, in the dtype of `z`; computed in float32 or wider.

    Raises:
        ValueError: shapes do not fit, or a hyperparameter is out of range.
        TypeError: `sparsity` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> sensing = jax.random.normal(jax.random.key(0), (60, 8))
        >>> signal = jnp.zeros(8).at[jnp.array([1, 5])].set(jnp.array([2.0, -1.0]))
        >>> z = signal + 0.1 * (signal != 0)
        >>> for _ in range(4):
        ...     z = sparse_phase_newton_step(z, sensing, jnp.abs(sensing @ signal), 2)
        >>> print(f"{jnp.linalg.norm(z - signal):.4f}")
        0.0000

    Source:
        J.-F. Cai, Y. Long, R. Wen, J. Ying, "A Fast and Provable Algorithm for Sparse Phase Retrieval", 2024.
    """
    function = "sparse_phase_newton_step"
    z, a, y = jnp.asarray(z), wide(jnp.asarray(sensing)), wide(jnp.asarray(magnitudes))
    sparsity = _check(function, a, y, sparsity)
    if z.shape != a.shape[1:]:
        raise ValueError(f"{function}: z must have shape {a.shape[1:]}, got {z.shape}")
    check_range(function, "eta", eta, 0.0, open_low=True)
    check_range(function, "ridge", ridge, 0.0)
    x = wide(z)
    products = jnp.dot(a, x, precision=lax.Precision.HIGHEST)
    amplitude = jnp.dot(a.T, products - y * jnp.sign(products), precision=lax.Precision.HIGHEST) / len(a)
    support = lax.top_k(jnp.abs(x - eta * amplitude), sparsity)[1]
    inside = jnp.zeros(x.shape, bool).at[support].set(True)
    leaving = jnp.dot(a, jnp.where(inside, 0.0, x), precision=lax.Precision.HIGHEST)
    rows, curvature = a[:, support], 3 * products**2 - y**2
    hessian = jnp.dot(rows.T * curvature, rows, precision=lax.Precision.HIGHEST) / len(a)
    hessian += ridge * jnp.mean(jnp.abs(jnp.diagonal(hessian))) * jnp.eye(sparsity, dtype=hessian.dtype)
    slope = (products**2 - y**2) * products - curvature * leaving
    right = jnp.dot(rows.T, slope, precision=lax.Precision.HIGHEST) / len(a)
    moved = x[support] - jnp.linalg.solve(hessian, right)
    return jnp.zeros_like(x).at[support].set(moved).astype(z.dtype)
