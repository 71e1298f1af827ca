"""The last screen of `speechquant learn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speechquant.cli.tables import columns, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.jobs.learning import LearnOutcome

__all__ = ["print_learned"]

_SYSTEMS = {
    "float": "float, before",
    "trained": "float, trained",
    "simulated": "{bits}, simulated",
    "quantized": "{bits}, engine",
}


def print_learned(outcome: LearnOutcome) -> None:
    """A line per system, how the training went, the verdict, and where everything lies."""
    metrics = outcome.metrics
    title = f"WER on the {metrics['reported_on']} set, {metrics['float']['words']:,} words"
    table = columns("", "WER %", "95 % interval", "S/D/I", "p", title=title)
    for system, name in _SYSTEMS.items():
        if system in metrics:
            table.add_row(
                name.format(bits=metrics["bits"]), *_row(metrics[system], metrics["p_values"].get(system))
            )
    show(table)
    if (training := metrics["training"]) is not None:
        check = training["check"]
        show(
            f"{training['updates']} updates, the weights after {training['best_update']} chosen: WER "
            f"{check['best_wer']:.2f} on dev while training, float {check['float_wer']:.2f}"
        )
    if (allocation := metrics.get("allocation")) is not None:
        _show_size(metrics, allocation)
    for warning in metrics["warnings"]:
        show(f"warning: {warning}")
    if metrics["skipped"]:
        show(f"left out {len(metrics['skipped'])} utterances of the training speech; metrics.json lists them")
    show(f"\n{outcome.verdict}")
    for caveat in outcome.caveats:
        show(f"- {caveat}")
    show(f"report: {outcome.folder / 'report.html'}")
    show(f"{outcome.work} can be deleted; with it the same command goes on where it was")


def _show_size(metrics: Mapping[str, Any], allocation: Mapping[str, Any]) -> None:
    """Bits, bytes and time of a method with a budget."""
    storage = metrics["storage"]
    budget = f" for {allocation['budget']}" if allocation["budget"] else ""
    kind = "of entropy " if allocation["code"] == "entropy" else ""
    show(
        f"{allocation['average_bits']:.2f} bits {kind}on average over searched weights{budget}, "
        f"{storage['average_bits']:.2f} over all parameters; {storage['stored_bytes'] / 1e6:.2f} MB, "
        f"{storage['ratio']:.2f} times smaller than float32 ({storage['packed_ratio']:.2f} before entropy coding)"
    )
    times = metrics["seconds"].items()
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times if name != "evaluate")
    show(f"compressed in {metrics['compression_seconds']:.0f} s: {steps}")
    if allocation["repaired"]:
        show(
            f"{len(allocation['repaired'])} matrices did not get the bits with the largest logits, which together "
            "exceed the budget or leave much of it unused; the integer programme chose for them"
        )


def _row(found: Mapping[str, Any], p_value: float | None) -> list[str]:
    return [
        f"{found['wer']:.2f}",
        f"{found['low']:.2f} to {found['high']:.2f}",
        f"{found['substitutions']}/{found['deletions']}/{found['insertions']}",
        "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}",  # noqa: PLR2004
    ]
