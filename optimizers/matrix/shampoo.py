"""Shampoo: a matrix gradient between inverse roots of the second moments of its rows and of its columns."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import TINY, bias_correction, check_descent, descend, wide_scalar, zeros_for
from optimizers._trees import PyTree
from optimizers.matrix._factors import factors, inverse_root, laid_out_as, outer, view_and_sides
from optimizers.matrix._stacks import map_stacks
from optimizers.matrix.muon import widened
from optimizers.momentum import heavy_ball

Grafting = Literal["sgd", "rms"]


class ShampooState(NamedTuple):
    """State of Shampoo: the number of updates made, second moments, and inverse roots of two of them.

    For each leaf as a wide matrix `left` and `right` are the second moments of its rows and columns, `left_root` and
    `right_root` their inverse roots as last computed; `nu` is the second moment of its entries, for grafting. What a
    leaf does not need is None.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    nu: PyTree
    left: PyTree
    right: PyTree
    left_root: PyTree
    right_root: PyTree


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(x * x, axis=(-2, -1), keepdims=True))


def _scale_by_shampoo(
    name: str, b2: Any, eps: Any, update_every: int, max_dim: int, grafting: str | None
) -> optax.GradientTransformationExtraArgs:
    check_range(name, "b2", b2, 0.0, 1.0)
    check_range(name, "eps", eps, 0.0)
    check_positive_integer(name, "update_every", update_every)
    check_positive_integer(name, "max_dim", max_dim)
    if grafting not in (None, "sgd", "rms"):
        raise ValueError(f"{name}: grafting must be None, 'sgd' or 'rms', got {grafting!r}")
    b2, eps = wide_scalar(b2), wide_scalar(eps)
    share = jnp.where(b2 < 1, 1 - b2, 1.0)

    def init(params: PyTree) -> ShampooState:
        left, right = (factors(name, params, side, max_dim, True) for side in (0, 1))
        nu = zeros_for(params) if grafting == "rms" else jax.tree.map(lambda p: None, params)
        copies = (jax.tree.map(jnp.zeros_like, factor) for factor in (left, right))
        return ShampooState(jnp.zeros([], jnp.int32), nu, left, right, *copies)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        count = optax.safe_increment(state.count)
        correction = jnp.where(b2 < 1, bias_correction(jnp.minimum(b2, 1 - 1e-7), count), 1.0)
        due = (count - 1) % update_every == 0

        def work(g: jax.Array, nu: jax.Array | None, *state_of_leaf: Any) -> tuple[Any, ...]:
            # Scalars in the dtype of the leaf: float64 constants leave float32 leaves as they are.
            decay, growth, whole, small = (jnp.asarray(s).astype(g.dtype) for s in (b2, share, correction, eps))
            seconds, roots = state_of_leaf[:2], state_of_leaf[2:]
            new = tuple(
                decay * s + growth * outer(g, side) if s is not None else None for side, s in enumerate(seconds)
            )
            order = 2 * sum(s is not None for s in new)
            roots = lax.cond(
                due,
                lambda: tuple(inverse_root(s / whole, order, small) if s is not None else None for s in new),
                lambda: roots,
            )
            x = roots[0] @ g if roots[0] is not None else g
            x = x @ roots[1] if roots[1] is not None else x
            if grafting == "sgd":
                x = x * (_norm(g) / (_norm(x) + TINY))
            if nu is not None:
                nu = decay * nu + growth * g * g
                x = x * (_norm(g / (jnp.sqrt(nu / whole) + small + TINY)) / (_norm(x) + TINY))
            return x, nu, *new, *roots

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(widened(updates))
        columns = [treedef.flatten_up_to(getattr(state, field)) for field in ShampooState._fields[1:]]
        places = [k for k, leaf in enumerate(leaves) if leaf.size > 0]
        views = [view_and_sides(name, leaves[k].shape, max_dim, True)[0] for k in places]
        grafts = [columns[0][k] for k in places]
        grafts = [view.wide(nu)[0] if nu is not None else None for nu, view in zip(grafts, views, strict=True)]
        gradients = [view.wide(leaves[k])[0] for k, view in zip(places, views, strict=True)]
        found = map_stacks(work, gradients, grafts, *([column[k] for k in places] for column in columns[1:]))
        for k, view, (x, nu, *others) in zip(places, views, found, strict=True):
            leaves[k] = laid_out_as(view.narrow(x[None]), leaves[k])
            columns[0][k] = None if nu is None else laid_out_as(view.narrow(nu[None]), columns[0][k])
            for column, new in zip(columns[1:], others, strict=True):
                column[k] = new
        directions = treedef.unflatten(leaves)
        return (
            jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), directions, updates),
            ShampooState(count, *(treedef.unflatten(column) for column in columns)),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_shampoo(
    b2: jax.typing.ArrayLike = 1.0,
    eps: jax.typing.ArrayLike = 1e-6,
    *,
    update_every: int = 1,
    max_dim: int = 8192,
    grafting: Grafting | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply a gradient by inverse roots of the second moments of its rows and columns.

    $$L_t = L_{t-1} + G_t G_t^\top, \quad R_t = R_{t-1} + G_t^\top G_t, \qquad
    u_t = (L_t + \varepsilon I)^{-1/4}\, G_t\, (R_t + \varepsilon I)^{-1/4}$$

    with sums for `b2=1`, as in the paper, and bias-corrected moving averages below 1. The roots are of order 2k for k
    factors: an axis of one entry or of more than `max_dim` has none, so that a vector, or a matrix with one long axis,
    is multiplied by one inverse square root; where no axis is left the gradient passes. Leaves of rank above 2 are
    matrices [..., in, out] with all axes but the last flattened. Eigendecompositions of leaves of equal shape are one
    batched operation.

    Args:
        b2: Decay of the second moments, in [0, 1]; 1 sums.
        eps: Added to the eigenvalues, at least 0, in squared units of the gradient.
        update_every: Steps between computations of the roots.
        max_dim: Longest axis that has a factor.
        grafting: None; or a method whose step has its length taken over, leaf by leaf: `"sgd"`, the gradient's own, or
            `"rms"`, that of AdaGrad (RMSProp where `b2` is below 1).

    Returns:
        An Optax transformation with `ShampooState`; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `grafting` none of those above.
        TypeError: `update_every` or `max_dim` is not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_shampoo(eps=0.0)
        >>> gradient = jnp.array([[3.0, 0.0], [0.0, -0.5]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(abs(update.round(3)))
        [[1. 0.]
         [0. 1.]]

    Source:
        V. Gupta, T. Koren, Y. Singer, "Shampoo: Preconditioned Stochastic Tensor Optimization", 2018; N. Agarwal et
        al., "Disentangling Adaptive Gradient Methods from Learning Rates", 2020 (`grafting`).
    """
    return _scale_by_shampoo("scale_by_shampoo", b2, eps, update_every, max_dim, grafting)


def shampoo(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 1.0,
    eps: jax.typing.ArrayLike = 1e-6,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
    *,
    nesterov: bool = False,
    update_every: int = 1,
    max_dim: int = 8192,
    grafting: Grafting | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Shampoo with momentum.

    $$m_t = \mu\, m_{t-1} + u_t, \qquad \theta_t = \theta_{t-1} - \eta_t\,(m_t + \lambda\, \theta_{t-1})$$

    with $u_t$ of `scale_by_shampoo`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        momentum: μ, in [0, 1).
        b2: Decay of the second moments, in [0, 1]; 1 sums.
        eps: Added to the eigenvalues, at least 0.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule; None is none.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        nesterov: Step along u + μ m.
        update_every: Steps between computations of the roots.
        max_dim: Longest axis that has a factor, see `scale_by_shampoo`.
        grafting: Whose length the step has, see `scale_by_shampoo`.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `grafting` is none that `scale_by_shampoo` lists.
        TypeError: `update_every` or `max_dim` is not an integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), shampoo(0.5, momentum=0.0)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.3f}")
        0.086

    Source:
        V. Gupta, T. Koren, Y. Singer, "Shampoo: Preconditioned Stochastic Tensor Optimization", 2018.
    """
    check_descent("shampoo", learning_rate, weight_decay)
    check_range("shampoo", "momentum", momentum, 0.0, 1.0, open_high=True)
    directions = _scale_by_shampoo("shampoo", b2, eps, update_every, max_dim, grafting)
    chain = optax.chain(directions, heavy_ball(momentum, nesterov, None))
    return descend(chain, learning_rate, weight_decay, mask)
