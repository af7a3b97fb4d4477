"""Cases of the losses of images."""

import jax.numpy as jnp
import numpy as np
from contracts.cases.objectives._shared import IMAGE_FAULTS, IMAGE_PAIRS, draw_images
from contracts.common import Fault
from contracts.objective_checks import Objective

import objectives

CASES = [
    Objective(
        name="structural_similarity",
        function=objectives.structural_similarity,
        arguments=draw_images(11, 12, 1),
        hyperparameters={"data_range": (255.0, 1.0)},
        refused={"data_range": (0.0, -1.0)},
        degenerate={
            "black": {"predictions": np.zeros((2, 11, 11, 1)), "targets": np.zeros((2, 11, 11, 1))},
            "equal": {"predictions": np.ones((2, 11, 11, 1)), "targets": np.ones((2, 11, 11, 1))},
        },
        faults=(*IMAGE_FAULTS, Fault({"predictions": np.ones((2, 5, 5, 1), np.float32)}, (TypeError, ValueError), ())),
        **IMAGE_PAIRS,
    ),
    Objective(
        name="photometric_loss",
        function=objectives.photometric_loss,
        arguments=draw_images(2),
        hyperparameters={"alpha": (0.0, 1.0, 0.85)},
        refused={"alpha": (-0.1, 1.1)},
        degenerate={"equal": {"predictions": np.ones((2, 3, 4, 2)), "targets": np.ones((2, 3, 4, 2))}},
        faults=IMAGE_FAULTS,
        removable=False,  # pixels are neighbours
        **{**IMAGE_PAIRS, "batches": ((2, 3, 4), (3, 2))},
    ),
    Objective(
        name="disparity_smoothness_loss",
        function=objectives.disparity_smoothness_loss,
        arguments=lambda generator, batch: {
            "disparities": generator.random((*batch, 3, 4)),
            "images": generator.random((*batch, 3, 4, 2)),
        },
        batches=((2,), ()),
        differentiable=("disparities",),
        masked=("disparities", "images"),
        degenerate={
            "flat": {"disparities": np.ones((2, 3, 4))},
            "one pixel": {"disparities": np.ones((2, 1, 1)), "images": np.ones((2, 1, 1, 1))},
        },
        faults=(Fault({"disparities": np.ones(2, np.float32)}, ValueError),),
        smooth=1,
    ),
    Objective(
        name="silog_loss",
        function=objectives.silog_loss,
        arguments=lambda generator, batch: {
            "predictions": 0.5 + generator.random(batch),
            "targets": 0.5 + generator.random(batch),
        },
        batches=((2, 3, 4), (2, 3)),
        differentiable=("predictions", "targets"),
        masked=("predictions", "targets"),
        integers=True,
        shape=lambda batch: batch[:-2],
        hyperparameters={"variance_focus": (0.0, 1.0, 0.85)},
        refused={"variance_focus": (-0.1, 1.1)},
        degenerate={
            "equal": {"predictions": np.ones((2, 3, 4)), "targets": np.ones((2, 3, 4))},
            "far": {"predictions": np.full((2, 3, 4), 1e4), "targets": np.full((2, 3, 4), 1e-4)},
        },
        faults=(Fault({"predictions": lambda x: jnp.ones(x.shape, jnp.int32)}, TypeError),),
        removable=False,  # an image does not stay one without some of its pixels
    ),
    Objective(
        name="total_variation",
        function=objectives.total_variation,
        arguments=draw_images(3, 4, 2, names=("images",)),
        batches=((2,), ()),
        differentiable=("images",),
        masked=("images",),
        degenerate={"flat": {"images": np.ones((2, 3, 4, 1))}, "one pixel": {"images": np.ones((2, 1, 1, 1))}},
        faults=(Fault({"images": np.ones(2, np.float32)}, ValueError),),
        smooth=1,
    ),
]
