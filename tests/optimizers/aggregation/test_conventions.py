"""Aggregators whose weightings the table gives, held to the conventions of Optax; the contracts hold all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from aggregators import AGGREGATORS, conflicting, jitted, like_one_task, update
from jax.sharding import NamedSharding, PartitionSpec

every = pytest.mark.parametrize("name", AGGREGATORS)
conventional = pytest.mark.parametrize("name", [name for name, each in AGGREGATORS.items() if each.exact])


@conventional
def test_tree_gives_the_flat_result_in_the_dtype_of_each_leaf(name):
    flat = jnp.asarray(conflicting(3, 12), jnp.float32)
    flat = flat.at[:, :4].set(flat[:, :4].astype(jnp.bfloat16).astype(jnp.float32))
    flat = flat.at[:, 4:8].set(flat[:, 4:8].astype(jnp.float16).astype(jnp.float32))
    tree = {
        "bfloat16": flat[:, :4].astype(jnp.bfloat16),
        "float16": flat[:, 4:8].reshape(3, 2, 2).astype(jnp.float16),
        "float32": [flat[:, 8:11], flat[:, 11]],
        "none": None,
        "zero_size": jnp.zeros((3, 0, 2)),
        "masked": optax.MaskedNode(),
    }
    whole, parts = update(name, flat), update(name, tree)
    assert jax.tree.structure(parts) == jax.tree.structure(tree)
    assert jax.tree.map(lambda x: (x.dtype, x.shape), parts) == jax.tree.map(lambda x: (x.dtype, x.shape[1:]), tree)
    np.testing.assert_allclose(parts["bfloat16"].astype(jnp.float32), whole[:4], rtol=2**-8)
    np.testing.assert_allclose(parts["float16"].astype(jnp.float32).ravel(), whole[4:8], rtol=2**-10)
    np.testing.assert_allclose(parts["float32"][0], whole[8:11], rtol=1e-5)
    np.testing.assert_allclose(parts["float32"][1], whole[11], rtol=1e-5)


@conventional
def test_empty_tree_passes(name):
    assert update(name, {}) == {}
    assert update(name, {"a": None}) == {"a": None}


@every
@pytest.mark.parametrize(
    "tree", [jnp.ones(()), {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 2))}, {"a": jnp.ones((0, 2))}]
)
def test_leaves_without_a_common_task_axis_are_an_error_that_names_the_function(name, tree):
    with pytest.raises(ValueError, match=rf"^{name}: .* has shape"):
        update(name, tree)


@conventional
def test_is_the_first_link_of_a_chain_compiled_once(name, compiled):
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    tasks = max(2, AGGREGATORS[name].fewest)
    transformation = optax.chain(AGGREGATORS[name].made(tasks), optax.adamw(1e-3))

    @jax.jit
    def chained(params, state, gradients):
        updates, state = transformation.update(
            gradients, state, params, value=jnp.float32(1.0), task_losses=jnp.ones(tasks)
        )
        return optax.apply_updates(params, updates), state

    factors = jnp.where(jnp.arange(tasks) == 1, -0.5, 1.0)
    gradients = {"w": factors[:, None, None] * jnp.ones((2, 3)), "b": jnp.ones((tasks, 3))}
    state = transformation.init(params)
    compiled.clear()
    first, state = chained(params, state, gradients)
    second, state = chained(first, state, gradients)
    assert [x for x in compiled if "chained" in x] == ["jit(chained)"]
    assert jax.tree.map(lambda x: (x.shape, x.dtype), second) == jax.tree.map(lambda x: (x.shape, x.dtype), params)
    np.testing.assert_allclose(first["b"], -1e-3, rtol=1e-4)  # Adam's first step is the sign of the aggregate


@conventional
def test_scan_and_vmap_equal_the_loop(name):
    step = jitted(name, 3)
    gradients = jnp.asarray(np.stack([conflicting(3), conflicting(3)[::-1] ** 3]), jnp.float32)
    state = AGGREGATORS[name].made(3).init(like_one_task(gradients[0]))
    together, _ = jax.jit(jax.vmap(step, in_axes=(0, None)))(gradients, state)
    for one, alone in zip(together, gradients, strict=True):
        np.testing.assert_allclose(one, step(alone, state)[0], rtol=1e-4, atol=1e-6)
    last, scanned = jax.lax.scan(lambda s, g: step(g, s)[::-1], state, gradients)
    for one, alone in zip(scanned, gradients, strict=True):
        expected, state = step(alone, state)
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), last, state)


@conventional
def test_sharded_gradients_give_the_unsharded_update(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    gradients = {"w": jnp.asarray(conflicting(3, 32), jnp.float32).reshape(3, 2, 16)}
    shard = jax.device_put(gradients, NamedSharding(mesh, PartitionSpec(None, None, "data")))
    expected, got = update(name, gradients)["w"], update(name, shard)["w"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert got.sharding.shard_shape(got.shape) == (2, 2)


@conventional
def test_lowers_for_every_platform(name):
    exported = jax.export.export(jitted(name, 3), platforms=["cpu", "cuda", "tpu"])(
        jax.ShapeDtypeStruct((3, 4, 5), jnp.float32), AGGREGATORS[name].made(3).init(jnp.zeros((4, 5)))
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "callback" not in exported.mlir_module()
