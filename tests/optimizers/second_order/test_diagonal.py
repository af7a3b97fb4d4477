"""AdaHessian, Sophia, OASIS and SANIA: against Optax, the authors' code, NumPy, and what scaling must not change."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import compiled_step

from optimizers import (
    adahessian,
    hutchinson_estimator_diag_hessian,
    oasis,
    sania,
    scale_by_adahessian,
    scale_by_sophia,
    sophia,
    sophia_g,
)

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "second_order.npz"
SHAPES = ((3, 2), (4,), ())


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


def leaves(flat):
    """The leaves of the golden problems from their joint vector [..., 11]."""
    pieces = np.split(flat, [6, 10], axis=-1)
    return [jnp.asarray(np.reshape(piece, (*flat.shape[:-1], *shape))) for piece, shape in zip(pieces, SHAPES)]


def path_of(tx, golden):
    """The path on sum(a x^2 / 2 + x^4 / 4) with noise added to the gradients; Hutchinson's estimate is exact."""
    curvature = leaves(golden["curvature"])

    def grad_fn(params):
        return jax.tree.map(lambda x, a: a * x + x**3, params, curvature)

    def gnb_fn(params, key):
        del key
        return jax.tree.map(lambda x: 7 * (0.3 + x**2) ** 2, params)

    @jax.jit
    def scan(params):
        def step(carry, noise):
            params, state = carry
            gradient = jax.tree.map(jnp.add, grad_fn(params), noise)
            updates, state = tx.update(gradient, state, params, grad_fn=grad_fn, gnb_fn=gnb_fn)
            params = optax.apply_updates(params, updates)
            return (params, state), jnp.concatenate([jnp.ravel(x) for x in params])

        return jax.lax.scan(step, (params, tx.init(params)), leaves(golden["noise"]))[1]

    return scan(leaves(golden["start"]))


def sophia_h(weight_decay):
    """Sophia-H as pytorch-optimizer has it: divided by max(h, 1e-6), clipped at 0.5."""
    direction = scale_by_sophia(0.9, 0.95, eps=0.5e-6, gamma=0.5, update_interval=3, debias=False, hessian_first=True)
    rate = 0.05
    decay = optax.add_decayed_weights(weight_decay / 0.5)
    return optax.chain(direction, decay, optax.scale(-rate * 0.5))


GIVEN = {"learning_rate": 0.05, "b1": 0.9, "b2": 0.95, "eps": 0.0, "gamma": 0.4, "update_interval": 3}
FROM_TORCH = {
    "adahessian": lambda: adahessian(0.05, 0.8, 0.95),
    "adahessian_decay": lambda: adahessian(0.05, 0.8, 0.95, weight_decay=0.2),
    "adahessian_power": lambda: adahessian(0.05, 0.8, 0.95, hessian_power=0.6),
    "sophia_h": lambda: sophia_h(0.0),
    "sophia_h_decay": lambda: sophia_h(0.2),
    "sophia_g": lambda: sophia_g(**GIVEN, weight_decay=0.0),
    "sophia_g_decay": lambda: sophia_g(**GIVEN, weight_decay=0.2),
}


@pytest.mark.parametrize("name", FROM_TORCH)
def test_path_equals_that_of_pytorch(golden, name):  # tests/golden/second_order.py wrote it
    with jax.enable_x64(True):
        # Sophia's authors add 1e-15 to the denominator.
        np.testing.assert_allclose(path_of(FROM_TORCH[name](), golden), golden[name], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["sania_adam", "sania_adagrad"])
def test_sania_equals_the_authors_code(golden, name):
    with jax.enable_x64(True):
        inputs, targets = jnp.asarray(golden["inputs"]), jnp.asarray(golden["targets"])
        tx = sania("adam_sqr", b2=0.9, eps=1e-3) if name == "sania_adam" else sania("adagrad_sqr", eps=1e-3)

        def loss_fn(params):
            return 0.5 * jnp.mean((inputs @ params[0] + params[1] - targets) ** 2)

        def step(carry, _):
            params, state = carry
            value, grad = jax.value_and_grad(loss_fn)(params)
            updates, state = tx.update(grad, state, params, value=value)
            params = optax.apply_updates(params, updates)
            return (params, state), jnp.append(*params)

        params = (jnp.zeros(4), jnp.ones(()))
        (_, path) = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=50))(params)
        # The path is not a stable one: rounding grows with the steps.
        np.testing.assert_allclose(path[:30], golden[name][:30], rtol=1e-9)


HESSIAN = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"b1": 0.8, "b2": 0.5, "gamma": 0.3, "update_interval": 3, "weight_decay": 0.1},
        {"clip_threshold": None, "update_interval": 1, "eps": 1e-2, "b2": 0.7},
        {"weight_decay": 0.1, "weight_decay_mask": {"x": False, "y": True}, "clip_threshold": 0.5},
    ],
)
def test_sophia_equals_optax(settings):
    """The default estimator draws what Optax's draws."""

    def loss_fn(p):
        return 0.5 * p["x"] @ HESSIAN @ p["x"] + jnp.sum(jnp.cos(p["y"])) + p["x"][0] * p["y"][1]

    def path(tx):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss_fn)(params), state, params, obj_fn=loss_fn)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        params = {"x": jnp.array([1.0, -2.0, 0.5]), "y": jnp.array([1.0, 2.0])}
        return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=12))(params)

    with jax.enable_x64(True):
        ((_, state), ours), ((_, peer_state), peers) = (
            path(f(0.05, **settings)) for f in (sophia, optax.contrib.sophia)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), ours, peers)
        assert jax.tree.structure(jax.tree.leaves(state)) == jax.tree.structure(jax.tree.leaves(peer_state))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13),
            jax.tree.leaves(state),
            jax.tree.leaves(peer_state),
        )


def test_the_estimator_draws_what_optax_draws():
    params = {"x": jnp.array([1.0, -2.0, 0.5]), "y": jnp.ones((2, 2))}

    def loss_fn(p):
        return jnp.sum(p["x"]) ** 3 + jnp.sum(p["y"] @ p["y"]) * p["x"][0]

    found = []
    for tx in (hutchinson_estimator_diag_hessian(), optax.contrib.hutchinson_estimator_diag_hessian()):
        state = tx.init(params)
        _, state = tx.update(params, state, params, obj_fn=loss_fn)
        found.append(tx.update(params, state, params, obj_fn=loss_fn)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *found)


def test_adahessian_averages_over_the_window_of_a_kernel():
    """[height, width, in, out]: one denominator to a pair of channels; a matrix keeps its own."""
    random = np.random.default_rng(0)
    diagonal = {"kernel": random.normal(size=(3, 2, 2, 4)), "matrix": random.normal(size=(3, 4))}
    gradient = jax.tree.map(lambda d: random.normal(size=d.shape), diagonal)
    with jax.enable_x64(True):
        tx = scale_by_adahessian(eps=0.0)
        params = jax.tree.map(jnp.zeros_like, diagonal)

        def grad_fn(p):
            return jax.tree.map(lambda d, x: d * x, diagonal, p)

        updates, _ = jax.jit(lambda g: tx.update(g, tx.init(params), params, grad_fn=grad_fn))(gradient)
        average = np.abs(diagonal["kernel"]).mean(axis=(0, 1))
        np.testing.assert_allclose(updates["kernel"], gradient["kernel"] / average, rtol=1e-12)
        np.testing.assert_allclose(updates["matrix"], gradient["matrix"] / np.abs(diagonal["matrix"]), rtol=1e-12)


def test_adahessian_corrects_for_the_number_of_estimates():
    """Of a constant diagonal every correction is exact: the denominator is that diagonal at every step."""
    with jax.enable_x64(True):
        params, diagonal = jnp.zeros(3), jnp.array([1.0, -4.0, 0.5])
        tx = scale_by_adahessian(eps=0.0, update_interval=3)
        state = tx.init(params)
        update = jax.jit(lambda state: tx.update(jnp.ones(3), state, params, grad_fn=lambda p: diagonal * p))
        for _ in range(7):
            updates, state = update(state)
            np.testing.assert_allclose(updates, 1 / np.abs(diagonal), rtol=1e-12)


@pytest.mark.parametrize(
    "tx",
    [
        adahessian(0.1, hessian_diagonal_fn=optax.identity(), spatial_averaging=False),
        scale_by_sophia(hessian_diagonal_fn=optax.identity(), update_interval=1, hessian_first=True),
    ],
    ids=["adahessian", "sophia"],
)
def test_the_moments_need_no_temporary(tx):
    """With an estimate that is there already (here the gradient), an update aliases all and needs less than a leaf."""
    params = {"a": jnp.ones((64, 64)), "b": 2.0 * jnp.ones((64, 64))}
    executable, donated = compiled_step(tx, params)
    memory = executable.memory_analysis()
    assert memory.alias_size_in_bytes >= sum(x.nbytes for x in donated)
    assert memory.temp_size_in_bytes < params["a"].nbytes


@pytest.mark.parametrize("make", [lambda: adahessian(0.1, update_interval=4), lambda: sophia(0.1, update_interval=4)])
def test_the_curvature_is_computed_every_few_steps(make):
    """Between the estimates, the state of the estimator and the average stay as they are."""
    tx, params = make(), jnp.ones(3)
    state, keys = tx.init(params), []
    update = jax.jit(lambda state, scale: tx.update(params, state, params, grad_fn=lambda p: scale * p)[1])
    for step in range(9):
        state = update(state, step + 1.0)
        keys.append((state[0].hessian_fn_state.key.tolist(), np.asarray(state[0].nu).tolist()))
    assert [a != b for a, b in itertools.pairwise(keys)] == [False, False, False, True] * 2


def oasis_in_numpy(hessian, x, rate, b2, alpha, steps):
    """Algorithm 1 with exact estimates of a diagonal Hessian."""
    path, rates, ratio, diagonal, before = [], [], np.inf, np.diag(hessian).copy(), x
    for k in range(steps):
        g = hessian @ x
        diagonal = b2 * diagonal + (1 - b2) * np.diag(hessian)
        scale = np.maximum(np.abs(diagonal), alpha)
        if k > 0:
            local = 0.5 * np.sqrt(np.sum(scale * (x - before) ** 2) / np.sum((g - hessian @ before) ** 2 / scale))
            new = min(np.sqrt(1 + ratio) * rate, local)
            rate, ratio = new, new / rate
        before, x = x, x - rate * g / scale
        path.append(x)
        rates.append(rate)
    return np.stack(path), np.array(rates)


def run_oasis(tx, grad_fn, x, steps):
    def step(carry, _):
        x, state = carry
        updates, state = tx.update(grad_fn(x), state, x, grad_fn=grad_fn)
        x = optax.apply_updates(x, updates)
        return (x, state), (x, state.rate)

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=steps))(x)


def test_oasis_equals_algorithm_1_in_numpy():
    """On a diagonal Hessian with one entry below alpha, so that the step size has something to find."""
    with jax.enable_x64(True):
        diagonal = np.array([1.0, 30.0, 0.02, -0.5])
        tx = oasis(1e-3, b2=0.9, alpha=0.3)
        (_, state), (path, rates) = run_oasis(tx, lambda x: diagonal * x, jnp.array([1.0, -1.0, 2.0, 1e-4]), 30)
        expected, expected_rates = oasis_in_numpy(
            np.diag(diagonal), np.array([1.0, -1.0, 2.0, 1e-4]), 1e-3, 0.9, 0.3, 30
        )
        np.testing.assert_allclose(rates, expected_rates, rtol=1e-10)
        np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(state.diagonal, diagonal, rtol=1e-12)


def test_oasis_does_not_depend_on_the_scales_of_the_parameters():
    """Mapped back from scaled coordinates the path is the same, while alpha is out of the way."""
    with jax.enable_x64(True):
        scales, diagonal = np.array([1e-2, 1.0, 1e2]), np.array([1.0, 3.0, 2.0])
        start = jnp.array([1.0, -1.0, 2.0])

        def grad_fn(x):
            return diagonal * x + x**3

        _, (path, _) = run_oasis(oasis(1e-3, alpha=1e-12), grad_fn, start, 10)
        _, (scaled, _) = run_oasis(oasis(1e-3, alpha=1e-12), lambda y: scales * grad_fn(scales * y), start / scales, 10)
        np.testing.assert_allclose(scales * scaled, path, rtol=1e-9)


def test_oasis_without_adaptation_takes_newton_steps_on_a_diagonal_quadratic():
    diagonal = jnp.array([1.0, 30.0, 4.0])
    tx = oasis(1.0, adaptive=False)
    _, (path, rates) = run_oasis(tx, lambda x: diagonal * x, jnp.ones(3), 1)
    np.testing.assert_allclose(path[0], 0.0, atol=1e-6)
    np.testing.assert_array_equal(rates, 1.0)


def test_oasis_finds_the_solution_of_logistic_regression_untuned():
    """The optimum is Newton's, in NumPy."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(50, 4)) * np.array([1.0, 10.0, 0.1, 1.0])
    labels = np.sign(inputs @ random.normal(size=4) + random.normal(size=50))
    with jax.enable_x64(True):

        def loss_fn(w):
            return jnp.mean(jax.nn.softplus(-labels * (inputs @ w))) + 1e-3 * jnp.sum(w**2)

        w = np.zeros(4)
        for _ in range(30):
            p = 1 / (1 + np.exp(labels * (inputs @ w)))
            hessian = (inputs * (p * (1 - p))[:, None]).T @ inputs / 50 + 2e-3 * np.eye(4)
            w = w - np.linalg.solve(hessian, -(inputs.T @ (labels * p)) / 50 + 2e-3 * w)
        _, (path, _) = run_oasis(oasis(random_seed=1), jax.grad(loss_fn), jnp.zeros(4), 300)
        np.testing.assert_allclose(path[-1], w, rtol=1e-4)  # of a first-order method after 300 steps


def sania_path(precond, loss_fn, x, steps, **settings):
    tx = sania(precond, **settings)

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(loss_fn)(x)
        updates, state = tx.update(grad, state, x, value=value, grad_fn=jax.grad(loss_fn))
        x = optax.apply_updates(x, updates)
        return (x, state), x

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=steps)[1])(x)


@pytest.mark.parametrize("precond", ["adam_sqr", "adagrad_sqr", "hutchinson"])
@pytest.mark.parametrize("constraint", ["quadratic", "linear"])
def test_sania_does_not_depend_on_the_scales_of_the_parameters(precond, constraint):
    with jax.enable_x64(True):
        scales, start = np.array([1e-2, 1.0, 1e2]), jnp.array([1.0, -1.0, 2.0])

        def loss_fn(x):
            return 0.5 * jnp.sum(jnp.array([1.0, 3.0, 2.0]) * x**2) + jnp.sum(x**4)

        path = sania_path(precond, loss_fn, start, 6, constraint=constraint)
        scaled = sania_path(precond, lambda y: loss_fn(scales * y), start / scales, 6, constraint=constraint)
        np.testing.assert_allclose(scales * scaled, path, rtol=1e-9)
        assert np.ptp(path[:, 0]) > 1e-2


def test_sania_of_the_identity_is_polyak():
    with jax.enable_x64(True):
        start = jnp.array([1.0, -1.0, 2.0])

        def loss_fn(x):
            return 0.5 * x @ HESSIAN @ x + 0.7

        path = sania_path("identity", loss_fn, start, 8, constraint="linear", f_min=0.7)
        tx = optax.polyak_sgd(max_learning_rate=np.inf, f_min=0.7)
        x, state = start, tx.init(start)
        for step in range(8):
            value, grad = jax.value_and_grad(loss_fn)(x)
            updates, state = tx.update(grad, state, x, value=value)
            x = optax.apply_updates(x, updates)
            np.testing.assert_allclose(path[step], x, rtol=1e-12)


def test_sania_satisfies_its_constraint():
    """L + <g, d> + |d|_B^2 / 2 = L* where that can be, and d is Newton's step where it cannot; also below L*."""
    with jax.enable_x64(True):
        g = jnp.array([1.0, -2.0])
        tx = sania("identity", f_min=0.5)
        for value in (0.6, 1.0, 2.9):
            d, _ = tx.update(g, tx.init(g), value=value)
            np.testing.assert_allclose(value + g @ d + 0.5 * d @ d, 0.5, rtol=1e-12)
            assert jnp.linalg.norm(d) < jnp.linalg.norm(g)
        np.testing.assert_allclose(tx.update(g, tx.init(g), value=5.0)[0], -g)
        np.testing.assert_array_equal(tx.update(g, tx.init(g), value=0.4)[0], 0.0)
        small, _ = tx.update(g, tx.init(g), value=0.5 + 1e-12)
        np.testing.assert_allclose(small, -g * 1e-12 / 5.0, rtol=1e-3)  # 0.5 + 1e-12 itself is that coarse


def test_sania_leaves_a_coordinate_without_curvature_where_it_is():
    updates, _ = sania().update(jnp.array([1.0, 0.0]), sania().init(jnp.zeros(2)), value=1.0)
    np.testing.assert_allclose(updates, [-1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("tx", "missing"),
    [(adahessian(0.1), "grad_fn"), (sophia_g(0.1), "gnb_fn"), (oasis(), "grad_fn"), (sania(), "value")],
)
def test_what_update_lacks_is_named(tx, missing):
    with pytest.raises(ValueError, match=missing):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
