"""Muon, AdaMuon and NorMuon: against Optax, golden values of PyTorch and pytorch-optimizer, and NumPy."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contracts.common import primitives
from optax.contrib import MuonDimensionNumbers

import optimizers
from optimizers import muon_dimension_numbers
from optimizers.matrix._stacks import BLOCK, map_stacks, wide_view

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "matrix.npz")
CONVERGENT = (1.5, -0.5, 0.0)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def polar(g):
    u, _, vh = np.linalg.svd(g, full_matrices=False)
    return u @ vh


def every_matrix(params):
    """Optax's rule."""
    return jax.tree.map(lambda p: MuonDimensionNumbers() if p.ndim == 2 else None, params)


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3), (2, 3, 5)])
@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "schatten"])
def test_iteration_converges_to_the_polar_factor(shape, preconditioning):
    with jax.enable_x64(True):
        g = normal(*shape)
        found = optimizers.newton_schulz_orthogonalize(g, 60, CONVERGENT, preconditioning=preconditioning)
        np.testing.assert_allclose(found, polar(g), rtol=0, atol=1e-12)


def test_almost_orthogonal_layer_scales_rows_first():
    with jax.enable_x64(True):
        g = normal(3, 5)
        scaled = g / np.sqrt(np.abs(g @ g.T).sum(axis=1, keepdims=True))
        found = optimizers.newton_schulz_orthogonalize(g, 60, CONVERGENT, preconditioning="aol")
        np.testing.assert_allclose(found, polar(scaled), rtol=0, atol=1e-12)


def test_five_iterations_leave_singular_values_near_one():
    values = np.linalg.svd(optimizers.newton_schulz_orthogonalize(np.float32(normal(32, 16))), compute_uv=False)
    assert values.min() > 0.67
    assert values.max() < 1.21


def test_iteration_commutes_with_rotations_and_ignores_scale():
    with jax.enable_x64(True):
        g, rotation = normal(4, 6), np.linalg.qr(normal(4, 4, seed=1))[0]
        found = optimizers.newton_schulz_orthogonalize(g, eps=0.0)
        np.testing.assert_allclose(
            optimizers.newton_schulz_orthogonalize(rotation @ g, eps=0.0), rotation @ found, atol=1e-12
        )
    single = optimizers.newton_schulz_orthogonalize(np.float32(g), eps=0.0)
    for exponent in (-120, -60, 60, 120):  # squares of these leave float32's range
        scaled = optimizers.newton_schulz_orthogonalize(np.float32(g) * np.float32(2.0**exponent), eps=0.0)
        np.testing.assert_array_equal(scaled, single)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_zero_gives_zero_and_infinity_gives_nan(dtype):
    g = jnp.zeros((2, 3), dtype)
    found = optimizers.newton_schulz_orthogonalize(g)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, 0)
    assert np.isnan(np.float32(optimizers.newton_schulz_orthogonalize(g.at[0, 0].set(jnp.inf)))).all()
    assert optimizers.newton_schulz_orthogonalize(jnp.zeros((0, 3), dtype)).shape == (0, 3)


SETTINGS = {
    "default": {},
    "plain momentum": {"nesterov": False, "weight_decay": 0.1},
    "dual norm": {"adaptive": True, "mu_dtype": "float64"},
    "spectral": {"preconditioning": "spectral"},
    "aol": {"preconditioning": "aol"},
    "schatten": {"preconditioning": "schatten", "ns_steps": 3},
    "dion": {"ns_coeffs": "dion", "consistent_rms": 0.2, "beta": 0.8},
    "adam": {
        "adam_learning_rate": 0.3,
        "adam_weight_decay": 0.1,
        "adam_eps_root": 1e-3,
        "adam_b1": 0.8,
        "adam_b2": 0.99,
        "eps": 1e-3,
    },
    "mask": {"weight_decay": 0.1, "weight_decay_mask": {"tall": True, "wide": False, "bias": False, "scale": False}},
}


def run(tx, params, gradients):
    def step(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), gradients)[1])(params)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_muon_equals_optax(settings):
    shapes = {"tall": (5, 3), "wide": (3, 5), "bias": (3,), "scale": ()}
    with jax.enable_x64(True):
        params = {name: jnp.asarray(normal(*shape)) for name, shape in shapes.items()}
        gradients = {name: jnp.asarray(normal(10, *shape, seed=1)) for name, shape in shapes.items()}
        ours = run(optimizers.muon(0.05, **settings, muon_weight_dimension_numbers=every_matrix), params, gradients)
        theirs = run(optax.contrib.muon(0.05, **settings), params, gradients)
        for name in shapes:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [((2, 3, 4, 5), MuonDimensionNumbers((0, 1, 2), 3)), ((2, 3, 4), MuonDimensionNumbers(2, 1))],
    ids=["convolution", "batch of turned matrices"],
)
def test_dimension_numbers_equal_optax(shape, numbers):
    with jax.enable_x64(True):
        params, gradients = {"w": jnp.asarray(normal(*shape))}, {"w": jnp.asarray(normal(5, *shape, seed=1))}
        settings = {"muon_weight_dimension_numbers": {"w": numbers}}
        ours = run(optimizers.muon(0.05, **settings), params, gradients)["w"]
        np.testing.assert_allclose(ours, run(optax.contrib.muon(0.05, **settings), params, gradients)["w"], rtol=1e-12)


GOLDEN_CASES = {
    "muon": lambda rate: optimizers.muon(rate, beta=0.9, nesterov=False),
    "muon_rms": lambda rate: optimizers.muon(rate, beta=0.9, nesterov=False, weight_decay=0.1, consistent_rms=0.2),
    "adamuon": lambda rate: optimizers.adamuon(rate, beta=0.9, eps=0.0, sign=False),
    "adamuon_decay": lambda rate: optimizers.adamuon(rate, beta=0.9, eps=0.0, sign=False, weight_decay=0.1),
    "normuon": lambda rate: optimizers.normuon(rate, beta=0.9, eps=0.0, nesterov=False, weight_decay=0.1),
}


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_trajectories_of_peers(name):
    """PyTorch's Muon, pytorch-optimizer's AdaMuon and NorMuon; their matrices [out, in] are ours transposed."""
    shapes = ("square", "wide", "tall")
    with jax.enable_x64(True):
        tx = GOLDEN_CASES[name](float(GOLDEN["rate"]))
        start = {shape: jnp.asarray(GOLDEN[f"{shape}_start"].T) for shape in shapes}
        gradients = {shape: jnp.asarray(GOLDEN[f"{shape}_gradients"].mT) for shape in shapes}

        def step(carry, gradient):
            params, state = carry
            gradient = jax.tree.map(lambda g, p: g + 0.1 * p, gradient, params)
            updates, state = tx.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        path = jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g)[1])(start, gradients)
        for shape in shapes:
            found = np.asarray(path[shape])[GOLDEN["kept_steps"]].mT
            # The peers' epsilon of 1e-7 in the norm of a matrix of about 1 is what is left.
            np.testing.assert_allclose(found, GOLDEN[f"{shape}_{name}"], rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("make", "mean"),
    [
        (partial(optimizers.scale_by_adamuon, sign=False), lambda squares: squares),
        (optimizers.scale_by_normuon, lambda squares: squares.mean(axis=0, keepdims=True)),
    ],
    ids=["adamuon", "normuon"],
)
def test_second_moments_of_orthogonalized_momenta(make, mean):
    """NumPy, with an epsilon beside which the size of an average shows; leaves of equal shape and a turned one."""
    b2, eps = 0.7, 0.5
    with jax.enable_x64(True):
        gradients = {"wide": normal(2, 3, 5), "other": 2 * normal(2, 3, 5, seed=1), "tall": normal(2, 5, 3, seed=2)}
        tx = make(beta=0.0, b2=b2, eps=eps, rms=0.3, nesterov=False)
        update = jax.jit(tx.update)
        state, nu = tx.init({name: g[0] for name, g in gradients.items()}), dict.fromkeys(gradients, 0.0)
        for t in range(2):
            updates, state = update({name: g[t] for name, g in gradients.items()}, state)
            for name, g in gradients.items():
                x = np.asarray(optimizers.newton_schulz_orthogonalize(g[t], eps=0.0))
                nu[name] = b2 * nu[name] + (1 - b2) * mean(x**2)
                x = x / (np.sqrt(nu[name]) + eps)
                np.testing.assert_allclose(updates[name], 0.3 * x / np.sqrt(np.mean(x**2)), rtol=1e-9)


@pytest.mark.parametrize("make", [optimizers.adamuon, optimizers.normuon])
def test_the_rest_has_a_learning_rate_of_its_own(make):
    params = {"kernel": jnp.float32(normal(3, 3)), "bias": jnp.float32(normal(3))}
    gradients = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    ours = run(make(0.1, adam_learning_rate=0.3), params, gradients)
    alone = run(make(0.3), params, gradients)
    np.testing.assert_array_equal(ours["bias"], alone["bias"])
    np.testing.assert_array_equal(ours["kernel"], run(make(0.1), params, gradients)["kernel"])


def test_adamuon_orthogonalizes_signs():
    with jax.enable_x64(True):
        g = normal(3, 5)
        tx, plain = optimizers.scale_by_adamuon(), optimizers.scale_by_adamuon(sign=False)
        np.testing.assert_allclose(tx.update(g, tx.init(g))[0], plain.update(np.sign(g), plain.init(g))[0], rtol=1e-12)


@pytest.mark.parametrize("make", [optimizers.scale_by_adamuon, optimizers.scale_by_normuon])
def test_updates_have_the_root_mean_square_that_was_asked_for(make):
    g = jnp.float32(normal(6, 4))
    tx = make(rms=0.3)
    update, state = tx.update(g, tx.init(g))
    for _ in range(3):
        update, state = tx.update(update, state)
        np.testing.assert_allclose(np.sqrt(np.mean(np.square(update))), 0.3, rtol=1e-5)


def test_default_rule():
    shapes = {
        "params": {
            "embedder": {"table": (9, 4)},
            "wte": {"embedding": (9, 4)},
            "layer_0": {
                "conv": {"kernel": (3, 4, 4), "bias": (4,)},
                "attention": {"query": (4, 2, 2), "out": (4, 4), "heads_norm": (4, 4)},
                "empty": (0, 4),
            },
            "stem": (3, 3, 3, 4),
            "lm_head": {"kernel": (4, 9)},
            "head_1": {"kernel": (4, 9)},
            "output": {"kernel": (4, 9)},
            "scale": (),
        }
    }
    params = jax.tree.map(jnp.zeros, shapes, is_leaf=lambda x: isinstance(x, tuple))
    numbers = muon_dimension_numbers(params)["params"]
    matrix = MuonDimensionNumbers(0, 1)
    assert numbers["layer_0"]["attention"] == {"query": None, "out": matrix, "heads_norm": matrix}
    assert numbers["layer_0"]["conv"] == {"kernel": MuonDimensionNumbers((0, 1), 2), "bias": None}
    assert numbers["stem"] == MuonDimensionNumbers((0, 1, 2), 3)
    rest = ("embedder", "wte", "lm_head", "head_1", "output")
    assert [next(iter(numbers[name].values())) for name in rest] == [None] * 5
    assert numbers["layer_0"]["empty"] is None
    assert numbers["scale"] is None


def test_leaves_of_adamw_step_as_adamw_does():
    params = {"embed": jnp.float32(normal(4, 3)), "kernel": jnp.float32(normal(3, 3))}
    gradients = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    ours = run(optimizers.muon(0.1), params, gradients)["embed"]
    np.testing.assert_array_equal(
        ours, run(optimizers.adamw(0.1, weight_decay=0.0, nesterov=True), params, gradients)["embed"]
    )


def test_a_leaf_whose_axes_overlap_is_refused():
    tx = optimizers.scale_by_muon(weight_dimension_numbers=MuonDimensionNumbers(0, -2))
    g = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"scale_by_muon: weight_dimension_numbers.*\(2, 3\)"):
        tx.update(g, tx.init(g))


def test_equal_shapes_are_one_operation():
    """A hundred matrices, half of them transposed: as many loops as blocks, and no product outside them."""
    params = [jnp.ones((3, 4) if k % 2 else (4, 3)) for k in range(100)]
    tx = optimizers.scale_by_muon()
    names = list(primitives(jax.make_jaxpr(tx.update)(params, tx.init(params))))
    blocks = 2 * -(-50 // BLOCK)
    assert names.count("scan") + names.count("while") == blocks
    assert names.count("dot_general") == 3 * blocks


def test_stacks_equal_a_loop():
    generator = np.random.default_rng(0)
    first = [generator.normal(size=(2, 3) if k % 3 else (4,)).astype(np.float32) for k in range(80)]
    second = [None if k % 2 else np.float32(k) for k in range(80)]

    def work(x, y):
        scale = 1.0 if y is None else y.reshape(-1, *[1] * (x.ndim - 1))
        return {"scaled": x * scale, "sum": x.reshape(x.shape[0], -1).sum(axis=1)}

    for result, x, y in zip(map_stacks(work, first, second), first, second, strict=True):
        np.testing.assert_array_equal(result["scaled"], x * (1.0 if y is None else y))
        np.testing.assert_allclose(result["sum"], x.sum(), rtol=1e-5, atol=1e-6)
    assert map_stacks(work, [], []) == []


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (3, 4), (2, 3, 4), (2, 1, 3, 5)])
def test_views_are_undone(shape):
    rank = len(shape)
    x = jnp.asarray(normal(*shape))
    for rows in ((), tuple(range(rank - 1)), (0,) if rank > 1 else ()):
        columns = (rank - 1,) if rank else ()
        view = wide_view(shape, rows, columns)
        wide = view.wide(x)
        assert wide.shape == (view.batch, *sorted((view.rows, view.columns)))
        np.testing.assert_array_equal(view.narrow(wide), x)
