"""Reference, float and quantized words of an utterance in common columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from speechquant.metrics import score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speechquant.metrics import AlignedWord
    from speechquant.report.data import TranscriptRow

__all__ = ["Aligned", "align", "payload"]

Column = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Aligned:
    """One utterance as its errors are counted.

    Attributes:
        row: The texts as they came.
        columns: Words of (reference, before, after) side by side; empty where a side has none.
        errors: Of before and of after, against the reference.
    """

    row: TranscriptRow
    columns: tuple[Column, ...]
    errors: tuple[int, int]

    @property
    def changed(self) -> bool:
        """Whether quantization changed a word that counts."""
        return any(before != after for _, before, after in self.columns)


def align(rows: Sequence[TranscriptRow], normalizer: str) -> list[Aligned]:
    """The alignments that the word error rates were counted on, merged over the reference.

    Without a transcript the float model's words are the reference.
    """
    references = {
        str(i): row.before if row.reference is None else row.reference for i, row in enumerate(rows)
    }
    before = score(references, {str(i): row.before for i, row in enumerate(rows)}, normalizer=normalizer)
    after = score(references, {str(i): row.after for i, row in enumerate(rows)}, normalizer=normalizer)
    return [
        Aligned(row, tuple(_columns(old.alignment, new.alignment)), (old.errors.errors, new.errors.errors))
        for row, old, new in zip(rows, before.utterances, after.utterances, strict=True)
    ]


def payload(found: Sequence[Aligned]) -> list[dict[str, Any]]:
    """What the page's script reads, as small as it gets.

    `i` is the id, `r` the reference words with a blank between columns, `f` and `q` what differs from them by
    column, `e` the errors of both, `t` the texts as they came (reference, float, quantized and naive) of those
    that changed.
    """
    return [_packed(item) for item in found]


def _packed(item: Aligned) -> dict[str, Any]:
    packed: dict[str, Any] = {
        "i": item.row.id,
        "r": " ".join(reference for reference, _, _ in item.columns),
        "f": {at: old for at, (word, old, _) in enumerate(item.columns) if old != word},
        "q": {at: new for at, (word, _, new) in enumerate(item.columns) if new != word},
        "e": item.errors,
    }
    if item.changed:
        packed["t"] = [item.row.reference, item.row.before, item.row.after, item.row.naive]
    return packed


def _columns(before: Sequence[AlignedWord], after: Sequence[AlignedWord]) -> Iterator[Column]:
    """Both alignments have the same reference words in the same order; between them stand insertions."""
    old, new = _by_reference(before), _by_reference(after)
    for (inserted_old, word, heard_old), (inserted_new, _, heard_new) in zip(old, new, strict=True):
        yield from (("", a, b) for a, b in zip_longest(inserted_old, inserted_new, fillvalue=""))
        if word is not None:
            yield word, heard_old, heard_new


def _by_reference(steps: Sequence[AlignedWord]) -> list[tuple[list[str], str | None, str]]:
    """Per reference word, and once more at the end: the words inserted before it, it, what was heard."""
    found: list[tuple[list[str], str | None, str]] = []
    inserted: list[str] = []
    for step in steps:
        if step.reference is None:
            inserted.append(step.hypothesis or "")
        else:
            found.append((inserted, step.reference, step.hypothesis or ""))
            inserted = []
    return [*found, (inserted, None, "")]
