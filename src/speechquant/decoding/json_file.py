"""Small JSON files that others wrote: bounded before they are read, checked to hold an object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from speechquant.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.errors import SpeechquantError

__all__ = ["MAXIMUM_JSON_BYTES", "read_json", "read_small"]

MAXIMUM_JSON_BYTES = 64 * 1024 * 1024
_ADVICE = "fetch the model again"


def read_small(path: Path, *, fault: type[SpeechquantError] = ModelError, advice: str = _ADVICE) -> bytes:
    """The bytes of a JSON file of sensible size.

    Args:
        path: the file.
        fault: what is raised.
        advice: what its message tells to do.

    Raises:
        SpeechquantError: as `fault`: unreadable, or larger than 64 MiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_JSON_BYTES + 1)
    except OSError as error:
        raise fault(f"{path}: cannot be read: {error.strerror or error}; {advice}") from error
    if len(content) > MAXIMUM_JSON_BYTES:
        raise fault(f"{path}: larger than 64 MiB, which no such file is; {advice}")
    return content


def read_json(
    path: Path, *, fault: type[SpeechquantError] = ModelError, advice: str = _ADVICE
) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        fault: what is raised.
        advice: what its message tells to do.

    Raises:
        SpeechquantError: as `fault`: unreadable, too large, or not a JSON object.
    """
    content = read_small(path, fault=fault, advice=advice)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise fault(f"{path} is not readable JSON ({error}); {advice}") from error
    if not isinstance(values, dict):
        raise fault(f"{path} must hold a JSON object; {advice}")
    return values
