"""Methods on manifolds: Optax's in flat space, geoopt's on curved ones, and points that stay where they belong."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trajectories import gradients, run, start

from optimizers import (
    euclidean,
    poincare_ball,
    positive_definite,
    riemannian_adagrad,
    riemannian_adam,
    riemannian_amsgrad,
    riemannian_sgd,
    sphere,
    stiefel,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "riemannian.npz")
FLAT = euclidean()
RATE = optax.cosine_decay_schedule(1e-2, 200)

SAME_AS_OPTAX = {
    "adam": (riemannian_adam(1e-2, FLAT, 0.8, 0.95, 1e-3), optax.adam(1e-2, 0.8, 0.95, 1e-3)),
    "adam_scheduled": (riemannian_adam(RATE, FLAT), optax.adam(RATE)),
    "amsgrad": (riemannian_amsgrad(1e-2, FLAT), optax.amsgrad(1e-2)),
    "adagrad": (riemannian_adagrad(1e-1, FLAT), optax.adagrad(1e-1)),
    "adagrad_from_0": (riemannian_adagrad(1e-1, FLAT, 0.0, 0.0), optax.adagrad(1e-1, 0.0, 0.0)),
    "sgd": (riemannian_sgd(1e-3, FLAT), optax.sgd(1e-3)),
    "momentum": (riemannian_sgd(1e-3, FLAT, 0.9), optax.sgd(1e-3, 0.9)),
    "nesterov": (riemannian_sgd(1e-3, FLAT, 0.9, True), optax.sgd(1e-3, 0.9, True)),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
def test_products_of_lines_are_optax(name):
    """Each coordinate a manifold of its own: the ordinary methods."""
    ours, theirs = SAME_AS_OPTAX[name]
    with jax.enable_x64(True):
        actual, expected = (run(tx, start(), gradients())[0] for tx in (ours, theirs))
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-12), actual, expected)


GEOOPT = {
    "adam": lambda manifold, **maps: riemannian_adam(0.05, manifold, 0.8, 0.95, 1e-6, **maps),
    "adam_uncorrected": lambda manifold, **maps: riemannian_adam(0.05, manifold, 0.8, 0.95, 1e-6, debias=False, **maps),
    "amsgrad_uncorrected": lambda manifold, **maps: riemannian_amsgrad(
        0.05, manifold, 0.8, 0.95, 1e-6, debias=False, **maps
    ),
    "sgd": lambda manifold, **maps: riemannian_sgd(0.05, manifold, **maps),
    "momentum": lambda manifold, **maps: riemannian_sgd(0.05, manifold, 0.8, **maps),
}
MANIFOLDS = {
    "sphere": sphere(),
    "stiefel": stiefel(),
    "poincare_ball": poincare_ball(0.7),
    "positive_definite": positive_definite(),
}
PLACES = sorted({key.split("/")[0] for key in GOLDEN.files if "/" in key})


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("place", PLACES)
def test_equals_geoopt(place, decay):
    """50 steps, all methods in one compile; tests/golden/riemannian.py wrote them with geoopt 0.5.1."""
    name, step_map, transport = place.rsplit("_", 2)
    methods = {n: n + ("_decay" if decay else "") for n in GEOOPT if not decay or f"{place}/{n}_decay" in GOLDEN}

    def paths(x, grads):
        return {
            method: run_from(
                optax.chain(
                    optax.add_decayed_weights(decay),
                    GEOOPT[method](MANIFOLDS[name], step_map=step_map, transport=transport),
                ),
                x,
                lambda t, x: grads[t] + 0.5 * x,
                len(grads),
            )[0]
            for method in methods
        }

    with jax.enable_x64(True):
        found = jax.jit(paths)(GOLDEN[f"{place}/start"], GOLDEN[f"{place}/gradients"])
    for method, golden in methods.items():
        expected = GOLDEN[f"{place}/{golden}"]
        np.testing.assert_allclose(found[method][GOLDEN["kept_steps"]], expected, rtol=1e-9, atol=1e-10)


def run_from(tx, x, gradient, steps):
    """The points after each of `steps`, and the last state; the gradient of step t at x is `gradient(t, x)`."""

    def step(carry, t):
        x, state = carry
        updates, state = tx.update(gradient(t, x), state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    (_, state), path = jax.lax.scan(step, (x, tx.init(x)), jnp.arange(steps))
    return path, state


def test_adam_without_corrections_in_numpy():
    """The paper's recursion on the sphere, written out: exponential map, parallel transport, one number a point."""
    rate, b1, b2 = 0.1, 0.9, 0.99
    matrix = np.diag([3.0, 1.0, 2.0])
    x, tau, nu, expected = np.ones(3) / np.sqrt(3), np.zeros(3), 0.0, []
    for _ in range(20):
        gradient = 2 * matrix @ x
        gradient -= (x @ gradient) * x
        m, nu = b1 * tau + (1 - b1) * gradient, b2 * nu + (1 - b2) * gradient @ gradient
        v = -rate * m / (np.sqrt(nu) + 1e-8)
        size = np.linalg.norm(v)
        y = np.cos(size) * x + np.sin(size) * v / size
        direction = v / size  # rotate in the plane of x and v, and nothing else
        tau = m + (m @ direction) * ((np.cos(size) - 1) * direction - np.sin(size) * x)
        x = y
        expected.append(x)
    with jax.enable_x64(True):
        tx = riemannian_adam(rate, sphere(), b1, b2, debias=False)
        path, _ = run_from(tx, jnp.ones(3) / jnp.sqrt(3.0), lambda t, x: 2 * matrix @ x, 20)
        np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-13)


def test_a_vector_of_flat_space_has_one_second_moment():
    """On R^d the step is as long as the learning rate, and turns with the coordinates."""
    with jax.enable_x64(True):
        tx, g = riemannian_adam(0.1, euclidean(1), eps=0.0), jnp.array([[3.0, 4.0], [0.0, -2.0]])
        update, state = tx.update(g, tx.init(g), g)
        np.testing.assert_allclose(update, -0.1 * g / jnp.linalg.norm(g, axis=-1, keepdims=True), rtol=1e-12)
        assert state.nu.shape == (2,)
        turn = jnp.array([[0.6, 0.8], [-0.8, 0.6]])
        turned, _ = tx.update(g @ turn, tx.init(g), g @ turn)
        np.testing.assert_allclose(turned, update @ turn, rtol=1e-12)


METHODS = {
    "adam": riemannian_adam,
    "amsgrad": riemannian_amsgrad,
    "adagrad": riemannian_adagrad,
    "momentum": lambda rate, manifold, **maps: riemannian_sgd(0.3 * rate, manifold, 0.8, **maps),
}


def problem(kind, random):
    """A start, a function whose minimum on the manifold is known, and that minimum's value."""
    if kind == "sphere":
        matrix = np.diag(np.arange(1.0, 6.0))
        return random.normal(size=5), lambda x: x @ matrix @ x, 1.0
    if kind == "stiefel":
        weights, matrix = np.array([2.0, 1.0]), np.diag(np.arange(1.0, 6.0))
        return random.normal(size=(5, 2)), lambda x: jnp.sum(x * (matrix @ x) * weights), 2 * 1.0 + 1 * 2.0
    if kind == "poincare_ball":
        ball = poincare_ball()
        return np.array([0.3, 0.2, -0.1]), lambda x: ball.distance(x, jnp.array([0.5, -0.6, 0.1])) ** 2, 0.0
    # The likelihood of a Gaussian with covariance C: at C it is log det C + n.
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    return (
        np.eye(2),
        lambda x: jnp.linalg.slogdet(x)[1] + jnp.trace(jnp.linalg.inv(x) @ covariance),
        np.log(np.linalg.det(covariance)) + 2,
    )


@pytest.mark.parametrize("maps", [("exp", "parallel"), ("retraction", "projection")], ids="-".join)
@pytest.mark.parametrize("kind", MANIFOLDS)
def test_finds_the_minimum(kind, maps):
    """All methods at once; eigenvectors by Rayleigh quotients, a Frechet mean, a maximum likelihood covariance."""
    settings = {"sphere": sphere(), "stiefel": stiefel(), "poincare_ball": poincare_ball()}
    manifold = settings.get(kind, positive_definite())
    with jax.enable_x64(True):
        x, f, minimum = problem(kind, np.random.default_rng(2))
        x = manifold.project(jnp.asarray(x))
        rate = optax.exponential_decay(0.3, 30, 0.5)

        def finals(x):
            options = {"step_map": maps[0], "transport": maps[1]}
            return {
                name: run_from(
                    method(
                        (lambda t: 4 * rate(t)) if name == "adagrad" else rate if name != "momentum" else 0.3,
                        manifold,
                        **{k: v for k, v in options.items() if k == "step_map" or name != "adagrad"},
                    ),
                    x,
                    lambda t, x: jax.grad(f)(x),
                    300,
                )[0][-1]
                for name, method in METHODS.items()
            }

        for name, found in jax.jit(finals)(x).items():
            np.testing.assert_allclose(f(found), minimum, atol=2e-3, err_msg=name)
            np.testing.assert_allclose(manifold.project(found), found, atol=1e-12, err_msg=name)


def test_adam_is_invariant_under_isometries():
    """A congruence of the covariances, an orthogonal map of the rest: the same path in other coordinates."""
    random = np.random.default_rng(3)
    with jax.enable_x64(True):
        a = jnp.asarray(random.normal(size=(3, 3)))
        target = jnp.asarray(np.cov(random.normal(size=(3, 50))))
        cone = positive_definite()

        def path(x, target):
            return run_from(riemannian_adam(0.1, cone), x, lambda t, x: jnp.linalg.inv(x) - target @ x, 30)[0]

        def gradient_there(t, x):
            """The derivative in the new coordinates: the old one, pulled back through the inverse map."""
            inverse = jnp.linalg.inv(a)
            old = inverse @ x @ inverse.T
            return inverse.T @ (jnp.linalg.inv(old) - target @ old) @ inverse

        there, _ = run_from(riemannian_adam(0.1, cone), a @ a.T, gradient_there, 30)
        np.testing.assert_allclose(there, a @ path(jnp.eye(3), target) @ a.T, rtol=1e-9, atol=1e-9)


def test_points_stay_for_ten_thousand_steps():
    """Float32, random gradients, a tree of all manifolds: the error is that of one rounding, not of their sum."""
    manifolds = {
        "sphere": sphere(),
        "stiefel": {"exp": stiefel()},
        "ball": poincare_ball(),
        "covariance": positive_definite(),
        "flat": euclidean(),
    }
    shapes = {"sphere": (2, 3), "stiefel": {"exp": (3, 2)}, "ball": (2,), "covariance": (2, 2), "flat": (2,)}
    x = jax.tree.map(
        lambda m, shape: m.random(jax.random.key(0), shape),
        manifolds,
        shapes,
        is_leaf=lambda m: isinstance(m, tuple),
    )

    def noise(t, x):
        """Random slopes, and a pull of the covariance towards 1 that keeps its condition number bounded."""
        key = jax.random.fold_in(jax.random.key(1), t)
        drawn = jax.tree.map(lambda leaf: jax.random.normal(jax.random.fold_in(key, leaf.size), leaf.shape), x)
        pull = jnp.linalg.inv(x["covariance"])
        drawn["covariance"] += 3 * (pull - pull @ pull)
        return drawn

    path, _ = jax.jit(lambda x: run_from(riemannian_adam(0.03, manifolds), x, noise, 10_000))(x)
    moved = jax.tree.map(lambda p: jnp.abs(p[-1] - p[0]).max(), path)
    assert all(float(each) > 1e-2 for each in jax.tree.leaves(moved))
    ulp = np.finfo(np.float32).eps
    assert jnp.abs(jnp.linalg.norm(path["sphere"], axis=-1) - 1).max() < 4 * ulp
    columns = path["stiefel"]["exp"]
    assert jnp.abs(jnp.matrix_transpose(columns) @ columns - jnp.eye(2)).max() < 8 * ulp
    assert jnp.linalg.norm(path["ball"], axis=-1).max() < 1 - 0.9 * ulp ** (1 / 3)
    covariance = path["covariance"]
    np.testing.assert_array_equal(covariance, jnp.matrix_transpose(covariance))
    assert jnp.linalg.eigvalsh(covariance).min() > 1e-4


def test_labels():
    """One manifold, a prefix of the tree, or a function of the path; None leaves and gradients stay None."""
    params = {"a": {"w": jnp.array([0.6, 0.8]), "none": None}, "b": jnp.array([3.0, 4.0])}
    grads = {"a": {"w": jnp.array([1.0, 0.0]), "none": None}, "b": jnp.array([1.0, 0.0])}
    prefix = {"a": sphere(), "b": euclidean()}
    by_path = lambda path: sphere() if path.startswith("a/") else euclidean()
    found = []
    for labels in (prefix, by_path):
        tx = riemannian_adam(0.1, labels)
        updates, state = tx.update(grads, tx.init(params), params)
        assert state.nu["a"]["w"].shape == ()
        assert state.nu["b"].shape == (2,)
        found.append(optax.apply_updates(params, updates))
    assert found[0]["a"]["none"] is None
    jax.tree.map(np.testing.assert_array_equal, *found)
    np.testing.assert_allclose(jnp.linalg.norm(found[0]["a"]["w"]), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[0]["b"], [2.9, 4.0], rtol=1e-6)
    frozen = optax.masked(riemannian_adam(0.1, prefix), {"a": False, "b": True})
    assert len(jax.tree.leaves(frozen.init(params))) == 3
    marked = optax.tree.map_params(tx, lambda _: "moment", tx.init(params))
    assert jax.tree.leaves(marked).count("moment") == 4
    skipped, _ = tx.update({**grads, "b": None}, tx.init(params), params)
    assert skipped["b"] is None


@pytest.mark.parametrize(
    ("manifold", "leaf", "error", "words"),
    [
        (sphere(), jnp.float32(1.0), ValueError, r"sphere needs a vector.*got \[\] at 'w'"),
        (stiefel(), jnp.ones((2, 3)), ValueError, r"stiefel needs matrices.*got \[2, 3\]"),
        (positive_definite(), jnp.ones((2, 3)), ValueError, r"positive_definite needs square.*got \[2, 3\]"),
        (poincare_ball(), jnp.float32(1.0), ValueError, "poincare_ball needs a vector"),
        (euclidean(2), jnp.ones(2), ValueError, "euclidean needs at least 2 axes"),
        (sphere(), jnp.ones(2, jnp.bfloat16), TypeError, "sphere must be float32 or float64.*got bfloat16"),
        (lambda path: "sphere", jnp.ones(2), TypeError, "manifold.*must be a Manifold, got str"),
    ],
)
def test_leaves_that_do_not_fit_are_named(manifold, leaf, error, words):
    with pytest.raises(error, match=words):
        riemannian_sgd(0.1, manifold).init({"w": leaf})


def test_parameters_are_needed():
    tx = riemannian_sgd(0.1, sphere())
    with pytest.raises(ValueError, match="riemannian_sgd: params must be given"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_moments_of_sharded_points_are_sharded():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x = jax.device_put(sphere().random(jax.random.key(0), (16, 3)), split)
    tx = riemannian_adam(0.1, sphere())
    state = tx.init(x)
    updates, after = jax.jit(tx.update)(jnp.ones_like(x), state, x)
    for leaf in (*jax.tree.leaves((state, after))[1:3], updates):
        assert leaf.sharding.is_equivalent_to(split, leaf.ndim)
