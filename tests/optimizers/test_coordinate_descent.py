"""Greedy blocks promise and make the progress that brute force finds; the lasso's support is scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from optimizers import block_coordinate_step, fractional_coordinate_descent, greedy_block_descent, greedy_block_scores

BLOCKS = np.arange(6).reshape(3, 2)


@pytest.fixture
def quadratic():
    """An ill-scaled positive definite matrix, a vector, and the matrix's diagonal blocks."""
    random = np.random.default_rng(0)
    factor = random.normal(size=(6, 6)) * 10.0 ** np.linspace(-1, 1, 6)
    matrix = factor.T @ factor + 0.1 * np.eye(6)
    return matrix, random.normal(size=6), np.stack([matrix[np.ix_(b, b)] for b in BLOCKS])


def value(matrix, vector, x):
    return 0.5 * x @ matrix @ x - vector @ x


def test_matrix_rule_makes_the_largest_decrease_of_all_blocks(quadratic):
    """On a quadratic with exact blocks half the score is the decrease, and brute force finds no better block."""
    matrix, vector, hessian = quadratic
    x = np.random.default_rng(1).normal(size=6)
    grad = matrix @ x - vector
    decreases = []
    for block, h in zip(BLOCKS, hessian):
        moved = x.copy()
        moved[block] -= np.linalg.solve(h, grad[block])
        decreases.append(value(matrix, vector, x) - value(matrix, vector, moved))
    with jax.enable_x64(True):
        scores = np.asarray(greedy_block_scores(grad, BLOCKS, rule="gsq", hessian=hessian))
        step = np.asarray(block_coordinate_step(x, grad, BLOCKS, rule="gsq", hessian=hessian))
    np.testing.assert_allclose(scores / 2, decreases, rtol=1e-9)
    np.testing.assert_allclose(value(matrix, vector, x) - value(matrix, vector, step), max(decreases), rtol=1e-9)


def test_scores_of_equal_bounds_rank_alike(quadratic):
    """Lipschitz constants that are all equal choose as the norms do; a diagonal of them as well."""
    grad = np.float32(quadratic[1])
    plain = greedy_block_scores(grad, BLOCKS)
    lipschitz = greedy_block_scores(grad, BLOCKS, rule="gsl", lipschitz=jnp.full(3, 2.0))
    diagonal = greedy_block_scores(grad, BLOCKS, rule="gsd", diagonal=jnp.full(6, 2.0))
    np.testing.assert_allclose(lipschitz, plain**2 / 2, rtol=1e-6)
    np.testing.assert_allclose(diagonal, lipschitz, rtol=1e-6)


def test_one_block_of_everything_is_newton(quadratic):
    matrix, vector, _ = quadratic
    with jax.enable_x64(True):
        x = jnp.ones(6)
        step = block_coordinate_step(x, matrix @ x - vector, jnp.arange(6)[None], rule="gsq", hessian=matrix[None])
    np.testing.assert_allclose(step, np.linalg.solve(matrix, vector), rtol=1e-8)


def test_newton_backtracks_where_the_model_is_wrong():
    """log cosh from far away: the Newton step overshoots to a far larger value, the backtracked one descends."""
    f = lambda x: jnp.sum(jnp.logaddexp(x, -x))
    x = jnp.array([2.0])
    grad, hessian = jax.grad(f)(x), jax.hessian(f)(x)
    plain = block_coordinate_step(x, grad, jnp.array([[0]]), rule="gsq", hessian=hessian[None])
    kept = block_coordinate_step(x, grad, jnp.array([[0]]), rule="gsq", hessian=hessian[None], value_fn=f)
    assert f(plain) > f(x)
    assert f(kept) <= f(x) + 0.25 * jnp.vdot(grad, kept - x)
    np.testing.assert_allclose((kept - x) / (plain - x), 2.0**-3, rtol=1e-5)  # halved until Armijo holds, not further


def test_lasso_is_solved_to_scikit_learns_support_and_solution():
    random = np.random.default_rng(2)
    design = random.normal(size=(40, 8))
    target = design @ np.array([2.0, 0, 0, -1.5, 0, 0, 0.7, 0]) + 0.1 * random.normal(size=40)
    with jax.enable_x64(True):
        gram, correlation = jnp.asarray(design.T @ design / 40), jnp.asarray(design.T @ target / 40)
        lipschitz, blocks = jnp.diag(gram), jnp.arange(8)[:, None]

        def step(x, _):
            grad = gram @ x - correlation
            return block_coordinate_step(x, grad, blocks, rule="gsl", lipschitz=lipschitz, l1=0.2), None

        found = jax.jit(lambda x: jax.lax.scan(step, x, length=200)[0])(jnp.zeros(8))
    expected = Lasso(alpha=0.2, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(design, target).coef_
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(found) != 0, expected != 0)


def test_greedier_rules_need_fewer_steps(quadratic):
    """To 1e-6 of the minimum on an ill-scaled problem: matrix ≤ Lipschitz ≤ block after block."""
    matrix, vector, hessian = quadratic
    lipschitz = np.linalg.eigvalsh(hessian)[:, -1]
    least = value(matrix, vector, np.linalg.solve(matrix, vector))

    def steps(choose):
        x, count = np.zeros(6), 0
        while value(matrix, vector, x) - least > 1e-6 * abs(least) and count < 20_000:
            x, count = choose(x, matrix @ x - vector, count), count + 1
        return count

    def in_turn(x, grad, count):
        block = BLOCKS[count % 3]
        x = x.copy()
        x[block] -= grad[block] / lipschitz[count % 3]
        return x

    with jax.enable_x64(True):
        jitted = jax.jit(block_coordinate_step, static_argnames="rule")
        greedy = steps(lambda x, g, _: np.asarray(jitted(x, g, BLOCKS, rule="gsq", hessian=hessian)))
        middle = steps(lambda x, g, _: np.asarray(jitted(x, g, BLOCKS, rule="gsl", lipschitz=lipschitz)))
    assert greedy <= middle <= steps(in_turn)


def test_only_the_best_leaves_move():
    """By norm, by norm and constant, and as many as asked for."""
    gradients = {"a": jnp.array([3.0, 4.0]), "b": jnp.array(-6.0), "c": jnp.array([1.0])}

    def moved(**keywords):
        tx = greedy_block_descent(0.5, **keywords)
        return jax.tree.map(lambda u: np.asarray(u).tolist(), tx.update(gradients, tx.init(gradients))[0])

    assert moved() == {"a": [0, 0], "b": 3, "c": [0]}
    assert moved(blocks=2) == {"a": [-1.5, -2], "b": 3, "c": [0]}
    assert moved(blocks=5) == {"a": [-1.5, -2], "b": 3, "c": [-0.5]}
    assert moved(lipschitz={"a": 1.0, "b": 4.0, "c": 1.0}) == {"a": [-1.5, -2], "b": 0, "c": [0]}
    assert moved(lipschitz={"a": 4.0, "b": 4.0, "c": 1.0}) == {"a": [0, 0], "b": 0.75, "c": [0]}


@pytest.mark.parametrize("mode", ["fcd", "pcd"])
def test_rayleigh_quotient_falls_to_the_smallest_eigenvalue(mode):
    random = np.random.default_rng(3)
    factor = random.normal(size=(5, 5))
    with jax.enable_x64(True):
        matrix = jnp.asarray(factor @ factor.T + np.eye(5))
        solve = jax.jit(
            jax.vmap(
                lambda start: fractional_coordinate_descent(
                    lambda x: 0.5 * x @ matrix @ x,
                    lambda x: 0.5 * x @ x,
                    start,
                    lipschitz=jnp.diag(matrix),
                    theta=1e-9,
                    mode=mode,
                    num_steps=600,
                )
            )
        )
        _, values = solve(jnp.asarray(random.normal(size=(4, 5))))
    values = np.asarray(values)
    assert (np.diff(values, axis=1) <= 1e-12 * values[:, :-1]).all()
    np.testing.assert_allclose(values[:, -1], np.linalg.eigvalsh(matrix)[0], rtol=1e-6)


@pytest.mark.parametrize("order", ["cyclic", "random"])
def test_fixed_points_are_optimal_along_every_coordinate(order):
    """A sparse ratio, λ‖x‖₁ in the numerator and a linear denominator: no grid along a coordinate finds less."""
    random = np.random.default_rng(4)
    factor = random.normal(size=(4, 4))
    matrix, linear = factor @ factor.T + 0.5 * np.eye(4), np.abs(random.normal(size=4))
    ratio = lambda x: (0.5 * x @ matrix @ x + 1.0 + 0.3 * np.abs(x).sum()) / (0.5 * x @ x + linear @ x + 3.0)
    with jax.enable_x64(True):
        x, values = fractional_coordinate_descent(
            lambda x: 0.5 * x @ jnp.asarray(matrix) @ x + 1.0,
            lambda x: 0.5 * x @ x + jnp.asarray(linear) @ x + 3.0,
            jnp.ones(4),
            lipschitz=np.diag(matrix),
            l1=0.3,
            theta=0.0,
            order=order,
            key=jax.random.key(0),
            num_steps=400,
        )
    x = np.asarray(x)
    np.testing.assert_allclose(values[-1], ratio(x), rtol=1e-12)
    for i in range(4):
        grid = np.linspace(-3, 3, 2001)
        along = [ratio(x + t * np.eye(4)[i]) for t in grid]
        assert min(along) >= ratio(x) - 1e-9


def test_one_step_along_a_line_finds_the_global_minimum():
    """Where f is its own model, one step beats every point of a fine grid, for ratios with several minima."""
    coefficients = np.random.default_rng(5).normal(size=(12, 4))
    grid = np.linspace(-20, 20, 40_001)

    def ratio(t, c):
        return (0.5 * t**2 * abs(c[0]) + c[1] * t + 2 + 0.4 * abs(t)) / (
            0.5 * t**2 * (0.5 + abs(c[2])) + 0.3 * c[3] * t + 2
        )

    def step(c, start):
        return fractional_coordinate_descent(
            lambda x: jnp.sum(0.5 * x**2 * abs(c[0]) + c[1] * x + 2),
            lambda x: jnp.sum(0.5 * x**2 * (0.5 + abs(c[2])) + 0.3 * c[3] * x + 2),
            start,
            lipschitz=abs(c[0]),
            l1=0.4,
            theta=0.0,
            num_steps=1,
        )[1][0]

    with jax.enable_x64(True):
        found = np.asarray(jax.jit(jax.vmap(step))(jnp.asarray(coefficients), jnp.ones((12, 1))))
    attained = 0
    for value, c in zip(found, coefficients):
        assert np.all(0.5 * grid**2 * (0.5 + abs(c[2])) + 0.3 * c[3] * grid + 2 > 0)
        best = np.argmin(ratio(grid, c))
        if 0 < best < len(grid) - 1:  # else the ratio falls towards its limit at infinity
            attained += 1
            assert value <= ratio(grid[best], c) + 1e-12
    assert attained >= 8
