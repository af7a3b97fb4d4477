"""Gradients from forward-mode differentiation alone: slopes along directions, random or guessed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer
from optimizers._keys import key_of_rule
from optimizers._trees import PyTree, global_norm, wide
from optimizers.gradients._directions import (
    Distribution,
    check_distribution,
    check_scalar,
    like,
    mean_over_draws,
    random_direction,
    same_structure,
    times,
)
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def forward_gradient(
    directions: int = 1, *, distribution: Distribution = "normal", sequential: bool = False
) -> Callable[..., ValueAndGrad]:
    r"""The forward gradient: an unbiased estimate of the gradient from slopes along random directions.

    $$
    g = \frac1K \sum_{k=1}^{K} \left(\nabla L(\theta)^\top v_k\right) v_k, \qquad
    \mathbb{E}\left[v_k v_k^\top\right] = I, \qquad \mathbb{E}[g] = \nabla L(\theta)
    $$

    Nothing of the forward pass is kept for a backward pass, which never runs: `loss_fn` may hold what has no reverse
    mode, such as `jax.lax.while_loop`, but nothing that has no forward mode, such as a `jax.custom_vjp`. The price is
    variance: with P parameters and one direction,
    $\mathbb{E}\lVert g \rVert^2 = (P + 2) \lVert \nabla L \rVert^2$ for normal directions and
    $P \lVert \nabla L \rVert^2$ for Rademacher ones. Costs K Jacobian-vector products (each about two forward passes)
    and no backward pass.

    Args:
        directions: number K of directions, drawn anew for each call from the first typed PRNG key among the arguments
            of the loss.
        distribution: "normal", or "rademacher" (entries of -1 and 1), which has the smallest variance.
        sequential: one direction after the other (`jax.lax.scan`) in the memory of one, instead of all at once
            (`jax.vmap`).

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`. Value and aux are exact.

    Raises:
        TypeError: if `directions` is no integer.
        ValueError: if `directions` is below 1, `distribution` is unknown, the loss is no scalar, or there is no typed
            key among its arguments.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda w, key: jnp.sum(w**2)
        >>> rule = forward_gradient(4096, distribution="rademacher")
        >>> value, gradient = rule(loss_fn)(jnp.array([3.0, 4.0]), jax.random.key(0))
        >>> print(value, gradient.round())
        25.0 [6. 8.]

    Source:
        Atılım Güneş Baydin, Barak A. Pearlmutter, Don Syme, Frank Wood, Philip Torr, "Gradients without
        Backpropagation", 2022.
    """
    directions = check_positive_integer("forward_gradient", "directions", directions)
    check_distribution("forward_gradient", distribution)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def estimated(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            del step
            params = jax.tree.map(jnp.asarray, params)

            def one(key: jax.Array) -> tuple[Any, PyTree]:
                direction = random_direction(key, params, distribution)
                outcome, slope = _slope(
                    "forward_gradient", lambda p: loss_fn(p, *args, **kwargs), has_aux, params, direction
                )
                return outcome, times(slope, direction)

            key = key_of_rule("forward_gradient", (args, kwargs))
            outcome, estimate = mean_over_draws(one, key, directions, sequential)
            return outcome, like(params, estimate)

        return estimated

    return rule


def guided_forward_gradient(guess_fn: Callable[..., PyTree], *, normalize: bool = True) -> Callable[..., ValueAndGrad]:
    r"""The projection of the gradient onto a guess of it, from one slope along the guess.

    $$
    g = \left(\nabla L(\theta)^\top d\right) \frac{d}{\lVert d \rVert_2^2}, \qquad d = \text{guess}(\theta, \dots)
    $$

    The closest point to the gradient along the guess: its cosine with the gradient is that of the guess, up to sign,
    and it descends wherever the guess is not orthogonal to the gradient. Good guesses are gradients of local losses:
    `guess_fn=jax.grad(local_loss)`, where a head beside each block predicts the target, or any cheaper model of the
    loss. Without `normalize` the guess is taken for a random direction of unit variance, whose estimate
    $(\nabla L^\top d)\, d$ is unbiased: `forward_gradient` with directions of your own. `loss_fn` must have a forward
    mode, as for `forward_gradient`. Costs one Jacobian-vector product, no backward pass of the loss, and the guess.

    Args:
        guess_fn: `guess_fn(params, *args, **kwargs)`, called with the arguments of the loss, giving a direction: a
            pytree like `params`. It draws randomness, if any, from the keys among those arguments.
        normalize: divide by the squared norm of the guess, so that its length does not matter; a zero guess gives a
            zero gradient.

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`. Value and aux are exact.

    Raises:
        TypeError: if `guess_fn` is no function.
        ValueError: if the guess has not the structure and shapes of the parameters, or the loss is no scalar.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda w: jnp.sum(w**2)
        >>> rule = guided_forward_gradient(lambda w: jnp.array([0.0, 0.5]))
        >>> value, gradient = rule(loss_fn)(jnp.array([3.0, 4.0]))
        >>> print(value, gradient)
        25.0 [0. 8.]

    Source:
        Louis Fournier, Stéphane Rivaud, Eugene Belilovsky, Michael Eickenberg, Edouard Oyallon, "Can Forward Gradient
        Match Backpropagation?", 2023.
    """
    name = "guided_forward_gradient"
    check_callable(name, "guess_fn", guess_fn, "(params, *args, **kwargs) -> direction")

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def guided(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            del step
            params = jax.tree.map(jnp.asarray, params)
            guess = jax.tree.map(jnp.asarray, guess_fn(params, *args, **kwargs))
            if not _alike(guess, params):
                raise ValueError(
                    f"{name}: guess_fn must return a pytree of the structure and shapes of params, "
                    f"got {jax.tree.map(jnp.shape, guess)} for {jax.tree.map(jnp.shape, params)}"
                )
            direction = like(params, _unit_peak(guess) if normalize else guess)
            outcome, slope = _slope(name, lambda p: loss_fn(p, *args, **kwargs), has_aux, params, direction)
            if normalize:
                square = jnp.square(global_norm(direction))
                slope = jnp.where(square == 0, 0.0, wide(slope) / jnp.where(square == 0, 1.0, square))
            return outcome, like(params, times(slope, direction))

        return guided

    return rule


def _slope(
    function: str, loss_of: Callable[[PyTree], Any], has_aux: bool, params: PyTree, direction: PyTree
) -> tuple[Any, jax.Array]:
    """The value (and aux) at `params` and the slope along `direction`, from one Jacobian-vector product."""
    if has_aux:
        value, slope, aux = jax.jvp(loss_of, (params,), (direction,), has_aux=True)
    else:
        (value, slope), aux = jax.jvp(loss_of, (params,), (direction,)), None
    check_scalar(function, value)
    return ((value, aux) if has_aux else value), slope


def _alike(guess: PyTree, params: PyTree) -> bool:
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (guess, params)]
    return same_structure(guess, params) and shapes[0] == shapes[1]


def _unit_peak(tree: PyTree) -> PyTree:
    """The tree over its largest entry, so that no square of it over- or underflows; zeros stay."""
    peaks = [jnp.max(jnp.abs(wide(leaf)), initial=0.0) for leaf in jax.tree.leaves(tree)]
    peak = jnp.max(jnp.stack(peaks)) if peaks else jnp.ones(())
    return jax.tree.map(lambda leaf: wide(leaf) / jnp.where(peak == 0, 1.0, peak), tree)
