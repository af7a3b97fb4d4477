"""PCGrad: torchjd's golden weights in the same orders, the paper's Algorithm 1 on vectors, and the random key."""

import pathlib

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

from optimizers.aggregation import PCGradState, pcgrad, pcgrad_weights
from optimizers.aggregation.pcgrad import _weights_in_order

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "aggregation.npz")  # torchjd 0.18.0
CASES = sorted({name.split("/")[0] for name in GOLDEN.files if "/" in name})


step = jax.jit(pcgrad().update)  # the seed is in the state


def algorithm_1(gradients, orders):
    """The paper's loop on the gradients themselves."""
    total = np.zeros(gradients.shape[1])
    for i, order in enumerate(orders):
        g = gradients[i].copy()
        for j in order:
            inner = g @ gradients[j]
            if j != i and inner < 0:
                g -= inner / (gradients[j] @ gradients[j]) * gradients[j]
        total += g
    return total


def test_weights_equal_torchjd_in_the_same_orders():
    with jax.enable_x64(True):
        compiled = jax.jit(_weights_in_order)
        for case in CASES:
            gradients, orders = GOLDEN[f"{case}/jacobian"], GOLDEN[f"{case}/orders"]
            weights = np.asarray(compiled(jnp.asarray(gradients @ gradients.T), jnp.asarray(orders)))
            scale = np.abs(gradients).max()
            np.testing.assert_allclose(weights, GOLDEN[f"{case}/pcgrad_weights"], rtol=1e-9, atol=1e-12, err_msg=case)
            expected = algorithm_1(gradients, orders)
            np.testing.assert_allclose(weights @ gradients, expected, rtol=1e-9, atol=1e-12 * scale, err_msg=case)


def test_example_of_torchjd():
    gradients = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    updates, _ = step(gradients, pcgrad().init(None))
    np.testing.assert_allclose(updates, [0.5848, 3.8012, 3.8012], atol=5e-5)


def test_two_tasks_by_hand():
    """(1, 0) loses its part along (-1, 1), which leaves (0.5, 0.5); (-1, 1) becomes (0, 1)."""
    updates, _ = step(jnp.array([[1.0, 0.0], [-1.0, 1.0]]), pcgrad().init(None))
    np.testing.assert_allclose(updates, [0.5, 1.5], rtol=1e-6)


def test_order_matters_with_three_tasks_and_every_order_is_drawn():
    # Made orthogonal to the second and then to the third, the first gradient turns past its own normal plane.
    angles = np.deg2rad([0.0, 170.0, 195.0])
    gradients = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1.0], [2.0], [0.5]])
    products = jnp.asarray(gradients @ gradients.T, jnp.float32)
    keys = jax.random.split(jax.random.key(1), 400)
    drawn = np.asarray(jax.jit(jax.vmap(pcgrad_weights, in_axes=(None, 0)))(products, keys)) @ gradients
    others = [[(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)]]
    possible = [algorithm_1(gradients, (a, b, c)) for a in others[0] for b in others[1] for c in others[2]]
    distances = np.abs(drawn[:, None] - np.stack(possible)).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-5
    # A task's order is uniform and independent of the others': each outcome comes up in proportion to the combinations
    # of orders that give it, to 4 standard errors.
    for outcome in np.unique(np.round(possible, 6), axis=0):
        share = (np.abs(np.stack(possible) - outcome).max(axis=1) < 1e-4).mean()
        counted = (np.abs(drawn - outcome).max(axis=1) < 1e-4).mean()
        assert share < 1
        assert abs(counted - share) < 4 * np.sqrt(share * (1 - share) / len(keys))


def test_key_advances_and_seeds_differ():
    state = pcgrad(7).init(None)
    gradients = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)
    first, following = step(gradients, state)
    second, _ = step(gradients, following)
    again, _ = step(gradients, state)
    other, _ = step(gradients, pcgrad(8).init(None))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_seed_typed_and_raw_keys(implementation):
    gradients = jnp.asarray(np.random.default_rng(0).standard_normal((4, 4)), jnp.float32)
    key = jax.random.key(3, impl=implementation)
    typed, _ = jax.jit(pcgrad(key).update)(gradients, pcgrad(key).init(None))
    expected = pcgrad_weights(gradients @ gradients.T, jax.random.split(key)[1]) @ gradients
    np.testing.assert_allclose(typed, expected, rtol=1e-5, atol=1e-6)
    if implementation == "threefry2x32":
        for same in (3, np.int32(3), jnp.int32(3), jax.random.key_data(key)):
            np.testing.assert_array_equal(step(gradients, pcgrad(same).init(None))[0], typed)


def test_a_sweep_over_seeds_is_one_vmap():
    gradients = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)

    def run(seed):
        return pcgrad(seed).update(gradients, pcgrad(seed).init(None))[0]

    together = jax.jit(jax.vmap(run))(jnp.arange(3))
    for seed in range(3):
        alone, _ = step(gradients, pcgrad(seed).init(None))
        np.testing.assert_allclose(together[seed], alone, rtol=1e-5, atol=1e-6)


def test_inject_hyperparams():
    gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
    transformation = optax.inject_hyperparams(pcgrad)(key=2)
    updates, _ = jax.jit(transformation.update)(gradients, transformation.init(gradients[0]))
    np.testing.assert_allclose(updates, [0.5, 1.5], rtol=1e-6)


def test_state_round_trips_bit_for_bit(tmp_path):
    gradients = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)
    state = step(gradients, pcgrad().init(None))[1]
    by_flax = flax.serialization.from_bytes(pcgrad().init(None), flax.serialization.to_bytes(state))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        by_orbax = checkpointer.restore(tmp_path / "state", pcgrad().init(None))
    expected, _ = step(gradients, state)
    for restored in (by_flax, by_orbax):
        assert isinstance(restored, PCGradState)
        np.testing.assert_array_equal(restored.key_data, state.key_data)
        np.testing.assert_array_equal(step(gradients, restored)[0], expected)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (0, 0), (2, 2, 2)])
def test_weights_of_something_that_is_no_gramian(shape):
    with pytest.raises(ValueError, match=r"^pcgrad_weights: gramian must have shape \[T, T\]"):
        pcgrad_weights(jnp.zeros(shape), jax.random.key(0))
