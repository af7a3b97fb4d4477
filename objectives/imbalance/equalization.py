"""Equalisation losses: rare classes are spared the gradients that they get as negatives of frequent ones.

One equation, with a sigmoid for every class and a weight w_j for its term: loss = Σ_j w_j BCE(f_j, y_j). The first
version leaves rare classes out as negatives, the second takes the weight from the gradients that a class has received;
the softmax form leaves rare classes out of the denominator (`rivals` has its equation).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum
from objectives._inputs import (
    Labels,
    check_same_shape,
    class_vector,
    clean,
    compute_dtype,
    describe,
    finish,
    hyperparameter,
    prng_key,
    static_integer,
)
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Integer, Real, Scalar
from objectives.imbalance._shared import boolean, distribution, only_ids
from objectives.imbalance.rivals import weighted_rivals


def softmax_equalization_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    key: Array,
    frequencies: Real[ArrayLike, " classes"],
    threshold: Scalar = 1.77e-3,
    probability: Scalar = 0.9,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Softmax equalisation loss (SEQL): rare classes are left out of the denominators of others, at random.

    $$
    -\log \frac{e^{f_y}}{\sum_j w_j e^{f_j}}, \qquad w_j = 1 - \beta\, [\phi_j < \lambda]\, [j \ne y], \quad
    \beta \sim \mathrm{Bernoulli}(\gamma)
    $$

    with a draw of its own for every entry of the logits.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`; the weights need one class an example.
        key: PRNG key of the draws.
        frequencies: Share φ of the training examples that have the class `[C]`.
        threshold: Frequency λ below which a class is rare.
        probability: Probability γ with which a rare class is left out, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers, `where` not boolean or `key` no key.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> frequencies = jnp.array([0.5, 0.499, 0.001])
        >>> for probability in (0.0, 1.0):
        ...     loss = softmax_equalization_loss(
        ...         jnp.zeros((1, 3)),
        ...         jnp.array([0]),
        ...         key=jax.random.key(0),
        ...         frequencies=frequencies,
        ...         probability=probability,
        ...     )
        ...     print(f"{loss[0]:.4f}")
        1.0986
        0.6931

    Source:
        Tan, Wang, Li, Li, Ouyang, Yin, Yan, "Equalization Loss for Long-Tailed Object Recognition", 2020.
    """
    name = "softmax_equalization_loss"
    logits, targets, kept = read(name, logits, labels, where)
    only_ids(name, targets, logits.shape[:-1])
    dtype = compute_dtype(logits)
    rare = _rare(name, frequencies, threshold, logits.shape[-1], dtype)
    chance = hyperparameter(name, "probability", probability, dtype, 0, 1)
    drawn = jax.random.bernoulli(prng_key(name, "key", key), chance, logits.shape)
    return weighted_rivals(name, logits, targets, kept, jnp.where(rare & drawn, -jnp.inf, jnp.zeros((), dtype)))


def equalization_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    frequencies: Real[ArrayLike, " classes"],
    threshold: Scalar = 1.77e-3,
    foreground: Bool[ArrayLike, "*batch"] | None = None,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Equalisation loss (EQL): objects of other classes do not push a rare class down; background does.

    $$
    \sum_j w_j\, \mathrm{BCE}(f_j, y_j), \qquad w_j = 1 - E\, [\phi_j < \lambda]\, (1 - y_j)
    $$

    with a sigmoid for every class, E = 1 for an object and 0 for background.

    Args:
        logits: Log odds of every class `[..., C]`.
        labels: Class ids `[...]`, or the probability of every class `[..., C]`, which need not sum to one.
        frequencies: Share φ of the training images that show the class `[C]`.
        threshold: Frequency λ below which a class is rare; the authors' for LVIS by default.
        foreground: Boolean `[...]`, False for background, which is of no class whatever its label; all are objects by
            default, and a row of labels that is all zero is background.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, summed over classes, float32 (float64 for float64 logits); NaN where the class id of an
        object is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or a mask not boolean.
        ValueError: If shapes do not match or `threshold` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = equalization_loss(jnp.zeros((2, 2)), jnp.array([0, 1]), frequencies=jnp.array([0.9, 0.001]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.6931 1.3863

    Source:
        Tan, Wang, Li, Li, Ouyang, Yin, Yan, "Equalization Loss for Long-Tailed Object Recognition", 2020.
    """
    name = "equalization_loss"
    logits, targets, kept = read(name, logits, labels, where)
    dtype, classes, valid = compute_dtype(logits), logits.shape[-1], targets.valid
    rare = _rare(name, frequencies, threshold, classes, dtype)
    positive = distribution(targets, classes, dtype)
    if foreground is not None:
        objects = boolean(name, "foreground", foreground, logits.shape[:-1])
        positive = jnp.where(objects[..., None], positive, 0)
        valid = None if valid is None else valid | ~objects
    is_object = jnp.any(positive > 0, axis=-1, keepdims=True)
    weights = 1 - jnp.where(is_object & rare, 1 - positive, 0)
    return finish(jnp.sum(weights * _binary(logits.astype(dtype), positive), axis=-1), kept, valid)


class EqualizationState(NamedTuple):
    """What every class has received so far: a pytree to carry, checkpoint and shard.

    Attributes:
        positive: Sum of the sizes of the gradients that raised the class's logit, `[C]`.
        negative: Sum of those that lowered it, `[C]`.
    """

    positive: Array
    negative: Array


def equalization_state(classes: int) -> EqualizationState:
    """The state of `equalization_v2_loss` before training: no gradient received, all weights one.

    Args:
        classes: Number of classes C, background not counted.

    Returns:
        An `EqualizationState` of zeros.

    Raises:
        TypeError: If `classes` is no integer.
        ValueError: If it is less than 1.

    Examples:
        >>> print(equalization_state(2).positive)
        [0. 0.]

    Source:
        Tan, Lu, Zhang, Yin, Li, "Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object
        Detection", 2021.
    """
    number = static_integer("equalization_state", "classes", classes)
    return EqualizationState(jnp.zeros(number, jnp.float32), jnp.zeros(number, jnp.float32))


def equalization_v2_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    state: EqualizationState,
    gamma: Scalar = 12.0,
    mu: Scalar = 0.8,
    alpha: Scalar = 4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Equalisation loss, version 2: binary cross-entropies, weighted so that a class's gradients balance.

    $$
    \sum_j \big[ y_j\, (1 + \alpha (1 - r_j)) + (1 - y_j)\, r_j \big]\, \mathrm{BCE}(f_j, y_j), \qquad
    r_j = \sigma\big(\gamma (g_j - \mu)\big)
    $$

    where g is the ratio of the gradients that a class has received as positive and as negative, 100 before the first.
    `record_equalization` keeps the state, with the weights of before:

        def loss_fn(params, batch, key, state):
            logits = model.apply(params, batch["x"])
            losses = equalization_v2_loss(logits, batch["y"], state=state)
            return losses.mean(), ({}, record_equalization(state, logits, batch["y"]))

    Args:
        logits: Log odds of every class `[..., C]`; or `[..., C + 1]`, the last that of background, which has weight 1.
        labels: Class ids `[...]`, or the probability of every class, of the shape of `logits`.
        state: Gradients received so far by every class.
        gamma: Steepness γ of the map from ratios to weights, at least 0.
        mu: Ratio μ at which a class's negatives have half their weight.
        alpha: How much more the positives of a suppressed class may weigh, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, summed over classes, float32 (float64 for float64 logits); NaN where a class id is out
        of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> state = EqualizationState(jnp.array([8.0, 1.0]), jnp.array([1.0, 10.0]))
        >>> losses = equalization_v2_loss(jnp.zeros((2, 2)), jnp.array([0, 1]), state=state)
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.6933 4.1583

    Source:
        Tan, Lu, Zhang, Yin, Li, "Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object
        Detection", 2021.
    """
    name = "equalization_v2_loss"
    logits, targets, kept = read(name, logits, labels, where)
    weights, positive = _balance(name, logits, targets, state, gamma, mu, alpha)
    losses = jnp.sum(weights * _binary(logits.astype(compute_dtype(logits)), positive), axis=-1)
    return finish(losses, kept, targets.valid)


def record_equalization(
    state: EqualizationState,
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 12.0,
    mu: Scalar = 0.8,
    alpha: Scalar = 4.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> EqualizationState:
    r"""The state of `equalization_v2_loss` after a batch: the gradients of its logits, class by class, are added.

    $$
    \text{positive}_j \mathrel{+}= \sum_i y_{ij} w_{ij} |\sigma(f_{ij}) - 1|, \qquad
    \text{negative}_j \mathrel{+}= \sum_i (1 - y_{ij}) w_{ij}\, \sigma(f_{ij})
    $$

    Args:
        state: The state before, whose weights w the batch was trained with.
        logits: Log odds `[..., C]`, or `[..., C + 1]` with background last, which is not recorded.
        labels: Class ids `[...]`, or the probability of every class; an id out of range makes the state NaN.
        gamma: As in the loss.
        mu: As in the loss.
        alpha: As in the loss.
        where: Boolean mask `[...]` of the examples that count.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The new state.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(record_equalization(equalization_state(2), jnp.zeros((3, 2)), jnp.array([0, 0, 1])).positive)
        [1. 0.5]

    Source:
        Tan, Lu, Zhang, Yin, Li, "Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object
        Detection", 2021.
    """
    name = "record_equalization"
    logits, targets, kept = read(name, logits, labels, where)
    weights, positive = _balance(name, logits, targets, state, gamma, mu, alpha)
    scores = lax.stop_gradient(logits).astype(compute_dtype(logits))
    weights = jnp.moveaxis(finish(jnp.moveaxis(weights, -1, 0), None, targets.valid), 0, -1)
    axes, recorded = tuple(range(logits.ndim - 1)), state.positive.shape[0]

    def received(sizes: Array, before: Array) -> Array:
        total = all_sum(jnp.sum(clean(sizes * weights, kept), axis=axes)[:recorded], axis_name)
        return before + total.astype(before.dtype)

    return EqualizationState(
        received(positive * jax.nn.sigmoid(-scores), state.positive),
        received((1 - positive) * jax.nn.sigmoid(scores), state.negative),
    )


def _rare(function: str, frequencies: ArrayLike, threshold: Scalar, classes: int, dtype: np.dtype) -> Array:
    """Which classes are seen less often than the threshold."""
    shares = class_vector(function, "frequencies", frequencies, classes, dtype)
    return shares < hyperparameter(function, "threshold", threshold, dtype, 0, 1)


def _binary(scores: Array, positive: Array) -> Array:
    """Binary cross-entropy of every entry."""
    return -positive * jax.nn.log_sigmoid(scores) - (1 - positive) * jax.nn.log_sigmoid(-scores)


def _balance(
    function: str,
    logits: Array,
    targets: Labels,
    state: EqualizationState,
    gamma: Scalar,
    mu: Scalar,
    alpha: Scalar,
) -> tuple[Array, Array]:
    """Weights of all entries, and the probability that they are positive."""
    dtype, classes = compute_dtype(logits), logits.shape[-1]
    gamma, alpha = (
        hyperparameter(function, "gamma", gamma, dtype, 0),
        hyperparameter(function, "alpha", alpha, dtype, 0),
    )
    mu = hyperparameter(function, "mu", mu, dtype)
    check_same_shape(function, "state.negative", state.negative, "state.positive", state.positive)
    if state.positive.shape not in ((classes,), (classes - 1,)):
        raise ValueError(
            f"{function}: state must be of {classes} classes, or {classes - 1} and background, "
            f"got {describe(state.positive)}"
        )
    started = state.positive + state.negative > 0
    ratios = jnp.where(started, state.positive / (state.negative + 1e-10), 100).astype(dtype)
    of_negatives = jax.nn.sigmoid(gamma * (ratios - mu))
    of_negatives = jnp.concatenate([of_negatives, jnp.ones(classes - len(of_negatives), dtype)])
    positive = distribution(targets, classes, dtype)
    weights = positive * (1 + alpha * (1 - of_negatives)) + (1 - positive) * of_negatives
    return lax.stop_gradient(weights), positive
