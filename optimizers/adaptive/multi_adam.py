"""MultiAdam: an Adam for each group of losses, so that none of them drowns the others by its scale."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimizers._checks import check_positive_integer
from optimizers._moments import Moments, Scalars, check_descent, descend
from optimizers._trees import PyTree
from optimizers.adaptive.adam import Direction, _adam
from optimizers.aggregation._tasks import check_task_number, stacked_zeros


def _weights(function: str, groups: int, group_weights: Any) -> jax.Array:
    check_positive_integer(function, "groups", groups)
    if group_weights is None:
        return jnp.full((groups,), 1.0 / groups)
    weights = jnp.asarray(group_weights)
    if weights.shape != (groups,):
        raise ValueError(f"{function}: group_weights must have one entry per group, ({groups},), got {weights.shape}")
    if not isinstance(weights, jax.core.Tracer) and not np.all(np.asarray(weights) >= 0):
        raise ValueError(f"{function}: group_weights must not be negative, got {group_weights!r}")
    return weights


def _multi_adam(
    function: str, groups: int, b1: Any, b2: Any, eps: Any, group_weights: Any, mu_dtype: Any, nu_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    weights = _weights(function, groups, group_weights)

    def weighted(direction: Direction) -> Direction:
        """The sum over the groups, each read where its moments are: a product with all would need them in memory."""

        def total(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
            def of_group(k: int) -> jax.Array:
                return direction(g[k], tuple(m[k] for m in new), tuple(m[k] for m in old), s)

            return reduce(jnp.add, (weights[k].astype(g.real.dtype) * of_group(k) for k in range(groups)))

        return total

    adam = _adam(function, b1, b2, eps, 0.0, mu_dtype, nu_dtype, nesterov=False, combined=weighted)

    def init(params: PyTree) -> optax.ScaleByAdamState:
        return adam.init(stacked_zeros(groups, params))

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        if check_task_number(function, groups, updates) is None:
            return updates, state
        return adam.update(updates, state)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_multi_adam(
    groups: int,
    b1: jax.typing.ArrayLike = 0.99,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    group_weights: Sequence[float] | jax.Array | None = None,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam's direction for each group of losses, and their weighted sum.

    $$u = \sum_{k=1}^{G} c_k\, \frac{m_k / (1 - \beta_1^t)}{\sqrt{\nu_k / (1 - \beta_2^t)} + \varepsilon}$$

    with the moments m and ν of each group's own gradients. Multiplying a loss by a constant changes nothing (but what
    ε is compared with).

    Turns updates of leaves `[G, ...]`, the stacked gradients of G groups as the gradient rule `per_task` gives them,
    into one update of leaves `[...]` in the same dtype. Its state is 2 G times the size of the parameters.

    Args:
        groups: Number of groups G, at least 1.
        b1: Decay of the first moments, in [0, 1).
        b2: Decay of the second moments, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradients.
        group_weights: The c, `[G]` and not negative; 1/G each by default.
        mu_dtype: dtype of the first moments, see `scale_by_adam`.
        nu_dtype: dtype of the second moments, see `scale_by_adam`.

    Returns:
        An Optax transformation with state `optax.ScaleByAdamState`, whose moments have leaves `[G, ...]`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or the gradients are not stacked for G groups.
        TypeError: `groups` is no integer, or `mu_dtype` or `nu_dtype` not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_multi_adam(2)
        >>> gradients = jnp.array([[1e-3, 1e-3], [50.0, 2000.0]])
        >>> update, state = tx.update(gradients, tx.init(jnp.zeros(2)))
        >>> print(update.round(4))  # the sign, whatever the scale
        [1. 1.]

    Source:
        J. Yao et al., "MultiAdam: Parameter-wise Scale-invariant Optimizer for Multiscale Training of Physics-informed
        Neural Networks", 2023.
    """
    return _multi_adam("scale_by_multi_adam", groups, b1, b2, eps, group_weights, mu_dtype, nu_dtype)


def multi_adam(
    learning_rate: optax.ScalarOrSchedule,
    groups: int,
    b1: jax.typing.ArrayLike = 0.99,
    b2: jax.typing.ArrayLike = 0.99,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    group_weights: Sequence[float] | jax.Array | None = None,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""MultiAdam: the sum of one Adam for each group of losses, whatever their scales.

    $$\theta_t = \theta_{t-1} - \eta_t\, u_t$$

    with the u of `scale_by_multi_adam`. For physics-informed networks: the residuals of the equations in one group, the
    boundary conditions in another, `make_train_step(loss_fn, multi_adam(1e-3, 2), gradient=per_task())`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        groups: Number of groups G, at least 1.
        b1: Decay of the first moments, in [0, 1).
        b2: Decay of the second moments, in [0, 1).
        eps: Added to the root, at least 0, in the units of the gradients.
        group_weights: Weights of the groups, `[G]` and not negative; 1/G each by default.
        mu_dtype: dtype of the first moments, see `scale_by_adam`.
        nu_dtype: dtype of the second moments, see `scale_by_adam`.

    Returns:
        An Optax transformation from updates `[G, ...]` to updates `[...]`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or the gradients are not stacked for G groups.
        TypeError: `groups` is no integer, or `mu_dtype` or `nu_dtype` not a dtype `scale_by_adam` names.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> losses = lambda x: jnp.stack([1e-3 * jnp.sum(x**2), 1e3 * jnp.sum((x - 1) ** 2)])
        >>> params, tx = jnp.array([1.0, -2.0]), multi_adam(0.1, 2)
        >>> state = tx.init(params)
        >>> for _ in range(100):
        ...     updates, state = tx.update(jax.jacobian(losses)(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(int(jnp.sum((params > 0) & (params < 1))))  # both between the minima: the larger loss does not win
        2

    Source:
        J. Yao et al., "MultiAdam: Parameter-wise Scale-invariant Optimizer for Multiscale Training of Physics-informed
        Neural Networks", 2023.
    """
    check_descent("multi_adam", learning_rate)
    return descend(_multi_adam("multi_adam", groups, b1, b2, eps, group_weights, mu_dtype, nu_dtype), learning_rate)
