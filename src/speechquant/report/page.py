"""From report data to one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from speechquant.errors import MissingExtraError

if TYPE_CHECKING:
    from jinja2 import Environment

    from speechquant.report.data import ReportData

__all__ = ["render"]


def render(data: ReportData) -> str:
    """The page as text: style, script and plots inside, nothing outside.

    Its content security policy forbids every request, and every script and style but the page's own.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        environment = _environment()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the report needs {error.name}: pip install 'speechquant[report]'"
        ) from error
    from speechquant.report.view import build_view

    style, script = (
        "\n".join(map(_asset, names))
        for names in (
            ("style.css", "layers.css", "words.css"),
            ("theme.js", "tabs.js", "explorer.js"),
        )
    )
    return environment.get_template("page.html").render(
        **build_view(data),
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from speechquant.report import formats
    from speechquant.report.verdict import against_float

    environment = Environment(
        loader=PackageLoader("speechquant.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in formats.__all__ if name != "share"}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.globals |= {"share": formats.share, "against_float": against_float}
    return environment


def _asset(name: str) -> str:
    return resources.files("speechquant.report").joinpath("templates", name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
