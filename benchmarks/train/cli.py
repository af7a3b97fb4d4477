"""The command line: options in, a table and files out; 0 on success, 2 and one line on stderr on bad input."""

import argparse
import inspect
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jax
from rich.console import Console
from rich.table import Table

from benchmarks.train import catalogue, expressions, files, plan, report, run
from benchmarks.train.errors import UsageError, one_line
from benchmarks.train.plan import Entry, Options
from benchmarks.train.program import Draft, draft
from benchmarks.train.tasks import TASKS
from benchmarks.train.tasks.common import Task

EXPRESSIONS = ("objective", "optimizer", "gradient", "aggregate", "learning_rate")
NUMBERS = ("seeds", "steps", "batch", "evaluate_every", "checkpoint_every")
PROGRAM = "python -m benchmarks.train"
EXAMPLES = """examples:
  %(prog)s                                        AdamW, AdEMAMix, Lion and SAM on digits, three seeds each
  %(prog)s --optimizer 'adamw, ademamix(1e-3, alpha=8)' --learning-rate 3e-3
  %(prog)s --objective softmax_cross_entropy --objective 'poly_loss(epsilon=1.0)' --gradient 'sam(0.1)'
  %(prog)s --optimizer 'chain(clip_by_global_norm(1.0), lion(cosine_decay_schedule(1e-3, 800)))'
  %(prog)s --task graded_diabetes                 the losses of a family on the data that it is for
  %(prog)s --task ordered_digits --objective diffsort_loss,rax.listmle_loss
  %(prog)s --task multitask --aggregate none,pcgrad,upgrad
  %(prog)s --task multitask --aggregate all       every aggregator in one table and plot
  %(prog)s --task text --optimizer adamw,optax.adamw --out runs/peers
  %(prog)s --resume                               continue a run that was stopped
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        if arguments.list:
            _print_list(Console())
            return 0
        return _run(arguments)
    except UsageError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{PROGRAM}: {one_line(error)}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    given = _given(arguments)
    out = Path(arguments.out or f"runs/{given['task'] or 'digits'}")
    stored = _stored(out) if arguments.resume else None
    if stored is None:
        _refuse_unfinished(out, arguments.overwrite)
    task = TASKS[given["task"] or (stored["options"]["task"] if stored else "digits")]()
    options = _options(given, stored["options"] if stored else None, task, out)
    entries = plan.entries(options, task)
    parts = [plan.build(entry, options, task) for entry in entries]
    drafts = [draft(entry, part, options, task) for entry, part in zip(entries, parts)]
    manifest = {"options": options._asdict(), "identity": _identity(task)}
    snapshots: list[Any] = [None] * len(entries)
    if stored is None:
        files.make_writable(out)
        files.clear(out)
        files.write_json(out / files.MANIFEST, manifest)
    else:
        _check_identity(stored, manifest, out)
        files.make_writable(out)
        snapshots = run.load_snapshots(entries, drafts, options, out)
    return _train(entries, drafts, snapshots, options, task, out, start)


def _train(
    entries: list[Entry], drafts: list[Draft], snapshots: list, options: Options, task: Task, out: Path, start: float
) -> int:
    try:
        with report.ProgressBar(entries, options, task, Console(stderr=True)) as bar:
            results = run.train(entries, drafts, snapshots, options, out, bar)
    except KeyboardInterrupt:
        print(f"stopped; to continue: {PROGRAM} --resume --out {out}", file=sys.stderr)
        return 130
    paths = report.save(results, options, task, out)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 120 + 14 * len(task.train_metrics)))
    report.print_table(results, options, task, console)
    console.print(f"[dim]{task.about}[/dim]", highlight=False)
    for path in (*paths[-2:], paths[0].parent):
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print(f"[dim]{time.perf_counter() - start:.0f} s in all[/dim]", highlight=False)
    return 0


class _Parser(argparse.ArgumentParser):
    """Errors are one line, with the nearest option for a misspelt one."""

    def parse_args(self, argv: Any = None, namespace: Any = None) -> Any:
        known, unknown = self.parse_known_args(argv, namespace)
        if unknown:
            hint = catalogue.nearest(unknown[0].split("=")[0], self._option_string_actions)
            raise UsageError(f"unknown argument {unknown[0]!r}{hint} (--help shows all)")
        return known

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Train a small model on real data with any public name of objectives and optimizers, and compare.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what to train; give an option several times, or commas, to compare")
    what.add_argument("--task", metavar="NAME", help=f"{', '.join(TASKS)} (default: digits)")
    what.add_argument("--objective", action="append", metavar="NAME(...)", help="default: the task's")
    what.add_argument("--optimizer", action="append", metavar="NAME(...)", help="default: the task's comparison")
    what.add_argument("--gradient", action="append", metavar="NAME(...)", help="default: backprop, or per_task()")
    what.add_argument(
        "--aggregate", action="append", metavar="NAME(...)", help="none, all, or an aggregator (multitask)"
    )
    what.add_argument(
        "--learning-rate",
        action="append",
        metavar="PEAK",
        help="for optimizers that set none: the peak of a warm-up and cosine decay, or an Optax schedule",
    )
    how = parser.add_argument_group("how long")
    how.add_argument("--seeds", metavar="N", help="seeds 0 to N-1, trained at once")
    how.add_argument("--steps", metavar="N", help="optimizer steps")
    how.add_argument("--batch", metavar="N", help="examples in a step")
    how.add_argument("--evaluate-every", metavar="N", help="steps between points of the curves (default: steps / 25)")
    how.add_argument("--checkpoint-every", metavar="N", help="steps between checkpoints (default: steps / 5)")
    where = parser.add_argument_group("where")
    where.add_argument("--out", metavar="FOLDER", help="default: runs/TASK")
    where.add_argument("--resume", action="store_true", help="continue the run in that folder, to the same numbers")
    where.add_argument("--overwrite", action="store_true", help="start again where an unfinished run is")
    parser.add_argument("--list", action="store_true", help="show every name that can be given, with its keywords")
    return parser


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, read and checked; None for the others."""
    if arguments.task is not None and arguments.task not in TASKS:
        hint = catalogue.nearest(arguments.task, TASKS)
        raise UsageError(f"--task: no task named {arguments.task!r}{hint} ({', '.join(TASKS)})")
    if arguments.resume and arguments.overwrite:
        raise UsageError("--resume and --overwrite exclude each other")
    given: dict[str, Any] = {"task": arguments.task}
    for name in EXPRESSIONS:
        texts = getattr(arguments, name)
        option = f"--{name.replace('_', '-')}"
        split = [part for text in texts or () for part in expressions.split(text, option)]
        given[name] = tuple(dict.fromkeys(split)) or None
    for name in NUMBERS:
        given[name] = _positive(name, getattr(arguments, name))
    return given


def _positive(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise UsageError(f"--{name.replace('_', '-')} must be a positive integer, got {text}")
    return value


def _options(given: dict[str, Any], stored: dict[str, Any] | None, task: Task, out: Path) -> Options:
    """The options of a new run with the task's defaults, or those of the stored run, which none given may change."""
    if stored is None:
        steps = given["steps"] or task.defaults.steps
        defaults: dict[str, Any] = {
            "seeds": task.defaults.seeds,
            "batch": min(task.defaults.batch, task.examples),
            "steps": steps,
        }
        defaults |= {"evaluate_every": -(-steps // 25), "checkpoint_every": -(-steps // 5), "task": task.name}
        chosen: dict[str, Any] = {k: defaults.get(k) if value is None else value for k, value in given.items()}
        options = Options(**chosen)
    else:
        options = _restored(stored, out)
        for name, value in given.items():
            was = getattr(options, name)
            if value is not None and value != was:
                show = ", ".join(was) if isinstance(was, tuple) else "the default" if was is None else was
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"--resume: the run in {out} has {option} {show}; start another in a new --out")
    if options.batch > task.examples:
        raise UsageError(f"--batch: {options.batch} is more than the {task.examples} training examples of {task.name}")
    return options


def _restored(stored: dict[str, Any], out: Path) -> Options:
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        options = Options(**values)
        if options.task in TASKS and all(isinstance(getattr(options, name), int) for name in NUMBERS):
            return options
    except TypeError:
        pass
    raise UsageError(f"{out / files.MANIFEST} is damaged, or of another version of this program")


def _stored(out: Path) -> dict[str, Any]:
    """The manifest of the run to resume."""
    if not (out / files.MANIFEST).exists():
        raise UsageError(f"--resume: there is no run in {out}")
    stored = files.read_json(out / files.MANIFEST)
    if not all(isinstance(stored.get(key), dict) for key in ("options", "identity")):
        raise UsageError(f"{out / files.MANIFEST} is damaged: no options in it")
    _restored(stored["options"], out)
    return stored


def _refuse_unfinished(out: Path, overwrite: bool) -> None:
    unfinished = (out / files.MANIFEST).exists() and not (out / files.RESULTS).exists()
    if unfinished and not overwrite:
        raise UsageError(
            f"--out: {out} holds an unfinished run; add --resume to continue it, or --overwrite to discard it"
        )


def _identity(task: Task) -> dict[str, str]:
    """What else decides the numbers to the last bit."""
    return {"data": task.digest(), "jax": jax.__version__, "backend": jax.default_backend()}


def _check_identity(stored: dict[str, Any], manifest: dict[str, Any], out: Path) -> None:
    for name, now in manifest["identity"].items():
        was = stored["identity"].get(name)
        if was != now:
            raise UsageError(f"--resume: the run in {out} is foreign: its {name} is {was}, here it is {now}")


def _print_list(console: Console) -> None:
    """Every name that an option takes, with its keywords."""
    for kind in catalogue.KINDS:
        option = f"--{kind}" if kind != "schedule" else "within an expression, or as --learning-rate"
        table = Table(title=f"{catalogue.TITLES[kind]}: {option}", title_justify="left", box=None, show_header=False)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column()
        for name, function in sorted(catalogue.functions_of(kind).items()):
            table.add_row(name, ", ".join(_shown(p) for p in catalogue.keywords_of(function, kind).values()))
        console.print(table, highlight=False)
        console.print()
    console.print("Functions of Optax take part under their full name, such as optax.adamw or optax.contrib.prodigy,")
    console.print("and losses of rax as objectives, such as rax.softmax_loss.")


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.default is parameter.empty:
        return parameter.name
    default = getattr(parameter.default, "__name__", repr(parameter.default))
    return f"{parameter.name}={default}"
