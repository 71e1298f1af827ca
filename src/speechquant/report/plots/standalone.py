"""A plot as a file of its own: the colours of the page for light and for dark surroundings, in plain words of CSS."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from speechquant.report.templating import asset

__all__ = ["as_file", "plain_style"]

_PAIR = re.compile(r"light-dark\((.+?), (.+?)\)")
_NAMED = re.compile(r"--([\w-]+): ([^;]+);")
_USE = re.compile(r"var\(--([\w-]+)\)")
_BASE = "svg.plot { background: var(--card); padding: 12px; font: 12px system-ui, sans-serif; }"
_PLOTS = (".plot ", ".fill-")


def as_file(markup: str) -> str:
    """The text of an SVG file from an `<svg>` element."""
    opening, rest = markup.split(">", 1)
    style = escape(f"{plain_style(0)}\n@media (prefers-color-scheme: dark) {{\n{plain_style(1)}\n}}")
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n'


def plain_style(theme: int) -> str:
    """The rules for plots of `style.css` in the light (0) or the dark theme (1).

    Colours are written out, as viewers other than browsers know neither `light-dark` nor `var`.
    """
    sheet = _PAIR.sub(lambda pair: pair[theme + 1], asset("style.css"))
    named = dict(_NAMED.findall(sheet))
    rules = [_BASE, *(line for line in sheet.splitlines() if line.startswith(_PLOTS))]
    return _USE.sub(lambda use: named[use[1]], "\n".join(rules))
