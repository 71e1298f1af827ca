"""Latency against length of audio as a file of its own (Figure 2 of the StableQuant paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from speechquant.report.plots.latency_lines import LatencyFigure, LatencyLine, draw_latency_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.jobs.bench.result import BenchResult

__all__ = ["draw_latencies", "latency_figure"]

_WIDTH = 820
_COLOURS = (
    ("#5d6875", "#a7b3c0"),
    ("#c2410c", "#ff8f62"),
    ("#0b6e80", "#4cc4d6"),
    ("#6c4bc2", "#b9a1ff"),
    ("#18733a", "#5bd384"),
    ("#2f62b8", "#82b2ff"),
)
_DASHES = {"f32": "7 4", "bf16": "2 3"}
_LIGHT = {"card": "#ffffff", "ink": "#17212c", "muted": "#55616e", "grid": "#dfe4e9"}
_DARK = {"card": "#171e26", "ink": "#e9eef3", "muted": "#a3afbb", "grid": "#2c3743"}
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def draw_latencies(result: BenchResult, batch: int, labels: Mapping[str, str] | None = None) -> str:
    """An SVG document that follows the reader's light or dark colour scheme; `labels` as in `latency_figure`."""
    title = f"{result.title}; threads: {result.provenance.threads}, batch: {batch}"
    colours = [f"engine-{index}" for index in range(len(_COLOURS))]
    figure = latency_figure(result, batch, labels)
    return _document(draw_latency_lines(figure, _WIDTH, colours, title=title))


def latency_figure(result: BenchResult, batch: int, labels: Mapping[str, str] | None = None) -> LatencyFigure:
    """The medians at one batch size, ready to be drawn; `labels` name systems in the picture otherwise."""
    cells = result.of_batch(batch)
    return LatencyFigure(
        tuple(cell.seconds for cell in cells),
        tuple(
            LatencyLine(
                name,
                system.engine,
                system.kind,
                tuple(cell.median[name] for cell in cells),
                (labels or {}).get(name, ""),
            )
            for name, system in result.systems.items()
        ),
    )


def _document(markup: str) -> str:
    """The picture with its styles and name space inside."""
    root = ET.fromstring(markup)  # noqa: S314 - our own markup
    root.set("xmlns", "http://www.w3.org/2000/svg")
    style = ET.Element("style")
    style.text = _css()
    root.insert(0, style)
    return ET.tostring(root, encoding="unicode") + "\n"


def _css() -> str:
    rules = [
        f"svg {{ font: 12px {_FONT}; }}",
        ".series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }",
        ".series.kind-int8 { stroke-width: 2.6; }",
        ".strong, .kind-int8 { font-weight: 600; }",
        *(f".series.kind-{kind} {{ stroke-dasharray: {dash}; }}" for kind, dash in _DASHES.items()),
        ".series.other { stroke-dasharray: 14 3 3 3; }",
        *_colours(_LIGHT, 0),
    ]
    dark = "\n".join(_colours(_DARK, 1))
    return "\n".join([*rules, f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}"])


def _colours(base: Mapping[str, str], column: int) -> list[str]:
    rules = [
        f".card {{ fill: {base['card']}; }}",
        f"text {{ fill: {base['ink']}; }}",
        f".tick, .axis {{ fill: {base['muted']}; }}",
        f".grid {{ stroke: {base['grid']}; }}",
        f".dot {{ stroke: {base['card']}; }}",
    ]
    for index, pair in enumerate(_COLOURS):
        rules.append(f".series.engine-{index} {{ stroke: {pair[column]}; }}")
        rules.append(f".dot.engine-{index}, .name.engine-{index} {{ fill: {pair[column]}; }}")
    return rules
