"""What a run shows and leaves: progress bar, table, curves, numbers, parameters."""

import io
import os
import platform
from pathlib import Path
from types import TracebackType
from typing import Any

import flax
import jax
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.train import files
from benchmarks.train.checkpoint import Curves
from benchmarks.train.plan import Entry, Options
from benchmarks.train.run import TEST, TRAIN, Result
from benchmarks.train.tasks.common import Metric, Task

# Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A7A00", "#000000")
LINES = ("-", "--", ":", "-.")
TRAINING_LOSS = Metric("loss", "training loss", 1.0, 4, "", higher_is_better=False)
MAX_COLUMNS = 4


class ProgressBar:
    """A bar an entry, on a terminal; silent elsewhere."""

    def __init__(self, entries: list[Entry], options: Options, task: Task, console: Console) -> None:
        self.metric = task.metrics[0]
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="cyan"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        width = max(len(entry.label) for entry in entries)
        self.rows = [
            self.progress.add_task(f"[dim]{entry.label:{width}}", total=options.steps, start=False, note="waiting")
            for entry in entries
        ]
        self.labels = [f"{entry.label:{width}}" for entry in entries]

    def __enter__(self) -> "ProgressBar":
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def __call__(self, number: int, step: int, curves: Curves, status: str) -> None:
        """Show how far entry `number` is."""
        values = curves[TEST + self.metric.name]
        last = values[np.isfinite(values).all(axis=1)][-1:]
        note = f"{self.metric.title} {_shown(self.metric, float(last.mean()))}" if last.size else ""
        row, label = self.rows[number], self.labels[number]
        if status == "training":
            self.progress.start_task(row)
        style = "[green]" if status == "done" else "[bold]"
        self.progress.update(
            row, completed=step, description=style + label, note="compiling" if status == "compiling" else note
        )
        if status == "done":
            self.progress.stop_task(row)


def print_table(results: list[Result], options: Options, task: Task, console: Console) -> None:
    """The final comparison: test metrics over seeds, losses, speed."""
    seeds = f"{options.seeds} seed{'s' * (options.seeds > 1)}"
    table = Table(
        title=f"{task.name} · {seeds} · {options.steps} steps of {options.batch}",
        caption=f"mean ± standard deviation; a step trains all {seeds}" if options.seeds > 1 else "a single seed",
        title_style="bold",
        header_style="bold",
    )
    table.add_column("entry", no_wrap=True)
    for metric in task.metrics:
        table.add_column(metric.title, justify="right")
    for title in (*(m.title for m in task.train_metrics), "train loss", "ms/step", "compile s"):
        table.add_column(title, justify="right")
    best = _best(results, task.metrics[0])
    for result in results:
        cells = [_mean_and_deviation(metric, result.curves[TEST + metric.name][-1]) for metric in task.metrics]
        curves = [(metric, result.curves.get(TRAIN + metric.name)) for metric in task.train_metrics]
        cells += ["" if curve is None else _shown(metric, float(curve[-1].mean())) for metric, curve in curves]
        numbers = [f"{result.curves[TRAIN + 'loss'][-1].mean():.4f}"]
        numbers += [f"{1e3 / result.steps_per_second:.2f}", f"{result.compile_seconds:.1f}"]
        style = "bold green" if result is best and len(results) > 1 else ""
        table.add_row(result.entry.label, *cells, *numbers, style=style)
    console.print(table)
    for result in results:
        if skipped := int(result.skipped.sum()):
            console.print(f"[yellow]{result.entry.label}: {skipped} steps were not finite and were skipped")


def save(results: list[Result], options: Options, task: Task, out: Path) -> list[Path]:
    """Write parameters, curves and, last of all, the numbers; each file appears whole or not at all."""
    paths = []
    for result in results:
        paths.append(out / files.PARAMETERS / f"{result.entry.slug}.msgpack")
        files.write_atomically(paths[-1], flax.serialization.to_bytes(jax.device_get(result.params)))
    paths.append(out / files.CURVES)
    files.write_atomically(paths[-1], draw(results, options, task))
    paths.append(out / files.RESULTS)
    files.write_json(paths[-1], numbers(results, options, task))
    return paths


def numbers(results: list[Result], options: Options, task: Task) -> dict[str, Any]:
    """Everything that was measured, as JSON."""
    return {
        "task": task.name,
        "about": task.about,
        "options": options._asdict(),
        "environment": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "optax": optax.__version__,
            "flax": flax.__version__,
            "backend": jax.default_backend(),
            "devices": [str(device) for device in jax.devices()],
            "cpus": os.cpu_count(),
        },
        "entries": [_numbers(result) for result in results],
    }


def _numbers(result: Result) -> dict[str, Any]:
    last = {name: values[-1].astype(float) for name, values in result.curves.items()}
    return {
        **result.entry._asdict(),
        "parameters": result.parameter_count,
        "final": {
            name: {"mean": float(v.mean()), "std": _deviation(v), "per_seed": v.tolist()} for name, v in last.items()
        },
        "skipped_steps": result.skipped.tolist(),
        "steps_per_second": result.steps_per_second,
        "train_seconds": result.train_seconds,
        "compile_seconds": result.compile_seconds,
        "curves": {"step": result.steps} | {name: v.astype(float).tolist() for name, v in result.curves.items()},
    }


def draw(results: list[Result], options: Options, task: Task) -> bytes:
    """The curves as PNG: a panel a metric, test before training; lines are means, bands span the seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(TEST, metric) for metric in task.metrics]
    panels += [(TRAIN, metric) for metric in (TRAINING_LOSS, *task.train_metrics)]
    columns = min(len(panels), MAX_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.0 * rows + 0.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (group, metric) in zip(places, panels):
        _draw_panel(axes, results, group, metric)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    seeds = f"{options.seeds} seed{'s' * (options.seeds > 1)}"
    figure.suptitle(
        f"{task.name}: {options.steps} steps of {options.batch}; mean of {seeds}, bands from least to greatest",
        fontsize="medium",
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_panel(axes: Any, results: list[Result], group: str, metric: Metric) -> None:
    everything = []
    for number, result in enumerate(results):
        points = (len(result.steps), 1)  # a run without the metric gets its line in the legend alone
        values = np.asarray(result.curves.get(group + metric.name, np.full(points, np.nan)), float) * metric.scale
        everything.append(values.ravel())
        style = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number // len(COLOURS) % len(LINES)]}
        axes.plot(result.steps, values.mean(axis=1), label=result.entry.label, linewidth=1.8, **style)
        axes.fill_between(
            result.steps, values.min(axis=1), values.max(axis=1), color=style["color"], alpha=0.15, linewidth=0
        )
    axes.set_title(metric.title + (f" ({metric.unit})" if metric.unit else ""), fontsize="medium", loc="left")
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    seen = np.concatenate(everything)
    _set_range(axes, seen[np.isfinite(seen)], metric)


def _set_range(axes: Any, values: np.ndarray, metric: Metric) -> None:
    """Losses on a logarithmic axis; where higher is better, the early climb is cut, to tell the ends apart."""
    if not values.size:
        return
    if not metric.higher_is_better:
        if values.min() > 0 and values.max() > 3 * values.min():
            axes.set_yscale("log")
        return
    top, low = values.max(), np.quantile(values, 0.25)
    margin = 0.08 * max(top - low, 1e-3 * metric.scale)
    axes.set_ylim(low - 4 * margin, top + margin)


def _best(results: list[Result], metric: Metric) -> Result:
    sign = 1.0 if metric.higher_is_better else -1.0

    def merit(result: Result) -> float:
        value = sign * float(result.curves[TEST + metric.name][-1].mean())
        return value if np.isfinite(value) else -np.inf

    return max(results, key=merit)


def _mean_and_deviation(metric: Metric, values: np.ndarray) -> str:
    if np.isnan(values).all():
        return "–"  # nothing of the kind is predicted, or the run diverged
    mean = _shown(metric, float(values.mean()))
    if len(values) == 1:
        return mean
    return f"{mean.removesuffix(' ' + metric.unit)} ± {_deviation(values) * metric.scale:.{metric.digits}f}" + (
        f" {metric.unit}" if metric.unit else ""
    )


def _shown(metric: Metric, value: float) -> str:
    return f"{value * metric.scale:.{metric.digits}f}" + (f" {metric.unit}" if metric.unit else "")


def _deviation(values: np.ndarray) -> float:
    """The sample standard deviation over seeds, 0 for a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
