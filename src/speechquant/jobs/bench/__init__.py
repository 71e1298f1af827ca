"""How fast, how large, how quick to start: float and int8 on several engines, measured side by side."""

from __future__ import annotations

from speechquant.jobs.bench.audio import Audio
from speechquant.jobs.bench.job import bench
from speechquant.jobs.bench.measure import LENGTHS, measure_systems
from speechquant.jobs.bench.result import BenchInterrupted, BenchResult, Cell
from speechquant.jobs.bench.system import System
from speechquant.jobs.bench.write import write

__all__ = [
    "LENGTHS",
    "Audio",
    "BenchInterrupted",
    "BenchResult",
    "Cell",
    "System",
    "bench",
    "measure_systems",
    "write",
]
