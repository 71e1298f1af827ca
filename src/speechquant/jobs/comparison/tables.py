"""The rows as tables of text, for the terminal, Markdown and the page alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from speechquant.jobs.bench.tables import Grid, ms
from speechquant.jobs.comparison.result import mark
from speechquant.jobs.comparison.speed_tables import about_latency
from speechquant.report.formats import duration, p_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from speechquant.artifact import Storage
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.comparison.result import CompareResult, Row
    from speechquant.metrics import PairedTest

    Column = tuple[str, Callable[[Row], str]]

__all__ = ["conditions", "grids", "notes"]


def grids(result: CompareResult, *, short: bool = False) -> tuple[Grid, ...]:
    """All tables; `short` leaves out of the first one what does not fit a terminal."""
    if not result.rows:
        return ()
    rates = _short_grid(result) if short else _main_grid(result)
    return (rates,) if result.all_brought else (rates, _search_grid(result))


def _main_grid(result: CompareResult) -> Grid:
    """Rates with everything that must stand beside them, and what the paired tests say."""
    brought = any(row.form == "given" for row in result.rows)
    columns: list[Column] = [
        ("row" if brought else "method", lambda row: row.name if row.form == "given" else row.method),
        ("method", lambda row: row.method if row.form == "given" else ""),
        ("bits", lambda row: row.bits),
        ("layers", lambda row: "" if result.all_brought else row.layers),
        ("MB", partial(_size, result=result)),
        ("ms", partial(_latency, result=result)),
        ("dev WER % (95 %), S/D/I", lambda row: _rate(row.dev)),
        ("test WER % (95 %), S/D/I", lambda row: _rate(row.test)),
        *((title, partial(_tests, reference=name)) for name, title in _references(result)),
        *_storage(result),
        ("compressed in", _compressed),
    ]
    return _grid("Word error rates", columns, result)


def _short_grid(result: CompareResult) -> Grid:
    """What fits a terminal: rates without their intervals, and the tests on the test set."""
    columns: list[Column] = [
        ("row", lambda row: row.name),
        ("MB", partial(_size, result=result)),
        ("ms", partial(_latency, result=result)),
        ("dev WER %", lambda row: f"{row.dev.wer:.2f}" if row.dev else ""),
        ("test WER %", lambda row: f"{row.test.wer:.2f}" if row.test else ""),
        *((title, partial(_test, reference=name)) for name, title in _references(result)),
        *_storage(result),
    ]
    return _grid("Word error rates, and what paired tests on the test set say", columns, result)


def _grid(title: str, columns: Sequence[Column], result: CompareResult) -> Grid:
    """One line per row that has figures; columns in which nothing stands are left out."""
    rows = [row for row in result.rows if row.error is None]
    filled = [(head, [cell(row) for row in rows]) for head, cell in columns]
    kept = [(head, cells) for head, cells in filled if any(cells)]
    lines = zip(*(cells for _, cells in kept), strict=True)
    return Grid(title, tuple(head for head, _ in kept), tuple(lines))


def _search_grid(result: CompareResult) -> Grid:
    """What was chosen for each row, and what it took."""
    head = ("row", "clipped layers", "p_opt %", "passes to choose", "time")
    rows = []
    for row in result.rows:
        if row.found is not None:
            passes = str(row.found.search_passes or "")
            clipped = ", ".join(row.found.clipped) or ("none" if passes else "")
            if row.form == "plain" and row.found.clipped:
                clipped = "all"
            rows.append((row.name, clipped, _p_opt(row), passes, duration(row.found.seconds)))
    return Grid("Choices and costs", head, tuple(rows))


def notes(result: CompareResult) -> list[str]:
    """How to read the tables, one line each; nothing where no rows were asked for."""
    if not result.planned:
        return []
    where = result.conditions
    scored = [f"{role} {_words(result, role):,} words" for role in ("dev", "test") if role in where.speech]
    lines = [
        f"{', '.join(scored)}; text normaliser {where.normalizer}",
        "S/D/I: substitutions, deletions, insertions; capped: transcripts that ran into the length limit",
        "better, worse: significant in the two-sided paired test MAPSSWE at 0.05, which gives the p behind it",
        "equal: no significant difference; a set of few words cannot show a small one",
        *_about_sizes(result),
        *about_latency(result),
    ]
    if any(row.form == "given" for row in result.rows):
        lines.append("rows that were brought along: artifacts ran in ONNX Runtime, float models in PyTorch")
    if any(row.found and row.found.search_passes for row in result.rows):
        count, spoken = where.speech["choices"]
        whole = where.speech["choices"] == where.speech["dev"]
        part = "all of dev" if whole else f"{count} utterances of dev with {spoken:,} words"
        grid = where.cutoffs
        selected = any(row.form in ("layer-adaptive", "stablequant") for row in result.rows)
        chosen = f"layers, for gamma {where.gamma:g}, and cut-offs" if selected else "cut-offs"
        lines.append(
            f"{chosen} were chosen on {part}; {len(grid)} cut-offs from {grid[0]:g} "
            f"to {grid[-1]:g} %. Final figures are of all of dev and test, test served for nothing else"
        )
    if any(row.form == "layer-adaptive" for row in result.rows):
        lines.append(
            "adaptive-: the layers StableQuant selects get this calibrator, the others the largest value"
        )
    if any(row.form == "plain" and row.found and row.found.clipped for row in result.rows):
        lines.append(
            "plain-stablequant: all layers of the row are clipped, at the one cut-off that is best on dev"
        )
    if any(row.method.startswith(("percentile", "adaptive-percentile")) for row in result.rows):
        lines.append(f"percentile without a number keeps {where.percentile:g} %")
    lines += [f"{row.name} failed: {row.error}" for row in result.failed]
    if len(result.rows) < result.planned:
        lines.append(f"{len(result.rows)} of {result.planned} rows; the same command goes on")
    return lines


def _about_sizes(result: CompareResult) -> list[str]:
    arithmetic = "quantized weights packed at their bits, scales and the rest in float32"
    if all(row.found is None or row.found.storage is None for row in result.rows):
        return [f"MB (10^6 bytes) by arithmetic: {arithmetic}"]
    file = "model.safetensors of an artifact as it lies on disk, integers entropy coded"
    sizes = f"MB (10^6 bytes): {file}; of the float model its parameters in float32"
    if not result.all_brought:
        sizes = f"MB (10^6 bytes) by arithmetic: {arithmetic}; of an artifact its file without entropy coding"
        sizes += f". MB on disk: {file}"
    bits = "bits: of weights and of activations, the former on average where a search gave them; average bits: of all "
    return [
        sizes,
        bits + "parameters; ratio: bytes of all parameters in float32 over those of the file on disk",
    ]


def conditions(result: CompareResult) -> list[str]:
    """Speech of each role, machine and versions, one line each."""
    where = result.conditions
    speech = [f"{count:,} of {role}" for role, (count, _) in where.speech.items() if role != "choices"]
    return [
        f"utterances: {', '.join(speech)}",
        where.machine,
        ", ".join(f"{name} {version}" for name, version in where.versions.items()),
    ]


def _words(result: CompareResult, role: str) -> int:
    """Reference words as they are scored: a normaliser may write one as two. As they are spoken, where no row is."""
    scored = next((found for row in result.rows if (found := getattr(row, role)) is not None), None)
    return scored.errors.words if scored else result.conditions.speech[role][1]


def _references(result: CompareResult) -> list[tuple[str, str]]:
    """What rows are tested against, and how the column is called."""
    control = [("control", f"against {result.control.name}")] if result.control else []
    return [("float", "against float"), ("stablequant", "against StableQuant"), *control]


def _size(row: Row, result: CompareResult) -> str:
    size = result.size(row)
    return "" if size is None else _megabytes(size, 2 if result.all_brought else 1)


def _latency(row: Row, result: CompareResult) -> str:
    found = result.milliseconds(row)
    return "" if found is None else ms(found)


def _storage(result: CompareResult) -> list[Column]:
    """What is known of artifacts alone."""
    stored = {row.name: row.found.storage for row in result.rows if row.found and row.found.storage}

    def figure(row: Row, text: Callable[[Storage], str]) -> str:
        return text(stored[row.name]) if row.name in stored else ""

    def average(row: Row) -> str:
        return "32.00" if stored and row.is_float else figure(row, lambda found: f"{found.average_bits:.2f}")

    def on_disk(row: Row) -> str:
        return "" if result.all_brought else figure(row, lambda found: _megabytes(found.stored_bytes, 2))

    return [
        ("average bits", average),
        ("MB on disk", on_disk),
        ("ratio", lambda row: figure(row, lambda found: f"{found.ratio:.2f}")),
    ]


def _megabytes(size: int, digits: int) -> str:
    return f"{size / 1e6:.{digits}f}"


def _compressed(row: Row) -> str:
    seconds = row.found.compression_seconds if row.found else None
    return "" if seconds is None else duration(seconds)


def _rate(found: Evaluation | None) -> str:
    if found is None:
        return ""
    errors, interval = found.errors, found.interval
    counts = f"{errors.substitutions}/{errors.deletions}/{errors.insertions}"
    capped = f", {found.capped} capped" if found.capped else ""
    return f"{found.wer:.2f} ({interval.low:.2f} to {interval.high:.2f}), {counts}{capped}"


def _tests(row: Row, reference: str) -> str:
    found = row.against.get(reference, {})
    if list(found) == ["test"]:
        return _outcome(found["test"])
    return "; ".join(f"{data} {_outcome(test)}" for data, test in found.items())


def _test(row: Row, reference: str) -> str:
    test = row.against.get(reference, {}).get("test")
    return _outcome(test) if test else ""


def _outcome(test: PairedTest) -> str:
    return f"{mark(test)} {p_value(test.p_value)}"


def _p_opt(row: Row) -> str:
    p = row.found.p_opt if row.found else None
    if p is None:
        return ""
    return ", ".join(f"{layer} {value:g}" for layer, value in p.items()) if isinstance(p, dict) else f"{p:g}"
