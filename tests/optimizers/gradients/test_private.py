"""Clipped gradients of examples with noise, against NumPy, Optax and the noise's own moments; and the accountant."""

import math
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.special

from optimizers import TrainState, make_train_step, per_example, privacy_epsilon, private_gradient

GOLDEN = np.load(pathlib.Path(__file__).parents[2] / "golden" / "privacy.npz")
KEY = jax.random.key(0)
SHAPES = {"w": (3, 2), "b": (2,)}


def problem(dtype=np.float32):
    random = np.random.default_rng(0)
    params = {name: jnp.asarray(random.normal(size=shape), dtype) for name, shape in SHAPES.items()}
    return params, {"x": random.normal(size=(12, 3)).astype(dtype), "y": random.normal(size=(12, 2)).astype(dtype)}


def loss_fn(params, batch, key=None):
    residual = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return jnp.mean(jnp.sum(residual**2, axis=1))


def gradients_by_hand(params, batch):
    """[B, ...] in NumPy float64: 2 x r^T and 2 r."""
    params, batch = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, batch))
    residual = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return {"w": 2 * batch["x"][:, :, None] * residual[:, None, :], "b": 2 * residual}


def norms(stacked):
    return np.sqrt(sum(np.sum(g**2, axis=tuple(range(1, g.ndim))) for g in stacked.values()))


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **tolerance), actual, expected)


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_per_example_gives_the_losses_and_gradients_of_the_examples_in_order(chunk):
    params, batch = problem()
    losses, stacked = jax.jit(per_example(chunk)(loss_fn))(params, batch)
    assert_trees_close(stacked, gradients_by_hand(params, batch), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jnp.mean(losses), loss_fn(params, batch), rtol=1e-6)
    assert_trees_close(
        jax.tree.map(lambda g: g.mean(axis=0), stacked), jax.grad(loss_fn)(params, batch), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("rule", [per_example(), per_example(2), private_gradient(1.0, 0.0, chunk=2)])
def test_every_example_draws_from_its_own_key_and_aux_is_averaged(rule):
    def with_aux(w, batch, key, *, other):
        assert batch.shape == (1,)
        draws = jax.random.uniform(key), jax.random.uniform(other)
        return w * batch[0], {"draws": draws, "number": batch[0].astype(jnp.int32), "none": None}

    key, other = jax.random.split(KEY)
    (_, aux), _ = rule(with_aux, has_aux=True)(1.0, jnp.arange(6.0), key, other=other)
    for got, k in zip(aux["draws"], (key, other)):
        expected = np.mean([jax.random.uniform(jax.random.fold_in(k, i)) for i in range(6)])
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert (aux["number"], aux["none"]) == (5, None)  # an integer is the last example's


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_without_noise_it_is_the_mean_of_clipped_gradients(chunk):
    with jax.enable_x64(True):
        params, batch = problem(np.float64)
        stacked = gradients_by_hand(params, batch)
        clip_norm = float(np.median(norms(stacked)))
        factors = np.minimum(1.0, clip_norm / norms(stacked))
        assert 0 < np.sum(factors < 1.0) < 12
        expected = {name: np.tensordot(factors, g, axes=1) / 12 for name, g in stacked.items()}
        value, gradient = jax.jit(private_gradient(clip_norm, 0.0, chunk=chunk)(loss_fn))(params, batch, KEY)
        assert_trees_close(gradient, expected, rtol=1e-12)
        np.testing.assert_allclose(value, loss_fn(params, batch), rtol=1e-13)
        theirs = optax.contrib.differentially_private_aggregate(clip_norm, 0.0, 0)
        aggregate, _ = theirs.update(per_example()(loss_fn)(params, batch)[1], theirs.init(params))
        assert_trees_close(gradient, aggregate, rtol=1e-12)


def test_with_a_generous_bound_it_is_the_gradient():
    params, batch = problem()
    _, gradient = private_gradient(1e6, 0.0)(loss_fn)(params, batch, KEY)
    assert_trees_close(gradient, jax.grad(loss_fn)(params, batch), rtol=1e-5, atol=1e-6)


def noise_of(key, *, clip_norm=0.5, noise_multiplier=3.0, **settings):
    """The noise alone, of a loss without a gradient."""
    params = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(2), "none": None, "zero": jnp.zeros((0, 3))}
    rule = private_gradient(clip_norm, noise_multiplier, **settings)
    gradient = rule(lambda p, batch, key: 0.0 * jnp.sum(p["a"]) + 0.0 * jnp.sum(p["b"]))(params, jnp.zeros(4), key)[1]
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])


@pytest.mark.parametrize(("settings", "divisor"), [({}, 4), ({"chunk": 1}, 4), ({"expected_batch_size": 2.5}, 2.5)])
def test_the_noise_is_white_of_the_given_deviation_however_many_chunks(settings, divisor):
    draws = 4000
    noise = jax.jit(jax.vmap(lambda key: noise_of(key, **settings)))(jax.random.split(jax.random.key(1), draws))
    expected = 3.0 * 0.5 / divisor
    scaled = np.asarray(noise, np.float64) / expected
    covariance = scaled.T @ scaled / draws
    # Standard errors of a mean, a variance and a covariance of standard normals: sqrt(1, 2, 1) / sqrt(draws).
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=5 / math.sqrt(draws))
    np.testing.assert_allclose(np.diag(covariance), 1.0, atol=5 * math.sqrt(2 / draws))
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0.0, atol=5 / math.sqrt(draws))


def test_the_noise_depends_on_the_key_alone():
    # Chunks share one draw, and settings only scale it.
    once = noise_of(KEY)
    np.testing.assert_array_equal(noise_of(KEY, chunk=2), once)
    np.testing.assert_allclose(noise_of(KEY, clip_norm=1.0, noise_multiplier=6.0), 4 * once, rtol=1e-6)
    assert (noise_of(jax.random.key(5)) != once).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_example_that_is_not_finite_shows_in_every_entry_and_the_step_is_skipped(bad):
    params, batch = problem()
    batch["x"][7, 1] = bad
    linear = lambda p, b, key: jnp.sum(b["x"] @ p["w"]) + jnp.sum(p["b"])  # only entries of w's gradient are not finite
    _, gradient = private_gradient(1.0, 1.0, chunk=4)(linear)(params, batch, KEY)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(gradient)), gradient
    tx = optax.sgd(0.1)
    step = make_train_step(linear, tx, gradient=private_gradient(1.0, 1.0), has_aux=False)
    assert step(TrainState.create(params=params, tx=tx), batch)[0].skipped == 1


def test_padding_counts_for_nothing_and_the_divisor_is_the_expected_size():
    params, batch = problem()
    masked = lambda p, b, key: jnp.sum(b["mask"] * jnp.sum((b["x"] @ p["w"] + p["b"] - b["y"]) ** 2, axis=1))
    batch["mask"] = np.float32([1] * 5 + [0] * 7)
    _, gradient = private_gradient(1e6, 0.0, expected_batch_size=6.0)(masked)(params, batch, KEY)
    present = jax.tree.map(lambda g: g[:5].sum(axis=0) / 6.0, gradients_by_hand(params, batch))
    assert_trees_close(gradient, present, rtol=1e-5, atol=1e-6)


def test_half_precision_is_clipped_by_its_norm_in_float32():
    # A norm of 3000 has an infinite square in float16, and a thousand ones summed in bfloat16 stop at 256.
    for dtype in (jnp.float16, jnp.bfloat16):
        rule = private_gradient(30.0, 0.0, chunk=10)
        loss = lambda w, batch, key: jnp.sum(300 * w) * batch[0]
        _, gradient = rule(loss)(jnp.zeros(100, dtype), jnp.ones(1000, dtype), KEY)
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient.astype(jnp.float32), 3.0, rtol=4e-3)


def test_no_more_than_a_chunk_of_gradients_is_held():
    width, examples = 256, 32
    shapes = jax.ShapeDtypeStruct((width, width), jnp.float32), jax.ShapeDtypeStruct((examples, width), jnp.float32)

    def held(chunk):
        rule = private_gradient(1.0, 1.0, chunk=chunk)(lambda w, x, key: jnp.mean(jnp.tanh(x @ w)))
        memory = jax.jit(lambda w, x: rule(w, x, KEY)).lower(*shapes).compile().memory_analysis()
        return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / (4 * width**2)

    assert held(None) > examples
    assert held(2) < 8  # two gradients, their sum, the noise and the result


def test_the_train_step_learns_in_private():
    params, batch = problem()
    tx = optax.sgd(0.05)
    step = make_train_step(loss_fn, tx, gradient=private_gradient(5.0, 0.05, chunk=4), has_aux=False)
    state = TrainState.create(params=params, tx=tx)
    state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, batch), s, length=100))(state)
    assert state.skipped == 0
    assert metrics["loss"][-1] < 0.5 * metrics["loss"][0]


def test_faults_are_named():
    params, batch = problem()
    with pytest.raises(ValueError, match="private_gradient: expected a typed PRNG key"):
        private_gradient(1.0, 1.0)(loss_fn)(params, batch)
    with pytest.raises(TypeError, match="private_gradient: expected real parameters"):
        private_gradient(1.0, 1.0)(loss_fn)({"w": jnp.ones(1, jnp.complex64)}, batch, KEY)
    for function, rule in {
        "private_gradient": private_gradient(1.0, 1.0, chunk=5),
        "per_example": per_example(5),
    }.items():
        with pytest.raises(ValueError, match=f"{function}: chunk must divide the batch, got chunk=5 for 12 examples"):
            rule(loss_fn)(params, batch, KEY)
        with pytest.raises(ValueError, match=rf"{function}: all leaves of the batch need .*\(12, 3\), \(3, 2\)"):
            rule(loss_fn)(params, {**batch, "y": batch["y"][:3]}, KEY)
        with pytest.raises(ValueError, match=f"{function}: expected a batch"):
            rule(lambda p, *, key: 0.0)(params, key=KEY)


def gaussian_epsilon(noise_multiplier, delta):
    """The exact epsilon of one Gaussian mechanism: Theorem 8 of Balle and Wang (2018)."""
    s, phi = 1.0 / noise_multiplier, scipy.special.ndtr

    def excess(epsilon):
        return phi(s / 2 - epsilon / s) - math.exp(epsilon) * phi(-s / 2 - epsilon / s) - delta

    return scipy.optimize.brentq(excess, 0.0, 100.0, xtol=1e-12)


@pytest.mark.parametrize(("noise_multiplier", "steps"), [(1.0, 1), (2.0, 1), (50.0, 1), (8.0, 16)])
def test_epsilon_of_full_batches_is_that_of_one_gaussian_mechanism(noise_multiplier, steps):
    # Of `steps` mechanisms as well: together they are one, of less noise.
    exact = gaussian_epsilon(noise_multiplier / math.sqrt(steps), 1e-5)
    epsilon = privacy_epsilon(noise_multiplier, 1.0, steps, delta=1e-5)
    assert exact - 1e-9 < epsilon < exact + 1e-4  # the accountant's discretisation, pessimistic


@pytest.mark.parametrize("run", range(4))
def test_epsilon_of_subsampled_runs_is_that_of_opacus(run):
    noise_multiplier, sample_rate, steps, delta = GOLDEN["runs"][run].tolist()
    epsilon = privacy_epsilon(noise_multiplier, sample_rate, int(steps), delta=delta)
    assert GOLDEN["prv"][run] - 0.011 < epsilon < GOLDEN["prv"][run]  # its upper bound, with an error of 0.01
    assert epsilon < GOLDEN["rdp"][run]  # a looser bound


def test_epsilon_is_below_that_of_the_first_paper():
    # Section 3.1: "for q = 0.01, sigma = 4, delta = 1e-5 and T = 10000, we have epsilon of about 1.26".
    assert privacy_epsilon(4.0, 0.01, 10_000, delta=1e-5) < 1.26


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError, match=r"privacy_epsilon needs dp-accounting.*jax-objectives\[privacy\]"):
        privacy_epsilon(1.0, 0.1, 10, delta=1e-5)
