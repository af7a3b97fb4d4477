"""What keeps the last gradients reads them where they are, and writes over one of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trajectories import compiled_step

from optimizers import grokfast_ma, mfac
from optimizers._memory import combination, mixed, products, replaced


@pytest.mark.parametrize("shape", [(256, 256), (64, 64)])
@pytest.mark.parametrize("tx", [mfac(1e-3, num_grads=16), grokfast_ma(16)], ids=["mfac", "grokfast_ma"])
def test_no_copy_of_the_memory_is_kept(tx, shape):
    params = {name: jnp.ones(shape) for name in "abcd"}
    executable, _ = compiled_step(tx, params)
    memory = 16 * sum(x.nbytes for x in jax.tree.leaves(params))
    # Sums of small arrays want the weights in the shape of one array's memory.
    assert executable.memory_analysis().temp_size_in_bytes < memory / 2


@pytest.mark.parametrize("shape", [(150, 150), (3, 2), ()])
def test_products_and_combinations(shape):
    random = np.random.default_rng(0)
    memory, g, weights = random.normal(size=(3, *shape)), random.normal(size=shape), random.normal(size=3)
    after = np.stack([memory[0], g, memory[2]])
    with jax.enable_x64(True):
        slot, old, new = jnp.int32(1), jnp.asarray(memory), jnp.asarray(g)
        inner = products(old, new, slot)
        mixture, written = mixed(jnp.asarray(weights), old, new, slot)
        combined, kept = combination(jnp.asarray(weights), old), replaced(old, new, slot, new)
    np.testing.assert_allclose(inner, [np.sum(x * g) for x in after], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(mixture, np.tensordot(weights, after, 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(combined, np.tensordot(weights, memory, 1), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(written, after)
    np.testing.assert_array_equal(kept, after)
