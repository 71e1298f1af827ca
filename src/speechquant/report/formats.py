"""Numbers as the page writes them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "about",
    "breakable",
    "count",
    "duration",
    "megabytes",
    "number",
    "p_value",
    "percent",
    "points",
    "ratio",
    "share",
]

NBSP = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
_SMALLEST_P = 0.001
_TWO_DIGITS_FROM = 0.1


def percent(value: float) -> str:
    """`2.55 %`; three figures are enough from 100 on."""
    if not math.isfinite(value):
        return NONE
    return f"{value:.2f}{NBSP}%"


def points(value: float) -> str:
    """`+0.23`, with a real minus sign."""
    if not math.isfinite(value):
        return NONE
    text = f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def about(text: str, share: float) -> str:
    """`≈ 2.55 %` where only a share of the words below 1 was heard, else the text as it is."""
    return f"≈{NBSP}{text}" if share < 1 else text


def count(value: int) -> str:
    """`1,684`."""
    return f"{value:,}"


def p_value(value: float | None) -> str:
    """`0.31`, `0.018`, `< 0.001`; a dash for no test."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < _SMALLEST_P:
        return f"<{NBSP}{_SMALLEST_P}"
    return f"{value:.2f}" if value >= _TWO_DIGITS_FROM else f"{value:.3f}"


def megabytes(value: int) -> str:
    """Bytes as `27.4 MB` (10^6 bytes)."""
    return f"{value / 1e6:,.1f}{NBSP}MB"


def share(part: float, whole: float) -> str:
    """`25.3 %` of the whole."""
    return f"{100 * part / whole:.1f}{NBSP}%" if whole else NONE


def ratio(numerator: float, denominator: float) -> str:
    """`2.1\N{MULTIPLICATION SIGN}`."""
    if not denominator or not math.isfinite(numerator / denominator):
        return NONE
    return f"{numerator / denominator:.1f}\N{MULTIPLICATION SIGN}"


def number(value: float) -> str:
    """Three significant figures without an exponent where people can read it: `0.0123`, `4.7`, `4,795`."""
    if not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude <= 6:  # noqa: PLR2004
        return f"{value:.2e}"
    digits = max(0, 2 - magnitude)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def breakable(name: str) -> Markup:
    """A dotted name as HTML that may be broken after its dots and colons, and so need not break inside a word."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([.:])(?=.)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped before


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 05 s`, `1 h 12 min`."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes}{NBSP}min {rest:02d}{NBSP}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NBSP}h {minutes:02d}{NBSP}min"
