"""From findings to `metrics.json`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant.artifact import package_versions, shared_or_by_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.measure import Measured
    from speechquant.jobs.quantization.workbench import Workbench
    from speechquant.learn import Reconstruction
    from speechquant.search import SearchResult

__all__ = ["describe", "license_of", "rounding_figures"]


def describe(bench: Workbench, findings: Findings) -> dict[str, Any]:
    """The contents of `metrics.json`; rates in percent, latencies in milliseconds, sizes in bytes."""
    return {
        "model": _name(bench),
        "method": bench.recipe.scales_by,
        "bits": bench.recipe.bits,
        "rounding": rounding_figures(
            bench.recipe.rounding_method, {} if findings.weights is None else findings.weights.errors
        ),
        "normalizer": bench.normalizer,
        **_accuracy(findings),
        **_engine(findings.engines),
        "gamma": bench.recipe.gamma,
        **_search(findings.search),
        "skipped": _skipped(bench, findings),
        "seconds": findings.seconds,
        "peak_rss_mb": findings.peak_rss_mb,
        "warnings": list(findings.warnings),
        "versions": package_versions(),
    }


def rounding_figures(method: str, errors: Mapping[str, Reconstruction]) -> dict[str, Any]:
    """The method, and the error of each operator's output relative to its energy, before and after."""
    return {
        "method": method,
        "errors": {name: {"nearest": e.nearest, "rounded": e.rounded} for name, e in errors.items()},
    }


def _accuracy(findings: Findings) -> dict[str, Any]:
    reference = findings.test["float"]
    p_values = {
        system: _p_value(reference, item) for system, item in findings.test.items() if system != "float"
    }
    return {
        "references": reference.references,
        **{
            system: {**item.figures(), "capped": item.capped, "backend": item.backend}
            for system, item in findings.test.items()
        },
        "p_value": p_values["quantized"],
        "p_values": p_values,
        "dev": {system: item.figures() for system, item in findings.dev.items()},
    }


def _p_value(reference: Evaluation, system: Evaluation) -> float | None:
    """Of the paired test; None where the float model's own output is the reference.

    Against itself it has no errors, so that every difference would be found to be for the worse.
    """
    return None if reference.references == "float model" else reference.compare(system).p_value


def _engine(engines: Measured) -> dict[str, Any]:
    coverage = engines.coverage
    return {
        "agreement": asdict(engines.agreement),
        "bytes": dict(engines.bytes),
        "latency_ms": {
            **engines.latency.median,
            "seconds": engines.latency.seconds,
            "speedup": engines.speedup,
        },
        "coverage": {
            "int8": coverage.int8,
            "total": coverage.total,
            "fallbacks": list(coverage.fallbacks),
            "weights_4bit": coverage.weights_4bit,
            "expanded": list(coverage.expanded),
        },
    }


def _search(search: SearchResult) -> dict[str, Any]:
    return {
        "selected_layers": list(search.selected_layers),
        "float_layers": list(search.float_layers),
        "p_opt": shared_or_by_layer(search.p_opt),
        "sensitivity": {
            item.layer: {
                "wer": item.wer,
                "delta": item.delta,
                "selected": item.selected,
                "share": item.share,
            }
            for item in search.sensitivity
        },
        "cutoffs": [
            {
                "p": item.p,
                "wer": item.wer,
                "errors": item.errors,
                "layer": item.layer,
                "share": item.share,
            }
            for item in search.cutoffs
        ],
        "dev_passes": search.dev_passes,
        "dev_requests": search.dev_requests,
    }


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
