from __future__ import annotations

import math

import numpy as np
import pytest

from speechquant.metrics import argmax_agreement, sqnr_db, token_agreement


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


def test_sqnr_of_uniform_rounding_gains_six_decibels_per_bit():
    signal = np.random.default_rng(0).uniform(-1, 1, 200_000)
    for bits in (6, 8, 10):
        step = 2.0 ** (1 - bits)
        # Signal power 1/3 over noise power step^2 / 12 for a uniform signal.
        assert sqnr_db(signal, np.round(signal / step) * step) == pytest.approx(
            10 * math.log10(4 / step**2), abs=0.05
        )


def test_sqnr_edges():
    assert sqnr_db([1.0], [1.0]) == math.inf
    assert sqnr_db([0.0], [1.0]) == -math.inf
    with pytest.raises(ValueError, match="differ"):
        sqnr_db([1.0, 2.0], [1.0])
