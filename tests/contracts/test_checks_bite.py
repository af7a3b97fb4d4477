"""Each check fails on a function broken on purpose, for the reason it is there to find.

A specimen is a real case whose function is wrapped so that it breaks one contract; the wrapper keeps name, signature
and docstring. That the checks pass on the unbroken functions is what the other tests of this folder show.
"""

import dataclasses
import functools
import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contracts import (
    aggregator_checks,
    function_checks,
    gradient_checks,
    objective_checks,
    optimizer_checks,
    training_checks,
)
from contracts.cases import OBJECTIVES, every
from contracts.common import Fault

import optimizers


def find(cases, name):
    return next(case for case in cases if case.name == name)


CROSS_ENTROPY = find(every("CASES", OBJECTIVES), "softmax_cross_entropy")
POLY = find(every("CASES", OBJECTIVES), "poly_loss")
ARCFACE = find(every("CASES", OBJECTIVES), "arcface_loss")
HUBER = find(every("CASES", OBJECTIVES), "huber_loss")
BARLOW = find(every("CASES", OBJECTIVES), "barlow_twins_loss")
ADAM = find(every("TRANSFORMATIONS"), "adam")
ADAMW = find(every("TRANSFORMATIONS"), "adamw")
SAM = find(every("RULES"), "sam")
PER_TASK = find(every("RULES"), "per_task")
SDAT = find(every("RULES"), "smooth_domain_adversarial")
RWP = find(every("RULES"), "robust_weight_perturbation")
UPGRAD = find(every("AGGREGATORS"), "upgrad")
GRADNORM = find(every("AGGREGATORS"), "gradnorm")
PCGRAD = find(every("AGGREGATORS"), "pcgrad")
DECAY = find(every("FUNCTIONS"), "normalized_weight_decay")
WEIGHTS = find(every("FUNCTIONS"), "upgrad_weights")
EPSILON = find(every("FUNCTIONS"), "privacy_epsilon")
REVERSE = find(every("FUNCTIONS"), "reverse_gradient")
TRAIN = find(every("TRAIN_STEPS"), "make_train_step")


def broken(case, wrapper, field="function"):
    """The case with its function replaced by `wrapper(original, *args, **kwargs)` under the original's name."""
    original = getattr(case, field)

    @functools.wraps(original)
    def function(*args, **kwargs):
        return wrapper(original, *args, **kwargs)

    return dataclasses.replace(case, **{field: function})


def with_extra_keyword(case, field="function"):
    original = getattr(case, field)
    damaged = broken(case, lambda f, *args, **kwargs: f(*args, **kwargs), field)
    signature = inspect.signature(original)
    added = inspect.Parameter("novelty", inspect.Parameter.KEYWORD_ONLY, default=1.0)
    getattr(damaged, field).__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])
    return damaged


def undocumented(case, field="function"):
    damaged = broken(case, lambda f, *args, **kwargs: f(*args, **kwargs), field)
    getattr(damaged, field).__doc__ = "Computes it.\n\nArgs:\n    all: of them.\n"
    return damaged


def on_host(x):
    """The same numbers by way of the host: fails under vmap, and is no device code."""
    return jax.lax.stop_gradient(
        jax.pure_callback(lambda v: np.asarray(v), jax.ShapeDtypeStruct(x.shape, x.dtype), jax.lax.stop_gradient(x))
    )


def on_cpu_alone(x):
    return jax.lax.platform_dependent(x, cpu=lambda v: v + 1)


def talkative(x):
    jax.debug.print("{}", jnp.sum(x))
    return x


def unnamed(f, *args, **kwargs):
    try:
        return f(*args, **kwargs)
    except (ValueError, TypeError) as error:
        raise type(error)("bad argument") from None


def permissive(f, *args, **kwargs):
    try:
        return f(*args, **kwargs)
    except (ValueError, TypeError):
        return jnp.zeros(4)


# --- objectives: wrappers of softmax_cross_entropy(logits, labels, *, label_smoothing, where) unless they say else


def leaky(f, logits, labels, *, where=None, **kwargs):
    values = f(logits, labels, **kwargs)
    return values if where is None else jnp.where(where, values, 0)


def marked(f, *args, where=None, **kwargs):
    return f(*args, where=where, **kwargs) + (0 if where is None else jnp.where(where, 0, 1))


def rescaled_by_mask(f, *args, where=None, **kwargs):
    return f(*args, where=where, **kwargs) * (1 if where is None else where.size / jnp.maximum(jnp.sum(where), 1))


def divided_by_mask(f, *args, where=None, **kwargs):
    return f(*args, where=where, **kwargs) / (1 if where is None else jnp.mean(where))


def doubled_under_mask(f, *args, where=None, **kwargs):
    return f(*args, where=where, **kwargs) * (1 if where is None else 2)


def integer_only(f, logits, labels, **kwargs):
    assert jnp.issubdtype(labels.dtype, jnp.integer), "class ids expected"
    return f(logits, labels, **kwargs)


def normalised_carelessly(f, embeddings, *args, **kwargs):
    return f(embeddings / jnp.linalg.norm(embeddings, axis=-1, keepdims=True), *args, **kwargs)


def wrong_gradient(f, *args, **kwargs):
    value = f(*args, **kwargs)
    return 2 * value - jax.lax.stop_gradient(value)


def python_branch(f, logits, labels, **kwargs):
    return f(logits, labels, **kwargs) if int(labels[0]) >= 0 else 0.0


def float_keyword(f, *args, label_smoothing=0.0, **kwargs):
    return f(*args, label_smoothing=float(label_smoothing), **kwargs)


def clipped_labels(f, logits, labels, **kwargs):
    return f(logits, jnp.clip(labels, 0, 2) if labels.ndim < logits.ndim else labels, **kwargs)


def broadcasting(f, predictions, targets, **kwargs):
    return f(*jnp.broadcast_arrays(predictions, targets), **kwargs)


def after(change):
    """A wrapper that changes the value."""
    return lambda f, *args, **kwargs: change(f(*args, **kwargs))


def in_half(f, logits, labels, **kwargs):
    return f(logits * 3 / 3, labels, **kwargs)


def shard_alone(f, *args, axis_name=None, **kwargs):
    value = f(*args, **kwargs)
    return value if axis_name is None else jax.lax.pmean(value, axis_name)


o = objective_checks
OBJECTIVES = [
    (o.check_case_is_complete, with_extra_keyword(CROSS_ENTROPY), "novelty"),
    (o.check_returned_shape_and_dtype, broken(CROSS_ENTROPY, after(jnp.mean)), "returned"),
    (o.check_returned_shape_and_dtype, broken(CROSS_ENTROPY, after(lambda x: x.astype(jnp.float16))), "float16"),
    (o.check_low_precision_is_computed_in_float32, broken(CROSS_ENTROPY, in_half), "accumulates"),
    (o.check_masked_entries_change_nothing, broken(CROSS_ENTROPY, leaky), "leaks"),
    (o.check_masked_entries_change_nothing, broken(CROSS_ENTROPY, marked), "not 0"),
    (o.check_masking_equals_removing, broken(CROSS_ENTROPY, rescaled_by_mask), "removing"),
    (o.check_full_mask_changes_nothing, broken(CROSS_ENTROPY, doubled_under_mask), "no mask"),
    (o.check_empty_mask_is_finite, broken(CROSS_ENTROPY, divided_by_mask), "empty mask"),
    (o.check_label_kinds_agree, broken(CROSS_ENTROPY, integer_only), "class ids"),
    (o.check_degenerate_inputs_are_finite, broken(ARCFACE, normalised_carelessly), "zero embeddings"),
    (o.check_jit_equals_eager, broken(CROSS_ENTROPY, python_branch), "traced|Tracer|concrete"),
    (o.check_vmap_equals_loop, broken(CROSS_ENTROPY, after(lambda x: x + on_host(x))), "vmap"),
    (o.check_derivatives, broken(POLY, wrong_gradient), "Not equal|not close|tolerance"),
    (o.check_hyperparameters_may_be_traced, broken(CROSS_ENTROPY, float_keyword), "traced|Tracer|concrete"),
    (o.check_faults_are_named, broken(CROSS_ENTROPY, unnamed), "without 'softmax_cross_entropy'"),
    (o.check_faults_are_named, broken(CROSS_ENTROPY, permissive), "accepted"),
    (o.check_labels_out_of_range_are_nan, broken(CROSS_ENTROPY, clipped_labels), "not NaN"),
    (o.check_nothing_broadcasts, broken(HUBER, broadcasting), "accepted"),
    (o.check_shards_equal_global_batch, broken(BARLOW, shard_alone), "global batch"),
    (o.check_lowers_for_every_platform, broken(CROSS_ENTROPY, after(on_cpu_alone)), "platform"),
    (o.check_no_host_callback, broken(CROSS_ENTROPY, after(talkative)), "callback"),
    (o.check_no_host_callback, broken(CROSS_ENTROPY, after(on_host)), "callback"),
    (o.check_docstring, undocumented(CROSS_ENTROPY), "Args does not describe|no "),
]

# --- transformations


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
TRANSFORMATIONS = [
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

# --- gradient rules


def rule(change):
    """A wrapper of a maker of rules; `change(value_and_grad, params, *args, **kwargs)` is the new value_and_grad."""

    def wrapper(f, *args, **kwargs):
        inner = f(*args, **kwargs)

        def outer(loss_fn, has_aux=False):
            value_and_grad = inner(loss_fn, has_aux)
            return lambda params, *a, **k: change(value_and_grad, params, *a, **k)

        return outer

    return wrapper


def changed_gradient(change):
    def new(value_and_grad, params, *args, **kwargs):
        value, gradient = value_and_grad(params, *args, **kwargs)
        return value, jax.tree.map(change, gradient)

    return rule(new)


def perturbing(value_and_grad, params, *args, **kwargs):
    return value_and_grad(jax.tree.map(lambda p: p * 1.05, params), *args, **kwargs)


def forgetting_keywords(value_and_grad, params, *args, shift=0.0, **kwargs):
    return value_and_grad(params, *args, shift=0.0, **kwargs)


def python_step(value_and_grad, params, *args, step=None, **kwargs):
    return value_and_grad(params, *args, step=None if step is None else int(step), **kwargs)


def first_step_only(f, rho=0.05, **kwargs):
    return f(rho(0) if callable(rho) else rho, **kwargs)


def float_rho(f, rho=0.05, **kwargs):
    return f(float(rho), **kwargs)


def forgetful_sam(rho=0.05, **kwargs):
    """A stateful rule that loses its state at the first step."""
    inner = SAM.function(rho, **kwargs)

    def rule(loss_fn, has_aux=False):
        value_and_grad = inner(loss_fn, has_aux)
        return lambda params, *args, state, **kwargs: (*value_and_grad(params, *args, **kwargs), None)

    return optimizers.StatefulRule(lambda params: jnp.zeros(()), rule)


g = gradient_checks
RULES = [
    (g.check_case_is_complete, with_extra_keyword(SAM), "novelty"),
    (g.check_is_a_drop_in, broken(SAM, changed_gradient(to_float)), "gradient"),
    (g.check_is_a_drop_in, dataclasses.replace(PER_TASK, per_task=False, vector_loss=True), "gradient"),
    (g.check_is_a_drop_in, broken(SDAT, changed_gradient(lambda x: jnp.stack([x, x]))), "gradient"),
    (g.check_visible_parameters_are_not_perturbed, broken(SAM, rule(perturbing)), "other parameters"),
    (g.check_visible_parameters_are_not_perturbed, broken(RWP, rule(perturbing)), "other parameters"),
    (g.check_jit_equals_eager, broken(SAM, changed_gradient(lambda x: x * float(jnp.sum(x)))), "traced|Tracer"),
    (g.check_vmap_equals_loop, broken(SAM, changed_gradient(on_host)), "vmap"),
    (g.check_arguments_reach_the_loss, broken(SAM, rule(forgetting_keywords)), "do not reach"),
    (g.check_zero_gradients_are_finite, broken(SAM, changed_gradient(lambda x: x / jnp.linalg.norm(x))), "nan"),
    (g.check_hyperparameters_may_be_traced, broken(SAM, float_rho), "traced|Tracer"),
    (g.check_schedules_are_accepted, broken(SAM, first_step_only), "rho at step 2"),
    (g.check_compiles_once, broken(SAM, rule(python_step)), "traced|Tracer"),
    (g.check_state_survives, dataclasses.replace(SAM, function=forgetful_sam), "scan"),
    (g.check_odd_leaves, broken(SAM, changed_gradient(lambda x: x / jnp.max(x))), "zero-size"),
    (g.check_lowers_for_every_platform, broken(SAM, changed_gradient(on_cpu_alone)), "platform"),
    (g.check_no_host_callback, broken(SAM, changed_gradient(talkative)), "callback"),
    (g.check_faults_are_named, broken(SAM, unnamed), "without 'sam'"),
    (g.check_docstring, undocumented(SAM), "Args does not describe|no "),
]

# --- aggregators


def aggregator(aggregate):
    """A wrapper of a maker of aggregators; `aggregate(stacked leaf)` instead of its method."""
    return lambda f, *args, **kwargs: optax.stateless(lambda u, p: jax.tree.map(aggregate, u))


def without_losses(f, *args, **kwargs):
    tx = f(*args, **kwargs)

    def update(updates, state, params=None, *, task_losses=None, **extra):
        return tx.update(updates, state, params, task_losses=jnp.ones(3))

    return optax.GradientTransformationExtraArgs(tx.init, update)


def float_eps(f, norm_eps=1e-4, **kwargs):
    return f(norm_eps=float(norm_eps), **kwargs)


def replicated(g):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.lax.with_sharding_constraint(g, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


a = aggregator_checks
AGGREGATORS = [
    (a.check_case_is_complete, with_extra_keyword(UPGRAD), "novelty"),
    (a.check_tasks_become_one_gradient, broken(UPGRAD, aggregator(lambda g: g)), "shape="),
    (a.check_one_task_is_left_alone, broken(UPGRAD, aggregator(lambda g: g.sum(0) / 2)), "T = 1"),
    (a.check_agreeing_tasks_are_combined, broken(UPGRAD, aggregator(lambda g: g.sum(0))), "not the mean"),
    (a.check_no_task_is_harmed, broken(UPGRAD, aggregator(lambda g: g.mean(0))), "harms a task"),
    (a.check_order_of_tasks_does_not_matter, broken(UPGRAD, aggregator(lambda g: g[0])), "order of the tasks"),
    (a.check_zero_gradients_are_finite, broken(UPGRAD, aggregator(lambda g: g.mean(0) / jnp.linalg.norm(g))), "zero"),
    (a.check_non_finite_gradients_show, broken(UPGRAD, changed_updates(jnp.nan_to_num)), "became"),
    (a.check_jit_equals_eager, broken(UPGRAD, changed_updates(lambda g: g * float(jnp.sum(g)))), "traced|Tracer"),
    (a.check_vmap_equals_loop, broken(UPGRAD, changed_updates(on_host)), "vmap"),
    (a.check_hyperparameters_may_be_traced, broken(UPGRAD, float_eps), "traced|Tracer"),
    (a.check_chains_with_an_optimizer, broken(PCGRAD, changed_state(to_float)), "carry|dtype"),
    (a.check_odd_leaves, broken(UPGRAD, changed_updates(lambda g: g / jnp.max(g))), "zero-size"),
    (a.check_state_survives_flax_serialization, broken(UPGRAD, kept_beside(lambda p: jax.random.key(0))), "key"),
    (a.check_sharded_gradients_stay_sharded, broken(UPGRAD, changed_updates(replicated)), "laid out"),
    (a.check_lowers_for_every_platform, broken(UPGRAD, changed_updates(on_cpu_alone)), "platform"),
    (a.check_no_host_callback, broken(UPGRAD, changed_updates(talkative)), "callback"),
    (a.check_faults_are_named, broken(UPGRAD, unnamed), "without 'upgrad'"),
    (a.check_faults_are_named, broken(UPGRAD, aggregator(lambda g: g.sum(0) if g.ndim else g)), "accepted"),
    (a.check_extra_arguments_are_asked_for, broken(GRADNORM, without_losses), "accepted"),
    (a.check_docstring, undocumented(UPGRAD), "Args does not describe|no "),
]

# --- other functions, types and the train step


class BareState(NamedTuple):
    count: int
    total: float


def float_first(f, lambda_norm, *args, **kwargs):
    return f(float(lambda_norm), *args, **kwargs)


def deep(f, noise_multiplier, *args, **kwargs):
    return f(float(noise_multiplier), *args, **kwargs)


f = function_checks
FUNCTIONS = [
    (f.check_case_is_complete, with_extra_keyword(DECAY), "novelty"),
    (f.check_returns_a_float32, broken(WEIGHTS, after(lambda x: x.astype(jnp.float16))), "returned"),
    (f.check_returns_a_number, broken(EPSILON, after(np.float32)), "returned"),
    (f.check_tracers_are_refused, broken(EPSILON, deep), "without 'privacy_epsilon'"),
    (f.check_jit_equals_eager, broken(DECAY, float_first), "traced|Tracer"),
    (f.check_vmap_equals_loop, broken(WEIGHTS, after(on_host)), "vmap"),
    (f.check_gradients, broken(REVERSE, after(lambda x: jnp.abs(x - x) ** 0.5)), "not finite"),
    (f.check_gradients, broken(REVERSE, after(to_float)), "bfloat16|float16"),
    (f.check_gradients, broken(REVERSE, after(lambda x: x * on_host(x))), "vmap"),
    (f.check_lowers_for_every_platform, broken(WEIGHTS, after(on_cpu_alone)), "platform"),
    (f.check_no_host_callback, broken(WEIGHTS, after(talkative)), "callback"),
    (f.check_faults_are_named, broken(DECAY, unnamed), "without 'normalized_weight_decay'"),
    (f.check_docstring, undocumented(DECAY), "Args does not describe|no "),
    (f.check_type, function_checks.Type(name="BareState", type=BareState), "no docstring"),
]


def train_step(change):
    """A wrapper of `make_train_step`; `change(step)` makes the new step from the jitted one."""
    return lambda f, *args, **kwargs: change(f(*args, **kwargs))


def standing_still(step):
    return jax.jit(lambda state, batch: (state._replace(step=state.step + 1), step(state, batch)[1]))


def dtype_changing(step):
    def changed(state, batch):
        state, metrics = step(state, batch)
        return state._replace(step=state.step.astype(jnp.float32)), metrics

    return jax.jit(changed)


def float_rate_step(f, loss_fn, tx, **kwargs):
    float(tx.update(jnp.ones(()), tx.init(jnp.ones(())))[0])
    return f(loss_fn, tx, **kwargs)


class AliasedState(TRAIN.state_type):
    @classmethod
    def create(cls, *, params, **kwargs):
        return TRAIN.state_type.create(params=params, **kwargs)._replace(params=params)


def printing(step):
    return jax.jit(lambda state, batch: (step(state, batch)[0], {"loss": talkative(step(state, batch)[1]["loss"])}))


s = training_checks
TRAINING = [
    (s.check_case_is_complete, with_extra_keyword(TRAIN, "make_step"), "novelty"),
    (s.check_loss_goes_down_with_one_compile, broken(TRAIN, train_step(standing_still), "make_step"), "losses"),
    (s.check_state_keeps_its_dtypes, broken(TRAIN, train_step(dtype_changing), "make_step"), "no scan carry"),
    (s.check_state_is_donated, dataclasses.replace(TRAIN, keywords={"donate": False}), "aliased"),
    (s.check_sweep_is_a_vmap, broken(TRAIN, float_rate_step, "make_step"), "traced|Tracer"),
    (s.check_callers_arrays_survive, dataclasses.replace(TRAIN, state_type=AliasedState), "deleted|donated"),
    (s.check_stays_on_device_and_lowers, broken(TRAIN, train_step(printing), "make_step"), "callback"),
    (s.check_faults_are_named, broken(TRAIN, unnamed, "make_step"), "without 'make_train_step'"),
    (s.check_docstrings, undocumented(TRAIN, "make_step"), "Args does not describe|no "),
]

SPECIMENS = [*OBJECTIVES, *TRANSFORMATIONS, *RULES, *AGGREGATORS, *FUNCTIONS, *TRAINING]
ALL_CHECKS = {
    *objective_checks.CHECKS,
    *optimizer_checks.CHECKS,
    *gradient_checks.CHECKS,
    *aggregator_checks.CHECKS,
    *function_checks.CHECKS,
    *function_checks.TYPE_CHECKS,
    *training_checks.CHECKS,
}


def specimen_id(number, specimen):
    check = specimen[0]
    kind = check.__module__.rsplit(".", 1)[-1].removesuffix("_checks")
    return f"{kind}-{check.__name__.removeprefix('check_')}-{number}"


@pytest.mark.parametrize(
    ("check", "case", "reason"),
    [pytest.param(*specimen, id=specimen_id(number, specimen)) for number, specimen in enumerate(SPECIMENS)],
)
def test_check_bites(check, case, reason):
    with pytest.raises(Exception, match=f"(?s){reason}"):
        check(case)


def test_every_check_has_a_specimen():
    assert {check.__name__ for check in ALL_CHECKS - {check for check, _, _ in SPECIMENS}} == set()


def test_a_fault_of_the_wrong_type_is_found():
    """A ValueError where a TypeError was announced is not the error that was promised."""
    with pytest.raises(AssertionError, match="not <class 'TypeError'>"):
        Fault({"label_smoothing": 2.0}, TypeError).check(CROSS_ENTROPY.function, CROSS_ENTROPY.example())
