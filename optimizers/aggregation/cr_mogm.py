"""CR-MOGM: another weighting's weights, averaged over the updates."""

import jax.numpy as jnp
import optax
from jaxtyping import Array

from optimizers._checks import check_callable, check_range
from optimizers.aggregation._carried import carrying
from optimizers.aggregation._gramian import Weighting


def cr_mogm(
    weighting: Weighting, tasks: int, *, smoothing: optax.ScalarOrSchedule = 0.9
) -> optax.GradientTransformationExtraArgs:
    r"""Another weighting of the Gramian with its weights smoothed over time.

    $$
    w_k = \alpha w_{k-1} + (1 - \alpha) \hat w_k, \quad w_0 = \hat w_0
    $$

    with the weights `\hat w` that `weighting` gives for the gradients of update k. Weights of one batch are correlated
    with its gradients, so that weighted stochastic gradients are biased; smoothed weights are less so, and the method
    converges as the smoothing goes to 1 with a decreasing learning rate. What the weighting promises of each aggregate,
    to conflict with no task for one, holds for smoothed weights in the long run alone.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype. The Gramian over the whole tree is accumulated in float32 or wider; a gradient with NaN or inf gives NaN, and
    leaves the state's weights as they are.

    Args:
        weighting: a function from the Gramian `[T, T]` to weights `[T]`, such as `mgda_weights`.
        tasks: their number T.
        smoothing: share alpha of the former weights, in [0, 1], or a schedule of it over the updates.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a weighting that is no function, a number of tasks that is not an integer.
        ValueError: a smoothing outside [0, 1]; from the update, leaves without a leading axis of `tasks`.

    Examples:
        The shorter gradient has all of MGDA's weight, first the one, then the other:

        >>> import jax.numpy as jnp, optax
        >>> from optimizers import mgda_weights
        >>> tx = optax.chain(cr_mogm(mgda_weights, 2), optax.sgd(1.0))
        >>> params = jnp.zeros(1)
        >>> state = tx.init(params)
        >>> for gradients in ([[1.0], [2.0]], [[2.0], [1.0]]):
        ...     updates, state = tx.update(jnp.array(gradients), state, params)
        ...     print(f"{updates[0]:.2f}")
        -1.00
        -1.90

    Source:
        Zhou, Zhang, Jiang, Zhong, Gu, Zhu, "On the Convergence of Stochastic Multi-Objective Gradient Manipulation and
        Beyond" (2022).
    """
    check_callable("cr_mogm", "weighting", weighting, "from the Gramian [T, T] to weights [T]")
    check_range("cr_mogm", "smoothing", smoothing, 0.0, 1.0)

    def weigh(gramian: Array, former: Array, count: Array) -> tuple[Array, Array]:
        share = jnp.asarray(smoothing(count) if callable(smoothing) else smoothing, gramian.dtype)
        current = weighting(gramian)
        smoothed = jnp.where(count == 0, current, share * former + (1 - share) * current)
        return smoothed, smoothed

    return carrying("cr_mogm", tasks, weigh)
