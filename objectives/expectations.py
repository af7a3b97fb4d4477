"""Expectations to differentiate: bounds on a likelihood, and estimators whose gradient is that of the expectation.

A sample alone does not know how it would have moved with the parameters of its distribution. Each estimator here gives
the value at the samples, and as its gradient an unbiased estimate of the gradient of the expected value: by the score
of the distribution, by a sum over all outcomes, or by differences of what is integrated (measure-valued derivatives).
Reparameterised samples, `mean + std * noise`, need nothing but `jax.grad`. The strategies nest, because each returns a
value with its gradient: an estimate may be the `values` of another.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from objectives._inputs import (
    check_callable,
    check_classes,
    check_rank,
    check_same_shape,
    compute_dtype,
    describe,
    floating,
    prng_key,
    real,
)
from objectives._typing import Array, ArrayLike, Float, Real, Scalar


def elbo(
    log_joint: Float[ArrayLike, " samples *batch"], log_q: Float[ArrayLike, " samples *batch"]
) -> Float[Array, "*batch"]:
    r"""Evidence lower bound, from samples of the approximate posterior.

    $$
    \frac1K \sum_k \log p(x, z_k) - \log q(z_k \mid x) \ \le\ \log p(x) \ \text{ on average}, \qquad z_k \sim q
    $$

    To be maximised: the loss is its negative. With reparameterised samples the gradient is that of `jax.grad`; other
    samples go through `score_function_surrogate`.

    Args:
        log_joint: Log densities of data and samples `[K, ...]`, in nats.
        log_q: Log densities of the samples, of the shape of `log_joint`.

    Returns:
        Bounds `[...]` in nats, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the log densities are not floating point.
        ValueError: If the shapes differ or there is no sample.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(elbo(jnp.array([-3.0, -2.0]), jnp.array([-1.0, -1.5])))
        -1.25

    Source:
        Jordan, Ghahramani, Jaakkola, Saul, "An Introduction to Variational Methods for Graphical Models", 1999.
        Becker, Lew, Wang, Ghavami, Huot, Rinard, Mansinghka, "Probabilistic Programming with Programmable Variational
        Inference", 2024.
    """
    joint, proposal = _samples("elbo", "log_joint", log_joint), floating("elbo", "log_q", log_q)
    check_same_shape("elbo", "log_q", proposal, "log_joint", joint)
    dtype = compute_dtype(joint, proposal)
    return jnp.mean(joint.astype(dtype) - proposal.astype(dtype), axis=0)


def iwelbo(log_weights: Float[ArrayLike, " samples *batch"]) -> Float[Array, "*batch"]:
    r"""Importance-weighted evidence lower bound (IWAE): the tighter, the more samples.

    $$
    \log \frac1K \sum_k w_k, \qquad w_k = \frac{p(x, z_k)}{q(z_k \mid x)}
    $$

    With one sample it is `elbo`; on average it grows with K towards $\log p(x)$. To be maximised.

    Args:
        log_weights: Log importance weights `[K, ...]`, in nats; minus infinity for an impossible sample.

    Returns:
        Bounds `[...]` in nats, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If the weights are not floating point.
        ValueError: If there is no sample.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(f"{iwelbo(jnp.log(jnp.array([0.1, 0.3]))):.4f}")
        -1.6094

    Source:
        Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016.
    """
    weights = _samples("iwelbo", "log_weights", log_weights)
    weights = weights.astype(compute_dtype(weights))
    return jax.nn.logsumexp(weights, axis=0) - math.log(weights.shape[0])


def score_function_surrogate(
    values: Float[ArrayLike, "*batch"],
    log_probs: Float[ArrayLike, "*batch"],
    *,
    baseline: Real[ArrayLike, "*batch"] | Scalar | Literal["leave_one_out"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The values themselves, whose gradient is the score-function (REINFORCE) estimator plus the pathwise part.

    $$
    f + (f - b) \left( \frac{q}{\bar q} - 1 \right), \qquad
    \text{with gradient} \quad \nabla f + (f - b)\, \nabla \log q
    $$

    where the bar stops gradients. Its mean over samples of q is an unbiased estimate of the gradient of the expected
    value, whatever the values are: rewards, steps, discrete samples. Higher derivatives are unbiased as well (DiCE).
    Samples must not depend on the parameters by themselves: stop their gradient.

    Args:
        values: Values f of the samples `[...]`.
        log_probs: Log probabilities q of the samples, of the shape of `values`, as functions of the parameters.
        baseline: What is taken off the values in front of the score, to lower the variance: one number, or one
            for each value, independent of its own sample; or "leave_one_out", the mean value of the other samples
            along the first axis, at least two and independent of one another. None takes nothing off.

    Returns:
        Values `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If values or log probabilities are not floating point, or the baseline not real.
        ValueError: If shapes differ, the baseline is an unknown word, or none is left when one sample is left out.

    Examples:
        The gradient of the mean of two tosses, one head and one tail, with respect to the logit of a coin:

        >>> import jax, jax.numpy as jnp
        >>> heads = jnp.array([1.0, 0.0])
        >>> log_probs = lambda logit: jnp.where(heads == 1, jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit))
        >>> print(jax.grad(lambda logit: score_function_surrogate(heads, log_probs(logit)).mean())(0.0))
        0.25

    Source:
        Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning", 1992.
        Foerster, Farquhar, Al-Shedivat, Rocktäschel, Xing, Whiteson, "DiCE: The Infinitely Differentiable Monte Carlo
        Estimator", 2018. Kool, van Hoof, Welling, "Buy 4 REINFORCE Samples, Get a Baseline for Free!", 2019.
    """
    name = "score_function_surrogate"
    f, log_q = floating(name, "values", values), floating(name, "log_probs", log_probs)
    check_same_shape(name, "log_probs", log_q, "values", f)
    dtype = compute_dtype(f, log_q)
    f, log_q = f.astype(dtype), log_q.astype(dtype)
    ratio = jnp.exp(log_q - lax.stop_gradient(log_q))
    return f + (f - _baseline(name, baseline, f)) * (ratio - 1)


def enumerated_expectation(
    probs: Float[ArrayLike, "*batch outcomes"], values: Float[ArrayLike, "*batch outcomes"]
) -> Float[Array, "*batch"]:
    r"""Expectation over finitely many outcomes, all of them evaluated: no variance, in value or gradient.

    $$
    \sum_z q(z) f(z)
    $$

    For a coin of probability p, with probabilities (1 - p, p), the derivative by p is f(1) - f(0), its measure-valued
    derivative. An outcome of probability 0 may have an infinite value, which counts nothing.

    Args:
        probs: Probabilities of the outcomes `[..., K]`.
        values: Values of the outcomes, of the shape of `probs`.

    Returns:
        Expectations `[...]`, float32 (float64 for float64 inputs).

    Raises:
        TypeError: If probabilities or values are not floating point.
        ValueError: If the shapes differ or there is no outcome.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(enumerated_expectation(jnp.array([0.75, 0.25]), jnp.array([0.0, 2.0])))
        0.5

    Source:
        Lew, Huot, Staton, Mansinghka, "ADEV: Sound Automatic Differentiation of Expected Values of Probabilistic
        Programs", 2023.
    """
    name = "enumerated_expectation"
    q, f = floating(name, "probs", probs), floating(name, "values", values)
    check_classes(name, "probs", q, "[..., K]")
    check_same_shape(name, "values", f, "probs", q)
    dtype = compute_dtype(q, f)
    q, f = q.astype(dtype), f.astype(dtype)
    return jnp.sum(q * jnp.where((q == 0) & jnp.isinf(f), 0, f), axis=-1)


def normal_expectation(
    integrand: Callable[[Array], Array],
    mean: Float[ArrayLike, "*batch"],
    std: Float[ArrayLike, "*batch"],
    key: Array,
) -> Float[Array, "*batch"]:
    r"""The integrand at normal samples, with measure-valued derivatives by mean and standard deviation.

    $$
    \partial_\mu = \frac{f(\mu + \sigma W) - f(\mu - \sigma W)}{\sigma \sqrt{2\pi}}, \qquad
    \partial_\sigma = \frac{f(\mu + \sigma M) - f(\mu + \sigma U M)}{\sigma}
    $$

    with W of the Rayleigh, M of the double-sided Maxwell and U of the uniform distribution; UM is standard normal, and
    is the sample whose value is returned. The integrand needs no derivative: it may be a step. Both are unbiased
    estimates of the derivatives of the expectation, of a variance that stays small where that of the score does not.
    Parameters of the integrand itself get its own gradient at the sample. Costs four evaluations.

    Args:
        integrand: Function f from samples `[...]` to values `[...]`, each value of its own sample alone.
        mean: Means μ `[...]`.
        std: Standard deviations σ, of the shape of `mean`, positive.
        key: Typed PRNG key of the samples.

    Returns:
        Values `[...]`, one sample each, float32 (float64 for float64 inputs); NaN where a mean is not finite or a
        standard deviation not positive.

    Raises:
        TypeError: If means or standard deviations are not floating point, `key` is no PRNG key or `integrand` no
            function.
        ValueError: If the shapes differ, that of the values included.

    Examples:
        The probability of a positive sample, 0.5, grows with the mean by the density at 0, 0.399:

        >>> import jax, jax.numpy as jnp
        >>> probability = lambda m: normal_expectation(
        ...     lambda x: jnp.where(x > 0, 1.0, 0.0), jnp.full(10_000, m), jnp.ones(10_000), jax.random.key(0)
        ... ).mean()
        >>> print(f"{probability(0.0):.1f} {jax.grad(probability)(0.0):.4f}")
        0.5 0.3989

    Source:
        Pflug, "Optimization of Stochastic Models", 1996. Mohamed, Rosca, Figurnov, Mnih, "Monte Carlo Gradient
        Estimation in Machine Learning", 2020.
    """
    name = "normal_expectation"
    check_callable(name, "integrand", integrand, "samples -> values")
    centre, spread = floating(name, "mean", mean), floating(name, "std", std)
    check_same_shape(name, "std", spread, "mean", centre)
    dtype = compute_dtype(centre, spread)
    centre, spread = centre.astype(dtype), spread.astype(dtype)
    keys = jax.random.split(prng_key(name, "key", key), 4)
    rayleigh = jnp.sqrt(2 * jax.random.exponential(keys[0], centre.shape, dtype))
    radius = jnp.sqrt(jnp.sum(jax.random.normal(keys[1], (3, *centre.shape), dtype) ** 2, axis=0))
    maxwell = radius * jax.random.rademacher(keys[2], centre.shape, dtype)
    normal = maxwell * jax.random.uniform(keys[3], centre.shape, dtype)

    legal = jnp.where(jnp.isfinite(centre) & (spread > 0), 1, jnp.nan).astype(dtype)
    noise = jnp.stack([normal, rayleigh, -rayleigh, maxwell])
    values = jax.vmap(integrand)(lax.stop_gradient(centre + spread * noise))
    if values.shape != noise.shape:
        raise ValueError(
            f"{name}: integrand must return one value a sample, {list(centre.shape)}, got {list(values.shape[1:])}"
        )
    value, above, below, wide = values.astype(dtype)
    by_mean = lax.stop_gradient((above - below) / (math.sqrt(2 * math.pi) * spread))
    by_std = lax.stop_gradient((wide - value) / spread)
    return legal * (value + by_mean * _zero(centre) + by_std * _zero(spread))


def _samples(function: str, name: str, value: ArrayLike) -> Array:
    """Floats with at least one sample along the first axis."""
    array = floating(function, name, value)
    check_rank(function, name, array, 1, "[K, ...]")
    if array.shape[0] == 0:
        raise ValueError(f"{function}: {name} must have at least one sample, got {describe(array)}")
    return array


def _baseline(function: str, baseline: ArrayLike | Scalar | str | None, values: Array) -> Array:
    """The baseline of each value, or of all of them."""
    if baseline is None:
        return jnp.zeros_like(values)
    if not isinstance(baseline, str):
        given = real(function, "baseline", baseline)
        if given.ndim > 0:
            check_same_shape(function, "baseline", given, "values", values)
        return given.astype(values.dtype)
    if baseline != "leave_one_out":
        raise ValueError(f"{function}: baseline must be an array or 'leave_one_out', got {baseline!r}")
    if values.ndim == 0 or values.shape[0] < 2:
        raise ValueError(f"{function}: baseline='leave_one_out' needs two values at least, got {describe(values)}")
    return (jnp.sum(values, axis=0) - values) / (values.shape[0] - 1)


def _zero(array: Array) -> Array:
    """0, with the gradient of `array`."""
    return array - lax.stop_gradient(array)
