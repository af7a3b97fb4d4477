"""Adaptive transformations: every coordinate scaled by statistics of its own gradients.

| where | what |
|---|---|
| `adam.py` | Adam and its Nesterov form: `adam`, `adamw`, `adamax`, `scale_by_adam` |
| `ademamix.py` | `ademamix`, `scale_by_ademamix` and the schedules of its two warm-ups |
| `trust.py` | one more number for each tensor: `stable_adamw`, `scale_by_stable_adam`, `lamb`, `lars` |
| `fadam.py` | Adam as a natural gradient: `fadam`, `scale_by_fadam` |
| `gravity.py` | `gravity`, which damps a tensor's largest gradients |
| `adam_mini.py` | one second moment a block: `adam_mini`, `scale_by_adam_mini` |
| `factored.py` | second moments in the memory of rows and columns: `adafactor`, `came`, `scale_by_came` |
"""

from optimizers.adaptive.adam import adam, adamax, adamw, scale_by_adam
from optimizers.adaptive.adam_mini import adam_mini, scale_by_adam_mini
from optimizers.adaptive.ademamix import ademamix, ademamix_alpha_schedule, ademamix_b3_schedule, scale_by_ademamix
from optimizers.adaptive.factored import adafactor, came, scale_by_came
from optimizers.adaptive.fadam import fadam, scale_by_fadam
from optimizers.adaptive.gravity import gravity
from optimizers.adaptive.trust import lamb, lars, scale_by_stable_adam, stable_adamw

__all__ = [
    "adafactor",
    "adam",
    "adam_mini",
    "adamax",
    "adamw",
    "ademamix",
    "ademamix_alpha_schedule",
    "ademamix_b3_schedule",
    "came",
    "fadam",
    "gravity",
    "lamb",
    "lars",
    "scale_by_adam",
    "scale_by_adam_mini",
    "scale_by_ademamix",
    "scale_by_came",
    "scale_by_fadam",
    "scale_by_stable_adam",
    "stable_adamw",
]
