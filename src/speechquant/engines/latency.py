"""How long recognisers take, compared fairly: in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.decoding import Recognizer

__all__ = ["LatencyResult", "measure"]


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Latency of several recognisers on the same audio of `seconds`.

    `turns` has the milliseconds of every turn that counts, by the names given to `measure`.
    """

    seconds: float
    turns: Mapping[str, tuple[float, ...]]

    @property
    def median(self) -> dict[str, float]:
        """Median milliseconds by name."""
        return self._percentile(50)

    @property
    def low(self) -> dict[str, float]:
        """First quartile in milliseconds by name."""
        return self._percentile(25)

    @property
    def high(self) -> dict[str, float]:
        """Third quartile in milliseconds by name."""
        return self._percentile(75)

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is: the median of the ratios within a turn.

        Both ran right after each other, so what else the machine did weighs less than in a ratio of medians.
        """
        return float(np.median(np.array(self.turns[slow]) / np.array(self.turns[fast])))

    def _percentile(self, percent: float) -> dict[str, float]:
        return {name: float(np.percentile(values, percent)) for name, values in self.turns.items()}


def measure(
    recognizers: Mapping[str, Recognizer],
    waves: Sequence[NDArray[np.float32]],
    *,
    repeats: int = 11,
    warmup: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[LatencyResult]:
    """Time one utterance at a time.

    Args:
        recognizers: By the name they are reported under.
        waves: One result each; shape (time,).
        repeats: Turns that count; in each every recogniser runs once.
        warmup: Turns before them that do not.
        progress: Called with the turns done and their number.

    Raises:
        RecipeError: `repeats` or `warmup` out of range.
    """
    if repeats < 1 or warmup < 0:
        raise RecipeError(
            f"{repeats} repeats after {warmup} warm-up turns are not possible; give at least 1 and 0"
        )
    total = len(waves) * (repeats + warmup)
    results = []
    for index, wave in enumerate(waves):
        times: dict[str, list[float]] = {name: [] for name in recognizers}
        for turn in range(repeats + warmup):
            for name, recognizer in recognizers.items():
                start = time.perf_counter()
                recognizer.recognize([wave])
                times[name].append(1e3 * (time.perf_counter() - start))
            if progress is not None:
                progress(index * (repeats + warmup) + turn + 1, total)
        rate = next(iter(recognizers.values())).sampling_rate if recognizers else 1
        results.append(
            LatencyResult(wave.size / rate, {name: tuple(values[warmup:]) for name, values in times.items()})
        )
    return results
