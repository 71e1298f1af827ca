"""Measuring systems that do next to nothing: who is called how often and where, what an interruption leaves."""

from __future__ import annotations

import sys
from functools import partial

import bench_fakes as fakes
import numpy as np
import pytest

from speechquant.data import Corpus, Utterance
from speechquant.errors import EngineError, RecipeError
from speechquant.jobs.bench import Audio, BenchInterrupted, System, measure_systems
from speechquant.jobs.bench.footprint import Footprint, measure_footprint
from speechquant.jobs.bench.realtime import RealTime

WAVE = np.zeros(16_000, np.float32)
AUDIO = Audio("silence", WAVE)
MODULE = sys.modules["speechquant.jobs.bench.measure"]


@pytest.fixture
def no_children(monkeypatch):
    """Footprints without processes."""

    def fake(name, opener, wave, *, rate, batch):
        del opener
        return Footprint(name, wave.size / rate, batch, 0.1, 1.0, 1, 2)

    monkeypatch.setattr(MODULE, "measure_footprint", fake)


def systems(**fake):
    return {name: System(lambda item=item: item, "f32", name, 1) for name, item in fake.items()}


def run(found, **settings):
    settings = {"title": "t", "threads": 1, "audio": AUDIO, "seconds": [1.0], "repeats": 3, **settings}
    return measure_systems(found, **settings)


def test_memory_is_that_of_another_process():
    ours = np.ones(60_000_000)  # 480 MB that no child may be charged with
    size = partial(measure_footprint, wave=WAVE, rate=16_000)
    light, used = size("l", fakes.light), size("u", fakes.hungry_when_used)
    opened = size("o", fakes.hungry_when_opened)
    assert light.peak_bytes < 200e6 < ours.nbytes
    assert used.peak_bytes - light.peak_bytes > 200e6
    assert opened.peak_bytes - light.peak_bytes > 200e6
    assert opened.loaded_bytes - used.loaded_bytes > 200e6
    assert (light.seconds, light.batch) == (1.0, 1)
    assert 0 < light.first_ms < 1e3 * light.load_s + 1e4


def test_the_other_process_imports_the_engine_alone():
    assert measure_footprint("lean", fakes.lean, WAVE, rate=16_000).peak_bytes


def test_the_other_process_gets_the_whole_batch():
    found = measure_footprint("b", partial(fakes.expects, 3, 16_000), WAVE, rate=16_000, batch=3)
    assert found.batch == 3
    with pytest.raises(EngineError, match="failed in a process"):
        measure_footprint("b", partial(fakes.expects, 2, 16_000), WAVE, rate=16_000, batch=3)


def test_what_cannot_be_opened_elsewhere_is_one_line():
    with pytest.raises(EngineError, match="mine cannot be opened in a process of its own"):
        measure_footprint("mine", lambda: None, WAVE, rate=16_000)
    with pytest.raises(EngineError) as caught:
        measure_footprint("mine", fakes.broken, WAVE, rate=16_000)
    assert str(caught.value) == "mine failed in a process of its own: ValueError: no such luck"


def test_a_system_without_a_process_of_its_own_is_measured_all_the_same():
    result = run(systems(a=fakes.Fake()), seconds=[0.5, 1.0])
    assert len(result.cells) == 2
    assert result.footprints == ()
    assert len(result.notes) == 1


@pytest.mark.usefixtures("no_children")
def test_every_length_and_batch_in_turns():
    calls, stages = [], []

    class Listener:
        def stage(self, title):
            from contextlib import nullcontext

            return nullcontext(lambda done, total, what="": stages.append((title, done, total)))

    found = systems(a=fakes.Fake(calls, "a"), b=fakes.Fake(calls, "b"))
    result = run(found, seconds=[2.0, 0.5], batches=[1, 3], notes=["n"], progress=Listener())
    cells = [(cell.latency.seconds, cell.latency.batch) for cell in result.cells]
    assert cells == [(0.5, 1), (2.0, 1), (0.5, 3), (2.0, 3)]
    for at, (seconds, batch) in enumerate(cells):
        # Two turns to warm up and three that count; audio that is too short is repeated.
        turn = calls[10 * at : 10 * at + 10]
        assert sorted(turn) == sorted([(n, batch, int(16_000 * seconds)) for n in "ab"] * 5)
        assert all(len(times) == 3 for times in result.cells[at].latency.turns.values())
    assert len(result.footprints) == 8
    assert result.notes == ("n",)
    assert ("latency, in turns", 20, 20) in stages


@pytest.mark.usefixtures("no_children")
def test_tokens_are_counted_where_they_decide_the_work():
    result = run(systems(a=fakes.Fake(tokens=7), b=fakes.Fake(tokens=2)), batches=[2])
    assert result.cells[0].tokens == {"a": 14, "b": 4}
    assert any("b wrote 4 tokens and a 14" in line for line in result.warnings)
    assert run(systems(a=fakes.Fake())).cells[0].tokens == {}


@pytest.mark.usefixtures("no_children")
@pytest.mark.parametrize(("calls", "turns"), [(4, []), (8, [2]), (10, [3]), (17, [3, 1]), (19, [3, 2])])
def test_an_interruption_leaves_what_was_measured(calls, turns):
    """Two systems, two lengths: 2 + 8 calls each; turns are whole or not there."""
    left = [calls]

    def count(_):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1

    with pytest.raises(BenchInterrupted) as stop:
        run(systems(a=fakes.Fake(cost=count), b=fakes.Fake(cost=count)), seconds=[0.5, 1.0])
    result = stop.value.result
    assert [len(cell.latency.turns["a"]) for cell in result.cells] == turns
    assert [len(cell.latency.turns["b"]) for cell in result.cells] == turns
    assert result.interrupted
    assert len(result.footprints) == 4
    assert isinstance(stop.value, KeyboardInterrupt)


def corpus(lengths, rng=None):
    rng = rng or np.random.default_rng(0)

    class Samples:
        def __init__(self, seconds):
            self.seconds = seconds

        def samples(self):
            return rng.normal(0, 0.1, int(16_000 * self.seconds)).astype(np.float32)

    return Corpus("c", tuple(Utterance(id=str(i), audio=Samples(s)) for i, s in enumerate(lengths)))


@pytest.mark.usefixtures("no_children")
def test_real_time_factor(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def costs(seconds):
        return lambda _: clock.__setitem__(0, clock[0] + seconds)

    found = {name: fakes.Fake(calls, name, cost=costs(cost)) for name, cost in {"a": 0.5, "b": 0.25}.items()}
    total = RealTime("c")
    # The second is too short to be used.
    total.run(found, corpus([1.0, 0.01, 4.0]), lambda *_: None)
    assert (total.utterances, total.skipped, total.audio_seconds) == (2, 1, 5.0)
    assert total.factor == pytest.approx({"a": 0.2, "b": 0.1})
    assert sorted(calls[:2]) == [("a", 1, 16_000), ("b", 1, 16_000)]
    result = run(systems(**found), corpus=corpus([1.0]))
    assert result.to_dict()["realtime"]["compute_seconds"] == pytest.approx({"a": 0.5, "b": 0.25})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seconds": [0.0]}, "0 s of audio"),
        ({"seconds": [float("nan")]}, "nan s of audio"),
        ({"seconds": [121]}, "121 s of audio"),
        ({"seconds": []}, "nothing to measure"),
        ({"batches": [0]}, "batch of 0"),
        ({"repeats": 0}, "0 repeats"),
    ],
)
def test_what_is_not_possible_is_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        run(systems(a=fakes.Fake()), **settings)
    with pytest.raises(RecipeError, match="nothing to compare"):
        run({})
