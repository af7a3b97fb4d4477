"""The files of a run's folder; each appears whole or not at all."""

import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.train.errors import UsageError, one_line

MANIFEST = "run.json"
RESULTS = "results.json"
CURVES = "curves.png"
PARAMETERS = "parameters"
CHECKPOINTS = "checkpoints"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by renaming a complete temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; numbers that are not finite become null."""
    write_atomically(path, (json.dumps(_finite(value), indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run wrote."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is damaged: {one_line(error)}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is damaged: not an object")
    return value


def make_writable(folder: Path) -> None:
    """Create the folder and see that a file can be written there; on failure leave nothing behind."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        for path in created:
            if path.is_dir():
                path.rmdir()
        raise UsageError(f"--out: cannot write in {folder}: {error.strerror or one_line(error)}") from None


def clear(folder: Path) -> None:
    """Remove what an earlier run wrote, its manifest first, and nothing else."""
    for name in (MANIFEST, RESULTS, CURVES):
        (folder / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, PARAMETERS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
