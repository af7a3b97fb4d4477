"""Steepest descent under a norm: sign descent, Muon, and rules for embeddings, as one equation.

    argmin_D <G, D> + ‖D‖² / 2 = -‖G‖_dual T,        T = argmax of <G, T> over ‖T‖ = 1

A norm is one function from a matrix [in, out] to T; its dual norm is <G, T>. Several layers, each with a norm and a
scale s, have the norm max ‖D_l‖ / s_l: their steps are s_l T_l times the one sum of s_l ‖G_l‖_dual.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optimizers._checks import check_range
from optimizers._moments import TINY, check_descent, descend, wide_scalar
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.matrix.muon import Orthogonalize, orthogonalizer, over_matrices, size, widened
from optimizers.matrix.newton_schulz import MUON, Coefficients

Norm = Literal["linf", "frobenius", "spectral", "rms_rms", "l1_rms", "lp_linf"]
NORMS = ("linf", "frobenius", "spectral", "rms_rms", "l1_rms", "lp_linf")


def _root_sum(x: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=True))


def _over(x: jax.Array, norm: jax.Array) -> jax.Array:
    return x / jnp.where(norm > 0, norm, 1)


def _dual_vector(x: jax.Array, axis: int, p: Any) -> jax.Array:
    """What has inner product ‖x‖_p with `x` and norm 1 in the dual of ℓp, along an axis."""
    peak = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    share = jnp.abs(_over(x, peak))
    total = jnp.sum(share**p, axis=axis, keepdims=True)
    return jnp.sign(x) * jnp.where(share > 0, share, 1) ** (p - 1) / jnp.where(total > 0, total, 1) ** (1 - 1 / p)


def _steepest(norm: str, p: Any, orthogonalize: Orthogonalize) -> Callable[[jax.Array, int], jax.Array]:
    """T of a norm, from stacks of wide matrices and the axis of their own columns."""

    def scaled(x: jax.Array, columns: int) -> jax.Array:
        rows, count = size(x, columns)
        return (count / rows) ** 0.5 * orthogonalize(x)

    return {
        "linf": lambda x, columns: jnp.sign(x),
        "frobenius": lambda x, columns: _over(x, _root_sum(x, (-2, -1))),
        "spectral": lambda x, columns: orthogonalize(x),
        "rms_rms": scaled,
        "l1_rms": lambda x, columns: x.shape[columns] ** 0.5 * _over(x, _root_sum(x, columns)),
        "lp_linf": lambda x, columns: _dual_vector(x, -3 - columns, p),
    }[norm]


def _polar(x: jax.Array) -> jax.Array:
    """The polar factor by an SVD; directions without any gradient get no step."""
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    kept = s > s[..., :1] * (max(x.shape[-2:]) * jnp.finfo(x.dtype).eps)
    return (u * kept[..., None, :].astype(x.dtype)) @ vh


def _check_norm(function: str, name: str, norm: Any) -> None:
    if norm not in NORMS:
        raise ValueError(f"{function}: {name} must be one of {', '.join(NORMS)}, got {norm!r}")


def dual_norm(
    gradient: Float[Array, "*batch m n"], norm: Norm, *, p: jax.typing.ArrayLike = 2.0
) -> Float[Array, "*batch"]:
    r"""The dual of a norm of matrices [in, out] (as in $y = x W$), at `gradient`.

    $$\lVert G \rVert_* = \max_{\lVert T \rVert = 1} \langle G, T \rangle$$

    | `norm` | of W | dual, of G |
    |---|---|---|
    | `"linf"` | largest entry | sum of all magnitudes |
    | `"frobenius"` | root of the sum of squares | itself |
    | `"spectral"` | largest singular value | sum of the singular values |
    | `"rms_rms"` | operator norm between root mean squares | that sum times √(out / in) |
    | `"l1_rms"` | largest root mean square of a row (of an embedding) | √out times the sum of the rows' lengths |
    | `"lp_linf"` | largest ℓq norm of a column (a neuron), 1/p + 1/q = 1 | sum of the columns' ℓp norms |

    Args:
        gradient: Matrices [..., m, n].
        norm: The norm whose dual is wanted, as above.
        p: p of `"lp_linf"`, at least 1.

    Returns:
        The dual norms [...], in float32 or wider.

    Raises:
        ValueError: `norm` is none of the above, `p` is below 1, or `gradient` is no matrix.

    Examples:
        >>> import jax.numpy as jnp
        >>> g = jnp.array([[3.0, 0.0], [0.0, -4.0]])
        >>> print(*(dual_norm(g, norm).round(2) for norm in ("linf", "frobenius", "spectral", "l1_rms")))
        7.0 5.0 7.0 9.9

    Source:
        J. Bernstein, L. Newhouse, "Old Optimizer, New Norm: An Anthology", 2024.
    """
    _check_norm("dual_norm", "norm", norm)
    check_range("dual_norm", "p", p, 1.0)
    gradient = jnp.asarray(gradient)
    if gradient.ndim < 2:
        raise ValueError(f"dual_norm: gradient must have shape [..., m, n], got {gradient.shape}")
    g = gradient.astype(accumulator_dtype(gradient.dtype))
    if norm in ("spectral", "rms_rms"):
        nuclear = jnp.sum(jnp.linalg.svd(g, compute_uv=False), axis=-1)
        return nuclear * (g.shape[-1] / g.shape[-2]) ** 0.5 if norm == "rms_rms" else nuclear
    direction = _steepest(norm, wide_scalar(p), _polar)(g, -1)
    return jnp.sum(g * direction, axis=(-2, -1))


def scale_by_steepest_descent(
    norm_map: Any = "spectral",
    *,
    dual_scale: bool = True,
    layer_scale: Any = 1.0,
    p: jax.typing.ArrayLike = 2.0,
    ns_steps: int | None = 5,
    ns_coeffs: Coefficients = MUON,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace the gradients by the direction of steepest descent under norms of the layers.

    $$u_l = \Big(\sum_k s_k \lVert G_k \rVert_{k*}\Big)\, s_l\, T_l, \qquad T_l = \operatorname*{argmax}_{\lVert T
    \rVert_l = 1} \langle G_l, T \rangle$$

    which is steepest for the network's norm $\max_l \lVert D_l \rVert_l / s_l$. With `"linf"` T is the sign (Adam
    without its averages), with `"spectral"` the polar factor (Muon without momentum, or Shampoo without its sums):
    that is `scale_by_muon`'s code. `dual_norm` lists the norms.

    A leaf of rank 2 is [in, out]; of leaves of higher rank all axes but the last are flattened; a vector is the map of
    one constant input, [1, out].

    Args:
        norm_map: A norm for all leaves, or a tree (or a tree's prefix, or a function from gradients to one) of them.
        dual_scale: Whether to multiply by the sum of dual norms; False makes the size of the step independent of the
            gradient's, as Muon's and sign descent's.
        layer_scale: Scales s, at least 0: a number for all leaves, or a tree (or a tree's prefix).
        p: p of `"lp_linf"`, at least 1.
        ns_steps: Iterations of the Newton-Schulz method for polar factors; None takes an SVD, which is exact.
        ns_coeffs: Coefficients of the iteration, see `scale_by_muon`.

    Returns:
        An Optax transformation without state; updates keep their dtype.

    Raises:
        ValueError: A norm is none that `dual_norm` lists, or a concrete hyperparameter is out of range.
        TypeError: `ns_steps` is not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_steepest_descent({"w": "spectral", "b": "linf"}, dual_scale=False, ns_steps=None)
        >>> gradient = {"w": jnp.array([[3.0, 0.0], [0.0, -0.5]]), "b": jnp.array([0.1, -0.2])}
        >>> update, _ = tx.update(gradient, tx.init(gradient))
        >>> print(update["w"].round(4), update["b"])
        [[ 1.  0.]
         [ 0. -1.]] [ 1. -1.]

    Source:
        J. Bernstein, L. Newhouse, "Old Optimizer, New Norm: An Anthology", 2024; T. Large et al., "Scalable
        Optimization in the Modular Norm", 2024 (several layers).
    """
    return _scale_by_steepest_descent(
        "scale_by_steepest_descent", norm_map, dual_scale, layer_scale, p, ns_steps, ns_coeffs
    )


def _scale_by_steepest_descent(
    name: str, norm_map: Any, dual_scale: bool, layer_scale: Any, p: Any, ns_steps: int | None, ns_coeffs: Any
) -> optax.GradientTransformationExtraArgs:
    if not callable(norm_map):
        for norm in jax.tree.leaves(norm_map):
            _check_norm(name, "norm_map", norm)
    for scale in jax.tree.leaves(layer_scale):
        check_range(name, "layer_scale", scale, 0.0)
    check_range(name, "p", p, 1.0)
    exponent = wide_scalar(p)
    orthogonalize = orthogonalizer(name, ns_coeffs, 1 if ns_steps is None else ns_steps, TINY, "frobenius")
    orthogonalize = _polar if ns_steps is None else orthogonalize

    def members(norm: str, leaves: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
        _check_norm(name, "norm_map", norm)
        steepest = _steepest(norm, exponent, orthogonalize)

        def work(columns: int, g: jax.Array, dual: jax.Array) -> tuple[jax.Array, jax.Array]:
            direction = steepest(g, columns)
            return direction, dual + jnp.sum(g * direction, axis=(-3, -2, -1))

        directions, duals = over_matrices(name, work, None, leaves, [jnp.zeros([], g.dtype) for g in leaves])
        return list(zip(directions, duals, strict=True))

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(widened(updates))
        norms = treedef.flatten_up_to(_broadcast(norm_map(updates) if callable(norm_map) else norm_map, updates))
        scales = treedef.flatten_up_to(_broadcast(layer_scale, updates))
        found: list[Any] = [None] * len(leaves)
        for norm in dict.fromkeys(norms):
            places = [k for k, other in enumerate(norms) if other == norm]
            for k, result in zip(places, members(norm, [leaves[k] for k in places]), strict=True):
                found[k] = result
        # A reduction, and no chain of additions: that the compiler would repeat for every leaf it scales.
        duals = [jnp.asarray(scale * dual) for scale, (_, dual) in zip(scales, found, strict=True)]
        total = jnp.sum(jnp.stack(duals)) if dual_scale and duals else 1.0
        steps = [total * scale * direction for scale, (direction, _) in zip(scales, found, strict=True)]
        return jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), treedef.unflatten(steps), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _broadcast(prefix: Any, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda value, below: jax.tree.map(lambda _: value, below), prefix, tree)


def steepest_descent(
    learning_rate: optax.ScalarOrSchedule,
    norm_map: Any = "spectral",
    *,
    dual_scale: bool = True,
    layer_scale: Any = 1.0,
    p: jax.typing.ArrayLike = 2.0,
    ns_steps: int | None = 5,
    ns_coeffs: Coefficients = MUON,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Steepest descent under norms of the layers.

    $$\theta_t = \theta_{t-1} - \eta_t\, (u_t + \lambda\, \theta_{t-1})$$

    with $u_t$ of `scale_by_steepest_descent`. Sign descent is `norm_map="linf", dual_scale=False`; gradient descent
    is `norm_map="frobenius"` on a single leaf.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        norm_map: Norms of the leaves, see `scale_by_steepest_descent`.
        dual_scale: Whether to multiply by the sum of dual norms.
        layer_scale: Scales of the leaves, at least 0.
        p: p of `"lp_linf"`, at least 1.
        ns_steps: Iterations for polar factors; None takes an SVD.
        ns_coeffs: Coefficients of the iteration, see `scale_by_muon`.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule; None is none.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A norm is none that `dual_norm` lists, or a concrete hyperparameter is out of range.
        TypeError: `ns_steps` is not an integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), steepest_descent(0.1, ns_steps=None)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.3f}")
        0.018

    Source:
        J. Bernstein, L. Newhouse, "Old Optimizer, New Norm: An Anthology", 2024.
    """
    name = "steepest_descent"
    check_descent(name, learning_rate, weight_decay)
    directions = _scale_by_steepest_descent(name, norm_map, dual_scale, layer_scale, p, ns_steps, ns_coeffs)
    return descend(directions, learning_rate, weight_decay, mask)


class ProdigySignState(NamedTuple):
    """State of `prodigy_sign`: the number of updates made, the step size found, and the parameters at the start."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    step_size: jax.Array
    start: PyTree


def prodigy_sign(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    d0: jax.typing.ArrayLike = 1e-6,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Sign descent that finds its step size: Prodigy without averages, as steepest descent.

    $$d_t = \max\left(d_{t-1}, \frac{\langle g_t, \theta_0 - \theta_{t-1} \rangle}{\lVert g_t \rVert_1}\right), \qquad
    \theta_t = \theta_{t-1} - \eta_t\, (d_t \operatorname{sign}(g_t) + \lambda\, \theta_{t-1})$$

    For a convex loss d is a lower bound of the largest distance of a coordinate from its minimum. It only grows, so the
    learning rate has to decay for the iterates to converge.

    Args:
        learning_rate: Multiplier of the step size found, at least 0: a number, a traced scalar or an Optax schedule.
        d0: First step size, above 0, in the units of the parameters.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule; None is none.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`. Its state keeps a copy of the first parameters.

    Raises:
        ValueError: A concrete hyperparameter is out of range; or, from `update`, there are no parameters.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([3.0, -2.0]), prodigy_sign()
        >>> state = tx.init(params)
        >>> for _ in range(60):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{state[0].step_size:.1f}")
        2.0

    Source:
        J. Bernstein, L. Newhouse, "Old Optimizer, New Norm: An Anthology", 2024; K. Mishchenko, A. Defazio, "Prodigy:
        An Expeditiously Adaptive Parameter-Free Learner", 2024.
    """
    check_descent("prodigy_sign", learning_rate, weight_decay)
    check_range("prodigy_sign", "d0", d0, 0.0, open_low=True)

    def init(params: PyTree) -> ProdigySignState:
        start = jax.tree.map(lambda p: jnp.array(p, dtype=accumulator_dtype(jnp.result_type(p)), copy=True), params)
        return ProdigySignState(jnp.zeros([], jnp.int32), jnp.asarray(d0, jnp.float32), start)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del extra_args
        if params is None:
            raise ValueError("prodigy_sign: update needs params, got None")
        inner = jax.tree.map(lambda g, a, b: jnp.sum(g * (a - b)), updates, state.start, params)
        total = sum(jax.tree.leaves(jax.tree.map(lambda g: jnp.sum(jnp.abs(g)), updates)), start=jnp.float32(0.0))
        estimate = sum(jax.tree.leaves(inner), start=jnp.float32(0.0)) / jnp.where(total > 0, total, 1)
        size_of_step = jnp.maximum(state.step_size, estimate.astype(jnp.float32))
        steps = jax.tree.map(lambda g: size_of_step.astype(g.dtype) * jnp.sign(g), updates)
        return steps, ProdigySignState(optax.safe_increment(state.count), size_of_step, state.start)

    return descend(optax.GradientTransformationExtraArgs(init, update), learning_rate, weight_decay, mask)
