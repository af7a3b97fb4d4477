"""Losses of real predictions against real targets; nothing is broadcast.

One value per entry, from the residual (predictions minus targets) alone:

- `errors`: squared and absolute error, Huber, pseudo-Huber, log-cosh, smooth L1, balanced L1
- `robust`: losses that give up on outliers (Cauchy, Geman-McClure, Welsch, Tukey) and the general robust loss
- `asymmetric`: quantile (pinball) and expectile losses
- `relative`: logarithmic and percentage errors

Beyond single entries:

- `ratios`: one value per row, an aggregate of errors over one of the targets (RMSE, RAE, RSE, R², NRMSE, RRMSE)
- `histogram`, `bits`: regression as classification (HL-Gauss, bins; binary numbers)
- `weak`: mean responses of bags, labels that can only be too low
- `boosting`: the stages of an ensemble of networks

To add a loss of the residual, write its ρ:

    entries = pair("fair_loss", predictions, targets, where)
    scale = hyperparameter("fair_loss", "scale", scale, entries.dtype, 0, open_low=True)
    ratio = jnp.abs(entries.error) / scale
    return finish(scale**2 * (ratio - jnp.log1p(ratio)), entries.kept)
"""

from objectives.regression.asymmetric import expectile_loss, quantile_loss
from objectives.regression.bits import (
    binary_encoding_loss,
    binary_target_decoding,
    binary_target_encoding,
    neural_field_classifier_loss,
)
from objectives.regression.boosting import grownet_corrective_loss, grownet_ranking_loss, grownet_stage_loss
from objectives.regression.errors import (
    absolute_error,
    balanced_l1_loss,
    huber_loss,
    log_cosh_loss,
    pseudo_huber_loss,
    smooth_l1_loss,
    squared_error,
)
from objectives.regression.histogram import (
    discretize_targets,
    histogram_mean,
    hl_gauss_loss,
    hl_gauss_targets,
    regression_with_classification_loss,
)
from objectives.regression.ratios import (
    mean_bias_error,
    normalized_root_mean_squared_error,
    r2_score,
    relative_absolute_error,
    relative_root_mean_squared_error,
    relative_squared_error,
    root_mean_squared_error,
    root_mean_squared_log_error,
)
from objectives.regression.relative import (
    absolute_percentage_error,
    squared_log_error,
    symmetric_absolute_percentage_error,
)
from objectives.regression.robust import (
    cauchy_loss,
    geman_mcclure_loss,
    general_robust_loss,
    tukey_biweight_loss,
    welsch_loss,
)
from objectives.regression.weak import bag_level_loss, private_bag_means, u2_regression_loss

__all__ = [
    "absolute_error",
    "absolute_percentage_error",
    "bag_level_loss",
    "balanced_l1_loss",
    "binary_encoding_loss",
    "binary_target_decoding",
    "binary_target_encoding",
    "cauchy_loss",
    "discretize_targets",
    "expectile_loss",
    "geman_mcclure_loss",
    "general_robust_loss",
    "grownet_corrective_loss",
    "grownet_ranking_loss",
    "grownet_stage_loss",
    "histogram_mean",
    "hl_gauss_loss",
    "hl_gauss_targets",
    "huber_loss",
    "log_cosh_loss",
    "mean_bias_error",
    "neural_field_classifier_loss",
    "normalized_root_mean_squared_error",
    "private_bag_means",
    "pseudo_huber_loss",
    "quantile_loss",
    "r2_score",
    "regression_with_classification_loss",
    "relative_absolute_error",
    "relative_root_mean_squared_error",
    "relative_squared_error",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
    "smooth_l1_loss",
    "squared_error",
    "squared_log_error",
    "symmetric_absolute_percentage_error",
    "tukey_biweight_loss",
    "u2_regression_loss",
    "welsch_loss",
]
