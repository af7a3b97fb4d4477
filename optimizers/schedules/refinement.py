"""Schedules refined from the gradient norms of the run before, and any schedule from a table.

The last iterate of gradient descent is the average, by any weights w, of an auxiliary run when the step sizes are

    eta_t = w_t * (w_{t+1} + ... + w_T) / (w_1 + ... + w_T)

Weights are free to follow the problem: where gradients were large, the best weights are small.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import wide_scalar
from optimizers._trees import PyTree, wide

POWERS = {"sgd": -2.0, "adam": -1.0}


class GradientNormsState(NamedTuple):
    """State of `record_gradient_norms`: the number of updates made, and the norms of their gradients."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    norms: jax.Array


def record_gradient_norms(total_steps: int, order: Literal[1, 2] = 2) -> optax.GradientTransformationExtraArgs:
    r"""Keep the norm of every gradient that passes; the gradients themselves are left as they are.

    $$N_t = \lVert g_t \rVert_1 \quad \text{or} \quad \lVert g_t \rVert_2$$

    over all leaves, accumulated in float32 or wider. First in a chain, it sees what the train step computes. The norms
    of a whole run are in the state, as `optax.tree.get(state, "norms")`, and need no transfer before its end. The L2
    norm is among the train step's metrics as well, one a step, as `grad_norm`.

    Args:
        total_steps: T, how many norms to keep, at least 1; later ones are dropped.
        order: 1 for `refine_schedule(mode="adam")`, 2 for `mode="sgd"`.

    Returns:
        An Optax transformation whose state has the step count and `norms`, `[T]`, with zeros for steps to come.

    Raises:
        ValueError: `total_steps` is less than 1, or `order` neither 1 nor 2.
        TypeError: `total_steps` is no integer.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(record_gradient_norms(3, order=1), optax.adam(0.1))
        >>> params = {"w": jnp.array([3.0, -4.0])}
        >>> state = tx.init(params)
        >>> for scale in (1.0, 2.0):
        ...     _, state = tx.update({"w": scale * params["w"]}, state, params)
        >>> print(optax.tree.get(state, "norms"))
        [ 7. 14.  0.]

    Source:
        A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "When, Why and How Much? Adaptive Learning Rate Scheduling by
        Refinement", 2023.
    """
    steps = check_positive_integer("record_gradient_norms", "total_steps", total_steps)
    if order not in (1, 2):
        raise ValueError(f"record_gradient_norms: order must be 1 or 2, got {order!r}")

    def init(params: PyTree) -> GradientNormsState:
        del params
        return GradientNormsState(jnp.zeros([], jnp.int32), jnp.zeros(steps, jnp.float32))

    def update(
        updates: PyTree, state: GradientNormsState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, GradientNormsState]:
        del params, extra_args
        sums = [jnp.sum(jnp.abs(wide(jnp.asarray(g))) ** order) for g in jax.tree.leaves(updates)]
        total = sum(sums, start=jnp.zeros([], jnp.float32)).astype(jnp.float32)
        norm = total if order == 1 else jnp.sqrt(total)
        norms = state.norms.at[state.count].set(norm, mode="drop")
        return updates, GradientNormsState(optax.safe_increment(state.count), norms)

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_from_array(values: jax.typing.ArrayLike) -> optax.Schedule:
    r"""The schedule that reads a table: `values[0]` at the first update, its last entry from there on.

    $$\eta(t) = v_{\min(t, T - 1)}$$

    Args:
        values: `[T]`, at least one.

    Returns:
        An Optax schedule, count -> value.

    Raises:
        ValueError: `values` is no vector, or empty.

    Examples:
        >>> schedule = schedule_from_array([0.1, 0.3, 0.2])
        >>> print([round(float(schedule(count)), 1) for count in (0, 1, 2, 9)])
        [0.1, 0.3, 0.2, 0.2]

    Source:
        A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "When, Why and How Much? Adaptive Learning Rate Scheduling by
        Refinement", 2023.
    """
    table = _vector("schedule_from_array", "values", values)
    return lambda count: table[jnp.clip(jnp.asarray(count), 0, table.size - 1)]


def schedule_from_weights(
    weights: jax.typing.ArrayLike, peak_value: jax.typing.ArrayLike | None = None
) -> optax.Schedule:
    r"""The step sizes whose last iterate is as good as the weighted average of the iterates.

    $$\eta_t = w_t\,\frac{\sum_{p = t + 1}^T w_p}{\sum_{p = 1}^T w_p}, \qquad t = 1, \dots, T$$

    Equal weights give the linear decay (1 - t / T). The last value is 0: the iterate before it is the result.

    Args:
        weights: w, `[T]`, positive; their scale is that of the step sizes.
        peak_value: The largest step size, at least 0, to which all are scaled; None leaves them as above.

    Returns:
        An Optax schedule: η₁ at the first update, 0 at update T and after it.

    Raises:
        ValueError: `weights` is no vector, or empty; or `peak_value` negative.

    Examples:
        >>> schedule = schedule_from_weights([1.0, 1.0, 1.0, 1.0])
        >>> print([float(schedule(count)) for count in range(4)])
        [0.75, 0.5, 0.25, 0.0]

    Source:
        A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "When, Why and How Much? Adaptive Learning Rate Scheduling by
        Refinement", 2023, theorem 1.
    """
    check_range("schedule_from_weights", "peak_value", peak_value, 0.0)
    w = _vector("schedule_from_weights", "weights", weights)
    sums = jnp.cumsum(w[::-1])[::-1]
    sizes = w * jnp.append(sums[1:], 0.0) / sums[0]
    if peak_value is not None:
        sizes = wide_scalar(peak_value) * sizes / jnp.max(sizes)
    return schedule_from_array(sizes)


def refine_schedule(
    grad_norms: Any,
    peak_value: jax.typing.ArrayLike = 1.0,
    *,
    smoothing: float = 0.1,
    mode: Literal["sgd", "adam"] = "sgd",
) -> optax.Schedule:
    r"""The next run's schedule from the gradient norms of the last: a warm-up and an annealing that fit the problem.

    $$\hat G = \text{median filter}(G, \tau T), \qquad w_t = \begin{cases} \hat G_t^{-2} & \text{sgd, L2 norms} \\
    \hat G_t^{-1} & \text{adam, L1 norms} \end{cases}, \qquad \eta_t \propto w_t \sum_{p = t + 1}^T w_p$$

    with the largest η at `peak_value`. Gradients that begin large give a warm-up; gradients that grow at the end give a
    fall faster than linear. The filter has the authors' width and padding: an odd number of steps, the first norm
    repeated to the left, the norms mirrored to the right.

    Works on the host, in float64, once between two runs; a run of another length reads the schedule at a scaled count.

    Args:
        grad_norms: G, `[T]`, at least two, positive and finite (leave out skipped steps): the train step's metric
            `grad_norm` of each step, or what `record_gradient_norms` keeps.
        peak_value: Largest value of the schedule, at least 0.
        smoothing: τ, width of the filter as a part of the run, in [0, 1].
        mode: `"sgd"` from L2 norms, `"adam"` from L1 norms (for any method that scales coordinates).

    Returns:
        An Optax schedule of T steps, 0 at the last.

    Raises:
        ValueError: An argument is out of range, or `grad_norms` no vector of positive numbers.

    Examples:
        Half a run of large gradients, then small ones, as Adam saw them:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(record_gradient_norms(8, order=1), optax.adam(0.1))
        >>> params = jnp.zeros(2)
        >>> state = tx.init(params)
        >>> for size in [4.0, 4.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0]:
        ...     _, state = tx.update(jnp.full(2, size), state, params)
        >>> schedule = refine_schedule(optax.tree.get(state, "norms"), 1e-2, smoothing=0.0, mode="adam")
        >>> print([round(float(schedule(count)), 4) for count in range(8)])
        [0.004, 0.0037, 0.0035, 0.0033, 0.01, 0.0067, 0.0033, 0.0]

    Source:
        A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "When, Why and How Much? Adaptive Learning Rate Scheduling by
        Refinement", 2023, algorithms 1 and 2.
    """
    function = "refine_schedule"
    check_range(function, "peak_value", peak_value, 0.0)
    check_range(function, "smoothing", smoothing, 0.0, 1.0)
    if mode not in POWERS:
        raise ValueError(f"{function}: mode must be 'sgd' or 'adam', got {mode!r}")
    norms = np.asarray(grad_norms, np.float64)
    if norms.ndim != 1 or norms.size < 2 or not (np.all(np.isfinite(norms)) and np.all(norms > 0)):
        raise ValueError(
            f"{function}: grad_norms must be a vector of at least two positive finite numbers, "
            f"got shape {norms.shape} with minimum {np.min(norms, initial=np.inf)}"
        )
    smooth = _median_filter(norms, int(smoothing * norms.size) // 2)
    weights = (smooth / np.min(smooth)) ** POWERS[mode]
    sizes = weights * np.append(np.cumsum(weights[::-1])[-2::-1], 0.0)
    return schedule_from_array(wide_scalar(peak_value) * jnp.asarray(sizes / np.max(sizes)))


def _median_filter(values: np.ndarray, half: int) -> np.ndarray:
    """Running medians of 2 half + 1 values, the first repeated before the start, all mirrored beyond the end."""
    padded = np.concatenate([np.full(half, values[0]), np.pad(values, (0, half), mode="reflect")]).tolist()
    return np.fromiter(_running_medians(padded, half), np.float64, len(values))


def _running_medians(values: list[float], half: int) -> Iterable[float]:
    width = 2 * half + 1
    window = sorted(values[:width])
    yield window[half]
    for old, new in zip(values, values[width:]):
        del window[bisect_left(window, old)]
        insort(window, new)
        yield window[half]


def _vector(function: str, name: str, values: jax.typing.ArrayLike) -> jax.Array:
    array = jnp.asarray(values, float)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{function}: {name} must be a vector of at least one number, got shape {array.shape}")
    return array
