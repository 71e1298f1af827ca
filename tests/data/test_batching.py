from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechquant.data import length_batches

lengths = st.lists(st.integers(1, 30), max_size=60)


@given(lengths, st.integers(1, 100), st.booleans(), st.none() | st.integers(1, 5))
def test_batches_keep_every_promise(sizes, total, exact, count):
    batches = length_batches(sizes, maximum_total=total, exact=exact, maximum_count=count)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        members = [sizes[index] for index in batch]
        assert len(batch) == 1 or max(members) * len(batch) <= total
        assert count is None or len(batch) <= count
        assert not exact or len(set(members)) == 1
    flat = [sizes[index] for batch in batches for index in batch]
    assert flat == sorted(flat)


@given(lengths, st.integers(1, 100), st.booleans())
def test_no_two_neighbours_could_be_one(sizes, total, exact):
    batches = length_batches(sizes, maximum_total=total, exact=exact)
    for first, second in pairwise(batches):
        longer = sizes[second[0]]
        too_much = longer * (len(first) + 1) > total
        assert too_much or (exact and sizes[first[0]] != longer)


def test_by_hand():
    assert length_batches([5, 1, 5, 2, 9], maximum_total=10) == [[1, 3], [0, 2], [4]]
    assert length_batches([5, 1, 5, 2, 9], maximum_total=10, exact=True) == [[1], [3], [0, 2], [4]]
    assert length_batches([], maximum_total=1) == []


@pytest.mark.parametrize("limits", [{"maximum_total": 0}, {"maximum_total": 1, "maximum_count": 0}])
def test_limits_must_be_positive(limits):
    with pytest.raises(ValueError, match="positive"):
        length_batches([1], **limits)
