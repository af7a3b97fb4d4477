"""Mirror descent: gradient steps on the image of the parameters under the gradient of a convex potential.

One equation, with a potential φ of each parameter:

    ∇φ(new) = ∇φ(old) - learning_rate * g

A member is its ∇φ, and the change new - old in a form that loses no digits.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import check_descent, tensorwise, wide_scalar
from optimizers._trees import wide

Potential = Literal["euclidean", "p_norm", "negentropy", "hypentropy"]


class MirrorState(NamedTuple):
    """State of mirror descent: the number of updates made, which the learning rate's schedule reads."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples


class _Mirror(NamedTuple):
    to_dual: Callable[[jax.Array], jax.Array]
    change: Callable[[jax.Array, jax.Array], jax.Array]  # of a parameter, by a step of its image


def _p_norm(p: Any) -> _Mirror:
    def to_dual(w: jax.Array) -> jax.Array:
        return jnp.sign(w) * jnp.abs(w) ** (p - 1)

    def change(w: jax.Array, step: jax.Array) -> jax.Array:
        # The step relative to the image of w, infinite at 0. A small one multiplies w by (1 + ratio)^(1 / (p - 1)).
        ratio = jnp.where(step == 0, 0, jnp.where(w < 0, -step, step) * jnp.abs(w) ** (1 - p))
        small = jnp.abs(ratio) < 0.5  # where the difference of two powers would lose digits
        image = step * (1 + 1 / jnp.where(small, 1, ratio))
        far = jnp.sign(image) * jnp.abs(image) ** (1 / (p - 1)) - w
        return jnp.where(small, w * jnp.expm1(jnp.log1p(jnp.where(small, ratio, 0)) / (p - 1)), far)

    return _Mirror(to_dual, change)


def _hypentropy(beta: Any) -> _Mirror:
    def change(w: jax.Array, step: jax.Array) -> jax.Array:
        # β sinh(asinh(w / β) + s) - w = w (cosh(s) - 1) + √(w² + β²) sinh(s), both from one exponential.
        up = jnp.expm1(jnp.abs(step))
        down = jnp.where(jnp.isinf(up), 1, up / (1 + up))  # 1 - e^-|s|
        return (w * (up * down) + jnp.sign(step) * jnp.sqrt(w * w + beta * beta) * (up + down)) / 2

    return _Mirror(lambda w: jnp.arcsinh(w / beta), change)


def _mirror(function: str, potential: str, p: Any, beta: Any) -> _Mirror:
    check_range(function, "p", p, 1.0, open_low=True)
    check_range(function, "beta", beta, 0.0, open_low=True)
    if potential == "euclidean":
        return _Mirror(lambda w: w, lambda w, step: step)
    if potential == "p_norm":
        return _p_norm(wide_scalar(p))
    if potential == "negentropy":
        return _Mirror(lambda w: jnp.sign(w) * jnp.log(jnp.abs(w)), lambda w, step: w * jnp.expm1(jnp.sign(w) * step))
    if potential == "hypentropy":
        return _hypentropy(wide_scalar(beta))
    raise ValueError(
        f"{function}: potential must be 'euclidean', 'p_norm', 'negentropy' or 'hypentropy', got {potential!r}"
    )


def mirror_descent(
    learning_rate: optax.ScalarOrSchedule,
    potential: Potential = "euclidean",
    *,
    p: jax.typing.ArrayLike = 3.0,
    beta: jax.typing.ArrayLike = 1.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient descent in the geometry of a convex potential φ.

    $$\nabla\phi(\theta_t) = \nabla\phi(\theta_{t-1}) - \eta_t\, g_t$$

    | `potential` | φ, a sum over parameters w | ∇φ | what it is |
    |---|---|---|---|
    | `"euclidean"` | w² / 2 | w | gradient descent |
    | `"p_norm"` | \|w\|^p / p | sign(w) \|w\|^(p-1) | p > 2: large weights move less, p < 2: more |
    | `"negentropy"` | \|w\| log \|w\| - \|w\| | sign(w) log \|w\| | exponentiated gradient: w e^(∓ηg), signs stay |
    | `"hypentropy"` | w asinh(w / β) - √(w² + β²) | asinh(w / β) | between the first and the third, by β |

    The updates are new minus old parameters, the learning rate included: no `scale_by_learning_rate` belongs behind
    them, and what stands before this link in a chain changes the gradient. Under `"negentropy"` a parameter of 0 stays
    0.

    Args:
        learning_rate: Step size η in the dual space, at least 0: a number, a traced scalar or an Optax schedule.
        potential: The potential φ.
        p: Exponent of `"p_norm"`, above 1.
        beta: Scale β of `"hypentropy"`, above 0, in the units of the parameters: those much smaller move as under
            gradient descent (with rate ηβ), those much larger as under `"negentropy"`.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `potential` is an unknown name.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([1.0, -2.0]), mirror_descent(0.1, "negentropy")
        >>> update, state = tx.update(jnp.array([1.0, 1.0]), tx.init(params), params)
        >>> print((params + update).round(4))  # 1 / e^0.1 and -2 e^0.1
        [ 0.9048 -2.2103]

    Source:
        R. Pogodin et al., "Synaptic Weight Distributions Depend on the Geometry of Plasticity", 2024; A. Nemirovski,
        D. Yudin, "Problem Complexity and Method Efficiency in Optimization", 1983.
    """
    check_descent("mirror_descent", learning_rate)
    mirror = _mirror("mirror_descent", potential, p, beta)

    def scalars(state: Any, step: jax.Array) -> tuple[Any, ...]:
        del step
        return (wide_scalar(learning_rate(state.count) if callable(learning_rate) else learning_rate),)

    def direction(g: jax.Array, w: jax.Array, new: Any, old: Any, s: Any) -> jax.Array:
        del new, old
        return mirror.change(w, -s[0] * g)

    return tensorwise(MirrorState, {}, scalars, lambda *_: (), direction, needs_params="mirror_descent")


def dual_weight_change(
    before: jax.Array,
    after: jax.Array,
    potential: Potential = "euclidean",
    *,
    p: jax.typing.ArrayLike = 3.0,
    beta: jax.typing.ArrayLike = 1.0,
) -> jax.Array:
    r"""How far training moved weights in the geometry of a potential: the difference of their images.

    $$\nabla\phi(w_T) - \nabla\phi(w_0)$$

    Under mirror descent this is minus the sum of all gradients times their learning rates: many small contributions, so
    near to a normal distribution; under any other potential it is not. That distribution, of weights measured before
    and after learning, tells which geometry was at work.

    Args:
        before: Weights w_0 [...].
        after: Weights w_T [...].
        potential: The potential φ, see `mirror_descent`. Under `"negentropy"` weights that changed sign, or are 0, have
            no such difference: they give NaN.
        p: Exponent of `"p_norm"`, above 1.
        beta: Scale of `"hypentropy"`, above 0, in the units of the weights.

    Returns:
        The change [...] in the dual space, in float32 or wider.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `potential` is an unknown name.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(dual_weight_change(jnp.array([1.0, -2.0]), jnp.array([2.0, -1.0]), "negentropy").round(4))
        [0.6931 0.6931]

    Source:
        R. Pogodin et al., "Synaptic Weight Distributions Depend on the Geometry of Plasticity", 2024.
    """
    mirror = _mirror("dual_weight_change", potential, p, beta)
    before, after = wide(jnp.asarray(before)), wide(jnp.asarray(after))
    if potential == "negentropy":
        kept = before * after > 0
        ratio = jnp.where(kept, after / jnp.where(kept, before, 1), 1)
        return jnp.where(kept, jnp.sign(before) * jnp.log(ratio), jnp.nan)
    return mirror.to_dual(after) - mirror.to_dual(before)
