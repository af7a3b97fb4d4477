"""The 1cycle policy: learning rate and momentum in one cycle each, and the test that finds the rate's peak."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._moments import wide_scalar
from optimizers._trees import PyTree


def _piecewise_linear(steps: int, pct_cycle: float, values: tuple[Any, Any, Any, Any]) -> optax.Schedule:
    """Through `values` at the run's start, the middle of the cycle, its end, and the run's end."""
    knots = jnp.asarray([0.0, 0.5 * pct_cycle, pct_cycle, 1.0]) * steps
    return lambda count: jnp.interp(
        jnp.asarray(count, float), knots, jnp.stack([jnp.asarray(v, float) for v in values])
    )


def one_cycle_schedule(
    transition_steps: int,
    peak_value: jax.typing.ArrayLike,
    pct_cycle: float = 0.9,
    div_factor: jax.typing.ArrayLike = 10.0,
    final_div_factor: jax.typing.ArrayLike = 1e3,
) -> optax.Schedule:
    r"""The learning rate of the 1cycle policy: up, down by the same way, and down by orders of magnitude.

    $$\eta: \quad \frac{\eta_{max}}{d} \;\to\; \eta_{max} \;\to\; \frac{\eta_{max}}{d} \;\to\; \frac{\eta_{max}}{d\,f}
    \qquad \text{at} \quad t = 0,\; \tfrac{c}{2} T,\; c\,T,\; T$$

    linear between these steps. It is `optax.linear_onecycle_schedule` with `pct_start` half of `pct_final`, as the
    paper has the cycle, without its rounding of the corners to whole steps; and it goes with
    `one_cycle_momentum_schedule`, which Optax lacks. The larger the peak, the smaller the weight decay should be.

    Args:
        transition_steps: T, steps of the run, at least 1.
        peak_value: η_max, at least 0; `suggest_max_lr` finds it.
        pct_cycle: c, the part of the run that the cycle takes, in (0, 1).
        div_factor: d, how far below its peak the rate starts, at least 1.
        final_div_factor: f, how far below its start the rate ends, at least 1.

    Returns:
        An Optax schedule, count -> learning rate.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `transition_steps` is no integer.

    Examples:
        >>> schedule = one_cycle_schedule(100, 1.0, pct_cycle=0.8)
        >>> print([round(float(schedule(count)), 4) for count in (0, 20, 40, 80, 100)])
        [0.1, 0.55, 1.0, 0.1, 0.0001]

    Source:
        L. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.
    """
    function = "one_cycle_schedule"
    steps = check_positive_integer(function, "transition_steps", transition_steps)
    check_range(function, "peak_value", peak_value, 0.0)
    check_range(function, "pct_cycle", pct_cycle, 0.0, 1.0, open_low=True, open_high=True)
    check_range(function, "div_factor", div_factor, 1.0)
    check_range(function, "final_div_factor", final_div_factor, 1.0)
    peak = wide_scalar(peak_value)
    low = peak / wide_scalar(div_factor)
    return _piecewise_linear(steps, pct_cycle, (low, peak, low, low / wide_scalar(final_div_factor)))


def one_cycle_momentum_schedule(
    transition_steps: int,
    max_momentum: jax.typing.ArrayLike = 0.95,
    base_momentum: jax.typing.ArrayLike = 0.85,
    pct_cycle: float = 0.9,
) -> optax.Schedule:
    r"""The momentum of the 1cycle policy: down while the learning rate rises, up while it falls, then constant.

    $$\mu: \quad \mu_{max} \;\to\; \mu_{base} \;\to\; \mu_{max} \;\to\; \mu_{max} \qquad \text{at} \quad
    t = 0,\; \tfrac{c}{2} T,\; c\,T,\; T$$

    For a transformation whose momentum is no schedule, `optax.inject_hyperparams` makes it one:
    `optax.inject_hyperparams(optax.sgd)(one_cycle_schedule(100, 1.0), one_cycle_momentum_schedule(100))`.

    Args:
        transition_steps: T, steps of the run, at least 1.
        max_momentum: μ_max, in [0, 1).
        base_momentum: μ_base, in [0, 1).
        pct_cycle: c, the part of the run that the cycle takes, in (0, 1); as in `one_cycle_schedule`.

    Returns:
        An Optax schedule, count -> momentum.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `transition_steps` is no integer.

    Examples:
        >>> schedule = one_cycle_momentum_schedule(100, pct_cycle=0.8)
        >>> print([round(float(schedule(count)), 4) for count in (0, 20, 40, 80, 100)])
        [0.95, 0.9, 0.85, 0.95, 0.95]

    Source:
        L. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.
    """
    function = "one_cycle_momentum_schedule"
    steps = check_positive_integer(function, "transition_steps", transition_steps)
    check_range(function, "max_momentum", max_momentum, 0.0, 1.0, open_high=True)
    check_range(function, "base_momentum", base_momentum, 0.0, 1.0, open_high=True)
    check_range(function, "pct_cycle", pct_cycle, 0.0, 1.0, open_low=True, open_high=True)
    return _piecewise_linear(steps, pct_cycle, (max_momentum, base_momentum, max_momentum, max_momentum))


def lr_range_test(
    step_fn: Callable[[PyTree, jax.Array], tuple[PyTree, jax.Array]],
    state: PyTree,
    lr_min: jax.typing.ArrayLike,
    lr_max: jax.typing.ArrayLike,
    steps: int,
) -> tuple[jax.Array, jax.Array]:
    r"""The learning-rate range test: one short run with a rate that grows at every step, and its losses.

    $$\eta_i = \eta_{min} \Big(\frac{\eta_{max}}{\eta_{min}}\Big)^{i / (n - 1)}, \qquad
    (s_{i + 1}, \ell_i) = \text{step}(s_i, \eta_i), \qquad i = 0, \dots, n - 1$$

    The run is one `jax.lax.scan`: `step_fn` is traced once. The state that it ends in is of no use, and not returned.

    Args:
        step_fn: `step_fn(state, learning_rate) -> (state, loss)`, one step of training; the loss, a scalar, is that of
            the state it is given, before the step. A train step whose optimizer is in `optax.inject_hyperparams` takes
            the rate as `state.opt_state.hyperparams["learning_rate"]`.
        state: State of the first step, any pytree of arrays.
        lr_min: First learning rate, positive.
        lr_max: Last learning rate, positive.
        steps: n, at least 2.

    Returns:
        The learning rates, `[n]`, and the losses, `[n]`; for `suggest_max_lr`.

    Raises:
        ValueError: A learning rate is not positive, or `steps` less than 2.
        TypeError: `step_fn` is no function, or `steps` no integer.

    Examples:
        A parabola of curvature 4 diverges beyond a learning rate of 2 / 4:

        >>> import jax
        >>> loss_fn = lambda x: 2.0 * x**2
        >>> step_fn = lambda x, rate: (x - rate * jax.grad(loss_fn)(x), loss_fn(x))
        >>> rates, losses = lr_range_test(step_fn, 1.0, 1e-2, 10.0, 100)
        >>> print(f"{suggest_max_lr(rates, losses):.2f}")
        0.50

    Source:
        L. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017; "A disciplined approach to neural
        network hyper-parameters: Part 1", 2018.
    """
    function = "lr_range_test"
    check_callable(function, "step_fn", step_fn, "(state, learning_rate) -> (state, loss)")
    check_range(function, "lr_min", lr_min, 0.0, open_low=True)
    check_range(function, "lr_max", lr_max, 0.0, open_low=True)
    if check_positive_integer(function, "steps", steps) < 2:
        raise ValueError(f"{function}: steps must be at least 2, got {steps}")
    rates = jnp.geomspace(wide_scalar(lr_min), wide_scalar(lr_max), steps)
    _, losses = jax.lax.scan(step_fn, jax.tree.map(jnp.asarray, state), rates)
    return rates, losses


def suggest_max_lr(
    lrs: jax.Array,
    losses: jax.Array,
    smoothing: jax.typing.ArrayLike = 0.0,
    divergence: jax.typing.ArrayLike = 4.0,
) -> jax.Array:
    r"""The largest usable learning rate of a range test: the last one before the loss begins to rise for good.

    $$\bar\ell_i = \frac{\sum_{j \le i} \beta^{i - j} \ell_j}{\sum_{j \le i} \beta^{i - j}}, \qquad
    k = \arg\min_{i < D} \bar\ell_i, \qquad \eta = \eta_{k - 1}$$

    where D is the first step whose smoothed loss is beyond `divergence` times the best so far, or not a number: what
    comes after is no training any more. The smallest usable rate is 3 to 20 times smaller. Where the loss falls to the
    end, this is the last rate but one, and the test should go on to larger ones.

    Args:
        lrs: Learning rates `[n]` of the steps, rising.
        losses: Losses `[n]` before each of the steps.
        smoothing: β, decay of the losses' average, in [0, 1); noisy losses need 0.9 or more.
        divergence: Multiple of the best loss that ends the test, at least 1; of its absolute value where negative.

    Returns:
        The learning rate, a scalar.

    Raises:
        ValueError: `lrs` and `losses` are not vectors of one length, or a number is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> losses = jnp.array([3.0, 2.5, 1.5, 1.0, 1.2, 6.0, 0.5])
        >>> print(f"{suggest_max_lr(jnp.geomspace(1e-3, 1e3, 7), losses):.2f}")
        0.10

    Source:
        L. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.
    """
    function = "suggest_max_lr"
    check_range(function, "smoothing", smoothing, 0.0, 1.0, open_high=True)
    check_range(function, "divergence", divergence, 1.0)
    lrs, losses = jnp.asarray(lrs, float), jnp.asarray(losses, float)
    if lrs.ndim != 1 or lrs.shape != losses.shape or not lrs.size:
        raise ValueError(
            f"{function}: lrs and losses must be vectors of one length, got shapes {lrs.shape} and {losses.shape}"
        )
    decay = wide_scalar(smoothing)

    def average(carry: tuple[jax.Array, jax.Array], loss: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        total, weight = decay * carry[0] + loss, decay * carry[1] + 1
        return (total, weight), total / weight

    zero = jnp.zeros((), losses.dtype)
    smooth = jax.lax.scan(average, (zero, zero), losses)[1]
    best = jax.lax.cummin(jnp.where(jnp.isnan(smooth), jnp.inf, smooth))
    diverged = ~(smooth <= best + (wide_scalar(divergence) - 1) * jnp.abs(best))
    over = jax.lax.cummax(diverged.astype(jnp.int32))
    lowest = jnp.argmin(jnp.where(over > 0, jnp.inf, smooth))
    return jnp.where(over[0] > 0, jnp.nan, lrs[jnp.maximum(lowest - 1, 0)])
