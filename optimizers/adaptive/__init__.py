"""Adaptive transformations: every coordinate scaled by statistics of its own gradients.

| where | what |
|---|---|
| `adam.py` | Adam and its Nesterov form: `adam`, `adamw`, `adamax`, `scale_by_adam` |
| `ademamix.py` | `ademamix`, `scale_by_ademamix` and the schedules of its two warm-ups |
"""

from optimizers.adaptive.adam import adam, adamax, adamw, scale_by_adam
from optimizers.adaptive.ademamix import ademamix, ademamix_alpha_schedule, ademamix_b3_schedule, scale_by_ademamix

__all__ = [
    "adam",
    "adamax",
    "adamw",
    "ademamix",
    "ademamix_alpha_schedule",
    "ademamix_b3_schedule",
    "scale_by_adam",
    "scale_by_ademamix",
]
