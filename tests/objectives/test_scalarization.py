"""Scalarizations: torchjd's numbers, closed forms, bounds, and the minima that the papers claim."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objectives

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "scalarization.npz")
PREFERENCE, IDEAL = GOLDEN["preference"], GOLDEN["ideal"]
PREFERRED = {
    "chebyshev": lambda losses, w: objectives.chebyshev_scalarization(losses, w, augmentation=0.1),
    "smooth": lambda losses, w: objectives.smooth_chebyshev_scalarization(losses, w, smoothing=0.2),
    "pbi": objectives.pbi_scalarization,
    "cosmos": objectives.cosmos_scalarization,
}
SCALARIZATIONS = {
    "geometric_mean": objectives.geometric_mean_loss,
    "smooth_chebyshev": lambda losses: objectives.smooth_chebyshev_scalarization(losses, PREFERENCE, ideal=IDEAL),
    "pbi": lambda losses: objectives.pbi_scalarization(losses, PREFERENCE, theta=5.0, ideal=IDEAL),
    "cosmos": lambda losses: objectives.cosmos_scalarization(losses, PREFERENCE, penalty=2.0),
    "uncertainty": objectives.uncertainty_weighted_loss,
    "imtl_l": objectives.imtl_l_loss,
}


@pytest.mark.parametrize("name", SCALARIZATIONS)
def test_equals_torchjd(name):
    with jax.enable_x64(True):
        trained = [jnp.asarray(GOLDEN["parameters"])] if f"{name}/grad_parameters" in GOLDEN.files else []
        inputs = (jnp.asarray(GOLDEN["losses"]), *trained)
        value, gradients = jax.value_and_grad(SCALARIZATIONS[name], argnums=tuple(range(len(inputs))))(*inputs)
    # torchjd adds 1e-12 to the square of PBI's distance.
    tolerance = 1e-10 if name == "pbi" else 1e-14
    np.testing.assert_allclose(value, GOLDEN[f"{name}/value"], rtol=tolerance)
    for argument, gradient in zip(("losses", "parameters"), gradients):
        np.testing.assert_allclose(gradient, GOLDEN[f"{name}/grad_{argument}"], rtol=tolerance, atol=1e-14)


def test_every_golden_scalarization_is_used():
    assert {name.split("/")[0] for name in GOLDEN.files if "/" in name} == SCALARIZATIONS.keys()


def test_geometric_mean_weighs_tasks_alike_in_any_units():
    losses, units = np.array([0.5, 2.0, 3.0], np.float32), np.array([1e-3, 1.0, 1e4], np.float32)
    value, gradient = jax.value_and_grad(objectives.geometric_mean_loss)(losses)
    np.testing.assert_allclose(value, 3.0 ** (1 / 3), rtol=1e-6)
    np.testing.assert_allclose(gradient * losses, np.full(3, value / 3), rtol=1e-6)
    rescaled, steeper = jax.value_and_grad(objectives.geometric_mean_loss)(losses * units)
    np.testing.assert_allclose(rescaled, value * np.prod(units.astype(np.float64)) ** (1 / 3), rtol=1e-5)
    np.testing.assert_allclose(steeper * losses * units / rescaled, np.full(3, 1 / 3), rtol=1e-5)


def test_geometric_mean_at_the_edge():
    def value_and_grad(losses):
        return jax.value_and_grad(objectives.geometric_mean_loss)(jnp.array(losses))

    value, gradient = value_and_grad([0.0, 4.0])
    assert value == 0
    np.testing.assert_array_equal(gradient, [0.0, 0.0])
    value, gradient = value_and_grad([0.0])
    assert (value, gradient[0]) == (0, 1)
    for losses in ([-1.0, 1.0], [-1.0, 0.0], [-1.0], [-1.0, -1.0], [jnp.nan, 0.0], [jnp.inf, 0.0]):
        assert np.isnan(value_and_grad(losses)[0])


@pytest.mark.parametrize("name", PREFERRED)
def test_what_is_not_a_number_stays_so(name):
    for losses in ([jnp.nan, 1.0], [1.0, jnp.nan], [jnp.inf, 1.0]):
        assert not np.isfinite(PREFERRED[name](jnp.array(losses), jnp.array([0.5, 0.5])))


@pytest.mark.parametrize("name", PREFERRED)
def test_order_of_the_tasks_does_not_matter(name):
    losses, weights = np.array([0.7, 2.5, 1.3], np.float32), np.array([0.5, 0.2, 0.3], np.float32)
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        PREFERRED[name](losses[order], weights[order]), PREFERRED[name](losses, weights), rtol=1e-6
    )


def test_a_preference_for_each_row_equals_rows_one_by_one():
    generator = np.random.default_rng(0)
    losses, weights = generator.random((2, 5, 3)).astype(np.float32)
    for name, function in PREFERRED.items():
        np.testing.assert_allclose(
            function(losses, weights), jax.vmap(function)(losses, weights), rtol=1e-6, err_msg=name
        )


def parabolas(x):
    return jnp.stack([x**2, 2.0 * (x - 1.0) ** 2], axis=-1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_chebyshev_minimum_is_the_pareto_point_of_its_preference(share):
    """Where the two weighted parabolas meet: w₁ x² = 2 w₂ (1 - x)²."""
    weights = np.array([share, 1.0 - share], np.float32)
    grid = jnp.linspace(0.0, 1.0, 4001)
    expected = 1 / (1 + np.sqrt(share / (2 * (1 - share))))
    lowest = grid[jnp.argmin(objectives.chebyshev_scalarization(parabolas(grid), weights))]
    assert abs(lowest - expected) < 2 / 4000


def test_chebyshev_closed_form_with_ideal_and_augmentation():
    losses, weights, ideal = np.array([3.0, 1.0]), np.array([0.25, 0.75]), np.array([1.0, 0.5])
    value = objectives.chebyshev_scalarization(losses.astype(np.float32), weights, ideal=ideal, augmentation=0.1)
    np.testing.assert_allclose(value, 0.5 + 0.1 * (0.5 + 0.375), rtol=1e-6)


def test_smooth_chebyshev_lies_within_its_bounds_and_becomes_chebyshev():
    losses = jnp.asarray(GOLDEN["losses"], jnp.float32)
    sharp = objectives.chebyshev_scalarization(losses, PREFERENCE)
    for smoothing in (1e-6, 0.01, 1.0):
        smooth = objectives.smooth_chebyshev_scalarization(losses, PREFERENCE, smoothing=smoothing)
        assert sharp <= smooth <= sharp + smoothing * np.log(4) + 1e-6
    far = objectives.smooth_chebyshev_scalarization(jnp.array([1e30, 1.0]), jnp.ones(2), smoothing=1e-10)
    np.testing.assert_allclose(far, 1e30, rtol=1e-6)


def test_pbi_on_and_beside_the_direction():
    direction = jnp.array([0.6, 0.8])
    value, gradient = jax.value_and_grad(objectives.pbi_scalarization)(jnp.array([0.0, 2.0]), jnp.array([0.0, 3.0]))
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [0.0, 1.0])
    beside = 2.0 * direction + 0.5 * jnp.array([0.8, -0.6])
    np.testing.assert_allclose(objectives.pbi_scalarization(beside, 7.0 * direction, theta=3.0), 2.0 + 1.5, rtol=1e-6)


def test_cosmos_closed_form_and_without_penalty_the_weighted_sum():
    losses, weights = jnp.array([3.0, 4.0]), jnp.array([0.6, 0.8])
    np.testing.assert_allclose(objectives.cosmos_scalarization(losses, weights, penalty=3.0), 5.0 - 3.0, rtol=1e-6)
    np.testing.assert_allclose(objectives.cosmos_scalarization(losses, weights, penalty=0.0), 5.0, rtol=1e-6)
    value, gradient = jax.value_and_grad(objectives.cosmos_scalarization)(jnp.zeros(2), weights)
    assert value == 0
    np.testing.assert_array_equal(gradient, weights)  # at zero there is no angle


def test_a_preference_of_zero_has_no_direction():
    for function in (objectives.pbi_scalarization, objectives.cosmos_scalarization):
        assert np.isnan(function(jnp.ones(2), jnp.zeros(2)))


def test_learnt_weights_at_their_minimum():
    losses = jnp.array([0.5, 2.0, 3.0])
    value, slope = jax.value_and_grad(objectives.uncertainty_weighted_loss, argnums=1)(losses, jnp.log(losses))
    np.testing.assert_allclose(value, 0.5 * np.sum(1 + np.log([0.5, 2.0, 3.0])), rtol=1e-6)
    np.testing.assert_allclose(slope, np.zeros(3), atol=1e-7)
    value, slope = jax.value_and_grad(objectives.imtl_l_loss, argnums=1)(losses, -jnp.log(losses))
    np.testing.assert_allclose(value, 3 + np.log(3.0), rtol=1e-6)
    np.testing.assert_allclose(slope, np.zeros(3), atol=1e-6)
    scales = jnp.array([0.3, -0.2, 1.0])
    twice = 2 * objectives.uncertainty_weighted_loss(losses, -scales)
    np.testing.assert_allclose(objectives.imtl_l_loss(losses, scales), twice, rtol=1e-6)


def test_random_weights_are_of_the_papers_distribution():
    """The log-ratio of two softmax weights of standard normals is normal with variance 2; all sum to 1."""
    draws = 4000
    weigh = jax.grad(objectives.random_scalarization)
    weights = np.asarray(jax.vmap(lambda key: weigh(jnp.ones(3), key))(jax.random.split(jax.random.key(0), draws)))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    ratio = np.log(weights[:, 0] / weights[:, 1])
    assert abs(ratio.mean()) < 5 * np.sqrt(2 / draws)
    assert abs(ratio.var() - 2) < 5 * 2 * np.sqrt(2 / draws)


def test_rows_share_the_random_weights():
    losses, key = jnp.eye(3), jax.random.key(1)
    weights = objectives.random_scalarization(losses, key)
    np.testing.assert_allclose(weights, jax.grad(objectives.random_scalarization)(jnp.ones(3), key), rtol=1e-6)


def test_lower_confidence_bound_of_a_surrogate():
    mean, std = jnp.array([1.0, 2.0, 0.0]), jnp.array([0.5, 0.0, -1.0])
    bound = objectives.lower_confidence_bound(mean, std, beta=3.0)
    np.testing.assert_array_equal(bound, [-0.5, 2.0, np.nan])
