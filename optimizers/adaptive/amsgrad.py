"""AMSGrad and AdamNC: second moments that cannot make a step size grow again; the equation of `adam.py` otherwise."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._moments import (
    TINY,
    Advanced,
    Moments,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    descend,
    elementwise,
    second_moment,
    square,
    wide_scalar,
)
from optimizers.adaptive._settings import two_moments


def _amsgrad(
    function: str,
    b1: Any,
    b2: Any,
    eps: Any,
    eps_root: Any,
    mu_dtype: Any,
    nu_dtype: Any,
    bias_correction_mu: bool,
    bias_correction_nu: bool,
) -> optax.GradientTransformationExtraArgs:
    check_decays(function, eps, eps_root, b1=b1, b2=b2)
    moments = two_moments(function, mu_dtype, nu_dtype)
    moments["nu_max"] = second_moment(nu_dtype)
    b1, b2, eps, eps_root = (wide_scalar(x) for x in (b1, b2, eps, eps_root))

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        on_mu = 1 / bias_correction(b1, step) if bias_correction_mu else 1.0
        on_nu = 1 / bias_correction(b2, step) if bias_correction_nu else 1.0
        return b1, 1 - b1, b2, 1 - b2, on_mu, on_nu, eps + TINY, eps_root

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        mu, nu = average(s[0], s[1], old[0], g), average(s[2], s[3], old[1], square(g))
        return mu, nu, lambda mu, nu: jnp.maximum(old[2], s[5] * nu)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        return s[4] * new[0] / (jnp.sqrt(new[2] + s[7]) + s[6])

    return elementwise(optax.ScaleByAmsgradState, moments, scalars, advance, direction)


def scale_by_amsgrad(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale the gradient by Adam's moments, the second one by its largest value so far.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2, \quad
    \hat\nu_t = \max\left(\hat\nu_{t-1}, \frac{\nu_t}{1 - \beta_2^t}\right), \quad
    u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{\hat\nu_t + \bar\varepsilon} + \varepsilon}$$

    That is `optax.scale_by_amsgrad`, whose maximum is over the corrected moments. The paper corrects neither: both
    `bias_correction_mu` and `bias_correction_nu` False. PyTorch's `amsgrad=True` is a third form, which divides the
    maximum of the uncorrected moments by this step's correction. All three agree once the corrections are 1; early,
    a first gradient larger than those after it weighs most in Optax's.

    Moments are in float32 or wider whatever the parameters' dtype: float16 gradients of zero give 0, Optax's NaN.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradient.
        eps_root: Added under the root, at least 0, in squared units.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        bias_correction_mu: Whether the first moment is divided by 1 - β1^t.
        bias_correction_nu: Whether the second moment is divided by 1 - β2^t before the maximum.
        nu_dtype: dtype of the second moment and of its maximum, see `scale_by_adam`. The maximum of stochastically
            rounded numbers lies above that of the numbers: by up to 1/128 in bfloat16.

    Returns:
        An Optax transformation with state `optax.ScaleByAmsgradState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_amsgrad(b1=0.0, b2=0.0)
        >>> state = tx.init(jnp.zeros(2))
        >>> for gradient in (jnp.array([10.0, 1.0]), jnp.array([1.0, 10.0])):
        ...     update, state = tx.update(gradient, state)
        >>> print([round(float(u), 4) for u in update])  # the first coordinate remembers its large gradient
        [0.1, 1.0]

    Source:
        S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", 2018.
    """
    return _amsgrad(
        "scale_by_amsgrad", b1, b2, eps, eps_root, mu_dtype, nu_dtype, bias_correction_mu, bias_correction_nu
    )


def amsgrad(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AMSGrad: Adam whose step sizes never grow, so that rare large gradients are not forgotten.

    $$\theta_t = \theta_{t-1} - \eta_t\, \frac{m_t / (1 - \beta_1^t)}
    {\sqrt{\hat\nu_t + \bar\varepsilon} + \varepsilon}$$

    with the moments of `scale_by_amsgrad`. The paper's analysis has the learning rate fall as 1/√t:
    `lambda count: rate / jnp.sqrt(count + 1)`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        eps_root: Added under the root, at least 0.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        bias_correction_mu: Whether the first moment is divided by 1 - β1^t; False in the paper.
        bias_correction_nu: Whether the second moment is divided by 1 - β2^t before the maximum; False in the paper.
        nu_dtype: dtype of the second moment and of its maximum, see `scale_by_amsgrad`.

    Returns:
        An Optax transformation with the state of `optax.amsgrad`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([1.0, -2.0]), amsgrad(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.31

    Source:
        S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", 2018.
    """
    check_descent("amsgrad", learning_rate)
    directions = _amsgrad("amsgrad", b1, b2, eps, eps_root, mu_dtype, nu_dtype, bias_correction_mu, bias_correction_nu)
    return descend(directions, learning_rate)


def adamnc(
    learning_rate: optax.ScalarOrSchedule,
    b1: optax.ScalarOrSchedule = 0.9,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""AdamNC: Adam with a second moment that remembers all gradients alike, b2 = 1 - 1/t.

    $$m_t = \beta_{1,t} m_{t-1} + (1 - \beta_{1,t}) g_t, \quad \nu_t = \frac{1}{t} \sum_{s \le t} g_s^2, \quad
    \theta_t = \theta_{t-1} - \eta_t\, \frac{m_t}{\sqrt{\nu_t} + \varepsilon}$$

    With η_t = η/√t, as in the paper's analysis, the step is that of AdaGrad with momentum. Nothing is corrected for
    bias: ν is a plain mean, and the paper leaves m as it is.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule; in the analysis
            `lambda count: rate / jnp.sqrt(count + 1)`.
        b1: Decay of the first moment, in [0, 1), or a schedule; in the analysis `lambda count: 0.9 * 0.999**count`.
        eps: Added to the root, at least 0, in the units of the gradient.
        mu_dtype: dtype of the first moment, see `scale_by_adam`.
        nu_dtype: dtype of the second moment, see `scale_by_adam`.

    Returns:
        An Optax transformation with the state of `optax.adam`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` or `nu_dtype` is not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = adamnc(0.1, b1=0.0)
        >>> state = tx.init(jnp.zeros(2))
        >>> for gradient in (jnp.array([7.0, 1.0]), jnp.array([1.0, 1.0])):
        ...     update, state = tx.update(gradient, state)
        >>> print([round(float(u), 4) for u in update])  # 1 / sqrt((49 + 1) / 2) of the rate, and all of it
        [-0.02, -0.1]

    Source:
        S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond", 2018, section 5.
    """
    check_decays("adamnc", eps, b1=b1)
    check_descent("adamnc", learning_rate)
    moments = two_moments("adamnc", mu_dtype, nu_dtype)
    eps = wide_scalar(eps)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        decay = wide_scalar(b1(state.count) if callable(b1) else b1)
        share = 1 / step.astype(jnp.result_type(float))
        return decay, 1 - decay, 1 - share, share, eps + TINY

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Advanced:
        return average(s[0], s[1], old[0], g), average(s[2], s[3], old[1], square(g))

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, old
        return new[0] / (jnp.sqrt(new[1]) + s[4])

    return descend(elementwise(optax.ScaleByAdamState, moments, scalars, advance, direction), learning_rate)
