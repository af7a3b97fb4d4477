"""Cases of distillation, and of the record of a model's past predictions."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import (
    CLASSES,
    SATURATED,
    draw_logits,
)
from contracts.common import Fault, call
from contracts.function_checks import Function, Type
from contracts.objective_checks import Objective

import objectives


def recalled(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Two epochs of a record, whichever of its functions is under test, and what the second remembers of the first."""
    memory = call(objectives.logits_memory, MEMORY)
    memory = objectives.record_logits(memory, arguments["ids"], arguments["logits"], 0)
    return objectives.recall_logits(memory, arguments["ids"], arguments["epoch"] * 0 + 1)[0]


MEMORY: dict[str, Any] = {"examples": 4, "classes": CLASSES, "delay": 1, "dtype": jnp.float32}
RECORD: dict[str, Any] = {
    "use": recalled,
    "traced": lambda generator: {
        "ids": generator.permutation(4)[:2].astype(np.int32),
        "logits": generator.normal(size=(2, CLASSES)),
        "epoch": np.int32(3),
    },
    "shape": (2, CLASSES),
}


CASES = [
    Objective(
        name="distillation_loss",
        function=objectives.distillation_loss,
        arguments=lambda generator, batch: {
            "logits": draw_logits(generator, batch),
            "teacher_logits": draw_logits(generator, batch),
        },
        differentiable=("logits",),
        masked=("logits", "teacher_logits"),
        hyperparameters={"temperature": (1.0, 5.0)},
        refused={"temperature": (0.0, -1.0)},
        degenerate={
            "saturated": {"logits": SATURATED, "teacher_logits": -SATURATED},
            "a saturated teacher": {"teacher_logits": SATURATED},
            "equal logits": {"logits": np.zeros((4, CLASSES)), "teacher_logits": np.zeros((4, CLASSES))},
            "single class": {"logits": np.ones((4, 1)), "teacher_logits": np.zeros((4, 1))},
            "empty batch": {"logits": np.ones((0, CLASSES)), "teacher_logits": np.ones((0, CLASSES))},
        },
        faults=(
            Fault({"logits": np.float32(1.0)}, ValueError),
            Fault({"teacher_logits": np.ones((4, CLASSES), np.int32)}, TypeError),
        ),
    ),
]

FUNCTIONS = [
    Function(
        name="logits_memory",
        function=objectives.logits_memory,
        static=MEMORY,
        faults=(
            Fault({"examples": 0}, ValueError),
            Fault({"classes": 2.5}, TypeError),
            Fault({"delay": True}, TypeError),
            Fault({"dtype": jnp.int32}, TypeError),
        ),
        **RECORD,
    ),
    *(
        Function(
            name=function.__name__,
            function=function,
            static={"memory": objectives.logits_memory(**MEMORY)},
            faults=(
                Fault({"ids": lambda ids: ids.astype(jnp.float32)}, TypeError),
                Fault({"epoch": jnp.zeros(2, jnp.int32)}, ValueError),
            ),
            **RECORD,
        )
        for function in (objectives.record_logits, objectives.recall_logits)
    ),
]

TYPES = [
    Type(name="LogitsMemory", type=objectives.LogitsMemory),
]
