from __future__ import annotations

import pytest

from speechquant.metrics import argmax_agreement, token_agreement


def test_argmax_agreement():
    assert argmax_agreement([(1, 2, 3), (4,)], [(1, 0, 3), (4,)]) == 0.75
    assert argmax_agreement([(1, 2)], [(1, 2, 2, 2)]) == 0.5
    assert argmax_agreement([()], [()]) == 1
    assert argmax_agreement([], []) == 1
    with pytest.raises(ValueError):
        argmax_agreement([(1,)], [])


def test_token_agreement():
    assert token_agreement([(1, 2, 3, 4)], [(1, 3, 4)]) == 0.75
    assert token_agreement([(1, 2), ()], [(3, 4), (5, 6)]) == 0
    assert token_agreement([()], [()]) == 1
    with pytest.raises(ValueError):
        token_agreement([(1,)], [])
