"""The likelihood-ratio method: each module learns from its own noise and the loss, without a backward pass between."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._trees import PyTree, wide


def likelihood_ratio_noise(
    mean: Float[ArrayLike, "batch ..."], key: Array, *, sigma: ArrayLike, antithetic: bool = False
) -> tuple[Float[Array, "batch ..."], Float[Array, " batch"]]:
    r"""A noisy output of a module, cut off from the module, and the log-density that stands for it instead.

    $$
    y = \mu + \sigma \epsilon, \quad \epsilon \sim \mathcal{N}(0, I), \qquad
    \log p(y) = -\sum_j \left(\frac{(y_j - \mu_j)^2}{2 \sigma_j^2} + \log \sigma_j + \tfrac12 \log 2 \pi\right)
    $$

    No gradient flows through `y`; that of the log-density at the sampled `y` is $\epsilon / \sigma$ for $\mu$ and
    $(\epsilon^2 - 1) / \sigma$ for $\sigma$, so that the mean of the loss times it is the gradient of the expected
    loss: `likelihood_ratio_surrogate` joins the two. Compute `mean` from stopped inputs (`jax.lax.stop_gradient`) and
    the module's parameters: a convolution, one step of a recurrence, anything. The inputs of a module that is fed by
    another one's `y` are stopped already.

    Args:
        mean: output of the module `[B, ...]`.
        key: PRNG key of the noise, another one for each module.
        sigma: standard deviation, above 0, that broadcasts to the shape of `mean`: a number, or a parameter to learn.
        antithetic: give the second half of the batch the mirror image of the first half's noise. The batch then holds
            each example twice, `jnp.concatenate([x, x])`, and the noise of the estimate that is even in $\epsilon$
            cancels.

    Returns:
        A pair: the output `y` `[B, ...]`, stopped, in the dtype of `mean`; and the log-density of each example's
        output `[B]`, in float32 or wider.

    Raises:
        TypeError: if `sigma` is no number.
        ValueError: if `sigma` is not positive, `mean` has no batch axis, or `antithetic` meets an odd batch.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> y, log_prob = likelihood_ratio_noise(jnp.zeros((4, 3)), jax.random.key(0), sigma=0.5, antithetic=True)
        >>> print(y.shape, log_prob.shape, f"{abs(y.sum()):.3f}")
        (4, 3) (4,) 0.000

    Source:
        Jinyang Jiang, Zeliang Zhang, Chenliang Xu, Zhaofei Yu, Yijie Peng, "One Forward is Enough for Neural Network
        Training via Likelihood Ratio Method", 2023.
    """
    return _noisy("likelihood_ratio_noise", "mean", jnp.asarray(mean), key, sigma, antithetic)


def likelihood_ratio_linear(
    x: Float[ArrayLike, "batch ... inputs"],
    w: Float[ArrayLike, "inputs outputs"],
    b: Float[ArrayLike, " outputs"] | None,
    key: Array,
    *,
    sigma: ArrayLike,
    antithetic: bool = False,
) -> tuple[Float[Array, "batch ... outputs"], Float[Array, " batch"]]:
    r"""A linear layer with noise at its output, trained by the likelihood ratio of that noise.

    $$
    y = x w + b + \sigma \epsilon, \qquad
    \nabla_w \log p(y) = \frac1\sigma x^\top \epsilon, \qquad
    \nabla_b \log p(y) = \frac{\epsilon}{\sigma}
    $$

    `likelihood_ratio_noise` of `x @ w + b`, with `x` stopped: one matrix product forward, one for the gradient of `w`,
    and none for that of `x`, which gets none.

    Args:
        x: inputs `[B, ..., N]`, no gradient of which is taken.
        w: weights `[N, M]`.
        b: biases `[M]`, or None.
        key: PRNG key of the noise, another one for each layer.
        sigma: standard deviation of the noise, above 0: a number, or `[M]`.
        antithetic: mirror the noise in the second half of the batch, as in `likelihood_ratio_noise`.

    Returns:
        A pair: the output `y` `[B, ..., M]`, stopped; and the log-density of each example's output `[B]`, in float32
        or wider.

    Raises:
        TypeError: if `sigma` is no number.
        ValueError: if `sigma` is not positive, `x` has no batch axis, or `antithetic` meets an odd batch.

    Examples:
        The gradient of a linear loss, from the noise alone:

        >>> import jax, jax.numpy as jnp
        >>> def loss_fn(w, key):
        ...     y, log_prob = likelihood_ratio_linear(jnp.ones((8192, 1)), w, None, key, sigma=0.1, antithetic=True)
        ...     return likelihood_ratio_surrogate(y @ jnp.array([2.0, -1.0]), [log_prob], antithetic=True)
        >>> jax.grad(loss_fn)(jnp.zeros((1, 2)), jax.random.key(0)).round(1).tolist()
        [[2.0, -1.0]]

    Source:
        Jinyang Jiang, Zeliang Zhang, Chenliang Xu, Zhaofei Yu, Yijie Peng, "One Forward is Enough for Neural Network
        Training via Likelihood Ratio Method", 2023.
    """
    inputs = jax.lax.stop_gradient(jnp.asarray(x))
    if inputs.ndim < 2:
        raise ValueError(f"likelihood_ratio_linear: x must have shape [B, ..., N], got {inputs.shape}")
    mean = inputs @ jnp.asarray(w)
    return _noisy("likelihood_ratio_linear", "x", mean if b is None else mean + b, key, sigma, antithetic)


def likelihood_ratio_surrogate(
    losses: Float[ArrayLike, " batch"],
    log_probs: PyTree,
    *,
    baseline: ArrayLike | None = None,
    antithetic: bool = False,
) -> Float[Array, ""]:
    r"""The mean loss, with the likelihood-ratio estimate of its gradient.

    $$
    L = \frac1B \sum_{i=1}^{B} \ell_i, \qquad
    \nabla L := \frac1B \sum_{i=1}^{B} \left(\nabla \ell_i
        + (\ell_i - b_i) \sum_m \nabla \log p_m(y_{m, i})\right)
    $$

    over the noisy modules m. An unbiased estimate of the gradient of the expected loss for all modules at once, from
    one forward pass, for any loss: the first term, zero where `losses` is not differentiable, is that of parameters
    after the last noise. The variance grows with the number of noisy outputs and with $1 / \sigma^2$; a baseline and
    antithetic pairs lower it.

    Args:
        losses: loss of each example `[B]`, which may depend on that example's noise alone.
        log_probs: the log-densities of the noisy modules, a pytree of arrays `[B]`.
        baseline: what is subtracted from each loss, a number or `[B]` that does not depend on the example's own noise;
            by default the mean loss of the other examples (of the other pairs). With 0, a constant added to the loss
            adds variance.
        antithetic: whether the second half of the batch has the first half's noise mirrored, so that the two examples
            of a pair keep out of each other's baseline.

    Returns:
        The mean of `losses`, a scalar in float32 or wider, to be differentiated.

    Raises:
        ValueError: if `losses` is no vector, a log-density has another shape, or `antithetic` meets an odd batch.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> surrogate = lambda log_prob: likelihood_ratio_surrogate(jnp.array([3.0, 1.0]), log_prob)
        >>> value, gradient = jax.value_and_grad(surrogate)(jnp.zeros(2))
        >>> print(value, gradient)
        2.0 [ 1. -1.]

    Source:
        Jinyang Jiang, Zeliang Zhang, Chenliang Xu, Zhaofei Yu, Yijie Peng, "One Forward is Enough for Neural Network
        Training via Likelihood Ratio Method", 2023.
    """
    name = "likelihood_ratio_surrogate"
    losses = wide(jnp.asarray(losses))
    if losses.ndim != 1:
        raise ValueError(f"{name}: losses must have shape [B], got {losses.shape}")
    densities = [wide(jnp.asarray(leaf)) for leaf in jax.tree.leaves(log_probs)]
    for density in densities:
        if density.shape != losses.shape:
            raise ValueError(f"{name}: log_probs must have shape {losses.shape}, got {density.shape}")
    stopped = jax.lax.stop_gradient(losses)
    if baseline is None:
        baseline = _mean_of_others(name, stopped, antithetic)
    advantage = stopped - jax.lax.stop_gradient(jnp.asarray(baseline))
    score = jnp.mean(advantage * sum(densities, start=jnp.zeros_like(losses)))
    return jnp.mean(losses) + score - jax.lax.stop_gradient(score)


def _noisy(
    function: str, name: str, mean: jax.Array, key: jax.Array, sigma: Any, antithetic: bool
) -> tuple[jax.Array, jax.Array]:
    """The sample and the log-density, whose argument is written as noise, not as a difference of large numbers."""
    check_range(function, "sigma", sigma, 0.0, open_low=True)
    if mean.ndim == 0:
        raise ValueError(f"{function}: {name} must have a batch axis, got a scalar")
    exact = wide(mean)
    noise = _noise(function, name, key, exact, antithetic)
    spread, stop = jnp.asarray(sigma, exact.dtype), jax.lax.stop_gradient
    sample = stop(exact + spread * noise).astype(mean.dtype)
    standardised = (stop(spread) * noise + (stop(exact) - exact)) / spread
    log_density = -0.5 * jnp.square(standardised) - jnp.log(spread) - 0.5 * math.log(2 * math.pi)
    return sample, jnp.sum(log_density.reshape(mean.shape[0], -1), axis=1)


def _noise(function: str, name: str, key: jax.Array, like: jax.Array, antithetic: bool) -> jax.Array:
    if not antithetic:
        return jax.random.normal(key, like.shape, like.dtype)
    _check_even(function, name, like.shape)
    half = jax.random.normal(key, (like.shape[0] // 2, *like.shape[1:]), like.dtype)
    return jnp.concatenate([half, -half])


def _mean_of_others(function: str, losses: jax.Array, antithetic: bool) -> jax.Array:
    """For each example the mean over all others, its mirror image excluded; 0 where there is no other."""
    size, own = losses.shape[0], losses
    if antithetic:
        _check_even(function, "losses", losses.shape)
        own = losses + jnp.roll(losses, size // 2)
    others = size - (2 if antithetic else 1)
    return (jnp.sum(losses) - own) / others if others > 0 else jnp.zeros_like(losses)


def _check_even(function: str, name: str, shape: tuple[int, ...]) -> None:
    if shape[0] % 2:
        raise ValueError(f"{function}: {name} must hold an even batch where antithetic, got shape {shape}")
