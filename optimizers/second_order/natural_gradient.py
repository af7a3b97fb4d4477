"""The natural gradient: by conjugate gradients, or by the relaxation of an Ornstein-Uhlenbeck process."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.sparse.linalg import cg

from optimizers._checks import check_positive_integer, check_range
from optimizers._keys import split_data, typed_key
from optimizers._moments import check_descent, descend, wide_scalar, zeros_for
from optimizers._trees import PyTree, wide
from optimizers.curvature import GAUSS_NEWTON_SOURCE, Product, hessian_vector_product, linear, needed
from optimizers.second_order._spectral import matrix_function

Curvature = Literal["gauss_newton", "hessian"]


def _check_curvature(function: str, curvature: str) -> None:
    if curvature not in ("gauss_newton", "hessian"):
        raise ValueError(f"{function}: curvature must be 'gauss_newton' or 'hessian', got {curvature!r}")


def _damped_product(
    function: str, curvature: str, damping: Any, params: PyTree | None, extra_args: dict[str, Any]
) -> Product:
    """(C + λI) v, for vectors in float32 or wider."""
    params = needed(function, "params", params, "every chain passes them")
    if curvature == "hessian":
        grad_fn = needed(function, "grad_fn", extra_args.get("grad_fn"))
        product = linear(lambda v: hessian_vector_product(grad_fn, params, v), params)
    else:
        gnvp_fn = needed(function, "gnvp_fn", extra_args.get("gnvp_fn"), GAUSS_NEWTON_SOURCE)
        product = linear(lambda v: gnvp_fn(params, v), params)
    return lambda v: jax.tree.map(lambda c, x: c + jnp.asarray(damping, x.dtype) * x, product(v), v)


def natural_gradient(
    learning_rate: optax.ScalarOrSchedule,
    damping: jax.typing.ArrayLike = 1e-3,
    *,
    iterations: int = 20,
    tol: jax.typing.ArrayLike = 1e-5,
    curvature: Curvature = "gauss_newton",
) -> optax.GradientTransformationExtraArgs:
    r"""Natural gradient descent (Hessian-free optimization): the Gauss-Newton system solved by conjugate gradients.

    $$
    \theta_{t+1} = \theta_t - \eta_t\, (G_t + \lambda I)^{-1} g_t
    $$

    G is the generalised Gauss-Newton matrix of the batch, which is the Fisher information matrix for softmax
    cross-entropy, squared errors and other likelihoods of exponential families, so that the step does not depend on how
    the model is parametrised. Nothing of parameter size is kept from step to step.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        damping: λ, at least 0.
        iterations: The most iterations of conjugate gradients; each costs about two gradients.
        tol: Relative residual at which they stop, at least 0.
        curvature: "gauss_newton", or "hessian" for Newton's method where the Hessian is positive definite.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `gnvp_fn(params, vector)`, which
        `make_train_step` passes with `curvature=GaussNewton(...)` (`grad_fn` for the Hessian).

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `iterations` is no integer.

    Examples:
        Of a linear model with squared errors a step is the least-squares solution:

        >>> import jax, jax.numpy as jnp
        >>> inputs, targets = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), jnp.array([1.0, 3.0, 5.0])
        >>> outputs_fn, loss_of_outputs = lambda w: inputs @ w, lambda z: 0.5 * jnp.sum((z - targets) ** 2)
        >>> from optimizers import gauss_newton_vector_product
        >>> params, tx = jnp.zeros(2), natural_gradient(1.0, damping=0.0)
        >>> grad = jax.grad(lambda w: loss_of_outputs(outputs_fn(w)))(params)
        >>> gnvp_fn = lambda p, v: gauss_newton_vector_product(outputs_fn, loss_of_outputs, p, v)
        >>> print(tx.update(grad, tx.init(params), params, gnvp_fn=gnvp_fn)[0].round(4))
        [1. 2.]

    Source:
        S. Amari, "Natural Gradient Works Efficiently in Learning", 1998; J. Martens, "Deep Learning via Hessian-free
        Optimization", 2010.
    """
    name = "natural_gradient"
    check_descent(name, learning_rate)
    check_range(name, "damping", damping, 0.0)
    check_range(name, "tol", tol, 0.0)
    iterations = check_positive_integer(name, "iterations", iterations)
    _check_curvature(name, curvature)
    damping, tol = wide_scalar(damping), wide_scalar(tol)

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        if not jax.tree.leaves(updates):
            return updates, state
        product = _damped_product(name, curvature, damping, params, extra_args)
        return cg(product, updates, tol=tol, maxiter=iterations)[0], state

    directions = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    return descend(directions, learning_rate)


def ou_relax(
    matvec: Product,
    g: PyTree,
    x0: PyTree,
    t: jax.typing.ArrayLike,
    *,
    dt: jax.typing.ArrayLike,
    noise: jax.typing.ArrayLike = 0.0,
    key: jax.Array | int = 0,
) -> PyTree:
    r"""An Ornstein-Uhlenbeck process after a time t, by steps of Euler and Maruyama: it relaxes to a linear solution.

    $$
    dx = -(A x - g)\, dt + \sqrt{2 \kappa}\, dW, \qquad x(\infty) \sim \mathcal{N}(A^{-1} g,\, \kappa A^{-1})
    $$

    The mean at time t is $A^{-1} g + e^{-A t} (x_0 - A^{-1} g)$. The time is cut into the least number of equal steps
    that are no longer than `dt`.

    Args:
        matvec: the product with a symmetric positive definite A.
        g: the right-hand side, a pytree of real arrays.
        x0: where the process begins, in the shapes of g.
        t: the time, at least 0.
        dt: the greatest length of a step, above 0; stable below 2 over the greatest eigenvalue of A.
        noise: κ, at least 0, the temperature.
        key: a PRNG key (typed or raw), or a seed, of the noise.

    Returns:
        x(t), in the dtypes of `x0`.

    Raises:
        ValueError: a concrete time, step or noise is out of range.

    Examples:
        >>> import jax.numpy as jnp
        >>> x = ou_relax(lambda v: jnp.array([1.0, 10.0]) * v, jnp.ones(2), jnp.zeros(2), 30.0, dt=0.05)
        >>> print([f"{float(each):.4f}" for each in x])
        ['1.0000', '0.1000']

    Source:
        K. Donatella, S. Duffield, M. Aifer, D. Melanson, G. Crooks, P. J. Coles, "Thermodynamic Natural Gradient
        Descent", 2024.
    """
    check_range("ou_relax", "t", t, 0.0)
    check_range("ou_relax", "dt", dt, 0.0, open_low=True)
    check_range("ou_relax", "noise", noise, 0.0)
    t, dt, noise = wide_scalar(t), wide_scalar(dt), wide_scalar(noise)
    steps = jnp.ceil(jnp.asarray(t / dt)).astype(jnp.int32)
    length = t / jnp.maximum(steps, 1)
    spread = jnp.sqrt(2.0 * noise * length)
    noiseless = isinstance(noise, float) and noise == 0.0
    key = typed_key(key)

    def step(number: jax.Array, x: PyTree) -> PyTree:
        def leaf(x: jax.Array, drift: jax.Array, right: jax.Array) -> jax.Array:
            return x - length.astype(x.dtype) * (drift - right).astype(x.dtype)

        x = jax.tree.map(leaf, x, matvec(x), g)
        if noiseless:
            return x
        kicks = optax.tree.random_like(jax.random.fold_in(key, number), x)
        return jax.tree.map(lambda x, z: x + spread.astype(x.dtype) * z, x, kicks)

    return jax.lax.fori_loop(0, steps, step, jax.tree.map(jnp.asarray, x0))


class ThermodynamicState(NamedTuple):
    """State of the directions of `thermodynamic_natural_gradient`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        previous: the direction before; None without momentum.
        key: the data of the PRNG key of the next noise; None without noise.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    previous: PyTree
    key: jax.Array | None


def thermodynamic_natural_gradient(
    learning_rate: optax.ScalarOrSchedule,
    time: jax.typing.ArrayLike = 1.0,
    damping: jax.typing.ArrayLike = 1e-3,
    momentum: jax.typing.ArrayLike | None = None,
    *,
    noise: jax.typing.ArrayLike | None = None,
    dt: jax.typing.ArrayLike | None = None,
    rank: int | None = None,
    curvature: Curvature = "gauss_newton",
    random_seed: jax.Array | int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Thermodynamic natural gradient descent: a linear system that relaxes for a while, from the gradient.

    $$
    \theta_{t+1} = \theta_t - \eta_t\, x_t(\tau), \qquad
    dx = -\bigl( (G_t + \lambda I)\, x - g_t \bigr)\, ds + \sqrt{2 \kappa}\, dW, \quad
    x_t(0) = g_t + \mu\, x_{t-1}(\tau)
    $$

    Time interpolates: after none it is gradient descent (with heavy-ball momentum μ), after a long one natural gradient
    descent, the momentum forgotten. The directions of large curvature relax first, so a finite time also damps. An
    analog device would relax by itself; here the mean of the process is computed exactly, as a function of the spectrum
    of G (or of its restriction to a Krylov space), or the process is followed step by step, with its noise.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        time: τ, at least 0, in units of one over curvature.
        damping: λ, at least 0.
        momentum: μ, at least 0: how much of the direction before the process begins with; None keeps none in the state.
        noise: κ, at least 0, the temperature of the process; needs `dt`. None draws nothing.
        dt: Follow the process in steps no longer than this, below 2 over the greatest eigenvalue of G + λI; None is the
            exact mean.
        rank: Dimension of the Krylov space that the exact mean is computed in; None forms the whole matrix, for a few
            thousand parameters at most.
        curvature: "gauss_newton", or "hessian" where that is positive definite.
        random_seed: Seed or PRNG key of the noise; None is seed 0.

    Returns:
        An Optax transformation; `update` needs `params` and the extra argument `gnvp_fn(params, vector)`, which
        `make_train_step` passes with `curvature=GaussNewton(...)` (`grad_fn` for the Hessian).

    Raises:
        ValueError: A concrete hyperparameter is out of range, noise comes without `dt` or `rank` with it, or `update`
            lacks what it needs.
        TypeError: `rank` is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, grad, gnvp_fn = jnp.zeros(2), jnp.ones(2), lambda p, v: jnp.array([1.0, 10.0]) * v
        >>> for time in (0.0, 1.0, 100.0):
        ...     tx = thermodynamic_natural_gradient(1.0, time, damping=0.0)
        ...     updates, _ = tx.update(grad, tx.init(params), params, gnvp_fn=gnvp_fn)
        ...     print([f"{float(each):.3f}" for each in updates])
        ['-1.000', '-1.000']
        ['-1.000', '-0.100']
        ['-1.000', '-0.100']

    Source:
        K. Donatella, S. Duffield, M. Aifer, D. Melanson, G. Crooks, P. J. Coles, "Thermodynamic Natural Gradient
        Descent", 2024.
    """
    name = "thermodynamic_natural_gradient"
    check_descent(name, learning_rate)
    for argument, value in (("time", time), ("damping", damping), ("momentum", momentum), ("noise", noise)):
        check_range(name, argument, value, 0.0)
    check_range(name, "dt", dt, 0.0, open_low=True)
    rank = None if rank is None else check_positive_integer(name, "rank", rank)
    if noise is not None and dt is None:
        raise ValueError(f"{name}: noise needs dt, the steps in which it is drawn, got noise={noise!r} and dt=None")
    if rank is not None and dt is not None:
        raise ValueError(f"{name}: rank is that of the exact mean, which dt replaces, got rank={rank} and dt={dt!r}")
    _check_curvature(name, curvature)
    seed = 0 if random_seed is None else random_seed
    time, damping = wide_scalar(time), wide_scalar(damping)

    def relaxed(values: jax.Array) -> jax.Array:
        """(1 - exp(-λ t)) / λ, which is t at 0."""
        zero = values == 0
        return jnp.where(zero, time, -jnp.expm1(-values * time) / jnp.where(zero, 1.0, values))

    def init(params: PyTree) -> ThermodynamicState:
        previous = None if momentum is None else zeros_for(params)
        key = None if noise is None else jax.random.key_data(typed_key(seed))
        return ThermodynamicState(jnp.zeros([], jnp.int32), previous, key)

    def update(
        updates: PyTree, state: ThermodynamicState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, ThermodynamicState]:
        product = _damped_product(name, curvature, damping, params, extra_args)
        g = jax.tree.map(wide, updates)
        start, previous, key = g, None, None
        if momentum is not None:
            start = jax.tree.map(lambda x, p: x + jnp.asarray(momentum, x.dtype) * p, g, state.previous)
        if dt is None:
            force = jax.tree.map(jnp.subtract, g, product(start))
            x = jax.tree.map(jnp.add, start, matrix_function(relaxed, product, force, rank))
        elif noise is None or state.key is None:
            x = ou_relax(product, g, start, time, dt=dt)
        else:
            current, key = split_data(seed, state.key)
            x = ou_relax(product, g, start, time, dt=dt, noise=noise, key=current)
        if momentum is not None:
            previous = jax.tree.map(lambda v, p: v.astype(p.dtype), x, state.previous)
        return x, ThermodynamicState(optax.safe_increment(state.count), previous, key)

    return descend(optax.GradientTransformationExtraArgs(init, update), learning_rate)
