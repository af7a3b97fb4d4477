"""Preconditioned SGD as a whole: what a step draws, averages, fits, applies and clips, against a plain reference.

The fits themselves are held to the author's in `test_psgd.py`; here are the frame around them and the groups' places in
it, on parameters of which two have equal shape, so that the vector of all of them is not in the order of the tree.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimizers
from optimizers.second_order import _psgd, _psgd_groups
from optimizers.second_order import _psgd_math as steps

SHAPES = {"a": (2, 3), "b": (3,), "c": (2, 3)}
ORDER = ("a", "c", "b")
MU, DECAY, DAMPING, MAX_RMS, MAX_AMPLITUDE, B1 = 0.3, 0.6, 0.2, 0.9, 1.6, 0.6
CURVATURE = {"a": 1, "b": -1, "c": 3}  # c's fourth moments are the largest, and a is of its shape
HESSIAN = {k: CURVATURE[k] * np.random.default_rng(5).uniform(0.2, 5.0, s) for k, s in SHAPES.items()}

kron_step = jax.jit(partial(steps.kron_step, geometry="EQ"))
lra_step = jax.jit(steps.lra_step)


def gradient(params):
    """Of Σ c x² / 2 + x⁴ / 4, whose Hessian is diagonal."""
    return {k: HESSIAN[k] * x + x**3 for k, x in params.items()}


def flat(tree):
    return np.concatenate([np.ravel(tree[k]) for k in ORDER])


def unflat(vector):
    parts = np.split(np.asarray(vector), [6, 12])
    return {k: part.reshape(SHAPES[k]) for k, part in zip(ORDER, parts)}


def bounded(ell, previous):
    return np.maximum(DECAY * previous + (1 - DECAY) * ell, ell)


class Whole:
    """A group over the vector of all parameters; `fit` takes Q, bounds, the pair and the coin."""

    def __init__(self, q, bounds, scaled, fit, apply):
        self.q, self.bounds, self.scaled, self.one, self.apply_one = q, bounds, scaled, fit, apply

    def scale(self, by):
        self.q = self.scaled(self.q, by)

    def fit(self, v, h, coin):
        self.q, self.bounds = self.one(self.q, self.bounds, flat(v), flat(h), coin)

    def apply(self, g):
        return unflat(self.apply_one(self.q, flat(g)))

    def clip(self, tree):
        most = MAX_RMS / np.sqrt(np.mean(flat(tree) ** 2))
        return {k: np.clip(x * min(1, most), -MAX_AMPLITUDE, MAX_AMPLITUDE) for k, x in tree.items()}


class Leaves:
    """A Kronecker product for every parameter on its own: a matrix for the axis of 2, diagonals for those of 3."""

    def __init__(self):
        self.q = {k: (np.eye(2), np.ones(3)) if len(s) == 2 else (np.ones(3),) for k, s in SHAPES.items()}
        self.bounds = {k: np.zeros(len(s)) for k, s in SHAPES.items()}

    def scale(self, by):
        self.q = {k: tuple(x * by ** (1 / len(q)) for x in q) for k, q in self.q.items()}

    def fit(self, v, h, coin):
        assert coin is None
        for k in SHAPES:
            self.q[k], self.bounds[k] = kron_step(self.q[k], self.bounds[k], v[k], h[k], MU, DECAY)

    def apply(self, g):
        return {k: np.asarray(steps.kron_apply(self.q[k], x)) for k, x in g.items()}

    def clip(self, tree):
        return {
            k: np.clip(x * min(1, MAX_RMS / np.sqrt(np.mean(x**2))), -MAX_AMPLITUDE, MAX_AMPLITUDE)
            for k, x in tree.items()
        }


def lra(state):
    def fit(q, bounds, v, h, coin):
        return lra_step(q, bounds, v, h, MU, DECAY, coin)

    return Whole(state.q, np.zeros(3), lambda q, by: (*q[:2], q[2] * by), fit, steps.lra_apply)


def diagonal(state):
    """What rank 0 leaves: Q a diagonal, with the sum of two maxima for a bound."""
    assert state.q[0].shape == (15, 0)

    def fit(q, bound, v, h, coin):
        aa, bb = (q * h) ** 2, (v / q) ** 2
        bound = bounded(aa.max() + bb.max(), bound)
        return q - MU / bound * (aa - bb) * q, bound

    return Whole(np.ones(15), 0.0, np.multiply, fit, lambda q, g: q * q * g)


def dense(triangular, mask=None):
    def make(state):
        del state

        def fit(q, bound, v, h, coin):
            a, b = q @ h, np.linalg.solve(q.T, v)
            full = np.outer(a, a) - np.outer(b, b)
            if mask is not None:
                ell, full = np.max(a**2 + b**2), full * mask
            else:
                ell, full = a @ a + b @ b, np.triu(full) if triangular else full
            bound = bounded(ell, bound)
            return q - MU / bound * full @ q, bound

        return Whole(np.eye(15), 0.0, np.multiply, fit, lambda q, g: q.T @ q @ g)

    return make


CROSS = np.eye(15) + np.fliplr(np.eye(15)) > 0
CASES = {
    "psgd_kron[newton]": ("newton", {}, lambda state: Leaves()),
    "psgd_kron[whitening]": ("whitening", {}, lambda state: Leaves()),
    "psgd_lra": ("newton", {"rank": 2}, lra),
    "psgd_lra[rank 0]": ("whitening", {"rank": 0}, diagonal),
    "psgd_xmat": ("newton", {}, dense(False, CROSS)),
    "psgd_dense": ("whitening", {}, dense(True)),
    "psgd_dense[general]": ("newton", {"group": "general"}, dense(False)),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_a_reference(case, monkeypatch):
    """Everything in float64 NumPy but the fits of Kronecker products and low ranks, with the random numbers drawn."""
    mode, options, make = CASES[case]
    newton = mode == "newton"

    def spy(owner, name, drawn):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a: drawn.append(function(*a)) or drawn[-1])

    normals, coins = [], []
    spy(_psgd, "standard_normal", normals)
    spy(jax.random, "bernoulli", coins)
    with jax.enable_x64(True):
        tx = getattr(optimizers, case.split("[")[0])(
            1.0, B1, mode=mode, preconditioner_lr=MU, lipschitz_decay=DECAY, damping=DAMPING, max_rms=MAX_RMS,
            max_amplitude=MAX_AMPLITUDE, key=3, **options,
        )  # fmt: skip

        @jax.jit
        def step(params, state):
            updates, state = tx.update(gradient(params), state, params, grad_fn=gradient)
            return updates, state, normals, coins

        params = {k: jnp.asarray(np.random.default_rng(7).normal(size=s)) for k, s in SHAPES.items()}
        state = tx.init(params)
        group = make(state[0])
        mean, seen = {k: np.zeros(s) for k, s in SHAPES.items()}, []
        for t in range(4):
            updates, state, drawn, coin = step(params, state)
            stacks = [np.asarray(x) for x in drawn]
            trees = [{"a": x[0], "c": x[1], "b": y[0]} for x, y in zip(stacks[::2], stacks[1::2])]
            assert len(trees) == 1 + newton
            seen += [float(x[k].ravel()[0]) for x in trees for k in SHAPES]
            v, noise = trees[0], trees[-1]
            g = {k: np.asarray(x) for k, x in gradient(params).items()}
            h = {k: (HESSIAN[k] + 3 * params[k] ** 2) * v[k] for k in SHAPES} if newton else g
            b1 = min(t / (t + 1), B1)
            mean = {k: b1 * mean[k] + (1 - b1) * g[k] for k in SHAPES}
            if t == 0:
                scale = (max(np.mean(x**4) for x in h.values()) + DAMPING**4) ** (-1 / 8)
                group.scale(scale * np.mean(flat(v) ** 2) ** 0.25 if newton else scale)
            group.fit(v, {k: np.asarray(h[k] + DAMPING * noise[k]) for k in SHAPES}, coin[0] if coin else None)
            expected = group.clip(group.apply(mean))
            for k in SHAPES:
                np.testing.assert_allclose(updates[k], -expected[k], rtol=1e-9, atol=1e-11)
            params = optax.apply_updates(params, updates)
        assert len(set(seen)) == len(seen)  # no number is drawn twice


def test_low_rank_corrections_start_small_and_apart():
    params = {k: jnp.ones(s) for k, s in SHAPES.items()}
    u, v, d = optimizers.psgd_lra(0.1, rank=2).init(params)[0].q
    np.testing.assert_allclose([np.linalg.norm(u), np.linalg.norm(v)], np.sqrt(0.1), rtol=1e-6)
    assert abs(np.vdot(u, v)) < 0.09
    np.testing.assert_array_equal(d, 1)


def test_which_axes_have_matrices():
    """Longer than one, no longer than the limit, and squared no larger than the skew times the whole."""
    inf = np.inf
    for shape, size, skew, expected in (
        ((4, 4), 4, 1.0, [(4, 4), (4, 4)]),
        ((4, 4), 3, 1.0, [(4,), (4,)]),
        ((4, 4), 4, 0.99, [(4,), (4,)]),
        ((2, 8), 8, 4.0, [(2, 2), (8, 8)]),
        ((2, 8), 8, 3.9, [(2, 2), (8,)]),
        ((1, 5), 8, inf, [(1,), (5, 5)]),
        ((), 8, inf, [(1,)]),
    ):
        assert _psgd_groups.kron_shapes(shape, size, skew) == expected


def test_leaves_of_one_shape_are_one_kind_in_the_wider_dtype():
    leaves = [jnp.zeros(s, d) for s, d in (((2,), "bfloat16"), ((0,), "float32"), ((3,), "float32"), ((2,), "float32"))]
    assert _psgd.kinds_of(leaves) == [((2,), jnp.float32, [0, 3]), ((3,), jnp.float32, [2])]


def test_damping_is_at_least_the_rounding():
    x, n = jnp.float32([1.0, -3e4]), jnp.float32([2.0, 1.0])
    (found,) = _psgd._damped([x], [n], 0.0)
    np.testing.assert_array_equal(found, np.float32([1 + 2.0**-22, -3e4 + 2.0**-8]))
    (found,) = _psgd._damped([x], [n], 0.5)
    np.testing.assert_array_equal(found, np.float32([2.0 + 2.0**-22, -3e4 + 0.5 + 2.0**-8]))


def test_u_and_v_move_in_turn_also_where_fits_are_seldom():
    """The coin of U and V is another than that of the fit: one for both would never move V."""
    tx = optimizers.psgd_lra(0.1, rank=1, preconditioner_update_probability=0.5)
    params = jnp.ones(4)

    def step(state, key):
        _, new = tx.update(jax.random.normal(key, (4,)), state, params)
        return new, new[0].lipschitz != state[0].lipschitz

    _, moved = jax.lax.scan(step, tx.init(params), jax.random.split(jax.random.key(1), 100))
    d, u, v = np.sum(moved, axis=0)
    assert d == u + v
    assert 12 <= u <= 40
    assert 12 <= v <= 40


def test_schedules_of_fits_see_the_updates_made():
    """A schedule that is 1 at every third step, from the first on."""
    tx = optimizers.scale_by_psgd_kron(preconditioner_update_probability=lambda count: 1.0 * (count % 3 == 0))

    def step(state, key):
        _, new = tx.update(jax.random.normal(key, (2,)), state)
        return new, jnp.any(new.q[0] != state.q[0])

    moved = jax.lax.scan(step, tx.init(jnp.ones(2)), jax.random.split(jax.random.key(0), 9))[1]
    np.testing.assert_array_equal(moved, [True, False, False] * 3)


def test_turning_a_rotation_back():
    """For Q a rotation by t the step is exp(-s J) to two terms: s = tan t up to an eighth, and past a quarter turn."""
    with jax.enable_x64(True):
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        for t, s in ((0.05, np.tan(0.05)), (1.0, 0.125), (2.0, 0.125), (3.1, 0.125)):
            q = np.cos(t) * np.eye(2) + np.sin(t) * turn
            expected = (np.eye(2) - s * turn + s * s / 2 * turn @ turn) @ q
            np.testing.assert_allclose(steps.rotate_to_symmetric(q), expected, rtol=1e-12)


def test_factors_are_balanced_after_a_step():
    """Equal largest entries, whatever they were; the product is that of the factors that were not."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        q, v, h = (np.eye(2), np.ones(3)), random.normal(size=(2, 3)), random.normal(size=(2, 3))
        even = optimizers.update_kron_q(q, v, h)
        uneven = optimizers.update_kron_q((100 * q[0], q[1] / 100), v, h)
        for each, other in zip(even, uneven):
            np.testing.assert_allclose(each, other, rtol=1e-12)
        np.testing.assert_allclose(np.max(np.abs(even[0])), np.max(np.abs(even[1])), rtol=1e-12)


def test_a_diagonal_moves_by_its_largest_entry_of_both():
    h, v = np.array([1.0, 0.0, 2.0]), np.array([3.0, 1.0, 2.0])
    expected = 1 - 0.5 * (h**2 - v**2) / 10
    np.testing.assert_allclose(optimizers.update_diag_q(jnp.ones(3), v, h, mu=0.5), expected, rtol=1e-6)


def test_options_of_the_fits_reach_them():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        q, (v, h) = tuple(random.normal(size=s) for s in ((4, 2), (4, 2), 4)), random.normal(size=(2, 4))
        for on_u in (True, False):
            expected = steps.lra_step(q, jnp.zeros(3), v, h, 0.1, 0.0, on_u)[0]
            for found, each in zip(optimizers.update_lra_q(q, v, h, update_u=on_u), expected):
                np.testing.assert_allclose(found, each, rtol=1e-12)
        q, (v, h) = (np.eye(2), np.eye(2)), random.normal(size=(2, 2, 2))
        for geometry in ("EQ", "Q0.5EQ1.5"):
            expected = steps.kron_step(q, jnp.zeros(2), v, h, 0.1, 0.0, geometry)[0]
            for found, each in zip(optimizers.update_kron_q(q, v, h, geometry=geometry), expected):
                np.testing.assert_allclose(found, each, rtol=1e-12)
