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
    turns = [sorted(calls[i : i + 2]) for i in range(0, 8, 2)]
    assert turns == [[("fast", 1), ("slow", 1)]] * 4
    assert result.seconds == 0.5
    assert result.median == pytest.approx({"slow": 300, "fast": 100})
    assert result.low == pytest.approx({"slow": 250, "fast": 100})
    assert result.high == pytest.approx({"slow": 350, "fast": 150})
    # Ratios of turns are 4, 1 and 3; the ratio of medians would be the same only by chance.
    assert result.ratio("slow", "fast") == pytest.approx(3)
    assert result.spread == pytest.approx({"slow": 1 / 3, "fast": 0.5})
    assert (result.seconds, result.batch) == (0.5, 1)
    assert steps == [(i, 4) for i in range(1, 5)]


def test_a_batch_is_one_call():
    calls = []
    fake = Fake("a", [0.0], [0.0] * 9, calls)
    (result,) = measure({"a": fake}, [np.zeros(1600, np.float32)], batch=4, repeats=2, warmup=1)
    assert calls == [("a", 4)] * 3
    assert (result.batch, result.seconds, len(result.turns["a"])) == (4, 0.1, 2)


def test_nobody_always_follows_the_same_system():
    calls = []
    fakes = {name: Fake(name, [0.0], [0.0] * 40, calls) for name in "abc"}
    measure(fakes, [np.zeros(1600, np.float32)], repeats=40, warmup=0)
    before_a = {calls[i - 1][0] for i, (name, _) in enumerate(calls) if name == "a" and i % 3}
    assert before_a == {"b", "c"}
    turns = [[name for name, _ in calls[i : i + 3]] for i in range(0, 120, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)


def test_nonsense_is_refused():
    with pytest.raises(RecipeError, match="0 repeats"):
        measure({}, [], repeats=0)
    with pytest.raises(RecipeError, match="0 utterances"):
        measure({}, [], batch=0)
