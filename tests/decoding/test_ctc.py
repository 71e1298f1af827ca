from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.decoding import CTCVocabulary, ctc_greedy, ctc_transcript

TOKENS = {0: "<pad>", 1: "|", 2: "A", 3: "B", 4: "C"}
VOCABULARY = CTCVocabulary(TOKENS, special=frozenset({0}), blank=0, delimiter=1)


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 4))
def test_collapsing_equals_groupby(ids, blank):
    path = ctc_greedy(np.array(ids, dtype=np.int64), blank)
    runs, frame = [], 0
    for token, run in groupby(ids):
        length = len(list(run))
        if token != blank:
            runs.append((token, (frame, frame + length)))
        frame += length
    assert path.tokens == tuple(token for token, _ in runs)
    assert path.spans == tuple(span for _, span in runs)
    assert path.frames == tuple(ids)


def test_logits_are_read_by_arg_max():
    logits = np.eye(5, dtype=np.float32)[[2, 2, 0, 2]]
    assert ctc_greedy(logits, 0).tokens == (2, 2)


def test_words_have_the_times_of_their_frames():
    ids = np.array([0, 2, 2, 0, 3, 1, 1, 4, 0, 0])
    result = ctc_transcript(ids, VOCABULARY, blank=0, delimiter=1, seconds_per_frame=0.02)
    assert result.text == "AB C"
    assert [word.text for word in result.words] == ["AB", "C"]
    times = [(word.start, word.end) for word in result.words]
    assert times == [pytest.approx((0.02, 0.10)), pytest.approx((0.14, 0.16))]
    assert result.frames == tuple(ids)


def test_delimiters_at_the_edges_and_in_a_row_make_no_words():
    ids = np.array([1, 0, 1, 2, 1, 0, 1])
    result = ctc_transcript(ids, VOCABULARY, blank=0, delimiter=1, seconds_per_frame=0.02)
    assert [word.text for word in result.words] == ["A"]
    assert result.text == "A"


def test_no_delimiter_means_no_words():
    result = ctc_transcript(np.array([2, 3]), VOCABULARY, blank=0, delimiter=None, seconds_per_frame=0.02)
    assert result.words == ()


def test_silence_is_an_empty_transcript():
    result = ctc_transcript(
        np.zeros((0,), dtype=np.int64), VOCABULARY, blank=0, delimiter=1, seconds_per_frame=0.02
    )
    assert (result.text, result.tokens, result.words) == ("", (), ())
