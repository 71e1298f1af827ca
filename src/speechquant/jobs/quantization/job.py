"""The main job, from a float model and speech to an artifact with its proof."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.artifact import ArtifactContents, save_artifact, shared_or_by_layer
from speechquant.evaluation import EvaluationStore
from speechquant.jobs.progress import Silent
from speechquant.jobs.quantization.figures import describe, license_of
from speechquant.jobs.quantization.findings import Findings
from speechquant.jobs.quantization.measure import measure_engines
from speechquant.jobs.quantization.page import changed_first, report_data
from speechquant.jobs.quantization.spelling import unwritable
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.scratch import scratch_folder
from speechquant.jobs.sources import open_corpora, resolve_model
from speechquant.jobs.surroundings import check_output, peak_rss_mb, set_threads, work_folder
from speechquant.metrics import warn_if_too_small
from speechquant.models import load_model
from speechquant.numerics import ScaleTable
from speechquant.report import judge, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from speechquant.data import Corpus
    from speechquant.evaluation import Evaluation, Evaluator
    from speechquant.jobs.progress import Progress
    from speechquant.jobs.recipe import Recipe
    from speechquant.report import ReportData, TranscriptRow

__all__ = ["Outcome", "quantize"]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The finished artifact and what is to be said of it.

    `verdict` is one sentence, `caveats` what limits it, one line each; `metrics` the contents of `metrics.json`;
    `work` the folder from which another run of the same goes on.
    """

    artifact: Path
    work: Path
    verdict: str
    caveats: tuple[str, ...]
    metrics: Mapping[str, Any]
    transcripts: tuple[TranscriptRow, ...]
    findings: Findings


def quantize(recipe: Recipe, *, progress: Progress | None = None) -> Outcome:
    """Calibrate, search, export, evaluate, save.

    Everything that took long is kept in `<output>.work`: started again after an interruption, the job repeats at
    most the chunk of utterances it was at.

    Raises:
        SpeechquantError: the recipe, the model, the speech or the place for the output is unusable.
    """
    listener = progress or Silent()
    seconds: dict[str, float] = {}
    check_output(recipe.output)
    set_threads(recipe.threads)
    corpora = open_corpora(recipe, otherwise="use --audio-only to do without")
    model = load_model(resolve_model(recipe.model))
    work = work_folder(recipe.output)
    with EvaluationStore(work / "evaluations.sqlite") as store:
        bench = Workbench(model, corpora, recipe, store, work, listener)
        _ = bench.layers
        with _timed(seconds, "calibrate"):
            histograms = {} if recipe.weight_only else bench.calibrate()
        with _timed(seconds, "search"):
            # The test set too, before the long search: unusable speech is noticed now, and the result is kept.
            _float_model(bench, corpora.test)
            evaluator, dev, float_dev = _float_model(bench, corpora.dev)
            on_dev = {"float": float_dev}
            warnings = _warnings(bench, float_dev.errors.words)
            for warning in warnings:
                listener.note(warning)
            search = bench.search(histograms, evaluator, dev)
        with _timed(seconds, "round"):
            weights = bench.round(search.table)
            on_dev["quantized"] = bench.simulate(search.table, evaluator, dev, weights=weights)
        with scratch_folder(work) as scratch:
            on_test, engines = measure_engines(
                bench, histograms, search.table, weights, scratch=scratch, seconds=seconds
            )
            findings = Findings(
                histograms, search, on_dev, on_test, engines, weights, seconds, warnings, peak_rss_mb()
            )
            metrics = describe(bench, findings)
            page = report_data(bench, findings, metrics)
            contents = _contents(bench, findings, metrics, page, scratch / "quantized")
            with listener.stage("save"):
                artifact = save_artifact(contents, recipe.output)
    verdict = judge(page)
    return Outcome(
        artifact=artifact.folder,
        work=work,
        verdict=f"{verdict.headline}. {verdict.sentence}",
        caveats=verdict.caveats,
        metrics=metrics,
        transcripts=_changed_first(page.transcripts, findings),
        findings=findings,
    )


def _float_model(bench: Workbench, corpus: Corpus) -> tuple[Evaluator, Corpus, Evaluation]:
    """How `corpus` is scored, what of it can be used, and the float model on it."""
    evaluator, usable = bench.scoring(corpus)
    with bench.progress.stage(f"float model on {corpus.name}") as advance:
        return evaluator, usable, bench.simulate(ScaleTable({}), evaluator, usable, advance)


def _contents(
    bench: Workbench, findings: Findings, metrics: Mapping[str, Any], page: ReportData, onnx: Path
) -> ArtifactContents:
    model, recipe, corpora = bench.model, bench.recipe, bench.corpora
    with bench.on_grid(findings.weights):
        tensors = {name: tensor.numpy() for name, tensor in model.module.state_dict().items()}
    return ArtifactContents(
        name=metrics["model"],
        source=recipe.model,
        family=model.model_type,
        task=model.runtime.task,
        method=recipe.scales_by,
        bits=recipe.bits,
        rounding=recipe.rounding_method,
        model_files=model.kept_files,
        weights=tensors,
        table=findings.search.table,
        metrics=metrics,
        model_signature=model.signature,
        data_signatures={
            "calibration": corpora.calibration.signature,
            "dev": corpora.dev.signature,
            "test": corpora.test.signature,
        },
        recipe=page.recipe_yaml,
        onnx=onnx,
        selected_layers=findings.search.selected_layers,
        float_layers=findings.search.float_layers,
        p_opt=shared_or_by_layer(findings.search.p_opt),
        maxima={name: histogram.maximum for name, histogram in findings.histograms.items()},
        report=render(page),
        license_name=license_of(model.folder),
    )


def _warnings(bench: Workbench, dev_words: int) -> tuple[str, ...]:
    """What the user should know of the speech, one line each."""
    corpora, recipe = bench.corpora, bench.recipe
    spelling = [
        unwritable(corpus, bench.model.vocabulary, bench.normalizer) for corpus in (corpora.dev, corpora.test)
    ]
    small = warn_if_too_small(dev_words, recipe.gamma) if recipe.scales_by == "stablequant" else None
    found = (*corpora.warnings, *spelling, f"dev: {small}" if small else None)
    return tuple(warning for warning in found if warning)


def _changed_first(rows: Sequence[TranscriptRow], findings: Findings) -> tuple[TranscriptRow, ...]:
    by_id = {row.id: row for row in rows}
    return tuple(by_id[id_] for id_ in changed_first(findings.test["float"], findings.test["quantized"]))


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
