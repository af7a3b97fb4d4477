"""Losses for calibrated confidence: what is predicted with probability p should happen with frequency p.

Three kinds. Focal members scale cross-entropy by how wrong the prediction is (`dual_focal_loss`,
`sample_dependent_focal_loss`). Logit penalties add to cross-entropy a function of the logits that label smoothing
would hold down (`mbls_loss`, `acls_loss`). Calibration errors compare confidence with correctness, one example at a
time (`correctness_aware_loss`) or over the batch (`mmce_loss`, `soft_binned_calibration_error`); add those to
cross-entropy, or train a calibrator with them. What is measured and not minimised is in `diagnostics.calibration`.

Adding a logit penalty: `_penalised` with a function of the logits and their largest, as in

    def logit_norm_loss(logits, labels, *, alpha=0.1, where=None):
        return _penalised("logit_norm_loss", logits, labels, where, alpha, lambda z, top, mean: mean(z**2))
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import all_sum, gather_alike
from objectives._inputs import Labels, clean, compute_dtype, finish, hyperparameter, pick, static_integer
from objectives._numerics import power, root
from objectives._probabilities import Classes, log_softmax
from objectives._softmax import read
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Scalar

Mean: TypeAlias = Callable[..., Array]


def dual_focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 5.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Dual focal loss: focal loss that also looks at the strongest class below the label's.

    $$
    -\sum_y q_y (1 - p_y + p_j)^\gamma \log p_y, \qquad p_j = \max \{ p_k : p_k < p_y \} \text{, else } 0
    $$

    The authors find focal loss underconfident, cross-entropy overconfident, and this between them. The gradient passes
    through p_j; a class as likely as the label's is not below it.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label (in
            time of C² for every example).
        gamma: Focusing exponent, at least 0; 0 gives cross-entropy.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `gamma` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.5, 0.3, 0.2]]))
        >>> print(f"{dual_focal_loss(logits, jnp.array([0]), gamma=1.0)[0]:.4f}")
        0.5545

    Source:
        Tao, Dong, Xu, "Dual Focal Loss for Calibration", 2023.
    """
    logits, targets, kept = read("dual_focal_loss", logits, labels, where)
    gamma = hyperparameter("dual_focal_loss", "gamma", gamma, compute_dtype(logits), 0)
    classes = log_softmax(logits)

    def runner_up(scores: Array) -> Array:
        """The largest probability below that of the class with this score: compared before anything is rounded."""
        others, log_p = (x if targets.are_ids else x[..., None, :] for x in (classes.scores, classes.log_p))
        return jnp.max(jnp.exp(jnp.where(others < scores[..., None], log_p, -jnp.inf)), axis=-1)

    def loss(log_p: Array, beaten: Array) -> Array:
        return -power(-jnp.expm1(log_p) + beaten, gamma) * log_p

    if targets.are_ids:
        beaten = runner_up(pick(classes.scores, targets.values))
        losses = classes.expected(targets, lambda log_p: loss(log_p, beaten))
    else:
        losses = classes.expected_values(targets, loss(classes.log_p, runner_up(classes.scores)))
    return finish(losses, kept, targets.valid)


def sample_dependent_focal_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    gamma: Scalar = 3.0,
    hard_gamma: Scalar = 5.0,
    threshold: Scalar = 0.2,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Focal loss with an exponent by example (FLSD-53): a larger one while the label's probability is small.

    $$
    -\sum_y q_y (1 - p_y)^{\gamma(p_y)} \log p_y, \qquad \gamma(p) = 5 \text{ for } p < 0.2 \text{, else } 3
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        gamma: Exponent from the threshold on, at least 0.
        hard_gamma: Exponent below the threshold, at least 0.
        threshold: Probability in [0, 1] at which the exponent changes (the loss jumps there).
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.5, 0.4, 0.1]]))
        >>> losses = [sample_dependent_focal_loss(logits, jnp.array([label]))[0] for label in (0, 2)]
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.0866 1.3597

    Source:
        Mukhoti, Kulharia, Sanyal, Golodetz, Torr, Dokania, "Calibrating Deep Neural Networks using Focal Loss", 2020.
    """
    name = "sample_dependent_focal_loss"
    logits, targets, kept = read(name, logits, labels, where)
    dtype = compute_dtype(logits)
    gamma = hyperparameter(name, "gamma", gamma, dtype, 0)
    hard_gamma = hyperparameter(name, "hard_gamma", hard_gamma, dtype, 0)
    threshold = hyperparameter(name, "threshold", threshold, dtype, 0, 1)

    def penalty(log_p: Array) -> Array:
        exponent = jnp.where(jnp.exp(log_p) < threshold, hard_gamma, gamma)
        return -power(-jnp.expm1(log_p), exponent) * log_p

    return finish(log_softmax(logits).expected(targets, penalty), kept, targets.valid)


def mbls_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    alpha: Scalar = 0.1,
    margin: Scalar = 10.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Margin-based label smoothing (MbLS): cross-entropy plus what the logits' distances exceed a margin by.

    $$
    -\log p_y + \alpha\, \frac{1}{C} \sum_k (\max_j z_j - z_k - m)_+, \qquad z = \mathrm{logits}
    $$

    Label smoothing pulls all logits together for ever; this stops at the margin. Classes with a logit of -inf do not
    count.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        alpha: Weight of the penalty, at least 0.
        margin: Distance m that is free, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{mbls_loss(jnp.array([[12.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.1000

    Source:
        Liu, Ben Ayed, Galdran, Dolz, "The Devil is in the Margin: Margin-based Label Smoothing for Network
        Calibration", 2022.
    """

    def penalty(scores: Array, top: Array, mean: Mean, margin: Scalar) -> Array:
        return mean(jax.nn.relu(top[..., None] - scores - margin))

    return _penalised("mbls_loss", logits, labels, where, alpha, penalty, margin=margin)


def acls_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    alpha: Scalar = 0.1,
    positive_weight: Scalar = 1.0,
    negative_weight: Scalar = 0.1,
    margin: Scalar = 10.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Adaptive and conditional label smoothing (ACLS): cross-entropy plus squares of the logits beyond a margin.

    $$
    -\log p_y + \alpha \Big[ \lambda_1 (z_j - m)_+^2 + \frac{\lambda_2}{C - 1} \sum_{k \ne j}
    (\mathrm{sg}(z_j) - z_k - m)_+^2 \Big], \qquad j = \arg\max z
    $$

    The smoothing is adaptive, it grows with the predicted class's logit, and conditional, none within the margin; sg is
    a constant for the gradient. The margin depends on the data (10 in the authors' code). Where several logits are the
    largest, their code counts each in the first term; this counts one, as the paper's argmax does.

    Args:
        logits: Unnormalised log probabilities z `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`.
        alpha: Weight of the penalty, at least 0.
        positive_weight: Weight λ₁ of the predicted class, at least 0.
        negative_weight: Weight λ₂ of the other classes, at least 0.
        margin: What is free, m, at least 0.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{acls_loss(jnp.array([[12.0, 0.0]]), jnp.array([0]))[0]:.4f}")
        0.4400

    Source:
        Park, Noh, Oh, Baek, Ham, "ACLS: Adaptive and Conditional Label Smoothing for Network Calibration", 2023.
    """

    def penalty(
        scores: Array, top: Array, mean: Mean, positive_weight: Scalar, negative_weight: Scalar, margin: Scalar
    ) -> Array:
        gap = lax.stop_gradient(top)[..., None] - scores  # 0 for the largest itself
        others = mean(jax.nn.relu(gap - margin) ** 2, 1)
        return jax.nn.relu(top - margin) ** 2 * positive_weight + others * negative_weight

    weights = {"positive_weight": positive_weight, "negative_weight": negative_weight}
    return _penalised("acls_loss", logits, labels, where, alpha, penalty, margin=margin, **weights)


def correctness_aware_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Correctness-aware loss: the squared difference between confidence and whether the prediction is right.

    $$
    (c - \hat p)^2, \qquad \hat p = \max_k p_k, \quad c = [\arg\max_k p_k = y], \quad
    p = \mathrm{softmax}(\mathrm{logits})
    $$

    It lowers the confidence of wrong predictions, however narrowly wrong, and raises that of right ones; cross-entropy
    raises the confidence of narrowly wrong ones too. For a calibrator that leaves the argmax alone, as one that
    predicts a temperature for every example, `correctness_aware_loss(logits / temperatures[..., None], labels)`.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected loss of a label.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in [0, 1], float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]]))
        >>> losses = correctness_aware_loss(logits, jnp.array([0, 1]))
        >>> print(f"{losses[0]:.4f} {losses[1]:.4f}")
        0.1600 0.3600

    Source:
        Liu, Wang, Zou, Zou, Zheng, "Optimizing Calibration by Gaining Aware of Prediction Correctness", 2024.
    """
    logits, targets, kept = read("correctness_aware_loss", logits, labels, where)
    confidence, right, wrong = _top_label(log_softmax(logits), targets)
    return finish(right * (1 - confidence) ** 2 + wrong * confidence**2, kept, targets.valid)


def mmce_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    bandwidth: Scalar = 0.4,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Maximum mean calibration error (MMCE): a kernel's distance between confidence and correctness over the batch.

    $$
    \sqrt{ \frac{1}{n^2} \sum_{i, j} (c_i - \hat p_i)(c_j - \hat p_j)\, e^{-|\hat p_i - \hat p_j| / w} }, \qquad
    \hat p = \max_k p_k, \quad c = [\arg\max_k p_k = y]
    $$

    It is 0 in expectation, as the batch grows, exactly if confidence is calibrated. All pairs are summed in time
    n log n: the kernel is a product along the sorted confidences. Pairs of equal confidence have gradient 0 in their
    difference. The gradient is 0 where the error is.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, with which the prediction is right
            to a degree.
        bandwidth: Width w of the Laplacian kernel, positive.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the confidences are gathered.

    Returns:
        The error, a scalar, float32 (float64 for float64 logits); 0 where nothing is counted, NaN where a class id is
        out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `bandwidth` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.8, 0.2], [0.6, 0.4]]))
        >>> print(f"{mmce_loss(logits, jnp.array([0, 1])):.4f}")
        0.2522

    Source:
        Kumar, Sarawagi, Jain, "Trainable Calibration Measures for Neural Networks from Kernel Mean Embeddings", 2018.
    """
    logits, targets, kept = read("mmce_loss", logits, labels, where)
    bandwidth = hyperparameter("mmce_loss", "bandwidth", bandwidth, compute_dtype(logits), 0, open_low=True)
    confidence, right, _ = _top_label(log_softmax(logits), targets)
    gap = finish(right - confidence, kept, targets.valid)
    positions, gaps = (gather_alike(x.reshape(-1), axis_name) for x in (clean(confidence, kept), gap))
    count = _count(kept, gap, axis_name)
    if gaps.size == 0:
        return jnp.zeros((), gaps.dtype)
    return root(_laplacian_form(positions / bandwidth, gaps)) / jnp.maximum(count, 1)


def soft_binned_calibration_error(
    logits: Float[ArrayLike, "*batch classes"],
    labels: ClassLabels,
    *,
    num_bins: int = 15,
    temperature: Scalar = 0.01,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    r"""Soft-binned expected calibration error (SB-ECE): every example belongs to all bins, most to the nearest.

    $$
    \sqrt{ \sum_b \frac{n_b}{n} (a_b - \hat p_b)^2 }, \qquad n_b = \sum_i u_{ib}, \quad
    u_i = \mathrm{softmax}_b \Big( -\frac{(\hat p_i - \xi_b)^2}{T} \Big)
    $$

    where a bin's confidence and accuracy are means weighted by the membership u, and ξ are the centres of equal bins.
    The gradient passes through the membership too; it is 0 where the error is.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, with which the prediction is right
            to a degree.
        num_bins: Number of bins, at least 1.
        temperature: The temperature T of the membership, positive, in units of squared confidence; as it falls to 0,
            bins become hard.
        where: Boolean mask `[...]`; a masked example counts nowhere and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the sums over bins are those
            of the global batch.

    Returns:
        The error, a scalar, float32 (float64 for float64 logits); 0 where nothing is counted, NaN where a class id is
        out of range.

    Raises:
        TypeError: If the logits are not floating point, class ids or `num_bins` not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.8, 0.2], [0.6, 0.4]]))
        >>> print(f"{soft_binned_calibration_error(logits, jnp.array([0, 1]), num_bins=2):.4f}")
        0.2000

    Source:
        Karandikar, Cain, Tran, Lakshminarayanan, Shlens, Mozer, Roelofs, "Soft Calibration Objectives for Neural
        Networks", 2021.
    """
    name = "soft_binned_calibration_error"
    logits, targets, kept = read(name, logits, labels, where)
    static_integer(name, "num_bins", num_bins)
    temperature = hyperparameter(name, "temperature", temperature, compute_dtype(logits), 0, open_low=True)
    confidence, right, _ = _top_label(log_softmax(logits), targets)
    centres = (jnp.arange(num_bins, dtype=confidence.dtype) + 0.5) / num_bins
    membership = clean(jax.nn.softmax(-((confidence[..., None] - centres) ** 2) / temperature), kept)
    gap = finish(right - confidence, kept, targets.valid)
    axes = tuple(range(gap.ndim))
    mass = all_sum(jnp.sum(membership, axis=axes), axis_name)
    gaps = all_sum(jnp.sum(membership * gap[..., None], axis=axes), axis_name)
    some = mass > jnp.finfo(mass.dtype).tiny ** 0.5  # less would overflow in the gradient
    squares = jnp.sum(jnp.where(some, gaps**2 / jnp.where(some, mass, 1), 0))
    count = _count(kept, gap, axis_name)
    return root(squares / jnp.maximum(count, 1))


def _penalised(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    alpha: Scalar,
    penalty: Callable[..., Array],
    **hyperparameters: Scalar,
) -> Array:
    """Cross-entropy plus alpha times a penalty of the logits `[..., C]`, their largest `[...]` and a mean over classes.

    The penalty gets the hyperparameters by name, all of them at least 0.
    """
    logits, targets, kept = read(function, logits, labels, where)
    checked = {
        name: hyperparameter(function, name, value, compute_dtype(logits), 0)
        for name, value in {"alpha": alpha, **hyperparameters}.items()
    }
    classes = log_softmax(logits)
    count = jnp.sum(classes.possible, axis=-1)
    top = jnp.where(count > 0, jnp.max(classes.scores, axis=-1), 0)
    scores = jnp.where(classes.possible, classes.scores, lax.stop_gradient(top)[..., None])

    def mean(values: Array, less: int = 0) -> Array:
        return jnp.sum(jnp.where(classes.possible, values, 0), axis=-1) / jnp.maximum(count - less, 1)

    weight = checked.pop("alpha")
    losses = classes.expected(targets, jnp.negative) + weight * penalty(scores, top, mean, **checked)
    return finish(losses, kept, targets.valid)


def _top_label(classes: Classes, labels: Labels) -> tuple[Array, Array, Array]:
    """The confidence of the predicted class, and how much label it has and has not: 1 and 0 for a hit."""
    predicted = jnp.argmax(classes.scores, axis=-1)
    confidence = jnp.exp(pick(classes.log_p, predicted))
    if labels.are_ids:
        right = (predicted == labels.values).astype(confidence.dtype)
        return confidence, right, 1 - right
    right = pick(labels.values, predicted)
    return confidence, right, jnp.sum(labels.values, axis=-1) - right


def _count(kept: Array | None, values: Array, axis_name: AxisName) -> Array:
    """How many examples are kept, on all devices."""
    present = jnp.ones(values.shape, bool) if kept is None else kept
    return all_sum(jnp.sum(present, dtype=values.dtype), axis_name)


@jax.custom_jvp
def _laplacian_form(positions: Array, weights: Array) -> Array:
    """Σ_ij w_i w_j exp(-|x_i - x_j|), in time n log n."""
    nearer, farther, _ = _one_sided(positions, weights)
    return jnp.sum(weights * (nearer + farther))


@_laplacian_form.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (positions, weights), (moved, weighed) = primals, tangents
    below, rest, above = _one_sided(positions, weights)
    value = jnp.sum(weights * (below + rest))
    return value, 2 * jnp.sum(weighed * (below + rest)) + 2 * jnp.sum(moved * weights * (above - below))


def _one_sided(positions: Array, weights: Array) -> tuple[Array, Array, Array]:
    """For every i, Σ_j w_j exp(-|x_i - x_j|) over the j below it, over the others, and over those above it.

    Along the sorted positions the sum from the left obeys s_k = e^{-(x_k - x_{k-1})} (s_{k-1} + w_{k-1}), a linear
    recurrence. Equal positions are neither below nor above.
    """
    order = jnp.argsort(positions)
    x, w = positions[order], weights[order]
    decay = jnp.exp(-jnp.diff(x))

    def sums(decay: Array, w: Array) -> Array:
        def join(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
            return first[0] * second[0], first[1] * second[0] + second[1]

        _, total = lax.associative_scan(join, (decay, decay * w[:-1]))
        return jnp.concatenate([jnp.zeros(1, w.dtype), total])

    from_left, from_right = sums(decay, w), sums(decay[::-1], w[::-1])[::-1]
    everything = from_left + w + from_right
    first = jnp.searchsorted(x, positions, side="left")
    last = jnp.searchsorted(x, positions, side="right") - 1
    below, above = from_left[first], from_right[last]
    back = jnp.argsort(order)
    return below, everything[back] - below, above
