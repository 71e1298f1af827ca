"""How small the result is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speechquant.errors import RecipeError

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One of: bits of the searched weights on average, megabytes of the file, or its ratio to float32.

    Average bits are those before entropy coding and leave out scales; megabytes (of 10^6 bytes) and ratio count
    the whole file of weights as it is stored.
    """

    average_bits: float | None = None
    megabytes: float | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.average_bits, self.megabytes, self.ratio) if value is not None]
        if len(given) != 1:
            raise RecipeError("give one budget: average bits, megabytes or a ratio")
        if not 0 < given[0] < float("inf"):
            raise RecipeError(f"a budget of {given[0]:g} is not possible; choose above 0")

    def file_bytes(self, float_bytes: int) -> int | None:
        """The largest file, None where bits are counted."""
        if self.average_bits is not None:
            return None
        most = float_bytes / self.ratio if self.ratio is not None else 1e6 * (self.megabytes or 0.0)
        # 1.001 * 1e6 is a little less than 1001000.
        return int(round(most, 3))

    def impossible(self, smallest: int, float_bytes: int) -> RecipeError:
        """What to say where even the smallest file is too large; both numbers are possible as they are written."""
        megabytes, ratio = math.ceil(smallest / 1000) / 1000, math.floor(100 * float_bytes / smallest) / 100
        reached = f"the smallest file has {megabytes:.3f} MB, a ratio of {ratio:.2f}"
        return RecipeError(f"{self} is not possible; {reached}")

    def __str__(self) -> str:
        """For people, `3.5 bits on average`."""
        if self.average_bits is not None:
            return f"{self.average_bits:g} bits on average"
        return f"{self.megabytes:g} MB" if self.megabytes is not None else f"ratio {self.ratio:g}"
