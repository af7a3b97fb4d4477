"""FAdam: Adam read as a natural gradient, whose preconditioner comes before the momentum and before the decay."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    TINY,
    Moments,
    Scalars,
    at_count,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    first_moment,
    reread,
    second_moment,
    square,
    tensorwise,
    wide_scalar,
)
from optimizers._trees import PyTree
from optimizers.adaptive._statistics import root_mean_square


class FAdamState(NamedTuple):
    """State of FAdam: the number of updates made, averaged natural gradients, and the Fisher information's diagonal."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    fim: PyTree


def _fadam(
    function: str, b1: Any, b2: Any, eps: Any, eps_rms: Any, p: Any, clip: Any, dtype: Any, decay: Any, mask: Any
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, b1=b1, b2=b2)
    check_range(function, "eps_rms", eps_rms, 0.0)
    for name, value in (("p", p), ("clip", clip)):
        check_range(function, name, value, 0.0, open_low=True)
    dtype = check_moment_dtype(function, "mu_dtype", dtype, MU_DTYPES)
    b1, b2, eps, eps_rms, p, clip = (wide_scalar(x) for x in (b1, b2, eps, eps_rms, p, clip))
    decays = decay is not None

    def power(x: jax.Array, exponent: Any) -> jax.Array:
        return jnp.sqrt(x) if isinstance(p, float) and p == 0.5 else jnp.power(x, exponent)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        fresh = (1 - b2) / bias_correction(b2, step)
        rate = at_count(decay, state) if decays else 0.0
        return rate, b1, 1 - b1, 1 - fresh, fresh, eps, eps_rms, p, 1 / clip

    def natural(x: jax.Array, g: jax.Array, fim: jax.Array, s: Scalars) -> jax.Array:
        """x / (F^p + ε^2p), no larger than `clip` on average, and 0 where both are 0."""
        eps, eps_rms, p, of_clip = s[-4:]
        measured = eps_rms * root_mean_square(*reread(g))
        floor = jnp.where(measured > 0, jnp.minimum(eps, measured), eps)
        least = jnp.maximum(power(square(floor), p), TINY)

        def ratio(x: jax.Array, fim: jax.Array, least: jax.Array) -> jax.Array:
            return x / (power(fim, p) + least)

        size = root_mean_square(ratio(*reread(x, fim, least)))
        return ratio(x, fim, least) / jnp.maximum(1.0, size * of_clip)

    def advance(g: jax.Array, weights: Any, old: Moments, s: Scalars) -> Moments:
        on_mu, on_g, on_fim, on_square = s[-8:-4]
        fim = average(on_fim, on_square, old[1], square(g))
        return average(on_mu, on_g, old[0], natural(g, g, fim, s)), fim

    def direction(g: jax.Array, weights: Any, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        if not decays:
            return new[0]
        weights, fim = reread(weights, new[1])
        return new[0] + s[0] * s[1] * natural(weights, g, fim, s)

    moments = {"mu": first_moment(dtype), "fim": second_moment(None)}
    masks = (mask,) if decays else ()
    needs = function if decays else None
    return tensorwise(FAdamState, moments, scalars, advance, direction, needs_params=needs, masks=masks)


def scale_by_fadam(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_rms: jax.typing.ArrayLike = 0.01,
    p: jax.typing.ArrayLike = 0.5,
    clip: jax.typing.ArrayLike = 1.0,
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Average natural gradients, those of a Fisher information taken to be diagonal.

    $$F_t = \hat\beta_2 F_{t-1} + (1 - \hat\beta_2)\, g_t^2, \qquad
    \hat\beta_2 = \beta_2 \frac{1 - \beta_2^{t-1}}{1 - \beta_2^t}, \qquad
    \varepsilon_t = \min(\varepsilon, \varepsilon_r \operatorname{RMS}(g_t))$$

    $$\tilde g_t = \frac{g_t}{F_t^p + \varepsilon_t^{2p}}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) \frac{\tilde g_t}{\max(1, \operatorname{RMS}(\tilde g_t) / c)}$$

    RMS is the root mean square over the tensor. The average m is not corrected for its start at zero.

    Args:
        b1: Decay of the average of natural gradients, in [0, 1).
        b2: Decay of the Fisher information, in [0, 1).
        eps: Upper bound of ε_t, at least 0, in the units of the gradient; it holds where the gradient is 0, too.
        eps_rms: ε_r, the part of the gradient's size that ε_t may have, at least 0.
        p: Power of the Fisher information, positive: 1/2 gives Adam's root, 1 the natural gradient.
        clip: Largest RMS c of a natural gradient, positive.
        mu_dtype: dtype of m, see `scale_by_adam`.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_fadam()
        >>> gradient = jnp.array([0.5, -2.0, 0.0])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print((10 * update).round(4))  # a tenth of the sign
        [ 1. -1.  0.]

    Source:
        D. Hwang, "FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information", 2024; ε_t
        as in pytorch-optimizer, with the power 2p that the public implementation first published leaves out.
    """
    return _fadam("scale_by_fadam", b1, b2, eps, eps_rms, p, clip, mu_dtype, None, None)


def fadam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_rms: jax.typing.ArrayLike = 0.01,
    p: jax.typing.ArrayLike = 0.5,
    clip: jax.typing.ArrayLike = 1.0,
    mu_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 0.1,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""FAdam: descent along averaged natural gradients, with the decay preconditioned as they are.

    $$\tilde\theta = \frac{\theta_{t-1}}{F_t^p + \varepsilon_t^{2p}}, \qquad
    \theta_t = \theta_{t-1} - \eta_t \left( m_t +
    \lambda \frac{\tilde\theta}{\max(1, \operatorname{RMS}(\tilde\theta) / c)} \right)$$

    with m, F and ε of `scale_by_fadam`. Weights whose gradients are small decay most. The theory takes the loss to be a
    negative log-likelihood, summed or averaged over examples.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the average of natural gradients, in [0, 1).
        b2: Decay of the Fisher information, in [0, 1).
        eps: Upper bound of ε_t, at least 0.
        eps_rms: The part of the gradient's size that ε_t may have, at least 0.
        p: Power of the Fisher information, positive.
        clip: Largest RMS c of a natural gradient, and of the preconditioned weights, positive.
        mu_dtype: dtype of m, see `scale_by_adam`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), fadam(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        2.73

    Source:
        D. Hwang, "FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information", 2024.
    """
    check_descent("fadam", learning_rate, weight_decay)
    return descend(_fadam("fadam", b1, b2, eps, eps_rms, p, clip, mu_dtype, weight_decay, mask), learning_rate)
