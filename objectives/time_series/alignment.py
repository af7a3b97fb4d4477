"""Soft dynamic time warping (DTW): the cost of the best alignment of two series, made smooth.

One equation: the value V of a matrix of costs C, from which the rest follows by differentiation,

    V[i, j] = C[i, j] + softmin(V[i - 1, j - 1], V[i - 1, j], V[i, j - 1]),    softmin(v) = -γ log Σ exp(-v/γ).

The expected alignment is ∇V(C), and the mean of any penalty Ω over alignments is the derivative of V in the direction
Ω, so that no alignment matrix is held for it. V runs over antidiagonals, whose entries do not depend on each other: T
steps of a scan in place of T², over the whole batch at once. To add a loss of alignments, write its penalty:

    costs, lengths, kept = _read_pair(...)
    value, distortion = jax.jvp(lambda costs: _soft_dtw(costs, lengths, gamma), (costs,), (penalty,))
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    expand,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Scalar


def soft_dtw(
    predictions: Float[ArrayLike, "*batch steps features"],
    targets: Float[ArrayLike, "*batch target_steps features"],
    *,
    gamma: Scalar = 1.0,
    prediction_lengths: Integer[ArrayLike, "*batch"] | None = None,
    target_lengths: Integer[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Soft-DTW: squared distances along all monotone alignments, by a soft minimum.

    $$
    -\gamma \log \sum_{A} \exp\left( -\tfrac1\gamma \sum_{ij} A_{ij} \lVert x_i - y_j \rVert^2 \right)
    $$

    The sum runs over the paths A from the first pair of steps to the last, in steps of (1, 0), (0, 1) and (1, 1). A
    shift in time costs little, unlike under a squared error. As γ → 0 it is the (squared) DTW distance; with γ above 0
    it is below that, may be negative, and is not least at x = y, which `soft_dtw_divergence` is. Time and memory grow
    with the product of the lengths.

    Args:
        predictions: Series x `[..., N, D]`; a series of numbers has D = 1.
        targets: Series y `[..., M, D]`.
        gamma: Smoothing γ, positive, in squared units of the series.
        prediction_lengths: Number of steps of each x `[...]`, from 1 to N; what comes after may hold anything. All N by
            default.
        target_lengths: The same of each y `[...]`, from 1 to M.
        where: Boolean mask `[...]`; a masked pair has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs); NaN where a length is out of range.

    Raises:
        TypeError: If a series is not floating point, lengths not integers or `where` not boolean.
        ValueError: If shapes do not match, a series has no step or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[0.0], [0.0], [1.0]]), jnp.array([[0.0], [1.0], [1.0]])
        >>> print(f"{soft_dtw(x, y, gamma=0.01):.4f}")
        0.0000

    Source:
        Cuturi, Blondel, "Soft-DTW: a Differentiable Loss Function for Time-Series", 2017.
    """
    pairs = _read_pair("soft_dtw", predictions, targets, prediction_lengths, target_lengths, where, gamma)
    return finish(_soft_dtw(_distances(pairs.first, pairs.second), pairs.lengths, pairs.gamma), pairs.kept, pairs.valid)


def soft_dtw_alignment(
    predictions: Float[ArrayLike, "*batch steps features"],
    targets: Float[ArrayLike, "*batch target_steps features"],
    *,
    gamma: Scalar = 1.0,
    prediction_lengths: Integer[ArrayLike, "*batch"] | None = None,
    target_lengths: Integer[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch steps target_steps"]:
    r"""The expected alignment of soft-DTW: how often a step is paired with another, over all alignments.

    $$
    \frac{\sum_A A\, e^{-\langle A, C \rangle / \gamma}}{\sum_A e^{-\langle A, C \rangle / \gamma}} = \nabla V(C),
    \qquad C_{ij} = \lVert x_i - y_j \rVert^2
    $$

    In [0, 1], 1 at the first and the last pair; as γ → 0 the path of DTW.

    Args:
        predictions: Series x `[..., N, D]`.
        targets: Series y `[..., M, D]`.
        gamma: Smoothing γ, positive, in squared units of the series.
        prediction_lengths: Number of steps of each x `[...]`, from 1 to N; all N by default.
        target_lengths: Number of steps of each y `[...]`, from 1 to M; all M by default.
        where: Boolean mask `[...]`; a masked pair has alignment 0 and may hold anything.

    Returns:
        Alignments `[..., N, M]`, 0 beyond the lengths, float32 (float64 for float64 inputs); NaN where a length is out
        of range.

    Raises:
        TypeError: If a series is not floating point, lengths not integers or `where` not boolean.
        ValueError: If shapes do not match, a series has no step or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print([f"{a:.4f}" for a in soft_dtw_alignment(jnp.zeros((2, 1)), jnp.zeros((2, 1))).reshape(-1)])
        ['1.0000', '0.3333', '0.3333', '1.0000']

    Source:
        Cuturi, Blondel, "Soft-DTW: a Differentiable Loss Function for Time-Series", 2017.
    """
    pairs = _read_pair("soft_dtw_alignment", predictions, targets, prediction_lengths, target_lengths, where, gamma)
    costs = _distances(pairs.first, pairs.second)
    value, pullback = jax.vjp(lambda costs: _soft_dtw(costs, pairs.lengths, pairs.gamma), costs)
    valid = None if pairs.valid is None else expand(pairs.valid, costs.ndim)
    return finish(pullback(jnp.ones_like(value))[0], pairs.kept, valid)


def soft_dtw_divergence(
    predictions: Float[ArrayLike, "*batch steps features"],
    targets: Float[ArrayLike, "*batch target_steps features"],
    *,
    gamma: Scalar = 1.0,
    prediction_lengths: Integer[ArrayLike, "*batch"] | None = None,
    target_lengths: Integer[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Soft-DTW divergence: soft-DTW less what each series costs against itself, least (0) where they are equal.

    $$
    V(x, y) - \tfrac12 V(x, x) - \tfrac12 V(y, y)
    $$

    Args:
        predictions: Series x `[..., N, D]`.
        targets: Series y `[..., M, D]`.
        gamma: Smoothing γ, positive, in squared units of the series.
        prediction_lengths: Number of steps of each x `[...]`, from 1 to N; all N by default.
        target_lengths: Number of steps of each y `[...]`, from 1 to M; all M by default.
        where: Boolean mask `[...]`; a masked pair has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs); NaN where a length is out of range.

    Raises:
        TypeError: If a series is not floating point, lengths not integers or `where` not boolean.
        ValueError: If shapes do not match, a series has no step or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[0.0], [3.0]])
        >>> print(f"{soft_dtw_divergence(x, y, gamma=0.1):.4f}")
        4.0000

    Source:
        Blondel, Mensch, Vert, "Differentiable Divergences Between Time Series", 2021.
    """
    pairs = _read_pair("soft_dtw_divergence", predictions, targets, prediction_lengths, target_lengths, where, gamma)
    lengths = (None, None) if pairs.lengths is None else pairs.lengths

    def value(a: Array, b: Array, *ends: Array | None) -> Array:
        return _soft_dtw(_distances(a, b), None if pairs.lengths is None else ends, pairs.gamma)  # type: ignore[arg-type]

    first, second = pairs.first, pairs.second
    between = value(first, second, *lengths)
    within = value(first, first, lengths[0], lengths[0]) + value(second, second, lengths[1], lengths[1])
    return finish(between - 0.5 * within, pairs.kept, pairs.valid)


def temporal_distortion_loss(
    predictions: Float[ArrayLike, "*batch steps features"],
    targets: Float[ArrayLike, "*batch steps features"],
    *,
    gamma: Scalar = 1.0,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""How far the soft alignment leaves the diagonal: delays, whatever the shapes (DILATE's temporal term).

    $$
    \frac{1}{T^2} \sum_{ij} \bar A_{ij} (i - j)^2
    $$

    With Ā of `soft_dtw_alignment`.

    Args:
        predictions: Series `[..., T, D]`.
        targets: Series, of the shape of `predictions`.
        gamma: Smoothing γ of the alignment, positive, in squared units of the series.
        lengths: Number of steps T of each pair `[...]`, from 1; what comes after may hold anything. All by default.
        where: Boolean mask `[...]`; a masked pair has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, without units, float32 (float64 for float64 inputs); NaN where a length is out of range.

    Raises:
        TypeError: If a series is not floating point, lengths not integers or `where` not boolean.
        ValueError: If shapes differ, a series has no step or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[0.0], [0.0], [1.0]]), jnp.array([[0.0], [1.0], [1.0]])
        >>> print(f"{temporal_distortion_loss(x, y, gamma=0.01):.4f}")
        0.2222

    Source:
        Le Guen, Thome, "Shape and Time Distortion Loss for Training Deep Time Series Forecasting Models", 2019.
    """
    pairs, _, distortion = _shape_and_time("temporal_distortion_loss", predictions, targets, lengths, where, gamma)
    return finish(distortion, pairs.kept, pairs.valid)


def dilate_loss(
    predictions: Float[ArrayLike, "*batch steps features"],
    targets: Float[ArrayLike, "*batch steps features"],
    *,
    alpha: Scalar = 0.5,
    gamma: Scalar = 0.01,
    lengths: Integer[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""DILATE: soft-DTW, which judges the shape of a forecast, and the distortion in time that it forgives.

    $$
    \alpha V(x, y) + (1 - \alpha) \frac{1}{T^2} \sum_{ij} \bar A_{ij} (i - j)^2
    $$

    Args:
        predictions: Forecasts x `[..., T, D]`.
        targets: What came, y, of the shape of `predictions`.
        alpha: Weight α of the shape, in [0, 1].
        gamma: Smoothing γ, positive, in squared units of the series; the authors take 0.01.
        lengths: Number of steps T of each pair `[...]`, from 1; what comes after may hold anything. All by default.
        where: Boolean mask `[...]`; a masked pair has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a length is out of range.

    Raises:
        TypeError: If a series is not floating point, lengths not integers or `where` not boolean.
        ValueError: If shapes differ, a series has no step, or `alpha` or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[0.0], [0.0], [1.0]]), jnp.array([[0.0], [1.0], [1.0]])
        >>> print(f"{dilate_loss(x, y, alpha=0.25):.4f}")
        0.1667

    Source:
        Le Guen, Thome, "Shape and Time Distortion Loss for Training Deep Time Series Forecasting Models", 2019.
    """
    pairs, shape, distortion = _shape_and_time("dilate_loss", predictions, targets, lengths, where, gamma)
    alpha = hyperparameter("dilate_loss", "alpha", alpha, shape.dtype, 0, 1)
    return finish(shape * alpha + distortion * (1 - alpha), pairs.kept, pairs.valid)


class _Pairs(NamedTuple):
    """Checked series in the compute dtype, 0 beyond their lengths and where masked; lengths that are all legal."""

    first: Array
    second: Array
    lengths: tuple[Array, Array] | None
    valid: Array | None
    kept: Array | None
    gamma: Scalar


def _read_pair(
    function: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    prediction_lengths: ArrayLike | None,
    target_lengths: ArrayLike | None,
    where: ArrayLike | None,
    gamma: Scalar,
) -> _Pairs:
    first, second = floating(function, "predictions", predictions), floating(function, "targets", targets)
    for name, series in (("predictions", first), ("targets", second)):
        check_rank(function, name, series, 2, "[..., T, D]")
        if 0 in series.shape[-2:]:
            raise ValueError(f"{function}: {name} must have a step and a feature, got {describe(series)}")
    batch = first.shape[:-2]
    if second.shape[:-2] != batch or second.shape[-1] != first.shape[-1]:
        expected = ", ".join(map(str, (*batch, "M", first.shape[-1])))
        raise ValueError(f"{function}: targets must have shape [{expected}], got {describe(second)}")
    kept, dtype = mask(function, where, batch), compute_dtype(first, second)
    gamma = hyperparameter(function, "gamma", gamma, dtype, 0, open_low=True)
    first, second = clean(first, kept).astype(dtype), clean(second, kept).astype(dtype)
    if prediction_lengths is None and target_lengths is None:
        return _Pairs(first, second, None, None, kept, gamma)
    first, rows, fine = _cut(function, "prediction_lengths", prediction_lengths, first, kept)
    second, columns, good = _cut(function, "target_lengths", target_lengths, second, kept)
    return _Pairs(first, second, (rows, columns), fine & good, kept, gamma)


def _cut(
    function: str, name: str, lengths: ArrayLike | None, series: Array, kept: Array | None
) -> tuple[Array, Array, Array]:
    """A series with 0 beyond its length; the lengths, all of them where they are out of range; which were in range."""
    batch, steps = series.shape[:-2], series.shape[-2]
    if lengths is None:
        return series, jnp.full(batch, steps, jnp.int32), jnp.ones(batch, bool)
    given = real(function, name, lengths)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        raise TypeError(f"{function}: {name} must be integers, got {describe(given)}")
    if given.shape != batch:
        raise ValueError(f"{function}: {name} must have shape {list(batch)}, got {describe(given)}")
    given = given if kept is None else jnp.where(kept, given, steps)
    valid = (given >= 1) & (given <= steps)
    ends = jnp.where(valid, given, steps).astype(jnp.int32)
    return clean(series, jnp.arange(steps) < ends[..., None]), ends, valid


def _distances(first: Array, second: Array) -> Array:
    """Squared distances `[..., N, M]` between the steps of two series; differences, so that equal steps have 0."""
    return jnp.sum((first[..., :, None, :] - second[..., None, :, :]) ** 2, axis=-1)


def _shape_and_time(
    function: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    lengths: ArrayLike | None,
    where: ArrayLike | None,
    gamma: Scalar,
) -> tuple[_Pairs, Array, Array]:
    """Soft-DTW and, its derivative in the direction of the penalty, the temporal distortion."""
    predictions, targets = floating(function, "predictions", predictions), floating(function, "targets", targets)
    check_same_shape(function, "targets", targets, "predictions", predictions)
    if lengths is None:
        pairs = _read_pair(function, predictions, targets, None, None, where, gamma)
        steps: int | Array = predictions.shape[-2]
    else:
        check_rank(function, "predictions", predictions, 2, "[..., T, D]")
        kept = mask(function, where, predictions.shape[:-2])
        _, ends, _ = _cut(function, "lengths", lengths, predictions, kept)
        pairs = _read_pair(function, predictions, targets, jnp.asarray(lengths), jnp.asarray(lengths), where, gamma)
        steps = ends[..., None, None].astype(pairs.first.dtype)
    costs = _distances(pairs.first, pairs.second)
    grid = np.arange(costs.shape[-1])
    penalty = jnp.asarray((grid[:, None] - grid) ** 2, costs.dtype) / steps**2
    value = lambda costs: _soft_dtw(costs, pairs.lengths, pairs.gamma)  # noqa: E731
    shape, distortion = jax.jvp(value, (costs,), (jnp.broadcast_to(penalty, costs.shape),))
    return pairs, shape, distortion


def _soft_dtw(costs: Array, lengths: tuple[Array, Array] | None, gamma: Scalar) -> Array:
    """The value `[...]` of costs `[..., N, M]` at the last pair of steps, antidiagonal by antidiagonal."""
    *batch, rows, columns = costs.shape
    diagonals = rows + columns - 1
    # Row i moves i places to the right: column k of what results holds the pairs with i + j = k.
    sheared = jnp.pad(costs, [(0, 0)] * (costs.ndim - 1) + [(0, rows)]).reshape(*batch, rows * (columns + rows))[
        ..., : rows * diagonals
    ]
    sheared = jnp.moveaxis(sheared.reshape(*batch, rows, diagonals), -1, 0)
    row = jnp.arange(rows)
    last = None if lengths is None else (lengths[0] + lengths[1] - 2, lengths[0] - 1)

    def step(carry: tuple[Array, Array, Array], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        before, previous, result = carry
        k, cost = inputs
        above, left = row > 0, row < k  # whether there is a pair (i - 1, ...), (..., j - 1)
        shifted = lambda x: jnp.roll(x, 1, axis=-1)  # noqa: E731
        value = cost + _softmin((shifted(before), shifted(previous), previous), (above & left, above, left), gamma)
        if last is not None:
            here = (k == last[0])[..., None] & (row == last[1][..., None])
            result = result + jnp.sum(jnp.where(here, value, 0), axis=-1)
        return (previous, value, result), None

    start = jnp.zeros((*batch, rows), costs.dtype)
    carry = (start, start, jnp.zeros(tuple(batch), costs.dtype))
    # Backwards each diagonal is computed again from the two before it, in place of keeping all its parts.
    step = jax.checkpoint(step, prevent_cse=False)
    (_, value, result), _ = lax.scan(step, carry, (jnp.arange(diagonals), sheared))
    return value[..., -1] if last is None else result


def _softmin(values: tuple[Array, ...], present: tuple[Array, ...], gamma: Scalar) -> Array:
    """-γ log Σ exp(-v/γ) over what is present; 0 of nothing."""
    least = jnp.full_like(values[0], jnp.inf)
    for value, there in zip(values, present):
        least = jnp.where(there, jnp.minimum(least, lax.stop_gradient(value)), least)
    least = jnp.where(jnp.isfinite(least), least, 0)
    total = jnp.zeros_like(least)
    for value, there in zip(values, present):
        total = total + jnp.where(there, jnp.exp((least - jnp.where(there, value, least)) / gamma), 0)
    return least - gamma * jnp.log(jnp.where(total > 0, total, 1))
