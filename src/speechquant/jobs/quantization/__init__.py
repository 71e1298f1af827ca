"""The main job. Needs torch; nothing else of jobs does unless it is given a float model."""

from __future__ import annotations

from speechquant.jobs.quantization.findings import Findings
from speechquant.jobs.quantization.job import Outcome, quantize

__all__ = ["Findings", "Outcome", "quantize"]
