"""Layers with a way of their own to a gradient: plain functions, usable in any model.

| file | layers |
|---|---|
| `likelihood_ratio.py` | `likelihood_ratio_noise`, `likelihood_ratio_linear`: noise at the output of a module |
| | `likelihood_ratio_surrogate`: the gradient, from what the noise did to the loss |
"""

from optimizers.layers.likelihood_ratio import (
    likelihood_ratio_linear,
    likelihood_ratio_noise,
    likelihood_ratio_surrogate,
)

__all__ = ["likelihood_ratio_linear", "likelihood_ratio_noise", "likelihood_ratio_surrogate"]
