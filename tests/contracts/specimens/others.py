"""Other functions, types and train steps broken on purpose."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from contracts import (
    function_checks,
    training_checks,
)
from contracts.cases import every
from contracts.specimens import (
    broken,
    find,
    on_cpu_alone,
    on_host,
    talkative,
    undocumented,
    unnamed,
    with_extra_keyword,
)
from contracts.specimens.objectives import after
from contracts.specimens.transformations import to_float

DECAY = find(every("FUNCTIONS"), "normalized_weight_decay")
WEIGHTS = find(every("FUNCTIONS"), "upgrad_weights")
EPSILON = find(every("FUNCTIONS"), "privacy_epsilon")
REVERSE = find(every("FUNCTIONS"), "reverse_gradient")
TRAIN = find(every("TRAIN_STEPS"), "make_train_step")


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

SPECIMENS = [*FUNCTIONS, *TRAINING]
