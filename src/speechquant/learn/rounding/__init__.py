"""Weight rounding: scale table and speech -> integers on the table's grid, one registered method each."""

from speechquant.learn.rounding.adaround import AdaRound
from speechquant.learn.rounding.base import Rounding, register, rounding_method, rounding_names
from speechquant.learn.rounding.gptq import GPTQ
from speechquant.learn.rounding.nearest import Nearest
from speechquant.learn.rounding.problem import Problem
from speechquant.learn.rounding.result import Reconstruction, RoundedWeights, rounded
from speechquant.learn.rounding.run import round_weights

__all__ = [
    "GPTQ",
    "AdaRound",
    "Nearest",
    "Problem",
    "Reconstruction",
    "RoundedWeights",
    "Rounding",
    "register",
    "round_weights",
    "rounded",
    "rounding_method",
    "rounding_names",
]
