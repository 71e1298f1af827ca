"""Run exported models. Importing this needs neither torch nor transformers; `engines.export` does."""

from __future__ import annotations

from speechquant.engines.base import (
    engine_names,
    find_export,
    find_exports,
    import_engine,
    is_export,
    load_recognizer,
    register,
)
from speechquant.engines.coverage import read_coverage
from speechquant.engines.latency import LatencyResult, measure, take_turns
from speechquant.engines.manifest import Coverage, EngineFile, Manifest, OperatorRecord
from speechquant.engines.options import EngineOptions, Precision

__all__ = [
    "Coverage",
    "EngineFile",
    "EngineOptions",
    "LatencyResult",
    "Manifest",
    "OperatorRecord",
    "Precision",
    "engine_names",
    "find_export",
    "find_exports",
    "import_engine",
    "is_export",
    "load_recognizer",
    "measure",
    "read_coverage",
    "register",
    "take_turns",
]
