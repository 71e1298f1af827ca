"""Latencies that were measured before, in the work folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from speechquant.engines import Coverage, LatencyResult
from speechquant.engines.cpu import Cpu
from speechquant.errors import EngineError
from speechquant.jobs.bench.provenance import Provenance
from speechquant.jobs.bench.result import BenchResult, Cell
from speechquant.jobs.bench.system import System

if TYPE_CHECKING:
    from speechquant.decoding import Recognizer
    from speechquant.evaluation import EvaluationStore

__all__ = ["recall", "remember"]

_STATE = "compared latency"


def remember(store: EvaluationStore, key: str, result: BenchResult, *, failed: bool) -> None:
    """Keep the cells of a result with all that is needed to show them, and whether a system is missing from it."""
    kept = {
        "title": result.title,
        "provenance": result.provenance.to_dict(),
        "systems": {name: _description(system) for name, system in result.systems.items()},
        "cells": [
            {
                "seconds": cell.latency.seconds,
                "batch": cell.latency.batch,
                "turns": dict(cell.latency.turns),
                "tokens": dict(cell.tokens),
            }
            for cell in result.cells
        ],
        "notes": list(result.notes),
        "failed": failed,
    }
    store.put(_STATE, key, kept)


def recall(store: EvaluationStore, key: str) -> tuple[BenchResult, bool] | None:
    """What was kept under a key, and whether a system is missing; the systems can be shown, not opened."""
    kept = store.get(_STATE, key)
    if kept is None:
        return None
    result = BenchResult(
        kept["title"],
        _provenance(kept["provenance"]),
        {name: _system(values) for name, values in kept["systems"].items()},
        tuple(_cell(values) for values in kept["cells"]),
        notes=tuple(kept["notes"]),
    )
    return result, kept["failed"]


def _description(system: System) -> dict[str, Any]:
    coverage = asdict(system.coverage) if system.coverage is not None else None
    return system.to_dict() | {"coverage": coverage}


def _system(values: dict[str, Any]) -> System:
    return System(**{**values, "open": _gone, "coverage": _coverage(values["coverage"])})


def _coverage(values: dict[str, Any] | None) -> Coverage | None:
    if values is None:
        return None
    found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Coverage(**found)


def _provenance(values: dict[str, Any]) -> Provenance:
    cpu = values["cpu"]
    return Provenance(**{**values, "cpu": Cpu(**{**cpu, "features": tuple(cpu["features"])})})


def _cell(values: dict[str, Any]) -> Cell:
    turns = {name: tuple(times) for name, times in values["turns"].items()}
    return Cell(LatencyResult(values["seconds"], turns, values["batch"]), values["tokens"])


def _gone() -> Recognizer:
    raise EngineError("the graphs of a latency that was measured before are gone; measure it again")
