"""One jitted train step from four pieces: an objective, a gradient rule, an aggregator and a transformation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from optimizers._checks import check_callable, check_positive_integer, check_range
from optimizers._keys import typed_key
from optimizers._trees import PyTree, global_norm, wide
from optimizers.curvature import GaussNewton, gauss_newton_bartlett_diagonal, gauss_newton_vector_product
from optimizers.gradients import GradientRule, StatefulRule, accumulate, backprop
from optimizers.gradients.backprop import LossFn

TrainStep = Callable[["TrainState", PyTree], tuple["TrainState", dict[str, jax.Array]]]


class TrainState(NamedTuple):
    """Everything that a train step reads and writes, as one pytree: donate it, checkpoint it, vmap it, shard it.

    Attributes:
        step: number of the next step, int32 `[]`; counts skipped steps as well.
        params: the parameters, any pytree of arrays.
        opt_state: the state of the transformation.
        key: the data of a PRNG key, plain integers that any checkpoint format can hold; `loss_fn` receives the typed
            key folded with `step`.
        model_state: mutable variables of the model, such as batch statistics, or None.
        ema_params: exponential moving average of the parameters, or None.
        skipped: number of steps skipped because their loss or gradient was not finite, int32 `[]`.
        rule_state: the state of a `StatefulRule`, or None.
    """

    step: jax.Array
    params: PyTree
    opt_state: PyTree
    key: jax.Array
    model_state: PyTree
    ema_params: PyTree
    skipped: jax.Array
    rule_state: PyTree = None

    @classmethod
    def create(
        cls,
        *,
        params: PyTree,
        tx: optax.GradientTransformation,
        key: jax.Array | int = 0,
        model_state: PyTree = None,
        ema: bool = False,
        gradient: GradientRule | StatefulRule | None = None,
        mesh: Mesh | None = None,
    ) -> "TrainState":
        """The state before the first step.

        Every array is copied, so that the caller's own survive when the step donates the state; copies and moments
        are placed and sharded as the parameters are.

        Args:
            params: the parameters, any pytree of arrays.
            tx: the transformation that the step will apply.
            key: a PRNG key (typed or raw), or a seed.
            model_state: mutable variables of the model; the step then calls `loss_fn` with them.
            ema: keep an exponential moving average of the parameters; its decay is given to `make_train_step`.
            gradient: the gradient rule that the step will use; only the state of a `StatefulRule` is needed of it.
            mesh: place the state on this mesh: arrays already sharded over it stay as they are, all others are
                replicated. Give the same mesh to `make_train_step`.

        Returns:
            A `TrainState` at step 0.

        Raises:
            ValueError: if `key` is not of JAX's default PRNG implementation.

        Examples:
            >>> import jax.numpy as jnp, optax
            >>> state = TrainState.create(params={"w": jnp.zeros(3)}, tx=optax.sgd(0.1), key=0)
            >>> print(state.step, state.params)
            0 {'w': Array([0., 0., 0.], dtype=float32)}
        """
        params = jax.tree.map(jnp.asarray, params)
        state = cls(
            step=jnp.zeros((), jnp.int32),
            params=_copy(params),
            opt_state=_copy(tx.init(params)),
            key=_copy(_key_data(key)),
            model_state=_copy(model_state),
            ema_params=_copy(params) if ema else None,
            skipped=jnp.zeros((), jnp.int32),
            rule_state=_copy(gradient.init(params)) if isinstance(gradient, StatefulRule) else None,
        )
        if mesh is None:
            return state
        placed: TrainState = jax.jit(lambda s: s, out_shardings=jax.tree.map(lambda x: _on_mesh(x, mesh), state))(state)
        return placed


def make_train_step(
    loss_fn: Callable[..., Any],
    tx: optax.GradientTransformation,
    *,
    gradient: GradientRule | StatefulRule = backprop,
    has_aux: bool = True,
    mesh: Mesh | None = None,
    state_sharding: PyTree = None,
    batch_sharding: PyTree = None,
    donate: bool = True,
    microbatches: int = 1,
    ema_decay: float | jax.Array | Callable[[jax.Array], Any] | None = None,
    skip_nonfinite: bool = True,
    log: Callable[[PyTree], dict[str, jax.Array]] | None = None,
    apply_updates: Callable[[PyTree, PyTree, jax.Array], PyTree] | None = None,
    curvature: GaussNewton | None = None,
) -> TrainStep:
    r"""One jitted train step: differentiate, update, apply; compiled once, its state donated.

    $$
    g_t = \text{gradient}(L)(\theta_t), \qquad
    \theta_{t+1} = \theta_t + \text{tx.update}(g_t, s_t, \theta_t)
    $$

    The optimizer receives what Optax's extra args ask for: `value`, `grad`, `value_fn` and `obj_fn` (the scalar loss
    on this batch, as a function of the parameters alone) and `grad_fn`; and `task_losses`, the loss as `loss_fn`
    returned it, for aggregators that weigh tasks by their losses. With `curvature` it also receives `gnvp_fn(params,
    vector)`, the product with the Gauss-Newton matrix, and `gnb_fn(params, key)`, an estimate of its diagonal. These
    functions cost nothing where they are not called. They take the parameters in any floating dtype, and, under
    `optax.masked` and `optax.partition`, those alone that a transformation is given: the others stay where they are.
    The step may be called inside `jax.jit`, `jax.vmap` (a sweep over learning rates or seeds) and `jax.lax.scan`.

    Args:
        loss_fn: `loss_fn(params, batch, key) -> (loss, metrics)`, with `metrics` a dict of arrays;
            `loss_fn(params, batch, key) -> loss` with `has_aux=False`; and when the state carries a `model_state`,
            `loss_fn(params, batch, key, model_state) -> (loss, (metrics, model_state))`. The loss is a scalar, or
            what the gradient rule asks for: the vector `[T]` of task losses for `per_task()`, `jacobian_descent()` or
            `famo(T)`, that of the losses of examples for `esam()`.
        tx: any Optax transformation, an aggregator first in its chain when the gradient rule is `per_task()`.
        gradient: the gradient rule; a `StatefulRule` needs a state created with it.
        has_aux: whether `loss_fn` returns metrics beside the loss.
        mesh: run data parallel on this mesh: the batch is split along its leading axis over all axes of the mesh,
            and the state is replicated, unless the two arguments below say otherwise.
        state_sharding: a `jax.sharding.Sharding`, or a pytree of them that is a prefix of the `TrainState`.
        batch_sharding: the same for the batch. Without `mesh` and both of these, placement follows the arguments.
        donate: give the buffers of the state to the step, which then updates them in place; the old state must not
            be used again.
        microbatches: split the batch and average the gradients of the parts: `accumulate(microbatches,
            inner=gradient)`. A `StatefulRule` takes that rule as its own `inner` instead.
        ema_decay: decay of the moving average of the parameters, in [0, 1), or a schedule of the step; needs a state
            created with `ema=True`.
        skip_nonfinite: leave parameters, optimizer, averages and model state as they were where the loss or the norm
            of the gradient is not finite, and count the step in `state.skipped`. The rule's state becomes what its
            `skipped` says, by default what it was.
        apply_updates: `apply_updates(params, updates, step) -> params`, such as `apply_updates_stochastic_rounding`;
            None for `optax.apply_updates`.
        log: `log(opt_state) -> metrics`, further metrics read from the state of the optimizer after the step, such as
            `recorded`: norms and injected hyperparameters.
        curvature: the loss in two parts, a `GaussNewton`, for transformations that need its Gauss-Newton matrix:
            `natural_gradient`, `sophia_g`.

    Returns:
        `step(state, batch) -> (state, metrics)`. `metrics` holds arrays, still on the device: `loss`, `grad_norm`
        (the global L2 norm of the gradient that the optimizer received), `skipped` (the count so far), and those of
        `loss_fn` and `log`.

    Raises:
        TypeError: if `loss_fn`, `tx`, `gradient` or `apply_updates` is not of its kind, or `loss_fn` returns what was
            not announced.
        ValueError: if `microbatches` or `ema_decay` is out of range, the state lacks what an option needs, or a
            metric takes a reserved name.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> loss_fn = lambda w, batch, key: (jnp.mean((batch - w) ** 2), {})
        >>> tx = optax.sgd(0.25)
        >>> step = make_train_step(loss_fn, tx)
        >>> state, metrics = step(TrainState.create(params=0.0, tx=tx), jnp.array([1.0, 3.0]))
        >>> print(state.params, metrics["loss"], metrics["grad_norm"])
        1.0 5.0 4.0
    """
    check_callable("make_train_step", "loss_fn", loss_fn, "(params, batch, key) -> (loss, metrics)")
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"make_train_step: tx must be an optax.GradientTransformation, got {type(tx).__name__}")
    check_range("make_train_step", "ema_decay", ema_decay, 0.0, 1.0, open_high=True)
    if apply_updates is not None:
        check_callable("make_train_step", "apply_updates", apply_updates, "(params, updates, step) -> params")
    if not (curvature is None or isinstance(curvature, GaussNewton)):
        raise TypeError(f"make_train_step: curvature must be a GaussNewton or None, got {type(curvature).__name__}")
    microbatches = check_positive_integer("make_train_step", "microbatches", microbatches)
    if log is not None:
        check_callable("make_train_step", "log", log, "(opt_state) -> metrics")
    rule = _stateful(gradient, microbatches)
    tx = optax.with_extra_args_support(tx)
    loss_and_aux = _normalised(loss_fn, has_aux)
    value_and_grad = rule.rule(loss_and_aux, has_aux=True)

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        _check_state(state, ema_decay, gradient)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        # Functions that a rule calls beside the loss receive what loss_fn receives.
        args = (batch, key) if state.model_state is None else (batch, key, state.model_state)
        (value, (metrics, model_state)), grad, rule_state = value_and_grad(
            state.params, *args, state=state.rule_state, step=state.step
        )
        norm = global_norm(grad)

        def apply(state: TrainState) -> TrainState:
            # Optax's line searches refuse extra args that value_fn does not name.
            def objective(
                params: PyTree,
                *,
                obj_fn: Any = None,
                grad_fn: Any = None,
                task_losses: Any = None,
                gnvp_fn: Any = None,
                gnb_fn: Any = None,
            ) -> jax.Array:
                del obj_fn, grad_fn, task_losses, gnvp_fn, gnb_fn
                return jnp.mean(loss_and_aux(_whole(params, state.params), *args)[0])

            updates, opt_state = tx.update(
                grad,
                state.opt_state,
                state.params,
                value=jnp.mean(value),
                grad=grad,
                value_fn=objective,
                obj_fn=objective,
                grad_fn=lambda params, *_: jax.grad(objective)(params),
                task_losses=value,
                **({} if curvature is None else _gauss_newton_functions(curvature, state.params, args)),
            )
            if apply_updates is None:
                params = optax.apply_updates(state.params, updates)
            else:
                params = apply_updates(state.params, updates, state.step)
            ema_params = state.ema_params
            if ema_decay is not None:
                decay = ema_decay(state.step) if callable(ema_decay) else ema_decay
                ema_params = jax.tree.map(lambda e, p: _average(e, p, decay), ema_params, params)
            return state._replace(
                params=params,
                opt_state=opt_state,
                model_state=model_state,
                ema_params=ema_params,
                rule_state=rule_state,
            )

        def skip(state: TrainState) -> TrainState:
            return state._replace(skipped=state.skipped + 1, rule_state=rule.skipped(state.rule_state, rule_state))

        if skip_nonfinite:
            finite = jnp.isfinite(norm) & jnp.all(jnp.isfinite(value))
            state = jax.lax.cond(finite, apply, skip, state)
        else:
            state = apply(state)
        own = {"loss": value, "grad_norm": norm, "skipped": state.skipped}
        if clash := own.keys() & metrics.keys():
            raise ValueError(f"make_train_step: loss_fn returned metrics under reserved names {sorted(clash)}")
        logged = {} if log is None else log(state.opt_state)
        if clash := logged.keys() & (own | metrics).keys():
            raise ValueError(f"make_train_step: log returned metrics under names already taken: {sorted(clash)}")
        return state._replace(step=state.step + 1), own | metrics | logged

    return _jit(step, mesh, state_sharding, batch_sharding, donate)


def _normalised(loss_fn: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`loss_fn` as `(params, batch, key, model_state=None) -> (loss, (metrics, model_state))`, whatever its form."""

    def loss_and_aux(
        params: PyTree, batch: PyTree, key: jax.Array, model_state: PyTree = None, **from_rule: Any
    ) -> tuple[Any, Any]:
        stateful = model_state is not None
        result = loss_fn(params, batch, key, *((model_state,) if stateful else ()), **from_rule)
        expected = "(loss, (metrics, model_state))" if stateful else "(loss, metrics)" if has_aux else "loss"
        try:
            loss, aux = result if stateful or has_aux else (result, {})
            metrics, model_state = aux if stateful else (aux, None)
            well_formed = isinstance(metrics, dict) and isinstance(loss, jax.Array | float)
        except (TypeError, ValueError):
            well_formed = False
        if not well_formed:
            raise TypeError(
                f"make_train_step: loss_fn must return {expected} with metrics a dict, got {jax.tree.structure(result)}"
            )
        return loss, (metrics, model_state)

    return loss_and_aux


def _stateful(gradient: GradientRule | StatefulRule, microbatches: int) -> StatefulRule:
    """Any rule as a stateful one, whose state is None where it has none."""
    if isinstance(gradient, StatefulRule):
        if microbatches > 1:
            raise ValueError(
                f"make_train_step: microbatches={microbatches} goes inside a StatefulRule: "
                f"give it inner=accumulate({microbatches})"
            )
        return gradient
    check_callable("make_train_step", "gradient", gradient, "rule(loss_fn, has_aux)")
    stateless = gradient if microbatches == 1 else accumulate(microbatches, inner=gradient)

    def rule(loss_fn: LossFn, has_aux: bool = False) -> Callable[..., tuple[Any, Any, None]]:
        value_and_grad = stateless(loss_fn, has_aux)
        return lambda *args, state, **kwargs: (*value_and_grad(*args, **kwargs), state)

    return StatefulRule(lambda params: None, rule)


def _whole(params: PyTree, own: PyTree) -> PyTree:
    """The parameters in the dtypes of `own`, and those of `own` where a mask has left a hole."""

    def is_hole(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    def leaf(p: Any, o: PyTree) -> PyTree:
        return o if is_hole(p) else jnp.asarray(p).astype(o.dtype)

    return jax.tree.map(leaf, params, own, is_leaf=is_hole)


def _gauss_newton_functions(curvature: GaussNewton, own: PyTree, args: tuple[Any, ...]) -> dict[str, Any]:
    """The extra arguments that need the loss in two parts."""

    def outputs_fn(params: PyTree) -> Any:
        return curvature.outputs_fn(_whole(params, own), *args)

    def gnvp_fn(params: PyTree, vector: PyTree) -> PyTree:
        return gauss_newton_vector_product(outputs_fn, lambda z: curvature.loss_of_outputs(z, args[0]), params, vector)

    def gnb_fn(params: PyTree, key: jax.Array) -> PyTree:
        if curvature.sampled_losses is None:
            raise ValueError("make_train_step: curvature needs sampled_losses for gnb_fn, got GaussNewton without it")
        return gauss_newton_bartlett_diagonal(outputs_fn, curvature.sampled_losses, params, key)

    return {"gnvp_fn": gnvp_fn, "gnb_fn": gnb_fn}


def _check_state(state: TrainState, ema_decay: Any, gradient: GradientRule | StatefulRule) -> None:
    if isinstance(gradient, StatefulRule) and state.rule_state is None:
        raise ValueError("make_train_step: gradient is a StatefulRule, whose state TrainState.create(gradient=) makes")
    if (ema_decay is None) != (state.ema_params is None):
        raise ValueError(
            "make_train_step: ema_decay and TrainState.create(ema=True) go together, "
            f"got ema_decay={ema_decay} and a state {'without' if state.ema_params is None else 'with'} ema_params"
        )


def _average(average: jax.Array, new: jax.Array, decay: Any) -> jax.Array:
    return (decay * wide(average) + (1.0 - decay) * wide(new)).astype(average.dtype)


def _jit(step: TrainStep, mesh: Mesh | None, state_sharding: PyTree, batch_sharding: PyTree, donate: bool) -> TrainStep:
    donated = (0,) if donate else ()
    metrics_sharding = None
    if mesh is not None:
        replicated = NamedSharding(mesh, PartitionSpec())
        state_sharding = replicated if state_sharding is None else state_sharding
        batch_sharding = (
            NamedSharding(mesh, PartitionSpec(mesh.axis_names)) if batch_sharding is None else batch_sharding
        )
        metrics_sharding = replicated
    if state_sharding is None and batch_sharding is None:
        return jax.jit(step, donate_argnums=donated)
    return jax.jit(
        step,
        in_shardings=(state_sharding, batch_sharding),
        out_shardings=(state_sharding, metrics_sharding),
        donate_argnums=donated,
    )


def _on_mesh(leaf: jax.Array, mesh: Mesh) -> jax.sharding.Sharding:
    sharded = isinstance(leaf.sharding, NamedSharding) and leaf.sharding.mesh == mesh
    return leaf.sharding if sharded else NamedSharding(mesh, PartitionSpec())


def _key_data(key: jax.Array | int) -> jax.Array:
    typed = typed_key(key)
    if jax.random.key_impl(typed) != jax.random.key_impl(jax.random.key(0)):
        raise ValueError(
            f"TrainState.create: key must be of JAX's default PRNG implementation, got {jax.random.key_impl(typed)}"
        )
    return jax.random.key_data(typed)


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)
