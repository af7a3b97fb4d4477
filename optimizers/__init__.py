"""Gradient rules, aggregators, layers, Optax transformations, and the train step that joins them.

| where | what |
|---|---|
| `gradients/` | how to differentiate: `backprop`, `accumulate`, `per_task`, `StatefulRule` |
| | several tasks in one backward pass: `famo`, `dwa`, `random_loss_weighting` |
| `gradients/` | how to differentiate: `backprop`, `accumulate`, `StatefulRule` |
| | several gradients: `per_task`, `per_example`, `jacobian_descent`; `private_gradient`, `privacy_epsilon` |
| `gradients/` | how to differentiate: `backprop`, `accumulate`, `grad_cache`, `per_task`, `StatefulRule` |
| | sharpness-aware: `sam`, `gsam`, `fisher_sam` |
| | adversarial: `adversarial_weight_perturbation`, `adversarial_model_perturbation` |
| | sharpness-aware: `sam`, `gsam`, `fisher_sam`, `esam`, `smooth_domain_adversarial` |
| | sharpness-aware with a memory: `looksam`, `friendly_sam` |
| | adversarial: `adversarial_weight_perturbation`, `adversarial_model_perturbation`, `robust_weight_perturbation` |
| | a teacher: `mean_teacher`; a bound on a surrogate's sharpness: `ignite`, `surrogate_sharpness` |
| | small gradients: `gradient_norm_regularization`, `gam` |
| | without backpropagation: `forward_gradient`, `guided_forward_gradient`, `spsa`, `local_perturbation` |
| `layers/` | layers with a way of their own to a gradient: `likelihood_ratio_linear`, `likelihood_ratio_noise` |
| `aggregation/` | many gradients to one: `pcgrad`, `upgrad`, `mgda`, `cagrad`, `aligned_mtl` and others |
| | by coordinate, or with a memory: `graddrop`, `trimmed_mean`, `gradvac`, `gradnorm`, `moco`, `db_mtl` |
| | of a model's output: `loss_balancer` |
| | around them: `shared_only`, `gramian`, `conflict_rate` |
| `layers/` | layers with a backward pass of their own: `feedback_alignment_dense`, `direct_feedback`, |
| | `randomized_dense`, `straight_through`, `reste`, `gumbel_topk` and others |
| `adaptive.py` | Adam and its family: `adam`, `adamw`, `adamax`, `scale_by_adam` |
| `ademamix.py` | `ademamix`, `scale_by_ademamix` and the schedules of its two warm-ups |
| `momentum.py` | `sgdw`, `normalized_weight_decay` |
| `sign.py` | sign momentum: `lion`, `scale_by_lion` |
| `clipping.py` | `clip_by_global_norm` |
| `particles.py` | sets of particles: `svgd_direction`, `ensemble_kalman_step` |
| `training.py` | `TrainState`, `make_train_step` |

Everything is an ordinary JAX or Optax object and works without the rest.
"""

from optimizers.adaptive import adam, adamax, adamw, scale_by_adam
from optimizers.ademamix import ademamix, ademamix_alpha_schedule, ademamix_b3_schedule, scale_by_ademamix
from optimizers.aggregation import (
    aligned_mtl,
    aligned_mtl_weights,
    cagrad,
    cagrad_weights,
    config,
    config_weights,
    conflict_rate,
    db_mtl,
    dual_cone_projection_weights,
    dualproj,
    dualproj_weights,
    graddrop,
    gradnorm,
    gradvac,
    gradvac_weights,
    gramian,
    imtl_g,
    imtl_g_weights,
    loss_balancer,
    mean_tasks,
    mgda,
    mgda_weights,
    moco,
    pcgrad,
    pcgrad_weights,
    rgw,
    rgw_weights,
    shared_only,
    sum_tasks,
    trimmed_mean,
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
    dwa,
    esam,
    famo,
    fisher_sam,
    forward_gradient,
    friendly_sam,
    gam,
    grad_cache,
    gradient_norm_regularization,
    gsam,
    guided_forward_gradient,
    ignite,
    jacobian_descent,
    local_perturbation,
    looksam,
    mean_teacher,
    per_example,
    per_task,
    privacy_epsilon,
    private_gradient,
    random_loss_weighting,
    robust_weight_perturbation,
    sam,
    smooth_domain_adversarial,
    spsa,
    surrogate_sharpness,
)
from optimizers.layers import (
    alignment_angle,
    direct_feedback,
    feedback_alignment_dense,
    feedback_matrices,
    gumbel_subsample_mask,
    gumbel_topk,
    likelihood_ratio_linear,
    likelihood_ratio_noise,
    likelihood_ratio_surrogate,
    product_feedback_dense,
    product_feedback_init,
    randomized_dense,
    randomized_matmul,
    randomized_matmul_variance,
    reste,
    reste_schedule,
    reverse_gradient,
    straight_through,
    subsample_entropy_penalty,
)
from optimizers.momentum import normalized_weight_decay, sgdw
from optimizers.particles import ensemble_kalman_step, svgd_direction
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
    "alignment_angle",
    "backprop",
    "cagrad",
    "cagrad_weights",
    "clip_by_global_norm",
    "config",
    "config_weights",
    "conflict_rate",
    "db_mtl",
    "direct_feedback",
    "dual_cone_projection_weights",
    "dualproj",
    "dualproj_weights",
    "dwa",
    "ensemble_kalman_step",
    "esam",
    "famo",
    "feedback_alignment_dense",
    "feedback_matrices",
    "fisher_sam",
    "forward_gradient",
    "friendly_sam",
    "gam",
    "grad_cache",
    "graddrop",
    "gradient_norm_regularization",
    "gradnorm",
    "gradvac",
    "gradvac_weights",
    "gramian",
    "gsam",
    "guided_forward_gradient",
    "gumbel_subsample_mask",
    "gumbel_topk",
    "ignite",
    "imtl_g",
    "imtl_g_weights",
    "jacobian_descent",
    "likelihood_ratio_linear",
    "likelihood_ratio_noise",
    "likelihood_ratio_surrogate",
    "lion",
    "local_perturbation",
    "looksam",
    "loss_balancer",
    "make_train_step",
    "mean_tasks",
    "mean_teacher",
    "mgda",
    "mgda_weights",
    "moco",
    "normalized_weight_decay",
    "pcgrad",
    "pcgrad_weights",
    "per_example",
    "per_task",
    "privacy_epsilon",
    "private_gradient",
    "product_feedback_dense",
    "product_feedback_init",
    "random_loss_weighting",
    "randomized_dense",
    "randomized_matmul",
    "randomized_matmul_variance",
    "reste",
    "reste_schedule",
    "reverse_gradient",
    "rgw",
    "rgw_weights",
    "robust_weight_perturbation",
    "sam",
    "scale_by_adam",
    "scale_by_ademamix",
    "scale_by_lion",
    "sgdw",
    "shared_only",
    "smooth_domain_adversarial",
    "spsa",
    "straight_through",
    "subsample_entropy_penalty",
    "sum_tasks",
    "surrogate_sharpness",
    "svgd_direction",
    "trimmed_mean",
    "upgrad",
    "upgrad_weights",
]
