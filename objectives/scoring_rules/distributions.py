"""Scores of distributions with parameters.

The continuous ranked probability score of a location-scale family is its scale times a function of the standardised
target, so that a further family is that function:

    def crps_uniform(location, log_scale, targets, *, where=None):
        parameters = {"location": location, "log_scale": log_scale}
        return _crps("crps_uniform", parameters, targets, where, _uniform_crps, 1 / 3)

The last number is how far the function stays below |z| far out.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import betainc

from objectives._distributions import LOG_PI, half_step, scaled
from objectives._entries import REAL, entries, likelihood, settle
from objectives._inputs import check_classes, check_same_shape, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def crps_gaussian(
    mean: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of a normal distribution.

    $$
    \sigma \left[ z\, (2 \Phi(z) - 1) + 2 \varphi(z) - \frac{1}{\sqrt\pi} \right], \qquad z = \frac{y - \mu}{\sigma}
    $$

    It is the integral of the squared difference between the distribution function and the step at the target; of a
    point forecast it is the absolute error.

    Args:
        mean: Mean `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_gaussian(jnp.array([0.0]), jnp.array([0.0]), jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.6024

    Source:
        Gneiting, Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007.
    """
    return _crps(
        "crps_gaussian", {"mean": mean, "log_scale": log_scale}, targets, where, _gaussian_crps, 1 / math.sqrt(math.pi)
    )


def crps_logistic(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of a logistic distribution.

    $$
    s \left[ z - 2 \log \sigma(z) - 1 \right], \qquad z = \frac{y - \mu}{s}
    $$

    Args:
        location: Centre `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_logistic(jnp.array([0.0]), jnp.array([0.0]), jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.6265

    Source:
        Jordan, Krüger, Lerch, "Evaluating Probabilistic Forecasts with scoringRules", 2019.
    """
    return _crps("crps_logistic", {"location": location, "log_scale": log_scale}, targets, where, _logistic_crps, 1)


def crps_laplace(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of a Laplace distribution.

    $$
    b \left[ |z| + e^{-|z|} - \tfrac34 \right], \qquad z = \frac{y - \mu}{b}
    $$

    Args:
        location: Centre `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_laplace(jnp.array([0.0]), jnp.array([0.0]), jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.6179

    Source:
        Jordan, Krüger, Lerch, "Evaluating Probabilistic Forecasts with scoringRules", 2019.
    """
    return _crps("crps_laplace", {"location": location, "log_scale": log_scale}, targets, where, _laplace_crps, 0.75)


def crps_student_t(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    df: Scalar = 5.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of Student's t distribution.

    $$
    s \left[ z\, (2 F_\nu(z) - 1) + 2 f_\nu(z) \frac{\nu + z^2}{\nu - 1}
    - \frac{2 \sqrt\nu}{\nu - 1} \frac{\mathrm{B}(\frac12, \nu - \frac12)}{\mathrm{B}(\frac12, \frac\nu2)^2} \right],
    \qquad z = \frac{y - \mu}{s}
    $$

    Args:
        location: Centre `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        targets: Targets `[...]`, any finite numbers.
        df: Degrees of freedom ν, at least 1.1 (at 1 the score is infinite); no gradient flows to them.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `df` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = crps_student_t(jnp.array([0.0]), jnp.array([0.0]), jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.6038

    Source:
        Jordan, Krüger, Lerch, "Evaluating Probabilistic Forecasts with scoringRules", 2019.
    """
    name = "crps_student_t"
    parameters = {"location": location, "log_scale": log_scale}
    (centre, log_scales, y), kept = entries(name, parameters, {"targets": targets}, where)
    freedom = lax.stop_gradient(jnp.asarray(hyperparameter(name, "df", df, y.dtype, 1.1), y.dtype))
    valid = jnp.isfinite(y)
    error = jnp.where(valid, y, 0) - centre
    far = 1e8 if y.dtype == jnp.float32 else 1e30  # where the tail is below a float, and no square overflows
    score = _scaled_crps(error, log_scales, lambda z: _student_t_crps(z, freedom), _student_t_deficit(freedom), far)
    return settle(score, valid, kept)


def crps_gaussian_mixture(
    logits: Float[ArrayLike, "*batch components"],
    mean: Float[ArrayLike, "*batch components"],
    log_scale: Float[ArrayLike, "*batch components"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Continuous ranked probability score of a mixture of normal distributions.

    $$
    \sum_k \pi_k A(y - \mu_k, \sigma_k)
    - \tfrac12 \sum_{kl} \pi_k \pi_l A\big( \mu_k - \mu_l, \sqrt{\sigma_k^2 + \sigma_l^2} \big),
    \qquad A(e, s) = s \left[ \tfrac es (2 \Phi(\tfrac es) - 1) + 2 \varphi(\tfrac es) \right]
    $$

    Args:
        logits: Unnormalised log weights of the components `[..., K]`; -inf switches one off.
        mean: Means `[..., K]`, in the units of the targets.
        log_scale: Logs of the standard deviations `[..., K]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]` in the units of the targets, float32 (float64 for float64 inputs); NaN where a target is not
        finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or there are no components.

    Examples:
        >>> import jax.numpy as jnp
        >>> mean, log_scale = jnp.array([[-1.0, 1.0]]), jnp.zeros((1, 2))
        >>> score = crps_gaussian_mixture(jnp.zeros((1, 2)), mean, log_scale, jnp.array([1.0]))
        >>> print(f"{score[0]:.4f}")
        0.6002

    Source:
        Grimit, Gneiting, Berrocal, Johnson, "The Continuous Ranked Probability Score for Circular Variables and its
        Application to Mesoscale Forecast Ensemble Verification", 2006.
    """
    name, sizes = "crps_gaussian_mixture", {"logits": 1, "mean": 1, "log_scale": 1}
    parameters = {"logits": logits, "mean": mean, "log_scale": log_scale}
    (scores, centres, log_scales, y), kept = entries(name, parameters, {"targets": targets}, where, sizes)
    check_classes(name, "logits", scores, "[..., K]")
    check_same_shape(name, "mean", centres, "logits", scores)
    check_same_shape(name, "log_scale", log_scales, "logits", scores)
    valid, weights = jnp.isfinite(y), jax.nn.softmax(scores)
    distance = _scaled_crps(jnp.where(valid, y, 0)[..., None] - centres, log_scales, _gaussian_distance, 0)
    gaps = centres[..., :, None] - centres[..., None, :]
    widths = 0.5 * jnp.logaddexp(2 * log_scales[..., :, None], 2 * log_scales[..., None, :])
    spread = _scaled_crps(gaps, widths, _gaussian_distance, 0)
    pairs = jnp.einsum("...k,...l,...kl->...", weights, weights, spread, precision=lax.Precision.HIGHEST)
    return settle(jnp.sum(weights * distance, axis=-1) - 0.5 * pairs, valid, kept)


def dawid_sebastiani_score(
    mean: Float[ArrayLike, "*batch"],
    log_variance: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Dawid-Sebastiani score: the log score of a normal distribution with the forecast's first two moments.

    $$
    \frac{(y - \mu)^2}{\sigma^2} + \log \sigma^2
    $$

    Proper for any distribution, and strictly so among those told apart by mean and variance. It is twice
    `gaussian_nll_loss` but for a constant; in several dimensions, twice `multivariate_gaussian_nll_loss`.

    Args:
        mean: Mean of the forecast `[...]`, in the units of the targets.
        log_variance: Log of its variance `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Scores `[...]`, float32 (float64 for float64 inputs); NaN where a target is not finite.

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> score = dawid_sebastiani_score(jnp.array([0.0]), jnp.array([0.0]), jnp.array([2.0]))
        >>> print(f"{score[0]:.4f}")
        4.0000

    Source:
        Dawid, Sebastiani, "Coherent Dispersion Criteria for Optimal Experimental Design", 1999.
    """

    def score(y: Array, mean: Array, log_variance: Array) -> Array:
        error = scaled(y - mean, 0.5 * log_variance)
        return error * error + log_variance

    parameters = {"mean": mean, "log_variance": log_variance}
    return likelihood("dawid_sebastiani_score", parameters, targets, where, REAL, score)


def _crps(
    function: str,
    parameters: Mapping[str, ArrayLike],
    targets: ArrayLike,
    where: ArrayLike | None,
    standard: Callable[[Array], Array],
    deficit: float,
) -> Array:
    """The score of a location-scale family from that of its standard member."""

    def score(y: Array, location: Array, log_scale: Array) -> Array:
        return _scaled_crps(y - location, log_scale, standard, deficit)

    return likelihood(function, parameters, targets, where, REAL, score)


def _scaled_crps(
    error: Array,
    log_scale: Array,
    standard: Callable[[Array], Array],
    deficit: float | Array,
    far_out: float = 50.0,
) -> Array:
    """`s standard(e / s)`; far out, where that is |e| - s deficit, no scale is too small."""
    scale = jnp.exp(log_scale)
    far = jnp.abs(error) > far_out * scale
    near = scale * standard(scaled(jnp.where(far, 0, error), jnp.where(far, 0, log_scale)))
    return jnp.where(far, jnp.abs(error) - scale * deficit, near)


def _gaussian_distance(z: Array) -> Array:
    """The expected distance of a standard normal number from z."""
    density = jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return z * lax.erf(z / math.sqrt(2)) + 2 * density


def _gaussian_crps(z: Array) -> Array:
    return _gaussian_distance(z) - 1 / math.sqrt(math.pi)


def _logistic_crps(z: Array) -> Array:
    return jax.nn.softplus(z) + jax.nn.softplus(-z) - 1


def _laplace_crps(z: Array) -> Array:
    return jnp.abs(z) + jnp.exp(-jnp.abs(z)) - 0.75


def _student_t_density(z: Array, df: Array) -> Array:
    normaliser = half_step(jnp.log(df / 2)) - 0.5 * (LOG_PI + jnp.log(df))
    return jnp.exp(normaliser - 0.5 * (df + 1) * jnp.log1p(z * z / df))


def _student_t_deficit(df: Array) -> Array:
    """How far the score stays below |z| far out: half the expected distance of two members."""
    log_betas = 2 * half_step(jnp.log(df / 2)) - half_step(jnp.log(df - 0.5)) - 0.5 * LOG_PI
    return 2 * jnp.sqrt(df) / (df - 1) * jnp.exp(log_betas)


@jax.custom_jvp
def _student_t_sign(z: Array, df: Array) -> Array:
    """`2 F(z) - 1`; the library's incomplete beta function has no derivative at z = 0, F has."""
    squared = z * z
    return jnp.sign(z) * betainc(0.5 * jnp.ones_like(z), df / 2 + 0 * z, squared / (df + squared))


@_student_t_sign.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    z, df = primals
    return _student_t_sign(z, df), 2 * _student_t_density(z, df) * tangents[0]


@jax.custom_jvp
def _student_t_crps(z: Array, df: Array) -> Array:
    tail = 2 * _student_t_density(z, df) * (df + z * z) / (df - 1)
    return z * _student_t_sign(z, df) + tail - _student_t_deficit(df)


@_student_t_crps.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    z, df = primals
    return _student_t_crps(z, df), _student_t_sign(z, df) * tangents[0]
