"""Checkpoints: exact round trips, damage told from health, and a record that always names a whole checkpoint."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.train import checkpoint, files
from benchmarks.train.checkpoint import Snapshot
from benchmarks.train.errors import UsageError
from optimizers import TrainState

CURVES = {"test/accuracy": np.array([[0.5, 0.25], [np.nan, np.nan]], np.float32)}


def states(scale=1.0):
    def create(seed):
        params = {"w": scale * jnp.arange(3.0) + seed, "half": jnp.ones(2, jnp.bfloat16), "none": jnp.zeros((0, 2))}
        return TrainState.create(params=params, tx=optax.adam(0.1), key=jax.random.key(seed))

    return jax.vmap(create)(jnp.arange(2))


def shapes():
    return jax.eval_shape(states)


def raw(tree):
    return [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in jax.tree.leaves(tree)
    ]


def save(folder, step, scale=1.0):
    checkpoint.save(folder, Snapshot(step, states(scale), CURVES, 1.5, 2.5))


def test_a_checkpoint_returns_every_bit(tmp_path):
    save(tmp_path, 7, scale=0.1)
    loaded = checkpoint.load(tmp_path, shapes(), CURVES)
    assert (loaded.step, loaded.train_seconds, loaded.compile_seconds) == (7, 1.5, 2.5)
    assert jax.tree.structure(loaded.states) == jax.tree.structure(states())
    for got, expected in zip(raw(loaded.states), raw(states(0.1)), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(loaded.curves["test/accuracy"], CURVES["test/accuracy"])


def test_one_checkpoint_is_kept_and_none_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "nothing", shapes(), CURVES) is None
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.json", "step-00000002"]


@pytest.mark.parametrize("moment", ["before the record", "in the record", "before the old one goes"])
def test_a_kill_while_saving_leaves_the_one_before_or_the_new_one(tmp_path, monkeypatch, moment):
    save(tmp_path, 1, scale=1.0)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "before the record":
            patch.setattr(checkpoint, "write_json", killed)
        elif moment == "in the record":
            patch.setattr(files.os, "fsync", killed)
        else:
            patch.setattr(checkpoint.shutil, "rmtree", lambda path, **_: killed() if path.exists() else None)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2, scale=2.0)
    step = 2 if moment == "before the old one goes" else 1
    assert checkpoint.load(tmp_path, shapes(), CURVES).step == step
    save(tmp_path, 2, scale=2.0)
    loaded = checkpoint.load(tmp_path, shapes(), CURVES)
    assert loaded.step == 2
    np.testing.assert_array_equal(loaded.states.params["w"], states(2.0).params["w"])


def truncate(folder):
    data = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[:-8])


def empty(folder):
    for path in list((folder / "step-00000003").rglob("*")):
        if path.is_file():
            path.unlink()


def other_values(folder):
    record = folder / "latest.json"
    kept = record.read_bytes()
    save(folder, 3, scale=5.0)
    record.write_bytes(kept)


def edited_record(folder):
    record = json.loads((folder / "latest.json").read_text())
    (folder / "latest.json").write_text(json.dumps({"step": record["step"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "is damaged"),
        (empty, "is damaged"),
        (other_values, "checksum does not match"),
        (edited_record, "no step and checksum"),
        (lambda folder: (folder / "latest.json").write_text('{"step": 3'), "is damaged"),
        (lambda folder: (folder / "latest.json").write_bytes(b"\xff\xfe"), "is damaged"),
        (lambda folder: shutil.rmtree(folder / "step-00000003"), "is missing"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, damage, message):
    save(tmp_path, 3)
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        checkpoint.load(tmp_path, shapes(), CURVES)
    assert "\n" not in str(error.value)


def test_another_model_is_foreign(tmp_path):
    save(tmp_path, 3)
    wider = shapes()._replace(params={"w": jax.ShapeDtypeStruct((2, 9), jnp.float32)})
    with pytest.raises(UsageError, match="of another run"):
        checkpoint.load(tmp_path, wider, CURVES)


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "deep" / "numbers.json"
    files.write_json(target, {"a": [1.0, float("nan")], "b": (2,)})
    assert json.loads(target.read_text()) == {"a": [1.0, None], "b": [2]}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_json(target, {})
    assert [path.name for path in target.parent.iterdir()] == ["numbers.json"]
    assert json.loads(target.read_text())["b"] == [2]
