"""Many cheap steps for one expensive gradient: a bound of the loss in the space of the model's outputs, minimised."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._trees import PyTree, wide
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def target_surrogate(outputs: PyTree, anchor: PyTree, gradients: PyTree, *, eta: Any) -> jax.Array:
    r"""The quadratic model of a loss around outputs z_t, up to its value there.

    $$\langle g_t, z - z_t \rangle + \frac{1}{2\eta} \lVert z - z_t \rVert^2$$

    Where the loss is smooth in the outputs with constant at most 1 / eta, the loss at z_t plus this is never below the
    loss. Its minimum over all outputs is the target $z_t - \eta g_t$.

    Args:
        outputs: z, the model's outputs, an array or a tree.
        anchor: z_t, the outputs at which the loss was differentiated.
        gradients: g_t, the gradient of the loss in the outputs there.
        eta: step size in the space of the outputs, above 0. For a mean over B examples whose own losses are L-smooth it
            is at most B / L.

    Returns:
        The model's value, a scalar, float32 or wider; differentiable in the parameters behind `outputs`.

    Raises:
        ValueError: `eta` is not above 0, or shapes differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> print(target_surrogate(jnp.array([2.0]), jnp.array([1.0]), jnp.array([-3.0]), eta=0.5))
        -2.0

    Source:
        J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt, N. Le Roux, "Target-based Surrogates for Stochastic
        Optimization", 2023.
    """
    check_range("target_surrogate", "eta", eta, 0.0, open_low=True)

    def leaf(z: Any, z_t: Any, g: Any) -> jax.Array:
        z, z_t, g = jnp.asarray(z), jnp.asarray(z_t), jnp.asarray(g)
        if not z.shape == z_t.shape == g.shape:
            raise ValueError(
                "target_surrogate: outputs, anchor and gradients must have one shape, "
                f"got outputs {z.shape}, anchor {z_t.shape} and gradients {g.shape}"
            )
        difference = wide(z) - wide(z_t)
        return jnp.sum(wide(g) * difference + difference**2 / (2.0 * eta))

    terms = jax.tree.leaves(jax.tree.map(leaf, outputs, anchor, gradients))
    return sum(terms, start=jnp.zeros((), jnp.float32))


def target_surrogate_descent(
    outputs_fn: Callable[..., PyTree],
    eta: Any,
    inner_optimizer: optax.GradientTransformation,
    inner_steps: int = 10,
) -> Callable[..., ValueAndGrad]:
    r"""Target-based surrogate optimization: `inner_steps` steps on `target_surrogate` for one gradient of the loss.

    $$
    z_t = f(\theta_t), \quad g_t = \nabla_z \ell(z_t), \qquad
    \theta_{t+1} \approx \arg\min_\theta\, \langle g_t, f(\theta) - z_t \rangle
        + \frac{1}{2\eta} \lVert f(\theta) - z_t \rVert^2
    $$

    For losses that are expensive at the outputs (a simulator, a reward, a round of communication) and cheap models. The
    inner steps start at the parameters, and their whole displacement $\theta_t - \theta_{t+1}$ is the rule's gradient:
    behind it, `optax.sgd(1.0)` makes exactly the step. One inner step of `optax.sgd(lr)` is gradient descent with rate
    lr; minimised to the end over an over-parameterised model, the outputs become $z_t - \eta g_t$.

    Args:
        outputs_fn: `outputs_fn(params, *args, **kwargs)`, the model's outputs, an array or a tree of floating arrays,
            called with the arguments of the loss.
        eta: step size in the space of the outputs, above 0, see `target_surrogate`; a number or a traced scalar.
        inner_optimizer: an Optax transformation for the inner steps, made anew in every step.
        inner_steps: number of inner steps, at least 1.

    Returns:
        A gradient rule for `loss_fn(outputs, *args, **kwargs)`, which has the model's outputs in the place of the
        parameters and is evaluated once.

    Raises:
        TypeError: `outputs_fn` is no function, `inner_optimizer` no transformation, `inner_steps` no integer.
        ValueError: `eta` is not above 0, `inner_steps` below 1.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> rule = target_surrogate_descent(lambda w, x: w * x, 1.0, optax.sgd(0.1), inner_steps=50)
        >>> squares = lambda z, x: 0.5 * jnp.sum((z - 6.0) ** 2)  # eta = 1: the surrogate is the loss itself
        >>> value, displacement = rule(squares)(jnp.array(1.0), jnp.array([1.0, 2.0]))
        >>> print(value, f"{1.0 - displacement:.4f}")
        20.5 3.6000

    Source:
        J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt, N. Le Roux, "Target-based Surrogates for Stochastic
        Optimization", 2023.
    """
    function = "target_surrogate_descent"
    check_callable(function, "outputs_fn", outputs_fn, "(params, *args, **kwargs) -> outputs")
    check_range(function, "eta", eta, 0.0, open_low=True)
    if not isinstance(inner_optimizer, optax.GradientTransformation):
        raise TypeError(
            f"{function}: inner_optimizer must be an optax.GradientTransformation, got {type(inner_optimizer).__name__}"
        )
    inner_steps = check_positive_integer(function, "inner_steps", inner_steps)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def displacement(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            del step
            params = jax.tree.map(jnp.asarray, params)
            anchor = outputs_fn(params, *args, **kwargs)
            outcome, gradients = jax.value_and_grad(loss_fn, has_aux=has_aux)(anchor, *args, **kwargs)
            start = jax.tree.map(wide, params)  # steps smaller than a rounding of 16 bits add up

            def surrogate(moving: PyTree) -> jax.Array:
                narrow = jax.tree.map(lambda m, p: m.astype(p.dtype), moving, params)
                return target_surrogate(outputs_fn(narrow, *args, **kwargs), anchor, gradients, eta=eta)

            def inner(carry: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], None]:
                moving, state = carry
                value, gradient = jax.value_and_grad(surrogate)(moving)
                tx = optax.with_extra_args_support(inner_optimizer)
                updates, state = tx.update(gradient, state, moving, value=value, grad=gradient, value_fn=surrogate)
                return (optax.apply_updates(moving, updates), state), None

            (end, _), _ = jax.lax.scan(inner, (start, inner_optimizer.init(start)), length=inner_steps)
            return outcome, jax.tree.map(lambda p, s, e: (s - e).astype(p.dtype), params, start, end)

        return displacement

    return rule
