"""Gradient rules, aggregators, Optax transformations, and the train step that joins them.

| where | what |
|---|---|
| `gradients/` | how to differentiate: `backprop`, `accumulate`, `per_task`, `StatefulRule` |
| | sharpness-aware: `sam`, `gsam`, `fisher_sam` |
| | adversarial: `adversarial_weight_perturbation`, `adversarial_model_perturbation` |
| | small gradients: `gradient_norm_regularization`, `gam` |
| `aggregation/` | many gradients to one: `pcgrad`, `upgrad`, `mgda`, `cagrad`, `aligned_mtl` and others |
| `adaptive.py` | Adam and its family: `adam`, `adamw`, `adamax`, `scale_by_adam` |
| `ademamix.py` | `ademamix`, `scale_by_ademamix` and the schedules of its two warm-ups |
| `momentum.py` | `sgdw`, `normalized_weight_decay` |
| `sign.py` | sign momentum: `lion`, `scale_by_lion` |
| `clipping.py` | `clip_by_global_norm` |
| `training.py` | `TrainState`, `make_train_step` |

Everything is an ordinary JAX or Optax object and works without the rest.
"""

from optimizers.adaptive import adam, adamax, adamw, scale_by_adam
from optimizers.ademamix import ademamix, ademamix_alpha_schedule, ademamix_b3_schedule, scale_by_ademamix
from optimizers.aggregation import (
    aligned_mtl,
    aligned_mtl_weights,
    bloop,
    cagrad,
    cagrad_weights,
    config,
    config_weights,
    cr_mogm,
    cross_gramian,
    dual_cone_projection_weights,
    dualproj,
    dualproj_weights,
    excess_mtl,
    fairgrad,
    fairgrad_weights,
    imtl_g,
    imtl_g_weights,
    krum,
    krum_weights,
    m_config,
    mean_tasks,
    mgda,
    mgda_weights,
    modo,
    modo_weights,
    nash_mtl,
    nash_mtl_weights,
    pcd,
    pcd_weights,
    pcgrad,
    pcgrad_weights,
    rgw,
    rgw_weights,
    sdmgrad,
    sdmgrad_weights,
    sum_tasks,
    upgrad,
    upgrad_weights,
)
from optimizers.clipping import clip_by_global_norm
from optimizers.gradients import (
    GradientRule,
    StatefulRule,
    accumulate,
    adversarial_model_perturbation,
    adversarial_weight_perturbation,
    backprop,
    fisher_sam,
    gam,
    gradient_norm_regularization,
    gsam,
    per_task,
    sam,
)
from optimizers.momentum import normalized_weight_decay, sgdw
from optimizers.sign import lion, scale_by_lion
from optimizers.training import TrainState, make_train_step

__all__ = [
    "GradientRule",
    "StatefulRule",
    "TrainState",
    "accumulate",
    "adam",
    "adamax",
    "adamw",
    "ademamix",
    "ademamix_alpha_schedule",
    "ademamix_b3_schedule",
    "adversarial_model_perturbation",
    "adversarial_weight_perturbation",
    "aligned_mtl",
    "aligned_mtl_weights",
    "backprop",
    "bloop",
    "cagrad",
    "cagrad_weights",
    "clip_by_global_norm",
    "config",
    "config_weights",
    "cr_mogm",
    "cross_gramian",
    "dual_cone_projection_weights",
    "dualproj",
    "dualproj_weights",
    "excess_mtl",
    "fairgrad",
    "fairgrad_weights",
    "fisher_sam",
    "gam",
    "gradient_norm_regularization",
    "gsam",
    "imtl_g",
    "imtl_g_weights",
    "krum",
    "krum_weights",
    "lion",
    "m_config",
    "make_train_step",
    "mean_tasks",
    "mgda",
    "mgda_weights",
    "modo",
    "modo_weights",
    "nash_mtl",
    "nash_mtl_weights",
    "normalized_weight_decay",
    "pcd",
    "pcd_weights",
    "pcgrad",
    "pcgrad_weights",
    "per_task",
    "rgw",
    "rgw_weights",
    "sam",
    "scale_by_adam",
    "scale_by_ademamix",
    "scale_by_lion",
    "sdmgrad",
    "sdmgrad_weights",
    "sgdw",
    "sum_tasks",
    "upgrad",
    "upgrad_weights",
]
