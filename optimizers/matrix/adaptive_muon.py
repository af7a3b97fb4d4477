"""AdaMuon and NorMuon: orthogonalized momentum, normalised by a second moment of its own.

One equation: with O the orthogonalized momentum of a matrix [m, n], s a mean of its squares (over nothing for AdaMuon,
over a neuron's inputs for NorMuon) and nu the moving average of s,

    direction = r √(m n) Ô / ‖Ô‖_F,        Ô = O / (√nu + eps).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import TINY, check_decays, check_descent, descend, real_dtype, wide_scalar
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.adaptive.adam import adamw
from optimizers.matrix._stacks import WideView
from optimizers.matrix.dimensions import DimensionNumbers, muon_dimension_numbers, spread, view_of
from optimizers.matrix.muon import (
    MuonState,
    Orthogonalize,
    beside_adamw,
    momentum,
    orthogonalizer,
    over_matrices,
    widened,
)
from optimizers.matrix.newton_schulz import MUON, Coefficients


class AdaptiveMuonState(NamedTuple):
    """State of AdaMuon and NorMuon: as Muon's, and the moving average of squares of orthogonalized momenta."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu: PyTree


class Member(NamedTuple):
    """What AdaMuon and NorMuon differ in."""

    name: str
    # What is orthogonalized, of the averaged gradient.
    prepare: Callable[[jax.Array], jax.Array]
    # The mean squares of a stack of matrices with their columns along an axis, dimensions kept.
    squares: Callable[[jax.Array, int], jax.Array]
    # The shape in which a leaf's state keeps them: its own (None), or one number for each column.
    shape: Callable[[WideView], tuple[int, ...]] | None


def _absolute_squares(x: jax.Array, columns: int) -> jax.Array:
    del columns
    return jnp.abs(x) ** 2


def _column_squares(x: jax.Array, columns: int) -> jax.Array:
    return jnp.mean(jnp.abs(x) ** 2, axis=-3 - columns, keepdims=True)


def _adamuon(name: str, sign: bool) -> Member:
    return Member(name, jnp.sign if sign else lambda u: u, _absolute_squares, None)


def _normuon(name: str) -> Member:
    return Member(name, lambda u: u, _column_squares, lambda view: (view.batch, view.columns))


def _adaptive(
    member: Member,
    averages: optax.GradientTransformationExtraArgs,
    orthogonalize: Orthogonalize,
    b2: Any,
    eps: Any,
    rms: Any,
    numbers: DimensionNumbers | None,
) -> optax.GradientTransformationExtraArgs:
    check_decays(member.name, eps, b2=b2)
    check_range(member.name, "rms", rms, 0.0)
    b2, eps, rms = (wide_scalar(x) for x in (b2, eps, rms))

    def init(params: PyTree) -> AdaptiveMuonState:
        def zeros(p: Any, number: Any) -> jax.Array:
            dtype = jax.dtypes.canonicalize_dtype(real_dtype(accumulator_dtype(jnp.result_type(p))))
            if member.shape is None:
                return jnp.zeros_like(p, dtype)
            return jnp.zeros(member.shape(view_of(member.name, jnp.shape(p), number)), dtype)

        start: Any = averages.init(params)
        return AdaptiveMuonState(start.count, start.mu, jax.tree.map(zeros, params, spread(numbers, params)))

    def work(columns: int, u: jax.Array, nu: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = orthogonalize(member.prepare(u))
        squares = member.squares(x, columns)
        new = b2 * nu + (1 - b2) * squares.reshape(nu.shape)
        x = x / (jnp.sqrt(new).reshape(squares.shape) + (eps + TINY))
        norm = jnp.sqrt(jnp.sum(jnp.abs(x) ** 2, axis=(-2, -1), keepdims=True))
        return rms * math.sqrt(x.shape[-2] * x.shape[-1]) / (norm + TINY) * x, new

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del params, extra_args
        averaged, average = averages.update(widened(updates), MuonState(state.count, state.mu))
        found = over_matrices(member.name, work, numbers, averaged, state.nu, alike=member.shape is None)
        directions = jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), found[0], updates)
        return directions, AdaptiveMuonState(average.count, average.mu, found[1])

    return optax.GradientTransformationExtraArgs(init, update)


def _alias(
    member: Member,
    learning_rate: Any,
    ns: tuple[Any, int],
    beta: Any,
    b2: Any,
    eps: Any,
    weight_decay: Any,
    mask: Any,
    mu_dtype: Any,
    nesterov: bool,
    adam: tuple[Any, Any, Any, Any],
    numbers: DimensionNumbers | None,
    rms: Any,
) -> optax.GradientTransformationExtraArgs:
    """The member for matrices with decay and learning rate, AdamW for the rest."""
    adam_rate, adam_b1, adam_b2, adam_decay = adam
    check_descent(member.name, learning_rate, weight_decay)
    check_range(member.name, "adam_learning_rate", adam_rate, 0.0)
    check_range(member.name, "adam_weight_decay", adam_decay, 0.0)
    check_decays(member.name, eps, adam_b1=adam_b1, adam_b2=adam_b2)
    numbers = muon_dimension_numbers if numbers is None else numbers
    averages = momentum(member.name, beta, mu_dtype, nesterov)
    orthogonalize = orthogonalizer(member.name, *ns, TINY, "frobenius")
    directions = _adaptive(member, averages, orthogonalize, b2, eps, rms, numbers)
    rest = adamw(
        learning_rate if adam_rate is None else adam_rate,
        adam_b1,
        adam_b2,
        eps,
        mu_dtype=mu_dtype,
        weight_decay=adam_decay,
        nesterov=nesterov,
    )
    return beside_adamw(descend(directions, learning_rate, weight_decay, mask), rest, numbers)


def scale_by_adamuon(
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    sign: bool = True,
    rms: jax.typing.ArrayLike = 0.2,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each gradient by its orthogonalized momentum, over the root mean square of each element.

    $$O_t = \operatorname{NS}(\operatorname{sign}(m_t)), \quad V_t = \beta_2 V_{t-1} + (1 - \beta_2)\, O_t^2, \quad
    \hat O_t = \frac{O_t}{\sqrt{V_t} + \varepsilon}, \quad
    u_t = \frac{r \sqrt{m n}}{\lVert \hat O_t \rVert_F} \hat O_t$$

    with the momentum m of `scale_by_muon`. The first version of the paper (and pytorch-optimizer) orthogonalizes the
    momentum itself: `sign=False`. A bias correction of V would change ε alone, as u is normalised; there is none here.

    Args:
        ns_coeffs: Coefficients of the Newton-Schulz iteration, see `scale_by_muon`.
        ns_steps: Number of iterations, ignored where `ns_coeffs` are several triples.
        beta: Decay of the momentum, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment, at least 0.
        mu_dtype: dtype of the momentum, see `scale_by_muon`.
        nesterov: Look one step ahead, see `scale_by_muon`.
        sign: Orthogonalize the signs of the momentum.
        rms: r, the root mean square of every update, at least 0; 0.2 is the size of AdamW's.
        weight_dimension_numbers: Which axes are rows and columns, see `scale_by_muon`.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_adamuon()
        >>> gradient = jnp.array([[3.0, 0.0], [0.0, 0.5]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(2))
        [[0.28 0.  ]
         [0.   0.28]]

    Source:
        C. Si, D. Zhang, W. Shen, "AdaMuon: Adaptive Muon Optimizer", 2025.
    """
    name = "scale_by_adamuon"
    averages = momentum(name, beta, mu_dtype, nesterov)
    orthogonalize = orthogonalizer(name, ns_coeffs, ns_steps, TINY, "frobenius")
    return _adaptive(_adamuon(name, sign), averages, orthogonalize, b2, eps, rms, weight_dimension_numbers)


def adamuon(
    learning_rate: optax.ScalarOrSchedule,
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    sign: bool = True,
    adam_b1: jax.typing.ArrayLike = 0.9,
    adam_b2: jax.typing.ArrayLike = 0.999,
    adam_weight_decay: optax.ScalarOrSchedule = 0.0,
    adam_learning_rate: optax.ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: DimensionNumbers | None = None,
    rms: jax.typing.ArrayLike = 0.2,
) -> optax.GradientTransformationExtraArgs:
    r"""AdaMuon: orthogonalized momentum with a second moment for each element; AdamW for all but matrices.

    $$\theta_t = \theta_{t-1} - \eta_t\,(u_t + \lambda\, \theta_{t-1})$$

    with $u_t$ of `scale_by_adamuon` for the leaves that are Muon's by the rule of `muon`; AdamW for the others.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule; AdamW's rates fit.
        ns_coeffs: Coefficients of the Newton-Schulz iteration, see `scale_by_muon`.
        ns_steps: Number of iterations.
        beta: Decay of the momentum, in [0, 1).
        b2: Decay of the matrices' second moment, in [0, 1).
        eps: Added to the root of the second moment, in AdamW too; at least 0.
        weight_decay: Decay rate λ of the matrices, at least 0: a number, a traced scalar or a schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which matrices decay.
        mu_dtype: dtype of the first moments, see `scale_by_muon`.
        nesterov: Look one step ahead, for the matrices and in AdamW.
        sign: Orthogonalize the signs of the momentum.
        adam_b1: AdamW's decay of the first moment, in [0, 1).
        adam_b2: AdamW's decay of the second moment, in [0, 1).
        adam_weight_decay: AdamW's decay rate, at least 0.
        adam_learning_rate: AdamW's step size; None means `learning_rate`.
        muon_weight_dimension_numbers: Which leaves are matrices, and how, see `muon`.
        rms: The root mean square of every update of a matrix, at least 0.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), adamuon(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        3.46

    Source:
        C. Si, D. Zhang, W. Shen, "AdaMuon: Adaptive Muon Optimizer", 2025.
    """
    adam = adam_learning_rate, adam_b1, adam_b2, adam_weight_decay
    return _alias(
        _adamuon("adamuon", sign),
        learning_rate,
        (ns_coeffs, ns_steps),
        beta,
        b2,
        eps,
        weight_decay,
        weight_decay_mask,
        mu_dtype,
        nesterov,
        adam,
        muon_weight_dimension_numbers,
        rms,
    )


def scale_by_normuon(
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    rms: jax.typing.ArrayLike = 0.2,
    weight_dimension_numbers: DimensionNumbers | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each gradient by its orthogonalized momentum, over the root mean square of each neuron.

    $$O_t = \operatorname{NS}(\hat m_t), \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2)
    \operatorname{mean}_{\text{in}} O_t^2, \quad
    \hat O_t = \frac{O_t}{\sqrt{v_t} + \varepsilon}, \quad
    u_t = \frac{r \sqrt{m n}}{\lVert \hat O_t \rVert_F} \hat O_t$$

    with the momentum m of `scale_by_muon`, and one number v for each output neuron: each column of a matrix [in, out].
    The size of u is the paper's; the authors' script keeps the norm of O instead, and Muon's factor for the shape.

    Args:
        ns_coeffs: Coefficients of the Newton-Schulz iteration, see `scale_by_muon`.
        ns_steps: Number of iterations, ignored where `ns_coeffs` are several triples.
        beta: Decay of the momentum, in [0, 1).
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root of the second moment, at least 0.
        mu_dtype: dtype of the momentum, see `scale_by_muon`.
        nesterov: Look one step ahead, see `scale_by_muon`.
        rms: r, the root mean square of every update, at least 0; 0.2 is the size of AdamW's.
        weight_dimension_numbers: Which axes are rows and columns, see `scale_by_muon`.

    Returns:
        An Optax transformation; updates keep their dtype.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = scale_by_normuon()
        >>> gradient = jnp.array([[3.0, 0.0], [0.0, 0.5]])
        >>> update, state = tx.update(gradient, tx.init(gradient))
        >>> print(update.round(2))
        [[0.28 0.  ]
         [0.   0.28]]

    Source:
        Z. Li et al., "NorMuon: Making Muon more efficient and scalable", 2025.
    """
    name = "scale_by_normuon"
    averages = momentum(name, beta, mu_dtype, nesterov)
    orthogonalize = orthogonalizer(name, ns_coeffs, ns_steps, TINY, "frobenius")
    return _adaptive(_normuon(name), averages, orthogonalize, b2, eps, rms, weight_dimension_numbers)


def normuon(
    learning_rate: optax.ScalarOrSchedule,
    ns_coeffs: Coefficients = MUON,
    ns_steps: int = 5,
    beta: jax.typing.ArrayLike = 0.95,
    b2: jax.typing.ArrayLike = 0.95,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adam_b1: jax.typing.ArrayLike = 0.9,
    adam_b2: jax.typing.ArrayLike = 0.999,
    adam_weight_decay: optax.ScalarOrSchedule = 0.0,
    adam_learning_rate: optax.ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: DimensionNumbers | None = None,
    rms: jax.typing.ArrayLike = 0.2,
) -> optax.GradientTransformationExtraArgs:
    r"""NorMuon: orthogonalized momentum with a second moment for each neuron; AdamW for all but matrices.

    $$\theta_t = \theta_{t-1} - \eta_t\,(u_t + \lambda\, \theta_{t-1})$$

    with $u_t$ of `scale_by_normuon` for the leaves that are Muon's by the rule of `muon`; AdamW for the others.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule; AdamW's rates fit.
        ns_coeffs: Coefficients of the Newton-Schulz iteration, see `scale_by_muon`.
        ns_steps: Number of iterations.
        beta: Decay of the momentum, in [0, 1).
        b2: Decay of the matrices' second moment, in [0, 1).
        eps: Added to the root of the second moment, in AdamW too; at least 0.
        weight_decay: Decay rate λ of the matrices, at least 0: a number, a traced scalar or a schedule.
        weight_decay_mask: Tree of bools (or a function from parameters to one) that says which matrices decay.
        mu_dtype: dtype of the first moments, see `scale_by_muon`.
        nesterov: Look one step ahead, for the matrices and in AdamW.
        adam_b1: AdamW's decay of the first moment, in [0, 1).
        adam_b2: AdamW's decay of the second moment, in [0, 1).
        adam_weight_decay: AdamW's decay rate, at least 0.
        adam_learning_rate: AdamW's step size; None means `learning_rate`.
        muon_weight_dimension_numbers: Which leaves are matrices, and how, see `muon`.
        rms: The root mean square of every update of a matrix, at least 0.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `mu_dtype` is not a floating dtype of 16, 32 or 64 bits, or `ns_steps` not an integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> params, tx = jnp.array([[2.0, 0.0], [0.0, -1.0]]), normuon(0.1)
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(params**2):.2f}")
        3.46

    Source:
        Z. Li et al., "NorMuon: Making Muon more efficient and scalable", 2025.
    """
    adam = adam_learning_rate, adam_b1, adam_b2, adam_weight_decay
    return _alias(
        _normuon("normuon"),
        learning_rate,
        (ns_coeffs, ns_steps),
        beta,
        b2,
        eps,
        weight_decay,
        weight_decay_mask,
        mu_dtype,
        nesterov,
        adam,
        muon_weight_dimension_numbers,
        rms,
    )
