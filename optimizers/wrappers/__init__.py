"""What goes around any transformation, or stands beside it in a chain.

| where | what |
|---|---|
| `agreement.py` | updates held to the gradient's sign: `cautious`, `grams` |
| `mars.py` | variance reduction in front of any optimizer: `mars` |
| `grokfast.py` | slow gradients made larger: `grokfast_ema`, `grokfast_ma` |
| `orthograd.py` | gradients without their part along the weights: `orthograd` |
| `averaging.py` | averages of the parameters: `parameter_ema`, `parameter_average`; `averaged_params` reads them |
| `schedule_free.py` | an average in place of a schedule: `schedule_free`, `schedule_free_sgd`, `schedule_free_adamw` |
| `quantization.py` | states in eight bits a word: `quantize_state` |
| `recording.py` | norms and hyperparameters as metrics: `record_norms`, `recorded` |
"""

from optimizers.wrappers.agreement import cautious, grams
from optimizers.wrappers.averaging import averaged_params, parameter_average, parameter_ema
from optimizers.wrappers.grokfast import grokfast_ema, grokfast_ma
from optimizers.wrappers.mars import mars
from optimizers.wrappers.orthograd import orthograd
from optimizers.wrappers.quantization import quantize_state
from optimizers.wrappers.recording import record_norms, recorded
from optimizers.wrappers.schedule_free import schedule_free, schedule_free_adamw, schedule_free_sgd

__all__ = [
    "averaged_params",
    "cautious",
    "grams",
    "grokfast_ema",
    "grokfast_ma",
    "mars",
    "orthograd",
    "parameter_average",
    "parameter_ema",
    "quantize_state",
    "record_norms",
    "recorded",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_sgd",
]
