"""Argument checks name the function, the argument and what came, and let traced values and schedules through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizers._checks import check_positive_integer, check_range


def test_range():
    for value in (0.0, 0.5, jnp.float32(0.5), np.float64(0.0), None, lambda step: -1.0):
        check_range("adam", "b1", value, 0.0, 1.0, open_high=True)
    jax.jit(lambda value: check_range("adam", "b1", value, 0.0, 1.0))(5.0)
    jax.vmap(lambda value: check_range("adam", "b1", value, 0.0, 1.0))(jnp.array([5.0]))
    with pytest.raises(ValueError, match=r"^adam: b1 must lie in \[0, 1\), got 1.0$"):
        check_range("adam", "b1", 1, 0.0, 1.0, open_high=True)
    with pytest.raises(ValueError, match=r"^adam: eps must lie in \(0, inf\], got nan$"):
        check_range("adam", "eps", float("nan"), 0.0, open_low=True)
    with pytest.raises(TypeError, match="^adam: b1 must be a number, got str$"):
        check_range("adam", "b1", "0.9", 0.0, 1.0)


def test_positive_integer():
    assert check_positive_integer("accumulate", "steps", np.int64(3)) == 3
    for value in (True, 2.0, "2"):
        with pytest.raises(TypeError, match="^accumulate: steps must be an integer"):
            check_positive_integer("accumulate", "steps", value)
    with pytest.raises(ValueError, match="^accumulate: steps must be at least 1, got -1$"):
        check_positive_integer("accumulate", "steps", -1)
