"""Aggregators broken on purpose."""

import jax
import jax.numpy as jnp
import optax
from contracts import (
    aggregator_checks,
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
from contracts.specimens.transformations import changed_state, changed_updates, kept_beside, to_float

UPGRAD = find(every("AGGREGATORS"), "upgrad")
GRADNORM = find(every("AGGREGATORS"), "gradnorm")
PCGRAD = find(every("AGGREGATORS"), "pcgrad")


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
SPECIMENS = [
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
