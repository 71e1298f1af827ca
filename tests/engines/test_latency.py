from __future__ import annotations

import numpy as np
import pytest

from speechquant.engines import measure
from speechquant.errors import RecipeError


class Fake:
    backend, signature, sampling_rate, length_exact = "fake", "x", 16000, True

    def __init__(self, name, clock, costs, calls):
        self.name, self.clock, self.costs, self.calls = name, clock, iter(costs), calls

    def recognize(self, waves):
        self.calls.append((self.name, len(waves)))
        self.clock[0] += next(self.costs)
        return []


def test_recognisers_take_turns_and_warm_up_is_not_counted(monkeypatch):
    clock, calls, steps = [0.0], [], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    slow = Fake("slow", clock, [9.0, 0.4, 0.2, 0.3], calls)
    fast = Fake("fast", clock, [5.0, 0.1, 0.2, 0.1], calls)
    wave = np.zeros(8000, np.float32)
    (result,) = measure(
        {"slow": slow, "fast": fast}, [wave], repeats=3, warmup=1, progress=lambda *at: steps.append(at)
    )
    assert calls == [("slow", 1), ("fast", 1)] * 4
    assert result.seconds == 0.5
    assert result.median == pytest.approx({"slow": 300, "fast": 100})
    assert result.low == pytest.approx({"slow": 250, "fast": 100})
    assert result.high == pytest.approx({"slow": 350, "fast": 150})
    # Ratios of turns are 4, 1 and 3; the ratio of medians would be the same only by chance.
    assert result.ratio("slow", "fast") == pytest.approx(3)
    assert steps == [(i, 4) for i in range(1, 5)]


def test_nonsense_is_refused():
    with pytest.raises(RecipeError, match="0 repeats"):
        measure({}, [], repeats=0)
