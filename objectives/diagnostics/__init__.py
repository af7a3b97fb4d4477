"""Diagnostics: what you measure and do not minimise.

- `calibration`: reliability diagrams and calibration errors, Brier decomposition, temperature scaling, angular visual
  hardness, multicalibration and omniprediction
"""

from objectives.diagnostics.calibration import (
    BrierDecomposition,
    CalibrationBins,
    angular_visual_hardness,
    brier_decomposition,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    multiaccuracy_error,
    multicalibration_error,
    omniprediction,
    reliability_diagram,
)

__all__ = [
    "BrierDecomposition",
    "CalibrationBins",
    "angular_visual_hardness",
    "brier_decomposition",
    "classwise_calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "multiaccuracy_error",
    "multicalibration_error",
    "omniprediction",
    "reliability_diagram",
]
