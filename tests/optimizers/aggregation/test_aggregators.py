"""Every aggregator of the table has the properties that it says, and lacks those that it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from aggregators import AGGREGATORS, conflicting, update

SIZES = (2, 5)

every = pytest.mark.parametrize("name", AGGREGATORS)


@pytest.fixture(scope="module")
def aggregate():
    """(name, gradients [T, P]) -> aggregate [P] in float64; one compilation per name and T."""

    def last_update(name, gradients):
        transformation = AGGREGATORS[name].made(len(gradients))
        state = transformation.init(gradients[0])
        for _ in range(AGGREGATORS[name].steps):
            result, state = transformation.update(gradients, state, task_losses=jnp.ones(len(gradients)))
        return result

    compiled = {
        name: jax.jit(aggregator.exact or functools.partial(last_update, name))
        for name, aggregator in AGGREGATORS.items()
    }

    def call(name, gradients):
        with jax.enable_x64(True):
            if AGGREGATORS[name].exact is None:
                return np.asarray(compiled[name](jnp.asarray(gradients)))
            return np.asarray(compiled[name](jnp.asarray(gradients @ gradients.T))) @ gradients

    return call


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_gradients_that_agree_are_averaged_or_summed(name, tasks, aggregate):
    if AGGREGATORS[name].agreeing is None:
        return
    gradients = np.abs(conflicting(tasks))
    total = AGGREGATORS[name].agreeing(tasks)
    np.testing.assert_allclose(aggregate(name, gradients), total * gradients.mean(axis=0), rtol=1e-10)


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_aggregate_conflicts_with_no_task(name, tasks, aggregate):
    if not AGGREGATORS[name].fewest <= tasks <= AGGREGATORS[name].non_conflicting_tasks:
        return
    gradients = conflicting(tasks)
    assert (gradients @ gradients.T).min() < -0.1
    assert (gradients @ aggregate(name, gradients)).min() > -1e-9


@every
def test_aggregate_of_one_task_more_may_conflict(name, aggregate):
    """Where the paper promises nothing, some of many draws do: a property that holds belongs in the table."""
    tasks = AGGREGATORS[name].non_conflicting_tasks + 1
    if tasks > 5:
        return
    draws = np.random.default_rng(2).standard_normal((300, tasks, tasks)) * np.linspace(1.0, 3.0, tasks)[:, None]
    assert min((draw @ aggregate(name, draw)).min() for draw in draws) < -0.05


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_order_of_the_tasks_does_not_matter(name, tasks, aggregate):
    gradients = conflicting(tasks)
    if AGGREGATORS[name].roles:
        assert np.abs(aggregate(name, gradients[::-1]) - aggregate(name, gradients)).max() > 1e-3
    elif AGGREGATORS[name].fewest <= tasks <= AGGREGATORS[name].permutation_tasks:
        np.testing.assert_allclose(aggregate(name, gradients[::-1]), aggregate(name, gradients), rtol=1e-8)


@every
@pytest.mark.parametrize("tasks", SIZES)
def test_linear_under_scaling_of_the_gradients(name, tasks, aggregate):
    """A(diag(c) J) is linear in c > 0: the value at c + d is the sum of the values at c and d."""
    if tasks < AGGREGATORS[name].fewest:
        return
    gradients = conflicting(tasks)
    c, d = np.random.default_rng(1).uniform(0.1, 3.0, (2, tasks, 1))
    total = aggregate(name, (c + d) * gradients)
    parts = aggregate(name, c * gradients) + aggregate(name, d * gradients)
    if AGGREGATORS[name].linear:
        np.testing.assert_allclose(total, parts, atol=1e-7)
    elif tasks == SIZES[-1]:
        assert np.abs(total - parts).max() > 1e-3


STRONG = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -2.0]])  # 3, 2 and 1 of them add up to 0
WEAK = np.array([[1.0, 0.0], [-2.0, 0.0], [0.1, 1.0]])  # the third has none in the only combination that is 0


@every
def test_zero_at_pareto_stationary_points_as_the_method_promises(name, aggregate):
    aggregator = AGGREGATORS[name]
    at_strong, at_weak = (np.abs(aggregate(name, gradients)).max() for gradients in (STRONG, WEAK))
    assert (at_strong < 1e-5) == (aggregator.zero_at in {"weak", "strong"}), at_strong
    assert (at_weak < 1e-5) == (aggregator.zero_at in {"weak", "without the last"}), at_weak
    assert np.abs(aggregate(name, conflicting(3))).max() > 1e-3


def multiple_of(name, multiple, gradient):
    degree = AGGREGATORS[name].degree
    return multiple * np.linalg.norm(gradient) ** (0.0 if degree is None else degree - 1) * gradient


@every
def test_one_task_keeps_its_direction(name):
    if AGGREGATORS[name].fewest > 1:
        return
    expected = multiple_of(name, AGGREGATORS[name].alone, np.array([3.0, -4.0]))
    np.testing.assert_allclose(update(name, jnp.array([[3.0, -4.0]])), expected, rtol=1e-6)


@every
def test_zero_gradients_give_zero_and_one_beside_others_what_the_method_says(name):
    np.testing.assert_array_equal(update(name, np.zeros((3, 4))), np.zeros(4))
    gradients = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [-1.0, 1.0, 0.0, 0.0]])
    if AGGREGATORS[name].beside_zero is not None:
        expected = (*AGGREGATORS[name].beside_zero, 0.0, 0.0)
        np.testing.assert_allclose(update(name, gradients), expected, atol=3e-4)  # reg_eps


@every
def test_opposite_gradients_and_equal_ones_give_what_the_method_says(name):
    if AGGREGATORS[name].fewest > 2:
        return
    gradient = np.array([3.0, -4.0], np.float32)
    opposite = update(name, np.stack([gradient, -gradient]))
    if AGGREGATORS[name].drawn:
        np.testing.assert_array_equal(np.abs(opposite), np.abs(gradient))
    else:
        expected = multiple_of(name, AGGREGATORS[name].opposite, gradient)
        np.testing.assert_allclose(opposite, expected, atol=1e-5)
    expected = multiple_of(name, AGGREGATORS[name].equal(2), gradient)
    np.testing.assert_allclose(update(name, np.stack([gradient] * 2)), expected, rtol=1e-6)


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("tasks", [1, 3])
def test_nan_inf_and_overflowing_squares_give_nan_everywhere(name, bad, tasks):
    if tasks < AGGREGATORS[name].fewest:
        return
    gradients = np.ones((tasks, 4), np.float32)
    gradients[-1, 2] = bad
    updates = update(name, gradients)
    if np.isfinite(bad) and tasks > 1 and not AGGREGATORS[name].squares_all:
        assert np.isfinite(updates).all()
    elif AGGREGATORS[name].spreads_nan:
        assert np.isnan(updates).all()
    else:
        np.testing.assert_array_equal(np.isfinite(updates), [True, True, np.isfinite(bad), True])


@every
@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-36])
def test_gradients_whose_squares_vanish_are_averaged_or_summed(name, scale):
    if AGGREGATORS[name].fewest > 2 or AGGREGATORS[name].vanishing is None:
        return
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0]], np.float32) * np.float32(scale)
    expected = np.broadcast_to(AGGREGATORS[name].vanishing(2), 2) @ gradients / 2
    np.testing.assert_allclose(update(name, gradients), expected, rtol=1e-6)


@every
@pytest.mark.parametrize("scale", [1e-1, 1e18])
def test_scale_within_range_only_scales_the_result(name, scale):
    gradients = np.array([[1.0, 0.0], [-1.0, 1.0], [0.5, 0.0]], np.float32)
    if AGGREGATORS[name].fewest <= 2:
        gradients = gradients[:2]
    scaled, plain, degree = (
        update(name, gradients * np.float32(scale)),
        update(name, gradients),
        AGGREGATORS[name].degree,
    )
    if degree is None:
        assert np.abs(scaled / scale - plain).max() > 1e-3
    else:
        np.testing.assert_allclose(scaled, scale**degree * plain, rtol=1e-5)
