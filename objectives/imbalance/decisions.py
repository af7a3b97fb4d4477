"""Bayesian decision theory for imbalanced classes: what a decision is worth, in training and at prediction."""

from typing import Any

import jax
import jax.numpy as jnp

from objectives._inputs import (
    Labels,
    check_classes,
    check_rank,
    class_labels,
    class_vector,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
    pick,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Integer, Real, Scalar


def decision_theoretic_loss(
    logits: Float[ArrayLike, "particles *batch classes"],
    labels: ClassLabels,
    *,
    utility: Real[ArrayLike, "classes classes"] | None = None,
    alpha: Scalar = 1.0,
    class_weights: Real[ArrayLike, " classes"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Reweighted integrated risk of an ensemble, with a utility for every pair of truth and prediction.

    $$
    \frac{w_y}{E} \sum_e \Big[ -\log p_{ey} - \frac{1}{\alpha} \sum_k u_{yk} \log p_{ek} \Big]
    $$

    A utility above 0 off the diagonal makes that confusion welcome, one below 0 unwelcome; as the paper's
    tail-sensitive utility, that of predicting a more frequent class is below 0. The loss has no lower bound where a
    utility is negative, so the weights matter. With every utility 0 it is the class-weighted cross-entropy. The
    published code of the authors' later version multiplies the utilities by the weight of k, not of y.

    Args:
        logits: Unnormalised log probabilities of every particle of the ensemble `[E, ..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        utility: Utility u of predicting class k (column) for class y (row) `[C, C]`; 0 by default.
        alpha: Divides the utilities, positive.
        class_weights: Weight w of every class `[C]`: the ratio of the prior at test to that in training, so 1 / n_c
            up to a factor (`inverse_frequency_weights`); 1 by default.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match, there is no particle, or `alpha` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> utility = jnp.array([[0.0, 0.0], [-0.5, 0.0]])
        >>> losses = decision_theoretic_loss(jnp.zeros((3, 2, 2)), jnp.array([0, 1]), utility=utility)
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.6931 0.3466

    Source:
        Li, Zhang, "Long-tailed Classification from a Bayesian-decision-theory Perspective", 2023.
    """
    name = "decision_theoretic_loss"
    array = floating(name, "logits", logits)
    check_rank(name, "logits", array, 2, "[E, ..., C]")
    check_classes(name, "logits", array, "[E, ..., C]")
    if array.shape[0] == 0:
        raise ValueError(f"{name}: logits must have at least one particle, [E, ..., C], got {describe(array)}")
    dtype, classes = compute_dtype(array), array.shape[-1]
    kept = mask(name, where, array.shape[1:-1])
    targets = class_labels(name, labels, array.shape[1:], dtype, kept)
    alpha = hyperparameter(name, "alpha", alpha, dtype, 0, open_low=True)
    worth = jnp.eye(classes, dtype=dtype)
    if utility is not None:
        utilities = real(name, "utility", utility)
        if utilities.shape != (classes, classes):
            raise ValueError(f"{name}: utility must have shape {[classes, classes]}, got {describe(utilities)}")
        worth = worth + utilities.astype(dtype) / alpha
    if class_weights is not None:
        worth = worth * class_vector(name, "class_weights", class_weights, classes, dtype)[:, None]
    scores = array if kept is None else jnp.where(kept[..., None], array, 0)
    log_p = jnp.mean(jax.nn.log_softmax(scores.astype(dtype)), axis=0)
    if utility is None and targets.are_ids:
        weights = jnp.diagonal(worth)[targets.values]
        return finish(-weights * pick(log_p, targets.values), kept, targets.valid)
    rows = _rows(targets, worth)
    impossible = (rows == 0) & jnp.isneginf(log_p)  # 0 times inf is 0 here
    return finish(-jnp.sum(rows * jnp.where(impossible, 0, log_p), axis=-1), kept, targets.valid)


def bayes_decision(
    probabilities: Float[ArrayLike, "*batch classes"], utility: Real[ArrayLike, "classes decisions"]
) -> Integer[Array, "*batch"]:
    r"""The decision of the largest expected utility.

    $$
    d^* = \arg\max_d \sum_k p_k u_{kd}
    $$

    Args:
        probabilities: Class probabilities p `[..., C]`, of an ensemble their mean.
        utility: Utility u of decision d (column) where the class is k (row) `[C, D]`; the identity gives the most
            probable class.

    Returns:
        Decisions `[...]`, integers; the first of equals.

    Raises:
        TypeError: If the probabilities are not floating point.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(bayes_decision(jnp.array([0.8, 0.2]), jnp.diag(jnp.array([1.0, 10.0]))))
        1

    Source:
        Li, Zhang, "Long-tailed Classification from a Bayesian-decision-theory Perspective", 2023.
    """
    name = "bayes_decision"
    array, utilities = floating(name, "probabilities", probabilities), real(name, "utility", utility)
    check_classes(name, "probabilities", array)
    if utilities.ndim != 2 or utilities.shape[0] != array.shape[-1] or utilities.shape[1] == 0:
        raise ValueError(f"{name}: utility must have shape [{array.shape[-1]}, D], got {describe(utilities)}")
    dtype = compute_dtype(array)
    expected = jnp.matmul(array.astype(dtype), utilities.astype(dtype), precision=jax.lax.Precision.HIGHEST)
    return jnp.argmax(expected, axis=-1)


def particle_repulsion(particles: Any, *, epsilon: Scalar = 1e-8) -> Float[Array, ""]:
    r"""What keeps the particles of an ensemble apart: minus half the mean log variance of the parameters.

    $$
    -\frac{1}{2 P} \sum_{j=1}^P \log \big( \mathrm{Var}_e\, \theta_{ej} + \epsilon \big)
    $$

    It is the entropy of a Gaussian with a diagonal covariance, up to a constant, with the sign of a loss. The paper
    lets its weight decay over the epochs as exp(-epoch / τ).

    Args:
        particles: Tree of stacked parameters, every leaf `[E, ...]`.
        epsilon: Added to the variances, positive; its root is the distance at which particles count as equal.

    Returns:
        The loss, a scalar, at least in float32; 0 for a tree without parameters.

    Raises:
        TypeError: If a leaf is not floating point.
        ValueError: If a leaf has no axis of particles, or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{particle_repulsion({'w': jnp.array([[1.0, 0.0], [-1.0, 0.0]])}):.4f}")
        4.6052

    Source:
        Li, Zhang, "Long-tailed Classification from a Bayesian-decision-theory Perspective", 2023.
    """
    name = "particle_repulsion"
    leaves = [floating(name, "particles", leaf) for leaf in jax.tree.leaves(particles)]
    for leaf in leaves:
        check_rank(name, "particles", leaf, 1, "[E, ...]")
    dtype = compute_dtype(*leaves)
    guard = hyperparameter(name, "epsilon", epsilon, dtype, 0, open_low=True)
    sums = [jnp.sum(jnp.log(jnp.var(leaf.astype(dtype), axis=0) + guard)) for leaf in leaves]
    parameters = sum(leaf.size // max(leaf.shape[0], 1) for leaf in leaves)
    return -0.5 * jnp.asarray(sum(sums, jnp.zeros((), dtype))) / max(parameters, 1)


def _rows(targets: Labels, worth: Array) -> Array:
    """What every prediction is worth where the class is the label, or expected under its probabilities."""
    if targets.are_ids:
        return worth[targets.values]
    return jnp.matmul(targets.values, worth, precision=jax.lax.Precision.HIGHEST)
