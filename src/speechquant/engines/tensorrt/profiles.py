"""Which sizes an engine is built for: from seconds of audio to the axes of the graphs' inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.decoding import token_limit
from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from speechquant.decoding import RuntimeSpec

__all__ = ["Range", "Seconds", "axis_ranges", "parse_seconds", "shapes"]

Range = tuple[int, int, int]
"""Smallest, typical and largest size of an axis."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Lengths of audio that one profile covers; `typical` is the one for which it is tuned."""

    shortest: float
    typical: float
    longest: float

    def __post_init__(self) -> None:
        if not 0 <= self.shortest <= self.typical <= self.longest < math.inf or self.longest == 0:
            raise RecipeError(f"{self} is no range of seconds; give shortest:typical:longest, as 0:10:30")

    def __str__(self) -> str:
        return f"{self.shortest:g}:{self.typical:g}:{self.longest:g}"


def parse_seconds(text: str) -> Seconds:
    """`0:10:30` as three lengths.

    Raises:
        RecipeError: it is something else.
    """
    try:
        shortest, typical, longest = map(float, text.split(":"))
    except ValueError:
        raise RecipeError(
            f"{text!r} is no range of seconds; give shortest:typical:longest, as 0:10:30"
        ) from None
    return Seconds(shortest, typical, longest)


def axis_ranges(runtime: RuntimeSpec, seconds: Seconds, batch: int) -> Mapping[str, Range]:
    """Sizes of every axis that graphs name: batch, samples, frames of the encoder, past tokens.

    Args:
        runtime: Sampling rate, receptive field, hop, and how many tokens a second of speech can have.
        seconds: Of audio.
        batch: Most utterances at once.
    """
    lengths = [
        max(round(length * runtime.sampling_rate), runtime.minimum_samples)
        for length in (seconds.shortest, seconds.typical, seconds.longest)
    ]
    hop = runtime.frame_seconds * runtime.sampling_rate
    frames = [max(math.ceil(length / hop), 1) for length in lengths]
    tokens = [
        token_limit(
            length,
            runtime.sampling_rate,
            per_second=runtime.tokens_per_second,
            extra=runtime.extra_tokens,
        )
        for length in lengths
    ]
    return {
        "batch": (1, 1, batch),
        "samples": (lengths[0], lengths[1], lengths[2]),
        # The receptive field may leave fewer frames than one per hop; one row of a batch may be shorter.
        "frames": (1, frames[1], frames[2]),
        # Decoding begins without a past, and is half over when it has half of the tokens.
        "past": (0, max(tokens[1] // 2, 1), tokens[2]),
    }


def shapes(
    dims: Sequence[int | str], ranges: Mapping[str, Range]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The smallest, typical and largest shape of an input whose axes are numbers or names of ranges."""
    sizes = [(dim, dim, dim) if isinstance(dim, int) else ranges[dim] for dim in dims]
    smallest, typical, largest = (tuple(size[which] for size in sizes) for which in range(3))
    return smallest, typical, largest
