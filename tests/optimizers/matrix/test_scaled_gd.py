"""Scaled gradient descent: NumPy, rotations of the factor, its limits, and the pace that it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def step(tx, gradient, params):
    return tx.update(gradient, tx.init(params), params)[0]


def test_factors_equal_numpy():
    with jax.enable_x64(True):
        params = {
            "left": normal(5, 2),
            "right": normal(4, 2, seed=1),
            "alone": normal(5, 2, seed=2),
            "stack": normal(3, 4, 2, seed=3),
            "bias": normal(3, seed=4),
        }
        gradient = {name: normal(*x.shape, seed=9) for name, x in params.items()}
        found = step(optimizers.scale_by_scaled_gd(0.3, {"left": "right"}), gradient, params)
        partner = {"left": "right", "right": "left"}
        for name in ("left", "right", "alone", "stack"):
            factor = params[partner.get(name, name)]
            gram = factor.mT @ factor if hasattr(factor, "mT") else np.swapaxes(factor, -1, -2) @ factor
            expected = gradient[name] @ np.linalg.inv(gram + 0.3 * np.eye(2))
            np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(found["bias"], gradient["bias"])


def test_rotations_of_the_factor_rotate_the_update():
    with jax.enable_x64(True):
        x, g, rotation = normal(6, 3), normal(6, 3, seed=1), np.linalg.qr(normal(3, 3, seed=2))[0]
        tx = optimizers.scale_by_scaled_gd(0.1)
        np.testing.assert_allclose(step(tx, g @ rotation, x @ rotation), step(tx, g, x) @ rotation, rtol=1e-11)


def test_large_damping_is_gradient_descent():
    with jax.enable_x64(True):
        x, g = normal(6, 3), normal(6, 3, seed=1)
        found = step(optimizers.scaled_gd(0.1 * 1e9, 1e9), g, x)
        np.testing.assert_allclose(found, -0.1 * g, rtol=1e-7)


def test_pairs_of_the_alias():
    params, gradient = ({"l": normal(5, 2, seed=s), "r": normal(4, 2, seed=s + 1)} for s in (0, 2))
    found, plain = (
        step(make, gradient, params)
        for make in (optimizers.scaled_gd(0.1, 0.3, {"l": "r"}), optimizers.scale_by_scaled_gd(0.3, {"l": "r"}))
    )
    for name in params:
        np.testing.assert_allclose(found[name], -0.1 * plain[name], rtol=1e-5)


def test_a_factor_without_full_rank_needs_damping():
    x = jnp.ones((4, 2))
    assert np.isnan(step(optimizers.scale_by_scaled_gd(0.0), x, x)).any()
    assert np.isfinite(step(optimizers.scale_by_scaled_gd(0.1), x, x)).all()


def sensing_loss(factor, sensing, measured):
    """A quarter of the squared error of the linear measurements of X Xᵀ."""
    return 0.25 * jnp.sum((jnp.einsum("kij,ia,ja->k", sensing, factor, factor) - measured) ** 2)


def iterations(tx, condition, limit=400):
    """Steps until the matrix is recovered to 1e-6, from a factor near the true one."""
    size, rank, count = 6, 2, 1000
    basis = np.linalg.qr(normal(size, rank))[0]
    truth = basis @ np.diag(np.linspace(1, 1 / condition, rank)) @ basis.T
    sensing = normal(count, size, size, seed=1) / np.sqrt(count)
    sensing = (sensing + np.swapaxes(sensing, 1, 2)) / 2
    measured = np.einsum("kij,ij->k", sensing, truth)
    factor = basis @ np.diag(np.sqrt(np.linspace(1, 1 / condition, rank)))
    start = jnp.asarray(factor + 0.05 * np.linalg.norm(factor[:, -1]) * normal(size, rank, seed=2))

    def body(carry, _):
        x, state = carry
        updates, state = tx.update(jax.grad(sensing_loss)(x, sensing, measured), state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), jnp.linalg.norm(x @ x.T - truth) / np.linalg.norm(truth)

    _, errors = jax.lax.scan(body, (start, tx.init(start)), length=limit)
    return int(np.argmax(np.asarray(errors) < 1e-6)) if (np.asarray(errors) < 1e-6).any() else limit


def test_the_pace_does_not_depend_on_the_condition_number():
    with jax.enable_x64(True):
        scaled = [iterations(optimizers.scaled_gd(0.5, 1e-6 / c), c) for c in (2.0, 50.0)]
        plain = [iterations(optax.sgd(0.5), c, limit=2000) for c in (2.0, 50.0)]
    assert max(scaled) < 120
    assert scaled[1] < 1.5 * scaled[0]
    assert plain[1] > 5 * plain[0]


@pytest.mark.parametrize("pairs", [{"a": "missing"}, {"a": "b"}])
def test_pairs_must_fit(pairs):
    params = {"a": jnp.ones((3, 2)), "b": jnp.ones((3, 4))}
    with pytest.raises(ValueError, match=r"scale_by_scaled_gd: pairs must name leaves with as many columns"):
        step(optimizers.scale_by_scaled_gd(0.1, pairs), params, params)


def test_parameters_are_needed():
    tx = optimizers.scaled_gd(0.1, 0.1)
    with pytest.raises(ValueError, match="scaled_gd: update needs params"):
        tx.update(jnp.ones((3, 2)), tx.init(jnp.ones((3, 2))))
