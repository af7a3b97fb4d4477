"""The tasks: real data that ships inside a package, a small Flax model, a loss and test metrics.

| file | what | tasks |
|---|---|---|
| `digits.py` | scikit-learn's handwritten digits, a small convolutional network | `digits` |
| | the same after a few labels, with rare classes, wrong labels | `few_digits`, `imbalanced_digits`, `noisy_digits` |
| | the same after a few labels, for the confidence | `calibrated_digits` |
| `embeddings.py` | margins: embeddings of digits, compared by angle | `digit_embeddings` |
| `attributes.py` | several labels an image | `digit_attributes` |
| `ranking.py` | lists of numbers from digits, to be ordered, with losses of rax | `ordered_digits` |
| `series.py` | time series: the lower rows of a digit from the upper | `digit_rows` |
| `diabetes.py` | the progression of diabetes (scikit-learn's 442 patients), a dense network | `diabetes` |
| `ordinal.py` | ordered classes: the same in five grades | `graded_diabetes` |
| `survival.py` | the same as a time, not always seen to its end | `censored_diabetes` |
| `text.py` | the next byte of the English in Python's own `pydoc_data.topics`, a small transformer | `text` |
| `multitask.py` | digits again: class, parity, reconstruction from one trunk; their losses pull apart | `multitask` |
| `common.py` | `Task`, the `Recipe` of one network and one loss, layers, sampling, calling an objective | |
"""

from collections.abc import Callable

from benchmarks.train.tasks import (
    attributes,
    diabetes,
    digits,
    embeddings,
    multitask,
    ordinal,
    ranking,
    series,
    survival,
    text,
)
from benchmarks.train.tasks.common import Task

TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits.load,
    "few_digits": digits.load_few,
    "imbalanced_digits": digits.load_imbalanced,
    "noisy_digits": digits.load_noisy,
    "calibrated_digits": digits.load_calibrated,
    "digit_embeddings": embeddings.load,
    "digit_attributes": attributes.load,
    "ordered_digits": ranking.load,
    "digit_rows": series.load,
    "diabetes": diabetes.load,
    "graded_diabetes": ordinal.load,
    "censored_diabetes": survival.load,
    "text": text.load,
    "multitask": multitask.load,
}
