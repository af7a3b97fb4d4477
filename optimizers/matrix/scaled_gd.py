"""Gradient descent on the factors of a low-rank matrix, each preconditioned by the other's Gram matrix."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import check_descent, descend, wide_scalar
from optimizers._trees import PyTree
from optimizers.matrix._stacks import map_stacks
from optimizers.matrix.muon import widened


def _solve(gram: jax.Array, gradient: jax.Array) -> jax.Array:
    """`gradient @ inverse(gram)` for stacks of positive definite matrices; NaN where they are not.

    The inverse is small; the product with it leaves the rows of a sharded gradient where they are.
    """
    factor = jax.scipy.linalg.cho_factor(gram, lower=True)
    return gradient @ jax.scipy.linalg.cho_solve(
        factor, jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    )


def _scale_by_scaled_gd(
    name: str, damping: Any, pairs: Mapping[str, str] | None
) -> optax.GradientTransformationExtraArgs:
    check_range(name, "damping", damping, 0.0)
    damping = wide_scalar(damping)
    partners = dict(pairs or {})
    partners.update({right: left for left, right in partners.items()})

    def work(gradient: jax.Array, factor: jax.Array) -> jax.Array:
        gram = factor.mT @ factor
        return _solve(gram + damping * jnp.eye(gram.shape[-1], dtype=gram.dtype), gradient)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del extra_args
        if params is None:
            raise ValueError(f"{name}: update needs params, got None")
        treedef: Any  # opaque to the type checker
        paths, treedef = jax.tree_util.tree_flatten_with_path(widened(updates))
        keys = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
        factors = dict(zip(keys, treedef.flatten_up_to(widened(params)), strict=True))
        leaves = [leaf for _, leaf in paths]
        places = [k for k, leaf in enumerate(leaves) if leaf.ndim >= 2 and leaf.size > 0]
        for k in places:
            partner = partners.get(keys[k], keys[k])
            if partner not in factors or factors[partner].shape[-1] != leaves[k].shape[-1]:
                raise ValueError(
                    f"{name}: pairs must name leaves with as many columns, got {keys[k]!r} {leaves[k].shape} with "
                    f"{partner!r} among {sorted(factors)}"
                )
        others = [factors[partners.get(keys[k], keys[k])] for k in places]
        for k, solved in zip(places, map_stacks(work, [leaves[k] for k in places], others), strict=True):
            leaves[k] = solved
        return jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), treedef.unflatten(leaves), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def scale_by_scaled_gd(
    damping: jax.typing.ArrayLike, pairs: Mapping[str, str] | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply the gradient of a factor by the inverse of a damped Gram matrix.

    $$u = G\,(X^\top X + \lambda I)^{-1}, \qquad u_L = G_L\,(R^\top R + \lambda I)^{-1}, \quad u_R = G_R\,(L^\top L +
    \lambda I)^{-1}$$

    for a factor X [n, r] of a symmetric matrix $X X^\top$, and for a pair L [m, r], R [n, r] of $L R^\top$. Every
    matrix among the leaves is a factor; stacks [..., n, r] are as many; vectors and scalars pass unchanged. The r x r
    systems of factors of equal shape are one batched Cholesky factorisation.

    Args:
        damping: λ, at least 0, in squared units of the factors; of the order of the smallest squared singular value
            of the true matrix where r exceeds its rank. 0 gives NaN at a factor without full rank.
        pairs: Which leaves belong together, by their paths (keys joined by slashes): `{"layer/left": "layer/right"}`.
            A matrix that is not named is the factor of a symmetric matrix, its own partner.

    Returns:
        An Optax transformation without state; `update` needs `params`, and keeps the dtype of the updates.

    Raises:
        ValueError: `damping` is negative; or, from `update`, a pair names no leaf of as many columns, or there are no
            parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> factor, gradient = jnp.array([[2.0], [1.0]]), jnp.array([[3.0], [6.0]])
        >>> tx = scale_by_scaled_gd(damping=1.0)
        >>> print(tx.update(gradient, tx.init(factor), factor)[0].round(3))
        [[0.5]
         [1. ]]

    Source:
        X. Xu, Y. Shen, Y. Chi, C. Ma, "The Power of Preconditioning in Overparameterized Low-Rank Matrix Sensing", 2023
        (damping); T. Tong, C. Ma, Y. Chi, "Accelerating Ill-Conditioned Low-Rank Matrix Estimation via Scaled Gradient
        Descent", 2021 (pairs).
    """
    return _scale_by_scaled_gd("scale_by_scaled_gd", damping, pairs)


def scaled_gd(
    learning_rate: optax.ScalarOrSchedule,
    damping: jax.typing.ArrayLike,
    pairs: Mapping[str, str] | None = None,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""ScaledGD(λ): gradient descent on low-rank factors, at a pace that does not depend on the condition number.

    $$X_t = X_{t-1} - \eta\, G_t\,(X_{t-1}^\top X_{t-1} + \lambda I)^{-1}$$

    and as `scale_by_scaled_gd` says for pairs. Start from small random factors; the step is constant. As λ grows with
    $\eta / \lambda$ fixed this becomes gradient descent; λ = 0 at the exact rank is ScaledGD.

    Args:
        learning_rate: Step size, at least 0, about 0.3 to 1 for a loss ‖X Xᵀ - M‖²/4: a number, a traced scalar or an
            Optax schedule.
        damping: λ, at least 0, see `scale_by_scaled_gd`.
        pairs: Which leaves belong together, see `scale_by_scaled_gd`.
        weight_decay: Decay rate, at least 0: a number, a traced scalar or a schedule; None is none.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is negative.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> truth = jnp.diag(jnp.array([1.0, 0.01, 0.0]))
        >>> loss = lambda x: 0.25 * jnp.sum((x @ x.T - truth) ** 2)
        >>> factor, tx = 0.01 * jnp.eye(3, 2), scaled_gd(0.5, damping=0.01)
        >>> state = tx.init(factor)
        >>> for _ in range(60):
        ...     updates, state = tx.update(jax.grad(loss)(factor), state, factor)
        ...     factor = optax.apply_updates(factor, updates)
        >>> print(f"{factor[1, 1] ** 2:.4f}")
        0.0100

    Source:
        X. Xu, Y. Shen, Y. Chi, C. Ma, "The Power of Preconditioning in Overparameterized Low-Rank Matrix Sensing",
        2023.
    """
    check_descent("scaled_gd", learning_rate, weight_decay)
    return descend(_scale_by_scaled_gd("scaled_gd", damping, pairs), learning_rate, weight_decay, mask)
