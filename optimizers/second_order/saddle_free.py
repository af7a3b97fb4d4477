"""Saddle-free Newton: Newton's step with the absolute values of the Hessian's eigenvalues."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import TINY, check_descent, descend, wide_scalar
from optimizers._trees import PyTree, wide
from optimizers.curvature import hessian_vector_product, linear, needed
from optimizers.second_order._spectral import Spectral, matrix_function


def _inverse_magnitude(damping: Any) -> Spectral:
    return lambda values: 1.0 / (jnp.abs(values) + damping + TINY)


def saddle_free_direction(
    hessian: Float[Array, "N N"], grad: Float[Array, " N"], damping: jax.typing.ArrayLike = 1e-3
) -> Float[Array, " N"]:
    r"""The direction of saddle-free Newton from a Hessian: its eigenvalues' signs are dropped.

    $$
    (|H| + \delta I)^{-1} g, \qquad |H| = V |\Lambda| V^\top, \quad H = V \Lambda V^\top
    $$

    Args:
        hessian: the Hessian H; only its lower triangle is read.
        grad: the gradient g.
        damping: δ, at least 0.

    Returns:
        The direction, in the dtype of the gradient, computed in float32 or wider; a step goes against it.

    Raises:
        ValueError: arrays of other shapes, or a negative damping.

    Examples:
        Of the saddle (x² - y²) / 2 at (3, 1), Newton's direction would be (3, 1), back to the saddle:

        >>> import jax.numpy as jnp
        >>> print(saddle_free_direction(jnp.diag(jnp.array([1.0, -1.0])), jnp.array([3.0, -1.0]), damping=0.0))
        [ 3. -1.]

    Source:
        Y. Dauphin, R. Pascanu, C. Gulcehre, K. Cho, S. Ganguli, Y. Bengio, "Identifying and Attacking the Saddle Point
        Problem in High-dimensional Non-convex Optimization", 2014; R. Pascanu, Y. Dauphin, S. Ganguli, Y. Bengio, "On
        the Saddle Point Problem for Non-convex Optimization", 2014.
    """
    hessian, grad = jnp.asarray(hessian), jnp.asarray(grad)
    if grad.ndim != 1 or hessian.shape != 2 * grad.shape:
        raise ValueError(
            "saddle_free_direction: hessian and grad must be of shapes [N, N] and [N], "
            f"got hessian {hessian.shape} and grad {grad.shape}"
        )
    check_range("saddle_free_direction", "damping", damping, 0.0)
    values, vectors = jnp.linalg.eigh(wide(hessian), symmetrize_input=False)
    inside = jnp.dot(wide(grad), vectors, precision=lax.Precision.HIGHEST)
    scaled = _inverse_magnitude(wide_scalar(damping))(values) * inside
    return jnp.dot(vectors, scaled, precision=lax.Precision.HIGHEST).astype(grad.dtype)


def saddle_free_newton(
    learning_rate: optax.ScalarOrSchedule,
    damping: jax.typing.ArrayLike = 1e-3,
    *,
    rank: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Saddle-free Newton: the minimiser of the linear model within a ball in the metric |H|.

    $$
    \theta_{t+1} = \theta_t - \eta_t\, (|H_t| + \delta I)^{-1} g_t
    $$

    Newton's method where the Hessian is positive definite; elsewhere it leaves a saddle along the directions of
    negative curvature, to which Newton's method is drawn. Exactly it needs the Hessian and its eigenvalues, for a few
    thousand parameters at most. With `rank` it needs as many products with the Hessian, and works within the Krylov
    space of the gradient, $Q (|Q^\top H Q| + \delta I)^{-1} Q^\top g$, which contains the gradient; memory is `rank`
    times that of the parameters.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        damping: δ, at least 0.
        rank: Dimension of the Krylov space; None is the whole space.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `grad_fn`, which `make_train_step`
        passes.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `rank` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> grad_fn = jax.grad(lambda x: (x[0] ** 2 - x[1] ** 2) / 2)
        >>> params, tx = jnp.array([3.0, 1.0]), saddle_free_newton(1.0, damping=0.0)
        >>> updates, _ = tx.update(grad_fn(params), tx.init(params), params, grad_fn=grad_fn)
        >>> print(params + updates)  # away from the saddle
        [0. 2.]

    Source:
        Y. Dauphin, R. Pascanu, C. Gulcehre, K. Cho, S. Ganguli, Y. Bengio, "Identifying and Attacking the Saddle Point
        Problem in High-dimensional Non-convex Optimization", 2014.
    """
    check_descent("saddle_free_newton", learning_rate)
    check_range("saddle_free_newton", "damping", damping, 0.0)
    rank = None if rank is None else check_positive_integer("saddle_free_newton", "rank", rank)
    function = _inverse_magnitude(wide_scalar(damping))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, *, grad_fn: Any = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        grad_fn = needed("saddle_free_newton", "grad_fn", grad_fn)
        params = needed("saddle_free_newton", "params", params, "every chain passes them")
        product = linear(lambda v: hessian_vector_product(grad_fn, params, v), params)
        return matrix_function(function, product, updates, rank), state

    directions = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    return descend(directions, learning_rate)
