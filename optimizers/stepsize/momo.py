"""MoMo: the step size with which a model of the loss, built from averages of losses and gradients, is minimal.

One equation. With averages d of the gradients, f of the losses and γ of ⟨gradient, parameters⟩, the loss is modelled by
max(f - γ + ⟨d, x⟩, lower bound); a proximal step on it, in the norm of a diagonal D, with weight decay, is

    x ← s (x - τ d / D),   τ = min(η / ρ, (f - γ + ⟨d, s x⟩ - ρ lower)₊ / ⟨d, s d / D⟩),   s = 1 / (1 + η λ)

A member is its D, and ρ, the sum of the averages' weights.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    TINY,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    reread,
    root_scalars,
    square,
    wide_scalar,
    zeros_for,
)
from optimizers._trees import PyTree, wide
from optimizers.stepsize._extra import at_count, dots, inner_product, required, scalar_dtype, total


class MomoState(NamedTuple):
    """State of `momo`: the updates made, averages of gradients, losses and ⟨gradient, parameters⟩, the lower bound."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    exp_avg: PyTree
    barf: jax.Array
    gamma: jax.Array
    lb: jax.Array


class MomoAdamState(NamedTuple):
    """State of `momo_adam`: that of `momo`, and the average of the squared gradients."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    exp_avg: PyTree
    exp_avg_sq: PyTree
    barf: jax.Array
    gamma: jax.Array
    lb: jax.Array


def _shrinking(params: PyTree, product: Any, mask: Any) -> PyTree:
    """s = 1 / (1 + η λ) for each leaf that decays, 1 for the others."""
    mask = mask(params) if callable(mask) else mask
    shrink = 1 / (1 + product)
    return jax.tree.map(lambda _, decays=True: shrink if decays else 1.0, params, *(() if mask is None else (mask,)))


def _momo(
    function: str,
    state_type: Any,
    hyperparameters: tuple[Any, Any, Any],
    mask: Any,
    adapt_lower_bound: bool,
    weights: Callable[[jax.Array], tuple[Any, Any]],
    metric: Callable[[PyTree, Any, jax.Array], tuple[dict[str, PyTree], Scalars]],
    divided: Callable[..., jax.Array],
) -> optax.GradientTransformationExtraArgs:
    """The family: `weights(step)` is the averages' decay and ρ, `metric` advances the state of D and gives its scalars.

    `divided` makes d / D of the scalars, d and the state of D.
    """
    learning_rate, lower_bound, weight_decay = hyperparameters
    check_descent(function, learning_rate, weight_decay)
    check_range(function, "lower_bound", lower_bound)
    floor = wide_scalar(lower_bound)

    def init(params: PyTree) -> Any:
        dtype = scalar_dtype(params)
        moments = {name: zeros_for(params, real=name != "exp_avg") for name in state_type._fields if "exp" in name}
        zero = jnp.zeros([], dtype)
        return state_type(
            count=jnp.zeros([], jnp.int32), **moments, barf=zero, gamma=zero, lb=jnp.full([], floor, dtype)
        )

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, *, value: Any = None, **extra_args: Any
    ) -> tuple[PyTree, Any]:
        del extra_args
        params, value = required(function, "params", params), required(function, "value", value)
        step = optax.safe_increment(state.count)
        rate, decay_rate = at_count(learning_rate, state.count), at_count(weight_decay, state.count)
        decay, rho = weights(step)

        def mean(old: jax.Array, new: jax.Array) -> jax.Array:
            return average(decay, 1 - decay, old, new).astype(old.dtype)

        d = jax.tree.map(lambda m, g: mean(m, wide(jnp.asarray(g))), state.exp_avg, updates)
        second, of_metric = metric(updates, state, step)
        barf = mean(state.barf, jnp.asarray(value).astype(state.barf.dtype))
        gamma = mean(state.gamma, total(dots(updates, params)))

        shrink = _shrinking(params, rate * decay_rate, mask)
        factors = jax.tree.leaves(shrink)

        def squared(m: jax.Array, *v: jax.Array) -> jax.Array:
            m, s, v = reread(m, of_metric, v)
            return inner_product(m, divided(s, m, *v))

        overlaps, squares = dots(d, params), jax.tree.leaves(jax.tree.map(squared, d, *second.values()))
        model = barf - gamma + total([s * x for s, x in zip(factors, overlaps)])
        norm = total([s * x for s, x in zip(factors, squares)])

        lb = state.lb
        if adapt_lower_bound:
            lb = jnp.where(model < rho * lb, jnp.maximum(model / (2 * rho), floor), lb)
        tau = jnp.minimum(rate / rho, jnp.maximum(model - rho * lb, 0.0) / jnp.maximum(norm, TINY))
        tau = jnp.where(jnp.isfinite(norm), tau, jnp.nan)
        if adapt_lower_bound:
            reached = barf - gamma + total(overlaps) - 0.5 * tau * total(squares)
            lb = jnp.maximum(reached / rho, floor).astype(state.lb.dtype)

        def move(s: Any, m: jax.Array, x: Any, g: Any, *v: jax.Array) -> jax.Array:
            return ((s - 1) * wide(jnp.asarray(x)) - s * tau * divided(of_metric, m, *v)).astype(jnp.result_type(g))

        moved = jax.tree.map(move, shrink, d, params, updates, *second.values())
        return moved, state_type(count=step, exp_avg=d, **second, barf=barf, gamma=gamma, lb=lb)

    return optax.GradientTransformationExtraArgs(init, update)


def momo(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    beta: jax.typing.ArrayLike = 0.9,
    lower_bound: jax.typing.ArrayLike = 0.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
    *,
    bias_correction: bool = False,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""MoMo: momentum whose step size is as large as its model of the loss allows, and at most the learning rate.

    $$d_t = \beta d_{t-1} + (1 - \beta) g_t, \qquad \bar f_t = \beta \bar f_{t-1} + (1 - \beta) f_t, \qquad
    \gamma_t = \beta \gamma_{t-1} + (1 - \beta) \langle g_t, \theta_{t-1} \rangle$$

    $$\tau_t = \min\Big(\frac{\eta}{\rho},\; \frac{\big((1 + \eta\lambda)(\bar f_t - \gamma_t - \rho f_\star) +
    \langle d_t, \theta_{t-1} \rangle\big)_+}{\lVert d_t \rVert^2}\Big), \qquad
    \theta_t = \frac{\theta_{t-1} - \tau_t d_t}{1 + \eta\lambda}$$

    The averages begin with the first gradient and loss (ρ = 1), or at zero with `bias_correction` (ρ = 1 - β^t). At
    `beta` 0 it is the Polyak step with a ceiling, SPS_max.

    It follows the authors' code, to the last digit in float64. `optax.contrib.momo` differs where there is weight
    decay, whose denominator its step escapes; it has no `bias_correction`, ceases to move where ‖d‖² is below
    2.2e-16, and keeps scalars in the parameters' dtype, where those of float16 overflow.

    Args:
        learning_rate: η, the largest step size, at least 0: a number, a traced scalar or an Optax schedule. May be far
            larger than one for plain descent.
        beta: Decay of the averages, in [0, 1).
        lower_bound: f★, a lower bound of the loss.
        weight_decay: λ, at least 0, a number, a traced scalar or a schedule.
        adapt_lower_bound: Estimate the bound as training goes on, from `lower_bound` up.
        bias_correction: Whether the averages begin at zero.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params` and `value`, the loss, which the train step gives it.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks an argument.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> loss_fn = lambda x: jnp.sum(x**2)
        >>> params, tx = jnp.array([1.0, 2.0, 3.0]), momo(beta=0.0)
        >>> state = tx.init(params)
        >>> for _ in range(5):
        ...     value, gradient = jax.value_and_grad(loss_fn)(params)
        ...     updates, state = tx.update(gradient, state, params, value=value)
        ...     params = optax.apply_updates(params, updates)
        >>> print(params)  # each step halves them
        [0.03125 0.0625  0.09375]

    Source:
        F. Schaipp, R. Ohana, M. Eickenberg, A. Defazio, R. Gower, "MoMo: Momentum Models for Adaptive Learning Rates",
        2023.
    """
    check_range("momo", "beta", beta, 0.0, 1.0, open_high=True)
    decay = wide_scalar(beta)

    def weights(step: jax.Array) -> tuple[Any, Any]:
        return (decay, _correction(decay, step)) if bias_correction else (jnp.where(step == 1, 0.0, decay), 1.0)

    return _momo(
        "momo",
        MomoState,
        (learning_rate, lower_bound, weight_decay),
        mask,
        adapt_lower_bound,
        weights,
        lambda updates, state, step: ({}, ()),
        lambda s, m: m,
    )


def momo_adam(
    learning_rate: optax.ScalarOrSchedule = 1e-2,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    lower_bound: jax.typing.ArrayLike = 0.0,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
    *,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""MoMo-Adam: Adam whose step size is as large as its model of the loss allows, and at most the learning rate.

    $$D_t = \sqrt{v_t / (1 - \beta_2^t)} + \varepsilon, \qquad \rho = 1 - \beta_1^t, \qquad
    \theta_t = \frac{\theta_{t-1} - \tau_t\, d_t / D_t}{1 + \eta\lambda}$$

    $$\tau_t = \min\Big(\frac{\eta}{\rho},\; \frac{\big((1 + \eta\lambda)(\bar f_t - \gamma_t - \rho f_\star) +
    \langle d_t, \theta_{t-1} \rangle\big)_+}{\langle d_t, d_t / D_t \rangle}\Big)$$

    with the averages of `momo`, from zero, and v that of the squared gradients. Where the model asks for more than the
    learning rate it is Adam. As `momo`, it follows the authors' code, from which `optax.contrib.momo_adam` departs
    where there is weight decay.

    Args:
        learning_rate: η, the largest step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the averages of gradients, losses and ⟨gradient, parameters⟩, in [0, 1).
        b2: Decay of the average of the squared gradients, in [0, 1).
        eps: Added to the root, at least 0.
        lower_bound: f★, a lower bound of the loss.
        weight_decay: λ, at least 0, a number, a traced scalar or a schedule.
        adapt_lower_bound: Estimate the bound as training goes on, from `lower_bound` up.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params` and `value`, the loss, which the train step gives it.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks an argument.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> loss_fn = lambda x: jnp.sum(x**2)
        >>> params, tx = jnp.array([1.0, 2.0]), momo_adam(1.0)
        >>> state = tx.init(params)
        >>> value, gradient = jax.value_and_grad(loss_fn)(params)
        >>> updates, state = tx.update(gradient, state, params, value=value)
        >>> print(updates.round(4))  # to where a linear loss would be 0: value / |gradient|₁ for each coordinate
        [-0.8333 -0.8333]

    Source:
        F. Schaipp, R. Ohana, M. Eickenberg, A. Defazio, R. Gower, "MoMo: Momentum Models for Adaptive Learning Rates",
        2023.
    """
    check_decays("momo_adam", eps, b1=b1, b2=b2)
    b1, b2, eps = wide_scalar(b1), wide_scalar(b2), wide_scalar(eps)

    def metric(updates: PyTree, state: Any, step: jax.Array) -> tuple[dict[str, PyTree], Scalars]:
        def advance(v: jax.Array, g: Any) -> jax.Array:
            return average(b2, 1 - b2, v, square(wide(jnp.asarray(g)))).astype(v.dtype)

        return {"exp_avg_sq": jax.tree.map(advance, state.exp_avg_sq, updates)}, root_scalars(b2, eps, 0.0, step)[:2]

    def divided(s: Scalars, m: jax.Array, v: jax.Array) -> jax.Array:
        root, small = s
        return (root * m / (jnp.sqrt(v) + small)).astype(m.dtype)

    return _momo(
        "momo_adam",
        MomoAdamState,
        (learning_rate, lower_bound, weight_decay),
        mask,
        adapt_lower_bound,
        lambda step: (b1, _correction(b1, step)),
        metric,
        divided,
    )


_correction = bias_correction  # momo has a keyword of that name
