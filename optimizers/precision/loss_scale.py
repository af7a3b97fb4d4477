"""The factor on the loss that keeps small gradients of float16 above its smallest number, found while training."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer, check_range


class LossScale(NamedTuple):
    """The state of a loss scale.

    Attributes:
        scale: What the loss is multiplied by, float32 `[]`.
        good_steps: Steps with finite gradients since the scale last changed, int32 `[]`.
    """

    scale: jax.Array
    good_steps: jax.Array


class LossScaling(NamedTuple):
    """A way to choose the loss scale, as a pair of pure functions.

    Attributes:
        init: `init() -> LossScale`.
        adjust: `adjust(state, finite) -> LossScale`, from whether the gradients of this step were finite.
    """

    init: Callable[[], LossScale]
    adjust: Callable[[LossScale, jax.Array], LossScale]


def dynamic_loss_scale(
    initial_scale: jax.typing.ArrayLike = 2.0**15,
    period: int = 2000,
    factor: jax.typing.ArrayLike = 2.0,
    *,
    min_scale: jax.typing.ArrayLike = 1.0,
    max_scale: jax.typing.ArrayLike = 2.0**24,
) -> LossScaling:
    r"""A loss scale that halves where gradients overflow, and doubles after many steps in which none did.

    $$S \leftarrow \begin{cases} \max(S / f,\, S_{\min}) & \text{a gradient is not finite} \\
    \min(f S,\, S_{\max}) & \text{finite for the last } n \text{ steps} \\ S & \text{otherwise} \end{cases}$$

    with the count of steps starting again whenever the scale could change. Give it to `mixed_precision`, which
    multiplies and divides, while the train step skips the steps that overflow. The rule of `jmp.DynamicLossScale` and
    `torch.amp.GradScaler`; both let the scale grow without bound, which gradients in bfloat16 or float32 do not stop.

    Args:
        initial_scale: The scale S of the first step, above 0; a power of 2 scales without rounding.
        period: Number n of finite steps after which the scale grows, at least 1.
        factor: What the scale is multiplied and divided by, above 1.
        min_scale: Smallest scale, above 0.
        max_scale: Largest scale, above 0.

    Returns:
        A `LossScaling`.

    Raises:
        ValueError: A number is out of range.
        TypeError: `period` is no integer.

    Examples:
        >>> scaling = dynamic_loss_scale(8.0, period=2)
        >>> state = scaling.init()
        >>> for finite in (True, True, False, False, True):
        ...     state = scaling.adjust(state, finite)
        ...     print(state.scale, state.good_steps)
        8.0 1
        16.0 0
        8.0 0
        4.0 0
        4.0 1

    Source:
        P. Micikevicius et al., "Mixed Precision Training", 2018.
    """
    for name, value in (("initial_scale", initial_scale), ("min_scale", min_scale), ("max_scale", max_scale)):
        check_range("dynamic_loss_scale", name, value, 0.0, open_low=True)
    check_range("dynamic_loss_scale", "factor", factor, 1.0, open_low=True)
    period = check_positive_integer("dynamic_loss_scale", "period", period)

    def init() -> LossScale:
        return LossScale(jnp.asarray(initial_scale, jnp.float32), jnp.zeros((), jnp.int32))

    def adjust(state: LossScale, finite: jax.Array) -> LossScale:
        good = jnp.where(finite, state.good_steps + 1, 0)
        due = good >= period
        larger = jnp.where(due, jnp.minimum(state.scale * factor, max_scale), state.scale)
        scale = jnp.where(finite, larger, jnp.maximum(state.scale / factor, min_scale))
        return LossScale(scale.astype(jnp.float32), jnp.where(due, 0, good).astype(jnp.int32))

    return LossScaling(init, adjust)
