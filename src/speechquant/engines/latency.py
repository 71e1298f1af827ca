"""How long recognisers take, compared fairly: in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.decoding import Recognizer

__all__ = ["LatencyResult", "measure", "take_turns"]


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Latency of several recognisers on the same audio: `batch` utterances of `seconds` each in one call.

    `turns` has the milliseconds of every turn that counts, by the names given to `measure`.
    """

    seconds: float
    turns: Mapping[str, tuple[float, ...]]
    batch: int = 1

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

    @property
    def spread(self) -> dict[str, float]:
        """Distance of the quartiles as a share of the median, by name; large where the machine was not quiet."""
        low, high = self.low, self.high
        return {name: (high[name] - low[name]) / median for name, median in self.median.items()}

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is: the median of the ratios within a turn.

        Both ran in the same turn, so what else the machine did weighs less than in a ratio of medians.
        """
        return float(np.median(np.array(self.turns[slow]) / np.array(self.turns[fast])))

    def _percentile(self, percent: float) -> dict[str, float]:
        return {name: float(np.percentile(values, percent)) for name, values in self.turns.items()}


def measure(
    recognizers: Mapping[str, Recognizer],
    waves: Sequence[NDArray[np.float32]],
    *,
    batch: int = 1,
    repeats: int = 11,
    warmup: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[LatencyResult]:
    """Time every recogniser on every wave.

    Args:
        recognizers: By the name they are reported under.
        waves: One result each; shape (time,).
        batch: Copies of the wave that are recognised in one call.
        repeats: Turns that count; in each every recogniser runs once.
        warmup: Turns before them that do not.
        progress: Called with the turns done and their number.

    Raises:
        RecipeError: `batch`, `repeats` or `warmup` out of range.
    """
    if repeats < 1 or warmup < 0 or batch < 1:
        raise RecipeError(
            f"{repeats} repeats of {batch} utterances after {warmup} warm-up turns are not possible; give at "
            "least 1, 1 and 0"
        )
    each = repeats + warmup
    results = []
    for index, wave in enumerate(waves):
        times: dict[str, list[float]] = {name: [] for name in recognizers}
        for turn, taken in enumerate(islice(take_turns(recognizers, [wave] * batch), each)):
            for name, milliseconds in taken.items():
                times[name].append(milliseconds)
            if progress is not None:
                progress(index * each + turn + 1, len(waves) * each)
        rate = next(iter(recognizers.values())).sampling_rate if recognizers else 1
        turns = {name: tuple(values[warmup:]) for name, values in times.items()}
        results.append(LatencyResult(wave.size / rate, turns, batch))
    return results


def take_turns(
    recognizers: Mapping[str, Recognizer], waves: Sequence[NDArray[np.float32]]
) -> Iterator[dict[str, float]]:
    """Yield turn after turn without end: the milliseconds that each recogniser took for all of `waves`.

    The order within a turn is drawn anew, though always the same in every run: threads of one engine may still
    be busy waiting for work when the next one starts, and that must not always hit the same one.
    """
    order, random = list(recognizers), Random(0)  # noqa: S311 - nothing secret
    while True:
        random.shuffle(order)
        taken = {}
        for name in order:
            start = time.perf_counter()
            recognizers[name].recognize(waves)
            taken[name] = 1e3 * (time.perf_counter() - start)
        yield taken
