"""Muon and its adaptive forms: the momentum of a matrix, with singular values of 1.

One equation. With the averaged gradient u (Nesterov's or not) of a matrix [in, out],

    direction = scale * finish(NS(prepare(u)))

NS being the Newton-Schulz iteration. Muon finishes with nothing; AdaMuon divides elements, NorMuon the columns of a
matrix (its output neurons) by the root of a moving average of their squares, and both bring the result to one size.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    average,
    bias_correction,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    first_moment,
    wide_scalar,
)
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.adaptive.adam import adamw
from optimizers.matrix._stacks import map_stacks
from optimizers.matrix.dimensions import DimensionNumbers, muon_dimension_numbers, spread, view_of
from optimizers.matrix.newton_schulz import MUON, Coefficients, Preconditioning, check_iteration, orthogonalize_wide


class MuonState(NamedTuple):
    """State of Muon: the number of updates made, and the moving average of the gradient."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree


Orthogonalize = Callable[[jax.Array], jax.Array]


def orthogonalizer(function: str, ns_coeffs: Any, ns_steps: int, eps: Any, preconditioning: str) -> Orthogonalize:
    """The Newton-Schulz iteration of these settings for stacks of wide matrices, its arguments checked."""
    table = check_iteration(function, ns_coeffs, ns_steps, preconditioning, ("ns_coeffs", "ns_steps"))
    check_range(function, "eps", eps, 0.0)
    eps = wide_scalar(eps)
    return lambda x: orthogonalize_wide(x, table, eps, preconditioning)


def momentum(function: str, beta: Any, mu_dtype: Any, nesterov: bool) -> optax.GradientTransformationExtraArgs:
    """Optax's average: of bias corrections that differ for momentum and gradient under Nesterov."""
    check_range(function, "beta", beta, 0.0, 1.0, open_high=True)
    mu_dtype = check_moment_dtype(function, "mu_dtype", mu_dtype, MU_DTYPES)
    beta = wide_scalar(beta)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        if nesterov:
            on_g = (1 - beta) / bias_correction(beta, step)
            return beta, 1 - beta, beta / bias_correction(beta, optax.safe_increment(step)), on_g
        return beta, 1 - beta, 1 / bias_correction(beta, step)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (average(s[0], s[1], old[0], g),)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        return s[2] * new[0] + s[3] * g if nesterov else s[2] * new[0]

    return elementwise(MuonState, {"mu": first_moment(mu_dtype)}, scalars, advance, direction)


def widened(tree: PyTree) -> PyTree:
    """The leaves in float32 or wider."""
    return jax.tree.map(lambda g: jnp.asarray(g).astype(accumulator_dtype(jnp.result_type(g))), tree)


def over_matrices(
    function: str,
    work: Callable[..., tuple[jax.Array, ...]],
    numbers: DimensionNumbers | None,
    tree: PyTree,
    *others: PyTree,
    alike: bool = False,
) -> tuple[PyTree, ...]:
    """`work` on stacks of wide matrices: from those of `tree` and arrays of `others` to new ones of both.

    `work(columns, x, *others)` gets `x` [block, batch, m, n] with m at most n, and the axis (-1 or -2) along which the
    matrix's own columns are counted; it is called once for each block of leaves that are alike, and returns new `x` and
    new others. `alike` says that the others have the shapes of `tree` and are to be viewed as it is. Empty
    leaves pass.
    """
    treedef: Any  # opaque to the type checker
    leaves, treedef = jax.tree.flatten(tree)
    columns = [treedef.flatten_up_to(other) for other in others]
    spec = treedef.flatten_up_to(spread(numbers, tree))
    results: list[Any] = [(leaf, tuple(c[k] for c in columns)) for k, leaf in enumerate(leaves)]
    for turned in (False, True):
        views = {
            k: view
            for k, leaf in enumerate(leaves)
            if leaf.size > 0
            for view in [view_of(function, leaf.shape, spec[k])]
            if view.transposed is turned
        }
        rest = [[view.wide(c[k]) if alike else c[k] for k, view in views.items()] for c in columns]
        items = [view.wide(leaves[k]) for k, view in views.items()]
        done = map_stacks(functools.partial(work, -2 if turned else -1), items, *rest)
        for (k, view), (x, *new) in zip(views.items(), done, strict=True):
            results[k] = view.narrow(x), tuple(view.narrow(y) if alike else y for y in new)
    return tuple(treedef.unflatten(part) for part in zip(*((x, *new) for x, new in results), strict=True)) or (
        tree,
        *others,
    )


def size(x: jax.Array, columns: int) -> tuple[int, int]:
    """Rows and columns of the matrices of a stack."""
    return (x.shape[-2], x.shape[-1]) if columns == -1 else (x.shape[-1], x.shape[-2])


def _muon(
    function: str,
    averages: optax.GradientTransformationExtraArgs,
    orthogonalize: Orthogonalize,
    scale: Callable[[jax.Array, int], Any],
    adaptive: bool,
    numbers: DimensionNumbers | None,
) -> optax.GradientTransformationExtraArgs:
    def work(columns: int, u: jax.Array) -> tuple[jax.Array]:
        x = orthogonalize(u)
        if adaptive:
            x = x * jnp.sum(jnp.conj(u) * x, axis=(-2, -1), keepdims=True)
        return (x * scale(u, columns),)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        averaged, state = averages.update(widened(updates), state)
        (directions,) = over_matrices(function, work, numbers, averaged)
        return jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), directions, updates), state

    return optax.GradientTransformationExtraArgs(averages.init, update)


def _width_transfer(x: jax.Array, columns: int) -> float:
    rows, count = size(x, columns)
    return math.sqrt(max(1.0, count / rows))


def scale_by_muon(
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each gradient by its orthogonalized momentum.

    $$m_t = \beta m_{t-1} + (1 - \beta) g_t, \quad \hat m_t = \frac{\beta\, m_t}{1 - \beta^{t+1}} +
    \frac{(1 - \beta)\, g_t}{1 - \beta^t}, \quad u_t = \operatorname{NS}(\hat m_t)$$

    with the iteration of `newton_schulz_orthogonalize` (without `nesterov`, of $m_t / (1 - \beta^t)$). The directions
    of `optax.contrib.scale_by_muon`, computed for all leaves of equal shape at once: a tree of a thousand matrices
    compiles in a fraction of the time. Transposed leaves share that work, and arithmetic is in float32 or wider.

    Every leaf is orthogonalized: a vector or scalar as a matrix of one row (that is, divided by its norm), a leaf of
    higher rank as [..., in, out] with all axes but the last flattened. `muon` leaves such leaves to AdamW.

    Args:
        ns_coeffs: Coefficients of the iteration: three numbers, a triple for each iteration, or a preset: `"muon"`
            (`"standard"`) or `"dion"`.
        ns_steps: Number of iterations, ignored where `ns_coeffs` are several triples.
        beta: Decay of the momentum, in [0, 1).
        eps: Added to the norm that the iteration starts by dividing by, at least 0.
        mu_dtype: dtype of the momentum; None means float32, or the parameters' dtype where that is wider. bfloat16 and
            float16 are rounded stochastically, hence without bias.
        nesterov: Look one step ahead, as above.
        adaptive: Multiply each matrix by its inner product with the momentum, its dual norm: steepest descent.
        preconditioning: `"frobenius"`, `"spectral"`, `"aol"` or `"schatten"`, see `newton_schulz_orthogonalize`.
        weight_dimension_numbers: `optax.contrib.MuonDimensionNumbers` for all leaves, or a tree (or a tree's prefix, or
            a function from parameters to one) of them: which axes are rows and columns; others count matrices.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or a choice is none of those above.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_muon()
        >>> gradient = jnp.array([[3.0, 0.0], [0.0, 0.5]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(2))
        [[0.71 0.  ]
         [0.   1.04]]

    Source:
        K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    name = "scale_by_muon"
    orthogonalize = orthogonalizer(name, ns_coeffs, ns_steps, eps, preconditioning)
    averages = momentum(name, beta, mu_dtype, nesterov)
    return _muon(name, averages, orthogonalize, lambda x, columns: 1.0, adaptive, weight_dimension_numbers)


def beside_adamw(
    matrices: optax.GradientTransformation,
    adam: optax.GradientTransformation,
    numbers: DimensionNumbers | None,
) -> optax.GradientTransformationExtraArgs:
    """`matrices` for the leaves that have dimension numbers, `adam` for the others."""
    numbers = muon_dimension_numbers if numbers is None else numbers

    def labels(params: PyTree) -> PyTree:
        def label(number: Any, leaf: Any) -> str:
            return "adam" if number is None or jnp.size(leaf) == 0 else "muon"

        return jax.tree.map(lambda p, number: label(number, p), params, spread(numbers, params))

    return optax.partition({"muon": matrices, "adam": adam}, labels)


def muon(
    learning_rate: optax.ScalarOrSchedule,
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: jax.typing.ArrayLike = 0.9,
    adam_b2: jax.typing.ArrayLike = 0.999,
    adam_eps_root: jax.typing.ArrayLike = 0.0,
    adam_weight_decay: optax.ScalarOrSchedule = 0.0,
    adam_learning_rate: optax.ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: DimensionNumbers | None = None,
    consistent_rms: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Muon: orthogonalized momentum for the matrices of hidden layers, AdamW for everything else.

    $$\theta_t = \theta_{t-1} - \eta_t\,(s\, u_t + \lambda\, \theta_{t-1}), \qquad
    s = \sqrt{\max(1, \text{out} / \text{in})} \quad\text{or}\quad s = r \sqrt{\max(\text{in}, \text{out})}$$

    with $u_t$ of `scale_by_muon` for a matrix [in, out]; the second form where `consistent_rms` gives r.

    The arguments and the steps are those of `optax.contrib.muon`, with two differences. First, which leaves are Muon's:
    Optax takes every matrix, we by default leave embeddings and last layers to AdamW, as the method's authors do, and
    take convolution kernels (`optimizers.matrix.muon_dimension_numbers` is the rule, from shapes and names, and lists
    them). Optax's rule is `muon_weight_dimension_numbers=lambda params: jax.tree.map(lambda p: MuonDimensionNumbers()
    if p.ndim == 2 else None, params)`. Second, leaves of equal shape are one batched operation, see `scale_by_muon`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        ns_coeffs: Coefficients of the iteration, see `scale_by_muon`.
        ns_steps: Number of iterations.
        beta: Decay of the momentum, in [0, 1).
        eps: Added to the matrix's norm, and AdamW's epsilon; at least 0.
        weight_decay: Decay rate λ of the matrices, at least 0: a number, a traced scalar or a schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which matrices decay.
        mu_dtype: dtype of the first moments, see `scale_by_muon`.
        nesterov: Look one step ahead, in Muon and in AdamW.
        adaptive: Multiply each matrix by its dual norm, see `scale_by_muon`.
        preconditioning: See `newton_schulz_orthogonalize`.
        adam_b1: AdamW's decay of the first moment, in [0, 1).
        adam_b2: AdamW's decay of the second moment, in [0, 1).
        adam_eps_root: AdamW's epsilon under the root, at least 0.
        adam_weight_decay: AdamW's decay rate, at least 0.
        adam_learning_rate: AdamW's step size; None means `learning_rate`.
        muon_weight_dimension_numbers: Tree (or a tree's prefix, or a function from parameters to one) of
            `optax.contrib.MuonDimensionNumbers` for Muon's leaves and None for AdamW's; None alone is the rule above.
        consistent_rms: r of the second form, at least 0; 0.2 matches the size of AdamW's updates, so that one learning
            rate serves both.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or a choice is none of those above.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), muon(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        1.62

    Source:
        K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; J. Liu et al., "Muon is
        Scalable for LLM Training", 2025 (`consistent_rms`, `weight_decay`).
    """
    name = "muon"
    check_descent(name, learning_rate, weight_decay)
    check_range(name, "adam_learning_rate", adam_learning_rate, 0.0)
    check_range(name, "adam_weight_decay", adam_weight_decay, 0.0)
    check_decays(name, eps, adam_b1=adam_b1, adam_b2=adam_b2)
    check_range(name, "adam_eps_root", adam_eps_root, 0.0)
    check_range(name, "consistent_rms", consistent_rms, 0.0)
    numbers = muon_dimension_numbers if muon_weight_dimension_numbers is None else muon_weight_dimension_numbers
    rms = None if consistent_rms is None else wide_scalar(consistent_rms)

    def scale(x: jax.Array, columns: int) -> Any:
        return _width_transfer(x, columns) if rms is None else rms * math.sqrt(x.shape[-1])

    averages = momentum(name, beta, mu_dtype, nesterov)
    orthogonalize = orthogonalizer(name, ns_coeffs, ns_steps, eps, preconditioning)
    directions = _muon(name, averages, orthogonalize, scale, adaptive, numbers)
    matrices = descend(directions, learning_rate, weight_decay, weight_decay_mask)
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    adam = adamw(rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov=nesterov)
    return beside_adamw(matrices, adam, numbers)
