"""Results as tables for people, on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from speechquant.jobs.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleOptions
    from rich.segment import Segment

    from speechquant.artifact import Storage, Verification
    from speechquant.engines import Coverage
    from speechquant.jobs.engines import EngineReport
    from speechquant.jobs.evaluate import EvaluationReport
    from speechquant.jobs.export import EngineExport
    from speechquant.jobs.inspect import Inspection

__all__ = [
    "columns",
    "print_engines",
    "print_evaluation",
    "print_exports",
    "print_inspection",
    "print_verification",
    "show",
]

_SHOWN_PROBLEMS = 20
_SHOWN_SKIPS = 5
_UNWATCHED_WIDTH = 1000


def print_evaluation(report: EvaluationReport) -> None:
    """One line per model, the paired tests, speaker by speaker, and what was left out and why."""
    table = columns("model", "WER %", "95 % interval", "words", "sub", "del", "ins", "skipped", "capped")
    for result in report.results:
        found = result.evaluation
        errors, interval = found.errors, found.interval
        table.add_row(
            escape(result.target),
            f"{found.wer:.2f}",
            f"{interval.low:.2f} to {interval.high:.2f}",
            *(str(n) for n in (errors.words, errors.substitutions, errors.deletions, errors.insertions)),
            str(len(found.skipped)),
            str(found.capped),
        )
    show(table, f"{report.data}, text normaliser {report.normalizer}")
    for test in report.tests:
        better = {"first": test.first, "second": test.second, None: "neither"}[test.outcome.better]
        show(f"MAPSSWE: {test.first} against {test.second}: p = {test.outcome.p_value:.3g}, better: {better}")
    _print_speakers(report)
    # Models that need different sampling rates or lengths may skip different utterances.
    skipped = {skip.id: skip.reason for result in report.results for skip in result.evaluation.skipped}
    for name, reason in list(skipped.items())[:_SHOWN_SKIPS]:
        show(f"skipped {name}: {reason}")
    if len(skipped) > _SHOWN_SKIPS:
        show(f"and {len(skipped) - _SHOWN_SKIPS} more; --json lists them")


def _print_speakers(report: EvaluationReport) -> None:
    scores = [result.evaluation.score.speakers for result in report.results]
    names = {name: errors.words for speakers in scores for name, errors in speakers.items()}
    if len(names) < 2:  # noqa: PLR2004 - nothing to compare
        return
    models = [result.target for result in report.results] if len(scores) > 1 else ["WER %"]
    table = columns("speaker", "words", *map(escape, models))
    for name in sorted(names):
        rates = (f"{speakers[name].wer:.2f}" if name in speakers else "" for speakers in scores)
        table.add_row(escape(name), str(names[name]), *rates)
    show(table)


def print_inspection(found: Inspection) -> None:
    """One line per quantized tensor, then what the engine runs in 8 bits."""
    from speechquant.artifact import cutoffs_text

    info = found.info
    show(f"{info.model.name}: {info.bits} by {info.method}")
    if info.p_opt is not None:
        show(f"cut-off: {cutoffs_text(info.p_opt)}")
    if info.float_layers:
        show(f"left in float by the search: {', '.join(info.float_layers)}")
    table = columns("site", "layer", "bits", "scale", "clips at", "largest seen", "selected", "runs in")
    for row in found.rows:
        many = f", largest of {row.scales}" if row.scales > 1 else ""
        table.add_row(
            escape(row.site),
            escape(row.layer),
            str(row.bits),
            f"{row.scale:.4g}{many}",
            f"{row.threshold:.4g}",
            "" if row.maximum is None else f"{row.maximum:.4g}",
            "yes" if row.selected else "",
            row.runs,
        )
    show(table)
    show(storage_text(found.storage))
    if found.coverage is not None:
        show(coverage_text(found.coverage))
        for name in found.coverage.fallbacks:
            defect = ", although int8 was asked for" if name in found.coverage.broken else ""
            show(f"runs in float: {name}{defect}")
    for name, other in found.exports.items():
        if name != found.engine and other is not None:
            show(f"{name}: {coverage_text(other)}")


def storage_text(found: Storage) -> str:
    """Bytes of the weights with the ratio to float32, and bits on average."""
    bits = f"{found.average_bits:.2f} bits per parameter"
    if found.quantized_bits is not None:
        bits += f", {found.quantized_bits:.2f} per quantized weight"
    if found.searched_bits is not None:
        bits += f", {found.searched_bits:.2f} where bits were searched"
    return (
        f"model.safetensors: {found.stored_bytes / 1e6:.2f} MB, {found.ratio:.2f} times smaller than float32 "
        f"({found.packed_ratio:.2f} before entropy coding); {bits}"
    )


def coverage_text(found: Coverage) -> str:
    """How many operators run in int8, or keep their weights in 4 bits."""
    if found.small == found.int8:
        return f"{found.int8} of {found.total} operators with weights run in int8"
    text = f"{found.weights_4bit} of {found.total} operators keep their weights in 4 bits"
    if found.expanded:
        text += f", {len(found.expanded)} more have 4 bits in the file and become float when it is loaded"
    return f"{text}; {found.int8} run in int8" if found.int8 else text


def print_exports(done: Sequence[EngineExport]) -> None:
    """One line per engine, then the operators that it runs in float."""
    small = any(item.coverage.small > item.coverage.int8 for item in done)
    table = columns("engine", "MB", "int8 operators", *(["4-bit weights"] if small else []), "folder")
    for item in done:
        found = item.coverage
        cells = [
            f"{found.int8} of {found.total}",
            *([f"{found.weights_4bit} of {found.total}"] if small else []),
        ]
        table.add_row(item.engine, f"{item.bytes / 1e6:.1f}", *cells, escape(str(item.folder)))
    show(table)
    for item in done:
        for name in item.coverage.fallbacks:
            defect = ", although int8 was asked for" if name in item.coverage.broken else ""
            show(f"{item.engine} runs in float: {name}{defect}")
        if item.coverage.expanded:
            names = ", ".join(item.coverage.expanded)
            show(f"{item.engine} makes weights float when it loads the file: {names}")


def print_engines(found: EngineReport) -> None:
    """The processor, one line per engine, and warnings."""
    show(f"{found.cpu.name} ({found.cpu.machine}), {found.cores} cores")
    show(f"can do: {', '.join(found.cpu.features) or 'unknown'}")
    table = columns("engine", "version", "uses")
    for engine in found.engines:
        table.add_row(engine.name, engine.version or "", engine.uses)
    show(table)
    for warning in found.warnings:
        show(f"warning: {warning}")


def print_verification(found: Verification) -> None:
    """One line per check, then the problems."""
    table = columns("check", "items", "result")
    for check in found.checks:
        table.add_row(check.name, str(check.items), "ok" if check.passed else f"{len(check.problems)} wrong")
    show(table)
    for problem in found.problems[:_SHOWN_PROBLEMS]:
        show(problem)
    if len(found.problems) > _SHOWN_PROBLEMS:
        show(f"and {len(found.problems) - _SHOWN_PROBLEMS} more")


def columns(*names: str, title: str | None = None) -> Table:
    """A plain table with these columns; the first is never wrapped."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for index, column in enumerate(names):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    return table


def show(*items: Table | str) -> None:
    """Print, without control characters that came from elsewhere.

    Tables are as wide as their contents when nobody looks, so that `grep` finds whole lines.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_UNWATCHED_WIDTH)
    for item in items:
        if isinstance(item, str):
            console.print(printable(item), markup=False, soft_wrap=True)
        else:
            console.print(_Harmless(item))


class _Harmless:
    """A table whose cells cannot command the terminal."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._table, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
