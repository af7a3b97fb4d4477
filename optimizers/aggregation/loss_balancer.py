"""EnCodec's loss balancer: the gradients of several losses with respect to one output, each brought to its share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._trees import PyTree, wide
from optimizers.aggregation._gramian import combine
from optimizers.aggregation._tasks import check_task_number


class LossBalancerState(NamedTuple):
    """State of `loss_balancer`: a moving average is `total / mass`.

    Attributes:
        total: decayed sums of the norms of the gradients, `[T]`.
        mass: decayed number of updates, `[]`.
    """

    total: Array
    mass: Array


def loss_balancer(
    weights: Sequence[float] | Float[Array, " T"],
    *,
    total_norm: Any = 1.0,
    ema_decay: Any = 0.999,
    eps: Any = 1e-12,
) -> optax.GradientTransformationExtraArgs:
    r"""Gradients of T losses with respect to a model's output, rescaled so that each has its share of the norm.

    $$
    A = \sum_t R \, \frac{w_t}{\sum_s w_s} \, \frac{g_t}{\langle \lVert g_t \rVert \rangle + \epsilon}, \qquad
    \lVert g_t \rVert = \frac{1}{B} \sum_b \lVert g_{t, b} \rVert_2
    $$

    with $\langle \cdot \rangle$ a moving average over the updates, corrected for its start at 0. The weights then say
    what part each loss has in the gradient, whatever its scale. The norms need the gradients of all losses, but only
    with respect to the output: the combined gradient is pulled back through the model once, which costs one backward
    pass of the model where aggregators of parameter gradients need T.

    Turns leaves `[T, B, ...]`, the stacked gradients of T losses with respect to an output of B items (or a tree of
    outputs, whose norm is taken together), into leaves `[B, ...]` in the same dtype. A gradient of 0 stays 0; one with
    NaN or inf gives NaN everywhere and enters the state.

    Args:
        weights: the weights w of the losses, `[T]`, at least 0 and not all 0.
        total_norm: R, at least 0: the norm of the result if all gradients had one direction.
        ema_decay: decay of the moving averages, in [0, 1]; at 1 the mean of all updates so far.
        eps: added to the norms, at least 0.

    Returns:
        An `optax.GradientTransformationExtraArgs` on gradients of outputs; its `init` looks at no parameters.

    Raises:
        ValueError: weights that are no vector, negative or all 0, a hyperparameter out of range; from the update,
            leaves without a leading task axis and a batch axis behind it, or with different ones.

    Examples:
        Losses |x - 1| and 100 |x + 1| of an output x of 0 are in balance. Without weights the second would win by 99:

        >>> import jax, jax.numpy as jnp
        >>> balancer = loss_balancer([1.0, 1.0])
        >>> model = lambda scale, inputs: scale * inputs
        >>> losses = lambda x: jnp.stack([jnp.mean(jnp.abs(x - 1)), 100 * jnp.mean(jnp.abs(x + 1))])
        >>> outputs, pull_back = jax.vjp(lambda scale: model(scale, jnp.ones(4)), 0.0)
        >>> balanced, state = balancer.update(jax.jacobian(losses)(outputs), balancer.init(None))
        >>> gradient, = pull_back(balanced)
        >>> print(gradient)
        0.0

    Source:
        Défossez, Copet, Synnaeve, Adi, "High Fidelity Neural Audio Compression" (2022), section 3.4.
    """
    shares = jnp.asarray(weights, jnp.result_type(float))
    if shares.ndim != 1 or shares.size == 0:
        raise ValueError(f"loss_balancer: weights must have one entry per loss, [T], got shape {shares.shape}")
    for value in weights:
        check_range("loss_balancer", "weights", value, 0.0)
    if not isinstance(shares, jax.core.Tracer) and not shares.any():
        raise ValueError("loss_balancer: weights must not all be 0")
    check_range("loss_balancer", "total_norm", total_norm, 0.0)
    check_range("loss_balancer", "ema_decay", ema_decay, 0.0, 1.0)
    check_range("loss_balancer", "eps", eps, 0.0)

    def init(params: PyTree) -> LossBalancerState:
        del params
        return LossBalancerState(jnp.zeros(shares.shape), jnp.zeros(()))

    def update(
        updates: PyTree, state: LossBalancerState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, LossBalancerState]:
        del params, extra_args
        if check_task_number("loss_balancer", shares.size, updates) is None:
            return updates, state
        norms = _mean_norms(updates)
        total = (ema_decay * state.total + norms).astype(state.total.dtype)
        mass = (ema_decay * state.mass + 1.0).astype(state.mass.dtype)
        averages = total / mass
        scales = total_norm * shares / jnp.sum(shares) / (eps + averages)
        scales = jnp.where(averages == 0, 0.0, scales)
        scales = jnp.where(jnp.all(jnp.isfinite(averages)), scales, jnp.nan)
        return combine(scales, updates), LossBalancerState(total, mass)

    return optax.GradientTransformationExtraArgs(init, update)


def _mean_norms(tree: PyTree) -> Float[Array, " T"]:
    """The mean over batch items of the L2 norm of each item, for each task; 0 for an empty batch."""
    leaves = jax.tree.leaves(tree)
    batches = {leaf.shape[1:2] for leaf in leaves}
    if len(batches) > 1 or () in batches:
        raise ValueError(
            "loss_balancer: every leaf needs the same batch axis behind the task axis, [T, B, ...], "
            f"got shapes {[leaf.shape for leaf in leaves]}"
        )
    squares = [jnp.sum(jnp.square(jnp.abs(wide(leaf))), axis=tuple(range(2, leaf.ndim))) for leaf in leaves]
    norms = jnp.sqrt(sum(squares, start=jnp.zeros((), jnp.float32)))
    return jnp.sum(norms, axis=1) / max(norms.shape[1], 1)
