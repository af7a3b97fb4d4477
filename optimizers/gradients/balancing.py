"""One gradient for several tasks, weighed by the course of their losses.

A member is `weigh(losses, state) -> (weights, state)`: from the `[T]` losses of this step and a small memory of the
steps before, what each task counts for. The tasks share one backward pass, that of the weighted sum, so that the cost
does not grow with their number. `per_task` and an aggregator see T gradients instead, at T times the backward pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._keys import key_of_rule
from optimizers._trees import PyTree, wide
from optimizers.aggregation.rgw import rgw_weights
from optimizers.gradients._losses import losses_of_tasks
from optimizers.gradients.backprop import GradientRule, LossFn, ValueAndGrad, backprop
from optimizers.gradients.stateful import StatefulRule


class FAMOState(NamedTuple):
    """State of `famo`: the logits of the task weights with their Adam, and the log losses of the step before."""

    logits: Array
    adam: PyTree
    log_losses: Array
    seen: Array


class DWAState(NamedTuple):
    """State of `dwa`: the sum of this epoch's losses, its number of steps, and the sums of the two epochs before."""

    total: Array
    steps: Array
    newer: Array
    older: Array


def famo(
    tasks: int,
    *,
    learning_rate: float | Array = 0.025,
    weight_decay: float | Array = 1e-3,
    min_losses: Float[Array | np.ndarray, " T"] | None = None,
    inner: GradientRule = backprop,
) -> StatefulRule:
    r"""FAMO: weights with which all losses fall at the same relative rate, learnt from the losses alone.

    $$
    g = c \sum_t z_t \nabla \log \ell_t, \qquad z = \mathrm{softmax}(\xi), \qquad
    c = \Big( \sum_t z_t / \ell_t \Big)^{-1}, \qquad \ell_t = L_t - b_t + 10^{-8}
    $$

    a convex combination of the task gradients. The logits $\xi$ (0 at first) take one step of Adam a call, down the
    slope $J^\top (\log \ell^{\text{before}} - \log \ell^{\text{after}}) + \gamma \xi$, with $J$ the Jacobian of the
    softmax: a task that fell less than the others gains weight. The losses after a step are those of the next call,
    before its gradient is taken. On one batch again and again this is the paper's trajectory; the authors' code
    evaluates each batch a second time instead, which takes the difference between batches out of the slope and costs
    one more forward pass a step. Costs one gradient of `inner`.

    Args:
        tasks: their number T.
        learning_rate: step size of Adam on the logits, at least 0.
        weight_decay: decay γ of the logits towards equal weights, at least 0.
        min_losses: lower bounds b of the losses, `[T]`; 0 by default. A loss below its bound gives NaN.
        inner: the gradient rule of the weighted loss. The losses are weighed wherever it evaluates them: each
            microbatch of `accumulate(4)` by its own.

    Returns:
        A `StatefulRule` for a `loss_fn` that returns the losses of T tasks, shape `[T]`. Its value is that `[T]`
        vector, its gradient one tree like the parameters.

    Raises:
        ValueError: a setting out of range, `min_losses` that are not `[T]`, or a `loss_fn` that does not return `[T]`.
        TypeError: a number of tasks that is not an integer, or an `inner` that is not a gradient rule.

    Examples:
        The second loss is a hundred times the first, and counts as much:

        >>> import jax.numpy as jnp
        >>> rule = famo(2)
        >>> loss_fn = lambda w: jnp.stack([(w - 1.0) ** 2, 100.0 * (w + 1.0) ** 2])
        >>> losses, gradient, state = rule.rule(loss_fn)(0.0, state=rule.init(0.0))
        >>> print(losses, f"{abs(gradient):.4f}")
        [  1. 100.] 0.0000

    Source:
        Bo Liu, Yihao Feng, Peter Stone, Qiang Liu, "FAMO: Fast Adaptive Multitask Optimization", 2023.
    """
    tasks = check_positive_integer("famo", "tasks", tasks)
    check_range("famo", "learning_rate", learning_rate, 0.0)
    check_range("famo", "weight_decay", weight_decay, 0.0)
    if min_losses is not None and np.shape(min_losses) != (tasks,):
        raise ValueError(f"famo: min_losses must have shape [{tasks}], got {list(np.shape(min_losses))}")
    adam = optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))

    def init(params: PyTree) -> FAMOState:
        zeros = jnp.zeros(tasks, _dtype(params))
        return FAMOState(zeros, adam.init(zeros), zeros, jnp.asarray(False))

    def weigh(losses: Array, state: FAMOState) -> tuple[Array, FAMOState]:
        above = losses - (0.0 if min_losses is None else jnp.asarray(min_losses, losses.dtype)) + 1e-8
        log_losses = jnp.log(above)
        _, pull_back = jax.vjp(jax.nn.softmax, state.logits)
        updates, moved = adam.update(pull_back(state.log_losses - log_losses)[0], state.adam, state.logits)
        logits, moments = jax.tree.map(
            lambda new, old: jnp.where(state.seen, new, old),
            (state.logits + updates, moved),
            (state.logits, state.adam),
        )
        shares = jax.nn.softmax(logits) / above
        return shares / jnp.sum(shares), FAMOState(logits, moments, log_losses, jnp.asarray(True))

    return _balanced("famo", inner, init, weigh)


def dwa(
    tasks: int, *, steps_per_epoch: int = 1, temperature: float | Array = 2.0, inner: GradientRule = backprop
) -> StatefulRule:
    r"""Dynamic weight average (DWA): a task counts for more the slower its loss fell over the last two epochs.

    $$
    g = \sum_t w_t \nabla L_t, \qquad w = T\, \mathrm{softmax}(r / \tau), \qquad
    r_t = \frac{\bar L_t^{(k-1)}}{\bar L_t^{(k-2)}}
    $$

    with $\bar L^{(k)}$ the mean losses of epoch k. The weights are 1 for the first two epochs; a rate whose
    denominator is 0 counts as 1, that of a loss which stays as it is. Costs one gradient of `inner`.

    Args:
        tasks: their number T.
        steps_per_epoch: number of calls that make an epoch, or any other window to average over.
        temperature: temperature τ of the softmax, above 0; the larger, the more equal the weights.
        inner: the gradient rule of the weighted loss, such as `accumulate(4)`.

    Returns:
        A `StatefulRule` for a `loss_fn` that returns the losses of T tasks, shape `[T]`. Its value is that `[T]`
        vector, its gradient one tree like the parameters.

    Raises:
        ValueError: a setting out of range, or a `loss_fn` that does not return `[T]`.
        TypeError: a number of tasks or steps that is not an integer, or an `inner` that is not a gradient rule.

    Examples:
        The first loss was halved from the first epoch to the second, the other was not:

        >>> import jax.numpy as jnp
        >>> rule = dwa(2, temperature=0.5)
        >>> value_and_grad = rule.rule(lambda w, scale: jnp.stack([w * scale, w]))
        >>> state = rule.init(1.0)
        >>> for scale in (1.0, 0.5, 0.0):
        ...     losses, gradient, state = value_and_grad(1.0, scale, state=state)
        >>> print(f"{gradient:.4f}")
        1.4621

    Source:
        Shikun Liu, Edward Johns, Andrew J. Davison, "End-to-End Multi-Task Learning with Attention", 2019.
    """
    tasks = check_positive_integer("dwa", "tasks", tasks)
    length = check_positive_integer("dwa", "steps_per_epoch", steps_per_epoch)
    check_range("dwa", "temperature", temperature, 0.0, open_low=True)

    def init(params: PyTree) -> DWAState:
        zeros = jnp.zeros(tasks, _dtype(params))
        return DWAState(zeros, jnp.zeros((), jnp.int32), zeros, zeros)

    def weigh(losses: Array, state: DWAState) -> tuple[Array, DWAState]:
        known = state.older != 0
        rates = jnp.where(known, state.newer / jnp.where(known, state.older, 1.0), 1.0)
        total, steps = state.total + losses, state.steps + 1
        running = DWAState(total, steps, state.newer, state.older)
        ended = DWAState(jnp.zeros_like(total), jnp.zeros_like(steps), total, state.newer)
        following = jax.tree.map(lambda new, old: jnp.where(steps == length, new, old), ended, running)
        return tasks * jax.nn.softmax(rates / temperature), following

    return _balanced("dwa", inner, init, weigh)


def random_loss_weighting(*, inner: GradientRule = backprop) -> Callable[..., ValueAndGrad]:
    r"""Random loss weighting (RLW): the gradient of a convex combination of the losses, with new weights each call.

    $$
    g = \sum_t w_t \nabla L_t, \qquad w = \mathrm{softmax}(n), \quad n \sim \mathcal N(0, I_T)
    $$

    On average the gradient of the mean loss. A litmus test: what does no better has not learnt to balance its tasks.
    `rgw` weighs the gradients of `per_task` in the same way, at T times the backward pass. Costs one gradient of
    `inner`.

    Args:
        inner: the gradient rule of the weighted loss, such as `accumulate(4)`, whose microbatches share the weights.

    Returns:
        A gradient rule for a `loss_fn` that returns the losses of T tasks, shape `[T]`. Its value is that `[T]`
        vector, its gradient one tree like the parameters. It draws from the first typed PRNG key among the arguments
        of the loss.

    Raises:
        ValueError: a `loss_fn` that does not return `[T]`, or no PRNG key among its arguments.
        TypeError: an `inner` that is not a gradient rule.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> value_and_grad = random_loss_weighting()(lambda w, key: jnp.stack([w, 3.0 * w]))
        >>> gradients = jax.vmap(lambda key: value_and_grad(1.0, key)[1])(jax.random.split(jax.random.key(0), 10_000))
        >>> print(f"{gradients.mean():.1f}")
        2.0

    Source:
        Baijiong Lin, Feiyang Ye, Yu Zhang, Ivor W. Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test
        for Multi-Task Learning", 2022.
    """
    name = "random_loss_weighting"
    check_callable(name, "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def value_and_grad(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            key = key_of_rule(name, (args, kwargs))
            weighted = _weighted(name, loss_fn, has_aux, lambda losses: rgw_weights(losses.shape[0], key))
            (_, (losses, aux)), gradient = inner(weighted, True)(params, *args, step=step, **kwargs)
            return ((losses, aux) if has_aux else losses), gradient

        return value_and_grad

    return rule


def _balanced(
    function: str, inner: GradientRule, init: Callable[[PyTree], Any], weigh: Callable[[Array, Any], tuple[Array, Any]]
) -> StatefulRule:
    """The stateful rule of `weigh`: its state, a vector `[T]` first, follows the losses at the parameters."""
    check_callable(function, "inner", inner, "rule(loss_fn, has_aux)")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, Any]]:
        def value_and_grad(
            params: PyTree, *args: Any, state: Any, step: Any = None, **kwargs: Any
        ) -> tuple[Any, Any, Any]:
            dtype, tasks = state[0].dtype, state[0].shape[0]
            weighted = _weighted(
                function, loss_fn, has_aux, lambda losses: weigh(losses.astype(dtype), state)[0], tasks
            )
            (_, (losses, aux)), gradient = inner(weighted, True)(params, *args, step=step, **kwargs)
            following = weigh(losses.astype(dtype), state)[1]
            return ((losses, aux) if has_aux else losses), gradient, following

        return value_and_grad

    return StatefulRule(init, rule)


def _weighted(
    function: str,
    loss_fn: LossFn,
    has_aux: bool,
    weigh: Callable[[Array], Array],
    tasks: int | None = None,
) -> LossFn:
    """`loss_fn` as one number with auxiliary data `(losses, aux)`; the weights are constants to the gradient."""

    losses_and_aux = losses_of_tasks(function, loss_fn, has_aux, tasks)

    def loss_and_aux(params: PyTree, *args: Any, **kwargs: Any) -> tuple[Array, tuple[Array, Any]]:
        losses, aux = losses_and_aux(params, *args, **kwargs)
        weights = weigh(jax.lax.stop_gradient(wide(losses)))
        return jnp.sum(weights * wide(losses)), (losses, aux)

    return loss_and_aux


def _dtype(params: PyTree) -> Any:
    """float32, or float64 where a parameter is."""
    dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(params)}
    return jnp.result_type(jnp.float32, *(dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)))
