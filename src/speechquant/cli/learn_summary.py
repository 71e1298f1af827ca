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
    training = metrics["training"]
    check = training["check"]
    show(
        f"{training['updates']} updates, the weights after {training['best_update']} chosen: WER "
        f"{check['best_wer']:.2f} on dev while training, float {check['float_wer']:.2f}"
    )
    for warning in metrics["warnings"]:
        show(f"warning: {warning}")
    if metrics["skipped"]:
        show(f"left out {len(metrics['skipped'])} utterances of the training speech; metrics.json lists them")
    show(f"\n{outcome.verdict}")
    for caveat in outcome.caveats:
        show(f"- {caveat}")
    show(f"learning curve: {outcome.folder / 'learning.svg'}")
    show(f"{outcome.work} can be deleted; with it the same command goes on where it was")


def _row(found: Mapping[str, Any], p_value: float | None) -> list[str]:
    return [
        f"{found['wer']:.2f}",
        f"{found['low']:.2f} to {found['high']:.2f}",
        f"{found['substitutions']}/{found['deletions']}/{found['insertions']}",
        "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}",  # noqa: PLR2004
    ]
