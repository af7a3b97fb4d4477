"""Every gradient rule is a drop-in for jax.value_and_grad; `accumulate` and `per_task` against closed forms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimizers
from optimizers import accumulate, backprop, forward_gradient, per_task, sam


def regression_loss(params, batch):
    residual = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return jnp.mean(residual**2), {"mae": jnp.mean(jnp.abs(residual)), "count": jnp.int32(residual.size)}


@pytest.fixture
def problem():
    random = np.random.default_rng(0)
    params = {"w": jnp.asarray(random.normal(size=3), jnp.float32), "b": jnp.float32(0.5)}
    batch = {"x": random.normal(size=(12, 3)).astype(np.float32), "y": random.normal(size=12).astype(np.float32)}
    return params, batch


RULES = {
    "backprop": backprop,
    "accumulate": accumulate(3),
    "sam": sam(0.05),
    "sam(accumulate)": sam(inner=accumulate(2)),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_has_the_outputs_of_value_and_grad(name, problem):
    params, batch = problem
    for has_aux in (False, True):
        loss_fn = regression_loss if has_aux else lambda p, b: regression_loss(p, b)[0]
        expected = jax.eval_shape(jax.value_and_grad(loss_fn, has_aux=has_aux), params, batch)
        got = jax.eval_shape(RULES[name](loss_fn, has_aux), params, batch)
        chex.assert_trees_all_equal_shapes_and_dtypes(got, expected)


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_accumulate_equals_the_full_batch(steps, problem):
    (value, aux), gradient = jax.value_and_grad(regression_loss, has_aux=True)(*problem)
    (got_value, got_aux), got = jax.jit(accumulate(steps)(regression_loss, has_aux=True))(*problem)
    chex.assert_trees_all_close((got_value, got), (value, gradient), rtol=1e-6)
    np.testing.assert_allclose(got_aux["mae"], aux["mae"], rtol=1e-6)
    assert got_aux["count"] == 12 // steps  # a count is the last microbatch's


def test_accumulate_takes_strided_microbatches_and_folds_keys():
    def loss_fn(w, batch, key, *, other):
        return w * jnp.mean(batch), (jnp.sum(batch), jax.random.uniform(key), jax.random.uniform(other))

    key, other = jax.random.split(jax.random.key(1))
    (_, (total, draw, other_draw)), _ = accumulate(2)(loss_fn, has_aux=True)(1.0, jnp.arange(4.0), key, other=other)
    assert total == (0 + 2 + 1 + 3) / 2  # examples 0, 2 and 1, 3: the mean of the two sums
    for got, k in ((draw, key), (other_draw, other)):
        np.testing.assert_allclose(
            got, np.mean([jax.random.uniform(jax.random.fold_in(k, i)) for i in range(2)]), rtol=1e-6
        )


def test_accumulate_sums_half_precision_in_float32():
    # A thousand gradients of 1/1000 added to a bfloat16 total would stop at 0.25.
    loss_fn = lambda w, batch: jnp.mean(batch * w)
    value, gradient = jax.jit(accumulate(1000)(loss_fn))(jnp.bfloat16(1.0), jnp.ones(1000, jnp.bfloat16))
    assert value.dtype == gradient.dtype == jnp.bfloat16
    assert float(value) == 1.0
    assert float(gradient) == 1.0


def test_accumulate_holds_one_microbatch_of_activations():
    def loss_fn(w, batch):
        for _ in range(4):
            batch = jnp.tanh(batch @ w)
        return jnp.mean(batch)

    def temporaries(rule):
        shapes = jax.ShapeDtypeStruct((32, 32), jnp.float32), jax.ShapeDtypeStruct((4096, 32), jnp.float32)
        return jax.jit(rule(loss_fn)).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    batch_bytes = 4096 * 32 * 4
    assert temporaries(backprop) > 3 * batch_bytes
    assert temporaries(accumulate(16)) < 7 * batch_bytes / 16  # five layers, the microbatch, and the two gradients


def test_accumulate_names_its_faults(problem):
    params, batch = problem
    with pytest.raises(ValueError, match=r"accumulate: .*divisible by steps=5.*\(12, 3\)"):
        accumulate(5)(regression_loss, True)(params, batch)
    with pytest.raises(ValueError, match="accumulate: steps must be at least 1, got 0"):
        accumulate(0)
    with pytest.raises(TypeError, match="accumulate: steps must be an integer, got float"):
        accumulate(2.0)
    with pytest.raises(TypeError, match="accumulate: inner must be a function"):
        accumulate(2, inner=None)
    with pytest.raises(ValueError, match="accumulate: expected a batch"):
        accumulate(2)(lambda w: w**2)(1.0)


@pytest.mark.parametrize("sequential", [False, True])
def test_per_task_is_the_jacobian(sequential, problem):
    params, batch = problem

    def losses(p, b):
        residual = b["x"] @ p["w"] + p["b"] - b["y"]
        return jnp.stack([jnp.mean(residual**2), jnp.mean(jnp.abs(residual)), jnp.sum(p["w"] ** 2)]), residual.sum()

    (value, aux), jacobian = jax.jit(per_task(sequential=sequential)(losses, has_aux=True))(params, batch)
    chex.assert_trees_all_close((value, aux), losses(params, batch), rtol=1e-6)
    for task in range(3):
        expected = jax.grad(lambda p, t=task: losses(p, batch)[0][t])(params)
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, t=task: leaf[t], jacobian), expected, rtol=1e-6, atol=1e-6
        )


def test_per_task_runs_the_forward_pass_once(problem):
    calls = []

    def losses(p, b):
        calls.append(1)
        return jnp.stack([regression_loss(p, b)[0], jnp.sum(p["w"])])

    per_task()(losses)(*problem)
    assert len(calls) == 1


def test_per_task_names_a_scalar_loss():
    with pytest.raises(ValueError, match=r"per_task: loss_fn must return .*\[T\], got shape \(\)"):
        per_task()(lambda w: w**2)(1.0)


def test_rules_are_public():
    assert {"accumulate", "backprop", "per_task", "sam"} <= set(optimizers.__all__)


@pytest.mark.parametrize("rule", [sam(0.1), accumulate(3), per_task(), forward_gradient(2)])
def test_a_loss_may_recompute_its_activations(rule, problem):
    params, batch = problem

    def loss_fn(p, b, key, wrap):
        block = wrap(lambda p, x: jnp.tanh(x @ p["w"]) + p["b"])
        residual = block(p, b["x"]) - b["y"]
        losses = jnp.stack([jnp.mean(residual**2), jnp.mean(jnp.abs(residual))])
        return losses if rule.__qualname__.startswith("per_task") else losses[0]

    results = [
        jax.jit(rule(lambda *args, wrap=wrap: loss_fn(*args, wrap)))(params, batch, jax.random.key(0))
        for wrap in (lambda f: f, jax.checkpoint)
    ]
    chex.assert_trees_all_close(*results, rtol=1e-6)
