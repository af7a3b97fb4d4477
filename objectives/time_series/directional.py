"""Losses of predicted returns: what a trade in the predicted direction would lose, one value per entry."""

import jax.numpy as jnp

from objectives._inputs import finish, hyperparameter
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import pair


def madl(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Directional loss: minus the return where its sign was predicted, the return lost where not; the mean is MADL.

    $$
    -\operatorname{sign}(R\, \hat R)\, |R|
    $$

    Only the sign of a prediction counts, so that its gradient is 0: a measure to choose models by (the authors train
    without gradients, or with `gmadl`). A prediction of 0 trades nothing.

    Args:
        predictions: Predicted returns R̂ `[...]`.
        targets: Returns R, of the shape of `predictions`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and may hold anything.

    Returns:
        Losses `[...]` in the units of the returns, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{madl(jnp.array([1.0, 1.0]), jnp.array([0.1, -0.2])).mean():.4f}")
        0.0500

    Source:
        Michańków, Sakowski, Ślepaczuk, "Mean Absolute Directional Loss as a New Loss Function for Machine Learning
        Problems in Algorithmic Investment Strategies", 2024; "Alternative Loss Function in Evaluation of Transformer
        Models", 2025.
    """
    entries = pair("madl", predictions, targets, where)
    return finish(-jnp.sign(entries.predictions) * entries.targets, entries.kept)


def gmadl(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"],
    *,
    sharpness: Scalar = 1000.0,
    power: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Generalised directional loss: MADL with a soft sign, to train with; the mean is GMADL.

    $$
    -\left( \frac{1}{1 + \exp(-a R \hat R)} - \frac12 \right) |R|^b
    $$

    As a → ∞ with b = 1 it is half of `madl`.

    Args:
        predictions: Predicted returns R̂ `[...]`.
        targets: Returns R, of the shape of `predictions`.
        sharpness: Slope a of the soft sign, positive, in units of one over squared returns.
        power: Exponent b of the size of a return, at least 0: how much more large moves count than small ones.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the predictions are not floating point, the targets not real or `where` not boolean.
        ValueError: If shapes differ, or `sharpness` or `power` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{gmadl(jnp.array([0.1]), jnp.array([0.1]), sharpness=100.0)[0]:.4f}")
        -0.0231

    Source:
        Michańków, Sakowski, Ślepaczuk, "Generalized Mean Absolute Directional Loss as a Solution to Overfitting and
        High Transaction Costs in Machine Learning Models Used in High-Frequency Algorithmic Investment Strategies",
        2024; Stefaniuk, Ślepaczuk, "Informer in Algorithmic Investment Strategies on High Frequency Bitcoin Data",
        2025.
    """
    entries = pair("gmadl", predictions, targets, where)
    slope = hyperparameter("gmadl", "sharpness", sharpness, entries.dtype, 0, open_low=True)
    power = hyperparameter("gmadl", "power", power, entries.dtype, 0)
    size = jnp.abs(entries.targets)
    # The soft sign less 1/2 is half a hyperbolic tangent, exact near 0; at a return of 0 it is 0, whatever the power.
    direction = 0.5 * jnp.tanh(0.5 * slope * entries.targets * entries.predictions)
    gain = jnp.where(size > 0, jnp.where(size > 0, size, 1) ** power, 0)
    return finish(-direction * gain, entries.kept)
