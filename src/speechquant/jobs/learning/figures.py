"""From a training run and its proof to `metrics.json` and to the report page."""

from __future__ import annotations

import shlex
import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant import report
from speechquant.artifact import package_versions
from speechquant.jobs.coverage import shown_coverage
from speechquant.jobs.learning.sites import activation_sites, weight_sites
from speechquant.jobs.quantization.figures import rounding_figures
from speechquant.jobs.surroundings import peak_rss_mb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.methods import Compressed
    from speechquant.jobs.learning.proof import Proof
    from speechquant.jobs.learning.session import Session, StageRun

__all__ = ["describe", "joined", "model_name", "page", "with_storage"]

_FLOAT = "float control"


def describe(
    session: Session,
    proof: Proof,
    found: Compressed,
    *,
    rows: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
    float_check: Evaluation,
) -> dict[str, Any]:
    """The contents of `metrics.json`; rates in percent, sizes in bytes.

    `save_artifact` adds bits and bytes of the file of weights.
    """
    recipe, roles = session.recipe, session.roles
    reference = proof.reported["float"]
    p_values = {
        system: reference.compare(item).p_value
        for system, item in proof.reported.items()
        if system != "float"
    }
    main = "quantized" if "quantized" in proof.reported else "trained"
    metrics: dict[str, Any] = {
        "model": model_name(session),
        "method": recipe.method,
        "bits": _bits(recipe, found),
        "rounding": rounding_figures(recipe.rounding, session.rounding_errors),
        "normalizer": session.evaluator.normalizer,
        "references": reference.references,
        "reported_on": roles.reported.name,
        **{
            system: {**item.figures(), "capped": item.capped, "backend": item.backend}
            for system, item in proof.reported.items()
        },
        "p_value": p_values[main],
        "p_values": p_values,
        "dev": {system: item.figures() for system, item in proof.dev.items()},
        "training": _training(session, found, rows, float_check) if found.stages else None,
        "compression_seconds": sum(found.seconds.values()),
        "selected_layers": [],
        "p_opt": None,
        "skipped": [{"role": "train", "id": item.id, "reason": item.reason} for item in session.skipped],
        "seconds": dict(seconds),
        "peak_rss_mb": peak_rss_mb(),
        "warnings": list(roles.warnings),
        "versions": package_versions(),
    }
    if found.allocation is not None:
        record = found.allocation.record()
        kept = ("criterion", "rule", "budget", "average_bits", "predicted", "repaired")
        metrics["allocation"] = {"code": recipe.code, **{name: record[name] for name in kept}}
    if proof.engines is not None:
        coverage = proof.engines.coverage
        metrics |= {
            "agreement": {"value": proof.engines.agreement, "unit": proof.engines.unit},
            "bytes": dict(proof.engines.bytes),
            "coverage": {
                "int8": coverage.int8,
                "total": coverage.total,
                "fallbacks": list(coverage.fallbacks),
                "weights_4bit": coverage.weights_4bit,
                "expanded": list(coverage.expanded),
            },
        }
    return metrics


def joined(stages: Sequence[StageRun]) -> tuple[dict[str, Any], ...]:
    """The histories of all stages one after the other, with updates counted on, and the stage in every line."""
    rows, before = list[dict[str, Any]](), 0
    for run in stages:
        rows += [{**row, "step": before + row["step"], "stage": run.stage.name} for row in run.rows]
        before += run.trained.steps
    return tuple(rows)


def _bits(recipe: LearnRecipe, found: Compressed) -> str:
    if found.allocation is not None:
        return f"w{found.allocation.average_bits:.2f}a{recipe.activation_bits or 16}"
    return "float" if found.table is None else recipe.bits


def _training(
    session: Session, found: Compressed, rows: Sequence[Mapping[str, Any]], float_check: Evaluation
) -> dict[str, Any]:
    trained = found.stages[-1].trained
    durations = [row["seconds"] for row in rows if "loss" in row]
    return {
        "updates": trained.steps,
        "best_update": trained.best_step,
        "check": {
            "best_wer": trained.best_wer,
            "float_wer": float_check.wer,
            "words": float_check.errors.words,
        },
        "utterances": session.utterances,
        "seconds_per_update": statistics.median(durations) if durations else None,
        "stages": {
            run.stage.name: {"updates": run.trained.steps, "seconds": run.seconds} for run in found.stages
        },
        "processes": session.accelerator.num_processes,
        "device": str(session.accelerator.device.type),
    }


def page(
    session: Session,
    proof: Proof,
    found: Compressed,
    metrics: Mapping[str, Any],
    *,
    rows: Sequence[Mapping[str, Any]],
    float_check: Evaluation,
) -> report.ReportData:
    """What the report page shows."""
    recipe = session.recipe
    command = f"speechquant learn --recipe {shlex.quote(str(recipe.output / 'recipe.yaml'))}"
    engines, systems = proof.engines, _systems(session, proof, metrics)
    sizes = report.Sizes(engines.bytes["float"], engines.bytes["quantized"]) if engines else None
    bits = metrics["bits"].upper()
    return report.ReportData(
        title=f"{metrics['model']}, {_FLOAT if found.table is None else f'{bits} by {recipe.method}'}",
        model=metrics["model"],
        method=recipe.method,
        bits="float32" if found.table is None else bits,
        subject="trained" if found.table is None else "quantized",
        references=proof.reported["float"].references,
        systems=systems,
        histograms=activation_sites(session, found),
        weights=weight_sites(session, found),
        tradeoff=() if sizes is None else _tradeoff(systems, sizes),
        sizes=sizes,
        coverage=(
            None
            if engines is None or found.table is None
            else shown_coverage(session.model, found.table, engines.coverage)
        ),
        matrix_bits=_matrix_bits(found),
        transcripts=_transcripts(session, proof),
        normalizer=session.evaluator.normalizer,
        learning=tuple(rows),
        learning_float=float_check.wer,
        recipe_yaml=recipe.to_yaml(command),
        versions=metrics["versions"],
        warnings=session.roles.warnings,
        seconds=metrics["seconds"],
        peak_rss_mb=metrics["peak_rss_mb"],
        command=command,
    )


def with_storage(data: report.ReportData, found: Compressed, storage: Mapping[str, Any]) -> report.ReportData:
    """The page's data with what the file of weights takes, where to make it small was the job."""
    if found.allocation is None:
        return data
    stored = report.StoredWeights(
        storage["float_bytes"],
        storage["stored_bytes"],
        storage["packed_bytes"],
        found.allocation.average_bits,
        storage["average_bits"],
    )
    sizes = report.Sizes(stored.float_bytes, stored.stored_bytes)
    return replace(data, stored=stored, tradeoff=_tradeoff(data.systems, sizes))


def _matrix_bits(found: Compressed) -> tuple[report.MatrixBits, ...]:
    choices = () if found.allocation is None else found.allocation.choices
    return tuple(report.MatrixBits(c.layer, c.module, c.bits) for c in choices)


def _tradeoff(systems: Sequence[report.System], sizes: report.Sizes) -> tuple[report.TradeoffPoint, ...]:
    """The systems on the test set. Simulation and engine have the same integers, so the same size."""
    return tuple(
        report.TradeoffPoint(
            item.label,
            item.wer,
            item.low,
            item.high,
            (sizes.float_bytes if item.key == "float" else sizes.quantized_bytes) / 1e6,
            key=item.key,
        )
        for item in systems
        if item.dataset == "test"
    )


def _systems(session: Session, proof: Proof, metrics: Mapping[str, Any]) -> tuple[report.System, ...]:
    how = "rounded" if metrics["training"] is None else "trained"
    labels: dict[str, tuple[report.SystemKey, str]] = {
        "float": ("float", "float32, before"),
        "simulated": ("simulated", f"{how}, simulated"),
        "quantized": ("quantized", f"{how}, engine"),
        "trained": ("quantized", "trained, float32"),
    }
    where: report.Dataset = "test" if session.roles.test is not None else "dev"
    found = [
        _system(*labels[name], item, metrics["p_values"].get(name), where)
        for name, item in proof.reported.items()
    ]
    if session.roles.test is not None:
        found += [_system(*labels[name], item, None, "dev") for name, item in proof.dev.items()]
    return tuple(found)


def _system(
    key: report.SystemKey, label: str, found: Evaluation, p_value: float | None, dataset: report.Dataset
) -> report.System:
    errors = found.errors
    return report.System(
        key=key,
        label=label,
        words=errors.words,
        substitutions=errors.substitutions,
        deletions=errors.deletions,
        insertions=errors.insertions,
        wer=found.wer,
        low=found.interval.low,
        high=found.interval.high,
        p_value=p_value,
        capped=found.capped,
        dataset=dataset,
        speakers=tuple(
            report.SpeakerResult(name, item.words, item.wer) for name, item in found.score.speakers.items()
        ),
    )


def _transcripts(session: Session, proof: Proof) -> tuple[report.TranscriptRow, ...]:
    """Before and after training, in the order of the data."""
    before = proof.reported["float"]
    after = proof.reported.get("quantized") or proof.reported["trained"]
    texts = {item.id: item.text for item in session.roles.reported}
    return tuple(
        report.TranscriptRow(id_, texts.get(id_), before.transcripts[id_].text, after.transcripts[id_].text)
        for id_ in before.transcripts
    )


def model_name(session: Session) -> str:
    """The last part of what the user called the model."""
    wanted = session.recipe.model
    return session.model.folder.name if wanted.partition(":")[0] == "demo" else Path(wanted).resolve().name
