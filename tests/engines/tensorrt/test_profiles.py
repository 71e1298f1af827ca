from __future__ import annotations

import pytest

from speechquant.decoding import RuntimeSpec
from speechquant.engines.tensorrt import Seconds, parse_seconds
from speechquant.engines.tensorrt.profiles import axis_ranges, shapes
from speechquant.errors import RecipeError

SPEC = RuntimeSpec(
    task="seq2seq",
    sampling_rate=16000,
    normalize=False,
    length_exact=True,
    minimum_samples=895,
    frame_seconds=0.024,
)


def test_seconds_become_axes():
    ranges = axis_ranges(SPEC, Seconds(0, 10, 30), batch=8)
    assert ranges["batch"] == (1, 1, 8)
    assert ranges["samples"] == (895, 160_000, 480_000)
    assert ranges["frames"] == (1, 417, 1250)
    # 6.5 tokens a second and 4 more, as the decoder is limited.
    assert ranges["past"] == (0, 34, 199)


def test_a_shape_takes_numbers_and_axes():
    ranges = axis_ranges(SPEC, Seconds(1, 1, 2), batch=3)
    assert shapes(["batch", 4, "past", 8], ranges) == ((1, 4, 0, 8), (1, 4, 5, 8), (3, 4, 17, 8))


@pytest.mark.parametrize(
    "text", ["", "1:2", "a:b:c", "3:2:1", "-1:2:3", "0:0:0", "0:1:inf", "1:2:3:4", "nan:1:2"]
)
def test_nonsense_is_refused(text):
    with pytest.raises(RecipeError, match="no range of seconds"):
        parse_seconds(text)


def test_a_range_is_read():
    assert parse_seconds("0.5:10:30") == Seconds(0.5, 10, 30)
    assert str(parse_seconds("0.5:10:30")) == "0.5:10:30"
