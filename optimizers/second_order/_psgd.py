"""The frame of preconditioned SGD: fit Q from pairs (v, h), apply P = QᵀQ, whatever the Lie group.

Leaves of equal shape are one stack `[leaves, ...]`, on which every operation is written once: a tree of a thousand
equal leaves traces and compiles as one of a few. Q is kept in the order of the stacks, in flat arrays.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array

from optimizers._checks import check_callable, check_range, concrete
from optimizers._keys import split_data, typed_key
from optimizers._moments import MU_DTYPES, TINY, check_moment_dtype, wide_scalar, zeros_for
from optimizers._rounding import store
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.curvature import hessian_vector_product
from optimizers.second_order._psgd_math import standard_normal

FEW = 8  # up to so many leaves a stack, each is taken out by a slice of its own
Stacks = list[Array]  # one for each kind of leaf, [leaves, ...]


class PsgdState(NamedTuple):
    """State of the PSGD transformations.

    Attributes:
        count: number of updates so far, int32 `[]`.
        key: raw data of the PRNG key of the next update.
        mu: moving average of the gradients, or None.
        q: Q, as flat arrays in the group's own order.
        lipschitz: running bounds that normalise the steps of Q.
    """

    count: Array  # type: ignore[assignment]
    key: Array
    mu: PyTree
    q: tuple[Array, ...]
    lipschitz: Array


Q = tuple[Array, ...]


class LieGroup(NamedTuple):
    """How a group starts, is scaled, is fitted to a pair, and acts; every function knows the kinds of leaves.

    Attributes:
        start: from the kinds and a key to Q = I and the bounds, zeros.
        scale: from the kinds, Q and a factor to the scaled Q.
        fit: from the kinds, Q, bounds, stacks of v (or None) and h, a key, step and decay to new Q and bounds.
        apply: from the kinds, Q and stacks of a vector to the stacks of P times the vector.
        needs_v: whether `fit` needs v where h is a gradient.
        per_leaf: whether parameters have preconditioners, and are clipped, each on its own.
    """

    start: Callable[[list["Kind"], Array], tuple[Q, Array]]
    scale: Callable[[list["Kind"], Q, Array], Q]
    fit: Callable[[list["Kind"], Q, Array, Stacks | None, Stacks, Array, Any, Any], tuple[Q, Array]]
    apply: Callable[[list["Kind"], Q, Stacks], Stacks]
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


class Kind(NamedTuple):
    """Leaves of equal shape and arithmetic: their shape, dtype, and numbers in the flattened tree."""

    shape: tuple[int, ...]
    dtype: Any
    members: list[int]

    @property
    def size(self) -> int:
        """The number of entries of all of them."""
        return math.prod(self.shape) * len(self.members)


def kinds_of(leaves: list[Any]) -> list[Kind]:
    """The kinds of a tree's leaves; empty leaves are of none."""
    found: dict[Any, list[int]] = {}
    for number, leaf in enumerate(leaves):
        if leaf.size:
            found.setdefault((leaf.shape, accumulator_dtype(leaf.dtype)), []).append(number)
    return [Kind(shape, dtype, members) for (shape, dtype), members in found.items()]


def stack(kinds: list[Kind], leaves: list[Any]) -> Stacks:
    """The leaves of each kind as one array `[leaves, ...]`, in float32 or wider."""
    return [jnp.stack([leaves[i] for i in kind.members]).astype(kind.dtype) for kind in kinds]


@jax.jit
def _take(stack: Array, place: Array, count: Array) -> Array:
    # An index that XLA does not see through: with constants it compiles a program for every leaf, thus one for all.
    index = jnp.max(place + jnp.minimum(count, 0))
    return lax.dynamic_index_in_dim(stack, index, keepdims=False)


def unstack(kinds: list[Kind], stacks: Stacks, leaves: list[Any], count: Array) -> list[Any]:
    """The leaves back, in the dtypes of `leaves`, whose empty ones stay; `count` is any number of at least 0."""
    leaves = list(leaves)
    for kind, each in zip(kinds, stacks):
        few = len(kind.members) <= FEW
        for place, number in enumerate(kind.members):
            taken = each[place] if few else _take(each, np.array([place, -1], np.int32), count)
            leaves[number] = taken.astype(leaves[number].dtype)
    return leaves


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

    numbers = (
        "b1",
        "preconditioner_lr",
        "preconditioner_update_probability",
        "preconditioner_init_scale",
        "lipschitz_decay",
        "damping",
        "max_rms",
        "max_amplitude",
    )
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
        mean = jnp.sum(jnp.stack(squares)) / sum(x.size for x in stacks)
        squares = [mean] * len(stacks)
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
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(params)]
        if any(jnp.iscomplexobj(leaf) for leaf in leaves):
            raise TypeError(f"{function}: params must be real, got a complex leaf")
        key = typed_key(s.key)
        mu = None if s.b1 is None else zeros_for(params, s.mu_dtype)
        q, lipschitz = group.start(kinds_of(leaves), jax.random.fold_in(key, 1))
        return PsgdState(jnp.zeros([], jnp.int32), jax.random.key_data(key), mu, q, lipschitz)

    def product(v: Stacks, kinds: list[Kind], count: Array, params: PyTree, grad_fn: Any) -> tuple[Stacks, Stacks]:
        """v as the parameters hold it, and the Hessian times v."""
        treedef: Any
        leaves, treedef = jax.tree.flatten(params)
        as_leaves = unstack(kinds, v, [jnp.zeros_like(leaf) for leaf in leaves], count)
        h = hessian_vector_product(grad_fn, params, treedef.unflatten(as_leaves))
        return stack(kinds, as_leaves), stack(kinds, treedef.flatten_up_to(h))

    def update(
        updates: PyTree, state: PsgdState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PsgdState]:
        grad_fn = extra_args.get("grad_fn")
        if newton:
            check_callable(function, "grad_fn", grad_fn, "params -> gradient, an extra argument")
        leaves: list[Any]
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        kinds, count = kinds_of(leaves), optax.safe_increment(state.count)
        if not kinds:
            return updates, state._replace(count=count)
        gradient = stack(kinds, leaves)
        current, key_data = split_data(s.key, state.key)
        choice, first, second, fitting = jax.random.split(current, 4)

        average, mu = gradient, state.mu
        if s.b1 is not None:
            old = treedef.flatten_up_to(state.mu)
            seen = state.count.astype(jnp.result_type(float))
            b1 = jnp.minimum(seen / (seen + 1), s.b1)  # a plain mean until 1 / (1 - b1) gradients have been seen
            wide = [g.astype(accumulator_dtype(g.dtype)) for g in leaves]
            new = [b1.astype(g.dtype) * m.astype(g.dtype) + (1 - b1).astype(g.dtype) * g for g, m in zip(wide, old)]
            mu = treedef.unflatten([store(m, o.dtype, count, k) for k, (m, o) in enumerate(zip(new, old))])
            average = stack(kinds, new)

        def fit(q: Q, lipschitz: Array) -> tuple[Q, Array]:
            h = average if s.whiten_momentum else gradient
            random = _draw(first, h)
            v, noise = (random if group.needs_v else None), random
            if newton:
                v, h = product(random, kinds, count, params, grad_fn)
                noise = _draw(second, h)
            scale = s.preconditioner_init_scale
            if scale is None:
                scale = _first_scale(v if newton else None, h, s.damping)
            h = _damped(h, noise, s.damping)
            q = group.scale(kinds, q, jnp.where(state.count == 0, scale, 1.0))
            new = group.fit(kinds, q, lipschitz, v, h, fitting, s.preconditioner_lr, s.lipschitz_decay)
            cast: tuple[Q, Array] = jax.tree.map(lambda n, o: n.astype(o.dtype), new, (state.q, lipschitz))
            return cast

        if always:
            q, lipschitz = fit(state.q, state.lipschitz)
        else:
            probability = s.preconditioner_update_probability
            probability = probability(state.count) if callable(probability) else probability
            due = (state.count == 0) | (jax.random.uniform(choice) < probability)
            q, lipschitz = lax.cond(due, fit, lambda q, lipschitz: (q, lipschitz), state.q, state.lipschitz)

        direction = _clip(group.apply(kinds, q, average), s.max_rms, s.max_amplitude, group.per_leaf)
        moved = treedef.unflatten(unstack(kinds, direction, leaves, count))
        return moved, PsgdState(count, key_data, mu, q, lipschitz)

    return optax.GradientTransformationExtraArgs(init, update)
