"""Objectives broken on purpose: wrappers of softmax_cross_entropy(logits, labels, *, ...) unless they say else."""

import jax
import jax.numpy as jnp
from contracts import (
    objective_checks,
)
from contracts.cases import OBJECTIVES as OBJECTIVE_FILES
from contracts.cases import every
from contracts.specimens import (
    broken,
    find,
    on_cpu_alone,
    on_host,
    permissive,
    talkative,
    undocumented,
    unnamed,
    with_extra_keyword,
)

CROSS_ENTROPY = find(every("CASES", OBJECTIVE_FILES), "softmax_cross_entropy")
POLY = find(every("CASES", OBJECTIVE_FILES), "poly_loss")
ARCFACE = find(every("CASES", OBJECTIVE_FILES), "arcface_loss")
HUBER = find(every("CASES", OBJECTIVE_FILES), "huber_loss")
BARLOW = find(every("CASES", OBJECTIVE_FILES), "barlow_twins_loss")


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
SPECIMENS = [
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
