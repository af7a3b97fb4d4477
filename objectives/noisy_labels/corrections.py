"""Known or estimated noise: losses corrected by a transition matrix, and peer loss, which needs only label frequencies.

The transition matrix T `[C, C]` has in row i the distribution of the noisy label of an example of class i.
"""

import jax.numpy as jnp
from jax import lax

from objectives._batch import gather_alike
from objectives._inputs import (
    Labels,
    check_classes,
    check_rank,
    class_vector,
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
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Real, Scalar


def forward_correction_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    transition: Float[ArrayLike, "classes classes"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Forward correction: cross-entropy of the noisy label's probability, the prediction passed through the noise.

    $$
    -\sum_j q_j \log \sum_i p_i T_{ij}, \qquad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Its minimiser over noisy labels is that of cross-entropy over clean ones. The transition matrix has a gradient: it
    may be learnt.

    Args:
        logits: Unnormalised log probabilities of the true class `[..., C]`.
        labels: Noisy class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        transition: Row i is the distribution of the noisy label given class i, `[C, C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range, inf where
        the noise cannot give the label.

    Raises:
        TypeError: If logits or transition are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> noise = jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> print(f"{forward_correction_loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), noise)[0]:.4f}")
        0.5978

    Source:
        Patrini, Rozza, Menon, Nock, Qu, "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", 2017.
    """
    name = "forward_correction_loss"
    noise = _transition(name, transition)
    logits, targets, kept = read(name, logits, labels, where)
    dtype = compute_dtype(logits, noise)
    classes, noise = log_softmax(logits.astype(dtype)), _square(name, noise, logits.shape[-1]).astype(dtype)
    some = noise != 0
    log_noise = jnp.where(some, jnp.log(jnp.where(some, noise, 1)), -jnp.inf)
    if targets.are_ids:  # only the label's column
        log_noisy = log_sum_exp(classes.log_p + jnp.take(log_noise.T, targets.values, axis=0))
        return finish(-log_noisy, kept, targets.valid)
    log_noisy = log_sum_exp(classes.log_p[..., None, :] + log_noise.T)
    labelled = targets.values != 0
    return finish(-jnp.sum(targets.values * jnp.where(labelled, log_noisy, 0), axis=-1), kept)


def backward_correction_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    transition: Float[ArrayLike, "classes classes"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Backward correction: the combination of all labels' cross-entropies that is unbiased under the noise.

    $$
    -\sum_y q_y \sum_j (T^{-1})_{yj} \log p_j, \qquad p = \mathrm{softmax}(\mathrm{logits})
    $$

    Its mean over the noisy label of an example is the cross-entropy of the clean one, exactly; single values may be
    negative.

    Args:
        logits: Unnormalised log probabilities of the true class `[..., C]`.
        labels: Noisy class ids `[...]`, or weights of the classes (one-hot included) `[..., C]`.
        transition: Row i is the distribution of the noisy label given class i, invertible `[C, C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If logits or transition are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> noise = jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> print(f"{backward_correction_loss(jnp.array([[2.0, 0.0]]), jnp.array([0]), noise)[0]:.4f}")
        -0.1588

    Source:
        Patrini, Rozza, Menon, Nock, Qu, "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", 2017.
    """
    name = "backward_correction_loss"
    noise = _transition(name, transition)
    logits, targets, kept = read(name, logits, labels, where)
    dtype = compute_dtype(logits, noise)
    inverse = jnp.linalg.inv(_square(name, noise, logits.shape[-1]).astype(dtype))
    weights = jnp.take(inverse, targets.values, axis=0) if targets.are_ids else targets.values.astype(dtype) @ inverse
    losses = log_softmax(logits.astype(dtype)).expected(Labels(weights, None), jnp.negative)
    return finish(losses, kept, targets.valid)


def anchor_transition_matrix(
    logits: Float[ArrayLike, "*batch classes"],
    *,
    quantile: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "classes classes"]:
    r"""The transition matrix of label noise, read off at the anchor points of a model that was trained on noisy labels.

    $$
    T_{ij} = p_j(x^i), \qquad x^i = \arg\max_x p_i(x)
    $$

    where an example is certainly of class i, the predicted distribution of its noisy label is row i.

    Args:
        logits: Unnormalised log probabilities of noisy labels `[..., C]`, best of all the training examples.
        quantile: In place of the largest of a class's probabilities, that at this quantile, in [0, 1]; 0.97 in the
            paper for a hundred classes, where the largest are outliers.
        where: Boolean mask `[...]`; a masked example is no anchor and may hold anything.
        axis_name: Mapped axis or axes over which the examples are split, under `shard_map`.

    Returns:
        The matrix `[C, C]`, whose rows sum to 1, float32 (float64 for float64 logits), without gradient.

    Raises:
        TypeError: If the logits are not floating point or `where` is not boolean.
        ValueError: If there is no example or no class, shapes do not match or `quantile` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> noise = anchor_transition_matrix(jnp.log(jnp.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])))
        >>> print([[f"{entry:.1f}" for entry in row] for row in noise])
        [['0.9', '0.1'], ['0.2', '0.8']]

    Source:
        Patrini, Rozza, Menon, Nock, Qu, "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", 2017.
    """
    name = "anchor_transition_matrix"
    logits = floating(name, "logits", logits)
    check_classes(name, "logits", logits)
    if logits.size == 0:
        raise ValueError(f"{name}: logits must have at least one example, got {describe(logits)}")
    kept, dtype = mask(name, where, logits.shape[:-1]), compute_dtype(logits)
    quantile = hyperparameter(name, "quantile", quantile, dtype, 0, 1)
    rows = lax.stop_gradient(clean(logits, kept)).astype(dtype).reshape(-1, logits.shape[-1])
    present = jnp.ones(rows.shape[:1], bool) if kept is None else kept.reshape(-1)
    probabilities = gather_alike(log_softmax(rows).probabilities(), axis_name)
    present = gather_alike(present.astype(dtype), axis_name)[:, None] > 0
    order = jnp.argsort(jnp.where(present, probabilities, -jnp.inf), axis=0)  # what is masked comes first
    examples = jnp.sum(present)
    rank = jnp.ceil(quantile * examples.astype(dtype)).astype(examples.dtype) - 1
    anchors = order[order.shape[0] - examples + jnp.clip(rank, 0, jnp.maximum(examples - 1, 0))]
    return probabilities[anchors]


def peer_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    class_prior: Real[ArrayLike, " classes"],
    *,
    alpha: Scalar = 1.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Peer loss: cross-entropy minus what a random label would cost.

    $$
    -\sum_c q_c \log p_c + \alpha \sum_c \pi_c \log p_c
    $$

    It punishes blind agreement with the labels, and needs no noise rates. The paper draws the peer's label (and
    example) at random from the batch; here is the expectation, over the frequencies π of the noisy labels, which has
    the same mean and less variance: the confidence regulariser of CORES. Not bounded below; the paper raises alpha
    slowly from 0.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Noisy class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        class_prior: Frequencies π of the noisy labels `[C]`.
        alpha: Weight of the peer term, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `alpha` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> prior = jnp.array([0.5, 0.5])
        >>> print(f"{peer_loss(jnp.array([[2.0, 0.0]]), jnp.array([0]), prior)[0]:.4f}")
        -1.0000

    Source:
        Liu, Guo, "Peer Loss Functions: Learning from Noisy Labels without Knowing Noise Rates", 2020. Cheng, Zhu, Li,
        Gong, Sun, Liu, "Learning with Instance-Dependent Label Noise: A Sample Sieve Approach", 2021.
    """
    logits, targets, kept = read("peer_loss", logits, labels, where)
    dtype, classes = compute_dtype(logits), log_softmax(logits)
    alpha = hyperparameter("peer_loss", "alpha", alpha, dtype, 0)
    prior = class_vector("peer_loss", "class_prior", class_prior, logits.shape[-1], dtype)
    peer = classes.expected(Labels(jnp.broadcast_to(prior, logits.shape), None), jnp.negative)
    return finish(classes.expected(targets, jnp.negative) - alpha * peer, kept, targets.valid)


def _transition(function: str, transition: ArrayLike) -> Array:
    noise = floating(function, "transition", transition)
    check_rank(function, "transition", noise, 2, "[C, C]", 2)
    return noise


def _square(function: str, noise: Array, classes: int) -> Array:
    if noise.shape != (classes, classes):
        raise ValueError(f"{function}: transition must have shape {[classes, classes]}, got {describe(noise)}")
    return noise
