"""The frame of preconditioned SGD: fit Q from pairs (v, h), apply P = QᵀQ, whatever the Lie group.

Leaves of equal shape are one stack `[leaves, ...]`, on which every operation is written once: a tree of a thousand equal
leaves traces and compiles as one of a few. The state is laid out as the parameters are, leaf by leaf.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array

from optimizers._checks import check_callable, check_range, concrete
from optimizers._keys import split_data, typed_key
from optimizers._moments import MU_DTYPES, TINY, check_moment_dtype, wide_scalar, zeros_for
from optimizers._rounding import store
from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.curvature import hessian_vector_product
from optimizers.second_order._psgd_math import standard_normal

Stacks = list[Any]  # one entry for each kind of leaf, its arrays [leaves, ...]


class PsgdState(NamedTuple):
    """State of the PSGD transformations.

    Attributes:
        count: number of updates so far, int32 `[]`.
        key: raw data of the PRNG key of the next update.
        mu: moving average of the gradients, or None.
        q: for each parameter, its part of Q.
        lipschitz: running bounds that normalise the steps of a Q shared by all parameters.
    """

    count: Array
    key: Array
    mu: PyTree
    q: PyTree
    lipschitz: Array


class LieGroup(NamedTuple):
    """How a group starts, is scaled, is fitted to a pair, and acts.

    Attributes:
        start: from the leaves and a key to the parts of Q = I, one a leaf, and the shared bounds.
        scale: from stacks of Q and a factor to those of the scaled Q.
        fit: from stacks of Q, bounds, stacks of v (or None) and h, a key, step and decay to new stacks and bounds.
        apply: from stacks of Q and of a vector to P times the vector.
        needs_v: whether `fit` needs v where h is a gradient.
        per_leaf: whether parameters have preconditioners, and are clipped, each on its own.
    """

    start: Callable[[list[Array], Array], tuple[list[Any], Array]]
    scale: Callable[[Stacks, Array], Stacks]
    fit: Callable[[Stacks, Array, Stacks | None, Stacks, Array, Any, Any], tuple[Stacks, Array]]
    apply: Callable[[Stacks, Stacks], Stacks]
    needs_v: bool = True
    per_leaf: bool = False


class Settings(NamedTuple):
    """The arguments that all PSGD transformations share, see `psgd_kron`."""

    b1: Any
    mode: Literal["whitening", "newton"]
    preconditioner_lr: Any
    preconditioner_update_probability: Any
    preconditioner_init_scale: Any
    lipschitz_decay: Any
    damping: Any
    max_rms: Any
    max_amplitude: Any
    whiten_momentum: bool
    mu_dtype: Any
    key: Any


class Packing:
    """Which leaves of a tree share a stack: those of equal shape and arithmetic; empty ones are in none."""

    def __init__(self, leaves: list[Array]) -> None:
        kinds: dict[Any, list[int]] = {}
        for number, leaf in enumerate(leaves):
            if leaf.size:
                kinds.setdefault((leaf.shape, accumulator_dtype(leaf.dtype)), []).append(number)
        self.members = list(kinds.values())

    def stack(self, parts: list[Any]) -> Stacks:
        """Stacks from one part (an array, or a tree of them) for each leaf."""
        return [jax.tree.map(lambda *x: jnp.stack(x), *(parts[i] for i in each)) for each in self.members]

    def unstack(self, stacks: Stacks, parts: list[Any]) -> list[Any]:
        """The parts back, those of empty leaves as they are in `parts`."""
        parts = list(parts)
        for each, stack in zip(self.members, stacks):
            for place, number in enumerate(each):
                parts[number] = jax.tree.map(lambda x, place=place: x[place], stack)
        return parts


def check_settings(function: str, settings: Settings) -> Settings:
    """Raise where a hyperparameter is out of range; arrays among them become wide."""
    s = settings
    check_range(function, "b1", s.b1, 0.0, 1.0, open_high=True)
    check_range(function, "preconditioner_lr", s.preconditioner_lr, 0.0, 1.0)
    check_range(function, "preconditioner_update_probability", s.preconditioner_update_probability, 0.0, 1.0)
    check_range(function, "preconditioner_init_scale", s.preconditioner_init_scale, 0.0, open_low=True)
    check_range(function, "lipschitz_decay", s.lipschitz_decay, 0.0, 1.0, open_high=True)
    check_range(function, "damping", s.damping, 0.0)
    check_range(function, "max_rms", s.max_rms, 0.0, open_low=True)
    check_range(function, "max_amplitude", s.max_amplitude, 0.0, open_low=True)
    if s.mode not in ("whitening", "newton"):
        raise ValueError(f"{function}: mode must be 'whitening' or 'newton', got {s.mode!r}")
    if s.whiten_momentum and (s.b1 is None or s.mode == "newton"):
        raise ValueError(
            f"{function}: whiten_momentum needs a momentum and mode 'whitening', got b1={s.b1}, mode={s.mode!r}"
        )

    def widened(value: Any) -> Any:
        return value if value is None or callable(value) else wide_scalar(value)

    numbers = ("b1", "preconditioner_lr", "preconditioner_update_probability", "preconditioner_init_scale")
    numbers += ("lipschitz_decay", "damping", "max_rms", "max_amplitude")
    return s._replace(
        mu_dtype=check_moment_dtype(function, "mu_dtype", s.mu_dtype, MU_DTYPES),
        **{name: widened(getattr(s, name)) for name in numbers},
    )


def _square_mean(x: Array, per_leaf: bool) -> Array:
    return jnp.mean(x * x, axis=tuple(range(1, x.ndim)), keepdims=True) if per_leaf else jnp.sum(x * x)


def _clip(stacks: Stacks, max_rms: Any, max_amplitude: Any, per_leaf: bool) -> Stacks:
    """Root mean squares of at most `max_rms`, of each leaf or of all, and then entries of at most `max_amplitude`."""
    squares = [_square_mean(x, per_leaf) for x in stacks]
    if not per_leaf and stacks:
        squares = [sum(squares) / sum(x.size for x in stacks)] * len(stacks)
    clipped = [
        x * jnp.minimum(1.0, max_rms / (jnp.sqrt(square) + TINY)).astype(x.dtype) for x, square in zip(stacks, squares)
    ]
    return [jnp.clip(x, -max_amplitude, max_amplitude).astype(x.dtype) for x in clipped]


def _draw(key: Array, stacks: Stacks) -> Stacks:
    keys = jax.random.split(key, len(stacks) or 1)
    return [standard_normal(k, x) for k, x in zip(keys, stacks)]


def _damped(h: Stacks, noise: Stacks, damping: Any) -> Stacks:
    """h with noise that bounds P by 1 / damping, and that covers the rounding of h."""
    return [x + (damping + jnp.finfo(x.dtype).eps * jnp.abs(x)).astype(x.dtype) * n for x, n in zip(h, noise)]


def _first_scale(v: Stacks | None, h: Stacks, damping: Any) -> Array:
    """The scale of Q that the first pair asks for: (E v²)^¼ (max E h⁴)^-⅛."""
    axes = [tuple(range(1, x.ndim)) for x in h]
    fourth = [jnp.max(jnp.mean(jnp.abs(x) ** 4, axis=a)) for x, a in zip(h, axes)]
    scale = (jnp.max(jnp.stack(fourth)) + damping**4) ** (-1 / 8)
    if v is None:
        return scale
    return scale * (sum(jnp.sum(x * x) for x in v) / sum(x.size for x in v)) ** 0.25


def scale_by_group(function: str, group: LieGroup, settings: Settings) -> optax.GradientTransformationExtraArgs:
    """The transformation of one group: average, fit, apply, clip."""
    s = check_settings(function, settings)
    newton = s.mode == "newton"
    always = not callable(s.preconditioner_update_probability) and concrete(s.preconditioner_update_probability) == 1.0

    def init(params: PyTree) -> PsgdState:
        leaves: list[Any]
        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        if any(jnp.iscomplexobj(leaf) for leaf in leaves):
            raise TypeError(f"{function}: params must be real, got a complex leaf")
        key = typed_key(s.key)
        parts, lipschitz = group.start([jnp.asarray(leaf) for leaf in leaves], jax.random.fold_in(key, 1))
        mu = None if s.b1 is None else zeros_for(params, s.mu_dtype)
        return PsgdState(jnp.zeros([], jnp.int32), jax.random.key_data(key), mu, treedef.unflatten(parts), lipschitz)

    def pairs(
        key: Array, h: Stacks, packing: Packing, treedef: Any, params: PyTree, grad_fn: Any
    ) -> tuple[Stacks, Stacks]:
        """Vectors v and products h: the Hessian's, or the gradients themselves beside independent v."""
        first, second = jax.random.split(key)
        v = _draw(first, h)
        if not newton:
            return v, _damped(h, v, s.damping)
        zeros = [jnp.zeros_like(leaf) for leaf in treedef.flatten_up_to(params)]
        as_leaves = [x.astype(z.dtype) for x, z in zip(packing.unstack(v, zeros), zeros)]
        product = hessian_vector_product(grad_fn, params, treedef.unflatten(as_leaves))
        v = packing.stack([wide(x) for x in as_leaves])
        h = packing.stack([wide(x) for x in treedef.flatten_up_to(product)])
        return v, _damped(h, _draw(second, h), s.damping)

    def update(
        updates: PyTree, state: PsgdState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PsgdState]:
        if newton:
            check_callable(function, "grad_fn", extra_args.get("grad_fn"), "params -> gradient, an extra argument")
        leaves: list[Any]
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        packing = Packing(leaves)
        if not packing.members:
            return updates, state._replace(count=optax.safe_increment(state.count))
        gradient = packing.stack([wide(leaf) for leaf in leaves])
        current, key_data = split_data(s.key, state.key)
        choice, drawing, fitting = jax.random.split(current, 3)

        average, mu = gradient, state.mu
        if s.b1 is not None:
            old = treedef.flatten_up_to(state.mu)
            seen = state.count.astype(jnp.result_type(float))
            b1 = jnp.minimum(seen / (seen + 1), s.b1)  # a plain mean until 1 / (1 - b1) gradients have been seen
            average = [
                (b1.astype(g.dtype) * m.astype(g.dtype) + (1 - b1).astype(g.dtype) * g)
                for g, m in zip(gradient, packing.stack(old))
            ]
            new = packing.unstack(average, old)
            step = optax.safe_increment(state.count)
            mu = treedef.unflatten([store(m, o.dtype, step, number) for number, (m, o) in enumerate(zip(new, old))])

        parts = treedef.flatten_up_to(state.q)

        def fit(q: Stacks, lipschitz: Array) -> tuple[Stacks, Array]:
            seen = average if s.whiten_momentum else gradient
            v, h = pairs(drawing, seen, packing, treedef, params, grad_fn)
            scale = s.preconditioner_init_scale
            if scale is None:
                scale = _first_scale(v, h, s.damping) if newton else _first_scale(None, seen, s.damping)
            q = group.scale(q, jnp.where(state.count == 0, scale, 1.0))
            drawn = v if newton or group.needs_v else None
            new_q, new_lipschitz = group.fit(q, lipschitz, drawn, h, fitting, s.preconditioner_lr, s.lipschitz_decay)
            cast = jax.tree.map(lambda n, o: n.astype(o.dtype), (new_q, new_lipschitz), (q, lipschitz))
            return cast  # type: ignore[no-any-return]

        grad_fn = extra_args.get("grad_fn")
        q = packing.stack(parts)
        if always:
            q, lipschitz = fit(q, state.lipschitz)
        else:
            probability = s.preconditioner_update_probability
            probability = probability(state.count) if callable(probability) else probability
            due = (state.count == 0) | (jax.random.uniform(choice) < probability)
            q, lipschitz = lax.cond(due, fit, lambda q, lipschitz: (q, lipschitz), q, state.lipschitz)

        direction = _clip(group.apply(q, average), s.max_rms, s.max_amplitude, group.per_leaf)
        moved = [x.astype(leaf.dtype) for x, leaf in zip(packing.unstack(direction, leaves), leaves)]
        new_state = PsgdState(
            optax.safe_increment(state.count), key_data, mu, treedef.unflatten(packing.unstack(q, parts)), lipschitz
        )
        return treedef.unflatten(moved), new_state

    return optax.GradientTransformationExtraArgs(init, update)
