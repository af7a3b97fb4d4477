"""Schedule-free learning: an average of the iterates in place of a schedule, at the cost of no memory beside it.

Three sequences: the base optimizer moves z, x is the average of all z, and gradients are taken in between, at

    y = (1 - b1) z + b1 x,

which are the parameters that the caller holds. With the update u of the base optimizer and the share c of the new z in
the average,

    z' = z + u,    x' = (1 - c) x + c z',    y' - y = c (z' - y) + (1 - c) (1 - b1) u,

the last of which reads the new z: no x is formed, nothing is divided by b1, and the old z can be overwritten.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optimizers._checks import check_positive_integer, check_range
from optimizers._moments import (
    MU_DTYPES,
    Moments,
    Scalars,
    average,
    check_decays,
    check_descent,
    check_moment_dtype,
    descend,
    elementwise,
    real_dtype,
    reread,
    root_scalars,
    second_moment,
    square,
    wide_scalar,
)
from optimizers._rounding import store
from optimizers._trees import PyTree, accumulator_dtype, wide
from optimizers.wrappers._inner import check_given, check_transformation


class SecondMomentState(NamedTuple):
    """The number of updates, and the moving average of the squared gradient."""

    count: jax.Array  # type: ignore[assignment]
    nu: PyTree


def _schedule_free(
    function: str,
    base: optax.GradientTransformationExtraArgs,
    learning_rate: Any,
    b1: Any,
    weight_lr_power: Any,
    state_dtype: Any,
    once_more: optax.GradientTransformationExtraArgs | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Schedule-free learning.

    Both z and y move by the step, which the compiler writes out for the two of them, where the gradient lies or, if the
    caller keeps that, elsewhere. `once_more` computes it again: a chain as long as `base` and with such a state, of
    which the first link finds its moments advanced already.
    """
    check_range(function, "b1", b1, 0.0, 1.0, open_low=True)
    check_range(function, "weight_lr_power", weight_lr_power, 0.0)
    state_dtype = check_moment_dtype(function, "state_dtype", state_dtype, MU_DTYPES)
    b1, power = wide_scalar(b1), wide_scalar(weight_lr_power)

    def scalar_dtype(params: PyTree) -> Any:
        return real_dtype(jnp.result_type(jnp.float32, *map(jnp.result_type, jax.tree.leaves(params))))

    def init(params: PyTree) -> optax.contrib.ScheduleFreeState:
        dtype = scalar_dtype(params)

        def start(p: Any) -> jax.Array:
            p = jnp.array(p)
            return p.astype(accumulator_dtype(p.dtype) if state_dtype is None or jnp.iscomplexobj(p) else state_dtype)

        return optax.contrib.ScheduleFreeState(
            b1=jnp.asarray(b1, dtype),
            weight_sum=jnp.zeros([], dtype),
            step_count=jnp.ones([], jnp.int32),
            max_lr=jnp.zeros([], dtype),
            base_optimizer_state=base.init(params),
            z=jax.tree.map(start, params),
        )

    def update(
        updates: PyTree, state: optax.contrib.ScheduleFreeState, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, optax.contrib.ScheduleFreeState]:
        params = check_given(function, "params", params)
        step, dtype = state.step_count, state.max_lr.dtype
        rate = learning_rate(step - 1) if callable(learning_rate) else learning_rate
        max_lr = jnp.maximum(state.max_lr, jnp.asarray(rate).astype(dtype))
        weight = max_lr ** jnp.asarray(power).astype(dtype)
        weight_sum = state.weight_sum + weight
        share = jnp.where(weight_sum == 0, 0, weight / jnp.where(weight_sum == 0, 1, weight_sum))
        pull = (1 - share) * (1 - b1)

        def widen(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: wide(jnp.asarray(x)), tree)

        wide_params = widen(params)
        steps, base_state = base.update(widen(updates), state.base_optimizer_state, wide_params, **extra_args)
        treedef: Any  # opaque to the type checker
        leaves, treedef = jax.tree.flatten(steps)
        olds = treedef.flatten_up_to(state.z)
        z = [store(wide(old).astype(u.dtype) + u, old.dtype, step, k) for k, (u, old) in enumerate(zip(leaves, olds))]

        def leaf(u: jax.Array, new: jax.Array, y: jax.Array, g: Any) -> jax.Array:
            c, on_u = (jnp.asarray(s).astype(real_dtype(u.dtype)) for s in (share, pull))
            return (c * (wide(new) - y) + on_u * u).astype(jnp.result_type(g))

        if once_more is not None:
            seen = (base_state[0], *state.base_optimizer_state[1:])
            steps, _ = once_more.update(*reread(widen(updates), seen, wide_params))
        moved = jax.tree.map(leaf, steps, treedef.unflatten(z), wide_params, updates)
        return moved, optax.contrib.ScheduleFreeState(
            b1=jnp.asarray(b1).astype(dtype),
            weight_sum=weight_sum,
            step_count=optax.safe_increment(step),
            max_lr=max_lr,
            base_optimizer_state=base_state,
            z=treedef.unflatten(z),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def schedule_free(
    base_optimizer: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    weight_lr_power: jax.typing.ArrayLike = 2.0,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace the momentum and the learning-rate schedule of an optimizer by an average of its iterates.

    $$z_{t+1} = z_t + u_t, \quad x_{t+1} = (1 - c_t)\, x_t + c_t z_{t+1}, \quad
    y_{t+1} = (1 - \beta_1)\, z_{t+1} + \beta_1 x_{t+1}, \qquad
    c_t = \frac{w_t}{\sum_{i \le t} w_i}, \quad w_t = \Big(\max_{i \le t} \eta_i\Big)^{p}$$

    u_t is the update of `base_optimizer` for the gradient at y_t; y are the parameters that train, and x, by
    `averaged_params(state, params)`, those to evaluate and to keep. The base optimizer should have no momentum of its
    own (b1 = 0), and a learning rate that is constant after a warm-up.

    Equal to `optax.contrib.schedule_free`, state included, and beyond it: z and the scalars are float32 or wider
    whatever the dtype of the parameters; no copy of x is made on the way; and a schedule weighs the average by the rate
    that this step is taken with, as the authors' code does, where Optax takes that of the next. Keep 16-bit parameters
    for the forward pass, not here: y itself is the running average.

    Args:
        base_optimizer: The transformation that gives u_t, learning rate included.
        learning_rate: The learning rate of `base_optimizer`, at least 0: a number, a traced scalar or a schedule. It
            enters the weights of the average alone.
        b1: Weight β1 of the average in y, in (0, 1].
        weight_lr_power: Power p, at least 0.
        state_dtype: dtype of z; None means float32, or the parameters' dtype where that is wider. bfloat16 and float16
            are rounded stochastically.

    Returns:
        An Optax transformation with the state of Optax's; `update` needs `params`.

    Raises:
        ValueError: A concrete hyperparameter is out of range, or `update` gets no `params`.
        TypeError: `base_optimizer` is no transformation, or `state_dtype` no floating-point dtype.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import averaged_params
        >>> params, tx = jnp.array([1.0, -2.0]), schedule_free(optax.sgd(0.2), 0.2)
        >>> state = tx.init(params)
        >>> for _ in range(5):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(averaged_params(state, params) ** 2):.4f}")
        0.2363

    Source:
        A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less Scheduled", 2024.
    """
    base = check_transformation("schedule_free", "base_optimizer", base_optimizer)
    check_range("schedule_free", "learning_rate", learning_rate, 0.0)
    return _schedule_free("schedule_free", base, learning_rate, b1, weight_lr_power, state_dtype)


def _warmed_up(function: str, learning_rate: Any, warmup_steps: int | None) -> Any:
    if warmup_steps is None:
        return learning_rate
    steps = check_positive_integer(function, "warmup_steps", warmup_steps)

    def schedule(count: jax.Array) -> jax.Array:
        rate = learning_rate(count) if callable(learning_rate) else learning_rate
        return rate * jnp.minimum((jnp.asarray(count, float) + 1) / steps, 1.0)

    return schedule


def schedule_free_sgd(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    warmup_steps: int | None = None,
    b1: jax.typing.ArrayLike = 0.9,
    weight_decay: optax.ScalarOrSchedule | None = None,
    weight_lr_power: jax.typing.ArrayLike = 2.0,
    state_dtype: Any = None,
    *,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Schedule-free SGD: `schedule_free` around gradient descent.

    $$u_t = -\eta_t \left( \nabla f(y_t) + \lambda y_t \right), \qquad
    \eta_t = \eta \min(1, t / T), \quad t = 1, 2, \dots$$

    The warm-up is the authors', whose first step is taken with η / T; Optax's first learning rate is 0.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or a schedule. Larger than SGD's with a
            schedule would be.
        warmup_steps: Length T of the linear warm-up, at least 1; None for none.
        b1: Weight of the average in the parameters that train, in (0, 1].
        weight_decay: Decay rate λ, at least 0, taken at y: a number, a traced scalar or a schedule.
        weight_lr_power: See `schedule_free`.
        state_dtype: See `schedule_free`.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `averaged_params` gives the parameters to evaluate.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `warmup_steps` is no integer, or `state_dtype` no floating-point dtype.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import averaged_params
        >>> params, tx = jnp.array([1.0, -2.0]), schedule_free_sgd(0.2, warmup_steps=2)
        >>> state = tx.init(params)
        >>> for _ in range(5):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(averaged_params(state, params) ** 2):.4f}")
        0.2943

    Source:
        A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less Scheduled", 2024.
    """
    check_descent("schedule_free_sgd", learning_rate, weight_decay)
    rate = _warmed_up("schedule_free_sgd", learning_rate, warmup_steps)
    base = descend(optax.identity(), rate, weight_decay, mask)
    return _schedule_free("schedule_free_sgd", base, rate, b1, weight_lr_power, state_dtype)


def schedule_free_adamw(
    learning_rate: optax.ScalarOrSchedule = 0.0025,
    warmup_steps: int | None = None,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_lr_power: jax.typing.ArrayLike = 2.0,
    state_dtype: Any = None,
    *,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Schedule-free AdamW: `schedule_free` around Adam without its first moment.

    $$u_t = -\eta_t \left( \frac{g_t}{\sqrt{\nu_t / (1 - \beta_2^t)} + \varepsilon} + \lambda y_t \right), \qquad
    \nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2) g_t^2$$

    Two arrays of the size of the parameters, z and ν: what AdamW needs. The warm-up is that of `schedule_free_sgd`.

    Args:
        learning_rate: Step size, at least 0: a number, a traced scalar or a schedule. One to ten times AdamW's.
        warmup_steps: Length of the linear warm-up, at least 1; None for none.
        b1: Weight of the average in the parameters that train, in (0, 1].
        b2: Decay of the second moment, in [0, 1).
        eps: Added to the root, at least 0.
        weight_decay: Decay rate λ, at least 0, taken at y: a number, a traced scalar or a schedule.
        weight_lr_power: See `schedule_free`.
        state_dtype: See `schedule_free`.
        mask: Tree of bools (or a function from parameters to one) that says which leaves decay; None means all.

    Returns:
        An Optax transformation; `averaged_params` gives the parameters to evaluate.

    Raises:
        ValueError: A concrete hyperparameter is out of range.
        TypeError: `warmup_steps` is no integer, or `state_dtype` no floating-point dtype.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from optimizers import averaged_params
        >>> params, tx = jnp.array([1.0, -2.0]), schedule_free_adamw(0.3)
        >>> state = tx.init(params)
        >>> for _ in range(20):
        ...     updates, state = tx.update(jax.grad(lambda x: jnp.sum(x**2))(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{jnp.sum(averaged_params(state, params) ** 2):.3f}")
        0.002

    Source:
        A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less Scheduled", 2024.
    """
    check_decays("schedule_free_adamw", eps, b2=b2)
    check_descent("schedule_free_adamw", learning_rate, weight_decay)
    b2, eps = wide_scalar(b2), wide_scalar(eps)

    def scalars(state: Any, step: jax.Array) -> Scalars:
        del state
        root, small, _ = root_scalars(b2, eps, 0.0, step)
        return b2, 1 - b2, root, small

    def advance(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        return (average(s[0], s[1], old[0], square(g)),)

    def direction(g: jax.Array, new: Moments, old: Moments, s: Scalars) -> jax.Array:
        del old
        return s[2] * g / (jnp.sqrt(new[0]) + s[3])

    def reached(state: Any, step: jax.Array) -> Scalars:
        del step
        return scalars(state, state.count)

    def stay(g: jax.Array, old: Moments, s: Scalars) -> Moments:
        del g, s
        return old

    moments = {"nu": second_moment(None)}
    rate = _warmed_up("schedule_free_adamw", learning_rate, warmup_steps)
    base, once_more = (
        descend(elementwise(SecondMomentState, moments, *of_state, direction), rate, weight_decay, mask)
        for of_state in ((scalars, advance), (reached, stay))
    )
    return _schedule_free("schedule_free_adamw", base, rate, b1, weight_lr_power, state_dtype, once_more)
