"""CurricularFace: hard negatives that weigh more as training goes on."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import class_labels, clean, compute_dtype, hyperparameter, mask
from objectives._typing import Array, ArrayLike, AxisName, Bool, Float, Integer, Scalar
from objectives.margin._equation import add_angle, inverse_length, margin_softmax, read, shift_angle, total, vectors


class Curriculum(NamedTuple):
    """How far training is: a pytree to carry through training and to checkpoint.

    Attributes:
        cosine: Moving average of the target cosines, a scalar; it weighs hard negatives, more as training goes on.
    """

    cosine: Array


def curriculum(cosine: Scalar = 0.0) -> Curriculum:
    """The state that `curricularface_loss` starts from.

    Keep it in the `model_state` of a train step, whose `loss_fn` updates and uses it:

        def loss_fn(params, batch, key, state):
            embeddings = model.apply(params, batch["x"])
            state = update_curriculum(state, embeddings, params["classes"], batch["y"])
            losses = curricularface_loss(embeddings, params["classes"], batch["y"], state)
            return losses.mean(), ({}, state)

    Args:
        cosine: First target cosine, in [-1, 1].

    Returns:
        A `Curriculum`, a float32 scalar.

    Raises:
        TypeError: If the cosine is no number.
        ValueError: If the cosine is out of range.

    Examples:
        >>> print(curriculum().cosine)
        0.0

    Source:
        Huang, Wang, Tai, Liu, Shen, Li, Li, Huang, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
        Recognition", 2020.
    """
    start = hyperparameter("curriculum", "cosine", cosine, np.dtype(np.float32), -1, 1)
    return Curriculum(jnp.asarray(start, jnp.float32))


def update_curriculum(
    state: Curriculum,
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"],
    *,
    decay: Scalar = 0.99,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Curriculum:
    r"""The moving average of the cosines between embeddings and their classes.

    $$
    t \leftarrow d t + (1 - d)\, \mathrm{mean}_i \cos\theta_{y_i}
    $$

    Only the classes of the batch are looked at, not all of them. An empty batch changes nothing.

    Args:
        state: That of before, from `curriculum`.
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`.
        decay: Share d that is kept, in [0, 1].
        where: Boolean mask of examples `[...]`; a masked one, or one whose id is out of range, does not count.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`.

    Returns:
        The new state.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or `decay` is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> state = update_curriculum(curriculum(), jnp.array([[3.0, 4.0]]), jnp.eye(2), jnp.array([1]), decay=0.5)
        >>> print(f"{state.cosine:.4f}")
        0.4000

    Source:
        Huang, Wang, Tai, Liu, Shen, Li, Li, Huang, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
        Recognition", 2020.
    """
    name = "update_curriculum"
    embeddings, weights = vectors(name, embeddings, weights)
    embeddings, weights = lax.stop_gradient(embeddings), lax.stop_gradient(weights)
    kept, dtype = mask(name, where, embeddings.shape[:-1]), compute_dtype(embeddings, weights)
    targets = class_labels(name, labels, (*embeddings.shape[:-1], weights.shape[0]), dtype, kept)
    if targets.valid is None:
        raise ValueError(f"{name}: labels must be class ids {list(embeddings.shape[:-1])}, got probabilities")
    share = hyperparameter(name, "decay", decay, dtype, 0, 1)
    vector, centres = clean(embeddings, kept), weights[targets.values]
    centres = centres if weights.ndim == 3 else centres[..., None, :]
    inner = jnp.einsum("...d,...kd->...k", vector, centres, precision="highest", preferred_element_type=dtype)
    cosine = jnp.max(inner * inverse_length(centres, dtype), axis=-1) * inverse_length(vector, dtype)
    counted = targets.valid if kept is None else targets.valid & kept
    count = total(counted.astype(dtype), axis_name)
    mean = total(clean(cosine, counted), axis_name) / jnp.maximum(count, 1)
    mixed = share * state.cosine + (1 - share) * mean
    return Curriculum(jnp.where(count > 0, mixed, state.cosine).astype(jnp.result_type(state.cosine)))


def curricularface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: Integer[ArrayLike, "*batch"],
    state: Curriculum,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""CurricularFace: ArcFace whose hard negatives weigh little at first, and more as training goes on.

    $$
    -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s N(c_j)}}, \qquad
    N(c) = \begin{cases} c & c \le \cos(\theta_y + m) \\ c\,(t + c) & \text{otherwise} \end{cases}
    $$

    with t from `update_curriculum`. Past π the target's logit is that of `arcface_loss`.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`.
        state: The moving average t of the target cosines, from `update_curriculum` on this very batch.
        scale: Inverse temperature s of the softmax, positive.
        margin: Margin m in radians, in [0, π].
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, w, y = jnp.array([[1.0, 1.0]]), jnp.eye(2), jnp.array([0])
        >>> print(f"{curricularface_loss(x, w, y, curriculum(0.5), scale=4.0)[0]:.4f}")
        2.3847

    Source:
        Huang, Wang, Tai, Liu, Shen, Li, Li, Huang, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
        Recognition", 2020.
    """
    name = "curricularface_loss"
    problem = read(name, embeddings, weights, labels, scale, where, ids=True)
    cosine, dtype = problem.scores, problem.scores.dtype
    added = hyperparameter(name, "margin", margin, dtype, 0, jnp.pi)
    hard = cosine > shift_angle(problem.target, added)[..., None]
    others = jnp.where(hard, cosine * (lax.stop_gradient(jnp.asarray(state.cosine, dtype)) + cosine), cosine)
    return margin_softmax(problem, lambda target: add_angle(target, added), others=others)
