"""The Gramian of a tree and the weighted sum of its tasks, against NumPy float64 on the flattened tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from optimizers.aggregation._gramian import combine, gramian, weighted


def tree_of(tasks, dtype=np.float32):
    random = np.random.default_rng(tasks)
    shapes = {"matrix": (tasks, 8, 16), "scalar": (tasks,), "empty": (tasks, 0), "cube": (tasks, 2, 3, 8)}
    return {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()} | {"none": None}


def flat(tree, tasks):
    return np.concatenate([np.asarray(x).astype(np.float64).reshape(tasks, -1) for x in jax.tree.leaves(tree)], axis=1)


@pytest.mark.parametrize("tasks", [1, 3, 20])
def test_gramian_and_weighted_sum_equal_numpy_on_the_flat_tree(tasks):
    tree = tree_of(tasks)
    jacobian = flat(tree, tasks)
    products = gramian(tree)
    assert products.dtype == jnp.float32
    np.testing.assert_allclose(products, jacobian @ jacobian.T, rtol=2e-6, atol=2e-5)
    weights = np.linspace(-1.0, 2.0, tasks, dtype=np.float32)
    aggregate = combine(jnp.asarray(weights), tree)
    assert aggregate["none"] is None
    assert {name: x.shape for name, x in aggregate.items() if x is not None} == {
        "matrix": (8, 16),
        "scalar": (),
        "empty": (0,),
        "cube": (2, 3, 8),
    }
    np.testing.assert_allclose(flat(jax.tree.map(lambda x: x[None], aggregate), 1)[0], weights @ jacobian, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("tasks", [3, 20])
def test_16_bit_leaves_are_summed_in_float32(dtype, tasks):
    # 4096 squares of 16 sum to 2^20: above float16's range, and bfloat16 sums stop growing long before.
    tree = {"w": jnp.full((tasks, 64, 64), 16.0, dtype)}
    np.testing.assert_array_equal(gramian(tree), np.full((tasks, tasks), 2.0**20, np.float32))
    # 1 + 2^-10 - 1, which neither type holds on the way.
    weights = jnp.zeros(tasks).at[:2].set(jnp.array([1.0 + 2.0**-10, -1.0]))
    total = combine(weights, {"w": jnp.ones((tasks, 2), dtype)})["w"]
    assert total.dtype == dtype
    np.testing.assert_array_equal(total.astype(jnp.float32), [2.0**-10] * 2)


def test_float64_leaves_are_summed_in_float64():
    with jax.enable_x64(True):
        tree = {"w": jnp.array([[1.0, 1e-12], [1.0, -1e-12]])}
        products = gramian(tree)
        assert products.dtype == jnp.float64
        np.testing.assert_allclose(combine(jnp.array([1.0, -1.0]), tree)["w"], [0.0, 2e-12], rtol=1e-12)


def test_complex_leaves_have_a_real_gramian():
    gradients = np.array([[1 + 2j, 3j], [2 - 1j, 1 + 1j]], np.complex64)
    expected = (gradients @ gradients.conj().T).real
    products = gramian({"w": gradients})
    assert products.dtype == jnp.float32
    np.testing.assert_allclose(products, expected, rtol=1e-6)
    np.testing.assert_allclose(combine(jnp.array([1.0, 2.0]), {"w": gradients})["w"], [5 + 0j, 2 + 5j], rtol=1e-6)


def test_empty_tree():
    assert gramian({}).shape == (0, 0)
    assert gramian({"none": None}).shape == (0, 0)


def test_sharded_leaves_give_the_unsharded_result_and_stay_sharded():
    tree = tree_of(3)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = {"matrix": (None, "data"), "cube": (None, None, None, "data"), "scalar": (), "empty": ()}
    shard = {
        name: None if x is None else jax.device_put(x, NamedSharding(mesh, PartitionSpec(*specs[name])))
        for name, x in tree.items()
    }
    weights = jnp.array([1.0, -0.5, 2.0])
    products, total = jax.jit(lambda t: (gramian(t), combine(weights, t)))(shard)
    np.testing.assert_allclose(products, gramian(tree), rtol=2e-6, atol=2e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), total, combine(weights, tree))
    assert total["matrix"].sharding.shard_shape((8, 16)) == (1, 16)
    assert total["cube"].sharding.shard_shape((2, 3, 8)) == (2, 3, 1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_a_large_leaf_is_multiplied_in_blocks(dtype):
    """All of it, the columns beyond the last whole block too, and with no temporary but a block."""
    leaf = jnp.asarray(np.random.default_rng(0).normal(size=(32, 131_073)), dtype)
    executable = jax.jit(gramian).lower(leaf).compile()
    exact = np.asarray(leaf, np.float64)
    exact = exact @ exact.T
    np.testing.assert_allclose(executable(leaf), exact, rtol=0, atol=4e-6 * exact.max())  # 4e4 roundings of float32
    assert executable.memory_analysis().temp_size_in_bytes < 0.15 * leaf.nbytes
    slope = jax.grad(lambda x: gramian(x)[0, 1])(leaf)
    np.testing.assert_array_equal(slope[:2], leaf[1::-1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_no_temporary_of_gradient_size(dtype):
    transformation = weighted("test", lambda products: products[0])
    tree = {"w": jnp.ones((8, 64, 256), dtype), "b": jnp.ones((8, 256), dtype)}
    executable = jax.jit(transformation.update).lower(tree, transformation.init(None)).compile()
    assert executable.memory_analysis().temp_size_in_bytes < 4096  # one task of "w" is 32768 bytes or more


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (jnp.ones(()), r"gramian: every leaf needs a leading axis .* the gradient has shape \(\)"),
        ({"a": jnp.ones((2, 3)), "b": jnp.ones(())}, r"\['b'\] has shape \(\)"),
        ({"a": jnp.ones((0, 3))}, r"at least one task, \['a'\] has shape \(0, 3\)"),
        ({"a": jnp.ones((2, 3)), "b": jnp.ones((3, 2))}, r"same number of tasks in all leaves, 2, \['b'\] .* \(3, 2\)"),
    ],
)
def test_leaves_without_a_common_task_axis_are_an_error(tree, message):
    with pytest.raises(ValueError, match=message):
        gramian(tree)
