"""Adaptive transformations: every coordinate scaled by statistics of its own gradients.

| where | what |
|---|---|
| `adam.py` | Adam and its Nesterov form: `adam`, `adamw`, `adamax`, `scale_by_adam` |
| `ademamix.py` | `ademamix`, `scale_by_ademamix` and the schedules of its two warm-ups |
| `amsgrad.py` | steps that cannot grow again: `amsgrad`, `scale_by_amsgrad`, `adamnc` |
| `belief.py` | other squares: `adabelief`, `scale_by_belief`, `adamomentum`, `scale_by_adamomentum` |
| `adopt.py` | divided by the moment of the step before: `adopt`, `scale_by_adopt`, `acprop`, `scale_by_acprop` |
| `differences.py` | with the last gradient: `adan`, `scale_by_adan`, `diffgrad`, `scale_by_diffgrad` |
| `multi_adam.py` | one Adam a group of losses: `multi_adam`, `scale_by_multi_adam` |
| `trust.py` | one more number for each tensor: `stable_adamw`, `scale_by_stable_adam`, `lamb`, `lars` |
| `fadam.py` | Adam as a natural gradient: `fadam`, `scale_by_fadam` |
| `gravity.py` | `gravity`, which damps a tensor's largest gradients |
| `adam_mini.py` | one second moment a block: `adam_mini`, `scale_by_adam_mini` |
| `factored.py` | second moments in the memory of rows and columns: `adafactor`, `came`, `scale_by_came` |
"""

from optimizers.adaptive.adam import adam, adamax, adamw, scale_by_adam
from optimizers.adaptive.adam_mini import adam_mini, scale_by_adam_mini
from optimizers.adaptive.ademamix import ademamix, ademamix_alpha_schedule, ademamix_b3_schedule, scale_by_ademamix
from optimizers.adaptive.adopt import acprop, adopt, scale_by_acprop, scale_by_adopt
from optimizers.adaptive.amsgrad import adamnc, amsgrad, scale_by_amsgrad
from optimizers.adaptive.belief import adabelief, adamomentum, scale_by_adamomentum, scale_by_belief
from optimizers.adaptive.differences import adan, diffgrad, scale_by_adan, scale_by_diffgrad
from optimizers.adaptive.factored import adafactor, came, scale_by_came
from optimizers.adaptive.fadam import fadam, scale_by_fadam
from optimizers.adaptive.gravity import gravity
from optimizers.adaptive.multi_adam import multi_adam, scale_by_multi_adam
from optimizers.adaptive.trust import lamb, lars, scale_by_stable_adam, stable_adamw

__all__ = [
    "acprop",
    "adabelief",
    "adafactor",
    "adam",
    "adam_mini",
    "adamax",
    "adamnc",
    "adamomentum",
    "adamw",
    "adan",
    "ademamix",
    "ademamix_alpha_schedule",
    "ademamix_b3_schedule",
    "adopt",
    "amsgrad",
    "came",
    "diffgrad",
    "fadam",
    "gravity",
    "lamb",
    "lars",
    "multi_adam",
    "scale_by_acprop",
    "scale_by_adam",
    "scale_by_adam_mini",
    "scale_by_adamomentum",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_came",
    "scale_by_diffgrad",
    "scale_by_fadam",
    "scale_by_multi_adam",
    "scale_by_stable_adam",
    "stable_adamw",
]
