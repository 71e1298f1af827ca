"""The last screen of `speechquant quantize`: is it as good, how small, how fast, what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.artifact import cutoffs_text
from speechquant.cli.tables import columns, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from speechquant.jobs.quantization import Outcome

__all__ = ["print_outcome"]

_SYSTEMS = ("float", "naive_max", "quantized", "simulated")
_SHOWN_TRANSCRIPTS = 3


def print_outcome(outcome: Outcome) -> None:
    """A line per system, the decisions, warnings, three transcripts, the verdict, and where the report lies."""
    metrics = outcome.metrics
    known = metrics["references"] == "transcripts"
    what = "WER" if known else "Disagreement with the float model (there are no transcripts)"
    title = f"{what} on the test set, {metrics['float']['words']:,} words"
    table = columns("", "WER %", "95 % interval", "S/D/I", "p", "MB", "ms", title=title)
    for system in _SYSTEMS:
        if system in metrics:
            table.add_row(*_row(system, metrics))
    show(table)
    for line in _decisions(metrics):
        show(line)
    for warning in metrics["warnings"]:
        show(f"warning: {warning}")
    if metrics["skipped"]:
        show(f"skipped {len(metrics['skipped'])} unusable utterances; metrics.json lists them")
    for line in _transcripts(outcome):
        show(line)
    show(f"\n{outcome.verdict}")
    for caveat in outcome.caveats:
        show(f"- {caveat}")
    show(f"report: {outcome.artifact / 'report.html'}")
    show(
        f"{outcome.work} can be deleted; with it the same command goes on where it was, or repeats in little time"
    )


def _row(system: str, metrics: Mapping[str, Any]) -> list[str]:
    found = metrics[system]
    name = {
        "float": "float",
        "naive_max": f"naive max {metrics['bits']}",
        "quantized": f"{metrics['method']} {metrics['bits']}",
        "simulated": "  simulated",
    }[system]
    size, time = metrics["bytes"].get(system), metrics["latency_ms"].get(system)
    p_value = metrics["p_values"].get(system)
    return [
        name,
        f"{found['wer']:.2f}",
        f"{found['low']:.2f} to {found['high']:.2f}",
        f"{found['substitutions']}/{found['deletions']}/{found['insertions']}",
        "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}",  # noqa: PLR2004
        f"{size / 1e6:.1f}" if size else "",
        f"{time:.0f}" if time else "",
    ]


def _decisions(metrics: Mapping[str, Any]) -> Iterator[str]:
    coverage, time = metrics["coverage"], metrics["latency_ms"]
    if metrics["method"] == "stablequant":
        cutoff = cutoffs_text(metrics["p_opt"])
        clipped = ", ".join(metrics["selected_layers"])
        yield f"clipped layers: {clipped}; cut-off p_opt = {cutoff}" if clipped else "clipped layers: none"
        yield from _left_in_float(metrics)
        yield f"search: {metrics['dev_passes']} passes over the dev set for {metrics['dev_requests']} candidates"
    yield from _coverage(coverage)
    for name in coverage["fallbacks"]:
        yield f"  in float: {name}"
    agreement = metrics["agreement"]
    yield f"simulation and engine agree on {agreement['value']:.2f} % of {agreement['unit']}"
    size = metrics["bytes"]
    yield f"size: {100 * size['quantized'] / size['float']:.1f} % of the float32 engine files"
    yield (
        f"speed: {time['speedup']['float']:.2f}x ONNX Runtime float32, "
        f"{time['speedup']['pytorch']:.2f}x PyTorch float32 ({time['seconds']:g} s of speech, whole "
        "transcription, medians of interleaved runs)"
    )


def _left_in_float(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The layers that no cut-off saved, with what each cost alone: estimated where it was stopped early."""
    alone = {layer: metrics["sensitivity"][layer] for layer in metrics["float_layers"]}
    costs = [
        f"{layer} (alone {'≈ ' if found['share'] < 1 else ''}{found['delta']:+.1f} points on dev)"
        for layer, found in alone.items()
    ]
    if costs:
        yield f"left in float: {', '.join(costs)}"
    if any(found["share"] < 1 for found in alone.values()):
        yield "  ≈: estimated from a part of dev, on which the layer had clearly lost and was stopped"


def _coverage(coverage: Mapping[str, Any]) -> Iterator[str]:
    """What became of the operators with weights."""
    total, held, expanded = coverage["total"], coverage["weights_4bit"], len(coverage["expanded"])
    if held or expanded:
        yield f"keeps weights in 4 bits: {held} of {total} operators with weights, read back from the engine"
        if expanded:
            yield f"  {expanded} more have 4 bits in the file and become float when it is loaded"
    if coverage["int8"] or not (held or expanded):
        yield f"runs in int8: {coverage['int8']} of {total} operators with weights, read back from the engine"


def _transcripts(outcome: Outcome) -> Iterator[str]:
    for row in outcome.transcripts[:_SHOWN_TRANSCRIPTS]:
        yield f"\n{row.id}"
        lines = {
            "reference": row.reference,
            "float": row.before,
            "naive max": row.naive,
            "quantized": row.after,
        }
        for name, text in lines.items():
            if text is not None:
                yield f"  {name:<10} {text or '(nothing)'}"
