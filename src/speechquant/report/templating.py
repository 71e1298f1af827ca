"""Templates of the pages, and the style and script that stand inside a page."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from speechquant.errors import MissingExtraError

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["asset", "inline", "page_template"]


def page_template(name: str) -> Template:
    """A template with the filters of `formats`.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the page needs {error.name}: pip install 'speechquant[report]'") from error

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
    return environment.get_template(name)


def inline(*, styles: tuple[str, ...], scripts: tuple[str, ...]) -> dict[str, str]:
    """What `base.html` reads: the text of the files, and the hashes by which the page's policy allows them."""
    style, script = ("\n".join(map(asset, names)) for names in (styles, scripts))
    return {
        "style": style,
        "script": script,
        "style_hash": _csp_hash(style),
        "script_hash": _csp_hash(script),
    }


def asset(name: str) -> str:
    """The text of a file that lies beside the templates."""
    return resources.files("speechquant.report").joinpath("templates", name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
