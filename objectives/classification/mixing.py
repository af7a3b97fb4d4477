"""Mixing of examples and their labels: convex combinations (mixup) and pasted boxes (CutMix)."""

import jax
import jax.numpy as jnp

from objectives._inputs import (
    check_rank,
    class_labels,
    compute_dtype,
    describe,
    expand,
    floating,
    hyperparameter,
    is_class,
    prng_key,
    static_integer,
)
from objectives._typing import Array, ArrayLike, Bool, Float, Integer, Real, Scalar


def mixup(
    key: Array,
    inputs: Float[ArrayLike, "batch ..."],
    labels: Integer[ArrayLike, " batch"] | Real[ArrayLike, "batch classes"] | Bool[ArrayLike, "batch classes"],
    *,
    classes: int,
    alpha: Scalar = 0.2,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch classes"]]:
    r"""Mixup: every example, and its label, mixed with another one's in a random proportion.

    $$
    \tilde x_i = \lambda x_i + (1 - \lambda) x_{\pi(i)}, \quad \tilde q_i = \lambda q_i + (1 - \lambda) q_{\pi(i)},
    \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)
    $$

    with one λ and one permutation π a batch, as the authors do. The labels go to any loss that takes probabilities.

    Args:
        key: PRNG key.
        inputs: Examples `[B, ...]`.
        labels: Class ids `[B]`, or probabilities (one-hot included) `[B, C]`.
        classes: Number of classes C.
        alpha: Parameter of the beta distribution, positive; 1 is uniform, small values mix little.

    Returns:
        The mixed inputs, in their dtype, and labels `[B, C]`, float32 (float64 for float64 inputs); the labels are NaN
        where a class id is out of range.

    Raises:
        TypeError: If the inputs are not floating point, class ids or `classes` not integers, or `key` no PRNG key.
        ValueError: If shapes do not match or `alpha` is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, q = mixup(jax.random.key(0), jnp.array([[0.0], [1.0]]), jnp.array([0, 1]), classes=2)
        >>> print(f"{jnp.max(jnp.abs(x[:, 0] - q[:, 1])):.4f}")
        0.0000

    Source:
        Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    examples, targets, alpha = _read("mixup", inputs, labels, classes, alpha)
    of_share, of_order = jax.random.split(prng_key("mixup", "key", key))
    share = jax.random.beta(of_share, alpha, alpha, dtype=targets.dtype)
    order = jax.random.permutation(of_order, len(examples))
    mixed = share * examples.astype(targets.dtype) + (1 - share) * examples[order].astype(targets.dtype)
    return mixed.astype(examples.dtype), share * targets + (1 - share) * targets[order]


def cutmix(
    key: Array,
    images: Float[ArrayLike, "batch height width *channels"],
    labels: Integer[ArrayLike, " batch"] | Real[ArrayLike, "batch classes"] | Bool[ArrayLike, "batch classes"],
    *,
    classes: int,
    alpha: Scalar = 1.0,
) -> tuple[Float[Array, "batch height width *channels"], Float[Array, "batch classes"]]:
    r"""CutMix: a random box of every image replaced by another image's, and the labels mixed by area.

    $$
    \tilde x_i = M \odot x_i + (1 - M) \odot x_{\pi(i)}, \quad \tilde q_i = \lambda' q_i + (1 - \lambda') q_{\pi(i)}
    $$

    The sides of the box are the square root of 1 - λ of the image's, λ ~ Beta(α, α), and its centre is anywhere in the
    image, so that it may be clipped; λ' is the share of the image that is left of x_i. One box and one permutation a
    batch, as the authors do.

    Args:
        key: PRNG key.
        images: Images `[B, H, W, ...]`, channels last if there are any.
        labels: Class ids `[B]`, or probabilities (one-hot included) `[B, C]`.
        classes: Number of classes C.
        alpha: Parameter of the beta distribution, positive; 1 is uniform.

    Returns:
        The mixed images, in their dtype, and labels `[B, C]`, float32 (float64 for float64 images); the labels are NaN
        where a class id is out of range.

    Raises:
        TypeError: If the images are not floating point, class ids or `classes` not integers, or `key` no PRNG key.
        ValueError: If shapes do not match or `alpha` is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> images = jnp.stack([jnp.zeros((8, 8)), jnp.ones((8, 8))])
        >>> x, q = cutmix(jax.random.key(0), images, jnp.array([0, 1]), classes=2)
        >>> print(f"{jnp.max(jnp.abs(x.mean((1, 2)) - q[:, 1])):.4f}")
        0.0000

    Source:
        Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
        Features", 2019.
    """
    pictures, targets, alpha = _read("cutmix", images, labels, classes, alpha)
    check_rank("cutmix", "images", pictures, 3, "[B, H, W, ...]")
    of_share, of_order, of_row, of_column = jax.random.split(prng_key("cutmix", "key", key), 4)
    side = jnp.sqrt(1 - jax.random.beta(of_share, alpha, alpha, dtype=targets.dtype))
    order = jax.random.permutation(of_order, len(pictures))

    def inside(key: Array, size: int) -> Array:
        centre, half = jax.random.randint(key, (), 0, size), (side * size).astype(jnp.int32) // 2
        return (jnp.arange(size) >= centre - half) & (jnp.arange(size) < centre + half)

    box = inside(of_row, pictures.shape[1])[:, None] & inside(of_column, pictures.shape[2])
    mixed = jnp.where(expand(box, pictures.ndim - 1), pictures[order], pictures)
    share = 1 - jnp.mean(box.astype(targets.dtype))
    return mixed, share * targets + (1 - share) * targets[order]


def _read(
    function: str, inputs: ArrayLike, labels: ArrayLike, classes: int, alpha: Scalar
) -> tuple[Array, Array, Scalar]:
    """Checked inputs, labels as probabilities, and the beta distribution's parameter."""
    examples = floating(function, "images" if function == "cutmix" else "inputs", inputs)
    if examples.ndim == 0:
        raise ValueError(f"{function}: inputs must have shape [B, ...], got {describe(examples)}")
    dtype = compute_dtype(examples)
    targets = class_labels(function, labels, (len(examples), static_integer(function, "classes", classes)), dtype)
    alpha = hyperparameter(function, "alpha", alpha, dtype, 0, open_low=True)
    if targets.valid is None:
        return examples, targets.values, alpha
    one_hot = is_class(targets.values, classes).astype(dtype)
    return examples, jnp.where(targets.valid[:, None], one_hot, jnp.nan), alpha
