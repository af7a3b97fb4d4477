"""The loop: entry after entry, chunk after chunk, with a checkpoint now and then."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.train import checkpoint
from benchmarks.train.checkpoint import Curves, Snapshot
from benchmarks.train.files import CHECKPOINTS
from benchmarks.train.plan import Entry, Options
from benchmarks.train.program import Draft, block, parameter_count

TRAIN, TEST = "train/", "test/"


class Result(NamedTuple):
    """A trained entry.

    Attributes:
        entry: what was trained.
        steps: the steps at which the curves have a point.
        curves: by `train/metric` and `test/metric`, arrays `[points, seeds]`; a training metric is the mean since the
            point before.
        params: the parameters, each with a leading axis of seeds.
        skipped: steps skipped because they were not finite, `[seeds]`.
        parameter_count: parameters of one seed's model.
        train_seconds: time in the train step, without compiling, evaluating and saving.
        compile_seconds: tracing and compiling.
    """

    entry: Entry
    steps: list[int]
    curves: Curves
    params: Any
    skipped: np.ndarray
    parameter_count: int
    train_seconds: float
    compile_seconds: float

    @property
    def steps_per_second(self) -> float:
        """Steps a second; each step trains all seeds."""
        return self.steps[-1] / max(self.train_seconds, 1e-9)


class Observer(Protocol):
    """Told how an entry proceeds."""

    def __call__(self, number: int, step: int, curves: Curves, status: str) -> None:
        """Entry `number` has done `step` steps; `status` is `compiling`, `training` or `done`."""


def stops(options: Options) -> list[int]:
    """The steps after which the run evaluates, the last one included."""
    every = range(options.evaluate_every, options.steps, options.evaluate_every)
    return [*every, options.steps]


def load_snapshots(entries: list[Entry], drafts: list[Draft], options: Options, out: Path) -> list[Snapshot | None]:
    """Every entry's checkpoint, so that a damaged one shows before any work is done."""
    folders = [_folder(out, entry) for entry in entries]
    return [checkpoint.load(folder, d.shapes, _no_curves(d, options)) for folder, d in zip(folders, drafts)]


def train(
    entries: list[Entry],
    drafts: list[Draft],
    snapshots: list[Snapshot | None],
    options: Options,
    out: Path,
    observer: Observer,
) -> list[Result]:
    """Train all entries, each from its snapshot where it has one."""
    results = []
    for number, (entry, draft, snapshot) in enumerate(zip(entries, drafts, snapshots)):

        def observe(snapshot: Snapshot, status: str, number: int = number) -> None:
            observer(number, snapshot.step, snapshot.curves, status)

        last = _train(draft, snapshot, options, _folder(out, entry), observe)
        observe(last, "done")
        results.append(_result(entry, draft, last, options))
    return results


def _train(
    draft: Draft,
    snapshot: Snapshot | None,
    options: Options,
    folder: Path,
    observe: Callable[[Snapshot, str], None],
) -> Snapshot:
    now = snapshot or Snapshot(0, None, _no_curves(draft, options), 0.0, 0.0)
    if now.step == options.steps:
        return now
    observe(now, "compiling")
    program = draft.compile()
    states = now.states if snapshot else program.init()
    now = now._replace(states=states, compile_seconds=program.compile_seconds)
    saved = now.step
    observe(now, "training")
    for point, stop in enumerate(stops(options)):
        if stop <= now.step:
            continue
        start = time.perf_counter()
        states, metrics = block(program.chunk(now.states, stop - now.step))
        seconds = now.train_seconds + time.perf_counter() - start
        _record(now.curves, point, TRAIN, metrics)
        _record(now.curves, point, TEST, program.evaluate(states))
        now = now._replace(step=stop, states=states, train_seconds=seconds)
        if stop - saved >= options.checkpoint_every or stop == options.steps:
            checkpoint.save(folder, now)
            saved = stop
        observe(now, "training")
    return now


def _result(entry: Entry, draft: Draft, last: Snapshot, options: Options) -> Result:
    return Result(
        entry=entry,
        steps=stops(options),
        curves=last.curves,
        params=last.states.params,
        skipped=np.asarray(last.states.skipped),
        parameter_count=parameter_count(draft.shapes),
        train_seconds=last.train_seconds,
        compile_seconds=last.compile_seconds,
    )


def _folder(out: Path, entry: Entry) -> Path:
    return out / CHECKPOINTS / entry.slug


def _no_curves(draft: Draft, options: Options) -> Curves:
    names = [TRAIN + name for name in draft.train_metrics] + [TEST + name for name in draft.test_metrics]
    return {name: np.full((len(stops(options)), options.seeds), np.nan, np.float32) for name in names}


def _record(curves: Curves, point: int, group: str, metrics: dict[str, Any]) -> None:
    for name, values in metrics.items():
        curves[group + name][point] = values
