"""Calibrators: histogram -> scale, one registered pure function each."""

from speechquant.numerics.calibrators.base import (
    MIN_SCALE,
    Calibrator,
    calibrate,
    calibrate_many,
    calibrator,
    calibrator_names,
    calibrator_options,
    register,
    threshold,
)
from speechquant.numerics.calibrators.entropy import Entropy
from speechquant.numerics.calibrators.max import Max
from speechquant.numerics.calibrators.mse import Mse
from speechquant.numerics.calibrators.percentile import Percentile
from speechquant.numerics.calibrators.stablequant import StableQuant

__all__ = [
    "MIN_SCALE",
    "Calibrator",
    "Entropy",
    "Max",
    "Mse",
    "Percentile",
    "StableQuant",
    "calibrate",
    "calibrate_many",
    "calibrator",
    "calibrator_names",
    "calibrator_options",
    "register",
    "threshold",
]
