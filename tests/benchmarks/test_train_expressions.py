"""Expressions on the command line: what they build, and what they refuse, in one line."""

import inspect

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.train import catalogue, expressions, plan
from benchmarks.train.errors import UsageError


def first_update(text, rate=lambda name: 0.5):
    tx = expressions.optimizer(text, rate)
    params = jnp.array([1.0, -2.0])
    return tx.update(jnp.array([3.0, -4.0]), tx.init(params), params)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optax.sgd(0.1)", [-0.3, 0.4]),
        ("optax.sgd", [-1.5, 2.0]),
        ("lion(1e-2, weight_decay=0.0)", [-0.01, 0.01]),
        ("chain(clip_by_global_norm(1.0), optax.sgd(1))", [-0.6, 0.8]),
        ("chain(clip_by_global_norm(10), optax.sgd)", [-1.5, 2.0]),
        ("optax.sgd(constant_schedule(0.1))", [-0.3, 0.4]),
        ("lion(-1e-2 if False else 1)", None),
    ],
)
def test_an_optimizer_expression_builds_what_it_says(text, expected):
    if expected is None:
        with pytest.raises(UsageError, match="neither a literal nor a call"):
            first_update(text)
    else:
        np.testing.assert_allclose(first_update(text), expected, rtol=1e-6)


def test_an_objective_expression_binds_its_keywords():
    scores, relevance = jnp.array([0.0, 2.0]), jnp.array([1.0, 0.0])
    poly = expressions.objective("rax.poly1_softmax_loss(epsilon=3.0)")
    # log(1 + e²) nats, and 3 times the probability that is not on the relevant item.
    expected = np.log(1 + np.exp(2.0)) + 3.0 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(poly(scores, relevance), expected, rtol=1e-6)
    smooth = expressions.objective("softmax_cross_entropy(label_smoothing=1.0)")
    np.testing.assert_allclose(
        smooth(jnp.array([[0.0, 2.0]]), jnp.array([1])), np.log(1 + np.exp(2.0)) - 1.0, rtol=1e-6
    )


def test_a_gradient_expression_nests():
    rule = expressions.gradient_rule("sam(0.1, inner=accumulate(2, inner=backprop))")
    _, gradient = rule(lambda w, batch: jnp.sum(w**2) + 0.0 * jnp.sum(batch))(jnp.array([3.0, 4.0]), jnp.zeros(2))
    np.testing.assert_allclose(gradient, [6.12, 8.16], rtol=1e-6)


def test_commas_separate_expressions():
    assert expressions.split("adamw,  ademamix( 1e-3,alpha = 5 )", "--optimizer") == [
        "adamw",
        "ademamix(0.001, alpha=5)",
    ]


@pytest.mark.parametrize(
    ("build", "text", "message"),
    [
        ("optimizer", "ademmamix", "no optimizer named 'ademmamix'; did you mean 'ademamix'"),
        ("optimizer", "adamw(weight_decy=1.0)", "no keyword 'weight_decy'; did you mean 'weight_decay'"),
        ("optimizer", "adamw(1e-3, b1=1.5)", "b1"),
        ("optimizer", "adamw(1e-3, learning_rate=1e-3)", "multiple values"),
        ("optimizer", "clip_by_global_norm", "needs max_norm"),
        ("optimizer", "sam(0.05)", "a gradient rule; give it with --gradient"),
        ("optimizer", "optax.adamm", "did you mean 'adam'"),
        ("optimizer", "optax.contrib", "no function of optax"),
        ("optimizer", "optax.apply_updates", "needs params"),
        ("optimizer", "optax.__class__", "optax has no"),
        ("optimizer", "adamw.__globals__", "no optimizer named"),
        ("optimizer", "__import__('os')", "no optimizer named"),
        ("optimizer", "(lambda: 1)()", "no optimizer named"),
        ("optimizer", "adamw(**{})", "write the keywords out"),
        ("optimizer", "constant_schedule(1.0)", "is not an optimizer"),
        ("optimizer", "3", "is not an optimizer"),
        ("gradient", "sam(-1.0)", "rho"),
        ("gradient", "accumulate", "needs steps"),
        ("gradient", "backprop()", "without parentheses"),
        ("aggregate", "upgrade", "did you mean 'upgrad'"),
        ("objective", "poly_los", "did you mean 'poly_loss'"),
        ("objective", "poly_loss(1.0)", "by keyword"),
        ("objective", "rax.softmax_los", "did you mean 'softmax_loss'"),
        ("objective", "rax.utils", "no function of rax"),
        ("objective", "rax.softmax_loss(topn=1)", "no keyword 'topn'"),
        ("objective", "optax.losses.l2_loss", "no objective named"),
        ("objective", "poly_loss(where=None)", "no keyword 'where'"),
        ("objective", "poly_n_loss", "needs epsilons"),
        ("objective", "reduce_mean", "no objective named"),
    ],
)
def test_a_wrong_expression_is_one_line_with_the_nearest_name(build, text, message):
    builders = {
        "optimizer": lambda t: expressions.optimizer(t, lambda name: 0.1),
        "gradient": expressions.gradient_rule,
        "aggregate": expressions.aggregator,
        "objective": expressions.objective,
    }
    with pytest.raises(UsageError, match=message) as error:
        builders[build](text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"--{build}: ")


@pytest.mark.parametrize("text", ["adamw(", "adamw)", "", "a b", "()", "(" * 500, "x\0"])
def test_what_cannot_be_read_is_one_line(text):
    with pytest.raises(UsageError) as error:
        expressions.split(text, "--optimizer")
    assert "\n" not in str(error.value)


def test_learning_rates_fill_in_what_an_optimizer_leaves_out():
    rates = plan.LearningRates("1e-2", 100, 3e-3)
    schedule = rates("adamw")
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(100)], [0.0, 1e-2, 0.0], atol=1e-9)
    assert rates.asked
    default = plan.LearningRates(None, 100, 3e-3)
    np.testing.assert_allclose([default("adamw")(5), default("lion")(5)], [3e-3, 1e-3], rtol=1e-6)
    own = plan.LearningRates("cosine_decay_schedule(1e-3, 10)", 100, 3e-3)("adamw")
    np.testing.assert_allclose(own(0), 1e-3, rtol=1e-6)


def test_losses_without_labels_or_targets_are_objectives():
    objectives = catalogue.functions_of("objective")
    assert {"cox_partial_likelihood_loss", "aft_loss", "tobit_nll_loss", "neural_ndcg_loss"} <= set(objectives)
    assert "concordance_index" not in objectives  # measured, not minimised


def test_all_aggregators_are_the_public_ones():
    made = catalogue.aggregators_of_tasks(3)
    assert {"pcgrad", "upgrad", "mgda", "graddrop", "gradnorm(tasks=3)", "moco(tasks=3)"} <= set(made)
    asking = {"cr_mogm", "shared_only", "trimmed_mean"}  # for a weighting, a path predicate, how many to trim
    public = set(catalogue.functions_of("aggregate")) - asking - catalogue.SPECIAL
    assert {text.partition("(")[0] for text in made} == public
    for text in made:
        expressions.aggregator(text)


def arrays_of(function):
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY}


def test_every_public_name_that_trains_a_model_has_a_kind():
    import objectives
    import optimizers

    shown = {name for kind in catalogue.KINDS for name in catalogue.functions_of(kind)}
    losses = {name: getattr(objectives, name) for name in set(objectives.__all__) - set(objectives.diagnostics.__all__)}
    supervised = {name for name, function in losses.items() if {"labels", "targets"} & arrays_of(function)}
    assert supervised <= shown
    assert {"softmax_cross_entropy", "arcface_loss", "dice_loss", "huber_loss"} <= supervised
    assert {"adamw", "ademamix", "lion", "sam", "per_task", "pcgrad", "upgrad", "clip_by_global_norm"} <= shown
    assert shown - {"chain"} - set(objectives.__all__) - set(optimizers.__all__) <= set(dir(optax.schedules))
