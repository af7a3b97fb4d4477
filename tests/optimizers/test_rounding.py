"""Stochastic rounding: unbiased, exact on what the format holds, reproducible, independent across steps and leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers._rounding import noise_bits, stochastic_round, store

HALVES = [jnp.bfloat16, jnp.float16]


def neighbours(value, dtype):
    """The two numbers of `dtype` around `value`."""
    near = np.asarray(value, dtype)
    towards = np.asarray(np.inf if float(near) < value else -np.inf, dtype)
    other = np.nextafter(near, towards)
    return sorted((float(near), float(other)))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("value", [1.0003, -0.7501, 3.14159e-3, 3.3e-6, -2.1e-8, 1023.3])
def test_expectation_is_the_number_and_only_its_neighbours_appear(dtype, value):
    size = 2**18
    value = float(np.float32(value))
    rounded = np.asarray(store(jnp.full(size, value, jnp.float32), jnp.dtype(dtype), jnp.int32(7), 3), np.float64)
    low, high = neighbours(value, dtype)
    assert set(np.unique(rounded)) == {low, high}
    up = (value - low) / (high - low)
    error = (high - low) * np.sqrt(up * (1 - up) / size)
    assert rounded.mean() == pytest.approx(value, abs=5 * error + 1e-3 * 2**-16 * (high - low))


@pytest.mark.parametrize("dtype", HALVES)
def test_numbers_of_the_format_stay(dtype):
    bits = np.arange(2**16, dtype=np.uint16)
    x = np.asarray(jax.lax.bitcast_convert_type(bits, dtype))
    wide = x.astype(np.float32)
    normal = np.abs(wide) >= np.finfo(np.float32).tiny  # XLA's CPU code flushes float32's subnormals to 0
    noise = noise_bits(x.shape, jnp.int32(1), 0)
    found = np.asarray(stochastic_round(jnp.asarray(wide), jnp.dtype(dtype), noise))
    np.testing.assert_array_equal(found[normal | (wide == 0)], x[normal | (wide == 0)])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wide))


@pytest.mark.parametrize("dtype", HALVES)
def test_every_nan_stays_nan_and_overflow_is_infinite(dtype):
    nans = jax.lax.bitcast_convert_type(
        jnp.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000], jnp.uint32), jnp.float32
    )
    ones = jnp.full(4, 0xFFFFFFFF, jnp.uint32)
    assert jnp.isnan(stochastic_round(nans, jnp.dtype(dtype), ones)).all()
    large = jnp.array([3.4e38, -3.4e38, jnp.inf, -jnp.inf], jnp.float32)
    np.testing.assert_array_equal(
        stochastic_round(large, jnp.dtype(dtype), ones), np.array([np.inf, -np.inf, np.inf, -np.inf], np.float32)
    )


def test_noise_is_uniform_and_independent():
    first, later, other = (
        np.asarray(noise_bits((64, 1024), jnp.int32(step), stream), np.float64) / 2**32
        for step, stream in ((1, 0), (2, 0), (1, 1))
    )
    size = first.size
    for sample in (first, later, other):
        assert sample.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * size))
        assert sample.var() == pytest.approx(1 / 12, rel=0.02)
        counts = np.histogram(sample, 256, (0, 1))[0]
        assert np.sum((counts - size / 256) ** 2 / (size / 256)) < 255 + 5 * np.sqrt(2 * 255)
    pairs = [(first, later), (first, other), (later, other), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(size)


def test_noise_of_consecutive_steps_averages_out():
    """One element over many steps, the case of a moment: the sum of its noise is a random walk."""
    noise = jax.vmap(lambda step: noise_bits((32,), step, 5))(jnp.arange(1, 20001))
    means = np.asarray(noise, np.float64).mean(axis=0) / 2**32
    assert np.abs(means - 0.5).max() < 5 / np.sqrt(12 * 20000)
    assert np.asarray(noise)[0].tolist() == np.asarray(noise_bits((32,), jnp.int32(1), 5)).tolist()
