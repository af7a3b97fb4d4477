"""Losses at sizes people train with, value and gradient, beside Optax's or those of PyTorch's libraries."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import objectives
from benchmarks.entries._torch import leaves_of, loss_program
from benchmarks.harness import Entry, Peer, Program, nbytes

Arrays = tuple[jax.Array, ...]
Loss = Callable[..., jax.Array]
TorchLoss = Callable[[], Callable[..., Any]]  # builds the loss, so that nothing is imported before


def value_and_gradient(loss: Loss, learned: int) -> Callable[..., Program]:
    """The program of a scalar loss and its gradient in the first `learned` arrays."""
    return lambda *arrays: Program(jax.value_and_grad(loss, tuple(range(learned))), arrays)


def entry(
    name: str,
    ours: Loss,
    draw: Callable[..., Arrays],
    shape: tuple[int, ...],
    quick: tuple[int, ...],
    peer: tuple[str, str, Any] | None,
    *,
    learned: int = 1,
    same: bool = True,
) -> Entry:
    """One loss.

    Args:
        name: What is measured; the shape is added.
        ours: Our scalar loss of the arrays.
        draw: Arrays of a shape, from a random generator; the first `learned` are learnt.
        shape: The size that counts.
        quick: A tiny one.
        peer: Name, distribution and loss: of Optax a function as ours, of others one that builds it.
        learned: How many arrays have gradients.
        same: Whether the peer's numbers are ours.
    """

    def arrays(tiny: bool) -> Arrays:
        return draw(np.random.default_rng(0), *(quick if tiny else shape))

    def moved(*arrays: jax.Array) -> int:
        return nbytes(arrays) + nbytes(arrays[:learned])

    if peer is not None:
        label, distribution, loss = peer
        program = (value_and_gradient if distribution == "optax" else loss_program)(loss, learned)
    return Entry(
        name=f"{name}/{'x'.join(map(str, shape))}",
        arrays=arrays,
        ours=value_and_gradient(ours, learned),
        peer=None if peer is None else Peer(label, distribution, program),
        moved=moved,
        goal=1.05 if peer is not None and distribution == "optax" else 1.0,
        result=leaves_of if same else None,
    )


def normal(random: np.random.Generator, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    return jnp.array(random.standard_normal(shape, np.float32))


def ids(random: np.random.Generator, classes: int, *shape: int) -> jax.Array:
    """Ids of classes."""
    return jnp.array(random.integers(0, classes, shape), jnp.int32)


def logits_and_ids(random: np.random.Generator, rows: int, classes: int) -> Arrays:
    """A classifier's output and its labels."""
    return normal(random, rows, classes), ids(random, classes, rows)


def anchors(random: np.random.Generator, rows: int, classes: int) -> Arrays:
    """A detector's decisions, one in a hundred positive."""
    return normal(random, rows, classes), jnp.array(random.random((rows, classes)) < 0.01, jnp.float32)


def faces(random: np.random.Generator, rows: int, width: int, classes: int) -> Arrays:
    """Embeddings, class centres and identities."""
    return normal(random, rows, width), normal(random, classes, width), ids(random, classes, rows)


def masks(random: np.random.Generator, images: int, side: int, classes: int) -> Arrays:
    """Logits and one-hot masks of images, channels last."""
    labels = random.integers(0, classes, (images, side, side))
    return normal(random, images, side, side, classes), jnp.array(np.eye(classes, dtype=np.float32)[labels])


def pairs(random: np.random.Generator, *shape: int) -> Arrays:
    """Predictions and targets of one shape."""
    return normal(random, *shape), normal(random, *shape)


def boxes(random: np.random.Generator, count: int) -> Arrays:
    """Boxes and what they should be, as corners."""
    corner, size = random.random((2, 2, count, 2)).astype(np.float32)
    return tuple(jnp.array(np.concatenate([c, c + s + 0.1], axis=1)) for c, s in zip(corner, size, strict=True))


def patients(random: np.random.Generator, count: int) -> Arrays:
    """Log hazards, times without ties, and whether an event was seen."""
    times = jnp.array(random.permutation(count) + 1, jnp.float32)
    return normal(random, count), times, jnp.array(random.random(count) < 0.5)


def arcface() -> Any:
    """ArcFace with our centres in place of its own."""
    losses = import_module("pytorch_metric_learning.losses")

    def loss(embeddings: Any, weights: Any, labels: Any) -> Any:
        function = losses.ArcFaceLoss(len(weights), weights.shape[1], margin=float(np.degrees(0.5)), scale=64)
        del function.W
        function.W = weights.T
        function.cast_types = lambda dtype, device: None
        return function(embeddings, labels)

    return loss


def channels_first(name: str, **settings: Any) -> TorchLoss:
    """A loss of MONAI, which wants the channels in front."""

    def make() -> Any:
        function = getattr(import_module("monai.losses"), name)(softmax=True, smooth_nr=1.0, smooth_dr=1.0, **settings)
        return lambda predictions, labels: function(predictions.movedim(-1, 1), labels.movedim(-1, 1))

    return make


def soft_dtw() -> Any:
    """tslearn's soft-DTW, its recursions compiled by Numba, of squared distances."""
    function = import_module("tslearn.metrics").SoftDTWLossPyTorch(gamma=1.0)
    return lambda predictions, targets: function(predictions, targets).mean()


def diffsort(network: str) -> TorchLoss:
    """Cross-entropy of diffsort's permutation matrix and the hard one of the targets."""

    def make() -> Any:
        package, torch = import_module("diffsort"), import_module("torch")
        sorters: dict[int, Any] = {}

        def loss(predictions: Any, targets: Any) -> Any:
            size = predictions.shape[1]
            sorter = sorters.setdefault(size, package.DiffSortNet(network, size, steepness=10.0, distribution="cauchy"))
            _, found = sorter(predictions)
            wanted = torch.nn.functional.one_hot(torch.argsort(targets, dim=1), size).transpose(1, 2).to(found.dtype)
            return torch.nn.functional.binary_cross_entropy(found, wanted)

        return loss

    return make


def cox() -> Any:
    """Cox's loss with Efron's treatment of ties."""
    function = import_module("torchsurv.loss.cox").neg_partial_log_likelihood
    return lambda hazards, times, events: function(hazards, events, times, ties_method="efron")


def giou() -> Any:
    """The generalised intersection over union of torchvision."""
    function = import_module("torchvision.ops").generalized_box_iou_loss
    return lambda predictions, targets: function(predictions, targets, reduction="mean")


def barlow_twins() -> Any:
    """Barlow Twins of lightly."""
    return import_module("lightly.loss").BarlowTwinsLoss(lambda_param=5e-3)


def mean_of(loss: Loss, **settings: Any) -> Loss:
    """The mean over examples of one of our losses."""
    return lambda *arrays: jnp.mean(loss(*arrays, **settings))


def cox_mean(log_hazards: jax.Array, times: jax.Array, events: jax.Array) -> jax.Array:
    """Cox's loss, its mean over the events."""
    losses = objectives.cox_partial_likelihood_loss(log_hazards, times, events)
    return objectives.reduce_mean(losses, where=events)


def neural_sort_mean(scores: jax.Array, gains: jax.Array) -> jax.Array:
    """The gain of what NeuralSort puts first."""
    return jnp.mean(jnp.sum(objectives.neural_sort(scores)[:, 0] * gains, axis=-1))


def optax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Optax's cross-entropy of ids."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def optax_smoothed(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Optax's cross-entropy of smoothed labels, which it wants as a table."""
    smoothed = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), 0.1)
    return jnp.mean(optax.softmax_cross_entropy(logits, smoothed))


def optax_focal(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Optax's focal loss of independent decisions."""
    return jnp.mean(optax.sigmoid_focal_loss(logits, labels, alpha=0.25, gamma=2.0))


CROSS_ENTROPY = ("optax.softmax_cross_entropy_with_integer_labels", "optax", optax_cross_entropy)

ENTRIES = [
    *(
        entry("cross-entropy", mean_of(objectives.softmax_cross_entropy), logits_and_ids, shape, (8, 5), CROSS_ENTROPY)
        for shape in ((4096, 1000), (2048, 32768))
    ),
    entry(
        "label-smoothing",
        mean_of(objectives.softmax_cross_entropy, label_smoothing=0.1),
        logits_and_ids,
        (4096, 1000),
        (8, 5),
        ("optax.softmax_cross_entropy of smooth_labels", "optax", optax_smoothed),
    ),
    entry(
        "sigmoid-focal",
        mean_of(objectives.sigmoid_focal_loss, gamma=2.0, alpha=0.25),
        anchors,
        (65536, 80),
        (8, 5),
        ("optax.sigmoid_focal_loss", "optax", optax_focal),
    ),
    entry(
        "huber",
        mean_of(objectives.huber_loss),
        pairs,
        (1 << 24,),
        (100,),
        ("optax.huber_loss", "optax", lambda x, y: jnp.mean(optax.huber_loss(x, y))),
    ),
    entry(
        "arcface",
        mean_of(objectives.arcface_loss),
        faces,
        (256, 512, 10_000),
        (8, 4, 5),
        ("pytorch_metric_learning.ArcFaceLoss", "pytorch-metric-learning", arcface),
        learned=2,
    ),
    entry(
        "dice",
        mean_of(objectives.dice_loss, smooth=0.5),  # MONAI smooths twice the overlap
        masks,
        (8, 256, 4),
        (2, 4, 3),
        ("monai.DiceLoss", "monai", channels_first("DiceLoss")),
    ),
    entry(
        "tversky",
        mean_of(objectives.tversky_loss, alpha=0.3, beta=0.7),
        masks,
        (8, 256, 4),
        (2, 4, 3),
        ("monai.TverskyLoss", "monai", channels_first("TverskyLoss", alpha=0.3, beta=0.7)),
    ),
    entry(
        "soft-dtw",
        mean_of(objectives.soft_dtw, gamma=1.0),
        pairs,
        (32, 128, 8),
        (2, 5, 2),
        ("tslearn.SoftDTWLossPyTorch", "tslearn", soft_dtw),
    ),
    *(
        entry(
            f"diffsort-{network}",
            mean_of(objectives.diffsort_loss, network=network, swap="cauchy", steepness=10.0),
            pairs,
            (128, 32),
            (2, 4),
            (f"diffsort.DiffSortNet({network})", "diffsort", diffsort(network)),
        )
        for network in ("odd_even", "bitonic")
    ),
    entry("neural-sort", neural_sort_mean, pairs, (128, 128), (2, 4), None),
    entry(
        "cox",
        cox_mean,
        patients,
        (4096,),
        (16,),
        ("torchsurv.neg_partial_log_likelihood", "torchsurv", cox),
    ),
    entry(
        "giou",
        mean_of(objectives.giou_loss),
        boxes,
        (65536,),
        (8,),
        ("torchvision.generalized_box_iou_loss", "torchvision", giou),
    ),
    entry(
        "barlow-twins",
        objectives.barlow_twins_loss,
        pairs,
        (1024, 2048),
        (16, 4),
        ("lightly.BarlowTwinsLoss", "lightly", barlow_twins),
        learned=2,
    ),
]
