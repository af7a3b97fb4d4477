"""Estimates of the diagonal of the curvature as transformations: gradients in, an estimate out, a key in the state."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer
from optimizers._keys import split_data, typed_key
from optimizers._rounding import store
from optimizers._trees import PyTree, wide
from optimizers.curvature import GAUSS_NEWTON_SOURCE, hessian_vector_product, hutchinson_diagonal, needed


class EstimatorState(NamedTuple):
    """The state of an estimator.

    Attributes:
        key: the data of the PRNG key of the next estimate.
    """

    key: jax.Array


def _estimator(key: jax.Array | int, estimate: Callable[..., PyTree]) -> optax.GradientTransformationExtraArgs:
    """`estimate(params, key, extra arguments)` in place of the gradients."""

    def init(params: PyTree) -> EstimatorState:
        del params
        return EstimatorState(jax.random.key_data(typed_key(key)))

    def update(
        updates: PyTree, state: EstimatorState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, EstimatorState]:
        current, following = split_data(key, state.key)
        diagonal = estimate(params, current, extra_args)
        return jax.tree.map(lambda d, g: d.astype(jnp.result_type(g)), diagonal, updates), EstimatorState(following)

    return optax.GradientTransformationExtraArgs(init, update)


def hutchinson_estimator_diag_hessian(
    random_seed: jax.Array | int | None = None,
    *,
    samples: int = 1,
    distribution: Literal["rademacher", "normal"] = "rademacher",
) -> optax.GradientTransformationExtraArgs:
    r"""Hutchinson's estimate of the diagonal of the Hessian, in place of the gradient.

    $$\hat h = \frac{1}{n} \sum_{i=1}^n z_i \odot \nabla^2 L(\theta)\, z_i$$

    As in `optax.contrib`, with the same draws, and beyond it: several probes, normal ones (as the authors of Sophia
    have them), and the extra argument `grad_fn` that the train step passes. `obj_fn`, which Optax's takes, serves as
    well.

    Args:
        random_seed: a seed or a PRNG key (typed or raw); None is seed 0.
        samples: the number n of probes, taken one after the other; each costs about two gradients.
        distribution: that of the probes: "rademacher" (random signs) or "normal".

    Returns:
        A transformation to be given as `hessian_diagonal_fn`; its `update` needs `params` and the extra argument
        `grad_fn` (the gradient as a function of the parameters) or `obj_fn` (the loss).

    Raises:
        TypeError: if `samples` is no integer.
        ValueError: if there are no samples, `distribution` is another, or `update` lacks what it needs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> tx = hutchinson_estimator_diag_hessian()
        >>> params = jnp.array([1.0, 2.0])
        >>> diagonal, _ = tx.update(params, tx.init(params), params, grad_fn=jax.grad(lambda x: jnp.sum(x**3)))
        >>> print(diagonal)
        [ 6. 12.]

    Source:
        C. Bekas, E. Kokiopoulou, Y. Saad, "An Estimator for the Diagonal of a Matrix", 2007.
    """
    name = "hutchinson_estimator_diag_hessian"
    samples = check_positive_integer(name, "samples", samples)
    if distribution not in ("rademacher", "normal"):
        raise ValueError(f"{name}: distribution must be 'rademacher' or 'normal', got {distribution!r}")

    def estimate(params: PyTree, key: jax.Array, extra: dict[str, Any]) -> PyTree:
        grad_fn, obj_fn = extra.get("grad_fn"), extra.get("obj_fn")
        if grad_fn is None and obj_fn is not None:
            grad_fn = jax.grad(obj_fn)
        grad_fn, params = needed(name, "grad_fn", grad_fn), needed(name, "params", params, "every chain passes them")

        def product(vector: PyTree) -> PyTree:
            return hessian_vector_product(grad_fn, params, vector)

        return hutchinson_diagonal(product, params, key, samples=samples, distribution=distribution)

    return _estimator(0 if random_seed is None else random_seed, estimate)


def gauss_newton_bartlett_estimator(
    random_seed: jax.Array | int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""The Gauss-Newton-Bartlett estimate of the diagonal of the Gauss-Newton matrix, in place of the gradient.

    $$\hat h = B\, \hat g \odot \hat g$$

    with $\hat g$ the gradient of the mean loss at B labels drawn from the model, see `gauss_newton_bartlett_diagonal`.
    It is never negative, and costs one gradient.

    Args:
        random_seed: a seed or a PRNG key (typed or raw); None is seed 0.

    Returns:
        A transformation to be given as `hessian_diagonal_fn`; its `update` needs `params` and the extra argument
        `gnb_fn(params, key)`, which `make_train_step` passes with `curvature=GaussNewton(...)`.

    Raises:
        ValueError: if `update` lacks what it needs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> tx = gauss_newton_bartlett_estimator()
        >>> params = jnp.array([1.0, 2.0])
        >>> diagonal, _ = tx.update(params, tx.init(params), params, gnb_fn=lambda params, key: params**2)
        >>> print(diagonal)
        [1. 4.]

    Source:
        H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
        Model Pre-training", 2023, Algorithm 2.
    """
    name = "gauss_newton_bartlett_estimator"

    def estimate(params: PyTree, key: jax.Array, extra: dict[str, Any]) -> PyTree:
        gnb_fn = needed(name, "gnb_fn", extra.get("gnb_fn"), GAUSS_NEWTON_SOURCE)
        diagonal: PyTree = gnb_fn(needed(name, "params", params, "every chain passes them"), key)
        return diagonal

    return _estimator(0 if random_seed is None else random_seed, estimate)


class Averages(NamedTuple):
    """What an elementwise transformation reads of a state that holds an estimator's besides."""

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    mu: PyTree
    nu: PyTree


def refresh(
    estimator: optax.GradientTransformationExtraArgs,
    update_interval: int,
    advance: Callable[[jax.Array, jax.Array], jax.Array],
    count: jax.Array,
    averages: PyTree,
    state: PyTree,
    updates: PyTree,
    params: PyTree,
    extra_args: dict[str, Any],
) -> tuple[PyTree, PyTree]:
    """The averages of estimates and the estimator's state, renewed at every `update_interval`-th count from 0 on.

    `advance(average, estimate)` gives the new average of a leaf; both are in float32 or wider.
    """

    def renewed() -> tuple[PyTree, PyTree]:
        estimate, following = estimator.update(jax.tree.map(wide, updates), state, params, **extra_args)
        leaves, treedef = jax.tree.flatten(averages)
        new = [
            store(advance(wide(a), wide(e)), a.dtype, count, number)
            for number, (a, e) in enumerate(zip(leaves, jax.tree.leaves(estimate), strict=True))
        ]
        return jax.tree.unflatten(treedef, new), following

    if update_interval == 1:
        return renewed()
    due = count % update_interval == 0
    both: tuple[PyTree, PyTree] = jax.lax.cond(due, renewed, lambda: (averages, state))
    return both
