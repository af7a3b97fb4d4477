"""Averages of the parameters over the run, kept by a link of the chain and found wherever the chain has them.

One equation: after every step the average moves towards the parameters θ_t by a share c_t,

    average ← average + c_t (θ_t - average),

in which an exponential average has c_t = (1 - d) / (1 - d**t), and an equal-weight average c_t = 1/n for the n-th
member. Written so, and not as d average + (1 - d) θ, constant parameters are a fixed point whatever the rounding of d:
with d = 0.9999 in float32 the other form settles up to 3e-4 away.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import MU_DTYPES, check_moment_dtype, real_dtype, wide_scalar
from optimizers._rounding import store
from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.wrappers._inner import check_given


class ParameterAverageState(NamedTuple):
    """The average of the parameters, the sum of the weights it was made with, and the number of updates."""

    count: jax.Array  # type: ignore[assignment]
    weight: jax.Array
    average: PyTree


# From the number t = 1, 2, … of this step and the sum of the weights so far: the share c_t and the new sum.
Shares = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def _averaging(function: str, shares: Shares, dtype: Any) -> optax.GradientTransformationExtraArgs:
    """The family: `shares(t, weight)` gives c_t and the new sum of the weights."""
    dtype = check_moment_dtype(function, "accumulator_dtype", dtype, MU_DTYPES)

    def init(params: PyTree) -> ParameterAverageState:
        def leaf(p: Any) -> jax.Array:
            p = jnp.array(p)
            return p.astype(accumulator_dtype(p.dtype) if dtype is None or jnp.iscomplexobj(p) else dtype)

        return ParameterAverageState(
            jnp.zeros([], jnp.int32), jnp.zeros([], jnp.result_type(float)), jax.tree.map(leaf, params)
        )

    def update(
        updates: PyTree, state: ParameterAverageState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, ParameterAverageState]:
        del extra_args
        params = check_given(function, "params", params)
        count = optax.safe_increment(state.count)
        share, weight = shares(count, state.weight)
        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(params)

        def leaf(number: int, p: Any, u: Any, old: jax.Array) -> jax.Array:
            p = jnp.asarray(p)
            new = wide((p + u).astype(p.dtype))  # what optax.apply_updates will make of it
            base = wide(old).astype(new.dtype)
            c = share.astype(real_dtype(new.dtype))
            moved = jnp.where(c == 1, new, base + c * (new - base))
            return store(moved, old.dtype, count, number)

        olds, steps = treedef.flatten_up_to(state.average), treedef.flatten_up_to(updates)
        new = [leaf(k, p, u, old) for k, (p, u, old) in enumerate(zip(leaves, steps, olds, strict=True))]
        return updates, ParameterAverageState(count, weight.astype(state.weight.dtype), treedef.unflatten(new))

    return optax.GradientTransformationExtraArgs(init, update)


def parameter_ema(
    decay: optax.ScalarOrSchedule = 0.999, *, debias: bool = True, accumulator_dtype: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Keep an exponential moving average of the parameters, the last link of a chain.

    $$\bar\theta_t = \bar\theta_{t-1} + \frac{1 - d_t}{W_t} \left(\theta_t - \bar\theta_{t-1}\right), \qquad
    W_t = d_t W_{t-1} + 1 - d_t, \quad W_0 = 0$$

    For a constant decay W_t = 1 - d^t: this is the bias-corrected average of the iterates that Kingma and Ba call
    temporal averaging, and the first step's average is θ_1. Without `debias` W_t is 1 and the average starts from the
    initial parameters, as `TrainState.ema_params` does.

    `optax.chain(adamw(1e-3), parameter_ema(0.999))` trains as `adamw` alone does; updates pass through unchanged. The
    link has to come last, where updates are what is added to the parameters. `averaged_params` reads the average out of
    the state. Unlike the average of the train step, this one skips what `optax.MultiSteps` and `optax.apply_if_finite`
    skip, and may be given to some of the parameters alone (`optax.masked`).

    Args:
        decay: Decay d, in [0, 1): a number, a traced scalar or an Optax schedule.
        debias: Weigh the iterates alone, not the initial parameters.
        accumulator_dtype: dtype of the average; None means float32, or the parameters' dtype where that is wider.
            bfloat16 and float16 are rounded stochastically, hence without bias.

    Returns:
        An Optax transformation; `update` needs `params` and returns the updates as they came.

    Raises:
        ValueError: A concrete `decay` is out of range, or `update` gets no `params`.
        TypeError: `accumulator_dtype` is no floating-point dtype.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> params, tx = jnp.array(0.0), optax.chain(optax.sgd(1.0), parameter_ema(0.5))
        >>> state = tx.init(params)
        >>> for _ in range(2):
        ...     updates, state = tx.update(jnp.array(-3.0), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(params, averaged_params(state, params))  # (3 + 2 · 6) / 3
        6.0 5.0

    Source:
        D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, section 7.2; B. T. Polyak, A. B.
        Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """
    check_range("parameter_ema", "decay", decay, 0.0, 1.0, open_high=True)

    def shares(step: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        d = jnp.asarray(wide_scalar(decay(step - 1) if callable(decay) else decay)).astype(weight.dtype)
        growth = jnp.where((d >= 0) & (d < 1), 1 - d, jnp.nan)
        total = d * weight + growth if debias else jnp.ones_like(weight)
        return growth / total, total

    return _averaging("parameter_ema", shares, accumulator_dtype)


def parameter_average(
    start: int = 0, period: int = 1, *, accumulator_dtype: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Keep the mean of the parameters over the run, or over its tail: Polyak–Ruppert averages and SWA.

    $$\bar\theta = \frac{1}{n} \sum_{k=1}^{n} \theta_{s + k p}$$

    over the steps after `start` s whose distance from it is a multiple of `period` p, with equal weights. Until the
    first of them the average is the parameters themselves. `start=0, period=1` is the average of Polyak and Juditsky
    over all iterates; a cyclic or constant learning rate after `start`, and the length of a cycle or an epoch for
    `period`, is stochastic weight averaging (SWA). The paper counts the weights that SWA starts from as the first
    member: give a `start` that is one period earlier; as it stands this agrees with `torch.optim.swa_utils`.

    It stands last in a chain, as `parameter_ema`, and `averaged_params` reads it. A model with batch normalisation
    needs its statistics computed afresh under the averaged weights.

    Args:
        start: Number of steps before the average begins, at least 0.
        period: Steps from one member of the average to the next, at least 1.
        accumulator_dtype: dtype of the average, as for `parameter_ema`.

    Returns:
        An Optax transformation; `update` needs `params` and returns the updates as they came.

    Raises:
        ValueError: `start` or `period` is out of range, or `update` gets no `params`.
        TypeError: `start` or `period` is no integer, or `accumulator_dtype` is no floating-point dtype.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> params, tx = jnp.array(0.0), optax.chain(optax.sgd(1.0), parameter_average(start=2, period=3))
        >>> state = tx.init(params)
        >>> for _ in range(9):
        ...     updates, state = tx.update(jnp.array(-1.0), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(params, averaged_params(state, params))  # of 5 and 8
        9.0 6.5

    Source:
        P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson, "Averaging Weights Leads to Wider Optima and
        Better Generalization", 2018; B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic Approximation by
        Averaging", 1992.
    """
    if isinstance(start, bool) or not isinstance(start, int | np.integer):
        raise TypeError(f"parameter_average: start must be an integer, got {type(start).__name__}")
    check_range("parameter_average", "start", start, 0)
    period = check_positive_integer("parameter_average", "period", period)

    def shares(step: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        since = step - start
        member = (since > 0) & (since % period == 0)
        total = weight + member
        return jnp.where(total < 1, 1.0, jnp.where(member, 1 / jnp.maximum(total, 1), 0.0)), total

    return _averaging("parameter_average", shares, accumulator_dtype)


_STATES = (ParameterAverageState, optax.contrib.ScheduleFreeState)


def _is_masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def _values(state: Any, params: PyTree) -> PyTree:
    """The average that one state holds, in the dtypes of `params`; MaskedNode where it holds none."""
    if isinstance(state, ParameterAverageState):
        return jax.tree.map(
            lambda a, p: a if _is_masked(a) else a.astype(jnp.result_type(p)), state.average, params, is_leaf=_is_masked
        )

    def leaf(z: Any, y: Any) -> Any:
        if _is_masked(z):
            return z
        y = jnp.asarray(y)
        b1 = jnp.asarray(state.b1).astype(real_dtype(accumulator_dtype(y.dtype)))
        # y = (1 - b1) z + b1 x solved for x as a step away from z, so that y = z gives z exactly.
        return (wide(z) + (wide(y) - wide(z)) / b1).astype(y.dtype)

    return jax.tree.map(leaf, state.z, params, is_leaf=_is_masked)


def averaged_params(state: PyTree, params: PyTree) -> PyTree:
    r"""The averaged parameters, for evaluation, out of the state of any transformation that keeps some.

    Finds the state of `parameter_ema`, `parameter_average` or `schedule_free` (ours or Optax's) wherever it is: inside
    chains, `optax.masked`, `optax.inject_hyperparams`, `optax.MultiSteps`, `optax.apply_if_finite`,
    `optax.multi_transform`, `optax.partition`, or a `TrainState`. Leaves that no average covers are returned as they
    are in `params`. For schedule-free learning it is the sequence

    $$x_t = z_t + (y_t - z_t) / \beta_1$$

    of which the parameters that train are y_t.

    Args:
        state: The optimizer's state, or anything that contains it.
        params: The parameters that belong to it, as they are after the step.

    Returns:
        Parameters like `params`: structure, shapes and dtypes.

    Raises:
        ValueError: No average is there, or two cover the same leaf.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> params = {"w": jnp.array(4.0), "b": jnp.array(1.0)}
        >>> tx = optax.masked(optax.chain(optax.sgd(1.0), parameter_average()), {"w": True, "b": False})
        >>> state = tx.init(params)
        >>> for _ in range(3):
        ...     updates, state = tx.update(params, state, params)  # w: 4 → 0 → 0 → 0; b passes through: 1 → 2 → 4 → 8
        ...     params = optax.apply_updates(params, updates)
        >>> print(averaged_params(state, params)["w"], averaged_params(state, params)["b"])
        0.0 8.0
    """
    nodes = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, _STATES))
    found = [x for x in nodes if isinstance(x, _STATES)]
    if not found:
        raise ValueError("averaged_params: state must hold an average of the parameters, got one that holds none")
    taken = jax.tree.map(lambda _: 0, params)
    result = params
    for each in found:
        values = _values(each, params)
        result = jax.tree.map(lambda v, r: r if _is_masked(v) else v, values, result, is_leaf=_is_masked)
        taken = jax.tree.map(
            lambda v, t: t if _is_masked(v) else jax.tree.map(lambda n: n + 1, t), values, taken, is_leaf=_is_masked
        )
    if any(n > 1 for n in jax.tree.leaves(taken)):
        raise ValueError(f"averaged_params: state must hold one average of each leaf, got {len(found)} that overlap")
    return result
