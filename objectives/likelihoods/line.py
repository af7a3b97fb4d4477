"""Likelihoods of numbers on the whole line, and of angles."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._distributions import LOG_2, LOG_2_PI, LOG_PI, half_step, polynomial, scaled
from objectives._entries import REAL, likelihood
from objectives._inputs import hyperparameter
from objectives._numerics import expm1_ratio
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar


def gaussian_nll_loss(
    mean: Float[ArrayLike, "*batch"],
    log_variance: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    beta: Scalar = 0.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a normal distribution with predicted mean and variance; with beta, β-NLL.

    $$
    \sigma^{2\beta} \left[ \frac{(y - \mu)^2}{2 \sigma^2} + \tfrac12 \log \sigma^2 + \tfrac12 \log 2\pi \right]
    $$

    No gradient flows through the weight. At beta = 1 the mean has the gradient of half the squared error, whatever the
    variance; at 0.5, which the paper recommends, points that are fitted badly are not given up.

    Args:
        mean: Mean `[...]`, in the units of the targets.
        log_variance: Log of the variance `[...]`.
        targets: Targets `[...]`, any finite numbers.
        beta: Power of the variance that weighs the loss, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `beta` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = gaussian_nll_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        2.9189

    Source:
        Nix, Weigend, "Estimating the Mean and Variance of the Target Probability Distribution", 1994; Seitzer,
        Tavakoli, Antic, Martius, "On the Pitfalls of Heteroscedastic Uncertainty Estimation with Probabilistic Neural
        Networks" (beta), 2022.
    """

    def nll(y: Array, mean: Array, log_variance: Array) -> Array:
        power = hyperparameter("gaussian_nll_loss", "beta", beta, y.dtype, 0, 1)
        error = scaled(y - mean, 0.5 * log_variance)
        loss = 0.5 * (error * error + log_variance + LOG_2_PI)
        if isinstance(power, float) and power == 0:
            return loss
        return lax.stop_gradient(jnp.exp(power * log_variance)) * loss

    return likelihood("gaussian_nll_loss", {"mean": mean, "log_variance": log_variance}, targets, where, REAL, nll)


def laplace_nll_loss(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a Laplace distribution.

    $$
    \frac{|y - \mu|}{b} + \log 2 b
    $$

    Args:
        location: Centre `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = laplace_nll_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        2.6931

    Source:
        Kotz, Kozubowski, Podgórski, "The Laplace Distribution and Generalizations", 2001.
    """

    def nll(y: Array, location: Array, log_scale: Array) -> Array:
        return jnp.abs(scaled(y - location, log_scale)) + log_scale + LOG_2

    return likelihood("laplace_nll_loss", {"location": location, "log_scale": log_scale}, targets, where, REAL, nll)


def student_t_nll_loss(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    log_df: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of Student's t distribution.

    $$
    \frac{\nu + 1}{2} \log\!\left( 1 + \frac{z^2}{\nu} \right)
    - \log \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2})} + \tfrac12 \log \nu\pi + \log s,
    \qquad z = \frac{y - \mu}{s}
    $$

    As the degrees of freedom grow it becomes the normal one, without loss of digits on the way. An error may be as
    large as its float: the loss grows with its logarithm.

    Args:
        location: Centre `[...]`, in the units of the targets.
        log_scale: Log of the scale `[...]`.
        log_df: Log of the degrees of freedom ν `[...]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = student_t_nll_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.log(jnp.array([4.0])), jnp.array([3.0]))
        >>> print(f"{loss[0]:.4f}")
        2.7137

    Source:
        Lange, Little, Taylor, "Robust Statistical Modeling Using the t Distribution", 1989.
    """
    parameters = {"location": location, "log_scale": log_scale, "log_df": log_df}
    return likelihood("student_t_nll_loss", parameters, targets, where, REAL, student_t_nll)


def barron_nll_loss(
    location: Float[ArrayLike, "*batch"],
    log_scale: Float[ArrayLike, "*batch"],
    shape_logit: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of Barron's distribution, whose tails are learnt: from Cauchy's to the normal ones.

    $$
    \rho(y - \mu, \alpha, c) + \log c + \log Z(\alpha), \qquad Z(\alpha) = \int e^{-\rho(x, \alpha, 1)}\, dx,
    \qquad \alpha = 2\, \sigma(\text{shape\_logit})
    $$

    ρ is the general robust loss (`general_robust_loss`). Its shape α, from 0 (Cauchy with scale c√2) to 2 (normal with
    standard deviation c), and its scale c can be outputs of the network or learnt, one for each output dimension in the
    paper's adaptive loss: broadcast them to the shape of the targets. The normaliser log Z has no closed form. The
    paper interpolates a table of it, to six digits; here it is integrated, to the digits of the dtype, over fixed nodes
    (58 in float32, 124 in float64) of which one at a time is held, in the backward pass too.

    Args:
        location: Centre μ `[...]`, in the units of the targets.
        log_scale: Log of the scale c `[...]`.
        shape_logit: Logit of half the shape, α/2 `[...]`; 0 is the Charbonnier loss, α = 1.
        targets: Targets y `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> zero = jnp.array([0.0])
        >>> print(f"{barron_nll_loss(zero, zero, zero, jnp.array([2.0]))[0]:.4f}")
        2.4216

    Source:
        Barron, "A General and Adaptive Robust Loss Function", 2019.
    """

    def nll(y: Array, location: Array, log_scale: Array, shape_logit: Array) -> Array:
        logit = _bounded_shape(shape_logit)
        return _robust(scaled(y - location, log_scale) ** 2, logit) + log_scale + _log_partition(logit)

    parameters = {"location": location, "log_scale": log_scale, "shape_logit": shape_logit}
    return likelihood("barron_nll_loss", parameters, targets, where, REAL, nll)


def von_mises_nll_loss(
    location: Float[ArrayLike, "*batch"],
    log_concentration: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a von Mises distribution, the normal distribution of angles.

    $$
    -\kappa \cos(y - \mu) + \log 2\pi I_0(\kappa) = 2 \kappa \sin^2 \tfrac{y - \mu}{2}
    + \log 2\pi e^{-\kappa} I_0(\kappa)
    $$

    Args:
        location: Mean direction `[...]`, in radians.
        log_concentration: Log of the concentration κ `[...]`.
        targets: Angles `[...]` in radians, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = von_mises_nll_loss(jnp.array([0.0]), jnp.array([0.0]), jnp.array([2 * jnp.pi]))
        >>> print(f"{loss[0]:.4f}")
        1.0738

    Source:
        von Mises, "Über die „Ganzzahligkeit“ der Atomgewichte und verwandte Fragen", 1918.
    """

    def nll(y: Array, location: Array, log_concentration: Array) -> Array:
        chord = scaled(jnp.sin(0.5 * (y - location)), -0.5 * log_concentration)
        return 2 * chord * chord + LOG_2_PI + _log_i0e(log_concentration)

    parameters = {"location": location, "log_concentration": log_concentration}
    return likelihood("von_mises_nll_loss", parameters, targets, where, REAL, nll)


def student_t_nll(y: Array, location: Array, log_scale: Array, log_df: Array) -> Array:
    """The density, for evidential regression too; beyond e^50 degrees of freedom it is the normal one to any float."""
    log_df = jnp.minimum(log_df, 50)
    error = y - location
    exact = error == 0
    log_ratio = 2 * (jnp.log(jnp.abs(jnp.where(exact, 1, error))) - log_scale) - log_df
    tail = ~exact & (log_ratio > 0)
    near = jnp.where(tail, 0, scaled(jnp.where(tail, 0, error), log_scale + 0.5 * log_df))
    log_factor = jnp.where(tail, jax.nn.softplus(jnp.where(tail, log_ratio, 1)), jnp.log1p(near * near))
    normaliser = 0.5 * (log_df + LOG_PI) + log_scale - half_step(log_df - LOG_2)
    return 0.5 * (log_factor + scaled(log_factor, -log_df)) + normaliser


def _log_i0e(log_x: Array) -> Array:
    """Log of the Bessel function I₀(x) e^-x; its asymptotic series where the library's derivative would cancel."""
    large = log_x > math.log(40)
    near = jnp.exp(jnp.where(large, 0, log_x))
    far = jnp.where(large, log_x, math.log(40))
    terms = tuple(math.prod((2 * j - 1) ** 2 for j in range(1, k + 1)) / (math.factorial(k) * 8**k) for k in range(14))
    series = -0.5 * (LOG_2_PI + far) + jnp.log(polynomial(jnp.exp(-far), terms))
    return jnp.where(large, series, jnp.log(jax.scipy.special.i0e(near)))


def _bounded_shape(logit: Array) -> Array:
    """The logit of α/2, where it still makes a difference to this dtype; beyond, α is 0 or 2 to all digits."""
    limit = 24 if logit.dtype == jnp.float32 else 42
    return jnp.clip(logit, -limit, limit)


def _robust(square: Array, logit: Array) -> Array:
    """The general robust loss of squared, scaled errors: (b/α) ((z/b + 1)^(α/2) - 1), with b = 2 - α.

    Below α = 1 as a quotient of expm1, which has no difficulty at 0, from there on with what is left of z when
    (z/b + 1)^(-b/2) is taken out, which has none at 2.
    """
    alpha, bend = 2 * jax.nn.sigmoid(logit), 2 * jax.nn.sigmoid(-logit)
    heavy = alpha < 1
    growth = 0.5 * jnp.log1p(square / bend)
    low = bend * growth * expm1_ratio(jnp.where(heavy, alpha, 1) * growth)
    damped = -bend * growth
    high = (square * jnp.exp(damped) + bend * jnp.expm1(damped)) / jnp.where(heavy, 1, alpha)
    return jnp.where(heavy, low, high)


def _log_partition(logit: Array) -> Array:
    """log ∫ exp(-ρ(x)) dx by the trapezoidal rule in s, x = exp(sinh(s)), which decays doubly exponentially."""
    single = logit.dtype == jnp.float32
    nodes = np.linspace(-3.7, 3.7, 58) if single else np.linspace(-4.3, 4.3, 124)
    places = np.exp(np.sinh(nodes))
    weights = 2 * (nodes[1] - nodes[0]) * np.cosh(nodes) * places

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add(total: Array, node: Array) -> tuple[Array, None]:
        return total + node[0] * jnp.exp(-_robust(node[1], logit)), None

    return jnp.log(lax.scan(add, 0 * logit, jnp.asarray(np.stack([weights, places**2], axis=1), logit.dtype))[0])
