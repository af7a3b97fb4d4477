"""Gradient rules broken on purpose."""

import dataclasses

import jax
import jax.numpy as jnp
from contracts import (
    gradient_checks,
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
from contracts.specimens.transformations import to_float

import optimizers

SAM = find(every("RULES"), "sam")
PER_TASK = find(every("RULES"), "per_task")
SDAT = find(every("RULES"), "smooth_domain_adversarial")
RWP = find(every("RULES"), "robust_weight_perturbation")


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
SPECIMENS = [
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
