"""Several annotators an example: the likelihood of their labels under a confusion matrix of each."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from objectives._inputs import (
    check_classes,
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    mask,
)
from objectives._log_domain import log_sum_exp
from objectives._probabilities import log_softmax
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


def annotator_cross_entropy_loss(
    logits: Float[ArrayLike, "*batch classes"],
    confusion_logits: Float[ArrayLike, "*confusions annotators classes classes"],
    labels: Integer[ArrayLike, "*batch annotators"]
    | Real[ArrayLike, "*batch annotators classes"]
    | Bool[ArrayLike, "*batch annotators classes"],
    *,
    where: Bool[ArrayLike, "*batch annotators"] | None = None,
) -> Float[Array, "*batch annotators"]:
    r"""Multi-annotator cross-entropy: how unlikely is an annotator's label, the true class being unknown.

    $$
    -\log \sum_k p_k\, P^a_{k z}, \qquad p = \mathrm{softmax}(\mathrm{logits}), \quad
    P^a_{k \cdot} = \mathrm{softmax}(\mathrm{confusion}^a_{k \cdot})
    $$

    Classifier and annotators are learnt together. With confusions that do not depend on the example this is the
    marginal likelihood of one label in Dawid and Skene's model. An annotator who did not label an example is masked,
    `where=labels >= 0`. The authors' loss over a batch is `reduce_mean(losses * weights, where=labels >= 0)`, with the
    weights of `annotator_similarity_weights`.

    Args:
        logits: Unnormalised log probabilities of the true class `[..., C]`.
        confusion_logits: Unnormalised log probabilities of an annotator's label (last axis) given the true class
            `[..., A, C, C]`, or `[A, C, C]` for all examples.
        labels: What the annotators said, class ids `[..., A]`, or probabilities `[..., A, C]`, which mean the expected
            loss of a label.
        where: Boolean mask `[..., A]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[..., A]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> confusion = jnp.stack([prior_confusion_logits(2, accuracy=0.9), prior_confusion_logits(2, accuracy=0.5)])
        >>> losses = annotator_cross_entropy_loss(jnp.array([[9.0, 0.0]]), confusion, jnp.array([[0, 1]]))
        >>> print(f"{losses[0, 0]:.4f} {losses[0, 1]:.4f}")
        0.1055 0.6931

    Source:
        Herde, Huseljic, Sick, "Multi-annotator Deep Learning: A Probabilistic Framework for Classification", 2023.
        Dawid, Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", 1979.
    """
    name = "annotator_cross_entropy_loss"
    scores, confusions = floating(name, "logits", logits), floating(name, "confusion_logits", confusion_logits)
    check_classes(name, "logits", scores)
    check_rank(name, "confusion_logits", confusions, 3, "[..., A, C, C] or [A, C, C]")
    classes, annotators = scores.shape[-1], confusions.shape[-3]
    shape = (*scores.shape[:-1], annotators)
    if confusions.shape not in ((*shape, classes, classes), (annotators, classes, classes)):
        raise ValueError(
            f"{name}: confusion_logits must have shape {[*shape, classes, classes]} or "
            f"{[annotators, classes, classes]}, got {describe(confusions)}"
        )
    kept, dtype = mask(name, where, shape), compute_dtype(scores, confusions)
    targets = class_labels(name, labels, (*shape, classes), dtype, kept)
    scores = clean(scores, None if kept is None else jnp.any(kept, axis=-1))
    if confusions.ndim == len(shape) + 2:
        confusions = clean(confusions, kept)
    true = log_softmax(scores.astype(dtype)).log_p[..., None, :]
    given = log_softmax(confusions.astype(dtype)).log_p
    if targets.are_ids:  # only the label's column
        columns = jnp.broadcast_to(targets.values[..., None, None], (*shape, classes, 1))
        given = jnp.take_along_axis(jnp.broadcast_to(given, (*shape, classes, classes)), columns, axis=-1)[..., 0]
        return finish(-log_sum_exp(true + given), kept, targets.valid)
    log_label = log_sum_exp(jnp.swapaxes(true[..., None] + given, -1, -2))
    labelled = targets.values != 0
    return finish(-jnp.sum(targets.values * jnp.where(labelled, log_label, 0), axis=-1), kept)


def annotator_similarity_weights(
    embeddings: Float[ArrayLike, "annotators features"], *, gamma: Scalar
) -> Float[Array, " annotators"]:
    r"""Weights of annotators that are the lower, the more others are like them: copies count once together.

    $$
    w_a = A\, \frac{1 / s_a}{\sum_b 1 / s_b}, \qquad s_a = \sum_b \exp(-\gamma \lVert e_a - e_b \rVert^2)
    $$

    Args:
        embeddings: Embeddings e of the annotators `[A, D]`, taken without their gradient.
        gamma: Inverse squared width of the kernel, at least 0; it has a gradient, and `annotator_bandwidth_prior` keeps
            it from running away.

    Returns:
        Weights `[A]`, whose mean is 1, float32 (float64 for float64 embeddings).

    Raises:
        TypeError: If the embeddings are not floating point.
        ValueError: If they are no matrix or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(annotator_similarity_weights(jnp.array([[0.0], [0.0], [9.0]]), gamma=5.0))
        [0.75 0.75 1.5 ]

    Source:
        Herde, Huseljic, Sick, "Multi-annotator Deep Learning: A Probabilistic Framework for Classification", 2023.
    """
    name = "annotator_similarity_weights"
    points = floating(name, "embeddings", embeddings)
    check_rank(name, "embeddings", points, 2, "[A, D]", 2)
    dtype = compute_dtype(points)
    gamma = hyperparameter(name, "gamma", gamma, dtype, 0)
    points = jax.lax.stop_gradient(points).astype(dtype)
    squares = jnp.sum((points[:, None] - points) ** 2, axis=-1)
    inverse = 1 / jnp.sum(jnp.exp(-gamma * squares), axis=-1)
    return inverse / jnp.mean(inverse)


def annotator_bandwidth_prior(
    gamma: Float[ArrayLike, "*batch"], *, alpha: Scalar = 1.25, beta: Scalar = 0.25
) -> Float[Array, "*batch"]:
    r"""Negative log density of a gamma prior on the width of the annotators' kernel, to be added to the loss.

    $$
    -\log \mathrm{Gamma}(\gamma; \alpha, \beta) = \beta \gamma - (\alpha - 1) \log \gamma - \alpha \log \beta
    + \log \Gamma(\alpha)
    $$

    Its mode (α − 1) / β, 1 by default, is where the authors start γ; they hold it above 0.001.

    Args:
        gamma: The parameter γ of `annotator_similarity_weights`, positive `[...]`.
        alpha: Shape, positive.
        beta: Rate, positive.

    Returns:
        Values `[...]` in nats, float32 (float64 for float64 inputs); NaN where γ is not positive.

    Raises:
        TypeError: If `gamma` is not floating point.
        ValueError: If a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{annotator_bandwidth_prior(jnp.float32(1.0)):.4f}")
        1.8846

    Source:
        Herde, Huseljic, Sick, "Multi-annotator Deep Learning: A Probabilistic Framework for Classification", 2023.
    """
    name = "annotator_bandwidth_prior"
    width = floating(name, "gamma", gamma)
    dtype = compute_dtype(width)
    alpha = jnp.asarray(hyperparameter(name, "alpha", alpha, dtype, 0, open_low=True), dtype)
    beta = jnp.asarray(hyperparameter(name, "beta", beta, dtype, 0, open_low=True), dtype)
    width = width.astype(dtype)
    sound = width > 0
    width = jnp.where(sound, width, 1)
    return finish(beta * width - (alpha - 1) * jnp.log(width) - alpha * jnp.log(beta) + gammaln(alpha), None, sound)


def diagonal_confusion_logits(
    accuracy_logits: Float[ArrayLike, "*batch classes"],
) -> Float[Array, "*batch classes classes"]:
    r"""Confusion logits of annotators whose errors are spread evenly, from the log odds that they are right.

    $$
    P_{kk} = \sigma(a_k), \qquad P_{kj} = \frac{1 - \sigma(a_k)}{C - 1}
    $$

    One number for all classes, broadcast to `[..., C]`, makes an isotropic confusion matrix.

    Args:
        accuracy_logits: Log odds a that an annotator is right, by true class `[..., C]`.

    Returns:
        Logits `[..., C, C]` for `annotator_cross_entropy_loss`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there are not two classes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> confusion = jax.nn.softmax(diagonal_confusion_logits(jnp.array([0.0, 99.0, 0.0])))
        >>> print([f"{p:.2f}" for p in confusion[0]])
        ['0.50', '0.25', '0.25']

    Source:
        Herde, Huseljic, Sick, "Multi-annotator Deep Learning: A Probabilistic Framework for Classification", 2023.
    """
    name = "diagonal_confusion_logits"
    odds = floating(name, "accuracy_logits", accuracy_logits)
    check_rank(name, "accuracy_logits", odds, 1, "[..., C]")
    classes = odds.shape[-1]
    if classes < 2:
        raise ValueError(f"{name}: accuracy_logits must have at least two classes, got {describe(odds)}")
    odds = odds.astype(compute_dtype(odds))
    return jnp.where(jnp.eye(classes, dtype=bool), odds[..., None], -math.log(classes - 1))


def prior_confusion_logits(classes: int, *, accuracy: Scalar = 0.8) -> Float[Array, "classes classes"]:
    r"""Where to start full confusion logits: an annotator who is right with a given probability.

    $$
    \log \frac{\eta (C - 1)}{1 - \eta} \text{ on the diagonal, 0 elsewhere}
    $$

    Args:
        classes: Number of classes C, at least 2.
        accuracy: The probability η, above 0 and below 1.

    Returns:
        Logits `[C, C]`, float32.

    Raises:
        TypeError: If `classes` is no integer.
        ValueError: If `classes` or `accuracy` is out of range.

    Examples:
        >>> import jax
        >>> print(f"{jax.nn.softmax(prior_confusion_logits(5))[0, 0]:.2f}")
        0.80

    Source:
        Herde, Huseljic, Sick, "Multi-annotator Deep Learning: A Probabilistic Framework for Classification", 2023.
    """
    name = "prior_confusion_logits"
    if isinstance(classes, bool) or not isinstance(classes, int):
        raise TypeError(f"{name}: classes must be an integer, got {type(classes).__name__}")
    if classes < 2:
        raise ValueError(f"{name}: classes must be at least 2, got {classes}")
    dtype = compute_dtype(jnp.zeros((), jnp.float32))
    eta = jnp.asarray(hyperparameter(name, "accuracy", accuracy, dtype, 0, math.nextafter(1, 0), open_low=True), dtype)
    return jnp.eye(classes, dtype=dtype) * (jnp.log(eta) - jnp.log1p(-eta) + math.log(classes - 1))
