"""Cases of the gradient rules."""

from contracts.common import Fault
from contracts.gradient_checks import GradientRule

import optimizers

INNER_FAULT = Fault({"inner": "backprop"}, TypeError)
# Around accumulated gradients, the rules that perturb the parameters are tested in tests/optimizers/gradients.
INNER = {"inner": optimizers.backprop}
RULES = [
    GradientRule(name="backprop", function=optimizers.backprop, factory=False, source=False),
    GradientRule(
        name="accumulate",
        function=optimizers.accumulate,
        arguments={"steps": 2},
        switches={"inner": optimizers.sam(0.1)},
        faults=(INNER_FAULT, Fault({"steps": 0}, ValueError), Fault({"steps": 2.0}, TypeError)),
        source=False,
    ),
    GradientRule(
        name="per_task",
        function=optimizers.per_task,
        switches={"sequential": True},
        elsewhere=("shared",),
        per_task=True,
    ),
    GradientRule(
        name="sam",
        function=optimizers.sam,
        arguments={"eta": 0.01},
        hyperparameters={"rho": 0.1},
        schedules=("rho",),
        refused={"rho": (-0.1,), "eta": (-0.1,)},
        switches={"adaptive": True, "inner": optimizers.accumulate(2)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="sam[adaptive]",
        function=optimizers.sam,
        arguments={"adaptive": True},
        hyperparameters={"rho": 0.1, "eta": 0.1},
        elsewhere=("inner",),
    ),
    GradientRule(
        name="gsam",
        function=optimizers.gsam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "alpha": 0.4},
        schedules=("rho", "alpha"),
        refused={"rho": (-0.1,), "alpha": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="fisher_sam",
        function=optimizers.fisher_sam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "eta": 1.0},
        schedules=("rho", "eta"),
        refused={"rho": (-0.1,), "eta": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
    GradientRule(
        name="adversarial_weight_perturbation",
        function=optimizers.adversarial_weight_perturbation,
        arguments={**INNER, "min_ndim": 1},
        hyperparameters={"gamma": 0.1},
        schedules=("gamma",),
        refused={"gamma": (-0.1,)},
        faults=(INNER_FAULT, Fault({"min_ndim": 0}, ValueError), Fault({"min_ndim": 1.5}, TypeError)),
    ),
    GradientRule(
        name="adversarial_model_perturbation",
        function=optimizers.adversarial_model_perturbation,
        arguments={**INNER, "steps": 2},
        hyperparameters={"epsilon": 0.1, "inner_rate": 0.5},
        schedules=("epsilon", "inner_rate"),
        refused={"epsilon": (-0.1,), "inner_rate": (-0.1,)},
        switches={"per_leaf": True},
        faults=(INNER_FAULT, Fault({"steps": 0}, ValueError), Fault({"steps": 1.5}, TypeError)),
    ),
    # epsilon, a length to divide by, may not be zero: tests/optimizers/gradients sweeps and schedules it.
    GradientRule(
        name="gradient_norm_regularization",
        function=optimizers.gradient_norm_regularization,
        arguments={**INNER, "epsilon": 0.1, "mode": "centered"},
        hyperparameters={"gamma": 0.1},
        schedules=("gamma",),
        refused={"gamma": (-0.1,), "epsilon": (-0.1, 0.0)},
        switches={"squared": False},
        faults=(INNER_FAULT, Fault({"mode": "upward"}, ValueError), Fault({"epsilon": "long"}, TypeError)),
    ),
    GradientRule(
        name="gam",
        function=optimizers.gam,
        arguments=INNER,
        hyperparameters={"rho": 0.1, "norm_rho": 0.2, "alpha": 0.03, "beta": 1.0},
        schedules=("norm_rho",),
        refused={"rho": (-0.1,), "norm_rho": (-0.1,), "alpha": (-0.1,), "beta": (-0.1,)},
        faults=(INNER_FAULT,),
    ),
]
