"""Updates of sets of particles: by scores and repulsion (Stein), or by outputs alone (ensemble Kalman)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._trees import wide


def svgd_direction(
    particles: Float[Array, "N D"], scores: Float[Array, "N D"], *, bandwidth: Any = None
) -> Float[Array, "N D"]:
    r"""The direction of Stein variational gradient descent: a kernel's mean of the scores, and repulsion.

    $$
    \phi(x_i) = \frac{1}{N} \sum_j \bigl[ k(x_j, x_i) \, s_j + \nabla_{x_j} k(x_j, x_i) \bigr], \qquad
    k(x, y) = e^{-\lVert x - y \rVert^2 / h}
    $$

    Adding a small multiple of it to the particles moves them towards the density whose score (gradient of the
    logarithm) at $x_j$ is $s_j$, as fast as any function of the kernel's space can. Of one particle it is the score.
    With scores $-\nabla f$ it searches for many minima of f at once, such as the points of a Pareto front.

    It costs two products of `[N, N]` with `[N, D]` and one of the particles with themselves; no `[N, N, D]` is formed.

    Args:
        particles: the particles x.
        scores: the scores s at the particles.
        bandwidth: h, above 0, in units of a squared distance. By default the squared median of the distances of
            distinct particles, divided by `log(N + 1)`, and 1 where that is 0; it is not differentiated.

    Returns:
        The direction, in the dtype of the particles; computed in float32 or wider.

    Raises:
        ValueError: arrays of other shapes, a bandwidth that is not above 0.

    Examples:
        Without scores, two particles move apart:

        >>> import jax.numpy as jnp
        >>> particles = jnp.array([[0.0], [1.0]])
        >>> direction = svgd_direction(particles, jnp.zeros((2, 1)), bandwidth=1.0)
        >>> [round(float(u), 3) for u in direction[:, 0]]
        [-0.368, 0.368]

    Source:
        Liu, Wang, "Stein Variational Gradient Descent: A General Purpose Bayesian Inference Algorithm" (2016); for sets
        of Pareto-optimal solutions Nguyen et al., "Improving Pareto Set Learning for Expensive Multi-objective
        Optimization via Stein Variational Hypernetworks" (2024).
    """
    particles, scores = jnp.asarray(particles), jnp.asarray(scores)
    if particles.ndim != 2 or particles.shape != scores.shape:
        raise ValueError(
            "svgd_direction: particles and scores must be of one shape [N, D], "
            f"got particles {particles.shape} and scores {scores.shape}"
        )
    check_range("svgd_direction", "bandwidth", bandwidth, 0.0, open_low=True)
    x, s = wide(particles), wide(scores)
    count = max(len(x), 1)
    x = _centred(x)  # the distances are differences of products
    squares = _squared_distances(x)
    h = lax.stop_gradient(_median_bandwidth(squares)) if bandwidth is None else bandwidth
    kernel = jnp.exp(-squares / h)
    attraction = jnp.dot(kernel, s, precision=lax.Precision.HIGHEST)
    spread = jnp.sum(kernel, axis=1, keepdims=True) * x - jnp.dot(kernel, x, precision=lax.Precision.HIGHEST)
    return ((attraction + 2.0 / h * spread) / count).astype(particles.dtype)


def _centred(x: Float[Array, "N D"]) -> Float[Array, "N D"]:
    """Less their mean; exactly 0 where all are alike."""
    shifted = x - x[:1]
    return shifted - jnp.sum(shifted, axis=0) / max(len(x), 1)


def _squared_distances(x: Float[Array, "N D"]) -> Float[Array, "N N"]:
    products = jnp.dot(x, x.T, precision=lax.Precision.HIGHEST)
    own = jnp.diagonal(products)
    return jnp.maximum(own[:, None] + own - 2.0 * products, 0.0)


def _median_bandwidth(squares: Float[Array, "N N"]) -> Array:
    count = len(squares)
    if count < 2:
        return jnp.ones((), squares.dtype)
    distances = jnp.sqrt(squares[jnp.triu_indices(count, 1)])
    bandwidth = jnp.median(distances) ** 2 / jnp.log(count + 1.0)
    return jnp.where(bandwidth > 0, bandwidth, 1.0)


def ensemble_kalman_step(
    particles: Float[Array, "J D"],
    outputs: Float[Array, "J M"],
    targets: Float[Array, " M"],
    *,
    noise_precision: Any = 1.0,
    scale: Any = 1.0,
) -> Float[Array, "J D"]:
    r"""A step of particles towards given outputs of a function of them, from its values alone: no derivative is taken.

    $$
    x_j \leftarrow x_j - \frac{\mathrm{scale}}{\lVert C \rVert_F} \sum_k C_{jk} (x_k - \bar x), \qquad
    C_{jk} = \frac{1}{J} \bigl\langle G(x_k) - \bar G, \ \Gamma^{-1} (G(x_j) - y) \bigr\rangle
    $$

    For a linear function of matrix A the sum is $\mathrm{Cov}_{xx} A^\top \Gamma^{-1} (A x_j - y)$: the gradient of
    half the squared misfit, preconditioned by the covariance of the particles; for others that is its best linear
    approximation over them. The particles stay in the affine span of those given. Particles that are all alike, outputs
    that are, and outputs that fit stay where they are.

    Args:
        particles: the particles x, such as noisy images or parameters of a model.
        outputs: the function's values G at the particles (in diffusion guidance, of their denoised estimates).
        targets: the outputs y wanted.
        noise_precision: the inverse variance of the noise of the targets, a number or `[M]`.
        scale: the length of the step, in units of the spread of the particles.

    Returns:
        The moved particles, in their own dtype; computed in float32 or wider.

    Raises:
        ValueError: arrays of other shapes, a negative precision.

    Examples:
        Particles 0 and 2 of the function 3x, wanted to be 9, move towards 3:

        >>> import jax.numpy as jnp
        >>> particles = jnp.array([[0.0], [2.0]])
        >>> moved = ensemble_kalman_step(particles, 3 * particles, jnp.array([9.0]))
        >>> [round(float(x), 3) for x in moved[:, 0]]
        [1.342, 2.447]

    Source:
        Zheng, Chu, Wang, Kovachki, Baptista, Yue, "Ensemble Kalman Diffusion Guidance: A Derivative-free Method for
        Inverse Problems" (2024).
    """
    particles, outputs, targets = map(jnp.asarray, (particles, outputs, targets))
    if particles.ndim != 2 or outputs.ndim != 2 or len(particles) != len(outputs):
        raise ValueError(
            "ensemble_kalman_step: particles and outputs must have shapes [J, D] and [J, M], "
            f"got particles {particles.shape} and outputs {outputs.shape}"
        )
    if targets.shape != outputs.shape[1:]:
        raise ValueError(f"ensemble_kalman_step: targets must have shape {outputs.shape[1:]}, got {targets.shape}")
    check_range("ensemble_kalman_step", "scale", scale)
    precision = _precision(noise_precision, targets)
    x, g = wide(particles), wide(outputs)
    count = max(len(x), 1)
    residuals = precision * (g - wide(targets))
    coefficients = jnp.dot(residuals, _centred(g).T, precision=lax.Precision.HIGHEST) / count
    largest = jnp.max(jnp.abs(coefficients), initial=0.0)
    unit = coefficients / jnp.where(largest == 0, 1.0, largest)  # its square neither vanishes nor overflows
    norm = jnp.linalg.norm(unit)
    unit = unit / jnp.where(largest == 0, 1.0, norm)
    step = jnp.dot(unit, _centred(x), precision=lax.Precision.HIGHEST)
    return (x - scale * step).astype(particles.dtype)


def _precision(noise_precision: Any, targets: Float[Array, " M"]) -> Any:
    if jnp.ndim(noise_precision) == 0:
        check_range("ensemble_kalman_step", "noise_precision", noise_precision, 0.0)
        return noise_precision
    if jnp.shape(noise_precision) != targets.shape:
        raise ValueError(
            f"ensemble_kalman_step: noise_precision must be a number or have shape {targets.shape}, "
            f"got {jnp.shape(noise_precision)}"
        )
    precision = jnp.asarray(noise_precision)
    if not isinstance(precision, jax.core.Tracer) and not bool(jnp.all(precision >= 0)):
        raise ValueError("ensemble_kalman_step: noise_precision must not be negative or NaN")
    return precision
