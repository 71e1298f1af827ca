"""Bits per weight matrix without training: how much each costs in accuracy and in bytes, and the best choice."""

from speechquant.learn.allocation.base import Criterion, criterion, criterion_names, register
from speechquant.learn.allocation.budget import Budget
from speechquant.learn.allocation.candidates import (
    OTHER_BITS,
    Candidates,
    Matrix,
    Rule,
    bits_of,
    candidates_of,
    is_searched,
)
from speechquant.learn.allocation.fisher import Fisher
from speechquant.learn.allocation.hessian import Hessian, traces
from speechquant.learn.allocation.kl import OutputDivergence
from speechquant.learn.allocation.programme import solve
from speechquant.learn.allocation.result import Allocation, Choice
from speechquant.learn.allocation.run import allocate, choose, cost_key, float_bytes, sensitivities
from speechquant.learn.allocation.speech import Speech

__all__ = [
    "OTHER_BITS",
    "Allocation",
    "Budget",
    "Candidates",
    "Choice",
    "Criterion",
    "Fisher",
    "Hessian",
    "Matrix",
    "OutputDivergence",
    "Rule",
    "Speech",
    "allocate",
    "bits_of",
    "candidates_of",
    "choose",
    "cost_key",
    "criterion",
    "criterion_names",
    "float_bytes",
    "is_searched",
    "register",
    "sensitivities",
    "solve",
    "traces",
]
