"""What is learned from speech beyond scales: how weights are rounded."""

from speechquant.learn.rounding import (
    Reconstruction,
    RoundedWeights,
    Rounding,
    register,
    round_weights,
    rounded,
    rounding,
    rounding_names,
)

__all__ = [
    "Reconstruction",
    "RoundedWeights",
    "Rounding",
    "register",
    "round_weights",
    "rounded",
    "rounding",
    "rounding_names",
]
