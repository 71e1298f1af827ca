from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from speechquant.report.diff import diff_words

texts = st.lists(
    st.sampled_from(["the", "The", "the,", "cat", "sat", "on", "mat", ".", "...", "na\u00efve"]), max_size=12
).map(" ".join)


def marked(tokens) -> list[str]:
    return [t.text for t in tokens if t.changed]


def test_substitution_deletion_and_insertion():
    diff = diff_words("the cat sat on the mat", "the bat sat on mat today")
    assert marked(diff.before) == ["cat", "the"]
    assert marked(diff.after) == ["bat", "today"]
    assert diff.changes == 3


def test_case_and_punctuation_are_no_change():
    assert diff_words("Hello, world.", "hello world").changes == 0


def test_apostrophes_count():
    assert diff_words("its", "it's").changes == 1


@given(texts, texts)
def test_no_word_is_lost_and_unmarked_words_agree(before, after):
    diff = diff_words(before, after)
    assert " ".join(t.text for t in diff.before) == " ".join(before.split())
    assert " ".join(t.text for t in diff.after) == " ".join(after.split())
    kept = [[t.text for t in side if not t.changed] for side in (diff.before, diff.after)]
    assert diff_words(" ".join(kept[0]), " ".join(kept[1])).changes == 0
    assert (diff.changes == 0) == (not marked(diff.before) and not marked(diff.after))
