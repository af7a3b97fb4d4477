"""M-FAC: the inverse of a damped empirical Fisher of the last m gradients, without ever forming a d by d matrix.

With the gradients as rows of G and λ the damping, F = λ I + GᵀG / m, and with K = m λ I + G Gᵀ Woodbury's identity says
F⁻¹ x = (x - Gᵀ K⁻¹ G x) / λ. Where x is the k-th of these gradients, the difference can be taken beforehand: F⁻¹ g_k =
m Gᵀ K⁻¹ e_k, which loses no digits however small λ is. The optimizer runs this second form.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from optimizers._checks import check_positive_integer, check_range
from optimizers._memory import mixed, products
from optimizers._moments import check_descent, descend, wide_scalar
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.second_order._arrays import check_shape, floats


def _solve(gram: Array, damping: Any, right: Array) -> Array:
    """(m λ I + gram)⁻¹ times the right side, m λ being at least what Cholesky's factors need not to fail."""
    m = gram.shape[0]
    mean = jnp.trace(gram) / m
    shift = jnp.maximum(m * damping, m * jnp.finfo(gram.dtype).eps * mean)
    scale = shift + mean
    matrix = (gram + shift * jnp.eye(m, dtype=gram.dtype)) / scale
    return cho_solve(cho_factor(matrix), right) / scale


def _gradients(function: str, grads: Any, damping: Any) -> Array:
    check_range(function, "damping", damping, 0.0, open_low=True)
    (grads,) = floats(function, grads=grads)
    check_shape(function, "grads", grads, (None, None))
    return grads


def empirical_fisher_ihvp(
    grads: Float[Array, "m d"], x: Float[Array, " d"], *, damping: jax.typing.ArrayLike = 1e-6
) -> Float[Array, " d"]:
    r"""The inverse of a damped empirical Fisher matrix times a vector, in m d + m³ operations.

    $$F = \lambda I + \frac{1}{m} \sum_i g_i g_i^\top, \qquad
    F^{-1} x = \frac{1}{\lambda} \left( x - G^\top (m \lambda I + G G^\top)^{-1} G x \right)$$

    Args:
        grads: Gradients `[m, d]`.
        x: Vector `[d]`.
        damping: λ, above 0, in squared units of the gradient. Where m λ lies below the rounding errors of G Gᵀ, those
            take its place.

    Returns:
        F⁻¹ x, `[d]`.

    Raises:
        ValueError: Shapes do not match, or `damping` is not positive.
        TypeError: An array is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> product = empirical_fisher_ihvp(jnp.array([[3.0, 0.0]]), jnp.array([1.0, 1.0]), damping=1.0)
        >>> print(jnp.array_str(product, precision=3))
        [0.1 1. ]

    Source:
        E. Frantar, E. Kurtic, D. Alistarh, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information",
        2021.
    """
    grads = _gradients("empirical_fisher_ihvp", grads, damping)
    (x,) = floats("empirical_fisher_ihvp", x=x)
    check_shape("empirical_fisher_ihvp", "x", x, grads.shape[1:])
    if not grads.shape[0]:
        return x / damping
    return (x - grads.T @ _solve(grads @ grads.T, damping, grads @ x)) / damping


def empirical_fisher_inverse_diag(
    grads: Float[Array, "m d"], *, damping: jax.typing.ArrayLike = 1e-6
) -> Float[Array, " d"]:
    r"""The diagonal of the inverse of a damped empirical Fisher matrix: what pruning by second-order saliency needs.

    $$[F^{-1}]_{jj} = \frac{1}{\lambda} - \sum_i \frac{(v_i)_j^2}{m + g_i^\top v_i}, \qquad
    v_i = F_{i-1}^{-1} g_i, \quad F_i = F_{i-1} + \frac{1}{m} g_i g_i^\top, \quad F_0 = \lambda I$$

    Args:
        grads: Gradients `[m, d]`.
        damping: λ, above 0, in squared units of the gradient.

    Returns:
        The diagonal `[d]`.

    Raises:
        ValueError: `grads` is no matrix, or `damping` is not positive.
        TypeError: `grads` is not floating point.

    Examples:
        >>> import jax.numpy as jnp
        >>> diagonal = empirical_fisher_inverse_diag(jnp.array([[3.0, 0.0]]), damping=1.0)
        >>> print(jnp.array_str(diagonal, precision=3))
        [0.1 1. ]

    Source:
        E. Frantar, E. Kurtic, D. Alistarh, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information",
        2021.
    """
    grads = _gradients("empirical_fisher_inverse_diag", grads, damping)
    m = grads.shape[0]

    def add(carry: tuple[Array, Array, Array], g: Array) -> tuple[tuple[Array, Array, Array], None]:
        vectors, diagonal, index = carry  # rows v_i / sqrt(m + g_i v_i), and the diagonal so far
        v = g / damping - vectors.T @ (vectors @ g)
        root = jnp.sqrt(m + g @ v)
        return (vectors.at[index].set(v / root), diagonal - (v / root) ** 2, index + 1), None

    start = jnp.full(grads.shape[1], 1.0 / damping, grads.dtype)
    (_, diagonal, _), _ = lax.scan(add, (jnp.zeros_like(grads), start, jnp.zeros([], jnp.int32)), grads)
    return diagonal


class MfacState(NamedTuple):
    """State of M-FAC.

    Attributes:
        count: number of updates so far, int32 `[]`.
        gram: inner products of the gradients in the memory, `[m, m]`.
        grads: the last m gradients, for each parameter `[m, ...]`, zeros where there was none yet.
        mu: moving average of the directions, or None.
    """

    count: Array  # type: ignore[assignment]
    gram: Array
    grads: PyTree
    mu: PyTree


def _total(rows: list[Array], m: int, dtype: Any) -> Array:
    """The sum of rows, as a product: of a sum of a stack the compiler makes a chain of additions, too long to fuse."""
    stack = jnp.stack(rows or [jnp.zeros(m, dtype)])
    return jnp.matmul(jnp.ones(len(stack), dtype), stack, precision=lax.Precision.HIGHEST)


def _mfac(function: str, num_grads: int, damping: Any, momentum: Any) -> optax.GradientTransformationExtraArgs:
    m = check_positive_integer(function, "num_grads", num_grads)
    check_range(function, "damping", damping, 0.0, open_low=True)
    check_range(function, "momentum", momentum, 0.0, 1.0, open_high=True)
    damping = wide_scalar(damping)
    momentum = None if momentum is None else wide_scalar(momentum)

    def init(params: PyTree) -> MfacState:
        def zeros(p: Any) -> Array:
            if jnp.iscomplexobj(p):
                raise TypeError(f"{function}: params must be real, got a complex leaf")
            return jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p)))

        grads = jax.tree.map(lambda p: jnp.broadcast_to(zeros(p), (m, *jnp.shape(p))), params)
        dtype = jnp.result_type(jnp.float32, *(g.dtype for g in jax.tree.leaves(grads)))
        mu = None if momentum is None else jax.tree.map(zeros, params)
        return MfacState(jnp.zeros([], jnp.int32), jnp.zeros((m, m), dtype), grads, mu)

    def update(
        updates: PyTree, state: MfacState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, MfacState]:
        del params, extra_args
        slot, dtype = state.count % m, state.gram.dtype
        treedef: Any  # opaque to the type checker
        olds, treedef = jax.tree.flatten(state.grads)
        new = [g.astype(old.dtype) for g, old in zip(treedef.flatten_up_to(updates), olds, strict=True)]
        row = _total([products(old, g, slot).astype(dtype) for g, old in zip(new, olds, strict=True)], m, dtype)
        gram = state.gram.at[slot].set(row).at[:, slot].set(row)
        weights = m * _solve(gram, damping, jax.nn.one_hot(slot, m, dtype=gram.dtype))
        done = [mixed(weights.astype(g.dtype), old, g, slot) for g, old in zip(new, olds, strict=True)]
        direction, grads = (treedef.unflatten([pair[k] for pair in done]) for k in (0, 1))
        mu = state.mu
        if momentum is not None:
            mu = direction = jax.tree.map(lambda old, u: momentum * old + (1 - momentum) * u, state.mu, direction)
        direction = jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), direction, updates)
        return direction, MfacState(optax.safe_increment(state.count), gram, grads, mu)

    return optax.GradientTransformationExtraArgs(init, update)


def scale_by_mfac(num_grads: int = 1024, damping: jax.typing.ArrayLike = 1e-6) -> optax.GradientTransformationExtraArgs:
    r"""Precondition the gradient by the inverse empirical Fisher of the last m gradients, itself among them.

    $$u_t = \left( \lambda I + \frac{1}{m} \sum_{i = 0}^{m - 1} g_{t-i}\, g_{t-i}^\top \right)^{-1} g_t$$

    Gradients before the first count as zeros, and 1/m stays. All parameters share one matrix. Memory: m words a
    parameter; time: two passes over it, and m³ operations.

    Args:
        num_grads: m, at least 1.
        damping: λ, above 0, in squared units of the gradient: where gradients are smaller than its root, the direction
            is g / λ.

    Returns:
        An Optax transformation for real parameters.

    Raises:
        ValueError: `num_grads` or a concrete `damping` is out of range.
        TypeError: `num_grads` is no integer, or a parameter is complex.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx, gradient = scale_by_mfac(num_grads=2, damping=1.0), jnp.array([2.0, 0.0])
        >>> direction, state = tx.update(gradient, tx.init(gradient))
        >>> print(jnp.array_str(direction, precision=3))
        [0.667 0.   ]

    Source:
        E. Frantar, E. Kurtic, D. Alistarh, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information",
        2021.
    """
    return _mfac("scale_by_mfac", num_grads, damping, None)


def mfac(
    learning_rate: optax.ScalarOrSchedule,
    num_grads: int = 1024,
    damping: jax.typing.ArrayLike = 1e-6,
    momentum: jax.typing.ArrayLike | None = 0.9,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""M-FAC: natural gradient steps from a memory of gradients.

    $$\mu_t = \beta \mu_{t-1} + (1 - \beta) F_t^{-1} (g_t + \lambda_w \theta_{t-1}), \qquad
    \theta_t = \theta_{t-1} - \eta_t\, \mu_t$$

    with the Fisher matrix F of `scale_by_mfac`. As in the authors' code, the momentum averages preconditioned gradients
    and weight decay is part of the gradients, hence of F.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        num_grads: m, the gradients in memory, at least 1.
        damping: λ, above 0, in squared units of the gradient.
        momentum: Decay β of the average, in [0, 1); None keeps no average.
        weight_decay: Decay rate λ_w, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `num_grads` is no integer, or a parameter is complex.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> w, tx = jnp.array([1.0, -2.0]), mfac(0.05, num_grads=4, damping=0.1)
        >>> state = tx.init(w)
        >>> for _ in range(200):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> print(f"{jnp.sum(w**2):.3f}")
        0.000

    Source:
        E. Frantar, E. Kurtic, D. Alistarh, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information",
        2021.
    """
    check_descent("mfac", learning_rate, weight_decay)
    directions = optax.chain(optax.add_decayed_weights(weight_decay, mask), _mfac("mfac", num_grads, damping, momentum))
    return descend(directions, learning_rate)
