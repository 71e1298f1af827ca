"""From findings to the data of the report page."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, get_args

from speechquant import report
from speechquant.artifact import shared_or_by_layer
from speechquant.jobs.coverage import shown_coverage
from speechquant.jobs.quantization.recordings import changed_recordings
from speechquant.jobs.quantization.sites import activation_sites, weight_sites

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.measure import Measured
    from speechquant.jobs.quantization.workbench import Workbench

__all__ = ["changed_first", "report_data"]

_INT8 = (8, 8)


def report_data(bench: Workbench, findings: Findings, metrics: Mapping[str, Any]) -> report.ReportData:
    """Everything the page shows."""
    command = f"speechquant quantize --recipe {shlex.quote(str(bench.recipe.output / 'recipe.yaml'))}"
    search, engines = findings.search, findings.engines
    recordings, left_out = changed_recordings(bench, findings)
    p_opt = shared_or_by_layer(search.p_opt)
    return report.ReportData(
        title=f"{metrics['model']}, {bench.recipe.bits.upper()}",
        model=metrics["model"],
        method=bench.recipe.scales_by,
        bits=bench.recipe.bits.upper(),
        references=findings.test["float"].references,
        systems=_systems(bench, findings, metrics["p_values"]),
        layers=tuple(
            report.LayerResult(item.layer, item.wer, item.delta, item.selected, item.share)
            for item in search.sensitivity
        ),
        gamma=bench.recipe.gamma,
        selected_layers=search.selected_layers,
        float_layers=search.float_layers,
        max_drop=bench.recipe.max_drop,
        cutoffs=tuple(
            report.CutoffResult(item.p, item.wer, item.errors, item.layer, item.share)
            for item in search.cutoffs
        ),
        p_opt=None if isinstance(p_opt, dict) else p_opt,
        p_by_layer=search.p_opt or {},
        histograms=activation_sites(bench, findings),
        weights=weight_sites(bench, findings),
        tradeoff=_tradeoff(bench, findings),
        latency=(_latency(engines),),
        sizes=report.Sizes(engines.bytes["float"], engines.bytes["quantized"]),
        coverage=shown_coverage(bench.model, search.table, engines.coverage),
        transcripts=_transcripts(bench, findings),
        normalizer=bench.normalizer,
        recordings=recordings,
        left_out=left_out,
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


def _systems(
    bench: Workbench, findings: Findings, p_values: Mapping[str, float | None]
) -> tuple[report.System, ...]:
    names = _labels(bench)
    keys: tuple[report.SystemKey, ...] = get_args(report.SystemKey)
    on_test = [
        _system(key, names[key], findings.test[key], p_values.get(key))
        for key in keys
        if key in findings.test
    ]
    # Nothing runs on the engine for the dev set, and a test there would be on data that chose the settings.
    on_dev = [
        _system("float", names["float"], findings.dev["float"], None, "dev"),
        _system("simulated", names["simulated"], findings.dev["quantized"], None, "dev"),
    ]
    return (*on_test, *on_dev)


def _labels(bench: Workbench) -> dict[report.SystemKey, str]:
    method = "StableQuant" if bench.recipe.scales_by == "stablequant" else bench.recipe.scales_by
    engine = "int8 engine" if bench.recipe.bit_widths == _INT8 else f"{bench.recipe.bits}, engine"
    return {
        "float": "float32",
        "naive_max": "naive max",
        "quantized": f"{method}, {engine}",
        "simulated": "simulated",
    }


def _system(
    key: report.SystemKey,
    label: str,
    found: Evaluation,
    p_value: float | None,
    dataset: report.Dataset = "test",
) -> report.System:
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
        dataset=dataset,
        speakers=tuple(
            report.SpeakerResult(name, errors.words, errors.wer)
            for name, errors in found.score.speakers.items()
        ),
    )


def _latency(engines: Measured) -> report.LatencyRow:
    median = engines.latency.median
    return report.LatencyRow(
        engines.latency.seconds,
        median["float"],
        median["quantized"],
        engines.speedup["float"],
        "ONNX Runtime, whole transcription",
    )


def _tradeoff(bench: Workbench, findings: Findings) -> tuple[report.TradeoffPoint, ...]:
    """The systems on the test set. Simulation and engine have the same integers, so the same size."""
    engines, names = findings.engines, _labels(bench)
    sizes = {key: size / 1e6 for key, size in engines.bytes.items()}
    sizes["simulated"] = sizes["quantized"]
    keys: tuple[report.SystemKey, ...] = get_args(report.SystemKey)
    points = [
        _point(names[key], key, findings.test[key], sizes.get(key), engines.latency.median.get(key))
        for key in keys
        if key in findings.test
    ]
    torch = engines.latency.median.get("pytorch")
    return (*points, _point("float32, PyTorch", "float", findings.test["float"], None, torch))


def _point(
    label: str, key: report.SystemKey, found: Evaluation, megabytes: float | None, milliseconds: float | None
) -> report.TradeoffPoint:
    return report.TradeoffPoint(
        label, found.wer, found.interval.low, found.interval.high, megabytes, milliseconds, key
    )


def _transcripts(bench: Workbench, findings: Findings) -> tuple[report.TranscriptRow, ...]:
    """Before and after, with what nobody quantized carefully says, in the order of the data."""
    before, after = findings.test["float"].transcripts, findings.test["quantized"].transcripts
    naive = findings.test["naive_max"].transcripts if "naive_max" in findings.test else {}
    references = {item.id: item.text for item in bench.corpora.test}
    return tuple(
        report.TranscriptRow(
            id_,
            references.get(id_),
            before[id_].text,
            after[id_].text,
            naive[id_].text if id_ in naive else None,
        )
        for id_ in before
    )
