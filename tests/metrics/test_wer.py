from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechquant.errors import DataError
from speechquant.metrics import WordErrors, score, warn_if_too_small, wer_resolution, words_needed

SENTENCE = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)


def test_counts_by_hand():
    result = score(
        {"1": "the cat sat", "2": "on the mat", "3": ""},
        {"1": "the cat", "2": "on a mat mat", "3": "oh no"},
        speakers={"1": "ann", "2": "bob", "3": "ann"},
    )
    assert result.totals == WordErrors(words=6, substitutions=1, deletions=1, insertions=3)
    assert result.wer == pytest.approx(100 * 5 / 6)
    assert result.speakers == {"ann": WordErrors(3, 0, 1, 2), "bob": WordErrors(3, 1, 0, 1)}
    assert [step.kind for step in result.utterances[0].alignment] == ["correct", "correct", "deletion"]
    assert [step.hypothesis for step in result.utterances[2].alignment] == ["oh", "no"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SENTENCE, SENTENCE), max_size=6))
def test_totals_match_the_edit_distance_and_jiwer(pairs):
    references = {str(i): pair[0] for i, pair in enumerate(pairs)}
    hypotheses = {str(i): pair[1] for i, pair in enumerate(pairs)}
    result = score(references, hypotheses)
    assert [u.errors.errors for u in result.utterances] == [
        edit_distance(a.split(), b.split()) for a, b in pairs
    ]
    for utterance in result.utterances:
        steps = utterance.alignment
        assert [s.reference for s in steps if s.reference is not None] == utterance.reference.split()
        assert [s.hypothesis for s in steps if s.hypothesis is not None] == utterance.hypothesis.split()
        assert all((s.kind == "correct") == (s.reference == s.hypothesis) for s in steps)
    if result.totals.words:
        assert result.wer == pytest.approx(
            100 * jiwer.wer(list(references.values()), list(hypotheses.values()))
        )


def edit_distance(left: list[str], right: list[str]) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def test_normaliser_is_applied_to_both_sides():
    assert (
        score({"1": "IT'S $20, sir."}, {"1": "it is twenty dollars sir"}, normalizer="whisper-english").wer
        == 0
    )
    assert score({"1": "A B"}, {"1": "a b"}).wer == 100


def test_rate_without_reference_words():
    assert WordErrors().wer == 0
    assert math.isinf(WordErrors(insertions=1).wer)
    assert score({}, {}).totals == WordErrors()


def test_missing_and_extra_utterances_are_refused():
    with pytest.raises(DataError, match="'b' has a reference but no hypothesis"):
        score({"a": "x", "b": "y"}, {"a": "x"})
    with pytest.raises(DataError, match="'b' has a hypothesis but no reference"):
        score({"a": "x"}, {"a": "x", "b": "y"})


def test_resolution():
    assert wer_resolution(400) == 0.25
    assert math.isinf(wer_resolution(0))
    assert words_needed(0.25) == 400
    assert [words_needed(g) for g in (0.1, 0.3, 0.7)] == [1000, 334, 143]
    assert warn_if_too_small(2000, 0.25) is None
    assert "by chance: 2000 words" in warn_if_too_small(1999, 0.25)
    assert "1.0 of the set's 400 words" in warn_if_too_small(400, 0.25)
    assert "at least 400 words" in warn_if_too_small(399, 0.25)
    assert "no step" in warn_if_too_small(0, 0.25)
