"""The tasks about losses: what their data is, that every loss they compare gets its arrays, and that one learns."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.train import expressions
from benchmarks.train.cli import main
from benchmarks.train.tasks import TASKS, digits

NAMES = ("imbalanced_digits", "noisy_digits", "diabetes")


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_compared_has_its_arrays(name):
    task = TASKS[name]()
    params = jax.eval_shape(task.init, jax.random.key(0))
    batch = {array: jnp.asarray(values[:8]) for array, values in task.train.items()}
    test = {array: jnp.asarray(values[:8]) for array, values in task.test.items()}
    for entry in task.defaults.entries:
        objective = expressions.objective(entry["objective"])
        loss, _ = jax.eval_shape(task.loss(objective, False), params, batch, jax.random.key(0))
        assert loss.shape == ()
        metrics = jax.eval_shape(lambda p, t, f=objective: task.evaluate(f, p, t), params, test)
        assert set(metrics) == {metric.name for metric in task.metrics}


def test_each_digit_is_rarer_than_the_one_before():
    task, plain = digits.load_imbalanced(), digits.load()
    counts = np.bincount(task.train["label"])
    assert np.all(np.diff(counts) < 0)
    assert counts[-1] / counts[0] == pytest.approx(digits.RAREST, rel=0.2)
    np.testing.assert_array_equal(task.test["label"], plain.test["label"])


def test_labels_are_wrong_as_often_as_said():
    task, plain = digits.load_noisy(), digits.load()
    right = task.train["label"] == plain.train["label"]
    assert np.mean(right) == pytest.approx(1 - digits.WRONG, abs=0.05)  # four deviations of 1437 draws
    np.testing.assert_array_equal(task.train["image"], plain.train["image"])
    np.testing.assert_array_equal(task.test["label"], plain.test["label"])


def test_diabetes_learns_with_a_point_and_with_a_distribution(tmp_path):
    argv = "--task diabetes --objective squared_error,gaussian_nll_loss --seeds 1 --steps 200 --evaluate-every 200"
    assert main([*argv.split(), "--out", str(tmp_path)]) == 0
    point, distribution = json.loads((tmp_path / "results.json").read_text())["entries"]
    # Least squares on all ten measurements explains 0.33 of this split's variance; 0 knows the mean alone.
    assert point["final"]["test/r2"]["mean"] > 0.15
    assert distribution["final"]["test/r2"]["mean"] > 0.15
