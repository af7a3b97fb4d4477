"""Boosting by gradients: what a new network of an ensemble is fitted to, and the ensemble as a whole (GrowNet).

The networks and their features are the caller's; here is what each stage minimises. `loss` is any function of
(scores, targets) to one value per example, `squared_error` or `sigmoid_focal_loss` for instance:

    def stage_loss(params, batch):                        # one network, the others frozen
        return grownet_stage_loss(new(params, batch["x"]), batch["y"], ensemble(batch["x"])).mean()

    def corrective_loss(params, batch):                   # all networks, and their rates
        outputs = jnp.stack([network(p, batch["x"]) for p in params["networks"]], axis=-1)
        return grownet_corrective_loss(outputs, batch["y"], params["rates"]).mean()
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_classes,
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Real, Scalar
from objectives.regression._residuals import per_example
from objectives.regression.errors import squared_error

Loss = Callable[[Array, Array], Array]


def grownet_stage_loss(
    predictions: Float[ArrayLike, "*batch"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    scores: Float[ArrayLike, "*batch"],
    *,
    loss: Loss = squared_error,
    boost_rate: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Newton's step of an ensemble, as the weighted squared error of the network that is added to it.

    $$
    h \left( \alpha f + \frac{g}{h} \right)^2 - \frac{g^2}{h} = h\, \alpha^2 f^2 + 2\, g\, \alpha f, \qquad
    g = \frac{\partial \ell(F, y)}{\partial F}, \quad h = \frac{\partial^2 \ell(F, y)}{\partial F^2}
    $$

    The squared error to the Newton target -g/h with weight h, less its value at f = 0, which does not depend on the
    network and has no bound where the loss is flat. At its minimum αf = -g/h: the residual y - F for squared errors,
    y(1 + exp(-yF)) for the logistic loss of y = ±1.

    Args:
        predictions: Outputs f of the new network `[...]`.
        targets: Targets y, of the shape of `predictions`.
        scores: Scores F of the ensemble so far, of the shape of `predictions`; without a gradient.
        loss: Loss ℓ(scores, targets) of the ensemble, one value per example, twice differentiable in the scores and
            curved upwards (the absolute error has no curvature: there is no Newton step).
        boost_rate: Rate α with which the network is added, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, at most 0 at their minimum, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If predictions or scores are not floating point, the targets not real, `where` not boolean or `loss`
            not callable.
        ValueError: If shapes differ, `boost_rate` is out of range or `loss` returns another shape.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(grownet_stage_loss(jnp.array([0.5]), jnp.array([3.0]), jnp.array([1.0])))
        [-3.5]

    Source:
        Badirli, Liu, Xing, Bhowmik, Doan, Keerthi, "Gradient Boosting Neural Networks: GrowNet", 2020.
    """
    name = "grownet_stage_loss"
    values, ensemble = floating(name, "predictions", predictions), floating(name, "scores", scores)
    answers = real(name, "targets", targets)
    check_same_shape(name, "targets", answers, "predictions", values)
    check_same_shape(name, "scores", ensemble, "predictions", values)
    kept, dtype = mask(name, where, values.shape), compute_dtype(values, ensemble)
    rate = hyperparameter(name, "boost_rate", boost_rate, dtype, 0, open_low=True)
    ensemble, answers = lax.stop_gradient(clean(ensemble, kept).astype(dtype)), clean(answers, kept)

    slope = jax.grad(lambda scores: jnp.sum(per_example(name, loss, scores, answers)))
    gradient, curvature = jax.jvp(slope, (ensemble,), (jnp.ones_like(ensemble),))
    return finish(_newton(rate * clean(values, kept).astype(dtype), gradient, curvature), kept)


def grownet_ranking_loss(
    predictions: Float[ArrayLike, "*batch items"],
    relevance: Real[ArrayLike, "*batch items"],
    scores: Float[ArrayLike, "*batch items"],
    *,
    steepness: Scalar = 1.0,
    boost_rate: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch items"] | None = None,
) -> Float[Array, "*batch items"]:
    r"""Newton's step of an ensemble that ranks: `grownet_stage_loss` with the lambdas of a logistic loss of pairs.

    $$
    h_i\, \alpha^2 f_i^2 + 2\, g_i\, \alpha f_i, \qquad
    g_i = \sigma_0 \sum_j \big( p_{ij} - [r_i > r_j] \big), \quad
    h_i = \sigma_0^2 \sum_j p_{ij} (1 - p_{ij}), \quad p_{ij} = \sigma\big(\sigma_0 (F_i - F_j)\big)
    $$

    over the items j of the list that are more or less relevant than i: the first and second derivatives of the sum of
    $\log(1 + e^{-\sigma_0 (F_i - F_j)})$ over the pairs with $r_i > r_j$. Equally relevant items are no pair.

    Args:
        predictions: Outputs f of the new network for the items of a list `[..., n]`.
        relevance: Their relevance r `[..., n]`.
        scores: Scores F of the ensemble so far `[..., n]`; without a gradient.
        steepness: Factor σ₀ of the differences, positive.
        boost_rate: Rate α with which the network is added, positive.
        where: Boolean mask of items `[..., n]`; masked ones are in no pair, have loss 0 and gradient 0, and may hold
            anything.

    Returns:
        Losses `[..., n]`, one an item, at most 0 at their minimum, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If predictions or scores are not floating point, the relevance not real or `where` not boolean.
        ValueError: If shapes differ or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(grownet_ranking_loss(jnp.array([1.0, -1.0]), jnp.array([1, 0]), jnp.zeros(2)))
        [-0.75 -0.75]

    Source:
        Badirli, Liu, Xing, Bhowmik, Doan, Keerthi, "Gradient Boosting Neural Networks: GrowNet", 2020; Burges, "From
        RankNet to LambdaRank to LambdaMART: An Overview", 2010.
    """
    name = "grownet_ranking_loss"
    values, ensemble = floating(name, "predictions", predictions), floating(name, "scores", scores)
    grades = real(name, "relevance", relevance)
    check_rank(name, "predictions", values, 1, "[..., n]")
    check_same_shape(name, "relevance", grades, "predictions", values)
    check_same_shape(name, "scores", ensemble, "predictions", values)
    kept, dtype = mask(name, where, values.shape), compute_dtype(values, ensemble)
    steep = hyperparameter(name, "steepness", steepness, dtype, 0, open_low=True)
    rate = hyperparameter(name, "boost_rate", boost_rate, dtype, 0, open_low=True)
    ensemble, grades = lax.stop_gradient(clean(ensemble, kept).astype(dtype)), clean(grades, kept)
    present = jnp.ones(values.shape, bool) if kept is None else kept
    above = grades[..., :, None] > grades[..., None, :]
    pairs = (above | (grades[..., :, None] < grades[..., None, :])) & present[..., :, None] & present[..., None, :]
    gaps = steep * (ensemble[..., :, None] - ensemble[..., None, :])
    # p - 1 for what should be above, without the rounding of 1 - p
    slopes = jnp.where(above, -jax.nn.sigmoid(-gaps), jax.nn.sigmoid(gaps))
    gradient = steep * jnp.sum(jnp.where(pairs, slopes, 0), axis=-1)
    bends = jax.nn.sigmoid(gaps) * jax.nn.sigmoid(-gaps)
    curvature = steep**2 * jnp.sum(jnp.where(pairs, bends, 0), axis=-1)
    return finish(_newton(rate * clean(values, kept).astype(dtype), gradient, curvature), kept)


def grownet_corrective_loss(
    predictions: Float[ArrayLike, "*batch stages"],
    targets: Real[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"],
    boost_rates: Float[ArrayLike, " stages"],
    *,
    loss: Loss = squared_error,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Loss of a whole ensemble, all of whose networks and rates are trained together.

    $$
    \ell\Big( \sum_k \alpha_k f_k,\ y \Big)
    $$

    Args:
        predictions: Outputs f of the K networks `[..., K]`; a constant first score is one more, with rate 1.
        targets: Targets y `[...]`.
        boost_rates: Rates α of the networks `[K]`.
        loss: Loss ℓ(scores, targets), one value per example.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If predictions or rates are not floating point, the targets not real, `where` not boolean or `loss`
            not callable.
        ValueError: If shapes do not match or `loss` returns another shape.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(grownet_corrective_loss(jnp.array([[1.0, 2.0]]), jnp.array([3.0]), jnp.array([1.0, 0.5])))
        [1.]

    Source:
        Badirli, Liu, Xing, Bhowmik, Doan, Keerthi, "Gradient Boosting Neural Networks: GrowNet", 2020.
    """
    name = "grownet_corrective_loss"
    outputs, rates = floating(name, "predictions", predictions), floating(name, "boost_rates", boost_rates)
    answers = real(name, "targets", targets)
    check_classes(name, "predictions", outputs, "[..., K]")
    check_same_shape(name, "targets", answers, "predictions but for the last axis", outputs[..., 0])
    if rates.shape != outputs.shape[-1:]:
        raise ValueError(
            f"{name}: boost_rates must have one entry per network, [{outputs.shape[-1]}], got {describe(rates)}"
        )
    kept, dtype = mask(name, where, answers.shape), compute_dtype(outputs, rates)
    scores = jnp.sum(clean(outputs, kept).astype(dtype) * rates.astype(dtype), axis=-1)
    return finish(per_example(name, loss, scores, clean(answers, kept)), kept)


def _newton(step: Array, gradient: Array, curvature: Array) -> Array:
    """The equation of a stage: what a step changes of the ensemble's loss, to second order, twice over."""
    return step * (lax.stop_gradient(curvature) * step + 2 * lax.stop_gradient(gradient))
