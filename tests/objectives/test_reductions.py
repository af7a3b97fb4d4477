"""Means and sums: closed forms, masks that hide NaN, and nothing to reduce."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives import reduce_mean, reduce_sum

VALUES = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], np.float32)
WHERE = np.array([[True, False, True], [False, False, False]])
WEIGHTS = np.array([[1.0, 5.0, 3.0], [1.0, 1.0, 1.0]], np.float32)


def test_closed_forms():
    assert reduce_sum(VALUES) == 63
    assert reduce_mean(VALUES) == 10.5
    assert reduce_sum(VALUES, where=WHERE) == 5
    assert reduce_mean(VALUES, where=WHERE) == 2.5
    assert reduce_sum(VALUES, where=WHERE, weights=WEIGHTS) == 13
    assert reduce_mean(VALUES, where=WHERE, weights=WEIGHTS) == 3.25
    np.testing.assert_array_equal(reduce_mean(VALUES, where=WHERE, axis=-1), [2.5, 0])
    np.testing.assert_array_equal(reduce_sum(VALUES, axis=(0, 1)), 63)
    np.testing.assert_array_equal(reduce_mean(VALUES, axis=0), VALUES.mean(0))


@pytest.mark.parametrize("hidden", [np.nan, np.inf])
def test_masked_entries_reach_neither_value_nor_gradient(hidden):
    values = jnp.where(WHERE, VALUES, hidden)
    weights = jnp.where(WHERE, WEIGHTS, hidden)
    value, (by_values, by_weights) = jax.value_and_grad(
        lambda v, w: reduce_mean(v, where=WHERE, weights=w), argnums=(0, 1)
    )(values, weights)
    assert value == 3.25
    np.testing.assert_array_equal(by_values, [[0.25, 0, 0.75], [0, 0, 0]])
    np.testing.assert_allclose(by_weights, [[(1 - 3.25) / 4, 0, (4 - 3.25) / 4], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("reduce", [reduce_mean, reduce_sum])
def test_nothing_reduces_to_zero(reduce):
    value, gradient = jax.value_and_grad(lambda v: reduce(v, where=jnp.zeros(v.shape, bool)))(jnp.full(3, jnp.nan))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    assert reduce(jnp.zeros(0)) == 0
    assert reduce(jnp.ones(2), weights=jnp.zeros(2)) == 0
    gradient = jax.grad(lambda w: reduce_mean(jnp.ones(2), weights=w))(jnp.zeros(2))
    assert np.isfinite(gradient).all()


def test_dtypes():
    assert reduce_mean(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32
    assert reduce_mean(np.array([True, False])) == 0.5
    assert reduce_mean(np.array([1, 2])).dtype == jnp.float32
    assert reduce_mean(jnp.full(4096, 1.001, jnp.float16)) == jnp.float16(1.001)  # summed in half it would be 1.0
    with jax.enable_x64(True):
        assert reduce_sum(np.ones(2)).dtype == jnp.float64


def test_errors_name_function_argument_expectation_and_what_came():
    with pytest.raises(ValueError, match=r"reduce_mean: where must have shape \[2, 3\], got bool\[3\]"):
        reduce_mean(VALUES, where=WHERE[0])
    with pytest.raises(TypeError, match=r"reduce_sum: where must be boolean, got float32\[2, 3\]"):
        reduce_sum(VALUES, where=VALUES)
    with pytest.raises(
        ValueError, match=r"reduce_sum: weights must have the shape of values, \[2, 3\], got float32\[3\]"
    ):
        reduce_sum(VALUES, weights=WEIGHTS[0])
    with pytest.raises(TypeError, match=r"reduce_sum: values must hold real numbers, got complex64\[1\]"):
        reduce_sum(jnp.ones(1, jnp.complex64))
