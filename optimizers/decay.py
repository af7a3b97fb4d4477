"""Terms that pull weights towards zero, or towards a norm: added to the gradient, or to the finished update.

One equation: update ← update + w · r(g, θ) · θ, where the rate r is what the members differ in.

- `add_norm_decay`: 2 (1 - 1 / ‖θ_o‖), which drives each output's weights θ_o to norm 1 (the gradient of `norm_loss`);
- `add_lobster_decay`: -max(0, 1 - |g|), behind the learning rate, for weights the loss does not depend on;
- `selective_weight_decay`: whatever its caller thinks of a weight.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_range
from optimizers._moments import Moments, Scalars, at_count, square, switches, tensorwise
from optimizers._trees import PyTree, wide


class DecayState(NamedTuple):
    """State of a decay: the number of updates made, for schedules of its weight."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples


def _decay(
    function: str, weight: Any, mask: Any, term: Callable[[jax.Array, jax.Array], jax.Array], *, added: bool = True
) -> optax.GradientTransformationExtraArgs:
    """`update + weight * term(update, parameter)`, or the second of these alone."""
    check_range(function, "weight", weight, 0.0)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del step
        return (at_count(weight, state),)

    def advance(g: jax.Array, p: jax.Array, old: Moments, s: Scalars) -> Moments:
        return ()

    def direction(g: jax.Array, p: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        pull = s[0] * s[1] * term(g, p)
        return g + pull if added else pull

    return tensorwise(DecayState, {}, scalars, advance, direction, needs_params=function, masks=(mask,))


def _matrices(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def _squared_norms(w: jax.Array, axis: int) -> jax.Array:
    """The squared norms over all axes but one, which are kept with size 1."""
    others = tuple(each for each in range(w.ndim) if each != axis % w.ndim)
    return jnp.sum(square(w), axis=others, keepdims=True)


def norm_loss(params: PyTree, weight: jax.typing.ArrayLike = 1e-2, *, axis: int = -1, mask: Any = None) -> jax.Array:
    r"""How far the weights of each output are from norm 1.

    $$L = \lambda \sum_{\text{leaves}} \sum_o (1 - \lVert w_o \rVert_2)^2, \qquad
    \frac{\partial L}{\partial w_o} = 2\lambda \left(1 - \frac{1}{\lVert w_o \rVert_2}\right) w_o$$

    with $w_o$ all weights that lead to output o: a column of a Flax kernel, one filter of a convolution. Its zeros are
    the oblique manifold. The gradient of an output whose weights are all zero is 0.

    Args:
        params: Tree of parameters.
        weight: λ, at least 0; it takes the place of a weight decay.
        axis: The axis of the outputs, the last in Flax.
        mask: Tree of bools (or a function from parameters to one) that says which leaves count; None means those of
            two axes or more.

    Returns:
        A scalar in float32 or wider, to be added to a loss.

    Raises:
        ValueError: A concrete `weight` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[3.0, 0.6], [4.0, 0.8]])  # norms 5 and 1
        >>> print(f"{norm_loss({'kernel': kernel, 'bias': jnp.ones(2)}, 0.5):.1f}")
        8.0

    Source:
        T. Georgiou, S. Schmitt, T. Bäck, W. Chen, M. Lew, "Norm Loss: An efficient yet effective regularization method
        for deep neural networks", 2021.
    """
    check_range("norm_loss", "weight", weight, 0.0)

    def leaf(w: jax.typing.ArrayLike, on: float) -> jax.Array:
        squared = _squared_norms(wide(jnp.asarray(w)), axis) if on else jnp.ones(())
        positive = squared > 0
        norms = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
        return jnp.sum(jnp.square(1 - norms))

    chosen = switches(_matrices if mask is None else mask, params)
    terms = jax.tree.leaves(jax.tree.map(leaf, params, chosen))
    return jnp.asarray(weight * sum(terms, start=jnp.zeros((), jnp.float32)))


def add_norm_decay(
    weight: optax.ScalarOrSchedule = 1e-2, *, axis: int = -1, mask: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Add the gradient of `norm_loss`: weights of each output are drawn to norm 1, from both sides.

    $$g_o \leftarrow g_o + 2\lambda \left(1 - \frac{1}{\lVert w_o \rVert_2}\right) w_o$$

    In front of an adaptive method it is a penalty, behind it a decay decoupled from the moments, as with
    `optax.add_decayed_weights`.

    Args:
        weight: λ, at least 0: a number, a traced scalar or a schedule.
        axis: The axis of the outputs, the last in Flax.
        mask: Tree of bools (or a function from parameters to one) that says which leaves take part; None means those
            of two axes or more.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete `weight` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, tx = jnp.array([[3.0, 0.3], [4.0, 0.4]]), add_norm_decay(0.5)
        >>> update, _ = tx.update(jnp.zeros((2, 2)), tx.init(params), params)
        >>> print(10 * update.round(1))  # (1 - 1 / 5) and (1 - 1 / 0.5) of the columns
        [[24. -3.]
         [32. -4.]]

    Source:
        T. Georgiou, S. Schmitt, T. Bäck, W. Chen, M. Lew, "Norm Loss: An efficient yet effective regularization method
        for deep neural networks", 2021.
    """

    def term(g: jax.Array, w: jax.Array) -> jax.Array:
        squared = _squared_norms(w, axis) if w.ndim else square(w)
        return jnp.where(squared > 0, 2 - 2 * jax.lax.rsqrt(jnp.where(squared > 0, squared, 1.0)), 0.0) * w

    return _decay("add_norm_decay", weight, _matrices if mask is None else mask, term)


def loss_sensitivity(gradient: PyTree) -> PyTree:
    r"""How much the loss depends on each weight: $S_i = |\partial L / \partial w_i|$.

    Args:
        gradient: Tree of gradients of the loss.

    Returns:
        A tree of real arrays of the same shapes and dtypes, at least 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(loss_sensitivity({"w": jnp.array([0.5, -2.0])})["w"])
        [0.5 2. ]

    Source:
        E. Tartaglione, A. Bragagnolo, A. Fiandrotti, M. Grangetto, "LOss-Based SensiTivity rEgulaRization: towards deep
        sparse neural networks", 2022.
    """
    return jax.tree.map(jnp.abs, gradient)


def add_lobster_decay(
    weight: optax.ScalarOrSchedule = 1e-5, *, mask: Any = None
) -> optax.GradientTransformationExtraArgs:
    r"""Shrink the weights that the loss does not depend on.

    $$\theta \leftarrow \theta + u - \lambda\, \theta \max\left(0, 1 - \left|\frac{\partial L}{\partial\theta}\right|
    \right)$$

    with u the finished update: the decay is not multiplied by the learning rate, so this transformation comes last in
    the chain, and it reads the gradient from the argument `grad` of `update`, where the train step puts it. A weight
    without influence loses the part λ of itself each step, one whose derivative is 1 or more loses nothing.

    Args:
        weight: λ, at least 0; about 1e-6 to 1e-4. A number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params` and `grad`.

    Raises:
        ValueError: A concrete `weight` is negative; in `update`, there is no `grad`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> params, gradient = jnp.array([2.0]), jnp.array([0.25])
        >>> tx = optax.chain(optax.sgd(0.1), add_lobster_decay(0.01))
        >>> update, _ = tx.update(gradient, tx.init(params), params, grad=gradient)
        >>> print(update.round(4))  # -0.025 - 0.015
        [-0.04]

    Source:
        E. Tartaglione, A. Bragagnolo, A. Fiandrotti, M. Grangetto, "LOss-Based SensiTivity rEgulaRization: towards deep
        sparse neural networks", 2022. (The authors' code reads θ behind the step, the paper's formula before it.)
    """

    def term(g: jax.Array, p: jax.Array) -> jax.Array:
        return -jnp.maximum(0.0, 1 - jnp.abs(g)) * p

    decay = _decay("add_lobster_decay", weight, mask, term, added=False)

    def update(
        updates: PyTree, state: DecayState, params: PyTree | None = None, *, grad: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, DecayState]:
        if grad is None:
            raise ValueError("add_lobster_decay: update needs grad, the gradient of the loss, got None")
        pulls, state = decay.update(jax.tree.map(wide, grad), state, params, **extra_args)
        return jax.tree.map(lambda u, pull: (wide(u) + pull).astype(u.dtype), updates, pulls), state

    return optax.GradientTransformationExtraArgs(decay.init, update)


def selective_weight_decay(
    irrelevance_fn: Callable[[jax.Array, jax.Array], jax.typing.ArrayLike],
    weight: optax.ScalarOrSchedule = 1e-4,
    *,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Weight decay of irrelevant weights, with an irrelevance of the caller's.

    $$g \leftarrow g + \lambda\, I(g, \theta)\, \theta$$

    Relevant weights (I = 0) take their ordinary update, irrelevant ones (I = 1) shrink as with
    `optax.add_decayed_weights`. Of the paper this is what its abstract states, a regularization term that selectively
    shrinks the weights found irrelevant; its own definition of irrelevance is not part of this function.

    Args:
        irrelevance_fn: From a tensor's update so far (the gradient where this comes first in the chain) and its
            parameter, both in float32 or wider, to I of that shape, between 0 and 1. It is not differentiated.
        weight: λ, at least 0: a number, a traced scalar or a schedule.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `update` needs `params`.

    Raises:
        ValueError: A concrete `weight` is negative.
        TypeError: `irrelevance_fn` is no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = selective_weight_decay(lambda g, w: jnp.abs(w) < 1, 0.1)
        >>> params = jnp.array([0.5, 2.0])
        >>> update, _ = tx.update(jnp.zeros(2), tx.init(params), params)
        >>> print(update)
        [0.05 0.  ]

    Source:
        G. Bonetta, M. Ribero, R. Cancelliere, "Regularization-based Pruning of Irrelevant Weights in Deep Neural
        Architectures", 2022 (the general form).
    """
    check_callable("selective_weight_decay", "irrelevance_fn", irrelevance_fn, "(update, parameter) -> array")

    def term(g: jax.Array, p: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(jnp.asarray(irrelevance_fn(g, p), p.dtype)) * p

    return _decay("selective_weight_decay", weight, mask, term)
