from __future__ import annotations

import numpy as np
import pytest

from speechquant.decoding import greedy_search, token_limit

END = 0
SIZE = 50


def scripted(rows, calls=None):
    """A network that says `rows[i]` in row i, then END for ever."""

    def step(tokens, position):
        assert tokens.shape == (len(rows), 1)
        assert tokens.dtype == np.int64
        if calls is not None:
            calls.append((position, tokens[:, 0].tolist()))
        logits = np.zeros((len(rows), SIZE), dtype=np.float32)
        for i, row in enumerate(rows):
            logits[i, row[position] if position < len(row) else END] = 1.0
        return logits

    return step


def test_rows_end_on_their_own_and_the_search_when_all_have():
    calls: list[tuple[int, list[int]]] = []
    rows = [[5, 6, 7], [8]]
    found = greedy_search(scripted(rows, calls), batch=2, start=1, end=END, limits=[10, 10])
    assert [row.tokens for row in found] == [(5, 6, 7), (8,)]
    assert not any(row.capped for row in found)
    assert calls == [(0, [1, 1]), (1, [5, 8]), (2, [6, END]), (3, [7, END])]


def test_limits_are_per_row_and_count_the_end_token():
    rows = [list(range(2, 40)), [3, 4]]
    found = greedy_search(scripted(rows), batch=2, start=1, end=END, limits=[5, 3])
    assert found[0].tokens == (2, 3, 4, 5, 6)
    assert found[0].capped
    assert found[1].tokens == (3, 4)
    assert not found[1].capped


@pytest.mark.parametrize("cycle", [[7], [7, 8], [4, 5, 6, 7, 8]])
def test_an_endless_cycle_is_stopped(cycle):
    rows = [[2, 3, *cycle * 200]]
    (found,) = greedy_search(scripted(rows), batch=1, start=1, end=END, limits=[1000])
    assert found.capped
    assert len(found.tokens) <= 2 + max(16, 8 * len(cycle))


def test_a_sentence_may_repeat_itself():
    sentence = [3, 4, 5] * 6 + [9] * 12
    (found,) = greedy_search(scripted([sentence]), batch=1, start=1, end=END, limits=[1000])
    assert found.tokens == tuple(sentence)
    assert not found.capped


def test_one_limit_per_row():
    with pytest.raises(ValueError, match="1 limits for 2 rows"):
        greedy_search(scripted([[2], [2]]), batch=2, start=1, end=END, limits=[4])


def test_token_limit_is_moonshines():
    assert token_limit(16_000 * 10, 16_000) == 69
    assert token_limit(100, 16_000) == 4
