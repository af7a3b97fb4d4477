"""SOAP: Adam in the eigenbasis of Shampoo's second moments."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    root_scalars,
    wide_scalar,
    zeros_for,
)
from optimizers._rounding import store
from optimizers._trees import PyTree
from optimizers.matrix._factors import eigenvectors, factors, laid_out_as, outer, power_step, view_and_sides
from optimizers.matrix._stacks import map_stacks
from optimizers.matrix.muon import widened


class SoapState(NamedTuple):
    """State of SOAP: the number of updates made, Adam's moments, and second moments of rows and columns.

    For each leaf `mu` is the average gradient, `nu` the average of its squares in the eigenbasis; `left` and `right`
    are the second moments of rows and columns of the leaf as a wide matrix, `left_basis` and `right_basis` their
    eigenvectors as last computed, None where there are none.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu: PyTree
    left: PyTree
    right: PyTree
    left_basis: PyTree
    right_basis: PyTree


Bases = tuple[Any, ...]  # an array, or None where the axis has none, for each side


def _into(x: jax.Array, bases: Bases) -> jax.Array:
    x = x if bases[0] is None else bases[0].mT @ x
    return x if bases[1] is None else x @ bases[1]


def _out_of(x: jax.Array, bases: Bases) -> jax.Array:
    return _into(x, tuple(None if basis is None else basis.mT for basis in bases))


def _refreshed(seconds: Bases, bases: Bases, nu: jax.Array) -> tuple[Bases, jax.Array]:
    """One orthogonal iteration of both bases, with the second moment in the order of the new ones' vectors."""
    new = []
    for axis, second, basis in zip((-2, -1), seconds, bases, strict=True):
        if basis is not None:
            basis, order = power_step(second, basis)
            nu = jnp.take_along_axis(nu, jnp.expand_dims(order, -3 - axis), axis=axis)
        new.append(basis)
    return tuple(new), nu


def _soap(
    name: str,
    b1: Any,
    b2: Any,
    shampoo_beta: Any,
    eps: Any,
    precondition_frequency: int,
    max_precondition_dim: int,
    precondition_1d: bool,
    mu_dtype: Any,
) -> optax.GradientTransformationExtraArgs:
    check_decays(name, eps, b1=b1, b2=b2)
    check_range(name, "shampoo_beta", shampoo_beta, 0.0, 1.0, open_high=True)
    check_positive_integer(name, "precondition_frequency", precondition_frequency)
    check_positive_integer(name, "max_precondition_dim", max_precondition_dim)
    mu_dtype = check_moment_dtype(name, "mu_dtype", mu_dtype, MU_DTYPES)
    b3 = wide_scalar(b2 if shampoo_beta is None else shampoo_beta)
    b1, b2, eps = (wide_scalar(x) for x in (b1, b2, eps))

    def init(params: PyTree) -> SoapState:
        sides = [factors(name, params, side, max_precondition_dim, precondition_1d) for side in (0, 1)]
        bases = [jax.tree.map(jnp.zeros_like, side) for side in sides]
        moments = zeros_for(params, mu_dtype), zeros_for(params)
        return SoapState(jnp.zeros([], jnp.int32), *moments, *sides, *bases)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        first = state.count == 0
        count = optax.safe_increment(state.count)
        step = jnp.maximum(state.count, 1)  # of Adam, which begins one step later
        root, small, _ = root_scalars(b2, eps, 0.0, step)
        scalars = b2, b3, root / bias_correction(b1, step), small
        which = jnp.where(first, 0, jnp.where(state.count % precondition_frequency == 0, 1, 2))

        def work(g: jax.Array, mu: jax.Array, nu: jax.Array, *of_sides: Any) -> tuple[Any, ...]:
            s2, s3, on_m, added = (jnp.asarray(s).astype(g.dtype) for s in scalars)
            seconds, bases = of_sides[:2], of_sides[2:]
            new_nu = jnp.where(first, nu, average(s2, 1 - s2, nu, _into(g, bases) ** 2))
            x = _out_of(on_m * _into(mu, bases) / (jnp.sqrt(new_nu) + added), bases)
            new = tuple(average(s3, 1 - s3, s, outer(g, k)) if s is not None else None for k, s in enumerate(seconds))
            new_bases, new_nu = lax.switch(
                which,
                (
                    lambda: (tuple(eigenvectors(s) if s is not None else None for s in new), new_nu),
                    lambda: _refreshed(new, bases, new_nu),
                    lambda: (bases, new_nu),
                ),
            )
            return jnp.where(first, 0, x), new_nu, *new, *new_bases

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(widened(updates))
        columns = [treedef.flatten_up_to(getattr(state, field)) for field in SoapState._fields[1:]]
        mus = []
        for k, g in enumerate(leaves):
            old = columns[0][k].astype(g.dtype)
            decay = jnp.where(first, 1, jnp.asarray(b1)).astype(g.dtype)
            columns[0][k] = store(average(decay, 1 - decay, old, g), columns[0][k].dtype, count, k)
            mus.append(columns[0][k].astype(g.dtype))
        places = [k for k, leaf in enumerate(leaves) if leaf.size > 0]
        views = {k: view_and_sides(name, leaves[k].shape, max_precondition_dim, precondition_1d)[0] for k in places}
        wide = [[views[k].wide(tree[k])[0] for k in places] for tree in (leaves, mus, columns[1])]
        found = map_stacks(work, *wide, *([column[k] for k in places] for column in columns[2:]))
        for k, (x, nu, *others) in zip(places, found, strict=True):
            leaves[k] = laid_out_as(views[k].narrow(x[None]), leaves[k])
            columns[1][k] = laid_out_as(views[k].narrow(nu[None]), columns[1][k])
            for column, new in zip(columns[2:], others, strict=True):
                column[k] = new
        directions = jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), treedef.unflatten(leaves), updates)
        return directions, SoapState(count, *(treedef.unflatten(column) for column in columns))

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_soap(
    b1: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    shampoo_beta: jax.typing.ArrayLike | None = None,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
    precondition_1d: bool = False,
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam's ratio of moments in the slowly turning eigenbasis of the gradient's second moments.

    $$L_t = \beta_s L_{t-1} + (1 - \beta_s) G_t G_t^\top, \quad R_t = \beta_s R_{t-1} + (1 - \beta_s) G_t^\top G_t,
    \quad u_t = Q_L\, \operatorname{Adam}(Q_L^\top G_t Q_R)\, Q_R^\top$$

    with $Q_L, Q_R$ the eigenvectors of L and R: those of the first gradient to begin with, and every
    `precondition_frequency` steps turned by one orthogonal iteration, whose vectors are sorted. The average gradient is
    kept outside of the basis, the average square inside. As in the authors' code the first update is 0: its gradient
    only makes the basis.

    An axis of more than `max_precondition_dim` entries keeps its own basis, and so do vectors and scalars unless
    `precondition_1d`: there this is Adam, a step late. Leaves of rank above 2 are matrices with all axes but the last
    flattened. Leaves of equal shape are one batched operation.

    Args:
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        shampoo_beta: Decay of L and R, in [0, 1); None means `b2`.
        eps: Added to the root, at least 0, in the units of the gradient.
        precondition_frequency: Steps between turns of the basis.
        max_precondition_dim: Longest axis that has a basis.
        precondition_1d: Whether vectors have one.
        mu_dtype: dtype of the first moment; None means float32, or the parameters' dtype where that is wider. bfloat16
            and float16 are rounded stochastically, hence without bias.

    Returns:
        An Optax transformation with `SoapState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or a count is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_soap()
        >>> gradient = jnp.array([[3.0, 0.0], [0.0, -0.5]])
        >>> state = tx.init(gradient)
        >>> for _ in range(2):
        ...     update, state = tx.update(gradient, state)
        >>> print(jnp.diag(update).round(3))
        [ 1. -1.]

    Source:
        N. Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024.
    """
    return _soap(
        "scale_by_soap",
        b1,
        b2,
        shampoo_beta,
        eps,
        precondition_frequency,
        max_precondition_dim,
        precondition_1d,
        mu_dtype,
    )


def soap(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    shampoo_beta: jax.typing.ArrayLike | None = None,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
    *,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
    precondition_1d: bool = False,
    mu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""SOAP: Adam in the eigenbasis of Shampoo.

    $$\theta_t = \theta_{t-1} - \eta_t\,(u_t + \lambda\, \theta_{t-1})$$

    with $u_t$ of `scale_by_soap`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        b1: Decay of the first moment, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        shampoo_beta: Decay of the moments of rows and columns, in [0, 1); None means `b2`.
        eps: Added to the root, at least 0.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        precondition_frequency: Steps between turns of the basis.
        max_precondition_dim: Longest axis that has a basis.
        precondition_1d: Whether vectors have one.
        mu_dtype: dtype of the first moment, see `scale_by_soap`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or a count is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), soap(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(11):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.01

    Source:
        N. Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024.
    """
    check_descent("soap", learning_rate, weight_decay)
    directions = _soap(
        "soap",
        b1,
        b2,
        shampoo_beta,
        eps,
        precondition_frequency,
        max_precondition_dim,
        precondition_1d,
        mu_dtype,
    )
    return descend(directions, learning_rate, weight_decay, mask)
