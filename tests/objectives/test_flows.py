"""Path gradients of flows: exact means by quadrature, no noise where flow and target agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import objectives

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
LOG_TWO_PI = np.log(2 * np.pi)


def affine(params, z):
    return params[0] + jnp.exp(params[1]) * z


def affine_inverse(params, x):
    return (x - params[0]) * jnp.exp(-params[1])


def affine_log_prob(params, x):
    return -0.5 * affine_inverse(params, x) ** 2 - params[1] - 0.5 * LOG_TWO_PI


def bent(params, z):
    """A flow that is not affine."""
    return params[0] + jnp.exp(params[1]) * jnp.sinh(z)


def bent_inverse(params, x):
    return jnp.arcsinh(affine_inverse(params, x))


def bent_log_prob(params, x):
    z = bent_inverse(params, x)
    return -0.5 * z**2 - 0.5 * LOG_TWO_PI - params[1] - jnp.log(jnp.cosh(z))


def normal_energy(x):
    return 0.5 * x**2 + 0.5 * LOG_TWO_PI


FLOWS = {"affine": (affine, affine_inverse, affine_log_prob), "bent": (bent, bent_inverse, bent_log_prob)}
PARAMS = np.array([0.3, -0.4])


def reverse(flow, params, samples, energy=normal_energy):
    forward, _, log_prob = FLOWS[flow]
    return objectives.path_gradient_reverse_kl(forward, log_prob, energy, params, samples)


def forward(flow, params, samples, energy=normal_energy):
    return objectives.path_gradient_forward_kl(*FLOWS[flow], energy, params, samples)


def value_and_jacobian(loss, params, samples):
    """The values and the gradient of each sample, in float64."""
    with jax.enable_x64(True):
        compiled = jax.jit(lambda p: (loss(p, samples), jax.jacrev(loss)(p, samples)))
        return jax.tree.map(np.asarray, compiled(jnp.asarray(params, jnp.float64)))


def test_divergences_of_normals_are_exact_on_average():
    mean, log_std = PARAMS
    variance = np.exp(2 * log_std)
    values, jacobian = value_and_jacobian(lambda p, z: reverse("affine", p, z), PARAMS, NODES)
    np.testing.assert_allclose(WEIGHTS @ values, 0.5 * (variance + mean**2 - 1) - log_std, rtol=1e-12)
    np.testing.assert_allclose(WEIGHTS @ jacobian, [mean, variance - 1], rtol=1e-12)
    values, jacobian = value_and_jacobian(lambda p, x: forward("affine", p, x), PARAMS, NODES)
    np.testing.assert_allclose(WEIGHTS @ values, log_std + (1 + mean**2) / (2 * variance) - 0.5, rtol=1e-12)
    np.testing.assert_allclose(WEIGHTS @ jacobian, [mean / variance, 1 - (1 + mean**2) / variance], rtol=1e-12)


def test_means_are_those_of_the_plain_gradients_for_a_flow_that_bends():
    """Reparameterised samples for the reverse divergence, maximum likelihood for the forward one."""

    def reparameterised(params, z):
        x = bent(params, z)
        return bent_log_prob(params, x) + normal_energy(x)

    def likelihood(params, x):
        return -bent_log_prob(params, x) - normal_energy(x)

    # arcsinh has singularities beside the real axis, and limits the quadrature to seven digits.
    for path, plain in ((reverse, reparameterised), (forward, likelihood)):
        values, jacobian = value_and_jacobian(lambda p, s, path=path: path("bent", p, s), PARAMS, NODES)
        plain_values, plain_jacobian = value_and_jacobian(plain, PARAMS, NODES)
        np.testing.assert_allclose(values, plain_values, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(WEIGHTS @ jacobian, WEIGHTS @ plain_jacobian, rtol=1e-7)
        assert np.abs(jacobian - plain_jacobian).max() > 0.1


@pytest.mark.parametrize("path", [reverse, forward])
def test_no_noise_where_flow_and_target_agree(path):
    def energy(x):
        return -bent_log_prob(PARAMS, x)

    samples = np.random.default_rng(0).normal(size=50)
    values, jacobian = value_and_jacobian(lambda p, s: path("bent", p, s, energy), PARAMS, samples)
    np.testing.assert_allclose(values, np.zeros(50), atol=1e-13)
    np.testing.assert_allclose(jacobian, np.zeros((50, 2)), atol=1e-13)


@pytest.mark.parametrize("path", [reverse, forward])
def test_parameters_of_the_energy_have_their_gradient(path):
    """The value grows with the energy of a sample for the reverse divergence, and falls for the forward one."""

    def loss(height, samples):
        return path("affine", PARAMS, samples, lambda x: normal_energy(x) + height)

    _, slope = value_and_jacobian(loss, 0.0, NODES[:3])
    np.testing.assert_array_equal(slope, np.full(3, 1.0 if path is reverse else -1.0))


def test_samples_with_several_axes_are_one_number_each():
    def log_prob(params, x):
        return affine_log_prob(params, x).sum(axis=(1, 2))

    def energy(x):
        return normal_energy(x).sum(axis=(1, 2))

    samples = np.random.default_rng(0).normal(size=(5, 2, 3))

    def apart(path, params):
        return path("affine", params, samples.reshape(-1)).reshape(5, 6).sum(axis=1)

    _, jacobian = value_and_jacobian(
        lambda p, z: objectives.path_gradient_reverse_kl(affine, log_prob, energy, p, z), PARAMS, samples
    )
    np.testing.assert_allclose(jacobian, value_and_jacobian(lambda p, _: apart(reverse, p), PARAMS, 0)[1], rtol=1e-12)
    _, jacobian = value_and_jacobian(
        lambda p, x: objectives.path_gradient_forward_kl(affine, affine_inverse, log_prob, energy, p, x),
        PARAMS,
        samples,
    )
    np.testing.assert_allclose(jacobian, value_and_jacobian(lambda p, _: apart(forward, p), PARAMS, 0)[1], rtol=1e-12)
