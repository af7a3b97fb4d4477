"""Cross-entropy under links other than softmax, and losses that are blind to a shift or a scale of the logits."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_classes, compute_dtype, finish, floating, hyperparameter, static_integer
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.classification._shared import expected_loss, of_classes


def log_stablemax(logits: Float[ArrayLike, "*batch classes"]) -> Float[Array, "*batch classes"]:
    r"""Logarithm of StableMax, a softmax that grows linearly and decays harmonically, so that it never saturates.

    $$
    \log \frac{s(x_c)}{\sum_j s(x_j)}, \quad s(x) = \begin{cases} x + 1 & x \ge 0 \\ 1 / (1 - x) & x < 0 \end{cases}
    $$

    It is the log-softmax of sign(x) log(1 + |x|).

    Args:
        logits: Scores x `[..., C]`.

    Returns:
        Log probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point.
        ValueError: If there is no class.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{jnp.exp(log_stablemax(jnp.array([2.0, 0.0])))[0]:.4f}")
        0.7500

    Source:
        Prieto, Barsbey, Mediano, Birdal, "Grokking at the Edge of Numerical Stability", 2025.
    """
    scores = floating("log_stablemax", "logits", logits)
    check_classes("log_stablemax", "logits", scores)
    return jax.nn.log_softmax(_signed_log(scores.astype(compute_dtype(scores))), axis=-1)


def stablemax_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy of StableMax: its gradient does not round to 0 when the logits of correct examples grow.

    $$
    -\sum_c q_c \log \frac{s(x_c)}{\sum_j s(x_j)}, \quad s(x) = x + 1 \text{ if } x \ge 0, \text{ else } 1 / (1 - x)
    $$

    Args:
        logits: Scores x `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{stablemax_cross_entropy(jnp.array([[2.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.2877

    Source:
        Prieto, Barsbey, Mediano, Birdal, "Grokking at the Edge of Numerical Stability", 2025.
    """
    logits, targets, kept = read("stablemax_cross_entropy", logits, labels, where)
    links = _signed_log(logits.astype(compute_dtype(logits)))
    return finish(expected_penalty(links, targets, jnp.negative), kept, targets.valid)


def sparse_softmax(logits: Float[ArrayLike, "*batch classes"], *, k: int = 10) -> Float[Array, "*batch classes"]:
    r"""Softmax over the k largest logits, 0 elsewhere.

    $$
    p_c = \frac{e^{s_c}}{\sum_{j \in \Omega_k} e^{s_j}} \text{ for } c \in \Omega_k, \text{ else } 0
    $$

    Args:
        logits: Scores s `[..., C]`.
        k: Number of classes kept, at least 1; all if there are fewer. Of equal logits the first are kept.

    Returns:
        Probabilities `[..., C]`, float32 (float64 for float64 logits).

    Raises:
        TypeError: If the logits are not floating point or `k` no integer.
        ValueError: If there is no class or `k` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> p = sparse_softmax(jnp.array([3.0, 2.0, 1.0, 0.0]), k=2)
        >>> print(f"{p[0]:.4f} {p[1]:.4f} {p[2]:.4f}")
        0.7311 0.2689 0.0000

    Source:
        Sun, Zhang, Huang, Lei, Su, Pan, Cao, "Sparse-softmax: A Simpler and Faster Alternative Softmax
        Transformation", 2021.
    """
    scores = floating("sparse_softmax", "logits", logits)
    check_classes("sparse_softmax", "logits", scores)
    scores = scores.astype(compute_dtype(scores))
    largest, ids = lax.top_k(scores, min(static_integer("sparse_softmax", "k", k), scores.shape[-1]))
    return jnp.put_along_axis(jnp.zeros_like(scores), ids, jax.nn.softmax(largest, axis=-1), axis=-1, inplace=False)


def sparse_softmax_cross_entropy(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    k: int = 10,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy whose normaliser is the sum over the k largest logits: no pressure on classes far behind.

    $$
    \sum_y q_y \Big( \log \sum_{j \in \Omega_k} e^{s_j} - s_y \Big)
    $$

    It is defined where the label is not among the k largest too, and then its gradient still raises the label.

    Args:
        logits: Scores s `[..., C]`.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which mean the expected loss.
        k: Number of classes in the normaliser, at least 1; all if there are fewer.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids or `k` not integers or `where` not boolean.
        ValueError: If shapes do not match or `k` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sparse_softmax_cross_entropy(jnp.array([[3.0, 2.0, 1.0, 0.0]]), jnp.array([2]), k=2)[0]:.4f}")
        2.3133

    Source:
        Sun, Zhang, Huang, Lei, Su, Pan, Cao, "Sparse-softmax: A Simpler and Faster Alternative Softmax
        Transformation", 2021.
    """
    name = "sparse_softmax_cross_entropy"
    logits, targets, kept = read(name, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    largest, _ = lax.top_k(scores, min(static_integer(name, "k", k), scores.shape[-1]))
    total = jax.nn.logsumexp(largest, axis=-1)

    def losses(ids: Array | None) -> Array:
        return (total[..., None] if ids is None else total) - of_classes(scores, ids)

    return finish(expected_loss(targets, losses), kept, targets.valid)


def spherical_z_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    a: Scalar = 0.1,
    b: Scalar = 10.0,
    epsilon: Scalar = 1e-4,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Z-loss of the spherical family: it sees the label's logit only standardised over the classes.

    $$
    \sum_y \frac{q_y}{a} \log\left( 1 + e^{a (b - z_y)} \right), \quad z_y = \frac{o_y - \mu}{\sigma}, \quad
    \mu = \operatorname{mean}_c o_c, \quad \sigma^2 = \operatorname{mean}_c (o_c - \mu)^2 + \epsilon^2
    $$

    It is invariant to a shift and a positive scale of the logits; the largest z is the square root of C - 1. It has
    nothing to do with the penalty on the log of softmax's normaliser that goes by the same name.

    Args:
        logits: Scores o `[..., C]`, finite.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`, which mean the expected loss.
        a: Sharpness, positive; in the limit of large values the loss is a hinge.
        b: Standardised logit that is asked for.
        epsilon: Positive guard for equal logits, in their units: they have z = 0, and a gradient near 1 / epsilon.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{spherical_z_loss(jnp.array([[1.0, 0.0]]), jnp.array([0]), a=1.0, b=1.0)[0]:.4f}")
        0.6931

    Source:
        de Brébisson, Vincent, "The Z-loss: A Shift and Scale Invariant Classification Loss Belonging to the Spherical
        Family", 2016.
    """
    name = "spherical_z_loss"
    logits, targets, kept = read(name, logits, labels, where)
    scores = logits.astype(compute_dtype(logits))
    a = hyperparameter(name, "a", a, scores.dtype, 0, open_low=True)
    b = hyperparameter(name, "b", b, scores.dtype)
    guard = hyperparameter(name, "epsilon", epsilon, scores.dtype, 0, open_low=True)

    centred = scores - jnp.mean(scores, axis=-1, keepdims=True)
    # Of the guard and the spread, the larger is taken out of the root: its square may be below the smallest float.
    unit = lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(centred), axis=-1, keepdims=True), guard))
    variance = jnp.mean((centred / unit) ** 2, axis=-1, keepdims=True) + (guard / unit) ** 2
    z = centred / unit * lax.rsqrt(variance)
    losses = expected_loss(targets, lambda ids: jax.nn.softplus(a * (b - of_classes(z, ids))) / a)
    return finish(losses, kept, targets.valid)


def relu_classifier_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    epsilon: Scalar = 1e-7,
    normalize: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy of rectified scores, taken for probabilities: a baseline that shows what softmax is good for.

    $$
    -\sum_c q_c \log \operatorname{clip}\left( \max(0, o_c), \epsilon, 1 - \epsilon \right)
    $$

    A label whose score is not positive costs -log epsilon and has gradient 0: it stays there. So does one above 1 - ε,
    unless the scores are normalised.

    Args:
        logits: Scores o `[..., C]`; the predicted class is the one with the largest.
        labels: Class ids `[...]`, or probabilities q (one-hot included) `[..., C]`.
        epsilon: Least and, from above, largest probability, in (0, 0.5].
        normalize: Whether the rectified scores are first divided by their sum, as Keras does with probabilities.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `epsilon` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{relu_classifier_loss(jnp.array([[2.0, 1.0, 1.0]]), jnp.array([0]), normalize=True)[0]:.4f}")
        0.6931

    Source:
        Agarap, "Deep Learning using Rectified Linear Units (ReLU)", 2018.
    """
    name = "relu_classifier_loss"
    logits, targets, kept = read(name, logits, labels, where)
    scores = jax.nn.relu(logits.astype(compute_dtype(logits)))
    guard = hyperparameter(name, "epsilon", epsilon, scores.dtype, 0, 0.5, open_low=True)
    if normalize:
        total = jnp.sum(scores, axis=-1, keepdims=True)
        scores = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 0)
    inside = (scores > guard) & (scores < 1 - guard)
    clipped = jnp.where(inside, scores, lax.stop_gradient(jnp.clip(scores, guard, 1 - guard)))
    return finish(expected_loss(targets, lambda ids: -jnp.log(of_classes(clipped, ids))), kept, targets.valid)


def _signed_log(x: Array) -> Array:
    """sign(x) log(1 + |x|), with slope 1 at 0."""
    positive = x >= 0
    return jnp.log1p(jnp.where(positive, x, 0)) - jnp.log1p(jnp.where(positive, 0, -x))
