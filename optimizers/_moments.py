"""The frame all elementwise transformations share: moments of the gradient, advanced and read in place.

A member of a family states three things: the scalars of step t (bias corrections, mixing weights), how the moments
advance, and the direction formed from the *new* moments. Everything else is here: dtypes, storage, None leaves, state.
Reading the new moments is what keeps the update free of temporaries: the old ones' buffers are donated to them, so
reading the old ones costs a copy of the tree.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from optimizers._checks import check_range
from optimizers._rounding import store
from optimizers._trees import PyTree, accumulator_dtype, cast, wide

TINY = float(jnp.finfo(jnp.float32).tiny)  # added to a denominator: changes nothing but 0/0, which becomes 0

# Solving an average for its old value divides rounding errors by the decay; below this the definition is evaluated.
SMALLEST_INVERTIBLE_DECAY = 0.1

Moments = tuple[jax.Array, ...]
Scalars = tuple[Any, ...]
# What `advance` returns: each new moment, or a function to it from the new moments before it, as stored.
Advanced = tuple[Any, ...]


def real_dtype(dtype: Any) -> Any:
    """The dtype of the absolute value: float32 for complex64, a real dtype itself."""
    return jnp.finfo(dtype).dtype


def check_moment_dtype(function: str, name: str, dtype: Any, allowed: tuple[Any, ...]) -> Any:
    """Raise TypeError unless `dtype` is None or one of `allowed`; returns it as a dtype."""
    if dtype is None:
        return None
    try:
        found = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"{function}: {name} must be a dtype or None, got {dtype!r}") from error
    if found not in [jnp.dtype(each) for each in allowed]:
        names = ", ".join(jnp.dtype(each).name for each in allowed)
        raise TypeError(f"{function}: {name} must be None or one of {names}, got {found.name}")
    return found


MU_DTYPES = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)
NU_DTYPES = (jnp.bfloat16, jnp.float32, jnp.float64)  # float16 loses squares below 6e-8: the step would explode


def zeros_for(params: PyTree, dtype: Any = None, *, real: bool = False) -> PyTree:
    """Zero moments: float32 or wider, or `dtype` for real leaves; complex leaves stay complex unless `real`."""

    def leaf(p: Any) -> jax.Array:
        wide = accumulator_dtype(jnp.result_type(p))
        if real:
            wide = real_dtype(wide)
        if dtype is not None:
            wide = jnp.promote_types(dtype, jnp.complex64) if jnp.issubdtype(wide, jnp.complexfloating) else dtype
        return jnp.zeros_like(p, dtype=jax.dtypes.canonicalize_dtype(wide))

    return jax.tree.map(leaf, params)


def bias_correction(decay: Any, step: jax.Array) -> Any:
    """1 - decay**step without the cancellation that costs float32 half its digits; NaN for an array of 1 or more."""
    step = step.astype(jnp.result_type(float))  # strongly typed, so that a float32 schedule does not narrow float64
    if isinstance(decay, int | float):
        return -jnp.expm1(step * (math.log(decay) if decay > 0 else -math.inf))
    decay = jnp.asarray(decay)
    decay = decay.astype(accumulator_dtype(decay.dtype))
    return jnp.where(decay < 1, -jnp.expm1(step * jnp.log(decay)), jnp.nan)


def wide_scalar(value: Any) -> Any:
    """A hyperparameter for arithmetic: Python numbers as they are, arrays in float32 or wider."""
    if isinstance(value, int | float):
        return float(value)
    value = jnp.asarray(value)
    return value.astype(accumulator_dtype(value.dtype))


def at_count(value: Any, state: Any) -> Any:
    """A hyperparameter for arithmetic, where it is a schedule its value at the number of updates already made."""
    return wide_scalar(value(state.count) if callable(value) else value)


def square(g: jax.Array) -> jax.Array:
    """The squared absolute value of each element."""
    return jnp.real(g) ** 2 + jnp.imag(g) ** 2 if jnp.iscomplexobj(g) else g * g


def after(x: jax.Array, *done: jax.Array) -> jax.Array:
    """`x` once `done` are there (NaN where one of them is NaN): what is made of `x` may overwrite what they read.

    The compiler keeps a copy of a donated moment that one value reads while another replaces it, unless the second
    depends on the first.
    """
    for other in done:
        x = lax.select(jnp.broadcast_to(other != other, x.shape), lax.full_like(x, jnp.nan), x)
    return x


def reread(*arrays: Any) -> tuple[Any, ...]:
    """The same arrays (or trees of them), to make of them again what something else is made of, too.

    XLA's CPU compiler writes out what two sums, or a sum and the update, have in common. What is made of these it keeps
    apart and makes once more, unless it is made of the very same arrays, read again.
    """
    return lax.optimization_barrier(arrays)


def average(decay: Any, growth: Any, old: jax.Array, x: jax.Array) -> jax.Array:
    """A moving average, or any other sum of the old value and the new one."""
    return decay * old + growth * x


def root_scalars(b2: Any, eps: Any, eps_root: Any, step: jax.Array) -> tuple[Any, Any, Any]:
    """√B, eps √B and eps_root B for B = 1 - b2**t: a second moment's bias correction, moved out of the elements."""
    correction = bias_correction(b2, step)
    root = jnp.sqrt(correction)
    return root, eps * root + TINY, 0.0 if isinstance(eps_root, float) and eps_root == 0.0 else eps_root * correction


def first_moment(dtype: Any) -> Callable[[PyTree], PyTree]:
    """Zeros of the parameters' shapes."""
    return lambda params: zeros_for(params, dtype)


def second_moment(dtype: Any) -> Callable[[PyTree], PyTree]:
    """Real zeros of the parameters' shapes."""
    return lambda params: zeros_for(params, dtype, real=True)


def check_decays(function: str, eps: Any, eps_root: Any = 0.0, **decays: Any) -> None:
    """Raise where a decay lies outside [0, 1), or an epsilon below 0."""
    for name, decay in decays.items():
        check_range(function, name, decay, 0.0, 1.0, open_high=True)
    check_range(function, "eps", eps, 0.0)
    check_range(function, "eps_root", eps_root, 0.0)


def check_descent(function: str, learning_rate: Any, weight_decay: Any = 0.0) -> None:
    """Raise where the learning rate or the decay is negative."""
    check_range(function, "learning_rate", learning_rate, 0.0)
    check_range(function, "weight_decay", weight_decay, 0.0)


def _cast_scalars(scalars: Scalars, dtype: Any) -> Scalars:
    return tuple(s if isinstance(s, float) else jnp.asarray(s).astype(real_dtype(dtype)) for s in scalars)


def _is_none(x: Any) -> bool:
    return x is None


def elementwise(
    state_type: Any,
    moments: dict[str, Callable[[PyTree], PyTree]],
    scalars: Callable[[Any, jax.Array], Scalars],
    advance: Callable[[jax.Array, Moments, Scalars], Advanced],
    direction: Callable[[jax.Array, Moments, Moments, Scalars], jax.Array],
) -> optax.GradientTransformationExtraArgs:
    """A transformation that treats every element alike.

    Args:
        state_type: NamedTuple; its fields are the names of `moments` and int32 step counters, the first of them
            `count`.
        moments: Name to the function from parameters to initial moments.
        scalars: From the old state and the number t = 1, 2, … of this step to scalars.
        advance: From the gradient, the old moments and the scalars to the new moments. In the place of a moment there
            may be a function to it from the new moments before it, as they are stored.
        direction: From the gradient, the new moments as stored, the old moments and the scalars to the update. A
            direction that reads the old moments costs a copy of them.

    Returns:
        The transformation; arithmetic in float32 or wider, updates in the dtype of the gradient.
    """
    return tensorwise(
        state_type,
        moments,
        scalars,
        lambda g, p, old, s: advance(g, old, s),
        lambda g, p, new, old, s: direction(g, new, old, s),
    )


def tensorwise(
    state_type: Any,
    moments: dict[str, Callable[[PyTree], PyTree]],
    scalars: Callable[[Any, jax.Array], Scalars],
    advance: Callable[[jax.Array, Any, Moments, Scalars], Advanced],
    direction: Callable[[jax.Array, Any, Moments, Moments, Scalars], jax.Array],
    *,
    needs_params: str | None = None,
    masks: tuple[Any, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """A transformation of one tensor at a time: `elementwise` whose functions see the whole tensor, and its parameter.

    Args:
        state_type: As for `elementwise`.
        moments: As for `elementwise`; a moment may have any shape, or be None where a tensor has none of that name.
        scalars: As for `elementwise`.
        advance: As for `elementwise`, with the parameter (None where `update` got none) behind the gradient.
        direction: Likewise.
        needs_params: Name of the function that `update` names where it lacks the parameters; None where it can.
        masks: Trees of bools, prefixes of the parameters, or functions from parameters to one; None is True. What each
            says of a tensor, 1.0 or 0.0, comes first among the tensor's scalars.

    Returns:
        The transformation; arithmetic in float32 or wider, updates in the dtype of the gradient.
    """
    names = tuple(moments)
    counters = tuple(field for field in state_type._fields if field not in moments)

    def init(params: PyTree) -> Any:
        zeros = {name: jnp.zeros([], jnp.int32) for name in counters}
        return state_type(**zeros, **{name: start(params) for name, start in moments.items()})

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        del extra_args
        if params is None and needs_params is not None:
            raise ValueError(f"{needs_params}: update needs params, got None")
        counts = {name: optax.safe_increment(getattr(state, name)) for name in counters}
        step = counts["count"]
        values = scalars(state, step)
        of_dtype = functools.cache(lambda dtype: _cast_scalars(values, dtype))

        def leaf(number: int, g: Any, p: Any, old: tuple[Any, ...], on: Scalars) -> tuple[Any, tuple[Any, ...]]:
            if g is None:
                return None, old
            g = jnp.asarray(g)
            dtype = jnp.result_type(accumulator_dtype(g.dtype), *(m for m in old if m is not None))
            v = (*on, *of_dtype(dtype))
            real = real_dtype(dtype)
            g_wide = cast(g, dtype)
            p_wide = None if p is None else cast(jnp.asarray(p), dtype)

            def load(m: Any) -> Any:
                return m if m is None else cast(m, dtype if jnp.iscomplexobj(m) else real)

            loaded = tuple(load(m) for m in old)
            new: tuple[Any, ...] = ()
            read: tuple[Any, ...] = ()
            for k, (m, o) in enumerate(zip(advance(g_wide, p_wide, loaded, v), old, strict=True)):
                moment = m(*read) if callable(m) else m
                new += (None if o is None else store(moment, o.dtype, step, number * len(names) + k),)
                read += (load(new[k]),)
            return cast(direction(g_wide, p_wide, read, loaded, v), g.dtype), new

        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(updates, is_leaf=_is_none)

        def together(trees: Any) -> Any:
            return list(zip(*map(treedef.flatten_up_to, trees), strict=True)) or [()] * len(leaves)

        given = [None] * len(leaves) if params is None else treedef.flatten_up_to(params)
        olds, ons = together(getattr(state, name) for name in names), together(switches(m, params) for m in masks)
        done = [leaf(k, *each) for k, each in enumerate(zip(leaves, given, olds, ons, strict=True))]
        trees = {name: treedef.unflatten([new[k] for _, new in done]) for k, name in enumerate(names)}
        return treedef.unflatten([u for u, _ in done]), state_type(**counts, **trees)

    return optax.GradientTransformationExtraArgs(init, update)


def switches(mask: Any, params: PyTree) -> PyTree:
    """1.0 or 0.0 for each parameter: what the mask says of it, or of a tree it is part of."""
    mask = mask(params) if callable(mask) else True if mask is None else mask
    return jax.tree.map(lambda on, part: jax.tree.map(lambda _: 1.0 if on else 0.0, part), mask, params)


def _widen(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: wide(jnp.asarray(x)), tree)


def descend(
    directions: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
    *,
    decouple_lr: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Optax's chain of direction, decay and learning rate, run in float32 or wider and rounded once, at the end."""
    rate = optax.scale_by_learning_rate(learning_rate)
    if weight_decay is None:
        chain = optax.chain(directions, rate)
    elif decouple_lr:
        decay = (lambda count: -weight_decay(count)) if callable(weight_decay) else -weight_decay
        chain = optax.chain(directions, rate, optax.add_decayed_weights(decay, mask))
    else:
        chain = optax.chain(directions, optax.add_decayed_weights(weight_decay, mask), rate)

    def update(updates: PyTree, state: Any, params: PyTree | None = None, **extra_args: Any) -> tuple[PyTree, Any]:
        moved, state = chain.update(_widen(updates), state, _widen(params), **extra_args)
        return jax.tree.map(lambda u, g: cast(u, jnp.result_type(g)), moved, updates), state

    return optax.GradientTransformationExtraArgs(chain.init, update)
