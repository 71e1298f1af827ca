"""Settings that are short texts: what they mean, and one line for those that mean nothing."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from speechquant.errors import RecipeError
from speechquant.metrics import get_normalizer
from speechquant.numerics import calibrator_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "CalibratorName",
    "checked",
    "known_calibrator",
    "known_group",
    "known_normalizer",
    "leaves_activations",
    "one_of",
    "parse_bits",
    "parse_cutoffs",
]

_BITS = re.compile(r"w(\d{1,2})a(\d{1,2})")
_FLOAT_BITS = 16
_MOST_CUTOFFS = 10_000
_GROUP_SIZES = (16, 32, 64, 128, 256)


def parse_bits(bits: str) -> tuple[int, int]:
    """Bits of weights and of activations from `w8a8`; a ValueError says what is impossible."""
    match = _BITS.fullmatch(bits.lower())
    if not match or not all(2 <= int(part) <= 16 for part in match.groups()):  # noqa: PLR2004
        raise ValueError(f"{bits!r} is not possible; write w8a8, w4a8, ...; each from 2 to 16")
    return int(match[1]), int(match[2])


def leaves_activations(bits: str) -> bool:
    """Whether activations stay in float: a16, but for w16a16, which puts both on a grid of 16 bits."""
    weights, activations = parse_bits(bits)
    return activations == _FLOAT_BITS and weights < _FLOAT_BITS


def parse_cutoffs(cutoffs: str) -> tuple[float, ...]:
    """Percentages from `start:stop:step`, both ends included; a ValueError says what is impossible."""
    try:
        start, stop, step = (float(part) for part in cutoffs.split(":"))
        # A step that does not divide the range ends below `stop`; the margin is for 0.5 / 0.01.
        count = min(math.floor((stop - start) / step + 1e-6), _MOST_CUTOFFS)
        grid = tuple(round(start + k * step, 6) for k in range(count + 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        grid = ()
    if len(grid) > _MOST_CUTOFFS:
        raise ValueError(f"{cutoffs!r} has more than {_MOST_CUTOFFS} of them; choose a larger step")
    if not grid or not 0 <= grid[0] <= grid[-1] < 100:  # noqa: PLR2004
        raise ValueError(f"{cutoffs!r} is not possible; write start:stop:step in percent, such as 0:0.5:0.01")
    return grid


def known_group(size: int) -> int:
    """The size of a group of weights that engines have; a ValueError lists those."""
    if size not in _GROUP_SIZES:
        raise ValueError(f"choose {one_of([str(size) for size in _GROUP_SIZES])}, not {size}")
    return size


def one_of(names: Sequence[str]) -> str:
    """The names as a message lists them: `a, b or c`."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def known_calibrator(name: str) -> str:
    """The name, or a ValueError that lists the names there are."""
    if name not in calibrator_names():
        raise ValueError(f"choose {one_of(calibrator_names())}, not {name!r}")
    return name


def known_normalizer(name: str | None) -> str | None:
    """The name of a text normaliser, if there is one; a ValueError lists the names there are."""
    try:
        if name is not None:
            get_normalizer(name)
    except RecipeError as error:
        raise ValueError(str(error)) from None
    return name


CalibratorName = Annotated[
    str, AfterValidator(known_calibrator), Field(json_schema_extra={"enum": list(calibrator_names())})
]
"""A registered calibrator; the shell lists the names."""


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """Refuses what `parse` refuses and keeps the text."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)
