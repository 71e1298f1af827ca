from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from speechquant.errors import RecipeError
from speechquant.metrics import get_normalizer, register_normalizer

TEXTS = json.loads((Path(__file__).parent / "librispeech_texts.json").read_text())
HAND_MADE = [
    "Mr. Smith paid $20.50, didn't he?",
    "The colour of grey aluminium [noise] was (inaudible) favourite.",
    "Twenty-one thousand and five people; the 3rd of May 1,234!",
    "It's five o'clock \u2014 we'll go to St. John\u2019s.",
    "\u00a35 million, 10% of two and a half, double oh seven",
    "uh, um... Caf\u00e9 na\u00efve \u00c6on",
    "'cause I dunno, it's kinda lost and sorta gonna be a lost cause, y'all ain't",
    "",
]


@pytest.fixture(scope="module")
def theirs():
    english = pytest.importorskip("transformers.models.whisper.english_normalizer")
    mapping = json.loads((files("whisper_normalizer") / "normalizers" / "english.json").read_text())
    return english.EnglishTextNormalizer(mapping)


def test_whisper_english_equals_transformers(theirs):
    ours = get_normalizer("whisper-english")
    texts = HAND_MADE + TEXTS + [text.capitalize() + "." for text in TEXTS]
    assert [ours(text) for text in texts] == [theirs(text).strip() for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith paid $20", "mister smith paid $20"),
        ("the colour", "the color"),
        ("we'll see", "we will see"),
        ("twenty-one", "21"),
    ],
)
def test_whisper_english_by_hand(text, expected):
    assert get_normalizer("whisper-english")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It\u2019s well-known, \u201cJimmie\u201d!", "IT'S WELL KNOWN JIMMIE"),
        (" two\t words \n", "TWO WORDS"),
        ("rock ' n ' roll 'em", "ROCK N ROLL 'EM"),
        ("caf\u00e9 e\u0301t\u00e9 stra\u00dfe", "CAF\u00c9 \u00c9T\u00c9 STRASSE"),
        ("...", ""),
    ],
)
def test_upper(text, expected):
    assert get_normalizer("upper")(text) == expected


def test_librispeech_texts_are_unchanged_by_upper():
    assert [get_normalizer("upper")(text) for text in TEXTS] == TEXTS


def test_lower_and_none():
    assert get_normalizer("lower")("Don't STOP.") == "don't stop"
    assert get_normalizer("none")(" As  is. ") == " As  is. "


def test_names_are_known_and_unique():
    known = "none, upper, lower, whisper-english"
    with pytest.raises(RecipeError, match=f"unknown text normaliser 'nfc': choose one of {known}"):
        get_normalizer("nfc")
    with pytest.raises(ValueError, match="registered twice"):
        register_normalizer("none")(str.strip)
