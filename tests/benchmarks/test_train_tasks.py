"""The tasks about losses: what their data is, that every loss they compare gets its arrays, and that one learns."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    label_ranking_loss,
    ndcg_score,
    roc_auc_score,
)

from benchmarks.train import expressions
from benchmarks.train.cli import main
from benchmarks.train.tasks import TASKS, attributes, digits, embeddings, ordinal, ranking, series, survival
from objectives import soft_dtw


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("digits", "text", "multitask")])
def test_every_loss_compared_has_its_arrays(name):
    task = TASKS[name]()
    params = jax.eval_shape(task.init, jax.random.key(0))
    batch = jax.eval_shape(lambda key: task.sample(task.train, key, jnp.int32(0), 8), jax.random.key(0))
    for entry in task.defaults.entries:
        objective = expressions.objective(entry["objective"])
        loss, _ = jax.eval_shape(task.loss(objective, False), params, batch, jax.random.key(0))
        assert loss.shape == ()
        metrics = jax.eval_shape(lambda p, t, f=objective: task.evaluate(f, p, t), params, task.test)
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


# The tasks of the other families


def final(tmp_path, argv):
    assert main([*argv.split(), "--seeds", "1", "--out", str(tmp_path)]) == 0
    return [
        {name: value["mean"] for name, value in entry["final"].items()}
        for entry in json.loads((tmp_path / "results.json").read_text())["entries"]
    ]


def test_few_digits_are_as_many_of_each():
    task, plain = digits.load_few(), digits.load()
    np.testing.assert_array_equal(np.bincount(task.train["label"]), np.full(10, 20))
    np.testing.assert_array_equal(task.test["image"], plain.test["image"])
    calibrated = digits.load_calibrated()
    np.testing.assert_array_equal(np.bincount(calibrated.train["label"]), np.full(10, 10))
    assert calibrated.metrics[0].name == "calibration"


def test_retrieval_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=(9, 3)).astype(np.float32), generator.integers(0, 3, 9)
    precision, recall = embeddings.retrieval(jnp.asarray(points), jnp.asarray(labels))
    precisions, hits = [], []
    for query in range(9):
        others = np.arange(9) != query
        scores, relevant = points[others] @ points[query], labels[others] == labels[query]
        precisions.append(average_precision_score(relevant, scores) if relevant.any() else 0.0)
        hits.append(relevant[np.argmax(scores)])
    assert float(precision) == pytest.approx(np.mean(precisions), rel=1e-5)
    assert float(recall) == pytest.approx(np.mean(hits), rel=1e-6)


def test_embeddings_find_their_digit(tmp_path):
    argv = "--task digit_embeddings --objective arcface_loss(scale=16.0) --steps 120 --evaluate-every 120"
    (entry,) = final(tmp_path, argv)
    assert entry["test/accuracy"] > 0.8  # chance is a tenth
    assert entry["test/recall"] > 0.8
    assert entry["test/precision"] > 0.5


def test_every_digit_has_an_attribute_and_lacks_one():
    has = attributes.load().test["labels"].sum(-1)
    assert has.min() >= 1
    assert has.max() < len(attributes.ATTRIBUTES)


def test_scores_of_attributes_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = attributes.load().test["labels"][:200]
    logits = (2 * labels - 1 + generator.normal(size=labels.shape)).astype(np.float32)
    metrics = attributes._evaluate(None, {"logits": jnp.asarray(logits)}, {"labels": jnp.asarray(labels)})
    assert float(metrics["macro_auc"]) == pytest.approx(roc_auc_score(labels, logits, average="macro"), rel=1e-5)
    assert float(metrics["ranking_loss"]) == pytest.approx(label_ranking_loss(labels, logits), rel=1e-5)
    exact = accuracy_score(labels > 0, logits > 0)
    assert 0.0 < exact < 1.0
    assert float(metrics["exact"]) == pytest.approx(exact, abs=1e-6)


def test_attributes_are_learnt(tmp_path):
    (entry,) = final(tmp_path, "--task digit_attributes --objective zlpr_loss --steps 60 --evaluate-every 60")
    assert entry["test/macro_auc"] > 0.85  # chance is a half
    assert entry["test/ranking_loss"] < 0.15


def test_lists_are_of_numbers_side_by_side():
    images = jnp.arange(3.0)[:, None, None] * jnp.ones((3, 8, 8))
    arrays = {"image": images, "label": jnp.array([4, 0, 7])}
    batch = ranking._lists(arrays, np.array([[[0, 1], [2, 2]]]))
    np.testing.assert_allclose(batch["targets"], [[40 / 20, 77 / 20]])
    assert batch["x"].shape == (1, 2, 8, 16)
    np.testing.assert_array_equal(batch["x"][0, :, 0, ::8], [[0, 1], [2, 2]])


def test_ranks_and_orders_of_lists():
    targets = jnp.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    scores = jnp.array([[-5.0, 0.0, 9.0], [2.0, 3.0, 1.0]])
    metrics = ranking._evaluate(None, {"scores": scores}, {"targets": targets})
    assert float(metrics["ranks"]) == pytest.approx(4 / 6)
    assert float(metrics["orders"]) == 0.5
    expected = np.mean([ndcg_score([2**t - 1.0], [s]) for t, s in zip(np.asarray(targets), np.asarray(scores))])
    assert float(metrics["ndcg"]) == pytest.approx(expected, rel=1e-5)


def test_order_alone_is_learnt_with_a_loss_of_rax(tmp_path):
    argv = "--task ordered_digits --objective rax.listmle_loss --steps 80 --evaluate-every 80"
    (entry,) = final(tmp_path, argv)
    assert entry["test/ranks"] > 0.4  # chance is a fifth
    assert entry["test/ndcg"] > 0.85


def test_grades_are_as_frequent_as_each_other():
    task = ordinal.load()
    counts = np.bincount(task.train["labels"])
    assert len(counts) == ordinal.GRADES
    assert counts.max() - counts.min() <= 4  # 221 patients, some of the same progression


def test_kappa_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    predicted, labels = generator.integers(0, 5, (2, 40))
    expected = cohen_kappa_score(predicted, labels, weights="quadratic")
    assert float(ordinal.quadratic_kappa(jnp.asarray(predicted), jnp.asarray(labels))) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "coral_loss", "corn_loss", "cumulative_link_loss"])
def test_a_head_gives_the_probabilities_that_its_loss_takes(name):
    """The negative log likelihood of the label; CORAL's loss is none, but it is least where its steps are right."""
    outputs = {
        "logits": jnp.array([[0.3, -1.0, 2.0, 0.5, 0.0]]),
        "scores": jnp.array([0.7]),
        "steps": jnp.array([[2.0, 0.5, -0.4, 0.1]]),
        "thresholds": jnp.array([-2.0, -0.5, 0.9, 1.7]),
    }
    head = ordinal.HEADS.get(name, ordinal.SOFTMAX)
    probabilities = head.probabilities(*head.arrays(outputs).values())
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-6)
    assert probabilities.min() >= 0
    rise = {"logits": jnp.arange(5.0), "scores": 1.0, "steps": 1.0, "thresholds": 0.0}
    higher = head.probabilities(*head.arrays({key: outputs[key] + rise[key] for key in outputs}).values())
    assert higher[0] @ jnp.arange(5.0) > probabilities[0] @ jnp.arange(5.0)
    objective = expressions.objective(name)
    losses = [ordinal._values(objective, outputs | {"labels": jnp.array([k])})[0] for k in range(5)]
    if name != "coral_loss":
        np.testing.assert_allclose(losses, -jnp.log(probabilities[0]), rtol=1e-5)
    assert np.argmin(losses) == np.argmax(probabilities)


def test_grades_are_learnt(tmp_path):
    (entry,) = final(tmp_path, "--task graded_diabetes --objective corn_loss --steps 200 --evaluate-every 200")
    assert entry["test/distance"] < 1.1  # the middle grade for everybody is wrong by 1.2 on average
    assert entry["test/kappa"] > 0.4


def test_censored_patients_are_known_to_a_bound():
    task = survival.load()
    train, truth = task.train, survival.load_diabetes_split(held_out=0.5)[0]["targets"]
    events = train["events"]
    assert 0.3 < np.mean(events) < 0.7
    np.testing.assert_array_equal(train["times"][events], truth[events])
    assert np.all(train["times"] <= truth)
    assert np.all(np.isinf(train["upper"]) == ~events)
    assert set(train["durations"]) == set(range(survival.INTERVALS))


def test_times_expected_are_the_medians_and_means_of_their_distributions():
    outputs = {
        "location": jnp.array([0.3]),
        "log_scale": jnp.array([-0.5]),
        "logits": jnp.linspace(-1.0, 2.0, survival.INTERVALS)[None],
        "log_hazards": jnp.array([2.0]),
    }

    def late(text):
        value, is_time = survival._lateness(expressions.objective(text), outputs)
        return float(value[0]), is_time

    scale = np.exp(-0.5)
    weibull = scipy.stats.weibull_min(1 / scale, scale=np.exp(0.3)).median()
    assert late("aft_loss") == (pytest.approx(weibull, rel=1e-5), True)
    median = scipy.stats.lognorm(scale, scale=np.exp(0.3)).median()
    assert late("aft_loss(distribution='log_normal')") == (pytest.approx(median, rel=1e-5), True)
    hazards = 1 / (1 + np.exp(-np.linspace(-1.0, 2.0, survival.INTERVALS)))
    survived = np.cumprod(1 - hazards)
    assert late("logistic_hazard_loss") == (pytest.approx(survived.sum(), rel=1e-5), False)
    chances = np.exp([*np.linspace(-1.0, 2.0, survival.INTERVALS), 0.0])
    mean = chances @ np.arange(survival.INTERVALS + 1) / chances.sum()
    assert late("pmf_survival_loss") == (pytest.approx(mean, rel=1e-5), False)
    assert late("cox_partial_likelihood_loss") == (-2.0, False)


def test_censored_times_are_put_in_order(tmp_path, capsys):
    argv = "--task censored_diabetes --objective tobit_nll_loss,cox_partial_likelihood_loss --steps 200"
    tobit, cox = final(tmp_path, argv + " --evaluate-every 200")
    assert tobit["test/concordance"] > 0.65  # chance is a half
    assert cox["test/concordance"] > 0.65
    assert tobit["test/absolute"] < 0.5
    assert cox["test/absolute"] is None  # a risk is no time
    assert "–" in capsys.readouterr().out


def test_rows_are_forecast(tmp_path):
    task = series.load()
    whole = np.concatenate([task.test["x"], task.test["targets"]], axis=1)
    np.testing.assert_array_equal(whole, digits.load().test["image"])
    (entry,) = final(tmp_path, "--task digit_rows --objective dilate_loss --steps 100 --evaluate-every 100")
    guess = np.broadcast_to(task.train["targets"].mean(0), task.test["targets"].shape)
    warped = np.mean(soft_dtw(guess, task.test["targets"], gamma=series.ALMOST_HARD))
    assert entry["test/shape"] < 0.8 * warped  # the mean of the training digits for everybody
