"""Distillation: losses that hold predictions to those of a teacher, and the record of a model's own past ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import (
    check_classes,
    check_same_shape,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    hyperparameter,
    integers,
    mask,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Scalar

NEVER = np.iinfo(np.int32).min


def distillation_loss(
    logits: Float[ArrayLike, "*batch classes"],
    teacher_logits: Float[ArrayLike, "*batch classes"],
    *,
    temperature: Scalar = 5.0,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Knowledge distillation: the divergence of softened predictions from the teacher's.

    $$
    T^2 \sum_c q_c \log \frac{q_c}{p_c}, \qquad
    q = \mathrm{softmax}(\mathrm{teacher} / T), \qquad p = \mathrm{softmax}(\mathrm{logits} / T)
    $$

    The factor keeps the size of the gradient, $T (p - q)$, about the same for every temperature. No gradient reaches
    the teacher. With the model's own logits of some epochs ago (`logits_memory`) for a teacher this is the trajectory
    loss of sharpness-aware training for free (SAF), weight 0.3; with those of the moving average of its parameters,
    MESA, weight 0.8; added to the loss of the labels, in both.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        teacher_logits: The teacher's, of the same shape.
        temperature: Divides both, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats times the temperature squared, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the logits are not floating point or `where` is not boolean.
        ValueError: If shapes differ, there is no class, or `temperature` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = distillation_loss(jnp.array([[0.0, 0.0], [1.0, 3.0]]), jnp.array([[0.0, 2.0], [1.0, 3.0]]))
        >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
        0.4902 0.0000

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015. Du, Zhou, Feng, Tan, Zhou,
        "Sharpness-Aware Training for Free", 2022.
    """
    name = "distillation_loss"
    logits, teacher = floating(name, "logits", logits), floating(name, "teacher_logits", teacher_logits)
    check_classes(name, "logits", logits)
    check_same_shape(name, "teacher_logits", teacher, "logits", logits)
    kept, dtype = mask(name, where, logits.shape[:-1]), compute_dtype(logits, teacher)
    temperature = hyperparameter(name, "temperature", temperature, dtype, 0, open_low=True)
    ours = jax.nn.log_softmax(clean(logits, kept).astype(dtype) / temperature)
    theirs = jax.nn.log_softmax(lax.stop_gradient(clean(teacher, kept)).astype(dtype) / temperature)
    probabilities = jnp.exp(theirs)
    possible = probabilities > 0  # 0 times inf is 0 here
    ratios = jnp.where(possible, theirs, 0) - jnp.where(possible, ours, 0)
    return finish(jnp.sum(probabilities * ratios, axis=-1) * temperature**2, kept)


class LogitsMemory(NamedTuple):
    """The logits of every example in the last few epochs, a ring: a pytree to carry, checkpoint and shard.

    Attributes:
        logits: What was recorded, `[N, delay + 1, C]`.
        epochs: The epoch in which it was, int32 `[N, delay + 1]`; the smallest int32 where there was none.
    """

    logits: Array
    epochs: Array


def logits_memory(
    examples: int, classes: int, *, delay: int = 3, dtype: jax.typing.DTypeLike = jnp.float32
) -> LogitsMemory:
    """An empty record of logits, from which `recall_logits` takes those of `delay` epochs ago.

    It is an ordinary pytree: keep it in the `model_state` of a train step, whose `loss_fn` records and recalls. It
    takes `(delay + 1) * examples * classes` numbers of memory.

        def loss_fn(params, batch, key, memory):
            logits = model.apply(params, batch["x"])
            past, known = recall_logits(memory, batch["id"], batch["epoch"])
            memory = record_logits(memory, batch["id"], logits, batch["epoch"])
            losses = softmax_cross_entropy(logits, batch["y"]) + 0.3 * distillation_loss(logits, past, where=known)
            return losses.mean(), ({}, memory)

    Args:
        examples: Number of examples N in the data, whose ids are 0 to N - 1.
        classes: Number of classes C.
        delay: Age in epochs of what is recalled, at least 1 (3 in the paper).
        dtype: Floating dtype of the record; float16 or bfloat16 halves it.

    Returns:
        A `LogitsMemory` in which nothing is known.

    Raises:
        TypeError: If a number is no integer, or `dtype` not floating point.
        ValueError: If a number is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = logits_memory(examples=2, classes=2, delay=1)
        >>> memory = record_logits(memory, jnp.array([1]), jnp.array([[0.5, -0.5]]), epoch=0)
        >>> past, known = recall_logits(memory, jnp.array([0, 1]), epoch=1)
        >>> print(past.tolist(), known)
        [[nan, nan], [0.5, -0.5]] [False  True]

    Source:
        Du, Zhou, Feng, Tan, Zhou, "Sharpness-Aware Training for Free", 2022.
    """
    for name, number in (("examples", examples), ("classes", classes), ("delay", delay)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"logits_memory: {name} must be an integer, got {type(number).__name__}")
        if number < 1:
            raise ValueError(f"logits_memory: {name} must be at least 1, got {number}")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"logits_memory: dtype must be floating point, got {dtype!r}")
    return LogitsMemory(
        jnp.zeros((examples, delay + 1, classes), dtype), jnp.full((examples, delay + 1), NEVER, jnp.int32)
    )


def record_logits(
    memory: LogitsMemory,
    ids: Integer[ArrayLike, "*batch"],
    logits: Float[ArrayLike, "*batch classes"],
    epoch: int | Integer[ArrayLike, ""],
) -> LogitsMemory:
    """The record with the logits of some examples in an epoch, in place of those of `delay + 1` epochs ago.

    Args:
        memory: A record, from `logits_memory`.
        ids: Which examples, integers `[...]`; one out of range is not recorded.
        logits: Their logits `[..., C]`, taken without their gradient.
        epoch: The epoch, an integer, possibly traced.

    Returns:
        The new record.

    Raises:
        TypeError: If the ids or `epoch` are not integers, or the logits not floating point.
        ValueError: If the shapes do not agree.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = logits_memory(examples=3, classes=2)
        >>> memory = record_logits(memory, jnp.array([2]), jnp.array([[0.5, -0.5]]), epoch=4)
        >>> print(memory.logits[2, 4 % 4], memory.epochs[2, 4 % 4])
        [ 0.5 -0.5] 4

    Source:
        Du, Zhou, Feng, Tan, Zhou, "Sharpness-Aware Training for Free", 2022.
    """
    ids, epoch = _ids("record_logits", memory, ids), _epoch("record_logits", epoch)
    logits = floating("record_logits", "logits", logits)
    if logits.shape != (*ids.shape, memory.logits.shape[-1]):
        raise ValueError(
            f"record_logits: logits must have shape {[*ids.shape, memory.logits.shape[-1]]}, got {describe(logits)}"
        )
    at = ids, epoch % memory.logits.shape[1]
    new = lax.stop_gradient(logits).astype(memory.logits.dtype)
    return LogitsMemory(memory.logits.at[at].set(new, mode="drop"), memory.epochs.at[at].set(epoch, mode="drop"))


def recall_logits(
    memory: LogitsMemory, ids: Integer[ArrayLike, "*batch"], epoch: int | Integer[ArrayLike, ""]
) -> tuple[Float[Array, "*batch classes"], Bool[Array, "*batch"]]:
    """The logits of some examples `delay` epochs before an epoch, and whether they are known.

    Args:
        memory: A record, from `logits_memory`.
        ids: Which examples, integers `[...]`.
        epoch: The epoch of now, an integer, possibly traced.

    Returns:
        The logits `[..., C]`, NaN where unknown, and a boolean mask `[...]` for the `where` of a loss: False where the
        example was not recorded in that epoch, or its id is out of range.

    Raises:
        TypeError: If the ids or `epoch` are not integers.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = logits_memory(examples=3, classes=2)
        >>> memory = record_logits(memory, jnp.array([2]), jnp.array([[0.5, -0.5]]), epoch=4)
        >>> print(recall_logits(memory, jnp.array([2]), epoch=7))
        (Array([[ 0.5, -0.5]], dtype=float32), Array([ True], dtype=bool))

    Source:
        Du, Zhou, Feng, Tan, Zhou, "Sharpness-Aware Training for Free", 2022.
    """
    ids, epoch = _ids("recall_logits", memory, ids), _epoch("recall_logits", epoch)
    past = epoch - (memory.logits.shape[1] - 1)
    at = ids, past % memory.logits.shape[1]
    known = memory.epochs.at[at].get(mode="fill", fill_value=NEVER) == past
    logits = memory.logits.at[at].get(mode="fill", fill_value=jnp.nan)
    return jnp.where(known[..., None], logits, jnp.nan), known


def _ids(function: str, memory: LogitsMemory, ids: ArrayLike) -> Array:
    """Ids as an array; a negative one, which would count from the end, becomes one past it."""
    array = integers(function, "ids", ids)
    return jnp.where(array < 0, memory.logits.shape[0], array)


def _epoch(function: str, epoch: int | ArrayLike) -> Array:
    array = integers(function, "epoch", epoch)
    if array.ndim:
        raise ValueError(f"{function}: epoch must be a scalar, got {describe(array)}")
    return array.astype(jnp.int32)
