"""Mirror descent: closed forms of its potentials, what it converges to, and what its traces look like."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from trajectories import compiled_step, gradients, run, start

from optimizers import dual_weight_change, mirror_descent

POTENTIALS = {"euclidean": {}, "p_norm": {"p": 2.5}, "negentropy": {}, "hypentropy": {"beta": 0.3}}
PHI = {
    "euclidean": lambda w: w**2 / 2,
    "p_norm": lambda w: jnp.abs(w) ** 2.5 / 2.5,
    "negentropy": lambda w: jnp.abs(w) * jnp.log(jnp.abs(w)) - jnp.abs(w),
    "hypentropy": lambda w: w * jnp.arcsinh(w / 0.3) - jnp.sqrt(w**2 + 0.3**2),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_the_gradient_of_the_potential_moves_by_the_gradient(name):
    """∇φ(new) = ∇φ(old) - η g, with ∇φ from automatic differentiation of φ."""
    with jax.enable_x64(True):
        w, g = np.array([2.0, -1.5, 0.01, -3.0]), np.array([0.3, -0.7, -0.2, 10.0])
        tx = mirror_descent(0.05, name, **POTENTIALS[name])
        update, _ = tx.update(jnp.asarray(g), tx.init(w), jnp.asarray(w))
        to_dual = jax.vmap(jax.grad(PHI[name]))
        np.testing.assert_allclose(to_dual(w + update), to_dual(w) - 0.05 * g, rtol=1e-12, atol=1e-13)
        change = dual_weight_change(w, w + update, name, **POTENTIALS[name])
        np.testing.assert_allclose(change, -0.05 * g, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("name", "keywords"), [("euclidean", {}), ("p_norm", {"p": 2.0})])
def test_the_euclidean_geometry_is_gradient_descent(name, keywords):
    with jax.enable_x64(True):
        rate = lambda count: 1e-2 * (1 - jnp.asarray(count, float) / 200)  # float32 may differ by a rounding
        (path, _), (expected, _) = (
            run(tx, start(), gradients()) for tx in (mirror_descent(rate, name, **keywords), optax.sgd(rate))
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), path, expected)


def test_hypentropy_joins_gradient_descent_and_exponentiated_gradients():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        w, grads = random.uniform(0.5, 1, 4), 0.1 * random.normal(size=(30, 4))
        (wide, _), (flat, _) = (
            run(tx, w, grads, pull=0.0)
            for tx in (mirror_descent(1e-7, "hypentropy", beta=1e6), mirror_descent(0.1, "euclidean"))
        )
        np.testing.assert_allclose(wide, flat, rtol=1e-9)
        (narrow, _), (product, _) = (
            run(tx, w, grads, pull=0.0)
            for tx in (mirror_descent(0.1, "hypentropy", beta=1e-6), mirror_descent(0.1, "negentropy"))
        )
        np.testing.assert_allclose(narrow, product, rtol=1e-9)


def test_exponentiated_gradient_has_a_closed_form():
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        w, grads = np.array([1.0, -2.0, 0.0, 3.0]), random.normal(size=(50, 4))
        path, _ = run(mirror_descent(0.1, "negentropy"), w, grads, pull=0.0)
        expected = w * np.exp(-0.1 * np.sign(w) * np.cumsum(grads, axis=0))
        np.testing.assert_allclose(path, expected, rtol=1e-12)


@pytest.mark.parametrize("name", POTENTIALS)
def test_small_steps_keep_their_digits(name):
    """A change of a millionth of the weight, in float32, to float32's precision; none where there is no gradient."""
    w, g = np.array([2.0, -1.5, 0.7]), np.array([1.0, -2.0, 0.0])
    tx = mirror_descent(1e-6, name, **POTENTIALS[name])
    single, _ = tx.update(jnp.asarray(g, jnp.float32), tx.init(w), jnp.asarray(w, jnp.float32))
    with jax.enable_x64(True):
        double, _ = tx.update(jnp.asarray(g), tx.init(w), jnp.asarray(w))
    np.testing.assert_allclose(single, double, rtol=2e-6)
    assert single[2] == 0.0


def test_the_p_norm_lets_zero_go():
    with jax.enable_x64(True):
        w, tx = jnp.array([0.0, 1e-200, -1e-3]), mirror_descent(1.0, "p_norm", p=3.0)
        update, _ = tx.update(jnp.array([4.0, 4.0, 0.0]), tx.init(w), w)
        np.testing.assert_allclose(update, [-2.0, -2.0, 0.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "keywords"), [("p_norm", {"p": 3.0}), ("p_norm", {"p": 1.5}), ("hypentropy", {"beta": 0.1})]
)
def test_overparametrised_regression_ends_nearest_to_its_start(name, keywords):
    """Of all solutions that of least Bregman divergence: ∇φ(w) - ∇φ(w_0) is in the span of the rows."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        rows, target, w = random.normal(size=(3, 8)), random.normal(size=3), random.uniform(0.5, 1.5, 8)
        tx = mirror_descent(0.02, name, **keywords)

        @jax.jit
        def train(w):
            def step(carry, _):
                w, state = carry
                updates, state = tx.update(rows.T @ (rows @ w - target), state, w)
                return (w + updates, state), None

            return jax.lax.scan(step, (w, tx.init(w)), length=20_000)[0][0]

        found = np.asarray(train(jnp.asarray(w)))
        np.testing.assert_allclose(rows @ found, target, atol=1e-8)
        change = np.asarray(dual_weight_change(w, found, name, **keywords))
        inside = rows.T @ np.linalg.lstsq(rows.T, change, rcond=None)[0]
        np.testing.assert_allclose(change, inside, atol=1e-8)


@pytest.mark.parametrize("true", ["euclidean", "negentropy"])
def test_the_distribution_of_changes_tells_the_geometry(true):
    """Many small random gradients: the dual change looks normal under the true potential, and under no other."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        before = np.exp(random.normal(size=2000))
        path, _ = run(mirror_descent(0.03, true), before, random.normal(size=(400, 2000)), pull=0.0)
        statistics = {}
        for name in ("euclidean", "negentropy", "p_norm"):
            change = np.asarray(dual_weight_change(before, path[-1], name))
            change = change[np.isfinite(change)]
            statistics[name] = scipy.stats.shapiro(change).statistic
        assert max(statistics, key=statistics.get) == true
        assert statistics[true] > 0.998 > 0.98 > max(v for k, v in statistics.items() if k != true)


def test_changes_of_sign_have_no_entropic_distance():
    change = dual_weight_change(jnp.array([1.0, -1.0, 0.0, 2.0]), jnp.array([2.0, 1.0, 1.0, 2.0]), "negentropy")
    np.testing.assert_allclose(change, [np.log(2), np.nan, np.nan, 0.0], rtol=1e-6)


@pytest.mark.parametrize("name", POTENTIALS)
def test_no_temporary(name):
    leaves = {"a": jnp.ones((64, 128)), "b": jnp.ones((4096,))}
    executable, donated = compiled_step(mirror_descent(0.1, name, **POTENTIALS[name]), leaves)
    assert executable.memory_analysis().temp_size_in_bytes <= 512
    assert executable.memory_analysis().alias_size_in_bytes == sum(x.nbytes for x in donated)


def test_parameters_are_asked_for():
    with pytest.raises(ValueError, match="needs params"):
        mirror_descent(0.1).update(jnp.ones(2), mirror_descent(0.1).init(jnp.ones(2)))
    with pytest.raises(ValueError, match="^dual_weight_change: potential must be 'euclidean', .*, got 'entropy'"):
        dual_weight_change(jnp.ones(2), jnp.ones(2), "entropy")
