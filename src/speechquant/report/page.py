"""From report data to one self-contained HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.report.templating import inline, page_template
from speechquant.report.view import build_view

if TYPE_CHECKING:
    from speechquant.report.data import ReportData

__all__ = ["render"]

_STYLES = ("style.css", "layers.css", "words.css")
_SCRIPTS = ("theme.js", "tabs.js", "explorer.js")


def render(data: ReportData) -> str:
    """The page as text: style, script and plots inside, nothing outside.

    Its content security policy forbids every request, and every script and style but the page's own.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    template = page_template("page.html")
    return template.render(**build_view(data), **inline(styles=_STYLES, scripts=_SCRIPTS))
