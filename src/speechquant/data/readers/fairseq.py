"""The manifests of fairseq: `x.tsv` lists audio, `x.ltr` or `x.wrd` its transcripts line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.data.columns import derive_ids
from speechquant.data.fingerprint import file_size
from speechquant.data.readers.base import Entry, register
from speechquant.data.text_file import read_text
from speechquant.data.utterance import Utterance
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FairseqReader"]


@register(order=30)
class FairseqReader:
    """First line the root folder, then `relative/path<TAB>frames`."""

    kind = "a fairseq .tsv with .ltr or .wrd beside it"

    def can_read(self, path: Path) -> bool:
        """Whether the first line has no tab and the second is a path, a tab and a number."""
        if path.suffix.lower() != ".tsv" or not path.is_file():
            return False
        with path.open("rb") as file:
            first, second = file.readline(1 << 16), file.readline(1 << 16)
        parts = second.strip().split(b"\t")
        return b"\t" not in first.strip() and [part.isdigit() for part in parts[1:]] == [True]

    def read(self, path: Path) -> Iterator[Entry]:
        """Words come from `.wrd`, or from the letters and `|` of `.ltr`; without either there is no text."""
        root, *lines = read_text(path).split("\n")
        rows = [(number, line) for number, line in enumerate(lines, start=2) if line.strip()]
        texts = _transcripts(path, len(rows))
        names = [line.split("\t")[0].strip() for _, line in rows]
        folder = _root(path, root.strip(), names)
        for (number, line), name, identity, text in zip(rows, names, derive_ids(names), texts, strict=True):
            if not name or not line.partition("\t")[2].strip().isdigit():
                raise DataError(
                    f"{path}, line {number}: expected 'relative/path<TAB>frames', found {line[:60]!r}"
                )
            yield Entry(Utterance(identity, folder / name, text), f"{path}, line {number}")


def _root(path: Path, root: str, names: list[str]) -> Path:
    # fairseq means a relative root from the working folder; manifests that were moved mean their own folder.
    beside = path.parent / root
    return beside if any(file_size(beside / name) is not None for name in names[:1]) else Path(root)


def _transcripts(path: Path, count: int) -> list[str] | list[None]:
    words, letters = path.with_suffix(".wrd"), path.with_suffix(".ltr")
    if words.is_file():
        source, texts = words, read_text(words).split("\n")
    elif letters.is_file():
        source = letters
        texts = ["".join(line.split()).replace("|", " ").strip() for line in read_text(letters).split("\n")]
    else:
        return [None] * count
    while len(texts) > count and not texts[-1].strip():
        texts.pop()
    if len(texts) != count:
        raise DataError(f"{source}: {len(texts)} transcripts for the {count} audio files of {path.name}")
    return [text.strip() for text in texts]
