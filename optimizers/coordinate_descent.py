"""Descent along one block of coordinates at a time, the block chosen greedily.

One score, the progress that a model of the block promises, ranks the blocks:

    gs    ‖g_b‖                   the largest gradient
    gsl   ‖g_b‖² / L_b            with a Lipschitz constant of each block
    gsd   Σ_i g_i² / d_i          with a bound of each coordinate
    gsq   g_bᵀ H_b⁻¹ g_b          with a matrix bound of each block: the largest progress that a quadratic guarantees

and the step is the minimiser of the same model.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._moments import real_dtype, wide_scalar
from optimizers._trees import PyTree, accumulator_dtype, wide

Rule = Literal["gs", "gsl", "gsd", "gsq"]
_NEEDS = {"gs": None, "gsl": "lipschitz", "gsd": "diagonal", "gsq": "hessian"}


def soft_threshold(x: jax.Array, threshold: Any) -> jax.Array:
    """The proximal map of `threshold` times the absolute value."""
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0.0)


def _check_blocks(function: str, vector: jax.Array, name: str, blocks: jax.Array) -> None:
    if vector.ndim != 1 or blocks.ndim != 2 or not jnp.issubdtype(blocks.dtype, jnp.integer):
        raise ValueError(
            f"{function}: expected {name} [d] and integer blocks [nb, b], got {name} {vector.shape} and blocks "
            f"{blocks.dtype} {blocks.shape}"
        )


def _bound(function: str, rule: str, shape: tuple[int, ...], bounds: dict[str, Any]) -> jax.Array | None:
    """The bound that the rule needs, checked for its presence and shape."""
    if rule not in _NEEDS:
        raise ValueError(f"{function}: rule must be one of {', '.join(_NEEDS)}, got {rule!r}")
    name = _NEEDS[rule]
    if name is None:
        return None
    if bounds[name] is None:
        raise ValueError(f"{function}: rule={rule!r} needs {name}")
    bound = jnp.asarray(bounds[name])
    expected = {"lipschitz": shape[:1], "diagonal": bound.shape[:1], "hessian": (*shape, *shape[1:])}[name]
    if bound.shape != expected:
        raise ValueError(f"{function}: {name} must have shape {expected}, got {bound.shape}")
    return wide(bound)


def greedy_block_scores(
    grad: Float[Array, " d"],
    blocks: Int[Array, "nb b"],
    *,
    rule: Rule = "gs",
    lipschitz: Any = None,
    diagonal: Any = None,
    hessian: Any = None,
) -> Float[Array, " nb"]:
    r"""How much each block of coordinates promises: the scores of the Gauss-Southwell rules.

    `"gs"`: $\lVert g_b \rVert$. `"gsl"`: $\lVert g_b \rVert^2 / L_b$. `"gsd"`: $\sum_{i \in b} g_i^2 / d_i$. `"gsq"`:
    $g_b^\top H_b^{-1} g_b$, twice the progress that the quadratic model guarantees.

    Args:
        grad: the gradient g.
        blocks: the coordinates of each block, disjoint.
        rule: which score.
        lipschitz: L, a Lipschitz constant of the gradient in each block `[nb]`, above 0, for `"gsl"`.
        diagonal: d, a bound for each coordinate `[d]`, above 0, for `"gsd"`.
        hessian: H, a positive definite bound of the Hessian's blocks `[nb, b, b]`, for `"gsq"`.

    Returns:
        The scores, float32 or wider; the best block is their argmax.

    Raises:
        ValueError: an unknown rule, a bound that is missing, arrays of other shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> blocks = jnp.array([[0, 1], [2, 3]])
        >>> gradient = jnp.array([3.0, 4.0, 6.0, 0.0])
        >>> print(greedy_block_scores(gradient, blocks))
        [5. 6.]
        >>> print(greedy_block_scores(gradient, blocks, rule="gsl", lipschitz=jnp.array([1.0, 4.0])))
        [25.  9.]

    Source:
        J. Nutini, I. Laradji, M. Schmidt, "Let's Make Block Coordinate Descent Converge Faster: Faster Greedy Rules,
        Message-Passing, Active-Set Complexity, and Superlinear Convergence", 2022.
    """
    grad, blocks = jnp.asarray(grad), jnp.asarray(blocks)
    _check_blocks("greedy_block_scores", grad, "grad", blocks)
    bounds = {"lipschitz": lipschitz, "diagonal": diagonal, "hessian": hessian}
    bound = _bound("greedy_block_scores", rule, blocks.shape, bounds)
    g = wide(grad)[blocks]
    if bound is None:
        return jnp.linalg.norm(g, axis=-1)
    if rule == "gsl":
        return jnp.sum(g * g, axis=-1) / bound
    if rule == "gsd":
        return jnp.sum(g * g / bound[blocks], axis=-1)
    return jnp.sum(g * _solve(bound, g), axis=-1)


def _solve(matrices: jax.Array, vectors: jax.Array) -> jax.Array:
    """Solve systems that are positive definite, batched; NaN where one is not."""
    factors = jnp.linalg.cholesky(matrices)
    return jax.scipy.linalg.cho_solve((factors, True), vectors[..., None])[..., 0]


def _model_decrease(x: jax.Array, g: jax.Array, bound: jax.Array, l1: Any) -> tuple[jax.Array, jax.Array]:
    """Each coordinate's minimiser of g δ + L δ² / 2 + l1 |x + δ| - l1 |x|, and the decrease there."""
    delta = soft_threshold(x - g / bound, l1 / bound) - x
    return delta, -(g * delta + 0.5 * bound * delta**2 + l1 * (jnp.abs(x + delta) - jnp.abs(x)))


def block_coordinate_step(
    params: Float[Array, " d"],
    grad: Float[Array, " d"],
    blocks: Int[Array, "nb b"],
    *,
    rule: Rule = "gs",
    lipschitz: Any = None,
    diagonal: Any = None,
    hessian: Any = None,
    l1: Any = 0.0,
    value_fn: Callable[[jax.Array], jax.Array] | None = None,
) -> Float[Array, " d"]:
    r"""A step of greedy block coordinate descent: the block of the best score, to the minimum of its model.

    $$x_b \leftarrow x_b - M_b^{-1} g_b, \qquad b = \arg\max_b \mathrm{score}_b$$

    M is 1 for `"gs"` unless `lipschitz` is given, $L_b$ for `"gsl"`, the diagonal for `"gsd"` and $H_b$ for `"gsq"`:
    with the Hessian itself that is a Newton step, which `value_fn` lets backtrack (halved until the Armijo condition
    with constant 1/4 holds, at most 30 times). With `l1`, the objective is f + l1 ‖x‖₁: the step is the proximal one
    and the score the decrease of the model, which leaves coordinates at 0 alone while |g| < l1.

    Args:
        params: the point x.
        grad: the gradient g of the smooth part there.
        blocks: the coordinates of each block, disjoint; `[[0], [1], ...]` for single coordinates.
        rule: how to choose, see `greedy_block_scores`.
        lipschitz: L `[nb]`, for `"gsl"`, and the step of `"gs"`.
        diagonal: d `[d]`, for `"gsd"`.
        hessian: H `[nb, b, b]`, for `"gsq"`.
        l1: weight of the absolute values, at least 0; not with `"gsq"`.
        value_fn: the objective, for backtracking of `"gsq"`.

    Returns:
        The new point, in the dtype of `params`; only one block has moved.

    Raises:
        ValueError: an unknown rule, a bound that is missing, arrays of other shapes, a negative `l1`, `l1` with
            `"gsq"`, `value_fn` without it.
        TypeError: `value_fn` is no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, blocks = jnp.array([2.0, 1.0]), jnp.array([[0], [1]])
        >>> step = block_coordinate_step(x, jnp.array([2.0, 4.0]), blocks, rule="gsl", lipschitz=jnp.array([1.0, 4.0]))
        >>> print(step)  # of x₀² / 2 + 2 x₁²
        [0. 1.]

    Source:
        J. Nutini, I. Laradji, M. Schmidt, "Let's Make Block Coordinate Descent Converge Faster: Faster Greedy Rules,
        Message-Passing, Active-Set Complexity, and Superlinear Convergence", 2022.
    """
    function = "block_coordinate_step"
    params, grad, blocks = jnp.asarray(params), jnp.asarray(grad), jnp.asarray(blocks)
    _check_blocks(function, params, "params", blocks)
    if grad.shape != params.shape:
        raise ValueError(f"{function}: grad must have the shape of params, {params.shape}, got {grad.shape}")
    check_range(function, "l1", l1, 0.0)
    if rule == "gsq" and not (isinstance(l1, int | float) and l1 == 0):
        raise ValueError(f"{function}: l1 must be 0 with rule='gsq', got {l1}")
    if value_fn is not None:
        check_callable(function, "value_fn", value_fn, "(params) -> value")
        if rule != "gsq":
            raise ValueError(f"{function}: value_fn is for rule='gsq', got rule={rule!r}")
    bounds = {"lipschitz": lipschitz, "diagonal": diagonal, "hessian": hessian}
    bound = _bound(function, rule, blocks.shape, bounds)
    x, g = wide(params), wide(grad)
    if rule == "gsq":
        best = jnp.argmax(greedy_block_scores(g, blocks, rule="gsq", hessian=bound))
        newton = _solve(jnp.take(jnp.asarray(bound), best, axis=0), g[blocks[best]])
        direction = jnp.zeros_like(x).at[blocks[best]].set(-newton)
        return (x + _backtracked(value_fn, x, g, direction) * direction).astype(params.dtype)
    if rule == "gs":
        each = jnp.ones(blocks.shape[:1]) if lipschitz is None else wide(jnp.asarray(lipschitz))
        curvature = jnp.broadcast_to(each[:, None], blocks.shape)
    else:
        assert bound is not None
        curvature = jnp.broadcast_to(bound[:, None], blocks.shape) if rule == "gsl" else bound[blocks]
    deltas, decreases = _model_decrease(x[blocks], g[blocks], curvature, l1)
    plain = greedy_block_scores(g, blocks, rule=rule, lipschitz=lipschitz, diagonal=diagonal)
    proximal = jnp.sum(decreases, axis=-1)
    best = jnp.argmax(jnp.where(jnp.asarray(l1) == 0, plain, proximal))
    return x.at[blocks[best]].add(deltas[best]).astype(params.dtype)


def _backtracked(value_fn: Any, x: jax.Array, g: jax.Array, direction: jax.Array) -> Any:
    """The largest of 1, 1/2, 1/4, … that satisfies the Armijo condition; 0 where none of 30 does."""
    if value_fn is None:
        return 1.0
    start, slope = value_fn(x), jnp.vdot(g, direction)

    def too_far(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        length, tries = carry
        enough = value_fn(x + length * direction) <= start + 0.25 * length * slope
        return ~enough & (tries < 30)

    length, tries = lax.while_loop(too_far, lambda c: (c[0] / 2, c[1] + 1), (jnp.ones((), x.dtype), jnp.int32(0)))
    return jnp.where(tries < 30, length, 0.0)


def greedy_block_descent(
    learning_rate: optax.ScalarOrSchedule, blocks: int = 1, *, lipschitz: PyTree | Callable[[PyTree], PyTree] = None
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient descent on the `blocks` leaves of the parameters that promise the most; the others stand still.

    A block is a leaf of the tree. It is chosen by $\lVert g_b \rVert$, or $\lVert g_b \rVert^2 / L_b$ with `lipschitz`,
    whose constants also divide its step: with a learning rate of 1 that is the step of `block_coordinate_step`.

    Args:
        learning_rate: step size, at least 0: a number, a traced scalar or an Optax schedule.
        blocks: number of leaves that move in a step, at least 1. Of equal leaves the first move.
        lipschitz: a tree like the parameters with a Lipschitz constant for each leaf, above 0, or a function from the
            parameters' tree to one; None for 1 each.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: `learning_rate` is negative, `blocks` is below 1, a constant is not above 0.
        TypeError: `blocks` is no integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = greedy_block_descent(0.5)
        >>> gradients = {"a": jnp.array([3.0, 4.0]), "b": jnp.array(-6.0)}
        >>> updates, _ = tx.update(gradients, tx.init(gradients))
        >>> print(updates["a"], updates["b"])
        [0. 0.] 3.0

    Source:
        J. Nutini, I. Laradji, M. Schmidt, "Let's Make Block Coordinate Descent Converge Faster: Faster Greedy Rules,
        Message-Passing, Active-Set Complexity, and Superlinear Convergence", 2022.
    """
    check_range("greedy_block_descent", "learning_rate", learning_rate, 0.0)
    blocks = check_positive_integer("greedy_block_descent", "blocks", blocks)
    for constant in [] if callable(lipschitz) else jax.tree.leaves(lipschitz):
        check_range("greedy_block_descent", "lipschitz", constant, 0.0, open_low=True)

    def init(params: PyTree) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update(
        updates: PyTree, state: optax.ScaleByScheduleState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.ScaleByScheduleState]:
        del params, extra_args
        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(updates)
        given = lipschitz(updates) if callable(lipschitz) else lipschitz
        constants = [1.0] * len(leaves) if given is None else treedef.flatten_up_to(given)
        rate = learning_rate(state.count) if callable(learning_rate) else wide_scalar(learning_rate)
        following = optax.ScaleByScheduleState(count=optax.safe_increment(state.count))
        if not leaves:
            return updates, following
        squares = [jnp.sum(jnp.square(jnp.abs(wide(jnp.asarray(g))))) / c for g, c in zip(leaves, constants)]
        scores = jnp.stack(jnp.broadcast_arrays(*squares))
        chosen = jnp.zeros(len(leaves), bool).at[lax.top_k(scores, min(blocks, len(leaves)))[1]].set(True)
        lengths = [jnp.where(chosen[i], -rate / c, 0.0) for i, c in enumerate(constants)]

        def leaf(g: Any, length: jax.Array) -> jax.Array:
            g = jnp.asarray(g)
            dtype = accumulator_dtype(g.dtype)
            return (g.astype(dtype) * length.astype(real_dtype(dtype))).astype(g.dtype)

        return treedef.unflatten([leaf(g, length) for g, length in zip(leaves, lengths)]), following

    return optax.GradientTransformationExtraArgs(init, update)
