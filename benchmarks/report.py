"""Measurements as a table on screen and as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from benchmarks.harness import CompileSeconds, Measurement, Memory, Side, Spread

SCHEMA = 1
AGREEMENT = 1e-4  # a larger relative difference than this after one call is shown: then the two are not the same


def machine() -> dict[str, Any]:
    """What the numbers depend on: versions, device and cores, and how busy the machine was."""
    device = jax.devices()[0]
    return {
        **{name: metadata.version(name) for name in ("jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backend": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "cores": _cores(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def document(
    measurements: Sequence[Measurement], failures: dict[str, str], *, repeats: int, quick: bool
) -> dict[str, Any]:
    """Everything measured, as what `json` can write."""
    return {
        "schema": SCHEMA,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": {"repeats": repeats, "quick": quick},
        "entries": [_entry(measurement) for measurement in measurements],
        "failures": failures,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write the whole file or nothing: beside it first, then renamed over it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_finite(content), file, indent=1, allow_nan=False)
            file.write("\n")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def table(measurements: Sequence[Measurement], failures: dict[str, str]) -> Table:
    """The table on screen; a failed entry is a row that says why."""
    view = Table(title=_title(), caption=_CAPTION, caption_justify="left", title_justify="left")
    view.add_column("benchmark", no_wrap=True)
    for heading in ("ours ms", "peer ms"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("ratio \\[q1–q3]", no_wrap=True)
    for heading in ("× copy", "GB/s (copy)", "compile s", "temporaries"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("goal", no_wrap=True)
    view.add_column("peer")
    for measurement in measurements:
        view.add_row(*_row(measurement))
    for name, why in failures.items():
        view.add_row(name, "[red]failed[/]", "", why.replace("[", "\\["))
    return view


_CAPTION = (
    "ours/peer where two numbers stand together. Ratios are medians over the rounds with quartiles; below 1 ours is "
    "faster. Goals: the ratio, and no temporaries where asked."
)


def _row(measurement: Measurement) -> list[str]:
    ours, peer, entry = measurement.ours, measurement.peer, measurement.entry
    return [
        entry.name,
        _milliseconds(ours),
        _milliseconds(peer),
        _ratio(measurement.ratio),
        f"{measurement.times_copy.median:.2f}",
        f"{measurement.gigabytes_per_second:.1f} ({measurement.copy_gigabytes_per_second:.1f})",
        _beside(_compile(ours.compile_seconds), _compile(peer.compile_seconds) if peer else ""),
        _beside(_temporaries(ours.memory), _temporaries(peer.memory) if peer else ""),
        _goal(measurement),
        _peer(measurement),
    ]


def _goal(measurement: Measurement) -> str:
    parts = []
    if measurement.goal_met is not None:
        parts.append(f"≤ {measurement.entry.goal:g} {_verdict(measurement.goal_met)}")
    if measurement.temp_goal_met is False:
        parts.append(f"temporaries {_verdict(False)}")
    return ", ".join(parts)


def _verdict(met: bool) -> str:
    return "[green]met[/]" if met else "[yellow]missed[/]"


def _peer(measurement: Measurement) -> str:
    peer = measurement.entry.peer
    if peer is None:
        return ""
    if measurement.peer is None:
        return f"{peer.distribution} is not installed"
    label = peer.name if peer.version is None else f"{peer.name} {peer.version}"
    if measurement.difference is not None and not measurement.difference <= AGREEMENT:
        label += f" [red]differs by {measurement.difference:.1g}[/]"
    return label


def _milliseconds(side: Side | None) -> str:
    return "" if side is None else f"{side.seconds.median * 1e3:.3g}"


def _ratio(ratio: Spread | None) -> str:
    return "" if ratio is None else f"{ratio.median:.2f} \\[{ratio.q1:.2f}–{ratio.q3:.2f}]"


def _compile(seconds: CompileSeconds | None) -> str:
    return "" if seconds is None else f"{seconds.total:.2f}"


def _temporaries(memory: Memory | None) -> str:
    return "" if memory is None else format_bytes(memory.temp)


def _beside(one: str, other: str) -> str:
    return f"{one} / {other}" if other else one


def format_bytes(count: int) -> str:
    """A count of bytes for people.

    >>> format_bytes(0), format_bytes(68), format_bytes(83886080)
    ('0', '68 B', '83.9 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B" if count else "0"


def _title() -> str:
    facts = machine()
    return (
        f"{facts['device_kind']} × {facts['devices']}, {facts['cores']} cores · jax {facts['jax']}, "
        f"optax {facts['optax']}, numpy {facts['numpy']}, Python {facts['python']}"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _entry(measurement: Measurement) -> dict[str, Any]:
    entry = measurement.entry
    return {
        "name": entry.name,
        "peer_name": entry.peer.name if entry.peer else None,
        "peer_version": entry.peer.version if entry.peer else None,
        "ours": _side(measurement.ours),
        "peer": _side(measurement.peer) if measurement.peer else None,
        "copy": _side(measurement.copy),
        "ratio": measurement.ratio._asdict() if measurement.ratio else None,
        "times_copy": measurement.times_copy._asdict(),
        "moved_bytes": measurement.moved,
        "gigabytes_per_second": measurement.gigabytes_per_second,
        "copy_gigabytes_per_second": measurement.copy_gigabytes_per_second,
        "calls_per_sample": measurement.calls,
        "difference": measurement.difference,
        "goal": entry.goal,
        "goal_met": measurement.goal_met,
        "temp_goal_met": measurement.temp_goal_met,
    }


def _side(side: Side) -> dict[str, Any]:
    seconds = side.compile_seconds
    return {
        "seconds": side.seconds._asdict(),
        "samples": list(side.samples),
        "compile_seconds": {**seconds._asdict(), "total": seconds.total} if seconds else None,
        "memory_bytes": side.memory._asdict() if side.memory else None,
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
