"""Steepest descent under norms: the two properties that define a dual direction, and its limits among optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def singular_values(g):
    return np.linalg.svd(g, compute_uv=False)


P = 3.0
Q = P / (P - 1)
# The norm of a matrix [in, out], and its dual, in NumPy.
NORMS = {
    "linf": (lambda w: np.abs(w).max(), lambda g: np.abs(g).sum()),
    "frobenius": (np.linalg.norm, np.linalg.norm),
    "spectral": (lambda w: singular_values(w)[0], lambda g: singular_values(g).sum()),
    "rms_rms": (
        lambda w: singular_values(w)[0] * np.sqrt(w.shape[0] / w.shape[1]),
        lambda g: singular_values(g).sum() * np.sqrt(g.shape[1] / g.shape[0]),
    ),
    "l1_rms": (
        lambda w: np.sqrt((w**2).mean(axis=1)).max(),
        lambda g: np.sqrt(g.shape[1]) * np.sqrt((g**2).sum(axis=1)).sum(),
    ),
    "lp_linf": (
        lambda w: ((np.abs(w) ** Q).sum(axis=0) ** (1 / Q)).max(),
        lambda g: ((np.abs(g) ** P).sum(axis=0) ** (1 / P)).sum(),
    ),
}


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
@pytest.mark.parametrize("name", NORMS)
def test_direction_has_norm_one_and_attains_the_dual_norm(name, shape):
    norm, dual = NORMS[name]
    with jax.enable_x64(True):
        g = normal(*shape)
        tx = optimizers.scale_by_steepest_descent(name, dual_scale=False, p=P, ns_steps=None)
        direction = np.asarray(tx.update(g, tx.init(g))[0])
        np.testing.assert_allclose(norm(direction), 1, rtol=1e-12)
        np.testing.assert_allclose(np.sum(g * direction), dual(g), rtol=1e-12)
        np.testing.assert_allclose(optimizers.dual_norm(g, name, p=P), dual(g), rtol=1e-12)
        zero = np.zeros(shape)
        np.testing.assert_array_equal(tx.update(zero, tx.init(zero))[0], 0)


def test_two_is_the_default_exponent():
    with jax.enable_x64(True):
        g = normal(3, 4)
        np.testing.assert_allclose(optimizers.dual_norm(g, "lp_linf"), np.linalg.norm(g, axis=0).sum(), rtol=1e-12)


def test_powers_of_large_gradients_do_not_overflow():
    g = jnp.float32(normal(3, 4))
    tx = optimizers.scale_by_steepest_descent("lp_linf", dual_scale=False, p=P)
    large, expected = (tx.update(x, tx.init(x))[0] for x in (2.0**100 * g, g))
    np.testing.assert_array_equal(large, expected)


def test_directions_without_gradient_get_no_step():
    with jax.enable_x64(True):
        u, v = normal(4), normal(3, seed=1)
        tx = optimizers.scale_by_steepest_descent("spectral", dual_scale=False, ns_steps=None)
        g = np.outer(u, v)
        expected = g / np.linalg.norm(u) / np.linalg.norm(v)
        np.testing.assert_allclose(tx.update(g, tx.init(g))[0], expected, rtol=1e-12)


def test_layers_share_one_sum_of_dual_norms():
    with jax.enable_x64(True):
        gradient = {"w": normal(3, 4), "e": normal(5, 2, seed=1), "b": normal(4, seed=2)}
        norms, scales = {"w": "spectral", "e": "l1_rms", "b": "linf"}, {"w": 0.5, "e": 2.0, "b": 1.0}
        tx = optimizers.scale_by_steepest_descent(norms, layer_scale=scales, ns_steps=None)
        update, _ = tx.update(gradient, tx.init(gradient))
        u, _, vh = np.linalg.svd(gradient["w"], full_matrices=False)
        rows = np.linalg.norm(gradient["e"], axis=1, keepdims=True)
        total = 0.5 * singular_values(gradient["w"]).sum() + 2 * np.sqrt(2) * rows.sum() + np.abs(gradient["b"]).sum()
        np.testing.assert_allclose(update["w"], total * 0.5 * u @ vh, rtol=1e-11)
        np.testing.assert_allclose(update["e"], total * 2 * np.sqrt(2) * gradient["e"] / rows, rtol=1e-11)
        np.testing.assert_allclose(update["b"], total * np.sign(gradient["b"]), rtol=1e-11)
        one = optimizers.scale_by_steepest_descent(lambda tree: norms, layer_scale=scales, ns_steps=None)
        for name, found in one.update(gradient, one.init(gradient))[0].items():
            np.testing.assert_array_equal(found, update[name])


def test_sign_descent_is_adam_without_averages():
    g = {"w": jnp.float32(normal(3, 4)), "b": jnp.float32(normal(3))}
    ours, adam = optimizers.steepest_descent(0.1, "linf", dual_scale=False), optax.adam(0.1, b1=0.0, b2=0.0, eps=0.0)
    updates, expected = ours.update(g, ours.init(g))[0], adam.update(g, adam.init(g))[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)


def test_spectral_descent_is_muon_without_momentum():
    with jax.enable_x64(True):
        g = {"w": normal(3, 4), "tall": normal(5, 2, seed=1), "square": normal(3, 3, seed=2)}
        ours = optimizers.scale_by_steepest_descent("spectral", dual_scale=False)
        muon = optimizers.scale_by_muon(beta=0.0, eps=0.0)
        updates, expected = ours.update(g, ours.init(g))[0], muon.update(g, muon.init(g))[0]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), updates, expected)


def test_a_norm_that_is_none_is_refused_when_a_function_gives_it():
    tx = optimizers.scale_by_steepest_descent(lambda tree: "nuclear")
    g = jnp.ones((2, 2))
    with pytest.raises(ValueError, match=r"scale_by_steepest_descent: norm_map must be one of .*'nuclear'"):
        tx.update(g, tx.init(g))


def test_prodigy_sign_follows_its_equations():
    with jax.enable_x64(True):
        start, centre = normal(4), normal(4, seed=1)
        tx, x, state = optimizers.prodigy_sign(0.5, d0=1e-3), start, None
        state, y, d = tx.init(start), start.copy(), 1e-3
        for _ in range(25):
            g = x - centre
            updates, state = tx.update(g, state, x)
            x = optax.apply_updates(x, updates)
            g = y - centre
            d = max(d, g @ (start - y) / np.abs(g).sum())
            y = y - 0.5 * d * np.sign(g)
        np.testing.assert_allclose(x, y, rtol=1e-6)  # the step size is kept in float32
        np.testing.assert_allclose(state[0].step_size, d, rtol=1e-6)
        assert 1e-3 < d <= np.abs(start - centre).max()


def test_prodigy_sign_needs_no_step_size():
    """The step only grows, so what solves Optax's problems is a learning rate that decays to 0."""
    steps = 500
    tx = optimizers.prodigy_sign(optax.linear_schedule(1.0, 0.0, steps))
    for scale in (0.01, 1.0, 100.0):
        centre = scale * jnp.array([1.0, -2.0, 0.5])

        def step(carry, _, centre=centre):
            x, state = carry
            updates, state = tx.update(2 * (x - centre), state, x)
            return (optax.apply_updates(x, updates), state), None

        start = jnp.zeros(3)
        (x, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=steps)
        np.testing.assert_allclose(x, centre, rtol=0, atol=0.02 * scale)


def test_prodigy_sign_needs_parameters():
    tx = optimizers.prodigy_sign()
    with pytest.raises(ValueError, match="prodigy_sign: update needs params"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_the_sum_of_dual_norms_is_taken_once():
    """Where the compiler repeated it for every leaf, a thousand leaves took minutes to compile."""
    tree = [jnp.ones((4, 4))] * 100
    tx = optimizers.steepest_descent(0.1, ns_steps=1)
    program = jax.jit(lambda g: tx.update(g, tx.init(tree), tree)[0]).lower(tree).compile().as_text()
    assert program.count(" add(") < 10 * len(tree)
