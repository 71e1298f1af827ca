"""Word error rates of one or more models on one data set, with a paired test between two of them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from speechquant.errors import RecipeError
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.progress import Silent
from speechquant.jobs.sources import resolve_corpus
from speechquant.jobs.targets import choose_normalizer, open_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from speechquant.engines import Precision
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.progress import Progress
    from speechquant.jobs.targets import TargetKind
    from speechquant.metrics import PairedTest

__all__ = ["EvaluationReport", "TargetEvaluation", "TargetTest", "evaluate"]


@dataclass(frozen=True, slots=True)
class TargetEvaluation:
    """One model on the data set."""

    target: str
    kind: TargetKind
    evaluation: Evaluation

    def to_dict(self) -> dict[str, Any]:
        """The figures, with everything that must stand beside them, for JSON."""
        found = self.evaluation
        return {
            "target": self.target,
            "kind": self.kind,
            "backend": found.backend,
            **found.figures(),
            "skipped": [{"id": skip.id, "reason": skip.reason} for skip in found.skipped],
            "capped": found.capped,
            "seconds": found.seconds,
            "speakers": {name: errors.wer for name, errors in found.score.speakers.items()},
        }


@dataclass(frozen=True, slots=True)
class TargetTest:
    """The paired test (MAPSSWE) of two models."""

    first: str
    second: str
    outcome: PairedTest


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """All models on one data set; `tests` has one entry per pair."""

    data: str
    normalizer: str
    results: tuple[TargetEvaluation, ...]
    tests: tuple[TargetTest, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data": self.data,
            "normalizer": self.normalizer,
            "results": [result.to_dict() for result in self.results],
            "tests": [
                {
                    "first": test.first,
                    "second": test.second,
                    "p_value": test.outcome.p_value,
                    "z": test.outcome.z,
                    "segments": test.outcome.segments,
                    "better": test.outcome.better,
                }
                for test in self.tests
            ],
        }


def evaluate(
    targets: Sequence[str | Path],
    data: str | Path,
    *,
    normalizer: str | None = None,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    cache: Path | None = None,
    provider: str | None = None,
    store: Path | None = None,
    limit: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Evaluate models on transcribed speech.

    Args:
        targets: artifacts or float models (see `open_target`).
        data: a data set (see `open_corpus`), or `demo:dev`, `demo:test`.
        normalizer: of references and hypotheses; by default the one that suits the models.
        engine: runs artifacts.
        threads: CPU threads.
        precision: of what the engine does not compute in 8-bit integers; its choice by default.
        cache: folder for models that an engine has compiled.
        provider: what ONNX Runtime computes with, `cpu` by default.
        store: an SQLite file in which transcripts are kept, so that an interrupted run goes on.
        limit: only this many utterances, chosen at random but always the same.
        strict: refuse unusable audio instead of skipping it with a record.
        progress: hears of every chunk of utterances.

    Raises:
        RecipeError: no model, or models that need different normalisers.
        DataError: no such data, or no transcripts.
        ArtifactError, ModelError, EngineError, MissingExtraError: as `open_target`.
        StorageError: the store cannot be written.
    """
    if not targets:
        raise RecipeError("nothing to evaluate; give an artifact or a model")
    corpus = resolve_corpus(str(data), require_text=True)
    corpus = corpus if limit is None else corpus.subset(limit=limit)
    opened = [
        open_target(name, engine=engine, threads=threads, precision=precision, cache=cache, provider=provider)
        for name in targets
    ]
    chosen = choose_normalizer(opened, normalizer)
    results = []
    with EvaluationStore(store) if store else nullcontext() as kept:
        evaluator = Evaluator(chosen, kept, strict=strict)
        for target in opened:
            with (progress or Silent()).stage(f"evaluate {target.name}") as advance:
                found = evaluator.evaluate(target.recognizer, corpus, advance)
            results.append(TargetEvaluation(target.name, target.kind, found))
    return EvaluationReport(corpus.name, chosen, tuple(results), tuple(_tests(results)))


def _tests(results: Sequence[TargetEvaluation]) -> list[TargetTest]:
    return [
        TargetTest(one.target, two.target, one.evaluation.compare(two.evaluation))
        for one, two in combinations(results, 2)
    ]
