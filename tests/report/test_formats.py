from __future__ import annotations

import math

import pytest

from speechquant.report import formats


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formats.percent, 2.546, "2.55 %"),
        (formats.percent, 105.82, "105.82 %"),
        (formats.percent, math.nan, "\N{EN DASH}"),
        (formats.points, 0.234, "+0.23"),
        (formats.points, -0.234, "\N{MINUS SIGN}0.23"),
        (formats.points, -0.001, "0.00"),
        (formats.count, 1684, "1,684"),
        (formats.p_value, 0.312, "0.31"),
        (formats.p_value, 0.0181, "0.018"),
        (formats.p_value, 0.00001, "< 0.001"),
        (formats.p_value, None, "\N{EN DASH}"),
        (formats.megabytes, 27_430_000, "27.4 MB"),
        (formats.number, 0.012345, "0.0123"),
        (formats.number, 4795.2, "4,795"),
        (formats.number, 23.0, "23"),
        (formats.number, 0.5, "0.5"),
        (formats.number, 0, "0"),
        (formats.number, 3e-9, "3.00e-09"),
        (formats.number, 100, "100"),
        (formats.duration, 4.21, "4.2 s"),
        (formats.duration, 185, "3 min 05 s"),
        (formats.duration, 4320, "1 h 12 min"),
    ],
)
def test_formats(function, value, text):
    assert function(value).replace("\N{NARROW NO-BREAK SPACE}", " ") == text


def test_shares_and_ratios():
    assert formats.share(253, 1000).startswith("25.3")
    assert formats.ratio(143, 66.8) == "2.1\N{MULTIPLICATION SIGN}"
    assert formats.share(1, 0) == formats.ratio(1, 0) == "\N{EN DASH}"
