"""Diagnostics of features and curvature: scikit-learn, dense eigenvalues, closed forms and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from programs import all_compiled
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import objectives

obj = all_compiled(objectives)

RNG = np.random.default_rng(0)


def test_fisher_ratio_is_that_of_linear_discriminant_analysis():
    x, y = RNG.normal(size=(90, 4)), RNG.integers(0, 3, 90, np.int32)
    x = x + np.eye(4)[y] * 1.5
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    within = sum(np.cov(x[y == c].T, bias=True) * (y == c).sum() for c in range(3))
    between = sum((y == c).sum() * np.outer(means[c] - x.mean(0), means[c] - x.mean(0)) for c in range(3))
    wanted = np.linalg.eigvals(np.linalg.solve(within, between)).real.sum()
    # scikit-learn's discriminants are scaled to unit variance within classes, so that the ratio is their variance
    # between classes; with equal classes its mean covariance within is S_W / N.
    even = np.arange(90) % 3
    projected = LinearDiscriminantAnalysis(solver="eigen").fit(x, even).transform(x)
    centres = np.stack([projected[even == c].mean(0) for c in range(3)])
    by_peer = (centres.var(axis=0)).sum()
    with jax.enable_x64(True):
        run = jax.jit(lambda x: obj.fisher_discriminant_ratio(x, y, classes=3, epsilon=0.0))
        np.testing.assert_allclose(run(x), wanted, rtol=1e-10)
        ours = obj.fisher_discriminant_ratio(x, even, classes=3, epsilon=0.0)
        np.testing.assert_allclose(ours, by_peer, rtol=1e-8)
        np.testing.assert_allclose(
            run(x @ RNG.normal(size=(4, 4)) + 7), wanted, rtol=1e-8
        )  # affine maps change nothing
        spoilt, kept = np.r_[x, np.full((3, 4), np.nan)], np.arange(93) < 90
        masked = obj.fisher_discriminant_ratio(
            spoilt, np.r_[y, np.full(3, 9, np.int32)], classes=3, epsilon=0.0, where=kept
        )
        np.testing.assert_allclose(masked, wanted, rtol=1e-10)
    collapsed = obj.fisher_discriminant_ratio(np.float32(np.eye(4)[y]), y, classes=3)
    assert collapsed == np.inf
    assert obj.fisher_discriminant_ratio(jnp.ones((90, 4)), y, classes=3) == 0
    assert np.isnan(obj.fisher_discriminant_ratio(jnp.ones((90, 4)), y, classes=2))


def test_cone_effect_is_the_mean_cosine_of_pairs():
    x = RNG.normal(size=(20, 5)) + 0.5
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    pairs = (unit @ unit.T)[~np.eye(20, dtype=bool)]
    np.testing.assert_allclose(obj.cone_effect(np.float32(x)), pairs.mean(), rtol=1e-5)
    np.testing.assert_allclose(obj.cone_effect(jnp.ones((20, 5))), 1, rtol=1e-6)
    assert obj.cone_effect(jnp.ones((1, 5))) == 0


def test_triplet_recall():
    hits, counts = RNG.random(30) < 0.4, RNG.integers(0, 50, 30)
    weights = 1 / (counts + 1)
    np.testing.assert_allclose(
        obj.weighted_triplet_recall(hits, counts), (hits * weights).sum() / weights.sum(), rtol=1e-6
    )
    np.testing.assert_allclose(obj.weighted_triplet_recall(hits, np.full(30, 7)), hits.mean(), rtol=1e-6)


def network(params, data):
    hidden = jnp.tanh(data[0] @ params["in"] + params["bias"])
    return jnp.mean(obj.softmax_cross_entropy(hidden @ params["out"], data[1]))


PARAMS = {"in": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4), "out": RNG.normal(size=(4, 2))}
DATA = (RNG.normal(size=(2, 10, 3)), np.repeat([[0], [1]], 10, axis=1))


def test_spectrum_of_a_network_is_that_of_its_dense_hessian():
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(PARAMS)
        spectra = jax.jit(
            lambda params, key: obj.classwise_hessian_spectrum(network, params, DATA, key=key, probes=2, steps=99)
        )(PARAMS, jax.random.key(0))
        assert spectra.nodes.shape == (2, 2, flat.size)
        for c in range(2):
            examples = tuple(x[c] for x in DATA)
            dense = jax.hessian(lambda v, examples=examples: network(unravel(v), examples))(flat)
            eigenvalues = np.linalg.eigvalsh(dense)
            for probe in range(2):
                np.testing.assert_allclose(spectra.nodes[c, probe], eigenvalues, atol=1e-9)
            np.testing.assert_allclose(spectra.smallest[c], eigenvalues[0], rtol=1e-8)
            np.testing.assert_allclose(spectra.largest[c], eigenvalues[-1], rtol=1e-8)
        np.testing.assert_allclose(spectra.weights.sum(-1), 1, rtol=1e-10)
        assert spectra.smallest.min() < -1e-3  # the network is not convex


def test_few_steps_find_the_ends_and_the_trace():
    eigenvalues = np.linspace(-1, 1, 200) ** 3
    eigenvalues[-1] = 5
    loss_fn = lambda x: 0.5 * jnp.sum(np.float32(eigenvalues) * x**2)
    spectrum = obj.hessian_spectrum(loss_fn, jnp.ones(200), key=jax.random.key(1), probes=20, steps=15)
    np.testing.assert_allclose([spectrum.smallest, spectrum.largest], [-1, 5], rtol=0.02)
    # Hutchinson's error: twenty probes of variance 2 Σ λ² / n
    error = np.sqrt(2 * np.mean(eigenvalues**2) / 200 / 20)
    np.testing.assert_allclose((spectrum.nodes * spectrum.weights).sum(-1).mean(), eigenvalues.mean(), atol=4 * error)
    points = np.linspace(-4, 8, 1001, dtype=np.float32)
    density = obj.spectral_density(spectrum, points, width=0.2)
    np.testing.assert_allclose(np.trapezoid(density, points), 1, rtol=1e-4)


def test_exhausted_krylov_spaces_start_anew():
    """A multiple of the identity exhausts the space in one step; its nodes are the eigenvalue all the same."""
    spectrum = obj.hessian_spectrum(lambda x: jnp.sum(x**2), jnp.ones(5), key=jax.random.key(0), steps=5)
    np.testing.assert_allclose(spectrum.nodes, 2, rtol=1e-6)
    flat = obj.hessian_spectrum(lambda x: jnp.sum(x), jnp.ones(5), key=jax.random.key(0), steps=3)
    np.testing.assert_array_equal(flat.nodes, 0)
