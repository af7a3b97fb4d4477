"""Losses of cosines without a softmax: SFace's sigmoid weights, and the symmetry of two halves of a face."""

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_rank,
    check_same_shape,
    clean,
    compute_dtype,
    finish,
    floating,
    hyperparameter,
    is_class,
    mask,
    real,
)
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Real, Scalar
from objectives.margin._equation import angle, inverse_length, length, read


def sface_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    weights: Float[ArrayLike, "classes features"] | Float[ArrayLike, "classes centres features"],
    labels: ClassLabels,
    *,
    scale: Scalar = 64.0,
    slope: Scalar = 80.0,
    intra_angle: Scalar = 0.8,
    inter_angle: Scalar = 1.23,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""SFace: cosines pulled to the target's class and pushed from the others, by sigmoids of their angles.

    $$
    -[r_\mathrm{in}(\theta_y)] \cos\theta_y + \sum_{j \ne y} [r_\mathrm{out}(\theta_j)] \cos\theta_j, \qquad
    r_\mathrm{in}(\theta) = \frac{s}{1 + e^{-k (\theta - a)}}, \quad
    r_\mathrm{out}(\theta) = \frac{s}{1 + e^{k (\theta - b)}}
    $$

    where the brackets have no gradient. An example nearer than the angle a to its class is pulled no further, which
    does not fit wrong labels to the end; a class farther than b is left alone. Values may be negative.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        weights: Class weights `[C, D]`, or K sub-centres for every class `[C, K, D]`, of any length.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        scale: Largest pull s, positive.
        slope: Slope k of the sigmoids, positive.
        intra_angle: Angle a in radians under which the pull ceases, in [0, π]; the authors' code has 0.8, and 0.87 for
            CASIA-WebFace.
        inter_angle: Angle b in radians over which the push ceases, in [0, π]; 1.23 there, and 1.2.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or weights are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{sface_loss(jnp.array([[1.0, 1.0]]), jnp.eye(2), jnp.array([0]), slope=10.0)[0]:.4f}")
        23.7520

    Source:
        Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face
        Recognition", 2021.
    """
    name = "sface_loss"
    problem = read(name, embeddings, weights, labels, scale, where)
    cosine, dtype = problem.scores, problem.scores.dtype
    steep = hyperparameter(name, "slope", slope, dtype, 0, open_low=True)
    near = hyperparameter(name, "intra_angle", intra_angle, dtype, 0, jnp.pi)
    far = hyperparameter(name, "inter_angle", inter_angle, dtype, 0, jnp.pi)
    theta = angle(cosine)
    pull, push = (lax.stop_gradient(jax.nn.sigmoid(x)) for x in (steep * (theta - near), steep * (far - theta)))
    if problem.labels.are_ids:
        forces = jnp.where(is_class(problem.labels.values, cosine.shape[-1]), -pull, push)
    else:
        forces = (1 - problem.labels.values) * push - problem.labels.values * pull
    return finish(problem.scale * jnp.sum(forces * cosine, axis=-1), problem.where, problem.labels.valid)


def symmetry_loss(
    left_embeddings: Float[ArrayLike, "*batch features"],
    right_embeddings: Float[ArrayLike, "*batch features"],
    *,
    distance: str = "cosine",
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Symmetry of faces: the two halves of one image, the right one mirrored, should have the same embedding.

    $$
    1 - \cos(l, r) \qquad \text{or} \qquad \lVert l - r \rVert
    $$

    It is added, with a weight, to the loss of the whole image (ArcFace, AdaFace); `mirrored_halves` makes the halves.
    The paper gives it to faces seen from the front alone: mask the others.

    Args:
        left_embeddings: Embeddings of the left halves `[..., D]`.
        right_embeddings: Embeddings of the mirrored right halves `[..., D]`.
        distance: "cosine", in [0, 2] and blind to lengths (1 for a vector without direction), or "euclidean".
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the embeddings are not floating point or `where` is not boolean.
        ValueError: If shapes differ, or there is no such distance.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{symmetry_loss(jnp.array([[3.0, 4.0]]), jnp.array([[4.0, 3.0]]))[0]:.4f}")
        0.0400

    Source:
        Prakash, Jerripothula, Sam, Singh, Umamaheswaran, "SymFace: Additional Facial Symmetry Loss for Deep Face
        Recognition", 2024.
    """
    name = "symmetry_loss"
    left, right = (
        floating(name, "left_embeddings", left_embeddings),
        floating(name, "right_embeddings", right_embeddings),
    )
    check_rank(name, "left_embeddings", left, 1, "[..., D]")
    check_same_shape(name, "right_embeddings", right, "left_embeddings", left)
    if distance not in ("cosine", "euclidean"):
        raise ValueError(f"{name}: distance must be 'cosine' or 'euclidean', got {distance!r}")
    kept, dtype = mask(name, where, left.shape[:-1]), compute_dtype(left, right)
    left, right = clean(left, kept).astype(dtype), clean(right, kept).astype(dtype)
    if distance == "euclidean":
        return finish(length(left - right, dtype), kept)
    inner = jnp.sum(left * right, axis=-1)
    return finish(1 - inner * inverse_length(left, dtype) * inverse_length(right, dtype), kept)


def mirrored_halves(images: Real[ArrayLike, "*batch height width channels"]) -> tuple[Array, Array]:
    """The left half of each image, and the right half mirrored, so that a symmetric image gives the same twice.

    Args:
        images: Images `[..., H, W, C]`; the column in the middle of an odd width belongs to both halves.

    Returns:
        Two images `[..., H, ceil(W / 2), C]`, of the dtype of the images, to resize or pad to what the network takes.

    Raises:
        TypeError: If the images are not real numbers.
        ValueError: If there are fewer than three axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> left, right = mirrored_halves(jnp.arange(4.0).reshape(1, 4, 1))
        >>> print(left[0, :, 0], right[0, :, 0])
        [0. 1.] [3. 2.]

    Source:
        Prakash, Jerripothula, Sam, Singh, Umamaheswaran, "SymFace: Additional Facial Symmetry Loss for Deep Face
        Recognition", 2024.
    """
    images = real("mirrored_halves", "images", images)
    check_rank("mirrored_halves", "images", images, 3, "[..., H, W, C]")
    half = -(-images.shape[-2] // 2)
    return images[..., :half, :], jnp.flip(images, axis=-2)[..., :half, :]
