"""SANIA: Polyak's step in a preconditioned norm, with the preconditioner as the curvature of the model of the loss."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._keys import split_data, typed_key
from optimizers._moments import TINY, bias_correction, reread, wide_scalar, zeros_for
from optimizers._trees import PyTree, wide
from optimizers.curvature import hessian_vector_product, hutchinson_diagonal, needed

Precond = Literal["adam_sqr", "adagrad_sqr", "hutchinson", "identity"]


class SaniaState(NamedTuple):
    """State of `sania`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        nu: the average or sum that the preconditioner is made of; None for the identity.
        key: the data of the PRNG key of the next estimate of the Hessian's diagonal; None for other preconditioners.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    nu: PyTree
    key: jax.Array | None


def sania(
    precond: Precond = "adam_sqr",
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 0.0,
    f_min: jax.typing.ArrayLike = 0.0,
    *,
    constraint: Literal["quadratic", "linear"] = "quadratic",
    random_seed: jax.Array | int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""SANIA: the shortest step, in the norm of a preconditioner B, to where a model of the loss reaches its minimum.

    $$
    \theta_{t+1} = \theta_t - \lambda_t B_t^{-1} g_t, \qquad
    \lambda_t = 1 - \sqrt{\max(1 - u_t, 0)}, \quad u_t = \frac{2 (L_t - L^*)}{\lVert g_t \rVert^2_{B_t^{-1}}}
    $$

    is the minimiser of $\tfrac12 \lVert \theta - \theta_t \rVert_{B_t}^2$ subject to
    $L_t + \langle g_t, \theta - \theta_t \rangle + \tfrac12 \lVert \theta - \theta_t \rVert_{B_t}^2 \le L^*$, with the
    minimum of the model where the constraint has no solution. There is no learning rate: $0 \le \lambda_t \le 1$. The
    preconditioners are squares of gradients without a root, so that the iterates do not depend on the scales of the
    parameters (while `eps` is 0):

    - "adam_sqr": $B = \nu_t / (1 - \beta_2^t)$, $\nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2$
    - "adagrad_sqr": $B = \sum_{s \le t} g_s^2$
    - "hutchinson": $B = \nu_t / (1 - \beta_2^t)$ of $|z \odot \nabla^2 L z|$, z random signs
    - "identity": $B = 1$

    Entries of B below `eps` are `eps`, as in the authors' PyTorch code; a coordinate whose B is 0 does not move.

    Args:
        precond: The preconditioner, one of the four.
        b2: Decay of the averages, in [0, 1).
        eps: The least entry of B, at least 0.
        f_min: L*, the least loss: 0 where the model can interpolate the data.
        constraint: "linear" leaves the quadratic term of the constraint out: $\lambda_t = u_t / 2$, Polyak's step in
            the norm of B (with "identity", `optax.polyak_sgd` without its greatest learning rate).
        random_seed: Seed or PRNG key of the estimates of "hutchinson"; None is seed 0.

    Returns:
        An Optax transformation, the last link of a chain; `update` needs the extra argument `value`, the loss, and for
        "hutchinson" `params` and `grad_fn`; `make_train_step` passes them.

    Raises:
        ValueError: A concrete hyperparameter is out of range, `precond` or `constraint` is another, or `update` lacks
            what it needs.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> value_and_grad = jax.value_and_grad(lambda x: 0.5 * x[0] ** 2 + 50.0 * x[1] ** 2)
        >>> params, tx = jnp.array([1.0, 1.0]), sania("hutchinson")
        >>> value, grad = value_and_grad(params)
        >>> updates, _ = tx.update(grad, tx.init(params), params, value=value, grad_fn=lambda x: value_and_grad(x)[1])
        >>> print([f"{float(each):.3f}" for each in updates])  # Newton's step
        ['-1.000', '-1.000']

    Source:
        F. Abdukhakimov, C. Xiang, D. Kamzolov, R. Gower, M. Takáč, "SANIA: Polyak-type Optimization Framework Leads to
        Scale Invariant Stochastic Algorithms", 2023.
    """
    if precond not in ("adam_sqr", "adagrad_sqr", "hutchinson", "identity"):
        raise ValueError(
            f"sania: precond must be 'adam_sqr', 'adagrad_sqr', 'hutchinson' or 'identity', got {precond!r}"
        )
    if constraint not in ("quadratic", "linear"):
        raise ValueError(f"sania: constraint must be 'quadratic' or 'linear', got {constraint!r}")
    check_range("sania", "b2", b2, 0.0, 1.0, open_high=True)
    check_range("sania", "eps", eps, 0.0)
    check_range("sania", "f_min", f_min)
    b2, eps, f_min = (wide_scalar(x) for x in (b2, eps, f_min))
    seed = 0 if random_seed is None else random_seed

    def init(params: PyTree) -> SaniaState:
        nu = None if precond == "identity" else zeros_for(params)
        key = jax.random.key_data(typed_key(seed)) if precond == "hutchinson" else None
        return SaniaState(jnp.zeros([], jnp.int32), nu, key)

    def observed(g: PyTree, key: jax.Array | None, params: PyTree, grad_fn: Any) -> tuple[PyTree, jax.Array | None]:
        """What the preconditioner averages: squares of the gradient, or an estimate of the Hessian's diagonal."""
        if key is None:
            return jax.tree.map(jnp.square, g), None
        grad_fn = needed("sania", "grad_fn", grad_fn)
        params = needed("sania", "params", params, "every chain passes them")
        current, following = split_data(seed, key)
        estimate = hutchinson_diagonal(lambda v: hessian_vector_product(grad_fn, params, v), params, current)
        return jax.tree.map(jnp.abs, estimate), following

    def update(
        updates: PyTree,
        state: SaniaState,
        params: PyTree | None = None,
        *,
        value: Any = None,
        grad_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[PyTree, SaniaState]:
        del extra_args
        value = wide_scalar(needed("sania", "value", value))
        count = optax.safe_increment(state.count)
        g = jax.tree.map(wide, updates)
        nu, key = None, None
        if precond == "identity":
            directions = g
        else:
            old_share, new_share = (1.0, 1.0) if precond == "adagrad_sqr" else (b2, 1 - b2)
            seen, key = observed(g, state.key, params, grad_fn)
            nu = jax.tree.map(lambda v, s: (old_share * v + new_share * s).astype(v.dtype), state.nu, seen)
            correction = 1.0 if precond == "adagrad_sqr" else bias_correction(b2, count)
            directions = jax.tree.map(lambda x, v: _quotient(x, jnp.maximum(v / correction, eps)), g, nu)
        if nu is None or precond == "hutchinson":
            squares = jax.tree.map(lambda x, d: jnp.sum(x * d), *reread(g, directions))
        else:
            squares = jax.tree.map(partial(_square_over, correction, eps), g, nu)
        norm = sum(jax.tree.leaves(squares), start=jnp.zeros(()))
        u = _quotient(jnp.maximum(2.0 * (value - f_min), 0.0), norm)  # already below f_min: no step
        # 1 - sqrt(1 - u) without its cancellation at small u.
        length = u / 2 if constraint == "linear" else u / (1.0 + jnp.sqrt(jnp.maximum(1.0 - u, 0.0)))
        if constraint == "quadratic":
            length = jnp.where(u > 1, 1.0, length)
        step = jax.tree.map(lambda d, x: (-length * d).astype(x.dtype), directions, updates)
        return step, SaniaState(count, nu, key)

    return optax.GradientTransformationExtraArgs(init, update)


def _square_over(correction: Any, eps: Any, x: jax.Array, v: jax.Array) -> jax.Array:
    """The sum of x² / max(v / correction, eps) for a v of squares of x, which is 0 only where x² is."""
    x, v, correction, least = reread(x, v, correction, jnp.maximum(eps, TINY))
    return jnp.sum(x * x / jnp.maximum(v / correction, least))


def _quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y, and 0 where y is."""
    return jnp.where(y == 0, 0.0, x / jnp.where(y == 0, 1.0, y))
