"""Text normalisers by name: what is done to references and hypotheses before words are compared.

A normaliser is never guessed: its name stands beside every word error rate.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache

from speechquant.errors import RecipeError

__all__ = ["Normalizer", "get_normalizer", "register_normalizer"]

Normalizer = Callable[[str], str]

# whisper-normalizer adds these rules to Whisper's; the first changes the sense of "the republican cause".
_NOT_IN_WHISPER = (r"\bcause\b", r"\bkinda\b", r"\bsorta\b", r"\bdunno\b")

_NORMALIZERS: dict[str, Normalizer] = {}
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\uff07": "'"})


def register_normalizer(name: str) -> Callable[[Normalizer], Normalizer]:
    """Make the decorated function available as `name`.

    Raises:
        ValueError: `name` is taken.
    """

    def register(function: Normalizer) -> Normalizer:
        if name in _NORMALIZERS:
            raise ValueError(f"text normaliser {name!r} is registered twice")
        _NORMALIZERS[name] = function
        return function

    return register


def get_normalizer(name: str) -> Normalizer:
    """The normaliser called `name`.

    Raises:
        RecipeError: no normaliser has this name.
    """
    try:
        return _NORMALIZERS[name]
    except KeyError:
        known = ", ".join(_NORMALIZERS)
        raise RecipeError(f"unknown text normaliser {name!r}: choose one of {known}") from None


@register_normalizer("none")
def _none(text: str) -> str:
    return text


@register_normalizer("upper")
def _upper(text: str) -> str:
    """LibriSpeech's convention: capitals, no punctuation but the apostrophe, single spaces."""
    return _without_punctuation(text).upper()


@register_normalizer("lower")
def _lower(text: str) -> str:
    return _without_punctuation(text).lower()


@register_normalizer("whisper-english")
def _whisper_english(text: str) -> str:
    """Whisper's English normaliser: for models that write digits and punctuation.

    Source: Radford et al. 2022, appendix C, as published with Whisper.
    """
    return _whisper()(text).strip()


@lru_cache(maxsize=1)
def _whisper() -> Normalizer:
    from whisper_normalizer.english import EnglishTextNormalizer

    english = EnglishTextNormalizer()
    for pattern in _NOT_IN_WHISPER:
        english.replacers.pop(pattern, None)
    normalizer: Normalizer = english
    return normalizer


def _without_punctuation(text: str) -> str:
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
    # A space, not nothing, takes the place of a mark: "well-known" and "end.Start" are two words each.
    spaced = "".join(" " if _is_mark(char) else char for char in text)
    return " ".join(word for word in spaced.split() if word.strip("'"))


def _is_mark(char: str) -> bool:
    return char != "'" and unicodedata.category(char)[0] in "PS"
