"""Lion: Optax's trajectory, from the new momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import STEPS, compiled_step, gradients, run, start

from optimizers import lion, scale_by_lion

RATE = optax.cosine_decay_schedule(1e-2, STEPS)
MASK = {"matrix": True, "vector": False, "scalar": False, "empty": True}

SAME_AS_OPTAX = {
    "lion": (lion(1e-2), optax.lion(1e-2)),
    "masked_scheduled": (lion(RATE, weight_decay=0.1, mask=MASK), optax.lion(RATE, weight_decay=0.1, mask=MASK)),
    "b1_above_b2": (lion(1e-2, 0.99, 0.9), optax.lion(1e-2, 0.99, 0.9)),
    "signum": (lion(1e-2, 0.9, 0.9), optax.lion(1e-2, 0.9, 0.9)),
    "b1_0": (lion(1e-2, 0.0, 0.9), optax.lion(1e-2, 0.0, 0.9)),
    "b2_small": (lion(1e-2, 0.9, 0.11), optax.lion(1e-2, 0.9, 0.11)),
    "b2_below_inversion": (lion(1e-2, 0.9, 1e-3), optax.lion(1e-2, 0.9, 1e-3)),
    "b2_0": (lion(1e-2, 0.9, 0.0), optax.lion(1e-2, 0.9, 0.0)),
    "smooth": (scale_by_lion(mode="smooth", smooth_beta=3.0), optax.scale_by_lion(mode="smooth", smooth_beta=3.0)),
    "refined": (scale_by_lion(mode="refined"), optax.scale_by_lion(mode="refined")),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_trajectory_equals_optax(name):
    with jax.enable_x64(True):
        (path, state), (expected, peer_state) = (run(tx, start(), gradients()) for tx in SAME_AS_OPTAX[name])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), path, expected)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), state, peer_state)
        assert jax.tree.structure(state) == jax.tree.structure(peer_state)


def test_float32_signs_are_those_of_optax_bit_for_bit():
    grads = gradients(np.float32)
    (path, _), (expected, _) = (run(tx, start(np.float32), grads, pull=0.0) for tx in (lion(1e-2), optax.lion(1e-2)))
    jax.tree.map(np.testing.assert_array_equal, path, expected)


def test_scaling_the_gradients_changes_nothing():
    """Powers of two are exact, so the parameters are equal to the bit and the momentum is scaled."""
    grads = gradients(np.float32)
    path, state = run(lion(1e-2), start(np.float32), grads, pull=0.0)
    scaled, scaled_state = run(lion(1e-2), start(np.float32), jax.tree.map(lambda g: g * 2.0**20, grads), pull=0.0)
    jax.tree.map(np.testing.assert_array_equal, path, scaled)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a * 2.0**20, b), state[0].mu, scaled_state[0].mu)


def test_first_step_is_the_sign_of_the_gradient():
    gradient = jnp.array([0.3, -1e-30, 0.0, 1e30])
    update, _ = lion(0.1, weight_decay=0.0).update(gradient, lion(0.1).init(gradient), gradient)
    np.testing.assert_array_equal(update, np.float32(-0.1) * np.array([1, -1, 0, 1], np.float32))


def test_the_stored_momentum_is_what_the_update_reads():
    """With bfloat16 the interpolation follows from the rounded momentum and the gradient, and from nothing else."""
    tx = scale_by_lion(0.9, 0.99, mu_dtype=jnp.bfloat16, mode="refined")  # inside [-1, 1] the interpolation itself
    random = np.random.default_rng(0)
    state = tx.init(jnp.zeros(1000))
    for _ in range(5):
        gradient = jnp.asarray(random.uniform(-1, 1, size=1000), jnp.float32)
        update, state = jax.jit(tx.update)(gradient, state)
        momentum = np.asarray(state.mu, np.float64)
        expected = 0.9 / 0.99 * momentum + (1 - 0.9 / 0.99) * np.asarray(gradient, np.float64)
        np.testing.assert_allclose(update, expected, rtol=1e-6, atol=1e-7)


def test_reading_the_old_momentum_would_cost_a_copy():
    """The definition as it stands (b2 = 0 cannot be inverted) and Optax's form hold the momentum twice."""
    params = {"w": jnp.ones((256, 256))}
    for tx, copies in ((lion(1e-3), 0), (lion(1e-3, b2=0.0), 1), (optax.lion(1e-3), 1)):
        executable, _ = compiled_step(tx, params)
        assert executable.memory_analysis().temp_size_in_bytes == copies * params["w"].nbytes


def test_an_array_b2_of_zero_gives_no_plausible_number():
    gradient = jnp.array([1.0, -2.0])
    make = lambda b2: scale_by_lion(b2=b2).update(gradient, scale_by_lion().init(gradient))[0]
    assert np.isnan(jax.jit(make)(0.0)).all()
    np.testing.assert_array_equal(jax.jit(make)(0.99), [1.0, -1.0])


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"^scale_by_lion: b1 must lie in \[0, 1\], got 1.5"):
        scale_by_lion(b1=1.5)
    with pytest.raises(ValueError, match=r"^scale_by_lion: mode must be 'hard', 'smooth' or 'refined', got 'soft'"):
        scale_by_lion(mode="soft")
    with pytest.raises(TypeError, match=r"^lion: mu_dtype must be None or one of .*, got int32"):
        lion(1e-3, mu_dtype=jnp.int32)
