"""What others wrote (names in an artifact, transcripts, paths), made harmless for a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["json_line", "one_line", "printable"]

# C0 without tab and newline, delete, C1: all that can begin a command to a terminal. Surrogates stand for bytes of file
# names that are not UTF-8, and cannot be written.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """The text without control characters other than tab and newline, and without what is no character."""
    return _CONTROLS.sub("", text)


def one_line(text: str) -> str:
    """As `printable`, with tab and newline, which may stand in the name of a file, escaped."""
    return printable(text.replace("\t", "\\t").replace("\n", "\\n"))


def json_line(values: Any) -> str:
    """JSON on one line, readable but for control characters, which are escaped."""
    text = json.dumps(values, ensure_ascii=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
