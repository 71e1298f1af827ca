from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.report import TranscriptRow
from speechquant.report.aligned import align, payload

words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9).map(" ".join)


def kinds(columns, side):
    """Substitutions, deletions and insertions, counted off the columns."""
    pairs = [(column[0], column[side]) for column in columns]
    return (
        sum(bool(r and h and r != h) for r, h in pairs),
        sum(bool(r and not h) for r, h in pairs),
        sum(bool(h and not r) for r, h in pairs),
    )


@given(words.filter(bool), words, words)
def test_every_count_is_jiwers(reference, before, after):
    (found,) = align([TranscriptRow("u", reference, before, after)], "none")
    for side, text in ((1, before), (2, after)):
        expected = jiwer.process_words(reference, text)
        counts = (expected.substitutions, expected.deletions, expected.insertions)
        assert kinds(found.columns, side) == counts
        assert found.errors[side - 1] == sum(counts)


@given(words, words, words)
def test_columns_hold_every_word_in_order_and_none_is_empty(reference, before, after):
    (found,) = align([TranscriptRow("u", reference, before, after)], "none")
    for side, text in enumerate((reference, before, after)):
        assert [c[side] for c in found.columns if c[side]] == text.split()
    assert all(any(column) for column in found.columns)
    assert found.changed == (before.split() != after.split())


@given(words, words, words)
def test_the_payload_gives_the_columns_back(reference, before, after):
    found = align([TranscriptRow("u", reference, before, after)], "none")
    (packed,) = payload(found)
    reference_words = packed["r"].split(" ")
    columns = [
        (word, packed["f"].get(at, word), packed["q"].get(at, word))
        for at, word in enumerate(reference_words)
    ]
    assert tuple(c for c in columns if any(c)) == found[0].columns


def test_what_is_inserted_by_both_shares_a_column():
    (found,) = align([TranscriptRow("u", "a b", "a x b", "a x y b")], "none")
    assert found.columns == (("a", "a", "a"), ("", "x", "x"), ("", "", "y"), ("b", "b", "b"))


def test_the_normaliser_of_the_figures_decides_what_differs():
    row = TranscriptRow("u", "HELLO WORLD", "Hello, world.", "hello word")
    (found,) = align([row], "lower")
    assert found.columns == (("hello", "hello", "hello"), ("world", "world", "word"))
    assert payload([found])[0]["t"] == ["HELLO WORLD", "Hello, world.", "hello word", None]


def test_without_a_transcript_the_float_model_is_the_reference():
    (found,) = align([TranscriptRow("u", None, "a b", "a c")], "none")
    assert (found.columns, found.errors) == ((("a", "a", "a"), ("b", "b", "c")), (0, 1))


@pytest.mark.parametrize("after", ["", "a b"])
def test_texts_as_they_came_are_kept_only_where_words_changed(after):
    packed = payload(align([TranscriptRow("u", "a b", "a b", after)], "none"))
    assert ("t" in packed[0]) == (after == "")
