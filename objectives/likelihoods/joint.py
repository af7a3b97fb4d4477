"""Likelihoods of vectors (compositions, correlated numbers), and mixtures of any likelihoods."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp

from objectives._distributions import LOG_2_PI, generalized_kl, scaled, stirling
from objectives._entries import check_trailing, entries, settle
from objectives._inputs import check_classes, check_same_shape, finish
from objectives._typing import Array, ArrayLike, Bool, Float, Real


def dirichlet_nll_loss(
    log_concentration: Float[ArrayLike, "*batch parts"],
    targets: Real[ArrayLike, "*batch parts"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a Dirichlet distribution of compositions.

    $$
    \sum_c \log \Gamma(\alpha_c) - \log \Gamma\!\Big( \sum_c \alpha_c \Big) - \sum_c (\alpha_c - 1) \log y_c
    $$

    Args:
        log_concentration: Logs of the concentrations α `[..., C]`; the mean is their softmax.
        targets: Compositions `[..., C]`: positive numbers whose sum is 1 (to 1e-3).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or there are no parts.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = dirichlet_nll_loss(jnp.zeros((1, 3)), jnp.array([[0.2, 0.3, 0.5]]))
        >>> print(f"{loss[0]:.4f}")
        -0.6931

    Source:
        Aitchison, "The Statistical Analysis of Compositional Data", 1982.
    """
    name, sizes = "dirichlet_nll_loss", {"log_concentration": 1, "targets": 1}
    (log_alpha, y), kept = entries(name, {"log_concentration": log_concentration}, {"targets": targets}, where, sizes)
    check_classes(name, "log_concentration", log_alpha)
    check_same_shape(name, "targets", y, "log_concentration", log_alpha)
    inside = jnp.all((y > 0) & jnp.isfinite(y), axis=-1) & (jnp.abs(jnp.sum(y, axis=-1) - 1) < 1e-3)
    return settle(dirichlet_nll(jnp.log(jnp.where(inside[..., None], y, 1)), log_alpha), inside, kept)


def multivariate_gaussian_nll_loss(
    mean: Float[ArrayLike, "*batch dim"],
    log_cholesky: Float[ArrayLike, "*batch dim dim"],
    targets: Real[ArrayLike, "*batch dim"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a normal distribution of vectors, by a Cholesky factor of its covariance.

    $$
    \tfrac12 \lVert L^{-1} (y - \mu) \rVert^2 + \sum_d \log L_{dd} + \tfrac{D}{2} \log 2\pi, \qquad \Sigma = L L^\top
    $$

    Every real matrix is a covariance: nothing has to be constrained.

    Args:
        mean: Mean `[..., D]`.
        log_cholesky: Any matrix `[..., D, D]`: what is below its diagonal is that of L, its diagonal the log of L's.
            What is above is not looked at.
        targets: Targets `[..., D]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = multivariate_gaussian_nll_loss(jnp.zeros((1, 2)), jnp.zeros((1, 2, 2)), jnp.array([[1.0, 2.0]]))
        >>> print(f"{loss[0]:.4f}")
        4.3379

    Source:
        Williams, "Using Neural Networks to Model Conditional Multivariate Densities", 1996.
    """
    name, sizes = "multivariate_gaussian_nll_loss", {"mean": 1, "log_cholesky": 2, "targets": 1}
    parameters = {"mean": mean, "log_cholesky": log_cholesky}
    (centre, factor, y), kept = entries(name, parameters, {"targets": targets}, where, sizes)
    size = centre.shape[-1]
    check_trailing(name, "log_cholesky", factor, (size, size), "[..., D, D]")
    check_trailing(name, "targets", y, (size,), "[..., D]")
    valid = jnp.all(jnp.isfinite(y), axis=-1)
    error = jnp.where(valid[..., None], y, 0) - centre
    log_diagonal = jnp.diagonal(factor, axis1=-2, axis2=-1)
    unit = jnp.eye(size, dtype=factor.dtype)  # rows scaled to a unit diagonal: a small pivot overflows nothing
    rows = jnp.tril(factor, -1) * jnp.exp(-log_diagonal)[..., None] + unit
    whitened = solve_triangular(rows, scaled(error, log_diagonal)[..., None], lower=True, unit_diagonal=True)
    losses = 0.5 * jnp.sum(whitened[..., 0] ** 2, axis=-1) + jnp.sum(log_diagonal, axis=-1) + 0.5 * size * LOG_2_PI
    return settle(losses, valid, kept)


def mixture_nll_loss(
    logits: Float[ArrayLike, "*batch components"],
    component_losses: Float[ArrayLike, "*batch components"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a mixture, from those of its components.

    $$
    -\log \sum_k \pi_k\, e^{-\ell_k}, \qquad \pi = \mathrm{softmax}(\mathrm{logits})
    $$

    Components may be of different kinds, and their dimensions added up before they are mixed:

        spread = jnp.broadcast_to(targets[..., None], mean.shape)
        loss = mixture_nll_loss(logits, student_t_nll_loss(mean, log_scale, log_df, spread))

    Args:
        logits: Unnormalised log weights of the components `[..., K]`; -inf switches one off.
        component_losses: Negative log likelihood of the target under every component `[..., K]`, from any likelihood
            here; inf where a component excludes it.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If an argument is not floating point or `where` not boolean.
        ValueError: If shapes differ or there are no components.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = mixture_nll_loss(jnp.zeros((1, 2)), jnp.array([[1.0, 3.0]]))
        >>> print(f"{loss[0]:.4f}")
        1.5662

    Source:
        Bishop, "Mixture Density Networks", 1994.
    """
    name, sizes = "mixture_nll_loss", {"logits": 1, "component_losses": 1}
    parameters = {"logits": logits, "component_losses": component_losses}
    (scores, losses), kept = entries(name, parameters, {}, where, sizes)
    check_classes(name, "logits", scores, "[..., K]")
    check_same_shape(name, "component_losses", losses, "logits", scores)
    return finish(mixture_nll(scores, losses), kept)


def gaussian_mixture_nll_loss(
    logits: Float[ArrayLike, "*batch components"],
    mean: Float[ArrayLike, "*batch components"],
    log_scale: Float[ArrayLike, "*batch components"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log likelihood of a mixture of normal distributions: a mixture density network's loss.

    $$
    -\log \sum_k \pi_k\, \mathcal{N}(y; \mu_k, \sigma_k^2), \qquad \pi = \mathrm{softmax}(\mathrm{logits})
    $$

    For other components, and for vectors, see `mixture_nll_loss`.

    Args:
        logits: Unnormalised log weights of the components `[..., K]`; -inf switches one off.
        mean: Means `[..., K]`, in the units of the targets.
        log_scale: Logs of the standard deviations `[..., K]`.
        targets: Targets `[...]`, any finite numbers.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a target is not in the support.

    Raises:
        TypeError: If the parameters are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or there are no components.

    Examples:
        >>> import jax.numpy as jnp
        >>> mean, log_scale = jnp.array([[-1.0, 1.0]]), jnp.zeros((1, 2))
        >>> loss = gaussian_mixture_nll_loss(jnp.zeros((1, 2)), mean, log_scale, jnp.array([1.0]))
        >>> print(f"{loss[0]:.4f}")
        1.4852

    Source:
        Bishop, "Mixture Density Networks", 1994.
    """
    name, sizes = "gaussian_mixture_nll_loss", {"logits": 1, "mean": 1, "log_scale": 1}
    parameters = {"logits": logits, "mean": mean, "log_scale": log_scale}
    (scores, centres, log_scales, y), kept = entries(name, parameters, {"targets": targets}, where, sizes)
    check_classes(name, "logits", scores, "[..., K]")
    check_same_shape(name, "mean", centres, "logits", scores)
    check_same_shape(name, "log_scale", log_scales, "logits", scores)
    valid = jnp.isfinite(y)
    error = scaled(jnp.where(valid, y, 0)[..., None] - centres, log_scales)
    return settle(mixture_nll(scores, 0.5 * (error * error + LOG_2_PI) + log_scales), valid, kept)


def dirichlet_nll(log_y: Array, log_alpha: Array) -> Array:
    """The density in terms of logarithms `[..., C]`; the beta distribution is that of two parts."""
    log_total = logsumexp(log_alpha, axis=-1)
    misfit = generalized_kl(log_alpha, log_y - (log_alpha - log_total[..., None]))
    remainder = stirling(log_alpha) - log_alpha
    whole = stirling(log_total) - log_total
    return jnp.sum(misfit + remainder + log_y, axis=-1) - whole


def mixture_nll(logits: Array, losses: Array) -> Array:
    """Minus the log of the weighted sum of likelihoods; a component without weight or likelihood has no gradient."""
    impossible = jnp.isneginf(logits) | jnp.isposinf(losses)
    scores = jnp.where(impossible, -jnp.inf, jax.nn.log_softmax(logits) - jnp.where(impossible, 0, losses))
    return -logsumexp(scores, axis=-1)
