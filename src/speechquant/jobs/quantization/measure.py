"""Export what was found, run it on the engine, and compare with the float model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from speechquant.data import iter_loaded
from speechquant.engines import load_recognizer, measure
from speechquant.engines.export import export_onnx
from speechquant.metrics import argmax_agreement, token_agreement
from speechquant.numerics import ScaleTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.data import Corpus
    from speechquant.decoding import Recognizer
    from speechquant.engines import Coverage, LatencyResult
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.quantization.workbench import Workbench
    from speechquant.learn import RoundedWeights
    from speechquant.numerics import Histogram

__all__ = ["Agreement", "Measured", "measure_engines"]

LATENCY_SECONDS = 10.0
LATENCY_REPEATS = 11


@dataclass(frozen=True, slots=True)
class Agreement:
    """Simulation against engine on the test set, in percent: equal arg-max frames, or tokens that need no edit."""

    value: float
    unit: Literal["frames", "tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The engine's side of the proof; `latency` is that of the systems "float", "quantized" and "pytorch"."""

    bytes: Mapping[str, int]
    coverage: Coverage
    latency: LatencyResult
    agreement: Agreement

    @property
    def speedup(self) -> dict[str, float]:
        """How many times faster the quantized engine is, by what it is compared with: medians over turns."""
        return {system: self.latency.ratio(system, "quantized") for system in ("float", "pytorch")}


def measure_engines(
    bench: Workbench,
    histograms: Mapping[str, Histogram],
    table: ScaleTable,
    weights: RoundedWeights | None,
    *,
    scratch: Path,
    seconds: dict[str, float],
) -> tuple[dict[str, Evaluation], Measured]:
    """Export float, quantized and, if asked for, naive models to `scratch`, and evaluate them on the test set.

    `weights` says how the quantized model's weights are rounded, None to nearest.

    Returns:
        Evaluations by system: "float" and "simulated" in torch, "quantized" and "naive_max" on the engine; and
        sizes, speeds and coverage. Adds the steps' durations to `seconds`.
    """
    start = time.perf_counter()
    tables: dict[str, ScaleTable | None] = {"float": None, "quantized": table}
    if bench.recipe.naive:
        tables["naive_max"] = bench.plain(histograms, "max")
    exported = {}
    with bench.progress.stage("export") as advance:
        for done, (system, scales) in enumerate(tables.items()):
            advance(done, len(tables), system)
            with bench.on_grid(weights if system == "quantized" else None):
                exported[system] = export_onnx(bench.model, scales, scratch / system)
    engines = {
        system: load_recognizer(scratch / system, threads=bench.recipe.threads, vocabulary=bench.model.folder)
        for system in tables
    }
    seconds["export"] = time.perf_counter() - start
    start = time.perf_counter()
    found = _evaluate(bench, table, weights, engines)
    latency = _latency(bench, engines)
    seconds["evaluate"] = time.perf_counter() - start
    measured = Measured(
        bytes={system: item.bytes for system, item in exported.items()},
        coverage=exported["quantized"].coverage,
        latency=latency,
        agreement=_agreement(found["simulated"], found["quantized"]),
    )
    return found, measured


def _evaluate(
    bench: Workbench, table: ScaleTable, weights: RoundedWeights | None, engines: Mapping[str, Recognizer]
) -> dict[str, Evaluation]:
    evaluator, test = bench.scoring(bench.corpora.test)
    found = {}
    for system, scales in {"float": ScaleTable({}), "simulated": table}.items():
        with bench.progress.stage(f"{system} model on test") as advance:
            found[system] = bench.simulate(scales, evaluator, test, advance, weights)
    for system, recognizer in engines.items():
        if system != "float":
            with bench.progress.stage(f"{system.replace('_', ' ')} model on test, engine") as advance:
                found[system] = evaluator.evaluate(recognizer, test, advance)
    return found


def _latency(bench: Workbench, engines: Mapping[str, Recognizer]) -> LatencyResult:
    speech = _speech(bench.corpora.test, bench.model.sampling_rate)
    systems = {
        "float": engines["float"],
        "quantized": engines["quantized"],
        "pytorch": bench.model.recognizer(),
    }
    with bench.progress.stage("latency, interleaved") as advance:
        (result,) = measure(systems, [speech], repeats=LATENCY_REPEATS, progress=advance)
    return result


def _speech(test: Corpus, rate: int) -> NDArray[np.float32]:
    """The first ten seconds of real test speech, joined where utterances are shorter."""
    wanted = int(LATENCY_SECONDS * rate)
    pieces: list[NDArray[np.float32]] = []
    for _, samples in iter_loaded(test, strict=False, on_skip=lambda _: None):
        pieces.append(samples)
        if sum(piece.size for piece in pieces) >= wanted:
            break
    return np.concatenate(pieces)[:wanted]


def _agreement(simulated: Evaluation, engine: Evaluation) -> Agreement:
    pairs = [(simulated.transcripts[id_], engine.transcripts[id_]) for id_ in simulated.transcripts]
    if all(one.frames for one, _ in pairs):
        frames = argmax_agreement([one.frames for one, _ in pairs], [two.frames for _, two in pairs])
        return Agreement(100 * frames, "frames")
    tokens = token_agreement([one.tokens for one, _ in pairs], [two.tokens for _, two in pairs])
    return Agreement(100 * tokens, "tokens")
