"""Run example cases with the annotations of packages checked by jaxtyping and beartype.

The import hook has to come before the packages, so `test_annotations.py` runs this in a process of its own. Cases are
traced, not executed: shapes, dtypes and types are all there while JAX traces.
"""

import functools
import importlib
from typing import Any

import jax
import numpy as np
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# An int may be given for a float, as PEP 484 and every type checker have it.
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))


@functools.singledispatch
def exercise(case: Any) -> None:
    raise TypeError(f"no way to exercise {type(case).__name__}")


def main(packages: list[str], modules: list[str]) -> None:
    with install_import_hook(packages, "contracts.annotated.typechecker"):
        for package in packages:
            importlib.import_module(package)
    from contracts import (
        aggregator_checks,
        function_checks,
        gradient_checks,
        objective_checks,
        optimizer_checks,
        training_checks,
    )

    @exercise.register
    def _(case: objective_checks.Objective) -> None:
        where = {"where": np.ones(case.mask_shape(case.batches[0]), bool)} if case.masked else {}
        for arguments in case.label_kinds(case.example()):
            jax.eval_shape(case.value_and_gradients, {**arguments, **where})
        for batch in case.batches:
            jax.eval_shape(case.value_and_gradients, case.example(batch=batch))
        if case.hyperparameters:  # as floats, and traced
            last = {name: values[-1] for name, values in case.hyperparameters.items()}
            traced = jax.tree.map(np.float32, last)
            jax.eval_shape(lambda: case.value_and_gradients({**arguments, **last}))
            jax.eval_shape(lambda given: case.value_and_gradients({**arguments, **given}), traced)

    @exercise.register
    def _(case: optimizer_checks.Transformation) -> None:
        for tx in case.variants().values():
            shapes = optimizer_checks.parameters(), optimizer_checks.gradients()
            jax.eval_shape(lambda params, grads, tx=tx: optimizer_checks.trajectory(tx, params, grads), *shapes)

    @exercise.register
    def _(case: gradient_checks.GradientRule) -> None:
        for rule in case.variants().values():
            jax.eval_shape(rule(case.loss), *gradient_checks.arguments())
            jax.eval_shape(rule(case.loss_and_aux, True), *gradient_checks.arguments())

    @exercise.register
    def _(case: aggregator_checks.Aggregator) -> None:
        jax.eval_shape(case.aggregate, case.gradients())

    @exercise.register
    def _(case: function_checks.Function) -> None:
        if case.host:
            case.evaluate(case.example())
        else:
            jax.eval_shape(case.evaluate, case.example())

    @exercise.register
    def _(case: function_checks.Type) -> None:
        pass

    @exercise.register
    def _(case: training_checks.TrainStep) -> None:
        jax.eval_shape(case.step(), case.state(), training_checks.examples())

    cases = [
        case
        for module in map(importlib.import_module, modules)
        for group in vars(module).values()
        if isinstance(group, list)
        for case in group
        if not isinstance(case, tuple)  # what Optax's suite and the train step run, cases themselves beside that
    ]
    assert cases, f"no cases in {modules}"
    for case in cases:
        try:
            exercise(case)
        except Exception as error:
            raise SystemExit(f"{case.name}: {type(error).__name__}: {error}") from error
    print(f"{len(cases)} cases keep to their annotations")
