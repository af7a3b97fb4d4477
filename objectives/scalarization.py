"""Many losses to one: scalarizations of the losses of T tasks, along the last axis.

What a task is given to do is a preference `[T]` (a direction, or weights that add up to 1), a vector of parameters that
is trained beside the model, or nothing. Weights that follow the course of the training are gradient rules of
`optimizers`. Nothing is reduced but the tasks: losses `[..., T]` become losses `[...]`.
"""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    compute_dtype,
    describe,
    floating,
    hyperparameter,
    prng_key,
    real,
)
from objectives._typing import Array, ArrayLike, Float, Real, Scalar


def geometric_mean_loss(losses: Float[ArrayLike, "*batch tasks"]) -> Float[Array, "*batch"]:
    r"""Geometric mean of the losses of the tasks: blind to the units that each is measured in.

    $$
    \left( \prod_t L_t \right)^{1/T}
    $$

    The gradient weighs each task by the mean over T times its loss. A loss of 0 makes the mean 0; its slope there has
    no bound and counts as 0, as for a loss at its minimum (of one task the mean is the loss itself, with slope 1).

    Args:
        losses: Losses of the tasks `[..., T]`, non-negative.

    Returns:
        The mean `[...]`, float32 (float64 for float64 inputs); NaN where a loss is negative.

    Raises:
        TypeError: If the losses are not floating point.
        ValueError: If there is no task.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{geometric_mean_loss(jnp.array([1.0, 4.0])):.4f}")
        2.0000

    Source:
        Chennupati, Sistu, Yogamani, Rawashdeh, "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
        Strategy for Multi-Task Learning", 2019.
    """
    values = _task_losses("geometric_mean_loss", losses)
    values = values.astype(compute_dtype(values))
    values = values * jnp.where(values < 0, jnp.nan, 1)
    if values.shape[-1] == 1:
        return values[..., 0]
    zero = values == 0
    mean = jnp.exp(jnp.mean(jnp.log(jnp.where(zero, 1, values)), axis=-1))
    return jnp.where(jnp.any(zero, axis=-1), 0 * jnp.sum(values, axis=-1), mean)


def chebyshev_scalarization(
    losses: Float[ArrayLike, "*batch tasks"],
    preference: Real[ArrayLike, "... tasks"],
    *,
    ideal: Real[ArrayLike, "... tasks"] | None = None,
    augmentation: Scalar = 0.0,
) -> Float[Array, "*batch"]:
    r"""Weighted Chebyshev scalarization: the task that is worst off, by its preference.

    $$
    \max_t w_t (L_t - z_t) + \rho \sum_t w_t (L_t - z_t)
    $$

    Each Pareto optimal point is the minimum for some preference, on concave parts of the front as well. The sum
    (augmentation, as in ParEGO) rules out the minima that are only weakly optimal. Equal maxima share the gradient.

    Args:
        losses: Losses of the tasks `[..., T]`.
        preference: Weights w of the tasks, non-negative, `[T]` or of the shape of `losses`.
        ideal: Ideal point z, a lower bound of the losses, `[T]` or of the shape of `losses`; 0 by default.
        augmentation: Weight ρ of the sum, at least 0.

    Returns:
        The scalarization `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses are not floating point, or `preference` or `ideal` not real.
        ValueError: If shapes do not match, there is no task, or `augmentation` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(chebyshev_scalarization(jnp.array([1.0, 4.0]), jnp.array([0.75, 0.25]), augmentation=0.5))
        1.875

    Source:
        Steuer, Choo, "An Interactive Weighted Tchebycheff Procedure for Multiple Objective Programming", 1983.
        Knowles, "ParEGO: A Hybrid Algorithm with On-Line Landscape Approximation for Expensive Multiobjective
        Optimization Problems", 2006.
    """
    name = "chebyshev_scalarization"
    distances, weights = _above_ideal(name, losses, preference, ideal)
    rho = hyperparameter(name, "augmentation", augmentation, distances.dtype, 0)
    weighted = weights * distances
    return jnp.max(weighted, axis=-1) + rho * jnp.sum(weighted, axis=-1)


def smooth_chebyshev_scalarization(
    losses: Float[ArrayLike, "*batch tasks"],
    preference: Real[ArrayLike, "... tasks"],
    *,
    smoothing: Scalar = 0.1,
    ideal: Real[ArrayLike, "... tasks"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Smooth Chebyshev scalarization (STCH): the worst-off task through a soft maximum.

    $$
    \mu \log \sum_t \exp \frac{w_t (L_t - z_t)}{\mu}
    $$

    It lies between the weighted maximum and that plus μ log T, and is smooth wherever the losses are: all tasks pull
    at once, by a softmax. Schedules of the smoothing and a first phase of plain sums are the caller's.

    Args:
        losses: Losses of the tasks `[..., T]`.
        preference: Weights w of the tasks, non-negative, `[T]` or of the shape of `losses`.
        smoothing: Smoothing μ, positive, in the units of the weighted losses.
        ideal: Ideal point z, a lower bound of the losses, `[T]` or of the shape of `losses`; 0 by default.

    Returns:
        The scalarization `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses are not floating point, or `preference` or `ideal` not real.
        ValueError: If shapes do not match, there is no task, or `smoothing` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{smooth_chebyshev_scalarization(jnp.array([1.0, 1.0]), jnp.ones(2), smoothing=1.0):.4f}")
        1.6931

    Source:
        Lin, Zhang, Yang, Liu, Wang, Zhang, "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", 2024.
    """
    name = "smooth_chebyshev_scalarization"
    distances, weights = _above_ideal(name, losses, preference, ideal)
    mu = hyperparameter(name, "smoothing", smoothing, distances.dtype, 0, open_low=True)
    weighted = weights * distances
    peak = lax.stop_gradient(jnp.max(weighted, axis=-1))  # taken out before the division, which cannot overflow then
    return peak + mu * jnp.log(jnp.sum(jnp.exp((weighted - peak[..., None]) / mu), axis=-1))


def pbi_scalarization(
    losses: Float[ArrayLike, "*batch tasks"],
    preference: Real[ArrayLike, "... tasks"],
    *,
    theta: Scalar = 5.0,
    ideal: Real[ArrayLike, "... tasks"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Penalty-based boundary intersection (PBI): the way along a direction, plus a penalty for leaving it.

    $$
    d_1 + \theta d_2, \qquad d_1 = (L - z) \cdot \hat w, \qquad d_2 = \lVert L - z - d_1 \hat w \rVert, \qquad
    \hat w = w / \lVert w \rVert
    $$

    On the direction itself, where the distance has no gradient, its gradient counts as 0.

    Args:
        losses: Losses of the tasks `[..., T]`.
        preference: Direction w in the space of losses, not zero, `[T]` or of the shape of `losses`; a zero vector
            gives NaN.
        theta: Penalty θ, at least 0.
        ideal: Ideal point z, a lower bound of the losses, `[T]` or of the shape of `losses`; 0 by default.

    Returns:
        The scalarization `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses are not floating point, or `preference` or `ideal` not real.
        ValueError: If shapes do not match, there is no task, or `theta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(pbi_scalarization(jnp.array([3.0, 1.0]), jnp.array([1.0, 0.0]), theta=2.0))
        5.0

    Source:
        Zhang, Li, "MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition", 2007.
    """
    name = "pbi_scalarization"
    distances, weights = _above_ideal(name, losses, preference, ideal)
    penalty = hyperparameter(name, "theta", theta, distances.dtype, 0)
    direction = weights / _norm(weights)
    along = jnp.sum(distances * direction, axis=-1, keepdims=True)
    return (along + penalty * _norm(distances - along * direction))[..., 0]


def cosmos_scalarization(
    losses: Float[ArrayLike, "*batch tasks"],
    preference: Real[ArrayLike, "... tasks"],
    *,
    penalty: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    r"""COSMOS: the weighted sum of the losses, less the cosine of their angle to the preference.

    $$
    \sum_t w_t L_t - \lambda \frac{\sum_t w_t L_t}{\lVert w \rVert \lVert L \rVert}
    $$

    The cosine spreads the solutions of different preferences over the front. Where all losses are 0 there is no angle,
    and the cosine counts as 0 with gradient 0. That the model sees the preference as an input is the caller's part.

    Args:
        losses: Losses of the tasks `[..., T]`.
        preference: Weights w of the tasks, not all zero, `[T]` or of the shape of `losses`; a zero vector gives NaN.
        penalty: Weight λ of the cosine, at least 0.

    Returns:
        The scalarization `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses are not floating point, or the preference not real.
        ValueError: If shapes do not match, there is no task, or `penalty` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{cosmos_scalarization(jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0]), penalty=2.0):.4f}")
        1.8000

    Source:
        Ruchte, Grabocka, "Scalable Pareto Front Approximation for Deep Multi-Objective Learning", 2021.
    """
    name = "cosmos_scalarization"
    values, weights = _above_ideal(name, losses, preference, None)
    strength = hyperparameter(name, "penalty", penalty, values.dtype, 0)
    length = _norm(values)
    towards = values / jnp.where(length > 0, length, 1)
    cosine = jnp.sum(towards * weights / _norm(weights), axis=-1)
    return jnp.sum(weights * values, axis=-1) - strength * jnp.where(length[..., 0] == 0, 0, cosine)


def uncertainty_weighted_loss(
    losses: Float[ArrayLike, "*batch tasks"], log_variances: Float[ArrayLike, "... tasks"]
) -> Float[Array, "*batch"]:
    r"""Uncertainty weighting: each loss over twice the variance of its task, which is learnt beside the model.

    $$
    \sum_t \tfrac12 e^{-s_t} L_t + \tfrac12 s_t, \qquad s_t = \log \sigma_t^2
    $$

    The likelihood of a Gaussian, of variance $\sigma_t^2$, whose squared error is the loss. The paper's form for a
    classification, $e^{-s} L + \tfrac12 s$, is that of twice the cross-entropy. Keep the log-variances (0 at first)
    among the trained parameters; at the minimum over them the loss is $\tfrac12 \sum_t (1 + \log L_t)$.

    Args:
        losses: Losses of the tasks `[..., T]`.
        log_variances: Log-variances s of the tasks, `[T]` or of the shape of `losses`.

    Returns:
        The loss `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses or the log-variances are not floating point.
        ValueError: If shapes do not match or there is no task.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(uncertainty_weighted_loss(jnp.array([1.0, 3.0]), jnp.zeros(2)))
        2.0

    Source:
        Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
        Semantics", 2018.
    """
    values, s = _with_parameters("uncertainty_weighted_loss", losses, "log_variances", log_variances)
    return 0.5 * jnp.sum(jnp.exp(-s) * values + s, axis=-1)


def imtl_l_loss(
    losses: Float[ArrayLike, "*batch tasks"], log_scales: Float[ArrayLike, "... tasks"]
) -> Float[Array, "*batch"]:
    r"""IMTL-L: each loss times a scale that is learnt beside the model, and that brings all of them to the same size.

    $$
    \sum_t e^{s_t} L_t - s_t
    $$

    At the minimum over the scales every scaled loss is 1. Twice `uncertainty_weighted_loss`, with the other sign of
    the parameters. Keep the log-scales (0 at first) among the trained parameters.

    Args:
        losses: Losses of the tasks `[..., T]`, positive.
        log_scales: Log-scales s of the tasks, `[T]` or of the shape of `losses`.

    Returns:
        The loss `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses or the log-scales are not floating point.
        ValueError: If shapes do not match or there is no task.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(imtl_l_loss(jnp.array([1.0, 3.0]), jnp.zeros(2)))
        4.0

    Source:
        Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, "Towards Impartial Multi-task Learning", 2021.
    """
    values, s = _with_parameters("imtl_l_loss", losses, "log_scales", log_scales)
    return jnp.sum(jnp.exp(s) * values - s, axis=-1)


def random_scalarization(losses: Float[ArrayLike, "*batch tasks"], key: Array) -> Float[Array, "*batch"]:
    r"""Random loss weighting (RLW): a convex combination of the losses with new weights for each key.

    $$
    \sum_t w_t L_t, \qquad w = \mathrm{softmax}(n), \quad n \sim \mathcal N(0, I_T)
    $$

    On average the mean of the losses. The weights are one draw, which all leading axes share. A litmus test: what does
    no better has not learnt to balance its tasks.

    Args:
        losses: Losses of the tasks `[..., T]`.
        key: Typed PRNG key of the weights.

    Returns:
        The combination `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the losses are not floating point, or `key` is no PRNG key.
        ValueError: If there is no task.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> draws = jax.vmap(lambda key: random_scalarization(jnp.array([1.0, 3.0]), key))
        >>> print(f"{draws(jax.random.split(jax.random.key(0), 10_000)).mean():.1f}")
        2.0

    Source:
        Lin, Ye, Zhang, Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
        2022.
    """
    values = _task_losses("random_scalarization", losses)
    dtype = compute_dtype(values)
    noise = jax.random.normal(prng_key("random_scalarization", "key", key), values.shape[-1:], dtype)
    return jnp.sum(jax.nn.softmax(noise) * values.astype(dtype), axis=-1)


def lower_confidence_bound(
    mean: Float[ArrayLike, "*batch"], std: Float[ArrayLike, "*batch"], *, beta: Scalar = 2.0
) -> Float[Array, "*batch"]:
    r"""Lower confidence bound of predicted losses: an optimistic value, which a scalarization can take for the loss.

    $$
    \mu - \beta \sigma
    $$

    The acquisition of Bayesian minimisation: to minimise it explores where the surrogate model is not sure.

    Args:
        mean: Predicted means μ `[...]`.
        std: Predicted standard deviations σ, of the shape of `mean`, non-negative.
        beta: Number β of standard deviations, at least 0.

    Returns:
        Bounds `[...]`, float32 (float64 for float64 inputs); NaN where a standard deviation is negative.

    Raises:
        TypeError: If means or standard deviations are not floating point.
        ValueError: If the shapes differ or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(lower_confidence_bound(jnp.array([1.0, 1.0]), jnp.array([0.0, 0.25])))
        [1.  0.5]

    Source:
        Cox, John, "SDO: A Statistical Method for Global Optimization", 1997. Nguyen, Dinh, Nguyen, Hoang, Le,
        "Improving Pareto Set Learning for Expensive Multi-objective Optimization via Stein Variational
        Hypernetworks", 2025.
    """
    name = "lower_confidence_bound"
    centre, spread = floating(name, "mean", mean), floating(name, "std", std)
    check_same_shape(name, "std", spread, "mean", centre)
    dtype = compute_dtype(centre, spread)
    width = hyperparameter(name, "beta", beta, dtype, 0)
    spread = spread.astype(dtype)
    return centre.astype(dtype) - width * spread * jnp.where(spread < 0, jnp.nan, 1)


def _task_losses(function: str, losses: ArrayLike) -> Array:
    """The losses of at least one task."""
    array = floating(function, "losses", losses)
    check_rank(function, "losses", array, 1, "[..., T]")
    if array.shape[-1] == 0:
        raise ValueError(f"{function}: losses must have at least one task, got {describe(array)}")
    return array


def _check_per_task(function: str, name: str, array: Array, losses: Array) -> None:
    if array.shape not in (losses.shape[-1:], losses.shape):
        raise ValueError(
            f"{function}: {name} must have shape {list(losses.shape[-1:])} or {list(losses.shape)}, "
            f"got {describe(array)}"
        )


def _above_ideal(
    function: str, losses: ArrayLike, preference: ArrayLike, ideal: ArrayLike | None
) -> tuple[Array, Array]:
    """What the losses are above the ideal point, and the preference, in the compute dtype."""
    values, weights = _task_losses(function, losses), real(function, "preference", preference)
    _check_per_task(function, "preference", weights, values)
    if ideal is None:
        dtype = compute_dtype(values, weights)
        return values.astype(dtype), weights.astype(dtype)
    bound = real(function, "ideal", ideal)
    _check_per_task(function, "ideal", bound, values)
    dtype = compute_dtype(values, weights, bound)
    return values.astype(dtype) - bound.astype(dtype), weights.astype(dtype)


def _with_parameters(function: str, losses: ArrayLike, name: str, parameters: ArrayLike) -> tuple[Array, Array]:
    """The losses and trained parameters of the tasks, in the compute dtype; both have gradients."""
    values, trained = _task_losses(function, losses), floating(function, name, parameters)
    _check_per_task(function, name, trained, values)
    dtype = compute_dtype(values, trained)
    return values.astype(dtype), trained.astype(dtype)


def _norm(vectors: Array) -> Array:
    """The L2 norm along the last axis, which stays; at a zero vector its gradient is 0."""
    squared = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    return jnp.where(squared == 0, 0, jnp.sqrt(jnp.where(squared == 0, 1, squared)))
