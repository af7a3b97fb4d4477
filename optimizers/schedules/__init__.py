"""Schedules: what a hyperparameter is at each step, as Optax writes them, `count -> value`.

| where | what |
|---|---|
| `profiles.py` | a warm-up, a plateau, a decay: `linear_decay_schedule`, `rex_schedule`, `wsd_schedule`, |
| | `cosine_power_schedule` |
| `endless.py` | without a last step: `inverse_sqrt_schedule`, `inverse_time_schedule`, `warm_restarts_schedule`; |
| | `half_life_schedule` for decays of averages |
| `one_cycle.py` | `one_cycle_schedule`, `one_cycle_momentum_schedule`; `lr_range_test`, `suggest_max_lr` for its peak |
| `refinement.py` | from the run before: `record_gradient_norms`, `refine_schedule`; |
| | `schedule_from_weights`, `schedule_from_array` |

A schedule is given the number of updates already made, 0 at the first. Names and order of arguments are those of
Optax's schedules, which this room adds to and does not repeat.
"""

from optimizers.schedules.endless import (
    half_life_schedule,
    inverse_sqrt_schedule,
    inverse_time_schedule,
    warm_restarts_schedule,
)
from optimizers.schedules.one_cycle import (
    lr_range_test,
    one_cycle_momentum_schedule,
    one_cycle_schedule,
    suggest_max_lr,
)
from optimizers.schedules.profiles import (
    cosine_power_schedule,
    linear_decay_schedule,
    rex_schedule,
    wsd_schedule,
)
from optimizers.schedules.refinement import (
    record_gradient_norms,
    refine_schedule,
    schedule_from_array,
    schedule_from_weights,
)

__all__ = [
    "cosine_power_schedule",
    "half_life_schedule",
    "inverse_sqrt_schedule",
    "inverse_time_schedule",
    "linear_decay_schedule",
    "lr_range_test",
    "one_cycle_momentum_schedule",
    "one_cycle_schedule",
    "record_gradient_norms",
    "refine_schedule",
    "rex_schedule",
    "schedule_from_array",
    "schedule_from_weights",
    "suggest_max_lr",
    "warm_restarts_schedule",
    "wsd_schedule",
]
