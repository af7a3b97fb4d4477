"""Weights set to zero for good: which, by how much the loss allows, and again after more training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._moments import switches
from optimizers._trees import PyTree


def magnitude_threshold_prune(
    params: PyTree, threshold: jax.typing.ArrayLike, *, mask: Any = None
) -> tuple[PyTree, PyTree]:
    r"""Set weights below a threshold to zero.

    $$\theta_i \leftarrow \theta_i\, k_i, \qquad k_i = [\,|\theta_i| \ge T\,]$$

    Args:
        params: Tree of parameters.
        threshold: T, at least 0, in the units of the parameters. May be traced.
        mask: Tree of bools (or a function from parameters to one) that says which leaves are pruned; None means all.

    Returns:
        The pruned parameters, and k: a tree of bool arrays, True where a weight is kept. A gradient, or an update,
        times k keeps the others at zero.

    Raises:
        ValueError: A concrete `threshold` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> pruned, kept = magnitude_threshold_prune(jnp.array([0.5, -0.01, 0.02]), 0.02)
        >>> print(pruned, kept.sum())
        [0.5  0.   0.02] 2

    Source:
        E. Tartaglione, A. Bragagnolo, A. Fiandrotti, M. Grangetto, "LOss-Based SensiTivity rEgulaRization: towards deep
        sparse neural networks", 2022.
    """
    check_range("magnitude_threshold_prune", "threshold", threshold, 0.0)
    kept = jax.tree.map(
        lambda p, on: jnp.abs(p) >= threshold if on else jnp.ones(jnp.shape(p), bool), params, switches(mask, params)
    )
    return jax.tree.map(lambda p, k: jnp.where(k, p, 0).astype(p.dtype), params, kept), kept


def pruning_threshold(
    loss_fn: Callable[[PyTree], jax.typing.ArrayLike],
    params: PyTree,
    tolerance: jax.typing.ArrayLike = 0.05,
    *,
    steps: int = 20,
    mask: Any = None,
) -> jax.Array:
    r"""The largest threshold whose pruning the loss bears, by bisection.

    $$\max \{ T : L(\operatorname{prune}(\theta, T)) \le (1 + \tau)\, L(\theta) \}$$

    between 0 and the largest weight, to a part of 2^-steps of it. The loss is taken to grow with the threshold; where
    it does not, the result is one of the thresholds at which it crosses the bound, from below.

    Args:
        loss_fn: From parameters to the loss of the validation data, a scalar. It is called `steps + 1` times in a loop
            that is compiled once.
        params: Tree of parameters.
        tolerance: τ, by which part the loss may grow, at least 0.
        steps: Halvings of the interval.
        mask: Tree of bools (or a function from parameters to one) that says which leaves are pruned; None means all.

    Returns:
        The threshold, a scalar in float32 or wider; NaN where the loss of the whole parameters is NaN.

    Raises:
        ValueError: `steps` is less than 1, or a concrete `tolerance` is negative.
        TypeError: `steps` is no integer, or `loss_fn` no function.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = jnp.array([0.1, 0.2, 0.3, 4.0])
        >>> distance = lambda p: 1 + jnp.sum((p - params) ** 2)
        >>> print(f"{pruning_threshold(distance, params, 0.06):.3f}")  # 0.1² + 0.2² < 0.06 < 0.1² + 0.2² + 0.3²
        0.300

    Source:
        E. Tartaglione, A. Bragagnolo, A. Fiandrotti, M. Grangetto, "LOss-Based SensiTivity rEgulaRization: towards deep
        sparse neural networks", 2022.
    """
    check_callable("pruning_threshold", "loss_fn", loss_fn, "params -> scalar")
    check_range("pruning_threshold", "tolerance", tolerance, 0.0)
    steps = check_positive_integer("pruning_threshold", "steps", steps)
    before = jnp.asarray(loss_fn(params))
    bound = before + tolerance * jnp.abs(before)
    largest = jax.tree.map(
        lambda p, on: jnp.max(jnp.abs(p), initial=0.0) if on else jnp.zeros(()), params, switches(mask, params)
    )
    kind = jnp.result_type(jnp.float32, *jax.tree.leaves(largest))
    high = jnp.max(jnp.stack([jnp.zeros((), kind), *(each.astype(kind) for each in jax.tree.leaves(largest))]))

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        borne = loss_fn(magnitude_threshold_prune(params, middle, mask=mask)[0]) <= bound
        return jnp.where(borne, middle, low), jnp.where(borne, high, middle)

    low, _ = jax.lax.fori_loop(0, steps, halve, (jnp.zeros_like(high), high))
    return jnp.where(jnp.isnan(before), jnp.nan, low)


def iterative_magnitude_prune(
    params: PyTree, threshold: jax.typing.ArrayLike, kept: PyTree | None = None, *, mask: Any = None
) -> tuple[PyTree, PyTree]:
    r"""One round of pruning and training: what earlier rounds removed stays removed.

    $$k \leftarrow k \wedge [\,|\theta_i k_i| \ge T\,], \qquad \theta \leftarrow \theta\, k$$

    Between rounds the weights train on; with `selective_weight_decay` the irrelevant ones shrink below the threshold
    meanwhile. Of the paper this is what its abstract states: that elimination is iterative. How it chooses thresholds
    is left to the caller, see `pruning_threshold`.

    Args:
        params: Tree of parameters.
        threshold: T of this round, at least 0. May be traced.
        kept: The tree of bools that the last round returned; None in the first.
        mask: Tree of bools (or a function from parameters to one) that says which leaves are pruned; None means all.

    Returns:
        The pruned parameters, and k: a tree of bool arrays, True where a weight is kept.

    Raises:
        ValueError: A concrete `threshold` is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> params, kept = iterative_magnitude_prune(jnp.array([0.5, 0.1, 0.3]), 0.2)
        >>> params, kept = iterative_magnitude_prune(params + 0.3, 0.7, kept)  # the second has grown back
        >>> print(params, kept.sum())
        [0.8 0.  0. ] 1

    Source:
        G. Bonetta, M. Ribero, R. Cancelliere, "Regularization-based Pruning of Irrelevant Weights in Deep Neural
        Architectures", 2022 (the general form).
    """
    check_range("iterative_magnitude_prune", "threshold", threshold, 0.0)
    if kept is None:
        return magnitude_threshold_prune(params, threshold, mask=mask)
    params = jax.tree.map(lambda p, k: jnp.where(k, p, 0).astype(p.dtype), params, kept)
    params, large = magnitude_threshold_prune(params, threshold, mask=mask)
    return params, jax.tree.map(jnp.logical_and, kept, large)
