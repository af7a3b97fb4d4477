"""ElasticFace: margins drawn anew for every example."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._batch import gather
from objectives._inputs import hyperparameter, prng_key
from objectives._typing import Array, ArrayLike, AxisName, Bool, ClassLabels, Float, Scalar
from objectives.margin._equation import Problem, add_angle, margin_softmax, read


def elastic_arcface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    key: Array,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.5,
    std: Scalar = 0.0125,
    plus: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""ElasticFace-Arc: ArcFace with a margin drawn anew for every example and step.

    $$
    -\log \frac{e^{s \cos(\theta_y + m_i)}}{e^{s \cos(\theta_y + m_i)} + \sum_{j \ne y} e^{s \cos\theta_j}},
    \qquad m_i \sim \mathcal N(m, \sigma^2)
    $$

    With `plus` the draws of the batch are handed out by difficulty: the farther an example is from its class, the
    larger its margin. (The authors' code indexes the sorted draws by the sorting permutation instead of its inverse;
    this is the paper's assignment.) Past π the target's logit goes on as in `arcface_loss`.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        key: Typed PRNG key of the draws.
        scale: Inverse temperature s of the softmax, positive.
        margin: Mean m of the margin in radians, in [0, π].
        std: Standard deviation σ of the margin, at least 0; the paper takes 0.0175 with `plus`.
        plus: Whether the draws are handed out by difficulty, which couples the batch and wants class ids.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; losses and gradients are then
            those of the global batch.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w, y = jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0])
        >>> print(f"{elastic_arcface_loss(x, w, y, jax.random.key(0), scale=4.0, std=0.0)[0]:.4f}")
        0.0294

    Source:
        Boutros, Damer, Kirchbuchner, Kuijper, "ElasticFace: Elastic Margin Loss for Deep Face Recognition", 2022.
    """
    name = "elastic_arcface_loss"
    problem = read(name, embeddings, weights, labels, scale, where)
    mean = hyperparameter(name, "margin", margin, problem.scores.dtype, 0, jnp.pi)
    drawn = _draw(name, problem, key, mean, std, plus, axis_name)
    return margin_softmax(problem, lambda cosine: _add_signed_angle(cosine, drawn))


def elastic_cosface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    key: Array,
    *,
    scale: Scalar = 64.0,
    margin: Scalar = 0.35,
    std: Scalar = 0.0125,
    plus: bool = False,
    where: Bool[ArrayLike, "*batch"] | None = None,
    axis_name: AxisName = None,
) -> Float[Array, "*batch"]:
    r"""ElasticFace-Cos: CosFace with a margin drawn anew for every example and step.

    $$
    -\log \frac{e^{s (\cos\theta_y - m_i)}}{e^{s (\cos\theta_y - m_i)} + \sum_{j \ne y} e^{s \cos\theta_j}},
    \qquad m_i \sim \mathcal N(m, \sigma^2)
    $$

    `plus` is that of `elastic_arcface_loss`.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        key: Typed PRNG key of the draws.
        scale: Inverse temperature s of the softmax, positive.
        margin: Mean m of the margin, at least 0.
        std: Standard deviation σ of the margin, at least 0; the paper takes 0.025 with `plus`.
        plus: Whether the draws are handed out by difficulty, which couples the batch and wants class ids.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.
        axis_name: Mapped axis or axes over which the batch is split, under `shard_map`; losses and gradients are then
            those of the global batch.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, w, y = jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0])
        >>> print(f"{elastic_cosface_loss(x, w, y, jax.random.key(0), scale=4.0, std=0.0)[0]:.4f}")
        0.0716

    Source:
        Boutros, Damer, Kirchbuchner, Kuijper, "ElasticFace: Elastic Margin Loss for Deep Face Recognition", 2022.
    """
    name = "elastic_cosface_loss"
    problem = read(name, embeddings, weights, labels, scale, where)
    mean = hyperparameter(name, "margin", margin, problem.scores.dtype, 0)
    drawn = _draw(name, problem, key, mean, std, plus, axis_name)
    return margin_softmax(problem, lambda cosine: cosine - drawn)


def _add_signed_angle(cosine: Array, shift: Array) -> Array:
    """`add_angle` for a shift of either sign, by symmetry about a right angle."""
    sign = jnp.where(shift < 0, -1, 1)
    return sign * add_angle(sign * cosine, jnp.minimum(jnp.abs(shift), jnp.pi))


def _draw(
    function: str,
    problem: Problem,
    key: Array,
    mean: Scalar,
    std: Scalar,
    plus: bool,
    axis_name: AxisName,
) -> Array:
    """Margins `[..., 1]`, one an example of the global batch; with `plus`, larger for smaller target cosines."""
    key, shape = prng_key(function, "key", key), problem.lengths.shape
    spread = hyperparameter(function, "std", std, problem.scores.dtype, 0)
    if plus and not problem.labels.are_ids:
        raise ValueError(f"{function}: labels must be class ids {list(shape)} where plus is True, got probabilities")
    size = problem.lengths.size
    shards = 1 if axis_name is None else lax.axis_size(axis_name)
    noise = jax.random.normal(key, (shards * size,), problem.scores.dtype)
    if plus:
        kept = problem.kept.reshape(-1)
        cosine = jnp.where(kept, lax.stop_gradient(problem.target).reshape(-1), -jnp.inf)
        cosine, kept = gather(cosine, axis_name), gather(kept, axis_name)
        ascending = jnp.sort(jnp.where(kept, noise, jnp.inf))
        order = jnp.argsort(-cosine)
        noise = jnp.where(kept, jnp.zeros_like(ascending).at[order].set(ascending), 0)
    if axis_name is not None:
        noise = lax.dynamic_slice_in_dim(noise, lax.axis_index(axis_name) * size, size)
    return (mean + spread * noise).reshape(shape)[..., None]
