"""Checkpoints with Orbax, so that a run killed at any moment continues as if it had not been.

A checkpoint counts once `latest.json` names it: Orbax writes the arrays into a folder of their own, then the record
with their SHA-256 is renamed into place, then the folder before it goes. A kill between any two of these leaves a
record that names a complete folder.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from benchmarks.train.errors import UsageError
from benchmarks.train.files import read_json, write_json

RECORD = "latest.json"
Curves = dict[str, np.ndarray]


class Snapshot(NamedTuple):
    """An entry between two chunks: the states of all seeds, the curves so far (NaN beyond), and its timings."""

    step: int
    states: Any
    curves: Curves
    train_seconds: float
    compile_seconds: float


def save(folder: Path, snapshot: Snapshot) -> None:
    """Make the snapshot the folder's checkpoint."""
    arrays = {"states": _flatten(snapshot.states), "curves": snapshot.curves}
    target = folder / f"step-{snapshot.step:08d}"
    shutil.rmtree(target, ignore_errors=True)  # left by a run killed before its record
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(target.absolute(), arrays)
        checkpointer.wait_until_finished()
    timings = {"train_seconds": snapshot.train_seconds, "compile_seconds": snapshot.compile_seconds}
    write_json(folder / RECORD, {"step": snapshot.step, "sha256": _digest(arrays)} | timings)
    for other in folder.iterdir():
        if other.is_dir() and other != target:
            shutil.rmtree(other, ignore_errors=True)


def load(folder: Path, shapes: Any, curves: Curves) -> Snapshot | None:
    """The folder's checkpoint, or None where a run was killed before its first one.

    Args:
        folder: the entry's checkpoint folder.
        shapes: the states' shapes and dtypes.
        curves: arrays of the curves' shapes.

    Raises:
        UsageError: if the checkpoint is missing, damaged, or of another run.
    """
    if not (folder / RECORD).exists():
        return None
    record = read_json(folder / RECORD)
    try:
        step, digest = int(record["step"]), str(record["sha256"])
        timings = float(record["train_seconds"]), float(record["compile_seconds"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{folder / RECORD} is damaged: no step and checksum in it") from None
    target = folder / f"step-{step:08d}"
    if not target.is_dir():
        raise UsageError(f"the checkpoint {target} is missing")
    expected = {"states": _expected(shapes), "curves": {name: _template(value) for name, value in curves.items()}}
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = jax.tree.map(np.asarray, checkpointer.restore(target.absolute(), expected))
    except Exception:  # Orbax and TensorStore raise many kinds
        raise UsageError(f"the checkpoint {target} is damaged, or of another run") from None
    if _digest(arrays) != digest:
        raise UsageError(f"the checkpoint {target} is damaged: its checksum does not match")
    return Snapshot(step, _unflatten(arrays["states"], shapes), arrays["curves"], *timings)


def _flatten(states: Any) -> dict[str, np.ndarray]:
    """Leaves by path, PRNG keys as raw words; Orbax stores no array without elements."""
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(states)}
    raw = {path: np.asarray(jax.random.key_data(x) if _is_key(x) else x) for path, x in leaves.items()}
    return {path: leaf for path, leaf in raw.items() if leaf.size}


def _expected(shapes: Any) -> dict[str, Any]:
    leaves = {jax.tree_util.keystr(path): _raw(leaf) for path, leaf in jax.tree.leaves_with_path(shapes)}
    return {path: _template(leaf) for path, leaf in leaves.items() if leaf.size}


def _unflatten(arrays: dict[str, np.ndarray], shapes: Any) -> Any:
    def leaf_of(path: Any, shape: Any) -> jax.Array:
        if not shape.size:
            return jnp.zeros(shape.shape, shape.dtype)
        array = jnp.asarray(arrays[jax.tree_util.keystr(path)])
        return jax.random.wrap_key_data(array) if _is_key(shape) else array

    return jax.tree.map_with_path(leaf_of, shapes)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(shape: Any) -> Any:
    return jax.eval_shape(jax.random.key_data, shape) if _is_key(shape) else shape


def _template(leaf: Any) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _digest(arrays: dict[str, dict[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for group in sorted(arrays):
        for name in sorted(arrays[group]):
            array = arrays[group][name]
            digest.update(f"{group} {name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
