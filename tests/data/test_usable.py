from __future__ import annotations

from pathlib import Path

import pytest

from speechquant.data import Skipped, Utterance, nothing_usable, with_text
from speechquant.errors import DataError

NONE, BLANK, TOLD = (
    Utterance(name, Path(name), text) for name, text in [("n", None), ("b", " \n"), ("t", "x")]
)


def test_rows_without_text_are_skipped_with_a_reason():
    kept, skipped = with_text([NONE, TOLD, BLANK], "dev", strict=False)
    assert kept.name == "dev"
    assert list(kept) == [TOLD]
    assert [item.id for item in skipped] == ["n", "b"]
    assert all("no transcript" in item.reason for item in skipped)
    assert with_text([TOLD], "dev", strict=True) == (kept, [])
    assert list(with_text([], "dev", strict=True)[0]) == []


@pytest.mark.parametrize("strict", [False, True])
def test_no_text_at_all_is_refused(strict):
    with pytest.raises(DataError, match=r"dev: none of its 2 utterances has a transcript; write them down$"):
        with_text([NONE, BLANK], "dev", strict=strict)
    with pytest.raises(DataError, match=r"write them down, or go home$"):
        with_text([NONE, BLANK], "dev", strict=strict, otherwise="go home")


def test_strict_refuses_the_first():
    with pytest.raises(DataError, match="dev: 1 of 2 skipped, the first: utterance 'b' has no transcript"):
        with_text([TOLD, BLANK], "dev", strict=True)


def test_the_error_for_nothing_counts_and_gives_the_first_reason():
    found = nothing_usable("test", [Skipped("a", "a.wav: is silent"), Skipped("b", "gone")])
    assert str(found) == "no usable speech in the test set: 2 of 2 skipped, the first: a.wav: is silent"
    assert "no utterances" in str(nothing_usable("test", []))
