"""Kullback-Leibler losses of normalizing flows with path gradients.

The gradient of a KL divergence between a flow q and a target p splits into a path through the samples and the score of
q, which is 0 on average and noise otherwise. Only the path is kept: with the parameters inside `log q` held fixed, the
force on a sample x,

    G = ∇_x (log q(x) + S(x)),    p(x) = exp(-S(x)) / Z,

pulled back through the flow x = g(z). Where q is p the force is 0 at each sample, and so is the gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import check_callable, check_rank, compute_dtype, describe, floating
from objectives._typing import Array, ArrayLike, Float

Forward = Callable[[Any, Array], Array]
LogProb = Callable[[Any, Array], Array]
Energy = Callable[[Array], Array]


def path_gradient_reverse_kl(
    forward_fn: Forward,
    log_prob_fn: LogProb,
    energy_fn: Energy,
    params: Any,
    z: Float[ArrayLike, " batch *event"],
) -> Float[Array, " batch"]:
    r"""The reverse divergence KL(q | p) of a flow at samples of its base, with path gradients ("sticking the landing").

    $$
    \log q_{\bar\theta}(x) + S(x), \qquad x = g_\theta(z), \qquad
    \text{with gradient} \quad G(x) \cdot \partial_\theta g_\theta(z)
    $$

    where the bar stops gradients. Needs no samples of the target, and finds some of its modes.

    Args:
        forward_fn: The flow g, `forward_fn(params, z) -> x`.
        log_prob_fn: Its log density, `log_prob_fn(params, x) -> [B]`; the parameters come in through `params` alone.
        energy_fn: The energy S of the target, `energy_fn(x) -> [B]`.
        params: Parameters θ of the flow, a pytree.
        z: Samples of the base distribution `[B, ...]`.

    Returns:
        Estimates `[B]`, of mean KL(q | p) - log Z, at least in float32.

    Raises:
        TypeError: If one of the functions is none, or `z` is not floating point.
        ValueError: If log density and energy are not one number each a sample.

    Examples:
        A shifted normal against a standard one: the shift, without noise.

        >>> import jax, jax.numpy as jnp
        >>> flow, log_q = lambda shift, z: z + shift, lambda shift, x: -0.5 * (x - shift) ** 2
        >>> loss = lambda shift, z: path_gradient_reverse_kl(flow, log_q, lambda x: 0.5 * x**2, shift, z)
        >>> print(jax.jacobian(loss)(1.5, jnp.array([-1.0, 0.0, 3.0])))
        [1.5 1.5 1.5]

    Source:
        Vaitl, Winkler, Richter, Kessel, "Fast and Unified Path Gradient Estimators for Normalizing Flows", 2024.
        Roeder, Wu, Duvenaud, "Sticking the Landing", 2017.
    """
    name = "path_gradient_reverse_kl"
    gap = _gap(name, forward_fn, log_prob_fn, energy_fn, params)
    return gap(forward_fn(params, _samples(name, "z", z)))


def path_gradient_forward_kl(
    forward_fn: Forward,
    inverse_fn: Forward,
    log_prob_fn: LogProb,
    energy_fn: Energy,
    params: Any,
    x: Float[ArrayLike, " batch *event"],
) -> Float[Array, " batch"]:
    r"""The forward divergence KL(p | q) of a flow at samples of the target, with path gradients.

    $$
    -\log q_{\bar\theta}(x) - S(x), \qquad
    \text{with gradient} \quad G(x) \cdot \partial_\theta g_\theta(z), \quad z = g_{\bar\theta}^{-1}(x)
    $$

    where the bar stops gradients. The divergence of maximum likelihood, whose gradient does not vanish at the
    target as this one does; it needs the energy of the target beside its samples.

    Args:
        forward_fn: The flow g, `forward_fn(params, z) -> x`.
        inverse_fn: Its inverse, `inverse_fn(params, x) -> z`.
        log_prob_fn: Its log density, `log_prob_fn(params, x) -> [B]`; the parameters come in through `params` alone.
        energy_fn: The energy S of the target, `energy_fn(x) -> [B]`.
        params: Parameters θ of the flow, a pytree.
        x: Samples of the target `[B, ...]`.

    Returns:
        Estimates `[B]`, of mean KL(p | q) + log Z, at least in float32.

    Raises:
        TypeError: If one of the functions is none, or `x` is not floating point.
        ValueError: If log density and energy are not one number each a sample.

    Examples:
        A shifted normal against a standard one: the shift, without noise.

        >>> import jax, jax.numpy as jnp
        >>> flow, inverse = lambda shift, z: z + shift, lambda shift, x: x - shift
        >>> log_q, energy = lambda shift, x: -0.5 * (x - shift) ** 2, lambda x: 0.5 * x**2
        >>> loss = lambda shift, x: path_gradient_forward_kl(flow, inverse, log_q, energy, shift, x)
        >>> print(jax.jacobian(loss)(1.5, jnp.array([-1.0, 0.0, 3.0])))
        [1.5 1.5 1.5]

    Source:
        Vaitl, Winkler, Richter, Kessel, "Fast and Unified Path Gradient Estimators for Normalizing Flows", 2024.
    """
    name = "path_gradient_forward_kl"
    check_callable(name, "inverse_fn", inverse_fn, "(params, x) -> z")
    gap = _gap(name, forward_fn, log_prob_fn, energy_fn, params)
    samples = _samples(name, "x", x)
    values, pull_back = jax.vjp(gap, samples)
    (force,) = pull_back(jnp.ones_like(values))
    moved = forward_fn(params, lax.stop_gradient(inverse_fn(params, samples)))
    path = force * (moved - lax.stop_gradient(moved))
    return jnp.sum(path.reshape(*values.shape, -1), axis=-1).astype(values.dtype) - values


def _samples(function: str, name: str, value: ArrayLike) -> Array:
    array = floating(function, name, value)
    check_rank(function, name, array, 1, "[B, ...]")
    return array


def _gap(
    function: str, forward_fn: Forward, log_prob_fn: LogProb, energy_fn: Energy, params: Any
) -> Callable[[Array], Array]:
    """The map from samples to log q + S, to which the parameters of the flow are constants."""
    check_callable(function, "forward_fn", forward_fn, "(params, z) -> x")
    check_callable(function, "log_prob_fn", log_prob_fn, "(params, x) -> [B]")
    check_callable(function, "energy_fn", energy_fn, "x -> [B]")

    def gap(x: Array) -> Array:
        log_prob = floating(function, "log_prob_fn", log_prob_fn(lax.stop_gradient(params), x))
        energy = floating(function, "energy_fn", energy_fn(x))
        if log_prob.shape != x.shape[:1] or energy.shape != x.shape[:1]:
            raise ValueError(
                f"{function}: log_prob_fn and energy_fn must return one number a sample, {list(x.shape[:1])}, "
                f"got {describe(log_prob)} and {describe(energy)}"
            )
        dtype = compute_dtype(log_prob, energy)
        return log_prob.astype(dtype) + energy.astype(dtype)

    return gap
