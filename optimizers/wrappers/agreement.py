"""Updates held to the sign of the gradient: what disagrees with it is dropped, or turned round.

One equation: the inner transformation's direction u and the gradient g it was made from give the direction κ(u, g),
element by element. `cautious` keeps u where the signs agree, `grams` takes the size from u and the sign from g.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import reread, wide_scalar
from optimizers._trees import PyTree, wide
from optimizers.wrappers._inner import check_transformation


def _held_to_the_gradient(
    inner: optax.GradientTransformationExtraArgs,
    kernel: Callable[[jax.Array, jax.Array], jax.Array],
) -> optax.GradientTransformationExtraArgs:
    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        directions, state = inner.update(updates, state, params, **extra_args)

        def leaf(u: jax.Array, g: jax.Array) -> jax.Array:
            return kernel(wide(u), wide(jnp.asarray(g))).astype(u.dtype)

        return jax.tree.map(leaf, directions, updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _agreement(u: jax.Array, g: jax.Array, descent: bool) -> jax.Array:
    """1 where u points along the gradient, for `descent` against it; -1 where it does not, 0 where one of them is 0."""
    # The product of small numbers would vanish.
    along = jnp.sign(jnp.real(u * jnp.conj(g))) if jnp.iscomplexobj(u) else jnp.sign(u) * jnp.sign(g)
    return -along if descent else along


def cautious(
    inner: optax.GradientTransformation,
    min_fraction: jax.typing.ArrayLike = 1e-3,
    *,
    descent: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Drop the part of an update that disagrees in sign with the gradient, and enlarge the rest to make up for it.

    $$\tilde u_i = \frac{u_i\, [u_i g_i > 0]}{\max(\phi, \phi_{\min})}, \qquad
    \phi = \frac{1}{n} \sum_{i=1}^n [u_i g_i > 0]$$

    with the fraction φ of agreement taken over each leaf, as in the authors' code. (The paper divides by (nφ + 1) / n,
    which differs by 1/n; pytorch-optimizer has that form.) NaN among the updates or gradients of a leaf makes φ, and so
    all of the leaf, NaN. As φ comes before the first word is written, a step keeps a copy of u.

    It goes around the momentum of any method, in front of decay and learning rate, so that decay is not masked:
    `optax.chain(cautious(scale_by_adam()), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(1e-3))` is the
    authors' C-AdamW, and with `scale_by_lion()` their C-Lion. Around a whole optimizer, whose updates already point
    downhill, say `descent=True`.

    Args:
        inner: The transformation whose updates are masked; the gradient is what it receives.
        min_fraction: Least fraction φ_min to divide by, in (0, 1]: bounds the enlargement. May be traced.
        descent: Whether the updates of `inner` point against the gradient, as those of an optimizer with a learning
            rate do, and not along it.

    Returns:
        An Optax transformation with the state of `inner`; updates keep their dtype.

    Raises:
        TypeError: `inner` is not a transformation.
        ValueError: A concrete `min_fraction` lies outside (0, 1].

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = cautious(optax.trace(0.5))
        >>> _, state = tx.update(jnp.array([4.0, 4.0]), tx.init(jnp.zeros(2)))
        >>> update, state = tx.update(jnp.array([1.0, -1.0]), state)  # the momentum is (3, 1)
        >>> print(update)
        [6. 0.]

    Source:
        K. Liang, L. Chen, B. Liu, Q. Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024.
    """
    inner = check_transformation("cautious", "inner", inner)
    check_range("cautious", "min_fraction", min_fraction, 0.0, 1.0, open_low=True)
    least = wide_scalar(min_fraction)

    def kernel(u: jax.Array, g: jax.Array) -> jax.Array:
        again, slope = reread(u, g)
        agreement = _agreement(again, slope, descent)
        fraction = jnp.sum(agreement + jnp.abs(agreement)) / max(2 * u.size, 1)
        kept = jnp.where(_agreement(u, g, descent) > 0, u, 0)
        return kept * (1 / jnp.maximum(fraction, least)).astype(fraction.dtype)

    return _held_to_the_gradient(inner, kernel)


def grams(inner: optax.GradientTransformation, *, descent: bool = False) -> optax.GradientTransformationExtraArgs:
    r"""Take the size of each step from an optimizer, and its direction from the gradient of this batch alone.

    $$\tilde u_i = \operatorname{sign}(g_i)\, |u_i|$$

    Around `scale_by_adam()`, in front of decay and learning rate, this is the paper's method:
    `optax.chain(grams(scale_by_adam()), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(1e-3))`. Around a
    whole optimizer say `descent=True`, as for `cautious`.

    Args:
        inner: The transformation that gives the sizes; the gradient is what it receives.
        descent: Whether the updates of `inner` point against the gradient.

    Returns:
        An Optax transformation with the state of `inner`; updates keep their dtype.

    Raises:
        TypeError: `inner` is not a transformation.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = grams(optax.trace(0.5))
        >>> _, state = tx.update(jnp.array([4.0, 4.0]), tx.init(jnp.zeros(2)))
        >>> update, state = tx.update(jnp.array([1.0, -1.0]), state)  # the momentum is (3, 1)
        >>> print(update)
        [ 3. -1.]

    Source:
        Y. Cao, X. Li, Z. Song, "Grams: Gradient Descent with Adaptive Momentum Scaling", 2024.
    """
    inner = check_transformation("grams", "inner", inner)
    return _held_to_the_gradient(inner, lambda u, g: jnp.sign(-g if descent else g) * jnp.abs(u))
