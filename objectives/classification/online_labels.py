"""Online label smoothing: soft labels of every class, averaged over the model's own correct predictions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import Labels, compute_dtype, describe, finish, hyperparameter, is_class, static_integer
from objectives._softmax import expected_penalty, read
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Scalar


class OnlineLabels(NamedTuple):
    """Soft labels of every class and what is collected for the next ones; an ordinary pytree.

    Attributes:
        soft: Soft label of every class in this epoch `[C, C]`, one a row.
        sums: Sum of the predicted probabilities of the examples of every class that were right `[C, C]`.
        counts: Number of them `[C]`.
    """

    soft: Array
    sums: Array
    counts: Array


def online_labels(classes: int) -> OnlineLabels:
    """Soft labels for the first epoch, which are uniform.

    Keep them in the `model_state` of a train step, whose `loss_fn` uses and collects; renew them after every epoch.

        def loss_fn(params, batch, key, state):
            logits = model.apply(params, batch["x"])
            losses = online_label_smoothing_loss(logits, batch["y"], state)
            return losses.mean(), ({}, collect_online_labels(state, logits, batch["y"]))

    Args:
        classes: Number of classes C.

    Returns:
        An `OnlineLabels` of float32 arrays in which nothing is collected.

    Raises:
        TypeError: If `classes` is no integer.
        ValueError: If it is less than 1.

    Examples:
        >>> print(online_labels(2).soft)
        [[0.5 0.5]
         [0.5 0.5]]

    Source:
        Zhang, Jiang, Hou, Wei, Han, Li, Cheng, "Delving Deep into Label Smoothing", 2021.
    """
    count = static_integer("online_labels", "classes", classes)
    return OnlineLabels(jnp.full((count, count), 1 / count), jnp.zeros((count, count)), jnp.zeros(count))


def online_label_smoothing_loss(
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    state: OnlineLabels,
    *,
    smoothing: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy against a mixture of the label and the soft label of its class.

    $$
    -(1 - s) \log p_y - s \sum_c S_{yc} \log p_c
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        labels: Class ids `[...]`.
        state: Soft labels S, from `online_labels`.
        smoothing: Share s of the soft label, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 logits); NaN where a class id is out of range.

    Raises:
        TypeError: If the logits are not floating point, the labels not integers or `where` not boolean.
        ValueError: If shapes do not match or `smoothing` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{online_label_smoothing_loss(jnp.array([[1.0, 0.0]]), jnp.array([0]), online_labels(2))[0]:.4f}")
        0.5633

    Source:
        Zhang, Jiang, Hou, Wei, Han, Li, Cheng, "Delving Deep into Label Smoothing", 2021.
    """
    name = "online_label_smoothing_loss"
    logits, ids, valid, kept = _ids(name, logits, labels, state, where)
    share = hyperparameter(name, "smoothing", smoothing, compute_dtype(logits), 0, 1)
    hard = expected_penalty(logits, Labels(ids, valid), jnp.negative)
    soft = lax.stop_gradient(state.soft).astype(hard.dtype)[ids]
    losses = (1 - share) * hard + share * expected_penalty(logits, Labels(soft, None), jnp.negative)
    return finish(losses, kept, valid)


def collect_online_labels(
    state: OnlineLabels,
    logits: Float[ArrayLike, "*batch classes"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> OnlineLabels:
    """The state with the predicted probabilities of a batch's correctly classified examples added to their classes.

    Args:
        state: The state so far.
        logits: Unnormalised log probabilities `[..., C]`, taken without their gradient.
        labels: Class ids `[...]`; one out of range is not collected.
        where: Boolean mask `[...]`; a masked entry is not collected and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; the state is then the same on
            all devices.

    Returns:
        The new state.

    Raises:
        TypeError: If the logits are not floating point, the labels not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> state = collect_online_labels(online_labels(2), jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]))
        >>> print(state.counts)
        [1. 0.]

    Source:
        Zhang, Jiang, Hou, Wei, Han, Li, Cheng, "Delving Deep into Label Smoothing", 2021.
    """
    logits, ids, valid, kept = _ids("collect_online_labels", logits, labels, state, where)
    classes = logits.shape[-1]
    probabilities = jax.nn.softmax(lax.stop_gradient(logits).astype(state.sums.dtype), axis=-1).reshape(-1, classes)
    right = valid & (jnp.argmax(logits, axis=-1) == ids)
    right = (right if kept is None else right & kept).reshape(-1)
    rows = jnp.where(right, ids.reshape(-1), classes)  # one past the last: dropped
    sums = jnp.zeros_like(state.sums).at[rows].add(probabilities, mode="drop")
    counts = jnp.sum(is_class(rows, classes), axis=0).astype(state.counts.dtype)
    if axis_name is not None:
        sums, counts = lax.psum((sums, counts), axis_name)
    return OnlineLabels(state.soft, state.sums + sums, state.counts + counts)


def renew_online_labels(state: OnlineLabels) -> OnlineLabels:
    """The state for the next epoch: soft labels are the means of what was collected, and nothing is collected.

    A class of which no example was right keeps its soft label; the authors' code makes that label zero, so that its
    examples lose a share of their weight for an epoch.

    Args:
        state: The state at the end of an epoch.

    Returns:
        The new state.

    Examples:
        >>> import jax.numpy as jnp
        >>> state = collect_online_labels(online_labels(2), jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]))
        >>> print(f"{renew_online_labels(state).soft[0, 0]:.4f}")
        0.8808

    Source:
        Zhang, Jiang, Hou, Wei, Han, Li, Cheng, "Delving Deep into Label Smoothing", 2021.
    """
    some = state.counts[:, None] > 0
    means = state.sums / jnp.where(some, state.counts[:, None], 1)
    return OnlineLabels(jnp.where(some, means, state.soft), jnp.zeros_like(state.sums), jnp.zeros_like(state.counts))


def _ids(
    function: str, logits: ArrayLike, labels: ArrayLike, state: OnlineLabels, where: ArrayLike | None
) -> tuple[Array, Array, Array, Array | None]:
    """Checked logits, class ids, which of them are in range, and the mask."""
    logits, targets, kept = read(function, logits, labels, where)
    if targets.valid is None:
        raise ValueError(
            f"{function}: labels must be class ids {list(logits.shape[:-1])}, got {describe(targets.values)}"
        )
    if state.soft.shape != (logits.shape[-1],) * 2:
        raise ValueError(
            f"{function}: state must be for as many classes as logits, {logits.shape[-1]}, got {describe(state.soft)}"
        )
    return logits, targets.values, targets.valid, kept
