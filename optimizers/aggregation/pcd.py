"""PCD: the primary task's gradient, bent only as far as leaves every other task a share of its own progress."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers.aggregation._carried import carrying
from optimizers.aggregation._complementarity import complementary
from optimizers.aggregation._gramian import check_gramian, nan_unless_finite, unit_gramian
from optimizers.aggregation._spectrum import rounding


def pcd_weights(
    gramian: Float[Array, "T T"],
    mean_squares: Float[Array, " T"] | None = None,
    *,
    tau: Float[Array, " S"] | Sequence[float] | float | Any = 0.02,
    eps: Any = 1e-8,
) -> Float[Array, " T"]:
    r"""Weights of the task gradients in priority-constrained descent, where the first task is the primary one.

    $$
    J^\top w = \frac{\lVert g_1 \rVert}{\lVert d \rVert} d, \quad
    d = \operatorname{argmin}_x \lVert x - \tilde g_1 \rVert \ \text{ where } \
    \langle \tilde g_t, x \rangle \ge \tau_t \lVert \tilde g_t \rVert^2 \ (t \ge 2), \quad
    \tilde g_t = \frac{g_t}{\sqrt{v_t + \epsilon}}
    $$

    The quadratic program is solved exactly up to rounding, by linear solves, for any number of tasks.

    Args:
        gramian: inner products of the task gradients, `[T, T]`, the primary task's first.
        mean_squares: averages v of the gradients' squared norms, `[T]`; those of this Gramian by default.
        tau: share of the progress along its own gradient that each secondary task is left, in [0, 1]; one for all or
            `[T - 1]`.
        eps: added to the averages, at least 0.

    Returns:
        Weights `[T]`; (1, 0, ..., 0) where no step serves all secondary tasks (two are opposite), 0 where the primary
        gradient vanishes or d cancels to rounding, NaN where the Gramian holds NaN or inf.

    Raises:
        ValueError: a Gramian that is not square, averages or shares of another length, a share outside [0, 1], a
            negative eps.

    Examples:
        Along (1, 0) the task of (-1, 1) would lose; (0.51, 0.51) gains it just 0.02 of its squared norm, and is made as
        long as (1, 0):

        >>> import jax.numpy as jnp
        >>> gramian = jnp.array([[1.0, -1.0], [-1.0, 2.0]])
        >>> [round(float(w), 3) for w in pcd_weights(gramian, tau=0.0) @ jnp.array([[1.0, 0.0], [-1.0, 1.0]])]
        [0.707, 0.707]

    Source:
        Varam, AlHajri, "Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical
        Multi-Objective Optimization" (2026).
    """
    gramian = check_gramian("pcd_weights", gramian)
    _check("pcd_weights", tau, eps)
    dtype = gramian.dtype
    cosines, norms = unit_gramian(gramian)
    squares = jnp.square(norms) if mean_squares is None else jnp.asarray(mean_squares, dtype)
    shares = jnp.asarray(tau, dtype)
    if squares.shape != norms.shape:
        raise ValueError(f"pcd_weights: mean_squares must have shape {norms.shape}, got {squares.shape}")
    if shares.shape not in {(), (norms.size - 1,)}:
        raise ValueError(f"pcd_weights: tau must be a number or have shape ({norms.size - 1},), got {shares.shape}")
    variance = squares + jnp.asarray(eps, dtype)
    lengths = jnp.where(variance > 0, norms * lax.rsqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
    # Multiples of the unit gradients whose sum is d.
    parts = jnp.concatenate([lengths[:1], _multipliers(cosines, lengths, shares)])
    square = jnp.sum(parts * jnp.dot(cosines, parts, precision=lax.Precision.HIGHEST))
    cancels = square <= rounding(cosines) * jnp.sum(parts) ** 2
    factor = jnp.where(cancels, 0.0, norms[0] * lax.rsqrt(jnp.where(cancels, 1.0, square)))
    return nan_unless_finite(gramian, jnp.where(norms > 0, parts * factor / jnp.where(norms > 0, norms, 1.0), 0.0))


def _multipliers(cosines: Float[Array, "T T"], lengths: Float[Array, " T"], shares: Array) -> Float[Array, " S"]:
    """The Karush-Kuhn-Tucker multipliers of the unit secondary gradients, 0 where their constraints contradict.

    A little is added to the diagonal; where the constraints contradict, that alone bounds the multipliers.
    """
    if lengths.size == 1:
        return lengths[1:]
    among = cosines[1:, 1:]
    small = rounding(cosines)
    missing = shares * lengths[1:] - cosines[1:, 0] * lengths[0]
    largest = jnp.max(jnp.abs(missing))
    largest = jnp.where(largest > 0, largest, 1.0)
    present = jnp.diagonal(among) > 0
    multipliers = complementary(among + jnp.diag(jnp.where(present, small, 1.0)), -missing / largest)
    square = jnp.sum(multipliers * jnp.dot(among, multipliers, precision=lax.Precision.HIGHEST))
    contradict = square <= small * jnp.sum(jnp.square(multipliers))
    return jnp.where(contradict, 0.0, largest * multipliers)


def _check(function: str, tau: Any, eps: Any) -> None:
    for share in tau if isinstance(tau, Sequence) else (tau,):
        check_range(function, "tau", share, 0.0, 1.0)
    check_range(function, "eps", eps, 0.0)


def pcd(
    tasks: int,
    *,
    tau: Float[Array, " S"] | Sequence[float] | float | Any = 0.02,
    beta: Any = 0.999,
    eps: Any = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Priority-constrained descent: the primary task's gradient, as far as every other task keeps a share of progress.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks with the primary one first, into one update of
    leaves `[...]` in the same dtype and of the norm of the primary gradient; see `pcd_weights` for the definition. The
    scales of the tasks are bias-corrected averages of their squared norms in the state. The Gramian over the whole tree
    is accumulated in float32 or wider; a gradient with NaN or inf gives NaN, and leaves the averages as they are.

    Args:
        tasks: their number T.
        tau: share of the progress along its own gradient that each secondary task is left, in [0, 1]; one for all or
            `[T - 1]`.
        beta: decay of the averages, in [0, 1).
        eps: added to the averages, at least 0.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: a share, decay or eps out of range; from the update, leaves without a leading axis of `tasks`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(pcd(2, tau=0.0), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.707, -0.707]

    Source:
        Varam, AlHajri, "Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical
        Multi-Objective Optimization" (2026).
    """
    _check("pcd", tau, eps)
    check_range("pcd", "beta", beta, 0.0, 1.0, open_high=True)

    def weigh(gramian: Array, averages: Array, count: Array) -> tuple[Array, Array]:
        decay = jnp.asarray(beta, gramian.dtype)
        averages = decay * jnp.where(count == 0, 0.0, averages) + (1 - decay) * jnp.diagonal(gramian)
        unbiased = averages / (1 - decay ** (count + 1))
        return pcd_weights(gramian, unbiased, tau=tau, eps=eps), averages

    return carrying("pcd", tasks, weigh)
