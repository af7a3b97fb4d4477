"""The frame of all Riemannian methods: gradient and moments in the tangent space, a step on the manifold, a new frame.

A member states how its moments advance and the direction formed from the new ones, as an elementwise transformation
does. Here are the leaves' manifolds, the metric, the step, the transport of moments, and the difference to be added.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_range
from optimizers._moments import Moments, Scalars, real_dtype
from optimizers._trees import PyTree, accumulator_dtype
from optimizers.riemannian.manifold import Manifold

Labels = Manifold | Callable[[str], Manifold] | PyTree


def _is_none(x: Any) -> bool:
    return x is None


def _is_manifold(x: Any) -> bool:
    return isinstance(x, Manifold)


def check_labels(function: str, manifold: Any) -> None:
    """Raise TypeError unless `manifold` is one, a tree of them, or a function."""
    if callable(manifold):
        return
    leaves = jax.tree.leaves(manifold, is_leaf=lambda x: x is None or _is_manifold(x))
    if not all(map(_is_manifold, leaves)):
        kinds = sorted({type(x).__name__ for x in leaves if not _is_manifold(x)})
        raise TypeError(
            f"{function}: manifold must be a Manifold, a tree of them or a function of a path, got {', '.join(kinds)}"
        )


def check_choice(function: str, name: str, value: str, allowed: tuple[str, str]) -> str:
    """Raise ValueError unless `value` is one of two words; returns it."""
    if value not in allowed:
        raise ValueError(f"{function}: {name} must be {allowed[0]!r} or {allowed[1]!r}, got {value!r}")
    return value


def _flatten(params: PyTree) -> tuple[list[tuple[Any, Any]], Any]:
    """Paths and leaves, None among them, and the structure."""
    return jax.tree_util.tree_flatten_with_path(params, is_leaf=_is_none)


def _manifolds(function: str, manifold: Labels, params: PyTree) -> list[Manifold]:
    """The manifold of each leaf that `_flatten` gives."""
    leaves, _ = _flatten(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    if not leaves:  # an empty tree, or what optax puts in its place
        return []
    found: list[Any]
    if isinstance(manifold, Manifold):
        found = [manifold] * len(leaves)
    elif callable(manifold):
        found = [manifold(path) for path in paths]
    else:
        spread = jax.tree.map(
            lambda m, below: jax.tree.map(lambda _: m, below, is_leaf=_is_none), manifold, params, is_leaf=_is_manifold
        )
        found = jax.tree.leaves(spread, is_leaf=_is_manifold)
    for path, each, (_, leaf) in zip(paths, found, leaves, strict=True):
        if not _is_manifold(each):
            raise TypeError(f"{function}: manifold({path!r}) must be a Manifold, got {type(each).__name__}")
        if leaf is not None:
            _check_leaf(function, each, path, leaf)
    return found


def _check_leaf(function: str, manifold: Manifold, path: str, leaf: Any) -> None:
    shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
    if reason := manifold.check(shape):
        raise ValueError(f"{function}: manifold {manifold.name} needs {reason}, got {list(shape)} at {path!r}")
    if not manifold.flat and dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"{function}: a point of the manifold {manifold.name} must be float32 or float64 (in 16 bits rounding "
            f"alone takes it off; see mixed_precision), got {dtype.name} at {path!r}"
        )


def on_manifolds(
    function: str,
    learning_rate: optax.ScalarOrSchedule,
    manifold: Labels,
    state_type: Any,
    *,
    tangent: tuple[str, ...] = (),
    scalar: dict[str, Any] | None = None,
    scalars: Callable[[jax.Array], Scalars],
    advance: Callable[[jax.Array, jax.Array, Moments, Scalars], Moments],
    direction: Callable[[jax.Array, Moments, Scalars], jax.Array],
    step_map: str,
    transport: str,
) -> optax.GradientTransformationExtraArgs:
    """A method of steepest descent with moments, on the manifold of each leaf.

    Args:
        function: Its name, for errors.
        learning_rate: The step size, a number, a traced scalar or a schedule.
        manifold: A `Manifold`, a tree of them that is a prefix of the parameters, or a function from path to manifold.
        state_type: NamedTuple with `count` and the names in `tangent` and `scalar`, in this order.
        tangent: Names of the moments that are tangent vectors.
        scalar: Names of the moments that are one number a point, with their initial values.
        scalars: From the number t = 1, 2, … of this step to scalars.
        advance: From the Riemannian gradient, its squared length `[..., 1]`, the old moments and the scalars to
            the new moments.
        direction: From the Riemannian gradient, the new moments and the scalars to the vector to go against.
        step_map: "exp" or "retraction".
        transport: "parallel" or "projection".

    Returns:
        The transformation; `update` needs `params`.
    """
    check_range(function, "learning_rate", learning_rate, 0.0)
    check_labels(function, manifold)
    exponential = check_choice(function, "step_map", step_map, ("exp", "retraction")) == "exp"
    parallel = check_choice(function, "transport", transport, ("parallel", "projection")) == "parallel"
    starts = {} if scalar is None else scalar
    names = (*tangent, *starts)

    def move(m: Manifold, x: jax.Array, v: jax.Array, moments: Moments) -> tuple[jax.Array, Moments]:
        """The step that ends on the manifold, and the tangent moments at its end."""
        if m.flat:
            return v, moments
        y = (m.exp if exponential else m.retraction)(x, v)
        along = parallel or not m.embedded
        carried = tuple(m.transport(x, y, u) if along else m.tangent(y, u) for u in moments[: len(tangent)])
        return y - x, (*carried, *moments[len(tangent) :])

    def init(params: PyTree) -> Any:
        leaves, treedef = _flatten(params)

        def zeros(m: Manifold, p: Any, name: str) -> Any:
            if p is None:
                return None
            zero = jnp.zeros_like(p, dtype=accumulator_dtype(jnp.result_type(p)))
            if name in tangent:
                return zero
            start = starts[name]
            return jnp.sum(jnp.real(zero), axis=tuple(range(-m.ndim, 0))) + jnp.asarray(start, jnp.real(zero).dtype)

        found = _manifolds(function, manifold, params)
        trees = [
            treedef.unflatten([zeros(m, p, name) for m, (_, p) in zip(found, leaves, strict=True)]) for name in names
        ]
        return state_type(jnp.zeros([], jnp.int32), *trees)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del extra_args
        if params is None:
            raise ValueError(f"{function}: params must be given to update, which steps from them, got None")
        count = optax.safe_increment(state.count)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        values = (rate, *scalars(count))

        def leaf(m: Manifold, p: Any, g: Any, old: Moments) -> tuple[Any, Moments]:
            if g is None or p is None:
                return None, old
            p, g = jnp.asarray(p), jnp.asarray(g)
            wide = accumulator_dtype(jnp.promote_types(p.dtype, g.dtype))
            rate, *rest = (s if isinstance(s, float) else jnp.asarray(s).astype(real_dtype(wide)) for s in values)
            x = p.astype(wide)
            gradient = m.egrad_to_rgrad(x, g.astype(wide))

            def expand(a: jax.Array) -> jax.Array:
                return a.reshape(*a.shape, *(1,) * m.ndim)

            squared = expand(m.inner(x, gradient, gradient))
            loaded = tuple(a if name in tangent else expand(a) for name, a in zip(names, old, strict=True))
            new = advance(gradient, squared, loaded, tuple(rest))
            step, new = move(m, x, -rate * direction(gradient, new, tuple(rest)), new)
            kept = tuple(a.reshape(o.shape).astype(o.dtype) for a, o in zip(new, old, strict=True))
            return step.astype(g.dtype if m.flat else p.dtype), kept

        leaves, treedef = _flatten(params)
        found = _manifolds(function, manifold, params)
        gradients = treedef.flatten_up_to(updates)
        olds = zip(*(treedef.flatten_up_to(getattr(state, name)) for name in names)) if names else [()] * len(leaves)
        done = [leaf(m, p, g, old) for m, (_, p), g, old in zip(found, leaves, gradients, olds, strict=True)]
        trees = [treedef.unflatten([new[k] for _, new in done]) for k in range(len(names))]
        return treedef.unflatten([u for u, _ in done]), state_type(count, *trees)

    return optax.GradientTransformationExtraArgs(init, update)
