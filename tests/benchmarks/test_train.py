"""The main job: what it saves, that it learns, that it resumes to the last bit, and how it refuses."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.train import cli, files, program, tasks
from benchmarks.train.cli import main
from benchmarks.train.tasks import common, digits

ROOT = Path(__file__).parents[2]
TIMINGS = ("steps_per_second", "train_seconds", "compile_seconds")


def results(out):
    numbers = json.loads((out / "results.json").read_text())
    for entry in numbers["entries"]:
        for name in TIMINGS:
            assert entry.pop(name) > 0
    return numbers


def parameters(out):
    return {path.name: path.read_bytes() for path in (out / "parameters").iterdir()}


def same(first, second):
    assert parameters(first) == parameters(second)
    assert results(first) == results(second)


@pytest.fixture(scope="module")
def drafts():
    return {}


@pytest.fixture
def quick(monkeypatch, drafts):
    """Softmax regression on the digits in place of the network, each program compiled once for all tests."""

    def load():
        linear = common.ClassHead(10)

        def outputs(params, images):
            return linear.apply(params, images.reshape(len(images), -1))

        def loss(objective, apart):
            return lambda params, batch, key: (
                common.mean_objective(objective, outputs(params, batch["image"]), batch["label"]),
                {},
            )

        def evaluate(objective, params, test):
            return {
                "accuracy": jnp.mean(common.predicted_class(objective, outputs(params, test["image"])) == test["label"])
            }

        task = digits.load()
        return task._replace(
            init=lambda key: linear.init(key, jnp.zeros((1, 64))),
            loss=loss,
            evaluate=evaluate,
            metrics=task.metrics[:1],
        )

    def draft_once(entry, parts, options, task):
        if (entry, options) not in drafts:
            draft = program.draft(entry, parts, options, task)
            drafts[entry, options] = draft._replace(compile=functools.cache(draft.compile))
        return drafts[entry, options]

    monkeypatch.setitem(tasks.TASKS, "digits", load)
    monkeypatch.setattr(cli, "draft", draft_once)


def error_of(capsys, *argv, code=2):
    assert main([str(word) for word in argv]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("python -m benchmarks.train: ")
    assert captured.err.count("\n") == 1
    return captured.err


# Learning


def test_digits_learns_and_saves_everything(tmp_path, capsys):
    out = tmp_path / "run"
    argv = "--optimizer adamw --seeds 2 --steps 150 --evaluate-every 50 --learning-rate 5e-3 --batch 64"
    assert main([*argv.split(), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""  # no progress bar where there is no terminal
    assert all(word in shown.out for word in ("test accuracy", "±", "ms/step", "compile s", "adamw"))
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    (entry,) = results(out)["entries"]
    assert entry["final"]["test/accuracy"]["mean"] > 0.95
    assert entry["skipped_steps"] == [0, 0]
    assert entry["curves"]["step"] == [50, 100, 150]
    curve = np.array(entry["curves"]["test/accuracy"])
    assert curve.shape == (3, 2)
    per_seed = entry["final"]["test/accuracy"]["per_seed"]
    np.testing.assert_array_equal(curve[-1], per_seed)
    np.testing.assert_allclose(entry["final"]["test/accuracy"]["std"], np.std(per_seed, ddof=1), rtol=1e-6)
    assert curve[0, 0] != curve[0, 1]  # seeds differ

    params = flax.serialization.msgpack_restore((out / "parameters" / "01-adamw.msgpack").read_bytes())
    task = digits.load()
    network = digits.Network()
    for seed in range(2):
        of_seed = jax.tree.map(lambda leaf, seed=seed: leaf[seed], params)
        predicted = jnp.argmax(network.apply(of_seed, task.test["image"])["logits"], axis=-1)
        assert float(jnp.mean(predicted == task.test["label"])) == pytest.approx(per_seed[seed], abs=1e-6)
    assert entry["parameters"] == sum(leaf[0].size for leaf in jax.tree.leaves(params))


def test_digits_holds_out_a_stratified_fifth():
    train, test = digits.load_digits_split()
    assert (len(train["label"]), len(test["label"])) == (1437, 360)
    everything = np.bincount(np.concatenate([train["label"], test["label"]]))
    np.testing.assert_allclose(np.bincount(test["label"]), everything / 5, atol=1)
    overlap = {image.tobytes() for image in train["image"]} & {image.tobytes() for image in test["image"]}
    assert not overlap


def test_text_learns(tmp_path):
    argv = "--task text --optimizer adamw --seeds 1 --steps 60 --evaluate-every 60 --batch 16"
    assert main([*argv.split(), "--out", str(tmp_path)]) == 0
    (entry,) = results(tmp_path)["entries"]
    assert entry["final"]["test/bits_per_byte"]["mean"] < 4.0  # 8 know nothing; byte frequencies alone give about 4.6
    assert entry["final"]["test/accuracy"]["mean"] > 0.25


def test_multitask_learns_three_tasks_with_surgery(tmp_path):
    argv = "--task multitask --aggregate upgrad --seeds 1 --steps 400 --evaluate-every 400 --batch 64"
    assert main([*argv.split(), "--out", str(tmp_path)]) == 0
    (entry,) = results(tmp_path)["entries"]
    assert entry["gradient"] == "per_task()"
    assert 0.0 < entry["final"]["train/conflict_rate"]["mean"] < 1.0
    assert entry["final"]["test/accuracy"]["mean"] > 0.88
    assert entry["final"]["test/parity_accuracy"]["mean"] > 0.88
    # The mean training image is wrong by 0.27 a pixel.
    assert entry["final"]["test/reconstruction_error"]["mean"] < 0.25


def test_rules_of_several_losses_and_with_a_state_train(tmp_path):
    argv = "--task multitask --gradient famo(3) --seeds 1 --steps 2 --evaluate-every 2 --batch 16"
    assert main([*argv.split(), "--out", str(tmp_path)]) == 0
    (entry,) = results(tmp_path)["entries"]
    assert "train/conflict_rate" not in entry["final"]  # there is one gradient, not one a task
    assert entry["final"]["train/parity_loss"]["mean"] > 0


@pytest.mark.parametrize(
    "objective",
    [
        "softmax_cross_entropy",
        "arcface_loss(scale=8.0, margin=0.1)",
        "harmonic_loss",
        "sigmoid_focal_loss",
        "huber_loss",
    ],
)
def test_objectives_of_every_signature_train(quick, tmp_path, objective):
    argv = ["--steps", "40", "--seeds", "1", "--evaluate-every", "40", "--learning-rate", "3e-2"]
    assert main(["--objective", objective, *argv, "--out", str(tmp_path)]) == 0
    assert results(tmp_path)["entries"][0]["final"]["test/accuracy"]["mean"] > 0.7  # chance is 0.1


def test_patch_convolution_is_a_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
    params = common.PatchConv(4).init(jax.random.key(1), x)
    dense = params["params"]["Dense_0"]
    kernel = dense["kernel"].reshape(3, 3, 3, 4)
    expected = nn.Conv(4, (3, 3)).apply({"params": {"kernel": kernel, "bias": dense["bias"]}}, x)
    np.testing.assert_allclose(common.PatchConv(4).apply(params, x), expected, atol=1e-5)


def test_batches_of_an_epoch_hold_every_example_once():
    data = {"x": np.arange(12)}
    batches = [common.epoch_batch(data, jax.random.key(0), jnp.int32(step), 4)["x"] for step in range(6)]
    for epoch in (batches[:3], batches[3:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(12))
    assert not np.array_equal(np.concatenate(batches[:3]), np.concatenate(batches[3:]))


def test_shifts_move_by_one_pixel_and_lose_nothing_else():
    images = jnp.zeros((500, 4, 4)).at[:, 1, 2].set(1.0)
    moved = common.random_shift(jax.random.key(0), images)
    rows, columns = np.nonzero(moved.sum(0))
    np.testing.assert_array_equal(moved.sum((1, 2)), np.ones(500))
    assert set(zip(rows.tolist(), columns.tolist())) == {(r, c) for r in (0, 1, 2) for c in (1, 2, 3)}


# Resuming


def launch(out, *argv):
    command = [sys.executable, "-m", "benchmarks.train", *argv, "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def kill_when(process, condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path):
    argv = "--optimizer ademamix --seeds 2 --steps 60 --evaluate-every 2 --checkpoint-every 4 --batch 16"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*argv.split(), "--out", str(whole)]) == 0
    folder = killed / "checkpoints" / "01-ademamix"
    record = folder / "latest.json"

    def saving_the_second():
        return record.exists() and any(folder.glob("*checkpoint-tmp*"))

    kill_when(launch(killed, *argv.split()), saving_the_second)
    first = files.read_json(record)["step"]
    assert 0 < first < 60
    kill_when(launch(killed, "--resume"), lambda: files.read_json(record)["step"] > first)
    assert first < files.read_json(record)["step"] < 60
    assert not (killed / "results.json").exists()
    assert main(["--resume", "--out", str(killed)]) == 0
    same(whole, killed)


@pytest.mark.parametrize("moment", ["manifest", "compiling", "training", "saving", "reporting"])
def test_a_run_stopped_at_any_stage_ends_with_the_same_bits(quick, tmp_path, monkeypatch, moment):
    argv = [
        "--optimizer",
        "adamw,lion",
        "--seeds",
        "2",
        "--steps",
        "20",
        "--evaluate-every",
        "3",
        "--checkpoint-every",
        "6",
    ]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*argv, "--out", str(whole)]) == 0

    class Killed(BaseException):
        pass

    calls = iter(range(1000))

    def killed_at(call, function):
        def run(*args, **kwargs):
            if next(calls) == call:
                raise Killed
            return function(*args, **kwargs)

        return run

    target = {
        "manifest": (cli.run, "train", 0),
        "compiling": (cli.report.ProgressBar, "__call__", 0),
        "training": (cli.run, "_record", 9),
        "saving": (cli.run.checkpoint, "write_json", 1),
        "reporting": (cli.report, "draw", 0),
    }[moment]
    module, name, call = target
    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed_at(call, getattr(module, name)))
        with pytest.raises(Killed):
            main([*argv, "--out", str(stopped)])
    assert not (stopped / "results.json").exists()
    assert main(["--resume", "--out", str(stopped)]) == 0
    same(whole, stopped)
    assert main([*argv, "--resume", "--out", str(stopped)]) == 0  # a finished run: nothing is left to do
    same(whole, stopped)


def test_ctrl_c_says_how_to_continue(quick, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.run, "_record", interrupted)
    assert main(["--optimizer", "adamw", "--steps", "4", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == f"stopped; to continue: python -m benchmarks.train --resume --out {tmp_path}\n"


def test_an_unfinished_run_is_not_lost_by_mistake(quick, tmp_path, monkeypatch, capsys):
    argv = ["--optimizer", "adamw", "--steps", "4", "--seeds", "1", "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(cli.run, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(argv) == 130
    capsys.readouterr()
    assert "unfinished run; " in error_of(capsys, *argv)
    assert main([*argv, "--overwrite"]) == 0
    (tmp_path / "mine.txt").write_text("kept")
    assert main([*argv[:2], "--steps", "2", *argv[4:]]) == 0  # a finished run makes way, and only its files do
    assert results(tmp_path)["options"]["steps"] == 2
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.fixture
def finished(quick, tmp_path, capsys):
    assert main(["--optimizer", "adamw", "--steps", "4", "--seeds", "1", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    return tmp_path


def edit_manifest(out, **identity):
    manifest = json.loads((out / "run.json").read_text())
    manifest["identity"] |= identity
    (out / "run.json").write_text(json.dumps(manifest))


def test_a_damaged_foreign_or_missing_checkpoint_is_one_line(finished, capsys):
    def resume(*argv):
        return error_of(capsys, "--resume", "--out", finished, *argv)

    assert "there is no run" in error_of(capsys, "--resume", "--out", finished / "elsewhere")
    assert "has --steps 4" in resume("--steps", "9")
    assert "has --optimizer adamw" in resume("--optimizer", "lion")
    assert "has --objective the default" in resume("--objective", "poly_loss")
    assert "has --task digits" in resume("--task", "text")
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    edit_manifest(finished, jax="0.0.1")
    assert "foreign: its jax is 0.0.1" in resume()
    edit_manifest(finished, jax=jax.__version__, data="0")
    assert "foreign: its data is 0" in resume()
    (finished / "run.json").write_text("{")
    assert "run.json is damaged" in resume()
    (finished / "run.json").write_text('{"options": {"task": "digits"}, "identity": {}}')
    assert "run.json is damaged" in resume()
    for path, content in before.items():
        path.write_bytes(content)
    record = finished / "checkpoints" / "01-adamw" / "latest.json"
    record.write_text(record.read_text().replace('"sha256": "', '"sha256": "x'))
    assert "checksum does not match" in resume()
    (finished / "checkpoints" / "01-adamw" / "step-00000004").rename(finished / "moved")
    assert "is missing" in resume()


# Refusing

BAD = [
    (["--optimizer", "ademmamix"], "did you mean 'ademamix'"),
    (["--optimizer", "adamw(wd=1)"], "no keyword 'wd'"),
    (["--optimizer", "adamw(1e-3", "--seeds", "2"], "cannot read 'adamw(1e-3'"),
    (["--gradient", "sam(rho=-1)"], "rho"),
    (["--gradient", "per_task()"], "needs several losses"),
    (["--gradient", "accumulate(7)"], "does not train on digits"),
    (["--aggregate", "upgrad"], "needs several losses"),
    (["--task", "multitask", "--gradient", "per_task()"], "name what joins them"),
    (["--task", "multitask", "--aggregate", "upgrad", "--gradient", "sam"], "needs one gradient a task"),
    (["--task", "digit"], "did you mean 'digits'"),
    (["--task", "text", "--objective", "arcface_loss"], "needs embeddings, weights"),
    (["--objective", "poly_loss(epsilon='x')"], "does not train on digits"),
    (["--batch", "-3"], "--batch must be a positive integer, got -3"),
    (["--batch", "100000"], "more than the 1437 training examples"),
    (["--seeds", "0"], "--seeds must be a positive integer"),
    (["--steps", "1.5"], "--steps must be a positive integer"),
    (["--learning-rate", "0"], "--learning-rate must be a positive number"),
    (["--learning-rate=-1e-3"], "--learning-rate must be a positive number"),
    (["--learning-rate", "fast"], "no schedule named 'fast'"),
    (["--learning-rate", "1e-3", "--optimizer", "adamw(1e-3)"], "already sets its own"),
    (["--optimiser", "adamw"], "did you mean '--optimizer'"),
    (["--steps"], "expected one argument"),
    (["extra"], "unknown argument 'extra'"),
    (["--resume", "--overwrite"], "exclude each other"),
]


@pytest.mark.parametrize(("argv", "message"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(argv, message, tmp_path, capsys):
    out = tmp_path / "new" / "run"
    assert message in error_of(capsys, *argv, "--out", out)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(quick, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    argv = ["--optimizer", "adamw", "--seeds", "1", "--steps", "2"]
    assert "cannot write in" in error_of(capsys, *argv, "--out", tmp_path / "file" / "run")
    assert "cannot write in" in error_of(capsys, *argv, "--out", "/proc/run")
    if os.getuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "cannot write in" in error_of(capsys, *argv, "--out", tmp_path / "locked")
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk_is_one_line(quick, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli.report, "draw", full)
    argv = ["--optimizer", "adamw", "--seeds", "1", "--steps", "2", "--out", tmp_path]
    assert "No space left" in error_of(capsys, *argv, code=1)


# Showing


def test_list_shows_every_name_with_its_keywords(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "poly_loss",
        "epsilon=2.0",
        "ademamix",
        "alpha=5.0",
        "sam",
        "rho=0.05",
        "upgrad",
        "cosine_decay_schedule",
    ):
        assert words in shown


def test_options_that_are_repeated_are_compared(quick, tmp_path, capsys):
    argv = [
        "--optimizer",
        "optax.sgd(0.5), adamw",
        "--optimizer",
        "adamw",
        "--gradient",
        "backprop",
        "--gradient",
        "sam",
    ]
    argv += ["--steps", "6", "--seeds", "2", "--evaluate-every", "4"]
    assert main([*argv, "--out", str(tmp_path)]) == 0
    entries = results(tmp_path)["entries"]
    labels = [entry["label"] for entry in entries]
    assert labels == ["optax.sgd(0.5)", "adamw", "sam + optax.sgd(0.5)", "sam + adamw"]
    assert [entry["curves"]["step"] for entry in entries] == [[4, 6]] * 4
    assert all(label in capsys.readouterr().out for label in labels[:1])


def test_divergence_is_counted_and_shown(quick, tmp_path, capsys):
    argv = ["--optimizer", "optax.sgd(1e38)", "--steps", "6", "--seeds", "1", "--out", str(tmp_path)]
    assert main(argv) == 0
    (entry,) = results(tmp_path)["entries"]
    assert entry["skipped_steps"][0] > 0
    assert "not finite" in capsys.readouterr().out


def test_seeds_in_one_vmap_equal_seeds_alone(quick, tmp_path):
    argv = ["--optimizer", "adamw", "--steps", "12"]
    assert main([*argv, "--seeds", "3", "--evaluate-every", "4", "--out", str(tmp_path / "three")]) == 0
    assert main([*argv, "--seeds", "1", "--evaluate-every", "12", "--out", str(tmp_path / "one")]) == 0
    three, one = (results(tmp_path / name)["entries"][0]["curves"]["train/loss"] for name in ("three", "one"))
    # A point of the curve is the mean since the point before, so three points of four steps average to one of twelve.
    np.testing.assert_allclose(np.mean(three, axis=0)[0], one[0][0], rtol=1e-5)
