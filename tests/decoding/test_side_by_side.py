"""Batches are of like length and of bounded size, and results come back in the order of the waves."""

from __future__ import annotations

import numpy as np

from speechquant.decoding import side_by_side


def test_results_are_in_order_whatever_the_batches():
    lengths = np.random.default_rng(0).permutation(40) // 2
    batches = []

    def recognize(waves):
        batches.append([wave.size for wave in waves])
        return [wave.size for wave in waves]

    assert side_by_side([np.zeros(n, np.float32) for n in lengths], recognize) == list(lengths)
    assert [len(batch) for batch in batches] == [16, 16, 8]
    assert [n for batch in batches for n in batch] == sorted(lengths, reverse=True)
    assert side_by_side([], recognize) == []
