"""A task before the terms that balance it, and a guide behind the objectives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

import optimizers

JACOBIANS = [np.random.default_rng(seed).standard_normal((4, 5)) for seed in range(12)]
VALUES = np.array([0.2, 0.3, 0.8])


@functools.cache
def compiled(project):
    return jax.jit(functools.partial(optimizers.balgrad_weights, project=project))


def balgrad(jacobian, values, project="task"):
    with jax.enable_x64(True):
        return np.asarray(compiled(project)(jnp.asarray(jacobian @ jacobian.T), jnp.asarray(values)))


def without_conflict(gradient, other):
    """PCGrad's projection of a gradient."""
    return gradient - min(0.0, gradient @ other) / (other @ other) * other


def test_balgrad_adds_what_agrees_and_projects_what_conflicts():
    conflicts = 0
    for jacobian in JACOBIANS:
        task, balance = jacobian[0], VALUES @ jacobian[1:]
        update = balgrad(jacobian, VALUES) @ jacobian
        yielded = balgrad(jacobian, VALUES, "balance") @ jacobian
        if task @ balance >= 0:
            np.testing.assert_allclose(update, task + balance, rtol=1e-12)
            np.testing.assert_allclose(yielded, task + balance, rtol=1e-12)
        else:
            conflicts += 1
            np.testing.assert_allclose((update - balance) @ balance, 0.0, atol=1e-12)
            np.testing.assert_allclose((yielded - task) @ task, 0.0, atol=1e-12)
        np.testing.assert_allclose(update, without_conflict(task, balance) + balance, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(yielded, task + without_conflict(balance, task), rtol=1e-10, atol=1e-12)
    assert 3 <= conflicts <= 9


def test_balgrad_of_two_projects_one_of_the_gradients_that_pcgrad_projects():
    gramian = jnp.array([[1.0, -1.0], [-1.0, 2.0]])
    task, balance = (compiled(project)(gramian, jnp.ones(1)) for project in ("task", "balance"))
    both = optimizers.pcgrad_weights(gramian, jax.random.key(0))
    np.testing.assert_allclose(task + balance - 1.0, both, rtol=1e-6)  # each gradient plain in one of the two
    np.testing.assert_allclose(balance, [2.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("balance", [np.zeros((2, 3)), [[1.0, -2.0, 3.0], [-1.0, 2.0, -3.0]]])
def test_balgrad_of_a_balance_that_cancels_is_the_tasks_gradient(balance):
    jacobian = np.array([[1.0, 4.0, -2.0], *balance], np.float32)
    for project in ("task", "balance"):
        update = compiled(project)(jnp.asarray(jacobian @ jacobian.T), jnp.full(2, 0.5)) @ jacobian
        np.testing.assert_allclose(update, jacobian[0], rtol=1e-6)
    assert optimizers.balgrad_weights(jnp.ones((1, 1))).tolist() == [1.0]


def test_balgrad_weighs_the_balancing_terms_equally_unless_told():
    jacobian = JACOBIANS[0]
    even = balgrad(jacobian, np.full(3, 1 / 3))
    with jax.enable_x64(True):
        default = optimizers.balgrad_weights(jnp.asarray(jacobian @ jacobian.T))
        tx = optimizers.balgrad(VALUES.tolist())
        update, _ = tx.update(jnp.asarray(jacobian), tx.init(None))
    np.testing.assert_allclose(default, even, rtol=1e-12)
    np.testing.assert_allclose(update, balgrad(jacobian, VALUES) @ jacobian, rtol=1e-12)


guided = jax.jit(optimizers.pareto_guided_weights)
shortest = jax.jit(optimizers.mgda_weights)


def drawn(objectives, size, seed):
    """Gradients and a guide that conflict more the larger the seed, of different lengths for odd ones."""
    generator = np.random.default_rng(seed)
    jacobian = generator.standard_normal((objectives + 1, size))
    jacobian[:-1] -= (0.0, 0.5, 0.9, 0.99)[seed % 4] * jacobian[:-1].mean(axis=0)
    return jacobian * np.exp(generator.normal(size=(objectives + 1, 1)) * (seed % 2))


@pytest.mark.parametrize(("dtype", "harm", "gap"), [(np.float32, 2e-4, 1e-3), (np.float64, 1e-12, 1e-11)])
@pytest.mark.parametrize(("objectives", "size"), [(3, 2), (3, 5), (64, 40)])
def test_guided_weights_solve_the_linear_program(objectives, size, dtype, harm, gap):
    for seed in range(4):
        jacobian = drawn(objectives, size, seed)
        gramian = jacobian @ jacobian.T
        with jax.enable_x64(dtype is np.float64):
            weights = np.asarray(guided(jnp.asarray(gramian, dtype)), np.float64)
        among, wishes, norms = gramian[:-1, :-1], gramian[:-1, -1], np.sqrt(np.diagonal(gramian))
        best = linprog(-wishes, -among / norms[:-1, None], np.zeros(objectives), np.ones((1, objectives)), 1.0)
        assert best.status == 0
        assert weights[-1] == 0
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=8 * np.finfo(dtype).eps)
        length = weights @ norms
        assert (among @ weights[:-1] / norms[:-1]).min() >= -harm * length
        assert abs(wishes @ weights[:-1] + best.fun) <= gap * length * norms[-1]


def weights_of(*rows):
    jacobian = jnp.array(rows)
    return np.asarray(guided(jacobian @ jacobian.T))


def test_guide_gets_what_it_likes_where_that_harms_nothing():
    np.testing.assert_allclose(weights_of([1.0, 0.0], [0.5, 1.0], [-1.0, 3.0]), [0.0, 1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(weights_of([1.0, 0.0], [-1.0, -1.0]), [1.0, 0.0], atol=1e-6)
    # Of (1, 0) and (-1, 1) half and half is the last that does not harm the first; 2/3 and 1/3 the other way round.
    np.testing.assert_allclose(weights_of([1.0, 0.0], [-1.0, 1.0], [0.0, 1.0]), [1 / 2, 1 / 2, 0.0], atol=1e-5)
    np.testing.assert_allclose(weights_of([1.0, 0.0], [-1.0, 1.0], [1.0, 0.0]), [2 / 3, 1 / 3, 0.0], atol=1e-5)


def test_guide_of_stationary_objectives_finds_nothing_to_gain():
    for guide in ([1.0, 0.0], [-3.0, 1.0], [0.0, 1.0]):
        np.testing.assert_allclose(weights_of([1.0, 0.0], [-1.0, 0.0], guide), [0.5, 0.5, 0.0], atol=1e-5)
        np.testing.assert_allclose(weights_of([2.0, 1.0], [-2.0, -1.0], guide), [0.5, 0.5, 0.0], atol=1e-5)


def test_without_a_guide_the_shortest_combination():
    for seed in range(4):
        jacobian = np.float32(drawn(3, 5, seed))
        jacobian[-1] = 0.0
        gramian = jnp.asarray(jacobian @ jacobian.T)
        np.testing.assert_allclose(guided(gramian)[:-1], shortest(gramian[:-1, :-1]), rtol=1e-5, atol=1e-7)


def test_gradients_that_vanish_are_harmed_by_nothing_and_taken_where_nothing_is_better():
    np.testing.assert_allclose(weights_of([0.0, 0.0], [1.0, 0.0], [1.0, 1.0]), [0.0, 1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(weights_of([0.0, 0.0], [1.0, 0.0], [-1.0, 1.0]), [1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(weights_of([0.0, 0.0], [0.0, 0.0], [1.0, 1.0]).sum(), 1.0, rtol=1e-6)
    assert np.isnan(weights_of([1.0, 0.0], [np.nan, 0.0], [1.0, 1.0])).all()
    assert np.isnan(weights_of([1.0, 0.0], [1.0, 0.0], [1.0, np.inf])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.balgrad_weights(jnp.eye(3), jnp.ones(3)), r"^balgrad_weights: weights must have one entry"),
        (lambda: optimizers.balgrad(project="both"), r"^balgrad: project must be 'task' or 'balance', got 'both'"),
        (lambda: optimizers.pareto_guided_weights(jnp.ones((1, 1))), r"^pareto_guided_weights: expected at least one"),
        (
            lambda: optimizers.pareto_guided().update(jnp.ones((1, 2)), optimizers.pareto_guided().init(None)),
            r"^pareto_guided: expected at least one gradient before the guide's, got 1 in all",
        ),
    ],
)
def test_errors_name_function_and_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
