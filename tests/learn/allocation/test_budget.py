"""A budget that an error names is possible as it is written."""

from __future__ import annotations

import re

import pytest

from speechquant.learn.allocation import Budget

FLOATS = 100_000_000


@pytest.mark.parametrize(
    "smallest", [10_000_001, 10_000_499, 10_000_500, 9_999_999, *range(10**6, 10**7, 99_000)]
)
def test_what_is_said_to_be_possible_is(smallest):
    said = str(Budget(megabytes=0.5).impossible(smallest, FLOATS))
    megabytes, ratio = re.fullmatch(r"0.5 MB .* has (.+) MB, a ratio of (.+)", said).groups()
    for budget in (Budget(megabytes=float(megabytes)), Budget(ratio=float(ratio))):
        assert smallest <= budget.file_bytes(FLOATS) < 1.002 * smallest
