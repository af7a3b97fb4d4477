"""M-ConFIG: ConFIG of momenta, for steps that each differentiate one loss only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.aggregation._gramian import combine, gramian
from optimizers.aggregation.config import config_weights


class MConFIGState(NamedTuple):
    """State of `m_config`: each loss's first moment in `momenta`, a tuple of trees, and in `seen` `[T]` the number of
    its gradients; the former momentum of the aggregate in `average` and its second moment in `square`; in `step` the
    updates so far, in `aggregated` those since every loss had a gradient."""

    momenta: tuple[PyTree, ...]
    seen: Int[Array, " T"]
    average: PyTree
    square: PyTree
    step: Int[Array, ""]
    aggregated: Int[Array, ""]


def m_config(tasks: int, *, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> optax.GradientTransformationExtraArgs:
    r"""Momentum ConFIG: the conflict-free update of all losses at the cost of one gradient a step.

    $$
    m_i \leftarrow \beta_1 m_i + (1 - \beta_1) g_i, \quad
    f = \mathrm{ConFIG}\Bigl(\frac{m_1}{1 - \beta_1^{t_1}}, \ldots, \frac{m_T}{1 - \beta_1^{t_T}}\Bigr), \quad
    u = \frac{f}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}
    $$

    where i is the loss of this step, `t_i` the number of its gradients so far and t that of the aggregates. As Adam's,
    the second moment v is that of the gradient which would have made the momentum what it is:

    $$
    h_t = (1 - \beta_1^t) f, \quad v \leftarrow \beta_2 v + (1 - \beta_2)
    \Bigl(\frac{h_t - \beta_1 h_{t-1}}{1 - \beta_1}\Bigr)^2
    $$

    Unlike the aggregators its updates are those of one loss, without a task axis; which one, the extra argument `task`
    of the update says (an integer, which may be traced), or else the losses take turns from the first. Updates are 0
    until every loss had its turn. It scales as Adam does: follow it by a learning rate, not by Adam. The state holds
    `T + 2` float32 numbers per parameter.

    Args:
        tasks: number T of the losses.
        b1: decay of the first moments, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root of the second moment, at least 0.

    Returns:
        An `optax.GradientTransformationExtraArgs`.

    Raises:
        TypeError: a number of losses that is not an integer.
        ValueError: no losses, a decay or eps out of range.

    Examples:
        The gradients of two losses, one at a time; the first update waits for the second:

        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(m_config(2), optax.sgd(0.1))
        >>> params = jnp.zeros(2)
        >>> state = tx.init(params)
        >>> for gradient in ([3.0, 0.0], [0.0, 1.0]):
        ...     updates, state = tx.update(jnp.array(gradient), state, params)
        ...     print([round(abs(float(u)), 3) for u in updates])
        [0.0, 0.0]
        [0.1, 0.1]

    Source:
        Liu, Chu, Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks" (2024),
        Algorithm 1.
    """
    tasks = check_positive_integer("m_config", "tasks", tasks)
    check_range("m_config", "b1", b1, 0.0, 1.0, open_high=True)
    check_range("m_config", "b2", b2, 0.0, 1.0, open_high=True)
    check_range("m_config", "eps", eps, 0.0)

    def init(params: PyTree) -> MConFIGState:
        def zeros() -> PyTree:
            return jax.tree.map(lambda p: jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p))), params)

        momenta = tuple(zeros() for _ in range(tasks))
        return MConFIGState(momenta, jnp.zeros(tasks, jnp.int32), zeros(), zeros(), jnp.int32(0), jnp.int32(0))

    def update(
        updates: PyTree, state: MConFIGState, params: PyTree = None, *, task: Any = None, **extra_args: Any
    ) -> tuple[PyTree, MConFIGState]:
        del params, extra_args
        current = state.step % tasks if task is None else jnp.asarray(task, jnp.int32)

        def renewed(index: int, momentum: PyTree) -> PyTree:
            def leaf(m: Array, g: Array) -> Array:
                return jnp.where(current == index, b1 * m + (1 - b1) * g, m).astype(m.dtype)

            return jax.tree.map(leaf, momentum, updates)

        momenta = tuple(renewed(index, momentum) for index, momentum in enumerate(state.momenta))
        seen = state.seen + (jnp.arange(tasks) == current)
        complete = jnp.all(seen > 0)
        aggregated = state.aggregated + complete
        aggregate = _aggregate(momenta, 1 - b1 ** seen.astype(jnp.float32), complete)
        unbias = 1 - b1 ** aggregated.astype(jnp.float32)
        unbias_square = jnp.where(complete, 1 - b2 ** aggregated.astype(jnp.float32), 1.0)

        def squared(v: Array, f: Array, former: Array) -> Array:
            pseudo = (unbias * f - b1 * former) / (1 - b1)
            return (b2 * v + (1 - b2) * jnp.square(jnp.abs(pseudo))).astype(v.dtype)

        square = jax.tree.map(squared, state.square, aggregate, state.average)
        average = jax.tree.map(lambda f, h: (unbias * f).astype(h.dtype), aggregate, state.average)
        scaled = jax.tree.map(
            lambda f, v, g: jnp.where(complete, f / (jnp.sqrt(v / unbias_square) + eps), 0.0).astype(g.dtype),
            aggregate,
            square,
            updates,
        )
        return scaled, MConFIGState(momenta, seen, average, square, state.step + 1, aggregated)

    return optax.GradientTransformationExtraArgs(init, update)


def _aggregate(momenta: tuple[PyTree, ...], unbias: Float[Array, " T"], complete: Array) -> PyTree:
    """ConFIG of the unbiased momenta, 0 unless there are all."""
    stacked = jax.tree.map(lambda *m: jnp.stack(m), *momenta)
    if not jax.tree.leaves(stacked):
        return momenta[0]
    factors = jnp.where(complete, 1 / jnp.where(complete, unbias, 1.0), 0.0)
    products = gramian(stacked)
    weights = config_weights(products * factors[:, None] * factors) * factors
    return combine(weights, stacked)
