"""Preconditioned SGD: the author's trajectories, what the fits converge to, and what they are invariant to."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers
from optimizers.second_order import _psgd_math as steps

MU, DECAY = 0.1, 0.9


@pytest.fixture(scope="module")
def golden():
    with np.load(pathlib.Path(__file__).parents[2] / "golden" / "second_order_fitted.npz") as file:
        return {name: file[name] for name in file.files}


def close(actual, expected, rtol=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


def path_of(fit, apply, start, v, h):
    """P h after each of the fits to the pairs."""

    def step(carry, pair):
        carry = fit(*carry, *pair)
        return carry, apply(carry[0], pair[1])

    return jax.jit(lambda start, v, h: jax.lax.scan(step, start, (v, h))[1])(start, v, h)


@pytest.mark.parametrize(
    ("name", "shapes", "geometry"),
    [
        ("matrix", ((3, 3), (2, 2)), "EQ"),
        ("tensor", ((3, 3), (4,), (2, 2)), "EQ"),
        ("procrustes", ((3, 3), (2, 2)), "Q0.5EQ1.5"),
    ],
)
def test_kron_fits_equal_the_authors(golden, name, shapes, geometry):
    with jax.enable_x64(True):
        scale = 0.7 ** (1 / len(shapes))
        q = tuple(scale * (jnp.eye(s[0]) if len(s) == 2 else jnp.ones(s)) for s in shapes)
        fit = lambda q, bounds, v, h: steps.kron_step(q, bounds, v, h, MU, DECAY, geometry)
        start = (q, jnp.zeros(len(shapes)))
        path = path_of(fit, steps.kron_apply, start, golden[f"{name}_v"], golden[f"{name}_h"])
        close(path, golden[f"{name}_path"])


def test_fits_of_vectors_equal_the_authors(golden):
    v, h = golden["vector_v"], golden["vector_h"]
    with jax.enable_x64(True):
        n = v.shape[1]

        def fit_lra(q, bounds, count, v, h):
            return *steps.lra_step(q, bounds, v, h, MU, DECAY, count % 2 == 0), count + 1

        start = ((jnp.asarray(golden["vector_u0"]), jnp.asarray(golden["vector_v0"]), jnp.ones(n)), jnp.zeros(3), 0)
        close(path_of(fit_lra, steps.lra_apply, start, v, h), golden["vector_lra"])

        fit_cross = lambda q, v, h: (optimizers.update_xmat_q(q, v, h, mu=MU),)
        start = ((jnp.ones(n), jnp.zeros(n)),)
        close(path_of(fit_cross, optimizers.precond_grad_xmat, start, v, h), golden["vector_xmat"])

        def fit_dense(q, bound, v, h):
            gradient, ell = steps.dense_gradient(q, v, h, triangular=True)
            ell = steps.bound(ell, bound, DECAY)
            return q - MU / ell * gradient, ell

        start = (jnp.eye(n), jnp.zeros(()))
        close(path_of(fit_dense, optimizers.precond_grad_dense, start, v, h), golden["vector_dense"])


WHITENING = {
    "whitening": {"b1": 0.9},
    "whitening_plain": {"b1": None, "preconditioner_init_scale": 1.0, "max_rms": 1.0, "max_amplitude": 1.5},
    "whitening_momentum": {"b1": 0.5, "whiten_momentum": True},
}


@pytest.mark.parametrize("name", WHITENING)
def test_whitening_trajectory_equals_the_authors(golden, name):
    """The second geometry without damping draws nothing that counts: what is left of its noise is eps times h."""
    with jax.enable_x64(True):
        gradients = [jnp.asarray(golden[f"gradients_{k}"]) for k in range(3)]
        tx = optimizers.psgd_kron(0.01, geometry="Q0.5EQ1.5", damping=0.0, **WHITENING[name])

        def step(carry, g):
            params, state = carry
            g = jax.tree.map(lambda g, p: g + 0.1 * p, g, params)
            updates, state = tx.update(g, state, params)
            return (optax.apply_updates(params, updates), state), None

        params = [jnp.ones(g.shape[1:]) for g in gradients]
        params = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), gradients)[0][0])(params)
        for number, found in enumerate(params):
            close(found, golden[f"{name}_{number}"])


def spd(n, indefinite=False):
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(n, n)))[0]
    values = np.geomspace(0.3, 3.0, n) * (np.where(np.arange(n) % 2, -1, 1) if indefinite else 1)
    return (basis * values) @ basis.T


def fitted(update, q, hessian, count, mu, every=1):
    """Q after noise-free pairs v, H v; the steps given by a schedule; and Q at every so many of them."""

    def step(q, numbered):
        number, key = numbered
        v = jax.random.normal(key, (len(hessian),))
        return update(q, v, hessian @ v, mu=mu(number)), q

    keys = jax.random.split(jax.random.key(0), count)
    q, path = jax.jit(lambda q: jax.lax.scan(step, q, (jnp.arange(count), keys)))(q)
    return q, jax.tree.map(lambda x: x[::every], path)


@pytest.mark.parametrize("group", ["triangular", "general"])
def test_dense_fit_of_a_definite_hessian_converges_linearly(group):
    """log ||P H - I|| falls along a line to roundings; the mean of h hᵀ does so only as the root of the number."""
    with jax.enable_x64(True):
        n, hessian = 6, spd(6)
        update = partial(optimizers.update_dense_q, group=group)
        _, path = fitted(update, jnp.eye(n), hessian, 800, lambda _: 1.0, every=40)
        errors = np.log10([np.linalg.norm(q.T @ q @ hessian - np.eye(n)) for q in path])
        slopes = np.diff(errors)[:5]
        assert np.all(slopes < -0.3), errors
        v = np.random.default_rng(1).normal(size=(800, n))
        second = v @ hessian
        values, basis = np.linalg.eigh(second.T @ second / len(v))
        closed_form = (basis / np.sqrt(values)) @ basis.T
        assert errors[-1] < np.log10(np.linalg.norm(closed_form @ hessian - np.eye(n))) - 2


def test_dense_fit_of_an_indefinite_hessian_is_the_inverse_of_its_absolute_value():
    with jax.enable_x64(True):
        hessian = spd(4, indefinite=True)
        q, _ = fitted(optimizers.update_dense_q, jnp.eye(4), hessian, 20_000, lambda t: 1 / (1 + t / 50))
        values, basis = np.linalg.eigh(hessian)
        # Pairs keep differing from P h = ±v: the error is that of an average over 20,000 steps.
        np.testing.assert_allclose(q.T @ q, (basis / np.abs(values)) @ basis.T, atol=0.1)


def test_diagonal_fit_of_an_indefinite_hessian():
    values = jnp.array([2.0, -0.5, 3.0, 1.0])
    for update, apply, start in (
        (optimizers.update_diag_q, optimizers.precond_grad_diag, jnp.ones(4)),
        (optimizers.update_xmat_q, optimizers.precond_grad_xmat, (jnp.ones(4), jnp.zeros(4))),
    ):
        q, _ = fitted(update, start, jnp.diag(values), 2000, lambda t: 0.5)
        if update is optimizers.update_diag_q:
            np.testing.assert_allclose(apply(q, values), jnp.sign(values), atol=1e-5)
    q = jnp.array([0.7, 1.3])
    moments = jnp.array([1.0, 16.0])  # q⁴ = E v² / E h² is where the step vanishes
    fixed = (1 / moments) ** 0.25
    np.testing.assert_allclose(optimizers.update_diag_q(fixed, jnp.ones(2), jnp.sqrt(moments)), fixed, rtol=1e-6)
    assert not np.allclose(optimizers.update_diag_q(q, jnp.ones(2), jnp.sqrt(moments)), q, rtol=1e-3)


def test_loss_is_stationary_at_the_solution():
    """Over v with unit second moments, c(P) has gradient 0 at P = |H|⁻¹, and is larger around it."""
    with jax.enable_x64(True):
        hessian = spd(4, indefinite=True)
        values, basis = np.linalg.eigh(hessian)
        best = (basis / np.abs(values)) @ basis.T
        v = 2 * np.eye(4)
        loss = lambda p: jnp.mean(optimizers.hessian_fitting_loss(p, v, v @ hessian))
        np.testing.assert_allclose(jax.grad(loss)(best), 0.0, atol=1e-12)
        np.testing.assert_allclose(loss(best), 2 * np.sum(np.abs(values)), rtol=1e-12)
        assert loss(1.1 * best) > loss(best) < loss(0.9 * best)


def test_step_is_along_the_gradient_of_the_loss_in_the_group():
    """d/dE of c((I + E) Q) at 0 is 2 (a aᵀ - b bᵀ); a small step of any group lowers the loss."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        q = np.triu(random.normal(size=(4, 4))) + 3 * np.eye(4)
        v, h = random.normal(size=(2, 4))

        def loss(e):
            moved = (jnp.eye(4) + e) @ q
            return optimizers.hessian_fitting_loss(moved.T @ moved, v, h)

        gradient = jax.grad(loss)(jnp.zeros((4, 4)))
        step, ell = steps.dense_gradient(q, v, h, triangular=False)
        np.testing.assert_allclose(2 * step, gradient @ q, rtol=1e-10, atol=1e-10)
        step, _ = steps.dense_gradient(q, v, h, triangular=True)
        np.testing.assert_allclose(2 * step, np.triu(gradient) @ q, rtol=1e-10, atol=1e-10)
        assert ell >= np.linalg.norm(gradient / 2, 2)


def matrix_of(apply, q, n):
    return np.stack([apply(q, row) for row in jnp.eye(n)], axis=1)


def test_members_are_the_dense_preconditioners_of_their_matrices():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        a, b, c = (np.triu(random.normal(size=(n, n))) + 2 * np.eye(n) for n in (2, 3, 2))
        big = np.kron(a, np.kron(b, c))
        g = random.normal(size=(2, 3, 2))
        expected = (big.T @ big @ g.reshape(-1)).reshape(g.shape)
        np.testing.assert_allclose(optimizers.precond_grad_kron((a, b, c), g), expected, rtol=1e-12)
        u, w, d = random.normal(size=(5, 2)), random.normal(size=(5, 2)), random.normal(size=5)
        big = (np.eye(5) + u @ w.T) * d
        np.testing.assert_allclose(matrix_of(optimizers.precond_grad_lra, (u, w, d), 5), big.T @ big, rtol=1e-10)
        for n in (4, 5):
            a, b = random.normal(size=(2, n))
            b[n // 2] *= n % 2 == 0
            big = np.diag(a) + np.fliplr(np.diag(b))
            np.testing.assert_allclose(matrix_of(optimizers.precond_grad_xmat, (a, b), n), big.T @ big, atol=1e-12)


def test_steps_of_members_are_the_dense_gradient_in_their_groups():
    """The cross moves along the parts of (a aᵀ - b bᵀ) on its diagonals; d and U as the chain rule says."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        n = 5
        v, h = random.normal(size=(2, n))
        a, b = 2 + random.random(n), random.random(n)
        b[n // 2] = 0
        big = np.diag(a) + np.fliplr(np.diag(b))
        left, right = big @ h, np.linalg.solve(big.T, v)
        full = np.outer(left, left) - np.outer(right, right)
        mask = np.eye(n) + np.fliplr(np.eye(n)) > 0
        moved = (full * mask) @ big
        on_diagonal, across = steps.cross_gradient(a, b, v, h)[0]
        np.testing.assert_allclose(np.diag(moved), on_diagonal, rtol=1e-10)
        np.testing.assert_allclose(np.diag(np.fliplr(moved))[[0, 1, 3, 4]], across[np.array([0, 1, 3, 4])], rtol=1e-10)

        u, w, d = 0.3 * random.normal(size=(n, 2)), 0.3 * random.normal(size=(n, 2)), 1 + random.random(n)
        u, w = steps.lra_balance(u, w)
        tiny = 1e-6
        for update_u in (True, False):
            (new_u, new_w, new_d), bounds = steps.lra_step((u, w, d), jnp.zeros(3), v, h, tiny, 0.0, update_u)
            balanced = steps.lra_balance(u, w)
            big = (np.eye(n) + balanced[0] @ balanced[1].T) * d
            left, right = big @ h, np.linalg.solve(big.T, v)
            full = np.outer(left, left) - np.outer(right, right)
            middle = np.eye(n) + balanced[0] @ balanced[1].T
            on_d = np.diag(middle.T @ full @ np.linalg.inv(middle).T)
            np.testing.assert_allclose((d - new_d) / tiny * bounds[0] / d, on_d, rtol=1e-4, atol=1e-6)
            if update_u:
                expected = full @ balanced[1] @ (np.eye(2) + balanced[1].T @ balanced[0])
                np.testing.assert_allclose((balanced[0] - new_u) / tiny * bounds[1], expected, rtol=1e-4, atol=1e-6)
            else:
                expected = (np.eye(n) + balanced[1] @ balanced[0].T) @ full @ balanced[0]
                np.testing.assert_allclose((balanced[1] - new_w) / tiny * bounds[2], expected, rtol=1e-4, atol=1e-6)


def test_dense_fit_is_equivariant_under_changes_of_coordinates():
    """θ = A θ' turns v into A⁻¹ v, h into Aᵀ h, and Q into Q A⁻ᵀ: P g moves both alike."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        q, a = np.eye(4), random.normal(size=(4, 4)) + 3 * np.eye(4)
        other = q @ np.linalg.inv(a).T
        for _ in range(20):
            v, h = random.normal(size=(2, 4))
            q = optimizers.update_dense_q(q, v, h, group="general")
            other = optimizers.update_dense_q(other, np.linalg.solve(a, v), a.T @ h, group="general")
        g = random.normal(size=4)
        expected = np.linalg.solve(a, optimizers.precond_grad_dense(q, g))
        np.testing.assert_allclose(optimizers.precond_grad_dense(other, a.T @ g), expected, rtol=1e-9)


def test_fit_to_one_pair_satisfies_the_secant_equation():
    """With vᵀh > 0 the same pair over and over leads to P h = v, as in quasi-Newton methods."""
    with jax.enable_x64(True):
        v, h = jnp.array([1.0, 2.0, -1.0]), jnp.array([2.0, 1.0, 0.5])
        fit = jax.jit(lambda q: jax.lax.fori_loop(0, 500, lambda _, q: optimizers.update_dense_q(q, v, h, mu=1.0), q))
        np.testing.assert_allclose(optimizers.precond_grad_dense(fit(jnp.eye(3)), h), v, rtol=1e-8)


@pytest.mark.parametrize("name", ["psgd_kron", "psgd_lra", "psgd_xmat", "psgd_dense"])
def test_newton_mode_follows_an_ill_conditioned_quadratic_down(name):
    """Condition number 1000: the flat direction comes down with the others, where gradient descent stalls."""
    curvature = {"a": jnp.array([[100.0, 1.0], [1.0, 0.1]]), "b": jnp.array([10.0])}
    loss = lambda p: 0.5 * sum(jnp.sum(c * x**2) for c, x in zip(jax.tree.leaves(curvature), jax.tree.leaves(p)))
    tx = getattr(optimizers, name)(0.2, b1=None, mode="newton", preconditioner_lr=0.3)
    params = jax.tree.map(jnp.ones_like, curvature)
    grad = jax.grad(loss)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grad(params), state, params, grad_fn=grad)
        return (optax.apply_updates(params, updates), state), loss(params)

    _, losses = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=600))(params)
    descent = 0.5 * 0.1 * (1 - 0.1 * 2 / 100) ** 1200  # what the flat direction keeps at the largest stable step
    assert losses[-1] < 1e-2 * descent, losses[-1]


def moves(probability):
    """At which of 200 steps Q moves."""
    params = {"w": jnp.ones((2, 2))}
    tx = optimizers.scale_by_psgd_kron(b1=None, preconditioner_update_probability=probability)

    def step(state, key):
        _, new = tx.update({"w": jax.random.normal(key, (2, 2))}, state, params)
        return new, jnp.any(new.q[0] != state.q[0])

    return jax.lax.scan(step, tx.init(params), jax.random.split(jax.random.key(0), 200))[1]


def test_probability_of_fits_is_kept():
    """With probability 0 Q moves at the first step alone; with 0.3 at about as many of the steps; traced, scheduled."""
    traced = jax.jit(jax.vmap(moves))(jnp.array([0.0, 0.3, 1.0]))
    scheduled = jax.jit(lambda: moves(optax.linear_schedule(1.0, 0.0, 100)))()
    for moved, low, high in zip((*traced, scheduled), (1, 40, 200, 35), (1, 80, 200, 66)):
        assert moved[0]
        assert low <= jnp.sum(moved) <= high, jnp.sum(moved)


def test_leaves_of_equal_shape_do_not_see_each_other():
    """A tree of twelve equal leaves is fitted leaf by leaf: a leaf's update depends on its own gradient alone."""
    random = np.random.default_rng(0)
    grads = [jnp.asarray(random.normal(size=(3, 2)), jnp.float32) for _ in range(12)]
    tx = optimizers.scale_by_psgd_kron(geometry="Q0.5EQ1.5", damping=0.0, preconditioner_init_scale=1.0)
    update = jax.jit(tx.update)

    def second(grads):
        state = tx.init(grads)
        for _ in range(2):
            updates, state = update(grads, state)
        return updates

    together = second(grads)
    for place in (0, 7, 11):
        np.testing.assert_allclose(together[place], second([grads[place]])[0], rtol=2e-5)


def test_newton_mode_needs_the_gradient_function():
    tx = optimizers.psgd_dense(0.1)
    params = jnp.ones(2)
    with pytest.raises(TypeError, match="psgd_dense: grad_fn"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(TypeError, match="complex"):
        tx.init(params + 1j)


def test_schedule_anneals():
    schedule = optimizers.preconditioner_probability_schedule(0.8, 0.05, 0.01, 100)
    counts = np.array([0, 100, 150, 10_000])
    np.testing.assert_allclose(schedule(counts), [0.8, 0.8, 0.8 * np.exp(-0.5), 0.05], rtol=1e-6)
