"""What a task is, and the pieces that the tasks share."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import objectives
from benchmarks.train.catalogue import required_arrays, required_facts
from benchmarks.train.errors import UsageError

Arrays = dict[str, Any]
Objective = partial[jax.Array]
LossFn = Callable[[Any, Arrays, jax.Array], tuple[jax.Array, Arrays]]


HE = nn.initializers.he_uniform()  # uniform: a truncated normal takes longer to compile


class Metric(NamedTuple):
    """How a test metric is shown."""

    name: str
    title: str
    scale: float
    digits: int
    unit: str
    higher_is_better: bool


class Defaults(NamedTuple):
    """What a task does when it is told nothing."""

    seeds: int
    steps: int
    batch: int
    learning_rate: float
    entries: tuple[dict[str, str], ...]
    objective: str = "softmax_cross_entropy"


class Task(NamedTuple):
    """Data, model, loss and metrics.

    Attributes:
        name: what `--task` calls it.
        about: one line for the reports.
        train: training arrays, and `test`: held-out arrays.
        init: key -> parameters.
        sample: (training arrays, key, step, batch size) -> batch. A function of these alone, so that a resumed run
            sees the batches of one that was not stopped.
        loss: (objective, whether the tasks' losses stay apart) -> `loss_fn(params, batch, key)`.
        evaluate: (objective, params, test arrays) -> test metrics, the first the one that matters.
        metrics: how these are shown, in order.
        train_metrics: how the table shows those of the loss function, and of the gradients where a run has them.
        defaults: what is done when nothing is asked for.
        examples: how many training examples there are; the largest batch.
        losses: how many losses it has.
    """

    name: str
    about: str
    train: Arrays
    test: Arrays
    init: Callable[[jax.Array], Any]
    sample: Callable[[Arrays, jax.Array, jax.Array, int], Arrays]
    loss: Callable[[Objective, bool], LossFn]
    evaluate: Callable[[Objective, Any, Arrays], Arrays]
    metrics: tuple[Metric, ...]
    defaults: Defaults
    examples: int
    losses: int = 1
    train_metrics: tuple[Metric, ...] = ()

    def digest(self) -> str:
        """SHA-256 of all data: two runs with the same digest saw the same."""
        digest = hashlib.sha256()
        for arrays in (self.train, self.test):
            for name in sorted(arrays):
                digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
                digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()


def compared(*expressions: str) -> tuple[dict[str, str], ...]:
    """Entries that differ in the objective."""
    return tuple({"objective": objective} for objective in expressions)


class PatchConv(nn.Module):
    """A 3x3 convolution, `[B, H, W, C] -> [B, H, W, features]`, as one matrix product over patches.

    `vmap` over its weights (one set a seed) is a batched matrix product, where that of `nn.Conv` is a grouped
    convolution, many times slower on a CPU.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C] -> [B, H, W, features]`."""
        height, width = x.shape[1:3]
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return nn.Dense(self.features, kernel_init=HE)(jnp.concatenate(patches, axis=-1))


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of each 2x2 block, `[B, H, W, C] -> [B, H/2, W/2, C]`."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


class Trunk(nn.Module):
    """Two convolutions and a dense layer, `[B, 8, 8] -> [B, features]`."""

    features: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, 8, 8] -> [B, features]`."""
        x = x[..., None]
        for channels in (16, 32):
            x = max_pool(nn.relu(PatchConv(channels)(x)))
        return nn.relu(nn.Dense(self.features, kernel_init=HE)(x.reshape(x.shape[0], -1)))


class ClassHead(nn.Module):
    """Embeddings `[B, D]` to every array that an objective may ask for by name."""

    classes: int

    @nn.compact
    def __call__(self, embeddings: jax.Array) -> Arrays:
        """`embeddings`, `weights`, `logits`, and the logits again as `predictions`."""
        shape = (self.classes, embeddings.shape[-1])
        weights = self.param("weights", nn.initializers.lecun_uniform(in_axis=-1, out_axis=-2), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.classes,))
        logits = embeddings @ weights.T + bias
        return {"embeddings": embeddings, "weights": weights, "logits": logits, "predictions": logits}


def call_objective(objective: Objective, arrays: Arrays) -> jax.Array:
    """The objective on the arrays that its signature names: positions, and facts that its keywords leave open."""
    names = required_arrays(objective.func)
    facts = [name for name in required_facts(objective.func) if name not in objective.keywords]
    if missing := [name for name in (*names, *facts) if name not in arrays]:
        raise UsageError(f"{objective.func.__name__} needs {', '.join(missing)}, which this task does not have")
    return objective(*(arrays[name] for name in names), **{name: arrays[name] for name in facts})


def objective_values(objective: Objective, arrays: Arrays, labels: jax.Array) -> jax.Array:
    """The objective on class labels: as integers, or one-hot where it wants those."""
    one_hot = jax.nn.one_hot(labels, arrays["logits"].shape[-1])
    arrays = arrays | {"labels": labels, "targets": one_hot}
    try:
        return call_objective(objective, arrays)
    except (TypeError, ValueError):
        if "labels" not in required_arrays(objective.func):
            raise
        try:
            return call_objective(objective, arrays | {"labels": one_hot})
        except (TypeError, ValueError):
            pass
        raise


def mean_objective(objective: Objective, arrays: Arrays, labels: jax.Array) -> jax.Array:
    """The mean of the objective's values, a scalar."""
    return objectives.reduce_mean(objective_values(objective, arrays, labels))


def predicted_class(objective: Objective, arrays: Arrays) -> jax.Array:
    """The largest logit; under an objective of embeddings and class weights, the label whose loss is least."""
    logits = arrays["logits"]
    if "weights" not in required_arrays(objective.func):
        return jnp.argmax(logits, axis=-1)
    labels = jnp.arange(logits.shape[-1])
    batch = logits.shape[:-1]
    losses = jax.vmap(lambda label: objective_values(objective, arrays, jnp.full(batch, label)))(labels)
    return jnp.argmin(losses, axis=0)


def epoch_batch(arrays: Arrays, key: jax.Array, step: jax.Array, size: int) -> Arrays:
    """Batch number `step` of epochs without replacement, each in an order of its own; a last short one is left out."""
    examples = len(next(iter(arrays.values())))
    per_epoch = examples // size
    order = jax.random.permutation(jax.random.fold_in(key, step // per_epoch), examples)
    chosen = jax.lax.dynamic_slice_in_dim(order, (step % per_epoch) * size, size)
    return {name: jnp.asarray(values)[chosen] for name, values in arrays.items()}


def random_shift(key: jax.Array, images: jax.Array) -> jax.Array:
    """Move each image by up to one pixel along each axis, `[B, H, W]`; zeros enter. Three in five stay, per axis."""
    batch, height, width = images.shape
    draws = jax.random.uniform(key, (2, batch))
    offsets = 1 + (draws > 0.8).astype(jnp.int32) - (draws < 0.2)
    rows, columns = jax.nn.one_hot(offsets, 3)[..., None, None]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)))
    moved = sum(rows[:, i] * padded[:, i : i + height] for i in range(3))
    return sum((columns[:, i] * moved[:, :, i : i + width] for i in range(3)), jnp.zeros_like(images))


def as_it_is(key: jax.Array, inputs: jax.Array) -> jax.Array:
    """No augmentation."""
    return inputs


class Recipe(NamedTuple):
    """One network and one loss, from which a task is made.

    Attributes:
        network: from the inputs of a batch to arrays by name.
        evaluate: (objective, the network's arrays, test arrays) -> test metrics.
        values: (objective, arrays by name) -> what is averaged; the arrays are the network's and the batch's.
        sample: as a task's.
        augment: (key, inputs) -> inputs, while training.
        inputs: the name of the array that the network reads.
    """

    network: nn.Module
    evaluate: Callable[[Objective, Arrays, Arrays], Arrays]
    values: Callable[[Objective, Arrays], jax.Array] = call_objective
    sample: Callable[[Arrays, jax.Array, jax.Array, int], Arrays] = epoch_batch
    augment: Callable[[jax.Array, jax.Array], jax.Array] = as_it_is
    inputs: str = "x"

    def task(
        self, name: str, about: str, train: Arrays, test: Arrays, metrics: tuple[Metric, ...], defaults: Defaults
    ) -> Task:
        """The task of that name on these data."""
        examples = len(next(iter(train.values())))

        def loss_fn(objective: Objective, params: Arrays, batch: Arrays, key: jax.Array) -> tuple[jax.Array, Arrays]:
            outputs: Any = self.network.apply(params, self.augment(key, batch[self.inputs]))
            return objectives.reduce_mean(self.values(objective, outputs | batch)), {}

        def evaluate(objective: Objective, params: Arrays, test: Arrays) -> Arrays:
            outputs: Any = self.network.apply(params, test[self.inputs])
            return self.evaluate(objective, outputs, test)

        return Task(
            name=name,
            about=about,
            train=train,
            test=test,
            init=lambda key: self.network.init(key, test[self.inputs][:1]),
            sample=self.sample,
            loss=lambda objective, apart: partial(loss_fn, objective),
            evaluate=evaluate,
            metrics=metrics,
            defaults=defaults,
            examples=examples,
        )
