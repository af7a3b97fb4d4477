"""First layers trained through their pre-activations: torch_tract, the definition, and the limits of λ."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimizers


@pytest.fixture(scope="module")
def golden():
    with np.load(pathlib.Path(__file__).parents[2] / "golden" / "second_order_fitted.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("rows", ["few", "many"])
def test_dense_equals_torch_tract(golden, rows):
    case = {n.removeprefix(f"linear_{rows}_"): x for n, x in golden.items() if n.startswith(f"linear_{rows}")}
    with jax.enable_x64(True):
        arguments = case["x"], case["w"].T, case["b"]
        value, pullback = jax.vjp(optimizers.tract_linear, *arguments)
        np.testing.assert_allclose(value, case["x"] @ case["w"].T + case["b"], rtol=1e-12)
        on_x, on_w, on_b = pullback(jnp.asarray(case["error"]))
        np.testing.assert_allclose(on_w.T, case["gradient"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(on_x, case["error"] @ case["w"], rtol=1e-12)
        np.testing.assert_allclose(on_b, case["error"].sum(0), rtol=1e-12)
        plain = case["x"].T @ case["error"]
        np.testing.assert_allclose(optimizers.tract_precondition(plain, case["x"]), on_w, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rows", ["few", "many"])
def test_convolution_equals_torch_tract(golden, rows):
    case = {n.removeprefix(f"conv_{rows}_"): x for n, x in golden.items() if n.startswith(f"conv_{rows}")}
    with jax.enable_x64(True):
        x, w = jnp.moveaxis(case["x"], 1, -1), jnp.transpose(case["w"], (2, 3, 1, 0))
        layer = lambda w, b: optimizers.tract_conv(x, w, b, strides=(2, 2), padding=((1, 1), (1, 1)))
        value, pullback = jax.vjp(layer, w, jnp.asarray(case["b"]))
        np.testing.assert_allclose(value, jnp.moveaxis(case["y"], 1, -1), rtol=1e-12)
        on_w, on_b = pullback(jnp.moveaxis(case["error"], 1, -1))
        np.testing.assert_allclose(jnp.transpose(on_w, (3, 2, 0, 1)), case["gradient"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(on_b, case["error"].sum((0, 2, 3)), rtol=1e-12)


def test_large_lam_is_the_plain_gradient():
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, w, error = random.normal(size=(4, 3)), random.normal(size=(3, 2)), random.normal(size=(4, 2))
        gradient = jax.grad(lambda w: jnp.sum(error * optimizers.tract_linear(x, w, lam=1e9)))(w)
        np.testing.assert_allclose(1e9 * gradient, x.T @ error, rtol=1e-8)


def test_one_example_moves_its_output_whatever_its_length():
    """A step changes the pre-activation by -G |x|² / (|x|² + λ), in the limit by -G."""
    with jax.enable_x64(True):
        w, error = jnp.ones((2, 3)), jnp.array([[1.0, -2.0, 0.5]])
        loss = lambda w, x, lam: jnp.sum(error * optimizers.tract_linear(x, w, lam=lam))
        for length in (1e-1, 1.0, 1e3):
            x = length * jnp.array([[0.6, 0.8]])
            for lam in (1e-12, 0.1):
                step = jax.grad(loss)(w, x, lam)
                np.testing.assert_allclose(x @ step, error * length**2 / (length**2 + lam), rtol=1e-8)
