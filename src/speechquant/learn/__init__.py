"""What is learned from speech beyond scales: how weights are rounded, and training."""

from speechquant.learn.float_model import save_float_model
from speechquant.learn.qat import Quantizers, shared_inputs
from speechquant.learn.rounding import (
    Reconstruction,
    RoundedWeights,
    Rounding,
    register,
    round_weights,
    rounded,
    rounding_method,
    rounding_names,
)

__all__ = [
    "Quantizers",
    "Reconstruction",
    "RoundedWeights",
    "Rounding",
    "register",
    "round_weights",
    "rounded",
    "rounding_method",
    "rounding_names",
    "save_float_model",
    "shared_inputs",
]
