"""Regression by bits: numbers of an interval in binary, a loss of the logits of the bits, and the numbers back."""

import jax
import jax.numpy as jnp
import numpy as np

from objectives._inputs import (
    check_classes,
    class_vector,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import check_one_a_row, pair


def binary_target_encoding(
    targets: Real[ArrayLike, "*batch"], *, bits: int = 8, low: Scalar = 0.0, high: Scalar = 1.0
) -> Float[Array, "*batch bits"]:
    r"""The bits of targets in an interval, the most significant first.

    $$
    v = \operatorname{round}\left( (2^n - 1) \frac{y - l}{h - l} \right) = \sum_b 2^{n - 1 - b}\, t_b
    $$

    Args:
        targets: Numbers y in [low, high], `[...]`; they are rounded to one of 2ⁿ levels.
        bits: Number n of bits, from 1 to 24.
        low: Least target l.
        high: Largest target h, above `low`.

    Returns:
        Bits `[..., n]`, 0 or 1, float32 (float64 for float64 inputs); NaN for targets outside the interval.

    Raises:
        TypeError: If the targets are not real or `bits` not an integer.
        ValueError: If `bits` is out of range or `high` not above `low`.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(binary_target_encoding(jnp.array([5 / 15]), bits=4))
        [[0. 1. 0. 1.]]

    Source:
        Yang, Xie, Zhou, et al., "Neural Field Classifiers via Target Encoding and Classification Loss", 2024.
    """
    name = "binary_target_encoding"
    values = real(name, "targets", targets)
    return _bits(name, values, _count_of_bits(name, bits), low, high, compute_dtype(values))


def binary_target_decoding(
    probabilities: Float[ArrayLike, "*batch bits"], *, low: Scalar = 0.0, high: Scalar = 1.0
) -> Float[Array, "*batch"]:
    r"""The expected number of bits that are set with given probabilities, the most significant first.

    $$
    l + \frac{h - l}{2^n - 1} \sum_b 2^{n - 1 - b}\, p_b
    $$

    Args:
        probabilities: Probabilities p of the bits `[..., n]`, n from 1 to 24.
        low: Number l of no bits.
        high: Number h of all bits, above `low`.

    Returns:
        Numbers `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the probabilities are not floating point.
        ValueError: If there is no axis of 1 to 24 bits or `high` is not above `low`.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{binary_target_decoding(jnp.array([0.0, 1.0, 0.0, 1.0])):.4f}")
        0.3333

    Source:
        Yang, Xie, Zhou, et al., "Neural Field Classifiers via Target Encoding and Classification Loss", 2024.
    """
    name = "binary_target_decoding"
    weights = floating(name, "probabilities", probabilities)
    dtype = compute_dtype(weights)
    bits = _count_of_bits(name, weights.shape[-1] if weights.ndim else 0, "probabilities")
    low, width = _interval(name, low, high, dtype)
    powers = jnp.asarray(2.0 ** np.arange(bits)[::-1] / (2**bits - 1), dtype)
    return jnp.sum(weights.astype(dtype) * powers, axis=-1) * width + low


def binary_encoding_loss(
    logits: Float[ArrayLike, "*batch bits"],
    targets: Real[ArrayLike, "*batch"],
    *,
    bit_weights: Real[ArrayLike, " bits"] | None = None,
    low: Scalar = 0.0,
    high: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Mean binary cross-entropy of the bits of a target: a regression by a few yes-or-no questions.

    $$
    \frac1n \sum_b w_b \left( \log(1 + e^{s_b}) - t_b s_b \right)
    $$

    With the bits t of `binary_target_encoding`; `binary_target_decoding(sigmoid(logits))` is the prediction.

    Args:
        logits: Logits s of the bits `[..., n]`, the most significant first, n from 1 to 24.
        targets: Numbers in [low, high], `[...]`.
        bit_weights: Weights w of the bits `[n]`; 1 by default. Powers of two weigh a bit by what it is worth.
        low: Least target.
        high: Largest target, above `low`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN for targets outside the interval.

    Raises:
        TypeError: If the logits are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes do not match, there are not 1 to 24 bits or `high` is not above `low`.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{binary_encoding_loss(jnp.zeros((1, 8)), jnp.array([0.3]))[0]:.4f}")
        0.6931

    Source:
        Yang, Xie, Zhou, et al., "Neural Field Classifiers via Target Encoding and Classification Loss", 2024.
    """
    name = "binary_encoding_loss"
    scores, values = floating(name, "logits", logits), real(name, "targets", targets)
    check_classes(name, "logits", scores, "[..., bits]")
    check_one_a_row(name, "targets", values, "logits", scores)
    kept, dtype = mask(name, where, values.shape), compute_dtype(scores, values)
    # A masked target becomes `low`, which is in the interval where 0 may not be.
    values = values.astype(dtype) if kept is None else jnp.where(kept, values.astype(dtype), low)
    set_bits = _bits(name, values, _count_of_bits(name, scores.shape[-1], "logits"), low, high, dtype)
    scores = clean(scores, kept).astype(dtype)
    losses = jnp.maximum(scores, 0) - set_bits * scores + jnp.log1p(jnp.exp(-jnp.abs(scores)))
    if bit_weights is not None:
        losses = losses * class_vector(name, "bit_weights", bit_weights, scores.shape[-1], dtype)
    return finish(jnp.mean(losses, axis=-1), kept)


def neural_field_classifier_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    bce_weight: Scalar = 1.0,
    epsilon: Scalar = 1e-3,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Squared error beside the binary cross-entropy of a number in [0, 1], as of a rendered colour.

    $$
    (p - y)^2 - \lambda \left( y \log q + (1 - y) \log(1 - q) \right), \qquad
    q = \operatorname{clip}(p, \epsilon, 1 - \epsilon)
    $$

    The form that the authors released in place of encoded bits (`binary_encoding_loss`). Both terms are least at
    p = y; the second one's pull, (p - y)/(p(1 - p)), is the stronger near 0 and 1. The authors clip above only and
    leave 0 to the bound of their framework's logarithm; here both ends are alike.

    Args:
        predictions: Predictions p `[...]`, in [0, 1] as far as the clipping does not see to that.
        targets: Targets y in [0, 1], of the shape of `predictions`.
        bce_weight: Weight λ of the cross-entropy, at least 0; the authors take 1 to 2.
        epsilon: Distance ε from 0 and 1 at which the cross-entropy stops to pull, in (0, 0.5].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN for targets outside [0, 1].

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ, or `bce_weight` or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{neural_field_classifier_loss(jnp.array([0.5]), jnp.array([1.0]))[0]:.4f}")
        0.9431

    Source:
        Yang, Xie, Zhou, et al., "Neural Field Classifiers via Target Encoding and Classification Loss", 2024.
    """
    name = "neural_field_classifier_loss"
    entries = pair(name, predictions, targets, where)
    weight = hyperparameter(name, "bce_weight", bce_weight, entries.dtype, 0)
    epsilon = hyperparameter(name, "epsilon", epsilon, entries.dtype, 0, 0.5, open_low=True)
    y, clipped = entries.targets, jnp.clip(entries.predictions, epsilon, 1 - epsilon)
    cross_entropy = -(y * jnp.log(clipped) + (1 - y) * jnp.log1p(-clipped))
    return finish(entries.error**2 + weight * cross_entropy, entries.kept, (y >= 0) & (y <= 1))


def _count_of_bits(function: str, bits: int, name: str = "bits") -> int:
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer, got {type(bits).__name__}")
    if not 1 <= bits <= 24:
        raise ValueError(f"{function}: {name} must be from 1 to 24 bits, got {bits}")
    return int(bits)


def _interval(function: str, low: Scalar, high: Scalar, dtype: np.dtype) -> tuple[Scalar, Scalar]:
    """The lower end and the width; an empty interval is refused where both ends are concrete."""
    low, high = hyperparameter(function, "low", low, dtype), hyperparameter(function, "high", high, dtype)
    if not isinstance(low, jax.core.Tracer) and not isinstance(high, jax.core.Tracer) and not high > low:
        raise ValueError(f"{function}: high must be above low, got {float(high)!r} and {float(low)!r}")
    return low, high - low


def _bits(function: str, targets: Array, bits: int, low: Scalar, high: Scalar, dtype: np.dtype) -> Array:
    """The bits of the level of each target, NaN where it lies outside."""
    low, width = _interval(function, low, high, dtype)
    level = jnp.round((targets.astype(dtype) - low) / width * (2**bits - 1))
    valid = (level >= 0) & (level <= 2**bits - 1)
    shifts = jnp.arange(bits - 1, -1, -1, dtype=jnp.int32)
    digits = (jnp.where(valid, level, 0).astype(jnp.int32)[..., None] >> shifts) & 1
    return jnp.where(valid[..., None], digits.astype(dtype), jnp.nan)
