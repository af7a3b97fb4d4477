"""Compressors keep their promises; without compression MASHA is extragradient; saddle points are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers import masha1, masha2, rand_k, top_k

WORKERS, SIZE = 3, 4


def whole(x, key=None):
    return x


def run(method, start, steps, seed=0):
    init, step = method
    keys = jax.random.split(jax.random.key(seed), steps)
    state, path = jax.jit(lambda z: jax.lax.scan(lambda s, key: (step(s, key), s.z), init(z), keys))(start)
    return jax.tree.map(np.asarray, (state, path))


@pytest.fixture
def operators():
    """Heterogeneous, strongly monotone, not symmetric: F_m(z) = A_m z - b_m, and the zero of their mean."""
    random = np.random.default_rng(0)
    skew = random.normal(size=(WORKERS, SIZE, SIZE))
    matrices = np.eye(SIZE) * random.uniform(0.5, 2.0, (WORKERS, 1, 1)) + (skew - skew.transpose(0, 2, 1)) / 2
    vectors = random.normal(size=(WORKERS, SIZE))
    return matrices, vectors, np.linalg.solve(matrices.mean(0), vectors.mean(0))


def test_rand_k_is_unbiased_with_the_stated_variance():
    x = np.arange(1.0, 7.0).astype(np.float32)
    drawn = np.asarray(jax.vmap(lambda key: rand_k(x, key, 2))(jax.random.split(jax.random.key(0), 20_000)))
    assert (np.sum(drawn != 0, axis=1) == 2).all()
    assert set(np.unique(drawn)) == {0.0, *(3 * x)}
    # A mean of n draws is off by standard errors sqrt(2 x² / n): five of them.
    np.testing.assert_allclose(drawn.mean(0), x, atol=5 * 6 * np.sqrt(2 / 20_000))
    np.testing.assert_allclose(np.mean(np.sum((drawn - x) ** 2, 1)), 2 * np.sum(x**2), rtol=0.02)


def test_top_k_contracts_and_keeps_the_largest():
    random = np.random.default_rng(1)
    for _ in range(20):
        x = random.normal(size=(2, 5)).astype(np.float32)
        sent = np.asarray(top_k(x, 3))
        assert np.sum((sent - x) ** 2) <= (1 - 3 / 10) * np.sum(x**2)
        smallest_sent = np.abs(sent[sent != 0]).min()
        np.testing.assert_array_equal(sent, np.where(np.abs(x) >= smallest_sent, x, 0))


@pytest.mark.parametrize("method", [masha1, masha2])
def test_uncompressed_with_a_fresh_snapshot_is_extragradient(method, operators):
    matrices, vectors, _ = operators
    with jax.enable_x64(True):
        field = lambda z: jnp.asarray(matrices) @ z - vectors
        made = method(field, learning_rate=0.1, tau=0.0, worker_compressor=whole, server_compressor=whole)
        _, path = run(made, jnp.ones(SIZE), 12)
    z = np.ones(SIZE)
    mean = lambda z: (matrices @ z - vectors).mean(0)
    for found in path:
        np.testing.assert_allclose(found, z, rtol=1e-12, atol=1e-12)
        z = z - 0.1 * mean(z - 0.1 * mean(z))


@pytest.mark.parametrize(
    ("method", "worker", "server"),
    [
        (masha1, lambda x, key: rand_k(x, key, 2), lambda x, key: rand_k(x, key, 2)),
        (masha1, lambda x, key: rand_k(x, key, 1), None),
        (masha2, lambda x: top_k(x, 2), lambda x: top_k(x, 2)),
        (masha2, lambda x: top_k(x, 1), None),
    ],
    ids=["rand_k both ways", "rand_k", "top_k both ways", "top_k"],
)
def test_converges_linearly_on_heterogeneous_operators(method, worker, server, operators):
    """Compression leaves no floor: the distance falls to the rounding of float64."""
    matrices, vectors, solution = operators
    with jax.enable_x64(True):
        field = lambda z: jnp.asarray(matrices) @ z - vectors
        made = method(field, learning_rate=0.05, tau=0.75, worker_compressor=worker, server_compressor=server)
        state, path = run(made, jnp.ones(SIZE), 3000)
    distances = np.linalg.norm(path - solution, axis=1)
    assert distances[-1] < 1e-10 * distances[0]
    assert state.count == 3000


def test_what_compression_keeps_back_is_sent_later(operators):
    """MASHA2's errors: what has arrived is all differences so far, less what is still kept back, at both ends."""
    matrices, vectors, _ = operators
    field = lambda z: jnp.float32(matrices) @ z - jnp.float32(vectors)
    largest = lambda x: top_k(x, 1)
    init, step = masha2(field, learning_rate=0.05, tau=0.5, worker_compressor=largest, server_compressor=largest)
    one, state = jax.jit(step), init(jnp.ones(SIZE))
    for key in jax.random.split(jax.random.key(2), 8):
        after = one(state, key)
        between = 0.5 * state.z + 0.5 * state.snapshot - 0.05 * state.operators.mean(0)
        workers = state.errors[0] + 0.05 * (field(between) - state.operators)
        sent = jnp.stack([largest(x) for x in workers])
        total = state.errors[1] + sent.mean(0)
        np.testing.assert_allclose(after.z, between - largest(total), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after.errors[0], workers - sent, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(after.errors[1], total - largest(total), rtol=1e-4, atol=1e-6)
        state = after


def test_bilinear_saddle_point_where_descent_ascent_spirals_out():
    matrix = np.array([[1.0, 0.5], [-0.3, 1.0]])
    with jax.enable_x64(True):
        turn = jnp.asarray(np.block([[np.zeros((2, 2)), matrix], [-matrix.T, np.zeros((2, 2))]]))
        made = masha1(
            lambda z: jnp.stack([turn @ z, turn @ z]),
            learning_rate=0.2,
            tau=0.5,
            worker_compressor=lambda x, key: rand_k(x, key, 2),
        )
        state, _ = run(made, jnp.ones(4), 4000)
        z = np.ones(4)
        for _ in range(100):
            z = z - 0.2 * np.asarray(turn) @ z
    assert np.linalg.norm(z) > 10
    assert np.linalg.norm(state.z) < 1e-6


def test_snapshot_is_kept_with_probability_tau_and_its_operators_belong_to_it(operators):
    matrices, vectors, _ = operators
    field = lambda z: jnp.float32(matrices) @ z - jnp.float32(vectors)
    init, step = masha1(field, learning_rate=0.05, tau=0.8, worker_compressor=whole)
    one = jax.jit(step)
    state, kept = init(jnp.ones(SIZE)), 0
    for key in jax.random.split(jax.random.key(1), 400):
        after = one(state, key)
        kept += bool(jnp.all(after.snapshot == state.snapshot))
        np.testing.assert_allclose(after.operators, field(after.snapshot), rtol=1e-5, atol=1e-5)
        between = 0.8 * state.z + 0.2 * state.snapshot - 0.05 * field(state.snapshot).mean(0)
        expected = between - 0.05 * (field(between) - field(state.snapshot)).mean(0)
        np.testing.assert_allclose(after.z, expected, rtol=1e-5, atol=1e-6)
        state = after
        if kept and state.count > 200:  # converged: the snapshots no longer differ
            break
    assert abs(kept / int(state.count) - 0.8) < 5 * np.sqrt(0.8 * 0.2 / int(state.count))


def test_prox_keeps_the_point_feasible(operators):
    """With a projection onto a box, the point stays in it and ends where projected extragradient ends."""
    matrices, vectors, _ = operators
    with jax.enable_x64(True):
        field = lambda z: jnp.asarray(matrices) @ z - vectors
        box = lambda z, step_size: jnp.clip(z, 0.1, 0.3)
        made = masha1(
            field, learning_rate=0.05, tau=0.5, worker_compressor=lambda x, key: rand_k(x, key, 2), prox_fn=box
        )
        state, path = run(made, jnp.full(SIZE, 0.2), 2000)
    assert np.all((path >= 0.1) & (path <= 0.3))
    mean = (matrices @ state.z - vectors).mean(0)
    np.testing.assert_allclose(state.z, np.clip(state.z - mean, 0.1, 0.3), atol=1e-6)
