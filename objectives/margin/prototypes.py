"""Classes at fixed directions: equiangular basis vectors, made once and never trained."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from objectives._inputs import floating, hyperparameter, prng_key
from objectives._numerics import unit_vectors
from objectives._typing import Array, ArrayLike, Bool, ClassLabels, Float, Scalar
from objectives.margin._equation import margin_softmax, read

BLOCK = 1024
"""Rows of the cosine matrix that are held at a time."""
TOLERANCE = 1e-4
"""How far a cosine may exceed its bound."""


def equiangular_basis_vectors(
    key: Array,
    classes: int,
    features: int,
    *,
    max_cosine: float,
    steps: int = 10_000,
    learning_rate: float = 1e-2,
) -> tuple[Float[Array, "classes features"], Float[Array, ""]]:
    r"""Unit vectors for classes, any two of them nearly orthogonal, though there may be more classes than features.

    $$
    \lvert \langle w_i, w_j \rangle \rvert \le \alpha \quad (i \ne j)
    $$

    Random unit vectors descend $\sum_{i \ne j} \max(\lvert\langle w_i, w_j\rangle\rvert - \alpha, 0)$ and are
    normalised again, until no pair exceeds α by more than 1e-4 or the steps run out. The cosines are formed a thousand
    rows at a time.

    Args:
        key: Typed PRNG key of the first vectors.
        classes: Number of vectors K.
        features: Their dimension D.
        max_cosine: The bound α, in (0, 1]; at least the Welch bound $\sqrt{(K - D) / (D (K - 1))}$, below which
            there is nothing to find. Near it the search is long.
        steps: Largest number of steps.
        learning_rate: Length of a step, positive.

    Returns:
        The vectors `[K, D]`, float32, and the largest absolute cosine of two of them, to be compared with α.

    Raises:
        TypeError: If `key` is no PRNG key, or a number is not one.
        ValueError: If a number is out of range, or α below the Welch bound.

    Examples:
        >>> import jax
        >>> basis, largest = equiangular_basis_vectors(jax.random.key(0), 20, 12, max_cosine=0.35)
        >>> print(basis.shape, bool(largest < 0.351))
        (20, 12) True

    Source:
        Shen, Sun, Wei, "Equiangular Basis Vectors", 2023.
    """
    name = "equiangular_basis_vectors"
    key = prng_key(name, "key", key)
    for argument, number in (("classes", classes), ("features", features), ("steps", steps)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"{name}: {argument} must be an integer, got {type(number).__name__}")
        if number < 1:
            raise ValueError(f"{name}: {argument} must be at least 1, got {number}")
    for argument, real in (("max_cosine", max_cosine), ("learning_rate", learning_rate)):
        if isinstance(real, jax.core.Tracer) or not isinstance(real, int | float | np.number | jax.Array):
            raise TypeError(f"{name}: {argument} must be a number that is not traced, got {type(real).__name__}")
    welch = math.sqrt(max(classes - features, 0) / (features * max(classes - 1, 1)))
    bound = float(hyperparameter(name, "max_cosine", max_cosine, np.dtype(np.float32), max(welch, 1e-6), 1))
    rate = float(hyperparameter(name, "learning_rate", learning_rate, np.dtype(np.float32), 0, open_low=True))
    block = min(BLOCK, classes)
    rows = jnp.arange(-(-classes // block) * block).reshape(-1, block)

    def violations(basis: Array) -> tuple[Array, Array]:
        """The largest cosine of two vectors, and the gradient with respect to each."""

        def of_rows(indices: Array) -> tuple[Array, Array]:
            cosine = jnp.matmul(basis.at[indices].get(mode="clip"), basis.T, precision=lax.Precision.HIGHEST)
            other = (indices[:, None] != jnp.arange(classes)) & (indices[:, None] < classes)
            size = jnp.where(other, jnp.abs(cosine), 0)
            return jnp.max(size), jnp.matmul(jnp.where(size > bound, jnp.sign(cosine), 0), basis)

        largest, gradients = lax.map(of_rows, rows)
        return jnp.max(largest), 2 * gradients.reshape(-1, features)[:classes]

    def search(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        basis, step, _, gradient = state
        basis = unit_vectors(basis - rate * gradient)
        return basis, step + 1, *violations(basis)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[2] > bound + TOLERANCE) & (state[1] < steps)

    start = unit_vectors(jax.random.normal(key, (classes, features)))
    basis, _, largest, _ = lax.while_loop(unfinished, search, (start, jnp.zeros((), jnp.int32), *violations(start)))
    return basis, largest


def equiangular_basis_loss(
    embeddings: Float[ArrayLike, "*batch features"],
    basis: Float[ArrayLike, "classes features"],
    labels: ClassLabels,
    *,
    temperature: Scalar = 0.07,
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Softmax of the cosines to fixed class vectors; nothing is trained but the embedding.

    $$
    -\log \frac{e^{\cos\theta_y / \tau}}{\sum_j e^{\cos\theta_j / \tau}}
    $$

    No gradient reaches the basis. To predict, take the class of the largest inner product with it.

    Args:
        embeddings: Embeddings `[..., D]`, of any length.
        basis: Class vectors `[C, D]`, from `equiangular_basis_vectors`.
        labels: Class ids `[...]`, or probabilities (one-hot included) `[..., C]`, which mean the expected loss.
        temperature: Temperature τ, positive.
        where: Boolean mask `[...]`; a masked entry has loss 0 and gradient 0 and may hold anything.

    Returns:
        Losses `[...]` in nats, float32 (float64 for float64 inputs); NaN where a class id is out of range.

    Raises:
        TypeError: If embeddings or basis are not floating point, class ids not integers or `where` not boolean.
        ValueError: If shapes do not match or a hyperparameter is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = equiangular_basis_loss(jnp.array([[2.0, 0.0]]), jnp.eye(2), jnp.array([0]), temperature=0.5)
        >>> print(f"{loss[0]:.4f}")
        0.1269

    Source:
        Shen, Sun, Wei, "Equiangular Basis Vectors", 2023.
    """
    name = "equiangular_basis_loss"
    basis = lax.stop_gradient(floating(name, "basis", basis))
    problem = read(name, embeddings, basis, labels, 1.0, where, rank=2, weights_name="basis")
    temperature = hyperparameter(name, "temperature", temperature, problem.scores.dtype, 0, open_low=True)
    return margin_softmax(problem._replace(scale=1 / temperature), lambda cosine: cosine)
