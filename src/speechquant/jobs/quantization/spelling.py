"""References that a model cannot spell, which count as errors of the model and are worth a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.decoding import CTCVocabulary
from speechquant.metrics import get_normalizer

if TYPE_CHECKING:
    from speechquant.data import Corpus
    from speechquant.decoding import Vocabulary

__all__ = ["unwritable"]

_SHOWN = 10
# Whisper's normaliser turns words into digits and back, so single letters say nothing about its output.
_LETTER_BY_LETTER = ("none", "upper", "lower")


def unwritable(corpus: Corpus, vocabulary: Vocabulary, normalizer: str) -> str | None:
    """One line that names the characters of the transcripts that a CTC model has no token for, or None.

    Transcripts may contain any text, since errors are counted in words; but whoever sees a high rate should
    know of such a cause.
    """
    if not isinstance(vocabulary, CTCVocabulary) or normalizer not in _LETTER_BY_LETTER:
        return None
    normalize = get_normalizer(normalizer)
    kept = (text for i, text in vocabulary.tokens.items() if i not in vocabulary.special)
    tokens = "".join(text.lower() if vocabulary.lower else text for text in kept)
    # An apostrophe survives only inside a word, hence the letters around each character.
    writable = {char for token in set(tokens) for char in normalize(f"x{token}x")[1:-1]}
    counts: dict[str, int] = {}
    affected = 0
    for utterance in corpus:
        missing = {c for c in normalize(utterance.text or "") if not c.isspace()} - writable
        affected += bool(missing)
        for char in missing:
            counts[char] = counts.get(char, 0) + 1
    if not affected:
        return None
    often = sorted(counts, key=lambda char: (-counts[char], char))
    names = ", ".join(often[:_SHOWN]) + (f" and {len(often) - _SHOWN} more" if len(often) > _SHOWN else "")
    some = f"{affected} of {len(corpus)} transcripts hold"
    return f"{corpus.name}: {some} characters that the model cannot write ({names}): their words are errors"
