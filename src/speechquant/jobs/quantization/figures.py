"""From findings to `metrics.json` and to the data of the report page."""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant import report
from speechquant.numerics import threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.workbench import Workbench

__all__ = ["changed_first", "describe", "license_of", "report_data"]

_LABELS = {
    "float": "float32",
    "naive_max": "naive max",
    "simulated": "simulated",
}
_ORDER = ("float", "naive_max", "quantized", "simulated")
_PACKAGES = ("speechquant", "torch", "transformers", "onnx", "onnxruntime", "numpy")
_SHOWN_TRANSCRIPTS = 12


def describe(bench: Workbench, findings: Findings) -> dict[str, Any]:
    """The contents of `metrics.json`; rates in percent, latencies in milliseconds, sizes in bytes."""
    search, engines = findings.search, findings.engines
    reference, quantized = findings.test["float"], findings.test["quantized"]
    cutoffs = dict(search.p_opt or {})
    return {
        "model": _name(bench),
        "method": bench.recipe.method,
        "bits": bench.recipe.bits,
        "normalizer": bench.normalizer,
        "references": reference.references,
        **{
            system: {**item.figures(), "capped": item.capped, "backend": item.backend}
            for system, item in findings.test.items()
        },
        "p_value": reference.compare(quantized).p_value,
        "p_values": {
            system: reference.compare(item).p_value
            for system, item in findings.test.items()
            if system != "float"
        },
        "dev": {system: item.figures() for system, item in findings.dev.items()},
        "agreement": engines.agreement,
        "bytes": dict(engines.bytes),
        "latency_ms": {**engines.latency_ms, "seconds": engines.latency_seconds},
        "coverage": {
            "int8": engines.coverage.int8,
            "total": engines.coverage.total,
            "fallbacks": list(engines.coverage.fallbacks),
        },
        "selected_layers": list(search.selected_layers),
        "p_opt": cutoffs if len(set(cutoffs.values())) > 1 else next(iter(cutoffs.values()), None),
        "gamma": bench.recipe.gamma,
        "sensitivity": {
            item.layer: {"wer": item.wer, "delta": item.delta, "selected": item.selected}
            for item in search.sensitivity
        },
        "cutoffs": [
            {"p": item.p, "wer": item.wer, "errors": item.errors, "layer": item.layer}
            for item in search.cutoffs
        ],
        "dev_passes": search.dev_passes,
        "dev_requests": search.dev_requests,
        "skipped": _skipped(bench, findings),
        "seconds": findings.seconds,
        "peak_rss_mb": findings.peak_rss_mb,
        "warnings": list(findings.warnings),
        "versions": _versions(),
    }


def report_data(bench: Workbench, findings: Findings, metrics: Mapping[str, Any]) -> report.ReportData:
    """Everything the page shows."""
    command = f"speechquant quantize --recipe {shlex.quote(str(bench.recipe.output / 'recipe.yaml'))}"
    search, engines = findings.search, findings.engines
    cutoffs = dict(search.p_opt or {})
    return report.ReportData(
        title=f"{metrics['model']}, {bench.recipe.bits.upper()}",
        model=metrics["model"],
        method=bench.recipe.method,
        bits=bench.recipe.bits.upper(),
        references=findings.test["float"].references,
        systems=_systems(bench, findings, metrics),
        layers=tuple(
            report.LayerResult(item.layer, item.wer, item.delta, item.selected) for item in search.sensitivity
        ),
        gamma=bench.recipe.gamma,
        selected_layers=search.selected_layers,
        cutoffs=tuple(
            report.CutoffResult(item.p, item.wer, item.errors)
            for item in search.cutoffs
            if item.layer is None
        ),
        p_opt=next(iter(cutoffs.values()), None) if len(set(cutoffs.values())) == 1 else None,
        histograms=_histograms(bench, findings),
        latency=(
            report.LatencyRow(
                engines.latency_seconds,
                engines.latency_ms["float"],
                engines.latency_ms["quantized"],
                "ONNX Runtime, whole transcription",
            ),
        ),
        sizes=report.Sizes(engines.bytes["float"], engines.bytes["quantized"]),
        coverage=report.Coverage(engines.coverage.int8, engines.coverage.total, engines.coverage.fallbacks),
        transcripts=_transcripts(bench, findings),
        recipe_yaml=bench.recipe.to_yaml(command),
        versions=metrics["versions"],
        warnings=findings.warnings,
        seconds=findings.seconds,
        peak_rss_mb=findings.peak_rss_mb,
        command=command,
    )


def changed_first(before: Evaluation, after: Evaluation) -> list[str]:
    """Utterance ids: those whose words changed (after normalisation) first, else in the order of the data."""
    heard = {item.id: item.hypothesis for item in after.score.utterances}
    same = {item.id: item.hypothesis == heard[item.id] for item in before.score.utterances}
    return sorted(before.transcripts, key=lambda id_: same[id_])


def license_of(folder: Path) -> str | None:
    """The licence that the front matter of a model card states."""
    import yaml

    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
        return None
    found = front.get("license") if isinstance(front, dict) else None
    return str(found) if found else None


def _name(bench: Workbench) -> str:
    """The last part of what the user called the model; a hub id lies in a folder named by a hash."""
    wanted = bench.recipe.model
    return bench.model.folder.name if wanted.partition(":")[0] == "demo" else Path(wanted).resolve().name


def _skipped(bench: Workbench, findings: Findings) -> list[dict[str, str]]:
    """Unusable audio of every role; with --audio-only it was left out before the evaluations."""
    evaluated = {"dev": findings.dev["float"].skipped, "test": findings.test["float"].skipped}
    return [
        {"role": role, "id": item.id, "reason": item.reason}
        for role in ("calibration", "dev", "test")
        for item in (*bench.skipped.get(role, ()), *evaluated.get(role, ()))
    ]


def _systems(bench: Workbench, findings: Findings, metrics: Mapping[str, Any]) -> tuple[report.System, ...]:
    names = {**_LABELS, "quantized": f"{bench.recipe.method} {bench.recipe.bits}, ONNX Runtime"}
    names["simulated"] = f"{bench.recipe.method} {bench.recipe.bits}, simulated"
    return tuple(
        _system(key, names[key], findings.test[key], metrics["p_values"].get(key))
        for key in _ORDER
        if key in findings.test
    )


def _system(key: Any, label: str, found: Evaluation, p_value: float | None) -> report.System:
    return report.System(
        key=key,
        label=label,
        words=found.errors.words,
        substitutions=found.errors.substitutions,
        deletions=found.errors.deletions,
        insertions=found.errors.insertions,
        wer=found.wer,
        low=found.interval.low,
        high=found.interval.high,
        p_value=p_value,
        capped=found.capped,
        speakers=tuple(
            report.SpeakerResult(name, errors.words, errors.wer)
            for name, errors in found.score.speakers.items()
        ),
    )


def _histograms(bench: Workbench, findings: Findings) -> tuple[report.SiteHistogram, ...]:
    bits = bench.recipe.bit_widths[1]
    shown = []
    for entry in findings.search.table:
        if entry.site.role != "input":
            continue
        histogram = findings.histograms[entry.site.name]
        thresholds = {
            "max": threshold("max", histogram, bits),
            f"percentile {bench.recipe.percentile:g}": threshold(
                "percentile", histogram, bits, percentile=bench.recipe.percentile
            ),
            "mse": threshold("mse", histogram, bits),
            "chosen": float(entry.scale) * entry.spec.qmax,
        }
        shown.append(report.SiteHistogram(entry.site.layer, entry.site.name, histogram, thresholds))
    return tuple(shown)


def _transcripts(bench: Workbench, findings: Findings) -> tuple[report.TranscriptRow, ...]:
    """Before and after, with what nobody quantized carefully says; changed utterances first."""
    before, after = findings.test["float"].transcripts, findings.test["quantized"].transcripts
    naive = findings.test["naive_max"].transcripts if "naive_max" in findings.test else {}
    ranked = changed_first(findings.test["float"], findings.test["quantized"])[:_SHOWN_TRANSCRIPTS]
    references = {item.id: item.text for item in bench.corpora.test}
    return tuple(
        report.TranscriptRow(
            id_,
            references.get(id_),
            before[id_].text,
            after[id_].text,
            naive[id_].text if id_ in naive else None,
        )
        for id_ in ranked
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
