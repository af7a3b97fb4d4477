"""Gradient descent with momentum and decoupled weight decay, and the decay that suits a run's length."""

import math
from typing import Any, NamedTuple

import jax
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    first_moment,
    wide_scalar,
)
from optimizers._trees import PyTree


class MomentumState(NamedTuple):
    """State of momentum: the number of updates made, and the decaying sum of gradients."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    trace: PyTree


def heavy_ball(momentum: Any, nesterov: bool, dtype: Any) -> optax.GradientTransformationExtraArgs:
    """The decaying sum of gradients, or Nesterov's step along it."""
    decay = wide_scalar(momentum)

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (s[0] * old[0] + g,)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        return s[0] * new[0] + g if nesterov else new[0]

    return elementwise(MomentumState, {"trace": first_moment(dtype)}, lambda state, step: (decay,), advance, direction)


def sgdw(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike = 0.9,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    weight_decay: optax.ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    decouple_lr: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""SGDW: gradient descent with momentum and weight decay that bypasses the momentum.

    $$m_t = \mu\, m_{t-1} + g_t, \qquad \theta_t = \theta_{t-1} - \eta_t\,(m_t + \lambda\,\theta_{t-1})$$

    (`nesterov`: $g_t + \mu m_t$ in place of $m_t$.) With `decouple_lr=True` the decay is λ θ, not multiplied by the
    learning rate; the paper's schedule multiplier on both is an `optax.scale_by_schedule` behind it, see `adamw`.
    Without momentum this is gradient descent on the loss plus (λ/2)·|θ|²; with momentum it is not, as the decay does
    not enter the average.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        momentum: Decay μ of the sum of gradients, in [0, 1).
        nesterov: Look one step ahead.
        accumulator_dtype: dtype of the sum; None means float32, or the parameters' dtype where that is wider. bfloat16
            and float16 are rounded stochastically, hence without bias.
        weight_decay: Decay rate λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        decouple_lr: Whether the decay is free of the learning rate.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `accumulator_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([1.0, -2.0]), sgdw(0.1, weight_decay=0.5)
        >>> update, state = tx.update(jnp.array([1.0, 1.0]), tx.init(params), params)
        >>> print(update)  # -0.1 (1 + 0.5 θ)
        [-0.15 -0.  ]

    Source:
        I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    check_range("sgdw", "momentum", momentum, 0.0, 1.0, open_high=True)
    check_descent("sgdw", learning_rate, weight_decay)
    dtype = check_moment_dtype("sgdw", "accumulator_dtype", accumulator_dtype, MU_DTYPES)
    return descend(heavy_ball(momentum, nesterov, dtype), learning_rate, weight_decay, mask, decouple_lr=decouple_lr)


def normalized_weight_decay(
    lambda_norm: jax.typing.ArrayLike, batch_size: int, train_size: int, epochs: float
) -> jax.typing.ArrayLike:
    r"""The weight decay of a run, from one that suits runs of every length.

    $$\lambda = \lambda_{norm} \sqrt{\frac{b}{B\,T}}$$

    Args:
        lambda_norm: Normalised decay, at least 0, per root of the number of steps.
        batch_size: b, examples per step, at least 1.
        train_size: B, examples per epoch, at least 1.
        epochs: T, epochs of the run, positive.

    Returns:
        The decay λ, to be given as `weight_decay`.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `batch_size` or `train_size` is no integer.

    Examples:
        >>> print(normalized_weight_decay(0.05, batch_size=128, train_size=51200, epochs=100))
        0.00025

    Source:
        I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019, appendix B.1.
    """
    check_range("normalized_weight_decay", "lambda_norm", lambda_norm, 0.0)
    check_range("normalized_weight_decay", "epochs", epochs, 0.0, open_low=True)
    batch_size = check_positive_integer("normalized_weight_decay", "batch_size", batch_size)
    train_size = check_positive_integer("normalized_weight_decay", "train_size", train_size)
    return lambda_norm * math.sqrt(batch_size / (train_size * epochs))
