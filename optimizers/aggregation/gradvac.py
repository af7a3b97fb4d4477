"""GradVac: task gradients less alike than they have been are turned towards each other, and added."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from optimizers._checks import check_positive_integer, check_range
from optimizers._keys import split_data, typed_key
from optimizers._trees import PyTree
from optimizers.aggregation._gramian import check_gramian, combine, gramian, nan_unless_finite, unit_gramian
from optimizers.aggregation._spectrum import rounding
from optimizers.aggregation._tasks import check_task_number


class GradVacState(NamedTuple):
    """State of `gradvac`.

    Attributes:
        key_data: the raw data of its PRNG key, as plain integers that any checkpoint format can hold.
        targets: moving averages of the cosines, `[T, T]`, or `[L, T, T]` for L leaves.
    """

    key_data: Array
    targets: Array


def gradvac_weights(
    gramian: Float[Array, "T T"], targets: Float[Array, "T T"], key: Array
) -> tuple[Float[Array, " T"], Float[Array, "T T"]]:
    r"""Weights of the task gradients in Gradient Vaccine's sum, and the cosines met on the way.

    For each task i, start from $g = g_i$ and visit the other tasks j in an order drawn uniformly for this i. Where the
    cosine $\phi$ of g and $g_j$ lies below its target $\hat\phi_{ij}$, g is turned until it has the target:

    $$
    g \leftarrow g + \frac{\lVert g \rVert \bigl(\hat\phi_{ij} \sqrt{1 - \phi^2} - \phi \sqrt{1 - \hat\phi_{ij}^2}
    \bigr)}{\lVert g_j \rVert \sqrt{1 - \hat\phi_{ij}^2}} \, g_j
    $$

    and the T results are added up. With all targets 0 these are PCGrad's weights. Every step stays in the span of the
    gradients, so it is carried out on coefficients. A vanishing gradient has no cosine and is passed over; a target so
    near 1 that rounding hides the difference counts as a little less.

    Args:
        gramian: inner products of the task gradients, `[T, T]`.
        targets: the cosines $\hat\phi$ to reach, `[T, T]`; row i holds those of task i. The diagonal is not looked at.
        key: PRNG key of the orders.

    Returns:
        Weights `[T]`, all 1 where every cosine reaches its target, NaN where the Gramian holds NaN or inf; and the
        cosines `[T, T]` before the turns, with the target itself where there is none.

    Raises:
        ValueError: a Gramian that is not square, targets of another shape.

    Examples:
        Orthogonal gradients that used to have cosine 0.6 are each turned by 37 degrees:

        >>> import jax, jax.numpy as jnp
        >>> weights, cosines = gradvac_weights(jnp.eye(2), jnp.full((2, 2), 0.6), jax.random.key(0))
        >>> weights.round(4).tolist(), cosines[0, 1].item()
        ([1.75, 1.75], 0.0)

    Source:
        Wang, Tsvetkov, Firat, Cao, "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
        Multilingual Models" (2021), Algorithm 1.
    """
    gramian = check_gramian("gradvac_weights", gramian)
    targets = jnp.asarray(targets, gramian.dtype)
    if targets.shape != gramian.shape:
        raise ValueError(f"gradvac_weights: targets must have the Gramian's shape {gramian.shape}, got {targets.shape}")
    keys = jax.random.split(key, gramian.shape[0])
    orders = jax.vmap(lambda k: jax.random.permutation(k, gramian.shape[0]))(keys)
    weights, cosines = _weights_in_order(gramian, targets, orders)
    return nan_unless_finite(gramian, weights), cosines


@jax.jit
def _weights_in_order(
    gramian: Float[Array, "T T"], targets: Float[Array, "T T"], orders: Int[Array, "T T"]
) -> tuple[Float[Array, " T"], Float[Array, "T T"]]:
    """Weights and cosines when task i visits the tasks in the order `orders[i]`, itself passed over."""
    products, norms = unit_gramian(gramian)
    vanishes = norms == 0
    lengths = norms / jnp.where(jnp.all(vanishes), 1.0, jnp.max(norms))
    limit = 1.0 - rounding(gramian)
    tasks = jnp.arange(norms.size)

    def dot(x: Array, y: Array) -> Array:
        return jnp.dot(x, y, precision=lax.Precision.HIGHEST)

    def vaccinate(task: Array, order: Array, target_row: Array) -> tuple[Array, Array]:
        def step(position: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            coefficients, met = carry  # coefficients of the gradients of unit length
            other = order[position]
            square = dot(coefficients, dot(products, coefficients))
            noise = norms.size * jnp.finfo(square.dtype).eps * jnp.sum(jnp.abs(coefficients)) ** 2
            has_cosine = (square > noise) & ~vanishes[other] & (other != task)
            length = jnp.sqrt(jnp.where(has_cosine, square, 1.0))
            cosine = jnp.clip(dot(products[other], coefficients) / length, -1.0, 1.0)
            target = jnp.clip(target_row[other], -limit, limit)
            target_sine = jnp.sqrt((1.0 - target) * (1.0 + target))
            turn = target * jnp.sqrt((1.0 - cosine) * (1.0 + cosine)) / target_sine - cosine
            added = jnp.where(has_cosine & (cosine < target), length * turn, 0.0)
            met = met.at[other].set(jnp.where(has_cosine, cosine, met[other]))
            return coefficients.at[other].add(added), met

        start = jnp.where(tasks == task, lengths, 0.0)
        return lax.fori_loop(0, tasks.size, step, (start, target_row))

    coefficients, met = jax.vmap(vaccinate)(tasks, orders, targets)
    weights = jnp.sum(coefficients, axis=0) / jnp.where(vanishes, 1.0, lengths)
    return jnp.where(vanishes, 1.0, weights), met


def gradvac(
    tasks: int, key: Array | int = 0, *, decay: Any = 0.99, per_leaf: bool = False
) -> optax.GradientTransformationExtraArgs:
    r"""Gradient Vaccine: task gradients are turned towards each other up to the cosines they usually have, and added.

    $$
    \hat\phi_{ij} \leftarrow d \, \hat\phi_{ij} + (1 - d) \, \phi_{ij}
    $$

    is the target of the cosine of tasks i and j, 0 at first, where the update is PCGrad's; see `gradvac_weights` for
    the rest. Turns updates of leaves `[T, ...]`, the stacked gradients of T tasks, into one update of leaves `[...]` in
    the same dtype. It works on the Gramian, accumulated in float32 or wider; a gradient with NaN or inf gives NaN and
    leaves the targets as they were.

    Args:
        tasks: the number of tasks T.
        key: seed or PRNG key of the random orders; the state advances it at each update.
        decay: decay d of the moving average, in [0, 1]; 1 minus the paper's beta.
        per_leaf: a Gramian, targets and weights for each leaf of the tree, as the paper does for each layer, instead of
            those of the whole model; the tasks are visited in the same order in all leaves.

    Returns:
        An `optax.GradientTransformationExtraArgs`, the first link of a chain.

    Raises:
        TypeError: a number of tasks that is not an integer.
        ValueError: no tasks, a decay out of range; from the update, leaves without a leading task axis, or with another
            number of tasks.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> tx = optax.chain(gradvac(2), optax.sgd(1.0))
        >>> params = jnp.zeros(2)
        >>> updates, state = tx.update(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), tx.init(params), params)
        >>> [round(float(u), 3) for u in updates], round(float(state[0].targets[0, 1]), 5)
        ([-0.5, -1.5], -0.00707)

    Source:
        Wang, Tsvetkov, Firat, Cao, "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
        Multilingual Models" (2021).
    """
    tasks = check_positive_integer("gradvac", "tasks", tasks)
    check_range("gradvac", "decay", decay, 0.0, 1.0)

    def init(params: PyTree) -> GradVacState:
        groups = (len(jax.tree.leaves(params)),) if per_leaf else ()
        return GradVacState(jax.random.key_data(typed_key(key)), jnp.zeros((*groups, tasks, tasks)))

    def update(
        updates: PyTree, state: GradVacState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, GradVacState]:
        del params, extra_args
        if check_task_number("gradvac", tasks, updates) is None:
            return updates, state
        current, following = split_data(key, state.key_data)
        if per_leaf:
            leaves, structure = jax.tree.flatten(updates)
            products = jnp.stack([gramian(leaf) for leaf in leaves])
            weights, met = jax.vmap(gradvac_weights, in_axes=(0, 0, None))(products, state.targets, current)
            combined = jax.tree.unflatten(structure, list(map(combine, weights, leaves)))
        else:
            weights, met = gradvac_weights(gramian(updates), state.targets, current)
            combined = combine(weights, updates)
        targets = decay * state.targets + (1.0 - decay) * met
        return combined, GradVacState(following, targets.astype(state.targets.dtype))

    return optax.GradientTransformationExtraArgs(init, update)
