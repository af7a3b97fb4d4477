"""Cases of the losses for calibrated confidence."""

from contracts.cases.objectives._shared import BATCH_COUPLED, BIN_FAULTS, CLASS_FAULTS, by_class
from contracts.objective_checks import Objective

import objectives

CASES = [
    by_class(
        "dual_focal_loss",
        objectives.dual_focal_loss,
        hyperparameters={"gamma": (0.0, 5.0)},
        refused={"gamma": (-1.0,)},
    ),
    by_class(
        "sample_dependent_focal_loss",
        objectives.sample_dependent_focal_loss,
        hyperparameters={"gamma": (0.0, 3.0), "hard_gamma": (2.0, 5.0), "threshold": (0.1, 0.2)},
        refused={"gamma": (-1.0,), "hard_gamma": (-1.0,), "threshold": (-0.1, 1.1)},
    ),
    by_class(
        "mbls_loss",
        objectives.mbls_loss,
        hyperparameters={"alpha": (0.0, 0.1), "margin": (0.0, 1.0)},
        refused={"alpha": (-1.0,), "margin": (-1.0,)},
        smooth=1,
    ),
    by_class(
        "acls_loss",
        objectives.acls_loss,
        hyperparameters={
            "alpha": (0.0, 0.1),
            "positive_weight": (0.0, 1.0),
            "negative_weight": (0.0, 0.1),
            "margin": (10.0, 1.0),
        },
        refused=dict.fromkeys(("alpha", "positive_weight", "negative_weight", "margin"), (-1.0,)),
        smooth=0,  # the largest logit is a constant for the other logits' gradient
    ),
    by_class("correctness_aware_loss", objectives.correctness_aware_loss),
    Objective(
        name="mmce_loss",
        function=objectives.mmce_loss,
        hyperparameters={"bandwidth": (0.1, 0.4)},
        refused={"bandwidth": (0.0, -1.0)},
        smooth=1,
        **BATCH_COUPLED,
    ),
    Objective(
        name="soft_binned_calibration_error",
        function=objectives.soft_binned_calibration_error,
        options={"num_bins": 3},
        hyperparameters={"temperature": (0.005, 0.1)},
        refused={"temperature": (0.0, -1.0)},
        **{**BATCH_COUPLED, "faults": (*CLASS_FAULTS, *BIN_FAULTS[-4:-2])},
    ),
]
