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

    All mappings are by the names given to `measure`, in milliseconds: the median over `repeats` turns and the first
    and third quartile.
    """

    seconds: float
    repeats: int
    median: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is: the median over turns of the ratio within a turn would need the turns."""
        return self.median[slow] / self.median[fast]


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
        raise RecipeError(f"{repeats} repeats after {warmup} warm-up turns are not possible; give at least 1 and 0")
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
        kept = {name: values[warmup:] for name, values in times.items()}
        rate = next(iter(recognizers.values())).sampling_rate if recognizers else 1
        low, median, high = (
            {name: float(np.percentile(values, q)) for name, values in kept.items()} for q in (25, 50, 75)
        )
        results.append(LatencyResult(wave.size / rate, repeats, median, low, high))
    return results
