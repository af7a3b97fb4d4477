"""The tasks: real data that ships inside a package, a small Flax model, a loss and test metrics.

| file | what |
|---|---|
| `digits.py` | scikit-learn's handwritten digits, a small convolutional network; rare classes, wrong labels |
| `diabetes.py` | the progression of diabetes (scikit-learn's 442 patients), a dense network |
| `text.py` | the next byte of the English in Python's own `pydoc_data.topics`, a small transformer |
| `multitask.py` | digits again: class, parity and reconstruction from one trunk, three losses that pull apart |
| `common.py` | what they share: the `Task` itself, layers, sampling, calling an objective by the names of its arrays |
"""

from collections.abc import Callable

from benchmarks.train.tasks import diabetes, digits, multitask, text
from benchmarks.train.tasks.common import Task

TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits.load,
    "imbalanced_digits": digits.load_imbalanced,
    "noisy_digits": digits.load_noisy,
    "diabetes": diabetes.load,
    "text": text.load,
    "multitask": multitask.load,
}
