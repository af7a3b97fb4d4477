"""Argument checks shared by the package: errors name the function, the argument, what was expected and what came."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def concrete(value: Any) -> float | None:
    """The Python number behind a hyperparameter, or None where it is traced, batched, a schedule or absent."""
    if value is None or callable(value) or isinstance(value, jax.core.Tracer):
        return None
    if isinstance(value, jax.Array | np.ndarray) and value.ndim > 0:
        return None
    return float(value)


def check_range(
    function: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise when a concrete `value` is no number or lies outside the interval; traced values and schedules pass."""
    if not (value is None or callable(value) or isinstance(value, int | float | np.number | np.ndarray | jax.Array)):
        raise TypeError(f"{function}: {name} must be a number, got {type(value).__name__}")
    number = concrete(value)
    if number is None:
        return
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (above and below):
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"{function}: {name} must lie in {interval}, got {number!r}")


def check_callable(function: str, name: str, value: Any, signature: str) -> Callable[..., Any]:
    """Raise TypeError unless `value` can be called; returns it."""
    if not callable(value):
        raise TypeError(f"{function}: {name} must be a function {signature}, got {type(value).__name__}")
    return value


def check_positive_integer(function: str, name: str, value: Any) -> int:
    """Raise unless `value` is a Python (or NumPy) integer of at least 1; returns it as int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{function}: {name} must be at least 1, got {value}")
    return int(value)


def check_count(function: str, name: str, value: Any) -> int:
    """Raise unless `value` is a Python (or NumPy) integer of at least 0; returns it as int."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer, got {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{function}: {name} must be at least 0, got {value}")
    return int(value)
