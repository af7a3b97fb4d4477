"""Numbers kept for every example from epoch to epoch, and the losses that need them: ELR and ALDR.

The record is a pytree to carry in the `model_state` of a train step; the losses are functions of what it holds for the
examples of the batch, so that it can as well be kept anywhere else.
"""

from collections.abc import Sequence
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
    mask,
    real,
)
from objectives._probabilities import Classes, log_softmax
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


class ExampleMemory(NamedTuple):
    """Numbers recorded for every example: a pytree to carry, checkpoint and shard.

    Attributes:
        values: What is recorded, `[N, ...]`.
    """

    values: Array


def example_memory(
    examples: int, shape: Sequence[int] = (), *, fill: float = 0.0, dtype: jax.typing.DTypeLike = jnp.float32
) -> ExampleMemory:
    """A record of numbers for every example: past targets (ELR) or temperatures (ALDR), read and written by id.

    It is an ordinary pytree: keep it in the `model_state` of a train step, whose `loss_fn` recalls and records.

        def loss_fn(params, batch, key, memory):      # early-learning regularisation; memory = example_memory(N, (C,))
            logits = model.apply(params, batch["x"])
            targets = early_learning_targets(logits, recall_examples(memory, batch["id"]), momentum=0.7)
            losses = softmax_cross_entropy(logits, batch["y"]) + 3.0 * early_learning_regularizer(logits, targets)
            return losses.mean(), ({}, record_examples(memory, batch["id"], targets))

        def loss_fn(params, batch, key, memory):      # adaptive LDR; memory = example_memory(N, fill=1.0)
            logits = model.apply(params, batch["x"])
            temperatures = aldr_temperatures(logits, recall_examples(memory, batch["id"]))
            losses = aldr_kl_loss(logits, batch["y"], temperatures)
            return losses.mean(), ({}, record_examples(memory, batch["id"], temperatures))

    Args:
        examples: Number of examples N in the data, whose ids are 0 to N - 1.
        shape: Shape of what is recorded for one, as `(classes,)`; a number by default.
        fill: What everything holds at first.
        dtype: Floating dtype of the record.

    Returns:
        An `ExampleMemory` that holds `fill`.

    Raises:
        TypeError: If `examples` is no integer, or `dtype` not floating point.
        ValueError: If `examples` is less than 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> memory = record_examples(example_memory(3, fill=1.0), jnp.array([2]), jnp.array([0.25]))
        >>> print(memory.values)
        [1.   1.   0.25]

    Source:
        Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
        Labels", 2020.
    """
    if isinstance(examples, bool) or not isinstance(examples, int | np.integer):
        raise TypeError(f"example_memory: examples must be an integer, got {type(examples).__name__}")
    if examples < 1:
        raise ValueError(f"example_memory: examples must be at least 1, got {examples}")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"example_memory: dtype must be floating point, got {dtype!r}")
    return ExampleMemory(jnp.full((examples, *shape), fill, dtype))


def record_examples(
    memory: ExampleMemory, ids: Integer[ArrayLike, "*batch"], values: Real[ArrayLike, "*batch_and_shape"]
) -> ExampleMemory:
    """The record with new numbers for some examples.

    Args:
        memory: A record, from `example_memory`.
        ids: Which examples, integers `[...]`; one out of range is not recorded.
        values: Their numbers, `[...]` and the shape of one, taken without their gradient.

    Returns:
        The new record.

    Raises:
        TypeError: If the ids are not integers.
        ValueError: If the shapes do not agree.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(record_examples(example_memory(2), jnp.array([1, 9]), jnp.array([0.5, 7.0])).values)
        [0.  0.5]

    Source:
        Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
        Labels", 2020.
    """
    rows, new = _ids("record_examples", memory, ids), real("record_examples", "values", values)
    if new.shape != rows.shape + memory.values.shape[1:]:
        shape = list(rows.shape + memory.values.shape[1:])
        raise ValueError(f"record_examples: values must have shape {shape}, got {describe(new)}")
    new = lax.stop_gradient(new).astype(memory.values.dtype)
    return ExampleMemory(memory.values.at[rows].set(new, mode="drop"))


def recall_examples(memory: ExampleMemory, ids: Integer[ArrayLike, "*batch"]) -> Float[Array, "*batch_and_shape"]:
    """What is recorded for some examples.

    Args:
        memory: A record, from `example_memory`.
        ids: Which examples, integers `[...]`.

    Returns:
        The numbers, `[...]` and the shape of one; NaN where an id is out of range.

    Raises:
        TypeError: If the ids are not integers.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(recall_examples(example_memory(2, fill=1.5), jnp.array([1, 2])))
        [1.5 nan]

    Source:
        Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
        Labels", 2020.
    """
    return memory.values.at[_ids("recall_examples", memory, ids)].get(mode="fill", fill_value=jnp.nan)


def early_learning_targets(
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
    *,
    momentum: Scalar = 0.7,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch classes"]:
    r"""The targets of early-learning regularisation: a moving average of an example's own predictions.

    $$
    t \leftarrow \beta t + (1 - \beta)\, p, \qquad p = \mathrm{softmax}(\mathrm{logits}) \text{, clipped to }
    [10^{-4}, 1 - 10^{-4}] \text{ and normalised}
    $$

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        targets: Targets so far `[..., C]`, 0 at first.
        momentum: Share β of the old targets, in [0, 1].
        where: Boolean mask `[...]`; a masked entry has targets 0 and may hold anything.

    Returns:
        New targets `[..., C]`, float32 (float64 for float64 inputs), without gradient.

    Raises:
        TypeError: If logits or targets are not floating point or `where` is not boolean.
        ValueError: If shapes do not match or `momentum` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> targets = early_learning_targets(jnp.array([[1.0, 1.0]]), jnp.array([[0.0, 0.0]]))
        >>> print([f"{target:.2f}" for target in targets[0]])
        ['0.15', '0.15']

    Source:
        Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
        Labels", 2020.
    """
    name = "early_learning_targets"
    classes, old, kept = _predictions(name, logits, targets, where)
    momentum = hyperparameter(name, "momentum", momentum, old.dtype, 0, 1)
    clipped = _clipped(classes)
    total = jnp.sum(clipped, axis=-1, keepdims=True)
    new = old * momentum + clipped / jnp.where(total == 0, 1, total) * (1 - momentum)
    return clean(lax.stop_gradient(new), kept)


def early_learning_regularizer(
    logits: Float[ArrayLike, "*batch classes"],
    targets: Float[ArrayLike, "*batch classes"],
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Early-learning regularisation (ELR): holds predictions to what they were before wrong labels were memorised.

    $$
    \log(1 - \langle p, t \rangle), \qquad p = \mathrm{softmax}(\mathrm{logits}) \text{, clipped to }
    [10^{-4}, 1 - 10^{-4}]
    $$

    Add it to cross-entropy, with weight 3 and momentum 0.7 for ten classes, 7 and 0.9 for a hundred in the paper.
    `example_memory` shows it in a train step. The clip is the authors' and keeps the logarithm finite.

    Args:
        logits: Unnormalised log probabilities `[..., C]`.
        targets: Targets t of these examples `[..., C]`, from `early_learning_targets`, taken without their gradient.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Values `[...]`, at most 0, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If logits or targets are not floating point or `where` is not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{early_learning_regularizer(jnp.array([[1.0, 1.0]]), jnp.array([[0.8, 0.2]]))[0]:.4f}")
        -0.6931

    Source:
        Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
        Labels", 2020.
    """
    classes, targets, kept = _predictions("early_learning_regularizer", logits, targets, where)
    agreement = jnp.sum(_clipped(classes) * lax.stop_gradient(targets), axis=-1)
    return finish(jnp.log1p(-agreement), kept)


def _clipped(classes: Classes) -> Array:
    return jnp.where(classes.possible, jnp.clip(classes.probabilities(), 1e-4, 1 - 1e-4), 0)


def _predictions(
    function: str, logits: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Classes, Array, Array | None]:
    scores, old = floating(function, "logits", logits), floating(function, "targets", targets)
    check_classes(function, "logits", scores)
    check_same_shape(function, "targets", old, "logits", scores)
    kept, dtype = mask(function, where, scores.shape[:-1]), compute_dtype(scores, old)
    return log_softmax(clean(scores, kept).astype(dtype)), clean(old, kept).astype(dtype), kept


def _ids(function: str, memory: ExampleMemory, ids: ArrayLike) -> Array:
    """Ids as an array; a negative one, which would count from the end, becomes one past it."""
    array = real(function, "ids", ids)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{function}: ids must be integers, got {describe(array)}")
    return jnp.where(array < 0, memory.values.shape[0], array)
