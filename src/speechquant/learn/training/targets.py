"""Transcripts in the letters or tokens that a model writes."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Protocol

from speechquant.decoding import CTCVocabulary
from speechquant.errors import MissingExtraError, ModelError
from speechquant.metrics import get_normalizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from speechquant.models import SpeechModel

__all__ = ["BPETargets", "CTCTargets", "Targets", "sentence", "spelled", "targets_of"]


class Targets(Protocol):
    """Turns a transcript into ids."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without start and end; empty where nothing of it can be written."""
        ...


class CTCTargets:
    """Letters of a CTC vocabulary: the case that it has, its token between words, nothing that it lacks.

    Characters that the vocabulary lacks are tried without their accents, then left out.

    Raises:
        ModelError: the vocabulary has tokens of several characters, whose spelling is not unique.
    """

    def __init__(self, vocabulary: CTCVocabulary) -> None:
        kept = {i: token for i, token in vocabulary.tokens.items() if i not in vocabulary.special}
        letters = {token: i for i, token in kept.items() if i != vocabulary.delimiter}
        if any(len(token) != 1 for token in letters):
            raise ModelError(
                "training needs a vocabulary of single letters; this one has longer tokens, such as "
                f"{next(token for token in letters if len(token) != 1)!r}"
            )
        self._ids = {**_other_case(letters), **letters}
        self._space = vocabulary.delimiter if vocabulary.delimiter is not None else letters.get(" ")

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, words apart where the vocabulary has a token for it."""
        words = [[i for char in word for i in self._letter(char)] for word in text.split()]
        ids: list[int] = []
        for word in words:
            if word and ids and self._space is not None:
                ids.append(self._space)
            ids += word
        return ids

    def _letter(self, char: str) -> list[int]:
        if char in self._ids:
            return [self._ids[char]]
        plain = unicodedata.normalize("NFKD", char)
        return [self._ids[part] for part in plain if part in self._ids]


def _other_case(letters: Mapping[str, int]) -> dict[str, int]:
    """The letters under the case that the vocabulary does not have."""
    found: dict[str, int] = {}
    for letter, i in letters.items():
        for other in (letter.lower(), letter.upper()):
            if len(other) == 1:
                found.setdefault(other, i)
    return found


class BPETargets:
    """Tokens of the model's own `tokenizer.json`.

    Raises:
        ModelError: there is no such file, or it cannot be read.
        MissingExtraError: tokenizers is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("training needs PyTorch: pip install 'speechquant[train]'") from error
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{folder} has no tokenizer.json, which training needs; fetch the model again")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"{path} cannot be read ({error}); fetch the model again") from error

    def encode(self, text: str) -> list[int]:
        """The ids of `text` without start and end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def targets_of(model: SpeechModel) -> Targets:
    """How transcripts become the targets of `model`."""
    vocabulary = model.vocabulary
    return CTCTargets(vocabulary) if isinstance(vocabulary, CTCVocabulary) else BPETargets(model.folder)


def sentence(text: str) -> str:
    """A transcript in capitals or small letters alone as a sentence; one in mixed case is left as it is.

    A model that writes case and punctuation would otherwise learn to do without.
    """
    text = " ".join(text.split())
    if text != text.upper() and text != text.lower():
        return text
    text = text.lower()
    return text[:1].upper() + text[1:] + ("" if text[-1:] in (".", "?", "!", "") else ".")


def spelled(reference: str, heard: str | None, normalizer: str) -> str:
    """The float model's own spelling where it heard the very words of the reference, else `sentence`.

    Args:
        reference: what was said.
        heard: what the float model wrote, with its case and punctuation; None where it was not asked.
        normalizer: the text normaliser that decides whether the words are the same.
    """
    normalize = get_normalizer(normalizer)
    if heard is not None and normalize(heard) == normalize(reference):
        return heard
    return sentence(reference)
