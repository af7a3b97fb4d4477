"""Losses of series against series: time is the last axis `[..., T]`, or the one before features `[..., T, D]`.

- `alignment`: soft dynamic time warping, its divergence and its alignment, DILATE (shape and temporal distortion)
- `directional`: losses of predicted returns (MADL, GMADL)
- `forecasts`: errors weighted by the horizon (signal decay) or scaled by the past (MASE)
- `signal`: the signal Dice similarity coefficient (SDSC) and its hybrid with squared errors

One value per series, except for the directional losses, which give one per entry. Losses that know nothing of time are
in `regression`.
"""

from objectives.time_series.alignment import (
    dilate_loss,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_divergence,
    temporal_distortion_loss,
)
from objectives.time_series.directional import gmadl, madl
from objectives.time_series.forecasts import horizon_decay_weights, mean_absolute_scaled_error, signal_decay_loss
from objectives.time_series.signal import sdsc_hybrid_loss, sdsc_loss

__all__ = [
    "dilate_loss",
    "gmadl",
    "horizon_decay_weights",
    "madl",
    "mean_absolute_scaled_error",
    "sdsc_hybrid_loss",
    "sdsc_loss",
    "signal_decay_loss",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_divergence",
    "temporal_distortion_loss",
]
