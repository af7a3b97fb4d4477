"""MoMo against the authors' code and Optax, as the Polyak step, and where floats are small."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import compiled_step

from optimizers import momo, momo_adam


@pytest.fixture(scope="module")
def golden():  # tests/golden/stepsize.py wrote it
    return np.load(pathlib.Path(__file__).parents[2] / "golden" / "stepsize.npz")


def loss_fn(params, example):
    x, y = example
    return 0.5 * jnp.sum((params["matrix"] @ x + params["vector"] - y) ** 2) + 0.3


def run(tx, start, examples):
    """Parameters and states after each step of least squares, one example a step."""

    @jax.jit
    def scan(start, examples):
        def step(carry, example):
            params, state = carry
            value, grad = jax.value_and_grad(loss_fn)(params, example)
            updates, state = tx.update(grad, state, params, value=value)
            carry = optax.apply_updates(params, updates), state
            return carry, carry

        return jax.lax.scan(step, (start, tx.init(start)), examples)[1]

    return scan(jax.tree.map(jnp.asarray, start), jax.tree.map(jnp.asarray, examples))


def problem(golden):
    start = {"matrix": golden["start_matrix"], "vector": golden["start_vector"]}
    return start, (golden["inputs"], golden["targets"])


GOLDEN = {
    "momo": momo(),
    "momo small": momo(0.02, beta=0.8),
    "momo decay": momo(lower_bound=0.2, weight_decay=0.1),
    "momo corrected": momo(0.5, lower_bound=0.3, bias_correction=True),
    "momo adapted": momo(weight_decay=0.05, adapt_lower_bound=True),
    "momo corrected adapted": momo(2.0, weight_decay=0.05, adapt_lower_bound=True, bias_correction=True),
    "momo_adam": momo_adam(1.0),
    "momo_adam small": momo_adam(0.01, 0.8, 0.95, 1e-3),
    "momo_adam decay": momo_adam(0.3, lower_bound=0.2, weight_decay=0.1),
    "momo_adam adapted": momo_adam(1.0, weight_decay=0.05, adapt_lower_bound=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_trajectory_equals_the_authors(golden, name):
    kept = golden["kept_steps"]
    with jax.enable_x64(True):
        path, states = run(GOLDEN[name], *problem(golden))
        for part in ("matrix", "vector"):
            np.testing.assert_allclose(path[part][kept], golden[f"{name} {part}"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(states.lb[kept], golden[f"{name} lb"], rtol=1e-9, atol=1e-12)


SAME_AS_OPTAX = {
    "momo": (momo(0.5, lower_bound=0.1), optax.contrib.momo(0.5, lower_bound=0.1)),
    "momo_adam": (momo_adam(0.1), optax.contrib.momo_adam(0.1)),
    "adapted": (momo(1.0, adapt_lower_bound=True), optax.contrib.momo(1.0, adapt_lower_bound=True)),
    "scheduled": (
        momo(optax.linear_schedule(1.0, 0.01, 50)),
        optax.contrib.momo(optax.linear_schedule(1.0, 0.01, 50)),
    ),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_without_decay_the_trajectory_equals_optax(golden, name):
    with jax.enable_x64(True):
        (path, _), (expected, _) = (run(tx, *problem(golden)) for tx in SAME_AS_OPTAX[name])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), path, expected)


def descend(tx, x, gradient, value):
    x, gradient = jnp.asarray(x), jnp.asarray(gradient)
    return tx.update(gradient, tx.init(x), x, value=value)[0]


def test_without_momentum_it_is_the_polyak_step_with_a_ceiling():
    gradient = np.array([3.0, -4.0], np.float32)
    for rate, value in ((1.0, 2.0), (0.01, 2.0), (10.0, 0.5)):
        expected = -min(rate, (value - 0.25) / 25.0) * gradient
        np.testing.assert_allclose(
            descend(momo(rate, beta=0.0, lower_bound=0.25), [5.0, 7.0], gradient, value), expected, rtol=1e-5
        )
        polyak = optax.polyak_sgd(max_learning_rate=rate, f_min=0.25)
        np.testing.assert_allclose(descend(polyak, [5.0, 7.0], gradient, value), expected, rtol=1e-6)


def test_a_large_learning_rate_does_not_diverge(golden):
    start, examples = problem(golden)
    path, _ = run(momo(1e3, lower_bound=0.3), start, examples)
    assert np.isfinite(path["matrix"]).all()
    with np.errstate(all="ignore"):
        diverged, _ = run(optax.with_extra_args_support(optax.sgd(1e3)), start, examples)
    assert not np.isfinite(diverged["matrix"]).all()


def test_a_large_ceiling_of_one_step_is_adam_below_it():
    """Where the model asks for more, the step is Adam's."""
    x, gradient = jnp.array([1.0, -2.0]), jnp.array([0.3, 70.0])
    np.testing.assert_allclose(
        descend(momo_adam(1e-3), x, gradient, 1e6),
        optax.adam(1e-3).update(gradient, optax.adam(1e-3).init(x))[0],
        rtol=1e-5,
    )


def test_decay_is_proximal_and_heeds_the_mask():
    """A zero gradient leaves x / (1 + η λ); with a mask, of the leaves it names alone, and τ is its minimiser."""
    params = {"a": jnp.array([2.0, -1.0]), "b": jnp.array([3.0])}
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = momo(0.5, weight_decay=0.2, mask={"a": True, "b": False})
    updates, _ = tx.update(zeros, tx.init(params), params, value=1.0)
    np.testing.assert_allclose(params["a"] + updates["a"], params["a"] / 1.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["b"], 0.0)
    grads = {"a": np.array([1.0, 2.0]), "b": np.array([-0.5])}
    # The step minimises max(f + ⟨g, y - x⟩, 0) + |y - x|² / 2η + λ |y_a|² / 2 over y: no neighbour is better.
    with jax.enable_x64(True):
        params = jax.tree.map(lambda p: jnp.asarray(p, float), params)
        updates, _ = tx.update(grads, tx.init(params), params, value=0.7)

    def model(u):
        y = np.concatenate([params["a"], params["b"]]) + u
        g = np.concatenate([grads["a"], grads["b"]])
        return max(0.7 + g @ u, 0.0) + u @ u / (2 * 0.5) + 0.2 * (y[:2] @ y[:2]) / 2

    found, random = np.concatenate([updates["a"], updates["b"]]), np.random.default_rng(0)
    assert all(model(found) < model(found + 1e-2 * random.normal(size=3)) for _ in range(100))


def test_tiny_gradients_still_move():
    """‖d‖² below 2.2e-16: Optax stands still there; the Polyak step of |x|² / 2 halves x."""
    x = jnp.array([1e-9, -2e-9])
    loss = 0.5 * jnp.sum(x**2)
    np.testing.assert_allclose(descend(momo(beta=0.0), x, x, loss), -0.5 * x, rtol=1e-5)
    np.testing.assert_array_equal(descend(optax.contrib.momo(beta=0.0), x, x, loss), 0.0)


def test_float16_sums_do_not_overflow():
    x = jnp.full(1000, 30.0, jnp.float16)
    update = descend(momo(beta=0.0), x, x, jnp.float32(450_000.0))
    assert update.dtype == jnp.float16
    np.testing.assert_allclose(update, -15.0, rtol=1e-3)


def test_what_is_not_a_number_stays_none():
    x = jnp.ones(2)
    for gradient, value in (([jnp.nan, 1.0], 1.0), ([1.0, 1.0], jnp.nan)):
        for tx in (momo(), momo_adam()):
            assert np.isnan(descend(tx, x, gradient, value)).any()
    assert np.isnan(descend(momo(), x, [1e30, 1.0], 1.0)).all()  # the square of its norm is beyond float32


def test_the_step_needs_no_temporary():
    tx = momo(weight_decay=0.1)
    params = {"a": jnp.ones((64, 128)), "b": jnp.ones((96, 64))}
    given = optax.GradientTransformation(tx.init, lambda g, s, p: tx.update(g, s, p, value=1.0))
    executable, donated = compiled_step(given, params)
    memory = executable.memory_analysis()
    assert memory.temp_size_in_bytes < 4096 + 512  # the block of XLA's vectorised sums
    assert memory.alias_size_in_bytes == sum(x.nbytes for x in donated)


def test_a_missing_loss_is_named():
    for make in (momo, momo_adam):
        with pytest.raises(ValueError, match=f"^{make.__name__}: update needs value"):
            make().update(jnp.ones(2), make().init(jnp.ones(2)), jnp.ones(2))
        with pytest.raises(ValueError, match=f"^{make.__name__}: update needs params"):
            make().update(jnp.ones(2), make().init(jnp.ones(2)), value=1.0)
