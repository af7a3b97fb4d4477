"""The trimmed mean: at every coordinate the mean of the task gradients without the largest and the smallest."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import combine, task_count
from optimizers.aggregation._tasks import check_real


def trimmed_mean(trim: Any) -> optax.GradientTransformationExtraArgs:
    r"""The coordinate-wise trimmed mean of the task gradients: up to a share `trim` of them may be arbitrarily wrong.

    $$
    A(J)_c = \frac{1}{T - 2k} \sum_{t=k+1}^{T-k} g_{(t), c}, \qquad k = \lfloor \mathrm{trim} \cdot T \rfloor
    $$

    where $g_{(1), c} \le \dots \le g_{(T), c}$ are the entries of coordinate c in order: the mean at `trim` of 0, the
    median just below 1/2. Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks (or of T workers), into
    one update of leaves `[...]` in the same dtype, summed in float32 or wider; it costs a sort along the tasks. Where a
    task has NaN or inf the entry is not finite, trimmed or not, so that whoever skips such steps sees it.

    Args:
        trim: the share of the tasks to leave out at each end, in [0, 1/2).

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: from the update, complex gradients.
        ValueError: a share out of range; from the update, leaves without a leading task axis or with different ones.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(trimmed_mean(0.25), optax.sgd(1.0))
        >>> params = jnp.zeros(())
        >>> updates, state = tx.update(jnp.array([1.0, 2.0, 1000.0, -3.0]), tx.init(params), params)
        >>> print(updates)
        -1.5

    Source:
        Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates"
        (2018).
    """
    check_range("trimmed_mean", "trim", trim, 0.0, 0.5, open_high=True)

    def init(params: PyTree) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: PyTree, state: optax.EmptyState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, optax.EmptyState]:
        del params, extra_args
        check_real("trimmed_mean", updates)
        count = task_count("trimmed_mean", updates)
        if count is None:
            return updates, state
        ordered = jax.tree.map(lambda leaf: jnp.sort(jnp.asarray(leaf), axis=0), updates)
        return combine(_rank_weights(trim, count), ordered), state  # NaN and inf at the ends come through 0 as NaN

    return optax.GradientTransformationExtraArgs(init, update)


def _rank_weights(trim: Any, count: int) -> Float[Array, " T"]:
    """The weights of the ordered gradients."""
    left_out = jnp.floor(trim * count * (1 + 1e-6))  # 0.3 of ten is three, whatever the rounding
    left_out = jnp.minimum(left_out, (count - 1) // 2)
    rank = jnp.arange(count)
    kept = (rank >= left_out) & (rank < count - left_out)
    return kept / (count - 2 * left_out)
