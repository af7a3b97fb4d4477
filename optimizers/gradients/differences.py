"""Gradients from differences of losses: forward passes alone, through anything, differentiable or not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_positive_integer, check_range
from optimizers._keys import key_of_rule
from optimizers._trees import PyTree, add_scaled, wide
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
from optimizers.gradients._perturbation import ScalarOrSchedule, at_step
from optimizers.gradients.backprop import LossFn, ValueAndGrad


def spsa(
    sigma: ScalarOrSchedule,
    samples: int = 1,
    *,
    distribution: Distribution = "rademacher",
    sequential: bool = False,
) -> Callable[..., ValueAndGrad]:
    r"""Simultaneous perturbation, and evolution strategies: slopes of the loss between mirrored random points.

    $$
    g = \frac1K \sum_{k=1}^{K} \frac{L(\theta + \sigma v_k) - L(\theta - \sigma v_k)}{2 \sigma} v_k, \qquad
    \mathbb{E}\left[v_k v_k^\top\right] = I
    $$

    Two forward passes measure the slope along a direction that moves all parameters at once. With Rademacher
    directions this is Spall's simultaneous perturbation stochastic approximation; with normal ones it is the
    antithetic estimator of evolution strategies, unbiased for the gradient of the smoothed loss
    $\mathbb{E}\,L(\theta + \sigma v)$ at every $\sigma$. For a quadratic loss, and for any loss as
    $\sigma \to 0$, it is `forward_gradient`, whose variance it has. The loss is never differentiated. Costs `2 K`
    forward passes, and one more at the parameters themselves for value and aux.

    Args:
        sigma: length of the perturbation of each parameter, above 0; a number, a traced scalar, or a schedule of the
            `step` given to the rule. Perturbed parameters are rounded to their dtype, and the difference loses as many
            digits as it is small.
        samples: number K of mirrored pairs, drawn anew for each call from the first typed PRNG key among the
            arguments of the loss, which receives the same arguments at all points.
        distribution: "rademacher" (entries of -1 and 1), which has the smallest variance, or "normal".
        sequential: one pair after the other (`jax.lax.scan`) in the memory of one, instead of all at once
            (`jax.vmap`).

    Returns:
        A gradient rule: a drop-in for `jax.value_and_grad`. Value and aux are those of the unperturbed parameters.

    Raises:
        TypeError: if `sigma` is no number, or `samples` no integer.
        ValueError: if `sigma` is not positive or is a schedule and no `step` is given, `samples` is below 1,
            `distribution` is unknown, the loss is no scalar, or there is no typed key among its arguments.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> loss_fn = lambda w, key: jnp.sum(w**2)
        >>> value, gradient = spsa(0.1, 4096)(loss_fn)(jnp.array([3.0, 4.0]), jax.random.key(0))
        >>> print(value, gradient.round())
        25.0 [6. 8.]

    Source:
        James C. Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient
        Approximation", 1992. Tim Salimans, Jonathan Ho, Xi Chen, Szymon Sidor, Ilya Sutskever, "Evolution Strategies
        as a Scalable Alternative to Reinforcement Learning", 2017.
    """

    def summary(outputs: jax.Array) -> jax.Array:
        check_scalar("spsa", outputs)
        return outputs

    def estimate(slope: jax.Array, direction: PyTree, _: Any) -> PyTree:
        return times(slope, direction)

    return _differences("spsa", sigma, samples, distribution, sequential, summary, estimate)


def local_perturbation(
    contributions: PyTree | Callable[..., PyTree],
    sigma: ScalarOrSchedule,
    samples: int = 1,
    *,
    distribution: Distribution = "rademacher",
    sequential: bool = False,
) -> Callable[..., ValueAndGrad]:
    r"""Per-output perturbation: `spsa` of many outputs at once, where each credits only what contributed to it.

    $$
    L = \frac1M \sum_{p=1}^{M} e_p(\theta), \qquad
    g_i = \frac1{KM} \sum_{k=1}^{K} \sum_{p \,:\, i \in C_p}
        \frac{e_p(\theta + \sigma v_k) - e_p(\theta - \sigma v_k)}{2 \sigma} v_{k, i}
    $$

    with $C_p$ the parameters that contribute to output p, such as the triangles and texels that a pixel of a
    rasterizer shows. The noise of the other parameters, which is all the variance that grows with their number, is
    left out: as unbiased as `spsa` where $C_p$ holds every parameter that $e_p$ depends on, exact where it depends on
    one alone (and Rademacher directions, and a quadratic error), and `spsa` of the mean error where all outputs depend
    on everything. The loss is never differentiated. Costs `2 K + 1` forward passes.

    Args:
        contributions: which parameters contribute to which of the errors `[...E]`: a pytree like `params`, whose leaf
            for a parameter of shape `[N, ...]` holds either integers `[...E, k]`, the indices along its leading axis
            of up to k contributors to each error, with -1 for none; or booleans `[...E, *axes]`, with as many leading
            axes of the parameter as there are decisions to make (none: the whole parameter contributes or not). Or a
            function `contributions(params, *args, **kwargs)` that gives such a tree: it is called at both perturbed
            points, and what contributed at either is credited.
        sigma: length of the perturbation of each parameter, as in `spsa`.
        samples: number K of mirrored pairs, as in `spsa`.
        distribution: "rademacher" or "normal", as in `spsa`.
        sequential: one pair after the other instead of all at once, as in `spsa`.

    Returns:
        A gradient rule for a `loss_fn` that returns an array of errors, such as `[height, width]`. Its value is their
        mean and its gradient that of the mean; value and aux are those of the unperturbed parameters. An index past
        the end of a parameter gives NaN.

    Raises:
        TypeError: if `sigma` is no number, `samples` no integer, or a leaf of `contributions` neither integer nor
            boolean.
        ValueError: if `sigma` is not positive or is a schedule and no `step` is given, `samples` is below 1,
            `distribution` is unknown, the loss is a scalar, `contributions` has not the structure of the parameters or
            the shapes above, or there is no typed key among the arguments of the loss.

    Examples:
        Three pixels that show the first, the second, and both of two colors:

        >>> import jax, jax.numpy as jnp
        >>> render = lambda colors: jnp.stack([colors[0], colors[1], (colors[0] + colors[1]) / 2])
        >>> loss_fn = lambda colors, key: (render(colors) - 1.0) ** 2
        >>> rule = local_perturbation(jnp.array([[0, -1], [1, -1], [0, 1]]), 0.1, 4096)
        >>> value, gradient = rule(loss_fn)(jnp.array([3.0, 5.0]), jax.random.key(0))
        >>> print(f"{value:.2f} {gradient[0]:.1f} {gradient[1]:.1f}")
        9.67 2.3 3.7

    Source:
        Thomas Deliot, Eric Heitz, Laurent Belcour, "Transforming a Non-Differentiable Rasterizer into a Differentiable
        One with Stochastic Gradient Estimation", 2024.
    """
    name = "local_perturbation"

    def summary(errors: jax.Array) -> jax.Array:
        if errors.ndim == 0:
            raise ValueError(f"{name}: loss_fn must return an array of errors, got a scalar (spsa takes those)")
        return jnp.mean(errors)

    def estimate(slopes: jax.Array, direction: PyTree, at_both: Callable[..., list[Any]]) -> PyTree:
        marks = at_both(contributions) if callable(contributions) else [contributions]
        for each in marks:
            if not same_structure(each, direction):
                raise ValueError(
                    f"{name}: contributions must have the structure of params, {jax.tree.structure(direction)}, "
                    f"got {jax.tree.structure(each)}"
                )
        return jax.tree.map(lambda d, *m: _credit(slopes / slopes.size, m, d), direction, *marks)

    return _differences(name, sigma, samples, distribution, sequential, summary, estimate)


def _differences(
    function: str,
    sigma: ScalarOrSchedule,
    samples: int,
    distribution: Distribution,
    sequential: bool,
    summary: Callable[[jax.Array], jax.Array],
    estimate: Callable[[jax.Array, PyTree, Callable[..., list[Any]]], PyTree],
) -> Callable[..., ValueAndGrad]:
    """The rule whose value is the `summary` of the loss, and whose gradient the mean of its estimates.

    `estimate(slopes, direction, at_both)` receives the slopes of all that the loss returns, and `at_both(f)`, which is
    `f` at the two perturbed points, with the arguments of the loss.
    """
    check_range(function, "sigma", sigma, 0.0, open_low=True)
    samples = check_positive_integer(function, "samples", samples)
    check_distribution(function, distribution)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> ValueAndGrad:
        def estimated(params: PyTree, *args: Any, step: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            params = jax.tree.map(jnp.asarray, params)
            length = at_step(function, "sigma", sigma, step)

            def losses(result: Any) -> jax.Array:
                return jnp.asarray(result[0] if has_aux else result)

            def one(key: jax.Array) -> tuple[None, PyTree]:
                direction = random_direction(key, params, distribution)

                def at_both(f: Callable[..., Any]) -> list[Any]:
                    return [f(add_scaled(params, by, direction), *args, **kwargs) for by in (length, -length)]

                above, below = (wide(losses(result)) for result in at_both(loss_fn))
                return None, estimate((above - below) / (2 * length), direction, at_both)

            result = loss_fn(params, *args, **kwargs)
            value = summary(losses(result))
            _, gradient = mean_over_draws(one, key_of_rule(function, (args, kwargs)), samples, sequential)
            return ((value, result[1]) if has_aux else value), like(params, gradient)

        return estimated

    return rule


def _credit(slopes: jax.Array, marks: tuple[Any, ...], direction: jax.Array) -> jax.Array:
    """`direction` of one parameter, times the sum of the slopes of the outputs that it contributed to."""
    marks = tuple(jnp.asarray(mark) for mark in marks)
    outputs, name = slopes.shape, "local_perturbation: contributions"
    kinds = {mark.dtype for mark in marks}
    leading = marks[0].shape[: len(outputs)] == outputs
    axes = marks[0].shape[len(outputs) :]
    if kinds == {jnp.dtype(bool)}:
        if not leading or axes != direction.shape[: len(axes)]:
            raise ValueError(
                f"{name} of booleans must have shape {outputs} and then leading axes of a parameter "
                f"{direction.shape}, got {marks[0].shape}"
            )
        mark = marks[0] if len(marks) == 1 else marks[0] | marks[1]
        spread = slopes.reshape(slopes.shape + (1,) * len(axes))
        credit = jnp.sum(jnp.where(mark, spread, 0.0), axis=tuple(range(len(outputs))))
    elif all(jnp.issubdtype(kind, jnp.integer) for kind in kinds):
        if not leading or len(axes) != 1 or direction.ndim == 0:
            raise ValueError(
                f"{name} of integers must have shape {outputs} and then one axis of indices into a parameter "
                f"[N, ...], got {marks[0].shape} for a parameter {direction.shape}"
            )
        credit = _sum_by_index(slopes, jnp.concatenate(marks, axis=-1), direction.shape[0])
    else:
        raise TypeError(f"{name} must be integers or booleans, got {sorted(map(str, kinds))}")
    return wide(direction) * credit.reshape(credit.shape + (1,) * (direction.ndim - credit.ndim))


def _sum_by_index(slopes: jax.Array, indices: jax.Array, size: int) -> jax.Array:
    """The sum `[size]` of the slopes of the outputs by index `[...E, k]`, each index of an output counted once."""
    indices = jnp.sort(indices.astype(jnp.int32), axis=-1)
    repeated = jnp.concatenate([jnp.zeros_like(indices[..., :1], bool), indices[..., 1:] == indices[..., :-1]], axis=-1)
    shares = jnp.where(indices < size, slopes[..., None], jnp.nan)
    bins = jnp.where(repeated, -1, jnp.minimum(indices, size - 1))  # a negative bin is dropped
    return jax.ops.segment_sum(shares.ravel(), bins.ravel(), size)
