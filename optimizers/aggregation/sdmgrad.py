"""SDMGrad: near a preferred direction, the update that serves the worst-off task, by projected gradient steps."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers.aggregation._carried import carrying_across
from optimizers.aggregation._gramian import Preference, check_gramian, nan_unless_finite, task_vector


def sdmgrad_weights(
    gramian: Float[Array, "T T"],
    former: Preference = None,
    *,
    lam: Any = 0.3,
    preference: Preference = None,
    step_size: Any = 10.0,
    momentum: Any = 0.5,
    iterations: int = 20,
) -> Float[Array, " T"]:
    r"""Weights of the task gradients in the direction-oriented update, by steps from `former` ones.

    $$
    w = \frac{v + \lambda p}{1 + \lambda}, \quad
    v \approx \operatorname{argmin}_{u \in \Delta} \tfrac12 \lVert J^\top (u + \lambda p) \rVert^2
    $$

    The minimum is the x that maximises `min_t <g_t, x> + lam <J^T p, x> - |x|^2 / 2`. It is approached by `iterations`
    steps of projected gradient descent with heavy-ball momentum on `C / c^2`, with c the mean norm of the gradients and
    C a cross Gramian `J_1 J_2^T` of two independent batches, so that the steps are unbiased; a Gramian of one batch
    adds the covariance of its gradients' noise. As in the authors' code one C serves all steps of an update.

    Args:
        gramian: the cross Gramian C of two batches, `[T, T]`, see `cross_gramian`, or the Gramian of one.
        former: where v begins, `[T]`; 1/T each by default.
        lam: weight of the preferred direction, at least 0: MGDA's at 0, the direction itself as it grows.
        preference: weights p of the preferred direction, `[T]`; 1/T each by default.
        step_size: of the steps, above 0.
        momentum: in [0, 1).
        iterations: number of steps.

    Returns:
        Weights `[T]`, of sum 1 where the preference's is; NaN where the Gramian holds NaN or inf.

    Raises:
        TypeError: a number of iterations that is not an integer.
        ValueError: a Gramian that is not square, weights of another length, a number out of range.

    Examples:
        The shortest combination of (2, 0) and (0, 1), drawn to their mean:

        >>> import jax.numpy as jnp
        >>> [round(float(w), 3) for w in sdmgrad_weights(jnp.array([[4.0, 0.0], [0.0, 1.0]]), step_size=0.3)]
        [0.2, 0.8]

    Source:
        Xiao, Ban, Ji, "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms" (2023).
    """
    gramian = check_gramian("sdmgrad_weights", gramian)
    start = task_vector("sdmgrad_weights", "former", former, gramian, 1.0 / gramian.shape[0])
    settings = _check("sdmgrad_weights", lam, step_size, momentum, iterations)
    preferred = task_vector("sdmgrad_weights", "preference", preference, gramian, 1.0 / gramian.shape[0])
    approached = _approach(gramian, start, preferred, *settings)
    return nan_unless_finite(gramian, (approached + lam * preferred) / (1 + lam))


def _check(function: str, lam: Any, step_size: Any, momentum: Any, iterations: int) -> tuple[Any, Any, Any, int]:
    check_range(function, "lam", lam, 0.0)
    check_range(function, "step_size", step_size, 0.0, open_low=True)
    check_range(function, "momentum", momentum, 0.0, 1.0, open_high=True)
    return lam, step_size, momentum, check_positive_integer(function, "iterations", iterations)


@functools.partial(jax.jit, static_argnames="iterations")
def _approach(
    gramian: Array, start: Array, preferred: Array, lam: Any, step_size: Any, momentum: Any, iterations: int
) -> Float[Array, " T"]:
    """v after so many steps."""
    scale = jnp.mean(jnp.sqrt(jnp.maximum(jnp.diagonal(gramian), 0.0)))
    normalized = gramian / (jnp.square(scale) + 1e-8)

    def step(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        v, velocity = state
        slope = jnp.dot(normalized, v + lam * preferred, precision=lax.Precision.HIGHEST)
        velocity = momentum * velocity + slope
        return optax.projections.projection_simplex(v - step_size * velocity).astype(v.dtype), velocity

    return lax.fori_loop(0, iterations, step, (start, jnp.zeros_like(start)))[0]


def sdmgrad(
    tasks: int,
    *,
    lam: Any = 0.3,
    preference: Preference = None,
    step_size: Any = 10.0,
    momentum: Any = 0.5,
    iterations: int = 20,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic direction-oriented multi-objective gradient: near the mean, an update for the worst-off task.

    Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in the same
    dtype; see `sdmgrad_weights` for the definition. The state holds the weights from which the next update begins. The
    method's guarantees need gradients of independent batches: pass `cross_gramian=cross_gramian(first, second)` as an
    extra argument of the update, with the gradients of two batches, and those of a third for `updates`. Without it the
    Gramian of `updates` itself is used, an approximation that is good where their noise is small.

    Args:
        tasks: their number T.
        lam: weight of the preferred direction, at least 0.
        preference: weights of the preferred direction, `[T]`; 1/T each by default.
        step_size: of the steps that weigh the tasks, above 0.
        momentum: of those steps, in [0, 1).
        iterations: number of those steps.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks or iterations that is not an integer.
        ValueError: a number out of range; from the update, leaves without a leading axis of `tasks`, a preference of
            another length.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(sdmgrad(2, step_size=0.3), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[2.0, 0.0], [0.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates]
        [-0.4, -0.8]

    Source:
        Xiao, Ban, Ji, "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms" (2023).
    """
    settings = _check("sdmgrad", lam, step_size, momentum, iterations)

    def weigh(gramian: Array, former: Array, count: Array) -> tuple[Array, Array]:
        del count
        preferred = task_vector("sdmgrad", "preference", preference, gramian, 1.0 / gramian.shape[0])
        approached = _approach(gramian, former, preferred, *settings)
        return (approached + lam * preferred) / (1 + lam), approached

    return carrying_across("sdmgrad", tasks, weigh)
