"""Which words changed between two transcripts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

__all__ = ["Token", "WordDiff", "diff_words"]

_NOT_A_WORD = re.compile(r"[^\w']+")


@dataclass(frozen=True, slots=True)
class Token:
    """A run of words, and whether the other transcript has it."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both transcripts in runs of words; `changes` counts the longer side of every difference."""

    before: tuple[Token, ...]
    after: tuple[Token, ...]
    changes: int


def diff_words(before: str, after: str) -> WordDiff:
    """Compare word by word; case and punctuation, which no WER counts, are no difference."""
    old, new = before.split(), after.split()
    matcher = SequenceMatcher(None, [_key(w) for w in old], [_key(w) for w in new], autojunk=False)
    left: list[Token] = []
    right: list[Token] = []
    changes = 0
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        changed = kind != "equal"
        if i2 > i1:
            left.append(Token(" ".join(old[i1:i2]), changed))
        if j2 > j1:
            right.append(Token(" ".join(new[j1:j2]), changed))
        changes += max(i2 - i1, j2 - j1) if changed else 0
    return WordDiff(tuple(left), tuple(right), changes)


def _key(word: str) -> str:
    return _NOT_A_WORD.sub("", word).casefold() or word
