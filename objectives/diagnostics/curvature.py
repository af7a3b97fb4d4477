"""The spectrum of the Hessian of a loss, from products of it with vectors (stochastic Lanczos quadrature)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from objectives._inputs import check_callable, check_rank, floating, hyperparameter, prng_key, static_integer
from objectives._typing import Array, ArrayLike, Float, Scalar


class HessianSpectrum(NamedTuple):
    """A Hessian's spectrum as a quadrature: `weights` of the eigenvalues lie at `nodes`.

    Attributes:
        smallest: The smallest Ritz value, which is at least the smallest eigenvalue.
        largest: The largest Ritz value, which is at most the largest eigenvalue.
        nodes: Ritz values of every probe, ascending, `[probes, steps]`.
        weights: Their weights `[probes, steps]`, which sum to 1 for every probe.
    """

    smallest: Array
    largest: Array
    nodes: Array
    weights: Array


def hessian_spectrum(
    loss_fn: Callable[[Any], Array], params: Any, *, key: Array, probes: int = 1, steps: int = 30
) -> HessianSpectrum:
    r"""The spectrum of the Hessian of a loss by Lanczos' method with full reorthogonalisation.

    $$
    \frac{1}{P} \operatorname{tr} f(H) \approx
    \frac{1}{R} \sum_r \sum_k \omega_{rk} f(\lambda_{rk})
    $$

    A probe takes `steps` Hessian-vector products, each the cost of about two gradients, and the memory of `steps`
    copies of the parameters. With as many steps as parameters the nodes are the eigenvalues.

    Args:
        loss_fn: Loss as a function of the parameters alone.
        params: Tree of parameters.
        key: PRNG key of the probes.
        probes: Number R of random start vectors.
        steps: Number of Lanczos steps; at most as many as there are parameters are taken.

    Returns:
        The spectrum, at least in float32. `smallest / largest` measures how far from convex the loss is.

    Raises:
        TypeError: If `loss_fn` is no function, `key` no PRNG key or a number no integer.
        ValueError: If a number is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda x: 0.5 * (3.0 * x[0] ** 2 - x[1] ** 2)
        >>> spectrum = hessian_spectrum(loss_fn, jnp.zeros(2), key=jax.random.key(0))
        >>> print(f"{spectrum.smallest:.4f} {spectrum.largest:.4f}")
        -1.0000 3.0000

    Source:
        Ghorbani, Krishnan, Xiao, "An Investigation into Neural Net Optimization via Hessian Eigenvalue Density", 2019.
    """
    name = "hessian_spectrum"
    check_callable(name, "loss_fn", loss_fn, "(params) -> loss")
    return _spectrum(name, loss_fn, params, key, probes, steps)


def classwise_hessian_spectrum(
    loss_fn: Callable[[Any, Any], Array], params: Any, data: Any, *, key: Array, probes: int = 1, steps: int = 30
) -> HessianSpectrum:
    r"""The spectrum of the Hessian of every class's own loss, as in `hessian_spectrum`.

    $$
    H_c = \nabla^2_\theta\, L(\theta; \text{examples of class } c)
    $$

    With re-weighted losses the rare classes settle at saddles: their smallest eigenvalue is far below 0 after gradient
    descent and near 0 after sharpness-aware minimisation, while the mean loss shows neither.

    Args:
        loss_fn: Loss as a function of parameters and the data of one class.
        params: Tree of parameters.
        data: Tree of arrays with a first axis of classes `[C, ...]`: equally many examples of each (a mask among the
            data allows for fewer).
        key: PRNG key of the probes, the same for all classes.
        probes: Number of random start vectors.
        steps: Number of Lanczos steps; at most as many as there are parameters are taken.

    Returns:
        The spectra, at least in float32, every field with a first axis of classes.

    Raises:
        TypeError: If `loss_fn` is no function, `key` no PRNG key or a number no integer.
        ValueError: If a number is less than 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda x, scale: 0.5 * scale * jnp.sum(x**2)
        >>> spectra = classwise_hessian_spectrum(loss_fn, jnp.ones(3), jnp.array([1.0, -2.0]), key=jax.random.key(0))
        >>> print(f"{spectra.smallest[0]:.4f} {spectra.smallest[1]:.4f}")
        1.0000 -2.0000

    Source:
        Rangwani, Aithal, Mishra, Babu, "Escaping Saddle Points for Effective Generalization on Class-Imbalanced Data",
        2022.
    """
    name = "classwise_hessian_spectrum"
    check_callable(name, "loss_fn", loss_fn, "(params, data) -> loss")

    def of_class(examples: Any) -> HessianSpectrum:
        return _spectrum(name, lambda at: loss_fn(at, examples), params, key, probes, steps)

    return lax.map(of_class, data)


def spectral_density(
    spectrum: HessianSpectrum, points: Float[ArrayLike, " points"], *, width: Scalar
) -> Float[Array, " points"]:
    r"""Density of the eigenvalues at some points: the spectrum's nodes, smoothed by a Gaussian.

    $$
    \frac{1}{R} \sum_r \sum_k \omega_{rk}\, \mathcal N(t; \lambda_{rk}, \sigma^2)
    $$

    Args:
        spectrum: From `hessian_spectrum`.
        points: Points t `[N]`.
        width: Standard deviation σ, positive, in the units of the eigenvalues.

    Returns:
        Densities `[N]`, at least in float32, of integral 1.

    Raises:
        TypeError: If the points are not floating point.
        ValueError: If they are no vector or `width` is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> spectrum = hessian_spectrum(lambda x: jnp.sum(x**2), jnp.zeros(2), key=jax.random.key(0))
        >>> print(f"{spectral_density(spectrum, jnp.array([2.0]), width=1.0)[0]:.4f}")
        0.3989

    Source:
        Ghorbani, Krishnan, Xiao, "An Investigation into Neural Net Optimization via Hessian Eigenvalue Density", 2019.
    """
    name = "spectral_density"
    at = floating(name, "points", points)
    check_rank(name, "points", at, 1, "[N]", 1)
    nodes = spectrum.nodes.reshape(-1)
    width = hyperparameter(name, "width", width, nodes.dtype, 0, open_low=True)
    mass = spectrum.weights.reshape(-1) / spectrum.weights.shape[0]
    deviations = (at.astype(nodes.dtype)[:, None] - nodes) / width
    return jnp.sum(mass * jnp.exp(-0.5 * deviations**2), axis=-1) / (width * jnp.sqrt(2 * jnp.pi).astype(nodes.dtype))


def _spectrum(
    function: str, loss_fn: Callable[[Any], Array], params: Any, key: Array, probes: int, steps: int
) -> HessianSpectrum:
    """Lanczos from every probe, one after the other."""
    number, most = static_integer(function, "probes", probes), static_integer(function, "steps", steps)
    keys = jax.random.split(prng_key(function, "key", key), number)
    flat, unravel = ravel_pytree(params)
    dtype = jnp.promote_types(flat.dtype, jnp.float32)
    gradient = jax.grad(lambda vector: loss_fn(unravel(vector)).astype(dtype))

    def product(vector: Array) -> Array:
        return jax.jvp(gradient, (flat,), (vector.astype(flat.dtype),))[1].astype(dtype)

    nodes, weights = lax.map(lambda one: _lanczos(product, one, flat.size, min(most, flat.size), dtype), keys)
    return HessianSpectrum(jnp.min(nodes), jnp.max(nodes), nodes, weights)


def _lanczos(
    product: Callable[[Array], Array], key: Array, size: int, steps: int, dtype: jnp.dtype
) -> tuple[Array, Array]:
    """Ritz values and the squares of the first components of their vectors.

    Where the Krylov space is exhausted the next vector is a random one orthogonal to it: the matrix falls into blocks.
    """

    def fresh(step: Array, basis: Array) -> Array:
        vector = _orthogonalize(jax.random.normal(jax.random.fold_in(key, step), (size,), dtype), basis)
        return vector / jnp.linalg.norm(vector)

    def advance(
        carry: tuple[Array, Array, Array], step: Array
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        basis, vector, scale = carry
        basis = basis.at[step].set(vector)
        image = product(vector)
        diagonal = vector @ image
        rest = _orthogonalize(image, basis)
        length = jnp.linalg.norm(rest)
        scale = jnp.maximum(scale, jnp.linalg.norm(image))
        exhausted = length <= 100 * jnp.finfo(dtype).eps * scale
        following = jnp.where(exhausted, fresh(step + 1, basis), rest / jnp.where(exhausted, 1, length))
        return (basis, following, scale), (diagonal, jnp.where(exhausted, 0, length))

    empty = jnp.zeros((steps, size), dtype)
    start = (empty, fresh(jnp.zeros((), jnp.int32), empty), jnp.zeros((), dtype))
    _, (diagonal, beside) = lax.scan(advance, start, jnp.arange(steps))
    matrix = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
    nodes, vectors = jnp.linalg.eigh(matrix)
    return nodes, vectors[0] ** 2


def _orthogonalize(vector: Array, basis: Array) -> Array:
    """The part of a vector that is orthogonal to the rows of the basis; twice, for rounding."""
    for _ in range(2):
        along = jnp.matmul(basis, vector, precision=lax.Precision.HIGHEST)
        vector = vector - jnp.matmul(along, basis, precision=lax.Precision.HIGHEST)
    return vector
