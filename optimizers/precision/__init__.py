"""16 bits where they are fast, and the digits kept where they count.

Two ways to train in 16 bits. Either the parameters stay float32 and the rule of the gradient computes with copies of
them: `mixed_precision`, with a loss scale where float16 would lose small gradients. Or the parameters themselves have
16 bits, and a small update must not be rounded away: a float32 copy in the optimizer's state, the part cut off in its
state, or rounding that is right on average, with no state at all.

| file | what |
|---|---|
| `loss_scale.py` | `dynamic_loss_scale`, `LossScaling`, `LossScale`: the scale that just does not overflow |
| `mixed.py` | `mixed_precision`: a gradient rule that computes in 16 bits |
| `master_weights.py` | `with_master_weights`: parameters in 16 bits, and their float32 originals in the state |
| `kahan.py` | `with_kahan_summation`: parameters in 16 bits, and what rounding cut off in the state |
| `stochastic.py` | `apply_updates_stochastic_rounding`: parameters in 16 bits, rounded up or down at random |
"""

from optimizers.precision.kahan import with_kahan_summation
from optimizers.precision.loss_scale import LossScale, LossScaling, dynamic_loss_scale
from optimizers.precision.master_weights import with_master_weights
from optimizers.precision.mixed import mixed_precision
from optimizers.precision.stochastic import apply_updates_stochastic_rounding

__all__ = [
    "LossScale",
    "LossScaling",
    "apply_updates_stochastic_rounding",
    "dynamic_loss_scale",
    "mixed_precision",
    "with_kahan_summation",
    "with_master_weights",
]
