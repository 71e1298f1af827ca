"""From report data to one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.errors import MissingExtraError, StorageError

if TYPE_CHECKING:
    from jinja2 import Environment

    from speechquant.report.data import ReportData

__all__ = ["render", "write_report"]


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

    style, script = _asset("style.css"), _asset("theme.js")
    return environment.get_template("page.html").render(
        **build_view(data),
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def write_report(data: ReportData, path: Path | str) -> Path:
    """Render to `path`, which is replaced as a whole or not at all.

    Raises:
        StorageError: The file cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    target = Path(path)
    page = render(data)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8", newline="\n")
        temporary.replace(target)
    except OSError as error:
        reason = f"cannot write the report ({error.strerror})"
        raise StorageError(f"{target}: {reason}; check the folder, its permissions and free space") from error
    finally:
        # Also after Ctrl-C; the folder itself may be what is missing.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target


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
    environment.globals |= {"share": formats.share, "against_float": against_float}
    return environment


def _asset(name: str) -> str:
    return resources.files("speechquant.report").joinpath("templates", name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
