"""The page of a comparison, and its pictures as files of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from speechquant.report.compare_amplitudes import draw_amplitudes
from speechquant.report.plots.latency_lines import draw_latency_lines
from speechquant.report.plots.pareto import draw_pareto
from speechquant.report.templating import asset, inline, page_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.report.compare_amplitudes import AmplitudeFigure
    from speechquant.report.data import TradeoffPoint
    from speechquant.report.plots.latency_lines import LatencyFigure

__all__ = ["ComparePage", "LatencyPart", "PageTable", "amplitude_file", "pareto_file", "render_compare"]

_STYLES = ("style.css", "compare.css")
_WIDE, _NARROW, _FILE = 960, 340, 820
# Of `compare.css`, the ones that `bench` gives the engines in its figure.
_ENGINES = ("s6", "s0", "s4", "s3", "s2", "s1")


@dataclass(frozen=True, slots=True)
class PageTable:
    """One table: what it shows, its columns, its rows of text, and remarks below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """How fast systems are: the picture, None where nothing was measured, tables, and remarks below them."""

    figure: LatencyFigure | None
    tables: tuple[PageTable, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComparePage:
    """What the page shows; `facts` stand below the title, `conditions` at the end.

    `points` are drawn by rate and size, and by rate and latency where they have one, with the `references` as
    lines; `size` and `milliseconds` say what these are.
    """

    title: str
    facts: tuple[str, ...]
    tables: tuple[PageTable, ...]
    command: str
    conditions: tuple[str, ...] = ()
    points: tuple[TradeoffPoint, ...] = ()
    references: tuple[TradeoffPoint, ...] = ()
    size: str = "size in MB"
    milliseconds: str = "latency in ms"
    amplitudes: tuple[AmplitudeFigure, ...] = ()
    latency: LatencyPart | None = None
    warnings: tuple[str, ...] = field(default=())


def render_compare(page: ComparePage) -> str:
    """The page as text: style, script and plots inside, nothing outside.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    figure = page.latency.figure if page.latency else None
    return page_template("compare.html").render(
        page=page,
        pareto=_both(partial(_pareto, page)) if page.points else None,
        speeds=any(point.milliseconds is not None for point in page.points),
        latency=_both(lambda width: draw_latency_lines(figure, width, _ENGINES)) if figure else None,
        amplitudes=[
            {"key": figure.key, "title": figure.title} | _both(partial(draw_amplitudes, figure))
            for figure in page.amplitudes
        ],
        **inline(styles=_STYLES, scripts=("theme.js",)),
    )


def pareto_file(page: ComparePage) -> str:
    """Word error rate against size, and latency where it is known, as the text of an SVG file."""
    return _file(_pareto(page, _FILE))


def amplitude_file(figure: AmplitudeFigure) -> str:
    """One part of Figure 1 as the text of an SVG file."""
    return _file(draw_amplitudes(figure, _FILE))


def _pareto(page: ComparePage, width: int) -> str:
    return draw_pareto(page.points, page.references, width, page.size, page.milliseconds)


def _both(draw: Callable[[int], str]) -> dict[str, Any]:
    return {"wide": draw(_WIDE), "narrow": draw(_NARROW)}


def _file(markup: str) -> str:
    """A picture that brings its colours along, for light and for dark surroundings."""
    opening, rest = markup.split(">", 1)
    style = escape(
        "".join(map(asset, _STYLES))
        + "svg.plot { background: var(--card); padding: 12px; font-family: system-ui, sans-serif; }"
    )
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'
