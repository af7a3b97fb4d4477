"""Gradient descent with momentum: with decoupled weight decay, or with two momenta for a task and a teacher."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range, concrete
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    first_moment,
    tensorwise,
    wide_scalar,
)
from optimizers._trees import PyTree, wide
from optimizers.aggregation._gramian import task_count


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


class DistillationState(NamedTuple):
    """State of `distillation_oriented_trainer`.

    Attributes:
        count: Number of updates so far, int32 [].
        task: Decaying sum of the task's gradients, and of the weight decay.
        distillation: Decaying sum of the gradients of the distillation loss.
        decay: State of Optax's weight decay.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    task: PyTree
    distillation: PyTree
    decay: Any


class _Sums(NamedTuple):
    count: jax.Array  # type: ignore[assignment]
    task: PyTree
    distillation: PyTree


def _both_gradients(updates: PyTree, kd_grads: PyTree) -> tuple[PyTree, PyTree]:
    """The gradients of the task and of distillation: given apart, or stacked `[2, ...]` in this order."""
    if kd_grads is not None:
        return updates, kd_grads
    if task_count("distillation_oriented_trainer", updates) not in (None, 2):
        raise ValueError(
            "distillation_oriented_trainer: expected gradients of two losses, stacked [2, ...], the task's first, or "
            f"those of distillation as the extra argument kd_grads, got {jax.tree.map(jnp.shape, updates)}"
        )
    return jax.tree.map(lambda g: g[0], updates), jax.tree.map(lambda g: g[1], updates)


def _two_momenta(momentum: Any, delta: Any, decay: Any, dtype: Any) -> optax.GradientTransformationExtraArgs:
    momentum, delta = wide_scalar(momentum), wide_scalar(delta)

    def advance(g: jax.Array, kd_grad: jax.Array, old: Moments, s: Scalars) -> Moments:
        return s[0] * old[0] + g, s[1] * old[1] + kd_grad

    def direction(g: jax.Array, kd_grad: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del g, kd_grad, old, s
        return new[0] + new[1]

    moments = {"task": first_moment(dtype), "distillation": first_moment(dtype)}
    decays = momentum - delta, momentum + delta
    sums = tensorwise(_Sums, moments, lambda state, step: decays, advance, direction)

    def init(params: PyTree) -> DistillationState:
        count, task, distillation = sums.init(params)
        return DistillationState(count, task, distillation, decay.init(params))

    def update(
        updates: PyTree, state: DistillationState, params: PyTree | None = None, *, kd_grads: PyTree = None, **_: Any
    ) -> tuple[PyTree, DistillationState]:
        of_task, of_teacher = _both_gradients(updates, kd_grads)
        dtypes = jax.tree.map(jnp.result_type, of_task)
        decayed, decay_state = decay.update(jax.tree.map(wide, of_task), state.decay, jax.tree.map(wide, params))
        old = _Sums(state.count, state.task, state.distillation)
        moved, (count, task, distillation) = sums.update(decayed, old, of_teacher)
        return jax.tree.map(jnp.astype, moved, dtypes), DistillationState(count, task, distillation, decay_state)

    return optax.GradientTransformationExtraArgs(init, update)


def distillation_oriented_trainer(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike = 0.9,
    delta: jax.typing.ArrayLike = 0.075,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
    *,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""DOT: a longer memory for the gradients of distillation than for those of the task, which then do not compete.

    $$v_t = (\mu - \Delta)\, v_{t-1} + g_t + \lambda\,\theta_{t-1}, \qquad
    w_t = (\mu + \Delta)\, w_{t-1} + k_t, \qquad \theta_t = \theta_{t-1} - \eta_t\,(v_t + w_t)$$

    with the gradients g of the task's loss and k of the distillation loss. They come stacked, leaves `[2, ...]` with
    the task's first, as the gradient rule `per_task` makes them of a `loss_fn` that returns both losses:
    `make_train_step(loss_fn, distillation_oriented_trainer(0.1), gradient=per_task())`; or apart, g as the gradient and
    k as the extra argument `kd_grads` of the update.

    The weight decay enters the task's sum, as in the authors' code. There a parameter that only one of the losses
    reaches moves with momentum μ; here it is one of `optax.partition`'s, with `optax.sgd`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or an Optax schedule.
        momentum: μ, in [0, 1).
        delta: Δ, at least 0; μ - Δ must be at least 0 and μ + Δ below 1. 0 is gradient descent with momentum on the
            sum of the losses. The authors have 0.075 on CIFAR, 0.09 on ImageNet.
        weight_decay: λ, at least 0: a number, a traced scalar or a schedule; None means no decay, and an update that
            needs no `params`.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.
        accumulator_dtype: dtype of both sums, see `sgdw`.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or there are no gradients of two losses.
        TypeError: `accumulator_dtype` is not a floating dtype of 16, 32 or 64 bits.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = distillation_oriented_trainer(0.1, momentum=0.5, delta=0.5 - 1e-9)  # no memory for the task
        >>> state = tx.init(jnp.zeros(2))
        >>> for _ in range(3):
        ...     update, state = tx.update(jnp.array([1.0, 0.0]), state, kd_grads=jnp.array([0.0, 1.0]))
        >>> print([round(float(u), 4) for u in update])
        [-0.1, -0.3]

    Source:
        B. Zhao et al., "DOT: A Distillation-Oriented Trainer", 2023.
    """
    check_range("distillation_oriented_trainer", "momentum", momentum, 0.0, 1.0, open_high=True)
    check_range("distillation_oriented_trainer", "delta", delta, 0.0)
    if (middle := concrete(momentum)) is not None:
        check_range("distillation_oriented_trainer", "delta", delta, 0.0, middle)
        check_range("distillation_oriented_trainer", "delta", delta, 0.0, 1 - middle, open_high=True)
    check_descent("distillation_oriented_trainer", learning_rate, weight_decay)
    dtype = check_moment_dtype("distillation_oriented_trainer", "accumulator_dtype", accumulator_dtype, MU_DTYPES)
    decay = optax.identity() if weight_decay is None else optax.add_decayed_weights(weight_decay, mask)
    return descend(_two_momenta(momentum, delta, decay, dtype), learning_rate)
