"""ExcessMTL: task weights that grow with the tasks' excess risks, estimated from squared gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.aggregation._carried import keep_unless
from optimizers.aggregation._gramian import combine
from optimizers.aggregation._tasks import check_task_number, stacked_zeros

# Added to sums of squares and to baselines, as in the authors' code.
_EPS = 1e-7


class ExcessMTLState(NamedTuple):
    """State of `excess_mtl`: sums of squared gradients in `squares`, leaves `[T, ...]`, `log_weights` `[T]`, the mean
    excess risks of the first updates in `baseline` `[T]`, and in `step` the updates that had finite gradients."""

    squares: PyTree
    log_weights: Float[Array, " T"]
    baseline: Float[Array, " T"]
    step: Int[Array, ""]


def excess_mtl(tasks: int, *, step_size: Any = 1.0, warmup_steps: int = 1) -> optax.GradientTransformationExtraArgs:
    r"""Robust multi-task learning: weights that grow with what each task is still above its optimum.

    $$
    w_t \leftarrow \frac{w_t e^{\eta r_t}}{\sum_s w_s e^{\eta r_s}}, \quad r_t = \frac{E_t}{\bar E_t}, \quad
    E_t = \sum_p \frac{g_{tp}^2}{\sqrt{\sum_k g_{tp,k}^2}}
    $$

    The excess risk E of a task is estimated by a Taylor expansion, with the root of the sum of its squared gradients
    over the updates k for the Hessian's diagonal; it counts relative to its mean over the first updates. Unlike the
    loss itself it is near 0 for a task of noisy labels that is learnt as well as can be, which so draws no weight. In
    the `warmup_steps` that determine the means the weights are even. (The authors' code may go without those; then it
    takes the first risks unscaled, which are sums of absolute gradients.)

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype. The state holds a float32 number for each entry of the T gradients. A gradient with NaN or inf gives NaN, and
    leaves the state as it is.

    Args:
        tasks: their number T.
        step_size: eta of the weights' exponentiated gradient ascent, above 0.
        warmup_steps: updates whose mean excess risks are the unit of later ones; three epochs' in the paper.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks or steps that is not an integer.
        ValueError: a step size of 0 or less, no steps; from the update, leaves without a leading axis of `tasks`.

    Examples:
        The first task's gradient has shrunk, the second's not:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(excess_mtl(2), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> state = tx.init(params)
        >>> for gradients in ([[1.0, 0.0], [0.0, 1.0]], [[0.1, 0.0], [0.0, 1.0]]):
        ...     updates, state = tx.update(jnp.array(gradients), state, params)
        ...     print([round(float(u), 3) for u in updates])
        [-0.5, -0.5]
        [-0.033, -0.668]

    Source:
        He, Zhou, Zhang, Zhao, "Robust Multi-Task Learning with Excess Risks" (2024).
    """
    tasks = check_positive_integer("excess_mtl", "tasks", tasks)
    check_range("excess_mtl", "step_size", step_size, 0.0, open_low=True)
    warmup = check_positive_integer("excess_mtl", "warmup_steps", warmup_steps)

    def init(params: PyTree) -> ExcessMTLState:
        none = jnp.zeros(tasks)
        squares = jax.tree.map(jnp.real, stacked_zeros(tasks, params))
        return ExcessMTLState(squares, none - jnp.log(tasks), none, jnp.int32(0))

    def update(
        updates: PyTree, state: ExcessMTLState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, ExcessMTLState]:
        del params, extra_args
        if check_task_number("excess_mtl", tasks, updates) is None:
            return updates, state
        squares = jax.tree.map(lambda s, g: s + _squares(g), state.squares, updates)
        risks = _risks(updates, squares)
        warming = state.step < warmup
        baseline = jnp.where(warming, state.baseline + risks / warmup, state.baseline)
        raised = jax.nn.log_softmax(state.log_weights + step_size * risks / (baseline + _EPS))
        log_weights = jnp.where(warming, state.log_weights, raised)
        finite = jnp.all(jnp.isfinite(risks))
        following = ExcessMTLState(squares, log_weights, baseline, state.step + 1)
        weights = jnp.where(finite, jnp.exp(log_weights), jnp.nan)
        return combine(weights, updates), keep_unless(finite, following, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _squares(leaf: Array) -> Array:
    return jnp.square(jnp.abs(leaf).astype(accumulator_dtype(jnp.abs(leaf).dtype)))


def _risks(updates: PyTree, squares: PyTree) -> Float[Array, " T"]:
    """`E_t` from the gradients and the sums of squares that include theirs."""

    def leaf_risks(gradient: Array, total: Array) -> Array:
        risk = _squares(gradient) / jnp.sqrt(total + _EPS)
        return jnp.sum(risk, axis=tuple(range(1, risk.ndim)))

    return sum(jax.tree.leaves(jax.tree.map(leaf_risks, updates, squares)), start=jnp.zeros((), jnp.float32))
