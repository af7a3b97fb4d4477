"""OASIS: gradients divided by a truncated average of the Hessian's diagonal, with a step size that finds itself."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._keys import split_data, typed_key
from optimizers._moments import after, average, wide_scalar, zeros_for
from optimizers._trees import PyTree, wide
from optimizers.curvature import hessian_vector_product, hutchinson_diagonal, needed

# Stands for an infinite ratio of the first two rates: the second never depends on the first by way of it.
_INFINITE = float(jnp.finfo(jnp.float32).max)


class OasisState(NamedTuple):
    """State of `oasis`.

    Attributes:
        count: number of updates so far, int32 `[]`.
        diagonal: moving average D of the estimates of the Hessian's diagonal.
        previous: parameters of the update before.
        rate: step size of the update before, `[]`.
        ratio: that step size over the one before it, `[]`.
        key: the data of the PRNG key of the next estimate.
    """

    count: jax.Array  # type: ignore[assignment]  # a field of Optax's states, and a method of tuples
    diagonal: PyTree
    previous: PyTree
    rate: jax.Array
    ratio: jax.Array
    key: jax.Array


def oasis(
    learning_rate: jax.typing.ArrayLike = 1e-3,
    b2: jax.typing.ArrayLike = 0.99,
    alpha: jax.typing.ArrayLike = 1e-3,
    *,
    adaptive: bool = True,
    warmup_samples: int = 10,
    random_seed: jax.Array | int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""OASIS: steps scaled by the Hessian's diagonal, and as long as the local smoothness allows.

    $$
    D_k = \beta_2 D_{k-1} + (1 - \beta_2)\, z_k \odot \nabla^2 L(\theta_k) z_k, \qquad
    \hat D_k = \max(|D_k|, \alpha), \qquad \theta_{k+1} = \theta_k - \eta_k \hat D_k^{-1} g_k
    $$
    $$
    \eta_k = \min\Bigl(\sqrt{1 + \eta_{k-1} / \eta_{k-2}}\; \eta_{k-1},\;
    \frac{\lVert \theta_k - \theta_{k-1} \rVert_{\hat D_k}}{2 \lVert g_k - g_{k-1} \rVert^*_{\hat D_k}}\Bigr)
    $$

    with random signs $z_k$, and norms $\lVert x \rVert_D^2 = \sum D x^2$ and $\lVert x \rVert^{*2}_D = \sum x^2 / D$.
    $g_{k-1}$ is the gradient at the parameters before on the batch of this step: one more gradient, besides the product
    with the Hessian. $D_0$ is a mean of several estimates. Nothing is tuned but `alpha`, which bounds the scaling of
    flat directions. Where parameters or gradient have not changed, the step size stays (the paper leaves it open).

    The gradient has to be that of `grad_fn`: no link before it in the chain may change it.

    Args:
        learning_rate: Size of the first step, above 0; the second does not depend on it.
        b2: Decay of the diagonal, in [0, 1).
        alpha: α, the least curvature that is divided by, above 0.
        adaptive: Find the step size; otherwise every step has the first one's, and the gradient at the parameters
            before is not computed.
        warmup_samples: Number of estimates averaged in $D_0$.
        random_seed: Seed or PRNG key of the estimates; None is seed 0.

    Returns:
        An Optax transformation, the last link of a chain; `update` needs `params` and the extra argument `grad_fn`,
        which `make_train_step` passes.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` lacks what it needs.
        TypeError: `warmup_samples` is no integer.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> grad_fn = jax.grad(lambda x: 0.5 * x[0] ** 2 + 50.0 * x[1] ** 2)
        >>> params, tx = jnp.array([1.0, 1.0]), oasis()
        >>> state = tx.init(params)
        >>> for _ in range(10):
        ...     updates, state = tx.update(grad_fn(params), state, params, grad_fn=grad_fn)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{params[0]:.3f} {params[1]:.3f} {state.rate:.2f}")
        0.002 0.002 0.50

    Source:
        M. Jahani, S. Rusakov, Z. Shi, P. Richtárik, M. W. Mahoney, M. Takáč, "Doubly Adaptive Scaled Algorithm for
        Machine Learning Using Second-Order Information", 2022.
    """
    check_range("oasis", "learning_rate", learning_rate, 0.0, open_low=True)
    check_range("oasis", "b2", b2, 0.0, 1.0, open_high=True)
    check_range("oasis", "alpha", alpha, 0.0, open_low=True)
    warmup_samples = check_positive_integer("oasis", "warmup_samples", warmup_samples)
    seed = 0 if random_seed is None else random_seed
    b2, alpha = wide_scalar(b2), wide_scalar(alpha)

    def init(params: PyTree) -> OasisState:
        return OasisState(
            count=jnp.zeros([], jnp.int32),
            diagonal=zeros_for(params),
            previous=zeros_for(params),
            rate=jnp.asarray(learning_rate, float),
            ratio=jnp.asarray(_INFINITE, float),
            key=jax.random.key_data(typed_key(seed)),
        )

    def update(
        updates: PyTree, state: OasisState, params: PyTree | None = None, *, grad_fn: Any = None, **extra_args: Any
    ) -> tuple[PyTree, OasisState]:
        del extra_args
        grad_fn = needed("oasis", "grad_fn", grad_fn)
        params = needed("oasis", "params", params, "every chain passes them")
        current, key = split_data(seed, state.key)
        first = state.count == 0

        def estimate(samples: int) -> PyTree:
            return hutchinson_diagonal(
                lambda v: hessian_vector_product(grad_fn, params, v), params, current, samples=samples
            )

        def averaged(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(first, new, average(b2, 1 - b2, old, new)).astype(old.dtype)

        estimates = jax.lax.cond(first, lambda: estimate(warmup_samples), lambda: estimate(1))
        diagonal = jax.tree.map(averaged, state.diagonal, estimates)

        def scale(d: jax.Array) -> jax.Array:
            return jnp.maximum(jnp.abs(d), alpha)

        def adapted() -> tuple[jax.Array, jax.Array]:
            before = jax.tree.map(lambda p, q: q.astype(p.dtype), params, state.previous)
            steps = jax.tree.map(
                lambda p, q, d: jnp.sum((wide(p) - q) ** 2 * scale(d)), params, state.previous, diagonal
            )
            changes = jax.tree.map(
                lambda g, h, d: jnp.sum((wide(g) - wide(h)) ** 2 / scale(d)), updates, grad_fn(before), diagonal
            )
            return _next_rate(state.rate, state.ratio, _total(steps), _total(changes))

        rate, ratio = state.rate, state.ratio
        if adaptive:
            rate, ratio = jax.lax.cond(first, lambda: (state.rate, state.ratio), adapted)
        directions = jax.tree.map(
            lambda g, d: (-rate.astype(d.dtype) * wide(g) / scale(d)).astype(g.dtype), updates, diagonal
        )
        previous = jax.tree.map(lambda p, q: after(p.astype(q.dtype), rate), params, state.previous)
        return directions, OasisState(optax.safe_increment(state.count), diagonal, previous, rate, ratio, key)

    return optax.GradientTransformationExtraArgs(init, update)


def _total(tree: PyTree) -> jax.Array:
    return sum(jax.tree.leaves(tree), start=jnp.zeros(()))


def _next_rate(rate: jax.Array, ratio: jax.Array, step: jax.Array, change: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rate and its ratio to the one before, from the squared norms of the step and of the gradient's change."""
    local = 0.5 * jnp.sqrt(step / jnp.where(change == 0, 1.0, change))
    adapted = jnp.minimum(jnp.sqrt(1.0 + ratio) * rate, local.astype(rate.dtype))
    stays = (change == 0) | (step == 0)
    return jnp.where(stays, rate, adapted), jnp.where(stays, ratio, adapted / rate)
