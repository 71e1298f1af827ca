"""Stretches of text are short, lose no word, and end where a reader would stop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from speechquant.decoding import Word, group_words
from speechquant.decoding.segments import LONGEST_CUE, MOST_CHARACTERS, split_words


def even(text, seconds, start=0.0):
    words = text.split()
    return words, start + (np.arange(len(words)) + 0.5) / len(words) * seconds, start, start + seconds


def test_words_are_grouped_at_pauses_and_by_length():
    words = [Word(f"w{i}", i * 0.5, i * 0.5 + 0.4) for i in range(40)]
    words += [Word("late", 30.0, 30.5)]
    segments = group_words(words, pause=0.6, longest=8.0)
    assert " ".join(s.text for s in segments) == " ".join(w.text for w in words)
    assert all(s.end - s.start <= 8.0 for s in segments)
    assert segments[-1].text == "late"


@pytest.mark.parametrize("seed", range(50))
def test_rough_times_give_short_segments_in_order(seed):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("ab.,?"), rng.integers(1, 15))) for _ in range(rng.integers(1, 90))]
    times = np.sort(rng.uniform(3.0, 30.0, len(words)))
    found = split_words(words, times, 3.0, 30.0)
    assert " ".join(s.text for s in found).split() == words
    assert all(s.end - s.start <= LONGEST_CUE + 1e-9 and len(s.text) <= MOST_CHARACTERS for s in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(3.0 <= s.start <= s.end <= 30.0 for s in found)
    first = 0
    for segment in found:  # every word's rough time lies in its segment
        last = first + len(segment.text.split())
        assert segment.start <= times[first] <= times[last - 1] <= segment.end
        first = last


def test_sixteen_seconds_end_at_sentences():
    text = (
        "The rooks were quiet in the elms behind the house. The skylark had gone to bed, long before the lamps "
        "were lit along the road. Nobody had seen the carriage pass the gate. He closed the book and went up."
    )
    found = split_words(*even(text, 16.0))
    assert len(found) > 2
    assert all(s.end - s.start <= LONGEST_CUE and len(s.text) <= MOST_CHARACTERS for s in found)
    assert found[0].text == "The rooks were quiet in the elms behind the house."
    assert [s.text[-1] for s in found].count(".") >= len(found) - 1


def test_a_pause_ends_a_segment_and_is_not_part_of_it():
    words, times = ["one", "two", "three", "four"], np.array([1.0, 1.5, 9.0, 9.5])
    found = split_words(words, times, 0.0, 12.0)
    assert [(s.start, s.end, s.text) for s in found] == [(0.5, 2.0, "one two"), (8.5, 10.0, "three four")]


def test_what_is_short_is_left_alone():
    assert [(s.start, s.end) for s in split_words(*even("one two.", 7.0, 5.0))] == [(5.0, 12.0)]
    assert split_words([], np.zeros(0), 0.0, 1.0) == ()
