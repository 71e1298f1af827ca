"""Latency against length of audio, a line per system (Figure 2 of the StableQuant paper), as a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from speechquant.report.formats import number
from speechquant.report.plots.axes import x_axis, y_axis
from speechquant.report.plots.canvas import Canvas, text_width
from speechquant.report.plots.scales import LogScale, fitting_scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.engines import LatencyResult
    from speechquant.jobs.bench.result import BenchResult
    from speechquant.jobs.bench.system import System
    from speechquant.report.plots.scales import Scale

__all__ = ["draw_latencies"]

_WIDTH, _TOP, _BOTTOM, _LEFT = 820, 56, 430, 56
_LABEL_HEIGHT = 16
# Engines differ by colour, kinds by dashes, so that the figure can be read in grey too.
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


@dataclass(frozen=True, slots=True)
class _Measured:
    """A scale whose ticks are the lengths that were measured."""

    scale: Scale
    lengths: tuple[float, ...]

    def __call__(self, value: float) -> float:
        return self.scale(value)

    def ticks(self) -> list[float]:
        return list(self.lengths)


def draw_latencies(result: BenchResult, batch: int) -> str:
    """An SVG document that follows the reader's light or dark colour scheme.

    Both axes are logarithmic where values lie far apart; lines of equal slope then differ by a factor.
    """
    cells = result.of_batch(batch)
    names = list(result.systems)
    right = _WIDTH - max(text_width(name) for name in names) - 18
    lengths = tuple(cell.seconds for cell in cells)
    medians = [cell.median for cell in cells]
    x = fitting_scale(lengths, _LEFT + 10, right - 10)
    y = fitting_scale([value for median in medians for value in median.values()], _BOTTOM, _TOP)
    canvas = Canvas(_WIDTH, _BOTTOM + 42, f"Latency against length of audio: {_spoken(cells)}")
    canvas.rect((0, 0), (_WIDTH, _BOTTOM + 42), "card", radius=8)
    canvas.text((10, 22), f"{result.title}; threads: {result.provenance.threads}, batch: {batch}", "strong")
    log = ", logarithmic" if isinstance(y, LogScale) else ""
    canvas.text((10, 42), f"latency in ms{log}", "axis")
    y_axis(canvas, y, _LEFT, right)
    log = ", logarithmic" if isinstance(x, LogScale) else ""
    x_axis(canvas, _Measured(x, lengths), (_TOP, _BOTTOM), "", lambda v: f"{v:g}")
    canvas.text((right, _BOTTOM + 34), f"seconds of audio{log}", "axis", "end")
    styles = _styles(result.systems)
    for name, style in styles.items():
        canvas.path([(x(s), y(m[name])) for s, m in zip(lengths, medians, strict=True)], f"series {style}")
        for seconds, median in zip(lengths, medians, strict=True):
            tip = f"{name}, {seconds:g} s: {number(median[name])} ms"
            canvas.circle((x(seconds), y(median[name])), 3.2, f"dot {style}", tip)
    for name, height in _label_heights({name: y(medians[-1][name]) for name in names}).items():
        canvas.text((right + 8, height + 4), name, f"name {styles[name]}")
    return _document(canvas)


def _styles(systems: Mapping[str, System]) -> dict[str, str]:
    """Classes by system; a second system of the same engine and kind is drawn in another way."""
    engines = list(dict.fromkeys(system.engine for system in systems.values()))
    found: dict[str, str] = {}
    for name, system in systems.items():
        style = f"engine-{engines.index(system.engine) % len(_COLOURS)} kind-{system.kind}"
        found[name] = f"{style} other" if style in found.values() else style
    return found


def _label_heights(wanted: Mapping[str, float]) -> dict[str, float]:
    """Where labels stand that want to be at these heights: close to them, apart from each other."""
    order = sorted(wanted, key=wanted.__getitem__)
    heights = [wanted[name] for name in order]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + _LABEL_HEIGHT)
    # What was pushed out at the bottom pushes the others up.
    heights[-1] = min(heights[-1], _BOTTOM)
    for index in reversed(range(len(heights) - 1)):
        heights[index] = min(heights[index], heights[index + 1] - _LABEL_HEIGHT)
    assert all(two - one >= _LABEL_HEIGHT - 1e-6 for one, two in pairwise(heights))
    return dict(zip(order, heights, strict=True))


def _spoken(cells: Sequence[LatencyResult]) -> str:
    longest = cells[-1]
    values = ", ".join(f"{name} {number(value)} ms" for name, value in longest.median.items())
    return f"at {longest.seconds:g} s {values}"


def _document(canvas: Canvas) -> str:
    """The picture with its styles and name space inside."""
    root = ET.fromstring(canvas.markup())  # noqa: S314 - our own markup
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
