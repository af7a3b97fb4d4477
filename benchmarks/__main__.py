"""Compare speed, compile time and memory with named peers: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

import jax
from rich.console import Console

from benchmarks import report
from benchmarks.entries import catalogue
from benchmarks.harness import Entry, Measurement, measure_entry

REPEATS, QUICK_REPEATS = 30, 3


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 where a benchmark failed, 2 for bad input."""
    parser = _arguments()
    options = parser.parse_args(arguments)
    topics = catalogue()
    try:
        chosen = select(topics, options.names)
        if options.json is not None:
            check_writable(options.json)
    except ValueError as problem:
        parser.error(str(problem))
    if options.list:
        print(*(entry.name for entry in chosen), sep="\n")
        return 0
    repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    return _run(chosen, repeats=repeats, quick=options.quick, path=options.json)


def select(topics: dict[str, tuple[Entry, ...]], names: Sequence[str]) -> list[Entry]:
    """The entries named, in their own order: by topic, by what is measured, in full, or by a pattern; all for none.

    Raises:
        ValueError: for a name that nothing matches; the message suggests the nearest.
    """
    entries = [(topic, entry) for topic, members in topics.items() for entry in members]
    for name in names:
        if not any(_matches(name, topic, entry) for topic, entry in entries):
            known = {topic for topic, _ in entries} | {_kind(entry) for _, entry in entries}
            raise ValueError(f"no benchmark {name!r}{_nearest(name, known | {entry.name for _, entry in entries})}")
    return [entry for topic, entry in entries if not names or any(_matches(name, topic, entry) for name in names)]


def check_writable(path: Path) -> None:
    """Raise ValueError where no file can be written at `path`, before anything is measured."""
    if path.is_dir():
        raise ValueError(f"--json {path}: is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--json {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"--json {path}: the folder {path.parent} is not writable")


def _run(entries: Sequence[Entry], *, repeats: int, quick: bool, path: Path | None) -> int:
    console = Console(width=None if sys.stdout.isatty() else 180)
    measurements: list[Measurement] = []
    failures: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        with console.status(f"{number}/{len(entries)} {entry.name}"):
            try:
                measurements.append(measure_entry(entry, repeats=repeats, quick=quick))
            except Exception as problem:  # one broken benchmark must not cost the others
                failures[entry.name] = f"{type(problem).__name__}: {problem}".splitlines()[0]
        if path is not None:
            report.write_json(path, report.document(measurements, failures, repeats=repeats, quick=quick))
    console.print(report.table(measurements, failures))
    if quick:
        console.print("--quick takes tiny arrays and few rounds: it shows that everything runs, not how fast.")
    return 1 if failures else 0


def _arguments() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        help="a topic (optimizers), what is measured (lion), one (lion/one-leaf) or a pattern ('*/one-leaf')",
    )
    parser.add_argument("--list", action="store_true", help="show the names and measure nothing")
    parser.add_argument("--quick", action="store_true", help="tiny arrays, few rounds: to see that everything runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers to this file too")
    parser.add_argument(
        "--repeats", type=_positive, metavar="N", help=f"rounds that count ({REPEATS}; {QUICK_REPEATS} with --quick)"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _matches(name: str, topic: str, entry: Entry) -> bool:
    return name in (topic, _kind(entry)) or fnmatchcase(entry.name, name)


def _kind(entry: Entry) -> str:
    return entry.name.partition("/")[0]


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.3)
    return f"; did you mean {close[0]!r}?" if close else "; --list shows them all"


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # what is read from a cache was not compiled
    sys.exit(main())
