"""Methods side by side: the tables and figures of the paper for any model and speech. Needs torch."""

from __future__ import annotations

from speechquant.jobs.comparison.job import compare
from speechquant.jobs.comparison.result import CompareInterrupted, CompareResult, Row

__all__ = ["CompareInterrupted", "CompareResult", "Row", "compare"]
