"""What the program does, one flat script per job. Torch is imported only by the jobs that need a float model."""

from __future__ import annotations

from speechquant.jobs.bench import BenchInterrupted, BenchResult, bench
from speechquant.jobs.engines import EngineReport, engines
from speechquant.jobs.evaluate import EvaluationReport, evaluate
from speechquant.jobs.export import EngineExport, export
from speechquant.jobs.inspect import Inspection, inspect
from speechquant.jobs.progress import Advance, Progress, Silent
from speechquant.jobs.recipe import Recipe, load_recipe
from speechquant.jobs.transcribe import FileTranscript, transcribe
from speechquant.jobs.verbs import Model, compare, learn, load, quantize
from speechquant.jobs.verify import verify

__all__ = [
    "Advance",
    "BenchInterrupted",
    "BenchResult",
    "EngineExport",
    "EngineReport",
    "EvaluationReport",
    "FileTranscript",
    "Inspection",
    "Model",
    "Progress",
    "Recipe",
    "Silent",
    "bench",
    "compare",
    "engines",
    "evaluate",
    "export",
    "inspect",
    "learn",
    "load",
    "load_recipe",
    "quantize",
    "transcribe",
    "verify",
]
