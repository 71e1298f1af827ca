"""Vocabularies in the `tokenizer.json` format: ids to text without the tokenizers library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["BPEVocabulary"]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True, eq=False)
class BPEVocabulary:
    """Ids to text by the `decoder` section of a `tokenizer.json`; special tokens are left out.

    `tokens` maps ids to token strings, `special` holds the ids that are left out, `steps` are the decoder's
    stages, each mapping the list of token strings to a new list. Unknown ids are left out as well.
    """

    tokens: Mapping[int, str]
    special: frozenset[int]
    steps: tuple[Callable[[list[str]], list[str]], ...]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`."""
        pieces = [self.tokens[i] for i in ids if i in self.tokens and i not in self.special]
        for step in self.steps:
            pieces = step(pieces)
        return ("" if self.steps else " ").join(pieces)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], path: Path) -> BPEVocabulary:
        """Build from the parsed content of `path`.

        Raises:
            ModelError: the file has no vocabulary, damaged entries, or a decoder of an unknown type.
        """
        try:
            return cls._parsed(spec, path)
        except ModelError:
            raise
        except (
            AttributeError,
            LookupError,
            OverflowError,
            RecursionError,
            TypeError,
            ValueError,
            re.error,
        ) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ModelError(f"{path} is damaged ({reason}); fetch the model again") from error

    @classmethod
    def _parsed(cls, spec: Mapping[str, Any], path: Path) -> BPEVocabulary:
        model = spec.get("model")
        table = model.get("vocab") if isinstance(model, dict) else None
        if not isinstance(table, dict) or not table:
            raise ModelError(f"{path}: no vocabulary in it (model.vocab must map tokens to ids)")
        added = spec.get("added_tokens") or []
        tokens = {int(i): str(token) for token, i in table.items()}
        tokens.update({int(entry["id"]): str(entry["content"]) for entry in added})
        special = frozenset(int(entry["id"]) for entry in added if entry.get("special"))
        return cls(tokens, special, tuple(_steps(spec.get("decoder"), path)))


def _steps(spec: Mapping[str, Any] | None, path: Path) -> Iterable[Callable[[list[str]], list[str]]]:
    """The stages of a decoder section, nested sequences flattened."""
    if spec is None:
        return
    kind = spec.get("type")
    if kind == "Sequence":
        for part in spec["decoders"]:
            yield from _steps(part, path)
        return
    build = _BUILDERS.get(str(kind))
    if build is None:
        raise ModelError(
            f"{path}: decoder {kind!r} is not supported; supported are {', '.join(sorted(_BUILDERS))}"
        )
    yield build(spec)


def _replace(spec: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    pattern, content = spec["pattern"], str(spec["content"])
    regex = re.compile(pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"]))
    return lambda pieces: [regex.sub(lambda _: content, piece) for piece in pieces]


def _fuse(_: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    return lambda pieces: ["".join(pieces)]


def _strip(spec: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    content, start, stop = str(spec["content"]), int(spec["start"]), int(spec["stop"])

    def strip(piece: str) -> str:
        first = next((i for i, char in enumerate(piece[:start]) if char != content), min(start, len(piece)))
        rest = piece[first:]
        tail = rest[len(rest) - min(stop, len(rest)) :]
        cut = next((i for i, char in enumerate(reversed(tail)) if char != content), len(tail))
        return rest[: len(rest) - cut]

    return lambda pieces: [strip(piece) for piece in pieces]


def _metaspace(spec: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    mark = str(spec.get("replacement", "▁"))
    prepended = spec.get("prepend_scheme", "always") != "never"

    def decode(pieces: list[str]) -> list[str]:
        first = [piece.replace(mark, "" if prepended else " ") for piece in pieces[:1]]
        return first + [piece.replace(mark, " ") for piece in pieces[1:]]

    return decode


def _byte_fallback(_: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    def decode(pieces: list[str]) -> list[str]:
        result: list[str] = []
        pending = bytearray()
        for piece in [*pieces, None]:
            match = _BYTE_TOKEN.fullmatch(piece) if piece is not None else None
            if match:
                pending.append(int(match[1], 16))
                continue
            if pending:
                result.append(_text(bytes(pending)))
                pending.clear()
            if piece is not None:
                result.append(piece)
        return result

    return decode


def _text(data: bytes) -> str:
    """UTF-8 text of a run of byte tokens; a run that is not UTF-8 becomes one replacement mark per byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}" * len(data)


def _byte_level(_: Mapping[str, Any]) -> Callable[[list[str]], list[str]]:
    table = _byte_alphabet()

    def encode(piece: str) -> bytes:
        if all(char in table for char in piece):
            return bytes(table[char] for char in piece)
        return piece.encode("utf-8")

    return lambda pieces: [b"".join(map(encode, pieces)).decode("utf-8", errors="replace")]


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's stand-ins for the 256 bytes: printable Latin-1 as it is, the others from U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(0x100 + i): byte for i, byte in enumerate(hidden)}


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], Callable[[list[str]], list[str]]]] = {
    "ByteFallback": _byte_fallback,
    "ByteLevel": _byte_level,
    "Fuse": _fuse,
    "Metaspace": _metaspace,
    "Replace": _replace,
    "Strip": _strip,
}
