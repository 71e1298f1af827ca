"""The names under which manifests and data sets keep their columns, and rows turned into utterances."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["ALIASES", "Columns", "Fields", "derive_ids", "read_fields"]

ALIASES: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "path", "audio_path", "file", "wav", "audio_filepath", "file_name", "filename"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "id": ("id", "utt_id", "utterance_id"),
    "seconds": ("seconds", "duration"),
    "offset": ("offset",),
}
_ASKED = frozenset(alias for aliases in ALIASES.values() for alias in aliases)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of a table's own column names holds what; None where it has none."""

    audio: str
    text: str | None
    speaker: str | None
    id: str | None
    seconds: str | None
    offset: str | None

    @staticmethod
    def find(names: Iterable[str], where: str) -> Columns:
        """Recognise the columns, in the order of `ALIASES`, whatever their case.

        Raises:
            DataError: no audio column; lists the columns found and those accepted. Two columns have a name that is
                asked for.
        """
        found: dict[str, str] = {}
        for name in names:
            plain = name.strip().lower()
            if plain in _ASKED and plain in found:
                raise DataError(f"{where}: two columns are named {plain!r}; rename or remove one")
            found[plain] = name
        chosen = {
            role: next((found[alias] for alias in aliases if alias in found), None)
            for role, aliases in ALIASES.items()
        }
        audio = chosen.pop("audio")
        if audio is None:
            shown = ", ".join(map(repr, found.values())) or "nothing"
            raise DataError(
                f"{where}: no audio column; found: {shown}; "
                f"accepted for audio: {', '.join(ALIASES['audio'])}; for text: {', '.join(ALIASES['text'])}"
            )
        return Columns(audio=audio, **chosen)


@dataclass(frozen=True, slots=True)
class Fields:
    """One row without its audio."""

    id: str | None
    text: str | None
    speaker: str | None
    seconds: float | None


def read_fields(row: Mapping[str, object], columns: Columns, where: str) -> Fields:
    """Check and convert one row's values.

    Raises:
        DataError: a transcript that is not text, a length that is not a positive number, or a segment of a
            longer file.
    """
    text = _value(row, columns.text)
    if text is not None and not isinstance(text, str):
        raise DataError(f"{where}: column {columns.text!r} must hold text, found {text!r}")
    if _number(row, columns.offset, where) not in {None, 0.0}:
        raise DataError(
            f"{where}: column {columns.offset!r} asks for a part of a longer file, which is not supported; "
            "cut the audio into one file per utterance"
        )
    return Fields(
        id=_name(_value(row, columns.id)),
        text=None if text is None else text.strip(),
        speaker=_name(_value(row, columns.speaker)),
        seconds=_number(row, columns.seconds, where),
    )


def derive_ids(paths: Sequence[str]) -> list[str]:
    """Ids for audio without any: the bare file name, or the path without its suffix where names repeat."""
    stems = [PurePath(path).stem for path in paths]
    if len(set(stems)) == len(set(paths)):
        return stems
    return [os.path.splitext(path)[0] for path in paths]  # noqa: PTH122  # "." has no suffix to replace


def _value(row: Mapping[str, object], column: str | None) -> object:
    return None if column is None else row.get(column)


def _name(value: object) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


def _number(row: Mapping[str, object], column: str | None, where: str) -> float | None:
    value = _value(row, column)
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0.0 <= number < math.inf:
        raise DataError(f"{where}: column {column!r} must hold seconds, found {value!r}")
    return number
