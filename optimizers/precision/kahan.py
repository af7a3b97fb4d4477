"""Parameters in 16 bits, and what rounding cut off from them in the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._rounding import round_to_nearest, store
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.precision.master_weights import check_inner, widened


class KahanState(NamedTuple):
    """State of `with_kahan_summation`: step counter, what is missing from the parameters, the inner state."""

    count: jax.Array  # type: ignore[assignment]
    compensation: PyTree
    inner_state: PyTree


def _nearest(x: jax.Array, dtype: Any) -> jax.Array:
    """`x` rounded to `dtype`, ties to even, and still in its own dtype, by operations that no compiler takes out.

    A conversion there and back is what XLA calls excess precision, and may leave out.
    """
    if dtype == jnp.bfloat16:
        return round_to_nearest(x, dtype).astype(x.dtype)
    if dtype == jnp.float16:
        multiple = jnp.round(x * 2.0**24) * 2.0**-24  # subnormal numbers, which reduce_precision makes 0
        return jnp.where(jnp.abs(x) < 2.0**-14, multiple, jax.lax.reduce_precision(x, 5, 10))
    return x


def with_kahan_summation(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Parameters in 16 bits that remember what rounding took from them: Kahan's compensated summation.

    $$y_t = c_t + \text{inner}(g_t, \theta_t + c_t), \qquad \theta_{t+1} = \mathrm{round}(\theta_t + y_t), \qquad
    c_{t+1} = y_t - (\theta_{t+1} - \theta_t)$$

    An update too small for the parameter's 8 bits gathers in c until it is large enough. The compensation has the dtype
    of the parameters, hence 16 bits more than they have alone: half the cost of float32 originals
    (`with_master_weights`) for about as many digits. It is stored with stochastic rounding, so that updates too small
    even for it arrive on average. Gradients reach `inner` in float32.

    Parameters have to be changed by these updates alone, as `optax.apply_updates` does; what else moves them is kept,
    and not compensated. In float32 the same sums are kept to twice its digits. As parameter and compensation each need
    the other's old value, a step keeps a copy of the updates.

    Args:
        inner: A transformation that gives updates, learning rate included, such as `adamw(1e-3)`.

    Returns:
        An Optax transformation; `update` needs `params`. Extra arguments reach `inner`.

    Raises:
        TypeError: `inner` is no transformation.

    Examples:
        A thousand steps of a thousandth, which bfloat16 cannot add to 1:

        >>> import jax.numpy as jnp, optax
        >>> for tx in (optax.sgd(1e-3), with_kahan_summation(optax.sgd(1e-3))):
        ...     w = jnp.ones((), jnp.bfloat16)
        ...     state = tx.init(w)
        ...     for _ in range(1000):
        ...         updates, state = tx.update(-jnp.ones_like(w), state, w)
        ...         w = optax.apply_updates(w, updates)
        ...     print(f"{w:.4f}")
        1.0000
        2.0000

    Source:
        W. Kahan, "Further Remarks on Reducing Truncation Errors", 1965; P. Zamirai et al., "Revisiting BFloat16
        Training", 2020.
    """
    inner = check_inner("with_kahan_summation", inner)

    def init(params: PyTree) -> KahanState:
        return KahanState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params), inner.init(widened(params)))

    def update(
        updates: PyTree, state: KahanState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, KahanState]:
        if params is None:
            raise ValueError("with_kahan_summation: params must be given to update, which moves them, got None")
        count = optax.safe_increment(state.count)
        sums = jax.tree.map(jnp.add, widened(params), widened(state.compensation))
        updates, inner_state = inner.update(widened(updates), state.inner_state, sums, **extra_args)

        def leaf(number: int, p: Any, u: Any, c: jax.Array) -> tuple[Any, jax.Array]:
            if u is None:
                return None, c
            x = jnp.asarray(p).astype(accumulator_dtype(c.dtype))
            y = u.astype(x.dtype) + c.astype(x.dtype)
            step = _nearest(y, c.dtype)
            moved = _nearest(x + step, c.dtype) - x
            return step.astype(c.dtype), store(y - moved, c.dtype, count, number)

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(params)
        old = treedef.flatten_up_to(state.compensation)
        steps = treedef.flatten_up_to(updates)
        done = [leaf(number, *each) for number, each in enumerate(zip(leaves, steps, old, strict=True))]
        compensation = treedef.unflatten([c for _, c in done])
        return treedef.unflatten([u for u, _ in done]), KahanState(count, compensation, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
