"""Variance reduction in front of any optimizer: the change of the gradient over the last step, made larger."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import real_dtype, reread, square, wide_scalar, zeros_for
from optimizers._trees import PyTree, wide
from optimizers.wrappers._inner import check_given


class MarsState(NamedTuple):
    """The last gradients or, for the exact correction, the last parameters; and the number of updates."""

    count: jax.Array  # type: ignore[assignment]
    previous: PyTree


def mars(
    b1: jax.typing.ArrayLike = 0.95,
    gamma: optax.ScalarOrSchedule = 0.025,
    max_norm: jax.typing.ArrayLike | None = 1.0,
    *,
    exact: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Correct the gradient by its change over the last step, as stochastic recursive momentum does.

    $$c_t = g_t + \gamma \frac{\beta_1}{1 - \beta_1} \left( g_t - g_{t-1} \right), \qquad
    \tilde c_t = \frac{c_t}{\max(1, \lVert c_t \rVert_2 / c_{\max})}$$

    in front of any optimizer with momentum β1: `optax.chain(mars(b1=0.95), adamw(3e-3, b1=0.95, b2=0.99))` is the
    paper's MARS-AdamW, with `lion` its MARS-Lion. With γ = 1 and momentum it is STORM; with γ = 0 nothing but the bound
    on the norm is left. The bound is on each leaf, as in the authors' code.

    In the paper g_{t-1} is the gradient at the *previous parameters* on *this* batch: `exact=True`, which costs a
    second gradient a step, keeps the last parameters, and reads `grad_fn`, which the train step gives. The
    approximation that the authors train with takes the gradient of the last step as it was: one copy of the gradient
    is kept, and nothing is computed twice. It begins with g_0 = 0, as their code does; the exact correction begins with
    θ_0 = θ_1, hence c_1 = g_1.

    Put it first: it compares gradients. The authors leave vectors (biases, norms) to AdamW by itself: `optax.masked`.

    Args:
        b1: Momentum β1 of the optimizer behind, in [0, 1).
        gamma: Strength γ of the correction, at least 0: a number, a traced scalar or an Optax schedule.
        max_norm: Largest norm of a leaf of the result, positive; None for no bound.
        exact: Compare with the gradient at the previous parameters.

    Returns:
        An Optax transformation; updates keep their dtype. With `exact` its `update` needs `params` and `grad_fn`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what `exact` needs.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = mars(b1=0.5, gamma=1.0, max_norm=None)
        >>> _, state = tx.update(jnp.array([1.0, 2.0]), tx.init(jnp.zeros(2)))
        >>> update, state = tx.update(jnp.array([1.5, 2.0]), state)
        >>> print(update)
        [2. 2.]

    Source:
        H. Yuan, Y. Liu, S. Wu, X. Zhou, Q. Gu, "MARS: Unleashing the Power of Variance Reduction for Training Large
        Models", 2024.
    """
    check_range("mars", "b1", b1, 0.0, 1.0, open_high=True)
    check_range("mars", "gamma", gamma, 0.0)
    check_range("mars", "max_norm", max_norm, 0.0, open_low=True)
    b1 = wide_scalar(b1)
    bound = None if max_norm is None else wide_scalar(max_norm)

    def init(params: PyTree) -> MarsState:
        count = jnp.zeros([], jnp.int32)
        if not exact:
            return MarsState(count, zeros_for(params))
        return MarsState(count, jax.tree.map(lambda p: wide(jnp.array(p)), params))

    def update(
        updates: PyTree, state: MarsState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, MarsState]:
        strength = wide_scalar(gamma(state.count) if callable(gamma) else gamma) * b1 / (1 - b1)
        if exact:
            grad_fn = check_given("mars", "grad_fn", extra_args.get("grad_fn"))
            kept = check_given("mars", "params", params)
            past = jax.tree.map(lambda x, p: x.astype(jnp.result_type(p)), state.previous, kept)
            before = grad_fn(past)
        else:
            kept, before = updates, state.previous

        def leaf(g: Any, last: jax.Array) -> jax.Array:
            g = jnp.asarray(g)

            def corrected(g: jax.Array, last: jax.Array, strength: Any) -> jax.Array:
                g_wide = wide(g)
                scale = jnp.asarray(strength).astype(real_dtype(g_wide.dtype))
                return g_wide + scale * (g_wide - last.astype(g_wide.dtype))

            moved = corrected(g, last, strength)
            if bound is not None:
                norm = jnp.sqrt(jnp.sum(square(corrected(*reread(g, last, strength)))))
                moved = moved * jnp.asarray(1 / jnp.maximum(1.0, norm / bound)).astype(norm.dtype)
            return moved.astype(g.dtype)

        previous = jax.tree.map(lambda x, old: jnp.asarray(x).astype(old.dtype), kept, state.previous)
        return jax.tree.map(leaf, updates, before), MarsState(optax.safe_increment(state.count), previous)

    return optax.GradientTransformationExtraArgs(init, update)
