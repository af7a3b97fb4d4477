"""Transformations broken on purpose."""

import jax
import jax.numpy as jnp
import optax
from contracts import (
    optimizer_checks,
)
from contracts.cases import every
from contracts.specimens import (
    broken,
    find,
    on_cpu_alone,
    permissive,
    talkative,
    undocumented,
    unnamed,
    with_extra_keyword,
)

ADAM = find(every("TRANSFORMATIONS"), "adam")
ADAMW = find(every("TRANSFORMATIONS"), "adamw")


def transformation(init=None, update=None):
    """A wrapper that changes `init(original_init, params)` and `update(original_update, updates, state, params)`."""

    def wrapper(f, *args, **kwargs):
        tx = optax.with_extra_args_support(f(*args, **kwargs))

        def new_init(params):
            return tx.init(params) if init is None else init(tx.init, params)

        def new_update(updates, state, params=None, **extra):
            return tx.update(updates, state, params) if update is None else update(tx.update, updates, state, params)

        return optax.GradientTransformationExtraArgs(new_init, new_update)

    return wrapper


def changed_updates(change):
    def update(original, updates, state, params):
        updates, state = original(updates, state, params)
        return jax.tree.map(change, updates), state

    return transformation(update=update)


def changed_state(change):
    def update(original, updates, state, params):
        updates, state = original(updates, state, params)
        return updates, jax.tree.map(change, state)

    return transformation(update=update)


def changed_init(change):
    return transformation(init=lambda original, params: jax.tree.map(change, original(params)))


def kept_beside(make):
    """A state with something of its own beside the original's."""
    return transformation(
        init=lambda original, params: (original(params), make(params)),
        update=lambda original, updates, state, params: (lambda u, s: (u, (s, state[1])))(
            *original(updates, state[0], params)
        ),
    )


def wants_value(f, *args, **kwargs):
    tx = f(*args, **kwargs)

    def update(updates, state, params=None, *, value=None, **extra):
        return tx.update(updates if value is None else jax.tree.map(jnp.negative, updates), state, params)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def strict_about_extras(f, *args, **kwargs):
    tx = f(*args, **kwargs)
    return optax.GradientTransformationExtraArgs(tx.init, lambda u, s, p=None: tx.update(u, s, p))


def schedule_at_start(f, learning_rate, *args, **kwargs):
    return f(learning_rate(0) if callable(learning_rate) else learning_rate, *args, **kwargs)


def float_rate(f, learning_rate, *args, **kwargs):
    return f(float(learning_rate), *args, **kwargs)


def without(name):
    def wrapper(f, *args, **kwargs):
        return f(*args, **{key: value for key, value in kwargs.items() if key != name})

    return wrapper


def drop_dtypes(f, *args, mu_dtype=None, nu_dtype=None, **kwargs):
    return f(*args, **kwargs)


def optax_adam(f, learning_rate, b1=0.9, b2=0.999, eps=1e-8, **kwargs):
    return optax.adam(learning_rate, b1, b2, eps)


def counting_calls(f, *args, **kwargs):
    tx, calls = f(*args, **kwargs), []

    def update(updates, state, params=None, **extra):
        calls.append(1)
        updates, state = tx.update(updates, state, params)
        return jax.tree.map(lambda g: len(calls) * g, updates), state

    return optax.GradientTransformationExtraArgs(tx.init, update)


def zeros_here(p):
    return jnp.zeros(p.shape, p.dtype)


def to_float(x):
    return x.astype(jnp.float32)


t = optimizer_checks
half = lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x
SPECIMENS = [
    (t.check_case_is_complete, with_extra_keyword(ADAM), "novelty"),
    (t.check_dtypes_are_kept, broken(ADAM, changed_updates(to_float)), "float16 parameters"),
    (t.check_dtypes_are_kept, broken(ADAM, changed_init(half)), "moments in bfloat16"),
    (t.check_moment_dtypes_are_obeyed, broken(ADAM, drop_dtypes), "bfloat16"),
    (t.check_state_is_dtype_stable_in_scan, broken(ADAM, changed_state(half)), "no scan carry"),
    (t.check_zero_gradients_are_finite, broken(ADAM, optax_adam), "zero gradients in float16"),
    (
        t.check_jit_equals_eager,
        broken(ADAM, changed_updates(lambda g: g * int(g.size > float(g.sum())))),
        "traced|Tracer",
    ),
    (t.check_extra_arguments_are_accepted, broken(ADAM, strict_about_extras), "unexpected keyword"),
    (t.check_extra_arguments_are_accepted, broken(ADAM, wants_value), "extra arguments matter|Not equal"),
    (t.check_schedules_are_accepted, broken(ADAM, schedule_at_start), "never advances"),
    (t.check_hyperparameters_may_be_traced, broken(ADAM, float_rate), "traced|Tracer"),
    (t.check_inject_hyperparams, broken(ADAM, float_rate), "traced|Tracer"),
    (t.check_masked_leaves_cost_nothing, broken(ADAM, kept_beside(lambda p: jnp.zeros((4, 3)))), "has a moment"),
    (t.check_weight_decay_mask, broken(ADAMW, without("mask")), "outside the mask"),
    (t.check_map_params, broken(ADAM, kept_beside(lambda p: jax.tree.map(lambda x: 0.0, p))), "map_params|moments"),
    (t.check_apply_if_finite, broken(ADAM, changed_state(half)), "dtype|type"),
    (t.check_multi_steps, broken(ADAM, counting_calls), "MultiSteps differs"),
    (t.check_odd_leaves, broken(ADAM, changed_updates(lambda g: g / jnp.max(jnp.abs(g)))), "zero-size"),
    (t.check_compiles_once, broken(ADAM, changed_state(half)), "compiled 2 times"),
    (t.check_donated_buffers_are_reused, broken(ADAM, changed_state(half)), "aliased"),
    (t.check_donated_buffers_are_reused, broken(ADAM, changed_updates(lambda g: jnp.sort(g, axis=0))), "temporaries"),
    (t.check_state_survives_flax_serialization, broken(ADAM, kept_beside(lambda p: jax.random.key(0))), "key"),
    (t.check_state_survives_orbax, broken(ADAM, changed_state(half)), "bits differ|instead of|dtype"),
    (
        t.check_sharded_parameters_give_sharded_states,
        broken(ADAM, changed_init(zeros_here)),
        "initial state",
    ),
    (t.check_lowers_for_every_platform, broken(ADAM, changed_updates(on_cpu_alone)), "platform"),
    (t.check_no_host_callback, broken(ADAM, changed_updates(talkative)), "callback"),
    (t.check_faults_are_named, broken(ADAM, unnamed), "without 'adam'"),
    (t.check_faults_are_named, broken(ADAM, permissive), "accepted"),
    (t.check_docstring, undocumented(ADAM), "Args does not describe|no "),
]
