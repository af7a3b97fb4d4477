"""Parameters in 16 bits, whose float32 originals are in the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._rounding import round_to_nearest
from optimizers._trees import PyTree, wide


class MasterWeightsState(NamedTuple):
    """State of `with_master_weights`: the parameters in float32 or wider, and the state of the inner transformation."""

    master: PyTree
    inner_state: PyTree


def check_inner(function: str, inner: Any) -> optax.GradientTransformationExtraArgs:
    """Raise TypeError unless `inner` is a transformation; returns it with extra arguments."""
    if not isinstance(inner, optax.GradientTransformation):
        raise TypeError(f"{function}: inner must be an optax.GradientTransformation, got {type(inner).__name__}")
    return optax.with_extra_args_support(inner)


def widened(tree: PyTree) -> PyTree:
    """Every leaf in float32 or wider."""
    return jax.tree.map(lambda leaf: wide(jnp.asarray(leaf)), tree)


def with_master_weights(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Parameters in 16 bits that follow float32 originals, which the inner transformation updates.

    $$w_{t+1} = w_t + \text{inner}(g_t, w_t), \qquad \theta_{t+1} = \mathrm{round}(w_{t+1})$$

    with w in float32 in the state, equal to the parameters at first: an update of 2^-12 at a weight of 1, half of which
    is already too small for float16, is kept until it has become visible. Gradients reach `inner` in float32. A
    parameter ends at its original, rounded to nearest, wherever it moves by less than half of itself; elsewhere the
    update has to be rounded too, and the sum may be one rounding off. Never more: the next update starts from where the
    parameter is. Costs 4 bytes a parameter, the wide ones included, which are better left out (`optax.partition`).

    Where the loss may see float32 parameters, `mixed_precision` does the same without a state: the parameters are their
    own originals. Parameters that are changed from outside the optimizer return to their originals at the next step.

    Args:
        inner: A transformation that gives updates, learning rate included, such as `adamw(1e-3)`.

    Returns:
        An Optax transformation; `update` needs `params`. Extra arguments reach `inner`.

    Raises:
        TypeError: `inner` is no transformation.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> for tx in (optax.sgd(2.0**-12), with_master_weights(optax.sgd(2.0**-12))):
        ...     w = jnp.ones((), jnp.float16)
        ...     state = tx.init(w)
        ...     for _ in range(100):
        ...         updates, state = tx.update(-jnp.ones_like(w), state, w)
        ...         w = optax.apply_updates(w, updates)
        ...     print(f"{w:.4f}")
        1.0000
        1.0244

    Source:
        P. Micikevicius et al., "Mixed Precision Training", 2018.
    """
    inner = check_inner("with_master_weights", inner)

    def init(params: PyTree) -> MasterWeightsState:
        master = widened(params)
        return MasterWeightsState(master, inner.init(master))

    def update(
        updates: PyTree, state: MasterWeightsState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, MasterWeightsState]:
        if params is None:
            raise ValueError("with_master_weights: params must be given to update, which moves them, got None")
        updates, inner_state = inner.update(widened(updates), state.inner_state, state.master, **extra_args)
        master = optax.apply_updates(state.master, updates)

        def step(w: Any, p: Any) -> Any:
            p = jnp.asarray(p)
            return round_to_nearest(round_to_nearest(w, p.dtype).astype(w.dtype) - p.astype(w.dtype), p.dtype)

        return jax.tree.map(step, master, params), MasterWeightsState(master, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
