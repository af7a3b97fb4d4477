r"""Lovász losses: the Jaccard loss of sets, extended convexly to the errors of pixels.

One equation: with the errors m of the pixels in descending order and the Jaccard loss Δ of the set of the first k,

    loss = Σ_k m_(k) (Δ_k - Δ_{k-1}),

in O(P log P) for P pixels. Members differ in the error of a pixel: 1 - p of the label's class, or a hinge.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._batch import all_sum, gather, positions
from objectives._inputs import check_classes, check_rank, clean, compute_dtype, floating
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer
from objectives.segmentation._counts import check_word, pixel_mask, read_targets, to_probabilities


def lovasz_softmax_loss(
    predictions: Float[ArrayLike, "*pixels classes"],
    labels: Integer[ArrayLike, "*pixels"] | Bool[ArrayLike, "*labels"],
    *,
    apply_softmax: bool = True,
    classes: Literal["all", "present"] = "present",
    per: Literal["image", "dataset"] = "dataset",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Lovász-softmax: the convex extension of the mean Jaccard loss over classes.

    $$
    \operatorname{mean}_c \sum_k m_{(k)c} \left( \Delta_{kc} - \Delta_{k-1,c} \right), \qquad
    m_{ic} = |t_{ic} - p_{ic}|, \qquad \Delta_{kc} = 1 - \frac{|T_c \setminus M_k|}{|T_c \cup M_k|}
    $$

    where M_k are the k pixels with the largest errors and T_c those of class c.

    Args:
        predictions: Logits `[B, *space, C]`, or probabilities with `apply_softmax=False`. A single class is binary:
            its logit goes through a sigmoid.
        labels: Class ids `[B, *space]`; for a single class, the foreground `[B, *space]`, 0 or 1 or boolean. Sets have
            no fractions: soft labels are refused.
        apply_softmax: Whether the predictions are logits.
        classes: Whether the mean runs over `"all"` classes or those `"present"` in the labels taken together.
        per: Sets of pixels per `"image"`, which gives a loss for every one, or of the whole `"dataset"` in the batch.
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for `per="dataset"`; value and
            gradient are then those of the global batch. Errors of all pixels are gathered.

    Returns:
        A scalar, or losses `[B]` for `per="image"`, float32 (float64 for float64 inputs); 0 where nothing is counted,
        NaN where a class id is out of range.

    Raises:
        TypeError: If the predictions are not floating point, labels not integers or `where` not boolean.
        ValueError: If shapes do not match or a word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> probabilities = jnp.array([[[0.75, 0.25], [0.25, 0.75]]])
        >>> print(f"{lovasz_softmax_loss(probabilities, jnp.array([[0, 0]]), apply_softmax=False):.4f}")
        0.5000

    Source:
        Berman, Rannen Triki, Blaschko, "The Lovász-Softmax Loss: A Tractable Surrogate for the Optimization of the
        Intersection-over-Union Measure in Neural Networks", 2018.
    """
    name = "lovasz_softmax_loss"
    scores = floating(name, "predictions", predictions)
    check_rank(name, "predictions", scores, 2, "[B, *space, C]")
    check_classes(name, "predictions", scores, "[B, *space, C]")
    check_word(name, "classes", classes, ("all", "present"))
    _check_per(name, per, axis_name)
    kept, dtype = pixel_mask(name, where, scores.shape[:-1]), compute_dtype(scores)
    members, poison = _members(name, labels, scores.shape, dtype, kept)
    probabilities = clean(to_probabilities(clean(scores, kept), apply_softmax, dtype) * poison, kept)
    errors = jnp.where(members, 1 - probabilities, probabilities)
    losses, sizes = _extension(errors, members, kept, per, axis_name)
    active = jnp.ones(losses.shape, bool) if classes == "all" else sizes > 0
    return jnp.sum(jnp.where(active, losses, 0), axis=-1) / jnp.maximum(jnp.sum(active, axis=-1), 1).astype(dtype)


def lovasz_hinge_loss(
    predictions: Float[ArrayLike, "*pixels"],
    labels: Integer[ArrayLike, "*pixels"] | Bool[ArrayLike, "*pixels"],
    *,
    per: Literal["image", "dataset"] = "image",
    where: Bool[ArrayLike, "..."] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "..."]:
    r"""Lovász hinge: the convex extension of the foreground's Jaccard loss at the pixels' hinge errors.

    $$
    \sum_k \max(0, m_{(k)}) \left( \Delta_k - \Delta_{k-1} \right), \qquad m_i = 1 - s_i (2 t_i - 1), \qquad
    \Delta_k = 1 - \frac{|T \setminus M_k|}{|T \cup M_k|}
    $$

    where M_k are the k pixels with the largest errors and T is the foreground.

    Args:
        predictions: Scores s `[B, *space]`, positive for the foreground.
        labels: The foreground t `[B, *space]`, boolean, or 0 or 1.
        per: Sets of pixels per `"image"`, which gives a loss for every one, or of the whole `"dataset"` in the batch.
        where: Boolean mask of pixels `[B, *space]` or of images `[B]`; what is masked counts nowhere and may hold
            anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`, for `per="dataset"`; value and
            gradient are then those of the global batch. Errors of all pixels are gathered.

    Returns:
        Losses `[B]`, or a scalar for `per="dataset"`, float32 (float64 for float64 inputs); 0 where nothing is counted,
        NaN where a label is not 0 or 1.

    Raises:
        TypeError: If the predictions are not floating point, labels not integers or `where` not boolean.
        ValueError: If shapes do not match or a word is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{lovasz_hinge_loss(jnp.array([[0.5, 0.0, -2.0]]), jnp.array([[1, 0, 0]]))[0]:.4f}")
        0.7500

    Source:
        Yu, Blaschko, "Learning Submodular Losses with the Lovász Hinge", 2015; Berman, Rannen Triki, Blaschko, "The
        Lovász-Softmax Loss", 2018.
    """
    name = "lovasz_hinge_loss"
    scores = floating(name, "predictions", predictions)
    check_rank(name, "predictions", scores, 1, "[B, *space]")
    _check_per(name, per, axis_name)
    kept, dtype = pixel_mask(name, where, scores.shape), compute_dtype(scores)
    members, poison = _members(name, labels, (*scores.shape, 1), dtype, kept)
    scores = clean(clean(scores, kept).astype(dtype)[..., None] * poison, kept)
    margins = 1 + jnp.where(members, -scores, scores)
    return _extension(jax.nn.relu(margins), members, kept, per, axis_name)[0][..., 0]


def _check_per(function: str, per: str, axis_name: AxisName) -> None:
    check_word(function, "per", per, ("image", "dataset"))
    if axis_name is not None and per == "image":
        raise ValueError(f'{function}: axis_name needs per="dataset"; losses per image are not coupled')


def _members(
    function: str, labels: ArrayLike, shape: tuple[int, ...], dtype: np.dtype, kept: Array | None
) -> tuple[Array, Array]:
    """Which pixels belong to every class, and NaN, else 1, at labels out of range."""
    members, poison = read_targets(function, labels, shape, dtype, kept)
    if members.dtype != jnp.bool_:
        if jnp.issubdtype(jnp.asarray(labels).dtype, jnp.floating):
            raise TypeError(f"{function}: labels must be integers or boolean, for sets have no soft members")
        members = members > 0
    return members, poison


def _extension(errors: Array, members: Array, kept: Array | None, per: str, axis_name: AxisName) -> tuple[Array, Array]:
    """The Lovász extension at non-negative errors `[B, *space, C]` of every class, and the sizes of the classes.

    It is linear while the order stays as it is: the weights of the errors are constants to the gradient.
    """
    images = errors.shape[0] if per == "image" else 1
    if per == "dataset" or errors.ndim > 2:
        errors, members = (x.reshape(images, -1, x.shape[-1]) for x in (errors, members))
    else:
        errors, members = errors[:, None], members[:, None]
    present = None if kept is None else kept.reshape(*errors.shape[:2])
    own = positions(errors.shape[1], axis_name)

    def everywhere(values: Array) -> Array:
        return values if axis_name is None else jnp.moveaxis(gather(jnp.moveaxis(values, 1, 0), axis_name), 0, 1)

    keys = -lax.stop_gradient(errors)
    if present is not None:  # after all the others, where they change no weight
        keys = jnp.where(present[..., None], keys, jnp.inf)
    keys, everyone = everywhere(keys), everywhere(members)
    order = jnp.argsort(keys, axis=1)
    weights = _jaccard_steps(jnp.take_along_axis(everyone, order, axis=1), errors.dtype)
    weights = jnp.put_along_axis(jnp.zeros_like(weights), order, weights, axis=1, inplace=False)
    weights = weights if axis_name is None else weights[:, own]
    if present is not None:
        errors, members = clean(errors, present), clean(members, present)
    losses = all_sum(jnp.sum(errors * weights, axis=1), axis_name)
    sizes = all_sum(jnp.sum(members, axis=1, dtype=jnp.int32), axis_name)
    return (losses, sizes) if per == "image" else (losses[0], sizes[0])


def _jaccard_steps(members: Array, dtype: np.dtype) -> Array:
    """Δ_k - Δ_{k-1} along axis 1 for members of the class in the order of their errors.

    With k pixels of which j are members, out of n, Δ_k = 1 - (n - j) / (n + k - j).
    """
    j = jnp.cumsum(members, axis=1, dtype=jnp.int32)
    size = jnp.sum(members, axis=1, keepdims=True, dtype=jnp.int32)
    k = jnp.arange(1, members.shape[1] + 1, dtype=jnp.int32)[:, None]
    left, union = (size - j).astype(dtype), (size + k - j).astype(dtype)
    before = jnp.maximum(union - jnp.where(members, 0, 1), 1)
    # A member takes one from the intersection; another pixel adds one to the union.
    step = jnp.where(members, 1 / union, left / (union * before))
    return jnp.where(size == 0, (k == 1).astype(dtype), step)
