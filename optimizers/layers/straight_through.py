"""Functions with the value of one expression and the gradient of another.

`straight_through` is that, and the others are an expression for each.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Shaped

from optimizers._checks import check_positive_integer, check_range
from optimizers._trees import wide
from optimizers.layers._inputs import check_shape, floating


@jax.custom_jvp
def _straight_through(value: Array, surrogate: Array) -> Array:
    del surrogate
    return value


@_straight_through.defjvp
def _straight_through_tangent(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _straight_through(*primals), tangents[1]


def straight_through(
    forward_value: Shaped[Array, "*shape"], surrogate: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    r"""The value of the first argument with the derivative of the second.

    $$
    y = v, \qquad dy := ds
    $$

    exactly, where `s + stop_gradient(v - s)` rounds. In forward and reverse mode.

    Args:
        forward_value: The value v, of any dtype; nothing is differentiated through it.
        surrogate: The function s whose derivative is taken, of the same shape.

    Returns:
        The value in the dtype of `surrogate`.

    Raises:
        TypeError: The surrogate is not floating point.
        ValueError: The shapes differ.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> value, slope = jax.value_and_grad(lambda x: straight_through(jnp.round(x), x**2))(1.4)
        >>> print(value, slope)
        1.0 2.8

    Source:
        Bengio, Léonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
        Computation", 2013.
    """
    surrogate, value = floating("straight_through", "surrogate", surrogate), jnp.asarray(forward_value)
    check_shape("straight_through", "forward_value", value, surrogate.shape)
    return _straight_through(lax.stop_gradient(value).astype(surrogate.dtype), surrogate)


def reverse_gradient(x: Float[Array, "*shape"], scale: Any = 1.0) -> Float[Array, "*shape"]:
    r"""The identity, with its gradient reversed: what comes before is trained against what comes after.

    $$
    y = x, \qquad dx := -\lambda\, dy
    $$

    Args:
        x: Features, of any shape.
        scale: λ, at least 0; the paper raises it from 0 to 1 as `2 / (1 + exp(-10 p)) - 1` over the training p.

    Returns:
        `x`.

    Raises:
        TypeError: `x` is not floating point.
        ValueError: The scale is negative.

    Examples:
        >>> import jax
        >>> value, slope = jax.value_and_grad(lambda x: reverse_gradient(x, 0.5) ** 2)(3.0)
        >>> print(value, slope)
        9.0 -3.0

    Source:
        Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", 2015.
    """
    x = floating("reverse_gradient", "x", x)
    check_range("reverse_gradient", "scale", scale, 0.0)
    return straight_through(x, (-lax.stop_gradient(scale) * wide(x)).astype(x.dtype))


def reste(x: Float[Array, "*shape"], *, o: Any = 3.0, t: Any = 1.5, m: Any = 0.1) -> Float[Array, "*shape"]:
    r"""The sign of x, with the derivative of a power that lies between the identity and the sign (ReSTE).

    $$
    y = \operatorname{sign}(x), \qquad \frac{dy}{dx} :=
    \begin{cases} m^{1/o} / m & |x| \le m \\ |x|^{1/o - 1} / o & m < |x| \le t \\ 0 & |x| > t \end{cases}
    $$

    the derivative of `sign(x) |x|^{1/o}`, with a secant near 0 and clipped. At `o=1` it is the clipped straight-through
    estimator; as o grows the power nears the sign, and the derivative becomes less even. The paper standardises x
    before, and raises o in the course of training (`reste_schedule`).

    Args:
        x: Weights or activations, of any shape.
        o: Power of the estimator, at least 1.
        t: Largest |x| that receives a gradient, at least 0.
        m: |x| up to which the secant replaces the derivative, above 0.

    Returns:
        -1, 0 or 1, of the shape and dtype of `x`; the derivative is computed in float32 or wider.

    Raises:
        TypeError: `x` is not floating point, or a hyperparameter no number.
        ValueError: A hyperparameter is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([-0.05, 0.5, 2.0])
        >>> print(reste(x))
        [-1.  1.  1.]
        >>> [round(float(slope), 4) for slope in jax.grad(lambda x: reste(x).sum())(x)]
        [4.6416, 0.5291, 0.0]

    Source:
        Wu, Zheng, Liu, Zheng, "Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for
        Binary Neural Networks Training", 2023.
    """
    x = floating("reste", "x", x)
    check_range("reste", "o", o, 1.0)
    check_range("reste", "t", t, 0.0)
    check_range("reste", "m", m, 0.0, open_low=True)
    size = jnp.abs(lax.stop_gradient(wide(x)))
    o, t, m = (lax.stop_gradient(jnp.asarray(number, size.dtype)) for number in (o, t, m))
    power = jnp.where(size <= m, m ** (1 / o - 1), size ** (1 / o - 1) / o)
    slope = jnp.where(size > t, 0, power)
    return straight_through(jnp.sign(x), (slope * wide(x)).astype(x.dtype))


def reste_schedule(total_steps: int, o_end: Any = 3.0) -> optax.Schedule:
    r"""The power of `reste` in the course of training: from 1 to its final value along a cosine.

    $$o_s = 1 + \left( 1 - \cos\left( \tfrac{\pi}{2} \min(s / S, 1) \right) \right) (o_{end} - 1)$$

    The paper changes it after every epoch; this is the same curve at every step.

    Args:
        total_steps: S, the number of steps of the training, at least 1.
        o_end: Final power, at least 1.

    Returns:
        An Optax schedule, count -> o.

    Raises:
        TypeError: `total_steps` is no integer, or `o_end` no number.
        ValueError: `total_steps` or `o_end` is less than 1.

    Examples:
        >>> schedule = reste_schedule(100)
        >>> print([round(float(schedule(count)), 4) for count in (0, 50, 100, 200)])
        [1.0, 1.5858, 3.0, 3.0]

    Source:
        Wu, Zheng, Liu, Zheng, "Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for
        Binary Neural Networks Training", 2023.
    """
    steps = check_positive_integer("reste_schedule", "total_steps", total_steps)
    check_range("reste_schedule", "o_end", o_end, 1.0)

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        part = jnp.minimum(jnp.asarray(count, float) / steps, 1.0)
        return 1 + (1 - jnp.cos(0.5 * math.pi * part)) * (o_end - 1)

    return schedule
