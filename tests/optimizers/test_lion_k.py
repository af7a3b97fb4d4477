"""Lion-K: every convex function against its definition, and the constraints that its papers' invariants promise."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from trajectories import compiled_step, gradients, run, start

from optimizers import lion, lion_k, scale_by_lion, scale_by_lion_k, signum

BF16 = jnp.bfloat16
CONVEX = {  # the functions whose gradients the names stand for, of one array
    "l2": lambda c: jnp.sqrt(jnp.sum(c**2)),
    "lp": lambda c: jnp.sum(jnp.abs(c) ** 1.7) ** (1 / 1.7),
    "group_l2": lambda c: jnp.sum(jnp.sqrt(jnp.sum(c**2, axis=-1))),
    "huber": lambda c: jnp.sum(jnp.where(jnp.abs(c) < 0.5, c**2 / (2 * 0.5), jnp.abs(c) - 0.25)),
    "entropy": lambda c: 0.5 * jnp.sum(jnp.log(jnp.cosh(c / 0.5))),
    "l1": lambda c: jnp.sum(jnp.abs(c)),
    "relu_l1": lambda c: jnp.sum(jnp.maximum(jnp.abs(c) - 0.5, 0)),
}


@pytest.mark.parametrize("kappa", CONVEX)
def test_the_direction_is_the_gradient_of_the_convex_function(kappa):
    with jax.enable_x64(True):
        gradient = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)))
        tx = scale_by_lion_k(kappa, b1=0.0, p=1.7, width=0.5)
        update, _ = tx.update(gradient, tx.init(gradient))
        np.testing.assert_allclose(update, jax.grad(CONVEX[kappa])(gradient), rtol=1e-12)


@pytest.mark.parametrize("kappa", ["l2", "lp"])
def test_norms_are_of_all_leaves_together(kappa):
    with jax.enable_x64(True):
        tree = jax.tree.map(jnp.asarray, start())
        flat = jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])
        tx = scale_by_lion_k(kappa, b1=0.0, p=1.7)
        update, _ = tx.update(tree, tx.init(tree))
        expected = jax.grad(CONVEX[kappa])(flat)
        np.testing.assert_allclose(np.concatenate([x.ravel() for x in jax.tree.leaves(update)]), expected, rtol=1e-12)


def test_lp_joins_l1_and_l2():
    with jax.enable_x64(True):
        (one, _), (ones, _) = (run(scale_by_lion_k(k, p=1.0), start(), gradients()) for k in ("lp", "l1"))
        (two, _), (twos, _) = (run(scale_by_lion_k(k, p=2.0), start(), gradients()) for k in ("lp", "l2"))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), (one, two), (ones, twos))


@pytest.mark.parametrize("kappa", ["l2", "lp", "group_l2"])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_of_extreme_gradients(kappa, size):
    """Their squares leave float32, the directions do not; zero stays zero."""
    gradient = jnp.array([3.0, 0.0, -4.0])
    tx = scale_by_lion_k(kappa, b1=0.0)
    update, expected = (tx.update(s * gradient, tx.init(gradient))[0] for s in (size, 1.0))
    np.testing.assert_allclose(update, expected, rtol=2e-6)
    np.testing.assert_array_equal(tx.update(0 * gradient, tx.init(gradient))[0], 0.0)


def test_l1_is_optax_lion():
    with jax.enable_x64(True):
        peer = optax.lion(1e-2, 0.8, 0.95, weight_decay=0.1)
        (path, _), (expected, _) = (
            run(tx, start(), gradients()) for tx in (lion_k(1e-2, "l1", 0.8, 0.95, weight_decay=0.1), peer)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), path, expected)


@pytest.mark.parametrize(
    ("mode", "kappa", "width"), [("hard", "l1", 1.0), ("smooth", "entropy", 0.25), ("refined", "huber", 1.0)]
)
def test_the_modes_of_lion_are_members(mode, kappa, width):
    (path, _), (expected, _) = (
        run(tx, start(np.float32), gradients(np.float32))
        for tx in (scale_by_lion_k(kappa, width=width), scale_by_lion(mode=mode, smooth_beta=1 / width))
    )
    jax.tree.map(np.testing.assert_array_equal, path, expected)


SIGNUM = {
    "signum": (signum(1e-2), optax.signum(1e-2)),
    "beta_0": (signum(1e-2, 0.0), optax.signum(1e-2, 0.0)),
    "decay": (
        signum(1e-2, 0.8, weight_decay=0.1),
        optax.chain(
            optax.ema(0.8, debias=False),
            optax.stateless(lambda u, p: jax.tree.map(lambda u, p: jnp.sign(u) + 0.1 * p, u, p)),
            optax.scale(-1e-2),
        ),
    ),
    "lion_k": (lion_k(1e-2, "l1", 0.9, 0.9, weight_decay=0.0), optax.signum(1e-2)),
}


@pytest.mark.parametrize("name", SIGNUM)
def test_signum_equals_optax(name):
    with jax.enable_x64(True):
        (path, _), (expected, _) = (run(tx, start(), gradients()) for tx in SIGNUM[name])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), path, expected)


@pytest.mark.parametrize(("name", "decay"), [("signum", None), ("signum_decay", 0.1)])
def test_signum_equals_pytorch_optimizer(name, decay):  # tests/golden/elementwise.py wrote it
    golden = np.load(pathlib.Path(__file__).parents[1] / "golden" / "elementwise.npz")
    with jax.enable_x64(True):
        path, _ = run(signum(1e-2, weight_decay=decay), golden["start"], golden["gradients"])
        np.testing.assert_allclose(path, golden[name], rtol=1e-12)


def test_signum_without_decay_needs_no_parameters():
    gradient = jnp.array([2.0, -3.0])
    update, _ = signum(0.1).update(gradient, signum(0.1).init(gradient))
    np.testing.assert_allclose(update, [-0.1, 0.1])


DISTANCES = {  # from the set that λ = 1 makes: |θ|∞ <= 1, |θ|₂ <= 1, each row's norm <= 1, |θ|₃ <= 1 (dual of 3/2)
    "l1": lambda x: np.max(np.maximum(np.abs(x) - 1, 0), axis=(1, 2)),
    "l2": lambda x: np.maximum(np.sqrt(np.sum(x**2, axis=(1, 2))) - 1, 0),
    "group_l2": lambda x: np.max(np.maximum(np.sqrt(np.sum(x**2, axis=2)) - 1, 0), axis=1),
    "lp": lambda x: np.maximum(np.sum(np.abs(x) ** 3, axis=(1, 2)) ** (1 / 3) - 1, 0),
    "entropy": lambda x: np.max(np.maximum(np.abs(x) - 1, 0), axis=(1, 2)),
}


@pytest.mark.parametrize("kappa", DISTANCES)
def test_whatever_the_gradients_the_constraint_is_approached_and_then_kept(kappa):
    """dist(θ_t) <= (1 - ηλ)^t dist(θ_0): the first phase of the paper's analysis; the second never leaves the set."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        grads = random.normal(size=(300, 3, 4)) * 10.0 ** random.uniform(-3, 3, (300, 1, 1))
        path, _ = run(lion_k(0.05, kappa, weight_decay=1.0), 5 * random.normal(size=(3, 4)), grads, pull=0.0)
        distance = DISTANCES[kappa](np.asarray(path))
        assert (distance[1:] <= 0.95 * distance[:-1] + 1e-12).all()
        inside, _ = run(lion_k(0.05, kappa, weight_decay=1.0), 0.1 * random.normal(size=(3, 4)), grads, pull=0.0)
        assert (DISTANCES[kappa](np.asarray(inside)) <= 1e-12).all()


def quadratic(seed=0, size=6):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(size, size))
    return matrix @ matrix.T + np.eye(size), 4 * random.normal(size=size)


def minimise(kappa, steps=20_000, **keywords):
    """Lion-K on f(x) = x·Ax/2 - b·x with λ = 1 and a falling rate."""
    hessian, slope = map(jnp.asarray, quadratic())
    tx = lion_k(lambda count: 0.05 / (1 + 0.01 * count), kappa, weight_decay=1.0, **keywords)

    def step(carry, _):
        x, state = carry
        updates, state = tx.update(hessian @ x - slope, state, x)
        return (x + updates, state), None

    x = jnp.zeros(len(slope))
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, (x, tx.init(x)), length=steps)[0][0])())


def test_lion_finds_the_minimum_in_the_box():
    with jax.enable_x64(True):
        hessian, slope = quadratic()
        f = lambda x: 0.5 * x @ hessian @ x - slope @ x
        best = scipy.optimize.minimize(f, np.zeros(6), method="L-BFGS-B", bounds=[(-1, 1)] * 6, tol=1e-12).x
        assert np.max(np.abs(np.linalg.solve(hessian, slope))) > 1.5  # the minimiser lies outside
        np.testing.assert_allclose(minimise("l1"), best, atol=5e-3)  # the last rate is 2.5e-4, its cycles some of it


def test_l2_finds_the_minimum_in_the_ball():
    """A minimiser outside of the ball: on the sphere, where the gradient is -μ x with μ >= 0."""
    with jax.enable_x64(True):
        hessian, slope = quadratic()
        f = lambda x: 0.5 * x @ hessian @ x - slope @ x
        ball = {"type": "ineq", "fun": lambda x: 1 - x @ x}
        best = scipy.optimize.minimize(f, np.zeros(6), method="SLSQP", constraints=[ball], tol=1e-14).x
        np.testing.assert_allclose(np.linalg.norm(best), 1.0, rtol=1e-6)
        np.testing.assert_allclose(minimise("l2"), best, atol=5e-3)


def test_relu_l1_adds_a_penalty_within_the_box():
    """f + e |x|₁ with |x|∞ <= 1: the threshold e drives small coordinates to 0."""
    with jax.enable_x64(True):
        hessian, slope = quadratic()
        # x = p - q with p, q in [0, 1]: |x|₁ is smooth there
        f = lambda z: 0.5 * (z[:6] - z[6:]) @ hessian @ (z[:6] - z[6:]) - slope @ (z[:6] - z[6:]) + 2.0 * z.sum()
        z = scipy.optimize.minimize(f, np.zeros(12), method="L-BFGS-B", bounds=[(0, 1)] * 12, tol=1e-13).x
        np.testing.assert_allclose(minimise("relu_l1", width=2.0), z[:6] - z[6:], atol=1e-2)


LEAVES = {"a": jnp.ones((64, 128)), "b": jnp.ones((4096,)), "c": jnp.ones(())}
LEAN = {
    **{kappa: lion_k(1e-3, kappa) for kappa in ("l1", "huber", "entropy", "relu_l1")},
    "half": lion_k(1e-3, "entropy", mu_dtype=BF16),
    "signum": signum(optax.cosine_decay_schedule(1e-3, 10), weight_decay=0.1),
    "signum_small_beta": signum(1e-3, 0.01),
}


@pytest.mark.parametrize("name", LEAN)
def test_elementwise_functions_need_no_temporary(name):
    executable, donated = compiled_step(LEAN[name], LEAVES)
    memory = executable.memory_analysis()
    assert memory.temp_size_in_bytes <= 512
    assert memory.alias_size_in_bytes == sum(x.nbytes for x in donated)


def test_signum_without_memory_may_be_traced():
    """b1 / b2 is 1 there by construction, and not 0/0 as for Lion at b2 = 0."""
    gradient = jnp.array([2.0, -3.0])
    first = jax.jit(lambda beta: signum(0.1, beta).update(gradient, signum(0.1).init(gradient))[0])
    np.testing.assert_allclose(first(0.0), [-0.1, 0.1], rtol=1e-6)


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"^lion_k: kappa must be a function or one of 'l1', .*, got 'l3'"):
        lion_k(1e-3, "l3")
    with pytest.raises(ValueError, match=r"^scale_by_lion_k: width must lie in \(0, inf\], got 0.0"):
        scale_by_lion_k("huber", width=0.0)
    with pytest.raises(ValueError, match=r"^signum: beta must lie in \[0, 1\), got 1.0"):
        signum(1e-3, 1.0)
    with pytest.raises(ValueError, match=r"^lion: b1 must lie in"):
        lion(1e-3, b1=2.0)
