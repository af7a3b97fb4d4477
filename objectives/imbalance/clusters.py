"""Clusters of features, of which examples are likely or rare members."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_rank, clean, compute_dtype, floating, mask, prng_key, static_integer
from objectives._typing import Array, ArrayLike, Bool, Float


class KMeans(NamedTuple):
    """Clusters of examples.

    Attributes:
        centers: Centres of the clusters `[K, D]`.
        assignments: The cluster of every example `[N]`, integers; 0 for masked ones.
        inertia: Sum of the squared distances of the examples to their centres, a scalar.
    """

    centers: Array
    assignments: Array
    inertia: Array


def k_means(
    features: Float[ArrayLike, "examples features"],
    clusters: int,
    key: Array,
    *,
    iterations: int = 100,
    where: Bool[ArrayLike, " examples"] | None = None,
) -> KMeans:
    r"""k-means: clusters with small squared distances to their centres, for `cluster_likelihood`.

    $$
    \min_{c, a} \sum_i \lVert x_i - c_{a_i} \rVert^2
    $$

    Lloyd's iterations, until no example changes its cluster, from centres drawn one after the other with probability
    proportional to the squared distance to those that there are (k-means++). What is found depends on the key: of
    several (`jax.vmap` over keys) take the one of least inertia. Without gradients.

    Args:
        features: Features x `[N, D]`, those of a pretrained network for one.
        clusters: Number of clusters K.
        key: PRNG key.
        iterations: Most iterations, at least 1.
        where: Boolean mask of examples `[N]`; masked ones are in no cluster and may hold anything.

    Returns:
        The clusters, float32 (float64 for float64 features); a centre that no example is nearest to stays where it is.

    Raises:
        TypeError: If the features are not floating point, `key` is no PRNG key, a count no integer or `where` not
            boolean.
        ValueError: If shapes do not match or a count is less than 1.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> features = jnp.array([[0.0], [0.2], [9.0], [0.1]])
        >>> found = k_means(features, 2, jax.random.key(0))
        >>> print(f"{found.inertia:.4f}")
        0.0200

    Source:
        Lloyd, "Least Squares Quantization in PCM", 1982; Arthur, Vassilvitskii, "k-means++: The Advantages of Careful
        Seeding", 2007.
    """
    name = "k_means"
    array = floating(name, "features", features)
    check_rank(name, "features", array, 2, "[N, D]", 2)
    count, most = static_integer(name, "clusters", clusters), static_integer(name, "iterations", iterations)
    kept, dtype = mask(name, where, array.shape[:1]), compute_dtype(array)
    x = lax.stop_gradient(clean(array, kept).astype(dtype))
    weights = jnp.ones(len(x), dtype) if kept is None else kept.astype(dtype)
    prng_key(name, "key", key)
    if len(x) == 0:
        return KMeans(jnp.zeros((count, x.shape[1]), dtype), jnp.zeros(0, jnp.int32), jnp.zeros((), dtype))
    middle = weights @ x / jnp.maximum(jnp.sum(weights), 1)  # distances are taken around it, so that little cancels
    x = jnp.where(weights[:, None] > 0, x - middle, 0)
    lengths = jnp.sum(x * x, axis=-1)

    def squared_distances(centers: Array) -> Array:
        products = jnp.matmul(x, centers.T, precision=lax.Precision.HIGHEST)
        return jnp.maximum(lengths[:, None] - 2 * products + jnp.sum(centers * centers, axis=-1), 0)

    def seed(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        centers, nearest = state
        far = jnp.where(jnp.isinf(nearest), 1, nearest)  # no distances before the first centre
        odds = weights * jnp.where(jnp.any(weights * far > 0), far, 1)
        drawn = x[jax.random.categorical(jax.random.fold_in(key, index), jnp.log(odds))]
        return centers.at[index].set(drawn), jnp.minimum(nearest, jnp.sum((x - drawn) ** 2, axis=-1))

    start = jnp.zeros((count, x.shape[1]), dtype), jnp.full(len(x), jnp.inf, dtype)
    centers = lax.fori_loop(0, count, seed, start)[0]

    def unsettled(state: tuple[Array, Array, Array, Array]) -> Array:
        return state[3] & (state[2] < most)

    def improve(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        centers, assignments, step, _ = state
        sums = jax.ops.segment_sum(weights[:, None] * x, assignments, count)
        sizes = jax.ops.segment_sum(weights, assignments, count)[:, None]
        centers = jnp.where(sizes > 0, sums / jnp.maximum(sizes, 1), centers)
        nearest = jnp.argmin(squared_distances(centers), axis=-1).astype(jnp.int32)
        return centers, nearest, step + 1, jnp.any((nearest != assignments) & (weights > 0))

    nearest = jnp.argmin(squared_distances(centers), axis=-1).astype(jnp.int32)
    state = centers, nearest, jnp.zeros((), jnp.int32), jnp.ones((), bool)
    centers, assignments, _, _ = lax.while_loop(unsettled, improve, state)
    inertia = jnp.sum(weights * jnp.sum((x - centers[assignments]) ** 2, axis=-1))
    return KMeans(centers + middle, jnp.where(weights > 0, assignments, 0), inertia)
