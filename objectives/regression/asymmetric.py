"""Losses that charge too low and too high predictions differently: quantiles and expectiles, one value per entry."""

import jax.numpy as jnp

from objectives._inputs import finish, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import magnitude, pair


def quantile_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    quantile: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Quantile (pinball) loss: least, on average, at the chosen quantile of the targets.

    $$
    \max\left( q (y - \hat y),\ (q - 1)(y - \hat y) \right) = \tfrac12 \left( |e| + (1 - 2q)\, e \right), \qquad
    e = \hat y - y
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        quantile: Level q in [0, 1]; 1/2 is half the absolute error. A `vmap` over it gives several quantiles at once.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in the units of the predictions, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `quantile` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{quantile_loss(jnp.array([1.0]), jnp.array([3.0]), quantile=0.9)[0]:.4f}")
        1.8000

    Source:
        Koenker, Bassett, "Regression Quantiles", 1978.
    """
    entries = pair("quantile_loss", predictions, targets, where)
    quantile = hyperparameter("quantile_loss", "quantile", quantile, entries.dtype, 0, 1)
    return finish(0.5 * (magnitude(entries.error) + (1 - 2 * quantile) * entries.error), entries.kept)


def expectile_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    *,
    expectile: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Expectile loss: squared errors, those below the target weighted by the level, those above by the rest.

    $$
    \left| \tau - \mathbf 1[e > 0] \right| e^2, \qquad e = \mathrm{predictions} - \mathrm{targets}
    $$

    Args:
        predictions: Predictions `[...]`.
        targets: Targets, of the shape of `predictions`.
        expectile: Level τ in [0, 1]; 1/2 is half the squared error.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in squared units, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ or `expectile` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{expectile_loss(jnp.array([1.0]), jnp.array([3.0]), expectile=0.9)[0]:.4f}")
        3.6000

    Source:
        Newey, Powell, "Asymmetric Least Squares Estimation and Testing", 1987.
    """
    entries = pair("expectile_loss", predictions, targets, where)
    expectile = hyperparameter("expectile_loss", "expectile", expectile, entries.dtype, 0, 1)
    weight = jnp.where(entries.error > 0, 1 - expectile, expectile)
    return finish(weight * entries.error**2, entries.kept)
