"""How hard examples are: angular visual hardness.

Nothing here has a gradient.
"""

import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    class_labels,
    clean,
    compute_dtype,
    describe,
    finish,
    floating,
    mask,
    pick,
)
from objectives._numerics import unit_vectors
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float


def angular_visual_hardness(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"],
    labels: ClassLabels,
    *,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Angular visual hardness (AVH): the angle to the label's weights as a share of the angles to all classes'.

    $$
    \frac{\angle(x, w_y)}{\sum_c \angle(x, w_c)}
    $$

    Low is easy. It follows human perception of hardness more closely than confidence does, and levels off early in
    training while the loss still falls, because the lengths of the vectors do not enter.

    Args:
        embeddings: Last hidden features x `[..., D]`, of any length.
        weights: Weights of the last layer w `[C, D]`, of any length.
        labels: Class ids `[...]`, or weights of the classes `[..., C]`, which mean the expected hardness of a label.
        where: Boolean mask `[...]`; a masked entry has hardness 0 and may hold anything.

    Returns:
        Hardness `[...]` in [0, 1], float32 (float64 for float64 inputs); NaN where a class id is out of range. A vector
        of zeros is at right angles to everything.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match.

    Examples:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([[2.0, 0.0], [-1.0, 0.0]])
        >>> hardness = angular_visual_hardness(jnp.array([[1.0, 1.0]]), weights, jnp.array([0]))
        >>> print(f"{hardness[0]:.4f}")
        0.2500

    Source:
        Chen, Liu, Yu, Kautz, Shrivastava, Garg, Anandkumar, "Angular Visual Hardness", 2020.
    """
    name = "angular_visual_hardness"
    x, w = floating(name, "embeddings", embeddings), floating(name, "weights", weights)
    check_rank(name, "embeddings", x, 1, "[..., D]")
    if w.ndim != 2 or w.shape[0] == 0 or w.shape[1] != x.shape[-1]:
        raise ValueError(f"{name}: weights must have shape [C, {x.shape[-1]}], got {describe(w)}")
    kept, dtype = mask(name, where, x.shape[:-1]), compute_dtype(x, w)
    targets = class_labels(name, labels, (*x.shape[:-1], w.shape[0]), dtype, kept)
    x, w = (
        unit_vectors(lax.stop_gradient(clean(x, kept)).astype(dtype)),
        unit_vectors(lax.stop_gradient(w).astype(dtype)),
    )
    angles = jnp.arccos(jnp.clip(x @ w.T, -1, 1))
    own = pick(angles, targets.values) if targets.are_ids else jnp.sum(targets.values * angles, axis=-1)
    total = jnp.sum(angles, axis=-1)
    return finish(jnp.where(total > 0, own / jnp.where(total > 0, total, 1), 0), kept, targets.valid)
