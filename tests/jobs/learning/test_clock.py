"""Seconds of steps: added up over interruptions, and those that they really took where results are found again."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress

import pytest

from speechquant.errors import StorageError
from speechquant.jobs import Silent, clock
from speechquant.jobs.clock import Clock
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn
from speechquant.learn.allocation import Speech
from speechquant.learn.rounding import run as rounding_run


@pytest.fixture
def spend(monkeypatch):
    """A clock that goes on when it is told so."""
    now = [100.0]
    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])

    def spend(seconds):
        now[0] += seconds

    return spend


def interrupted(found, spend, *, key="key"):
    """Five seconds whose results are kept, and three that are lost."""
    with suppress(KeyboardInterrupt), found.timed("step", key) as saved:
        spend(5)
        saved()
        spend(3)
        raise KeyboardInterrupt


def test_what_was_kept_before_an_interruption_counts(spend, tmp_path):
    path = tmp_path / "seconds.json"
    interrupted(Clock(path), spend)
    interrupted(Clock(path), spend)
    found = Clock(path)
    with found.timed("step", "key"):
        spend(4)
    with found.timed("step", "another"):
        spend(1)
    assert found.seconds == {"step": 15}
    # Its results are found again in no time, or are gone.
    for seconds, expected in ((0.1, 14), (20, 20), (0.1, 20)):
        again = Clock(path)
        with again.timed("step", "key") as saved:
            spend(seconds)
            saved()
        assert again.seconds == {"step": expected}


def test_what_leads_to_where_a_step_was_is_counted_once(spend, tmp_path):
    """A step of six reports, with two seconds before each; the last work before an interruption is lost."""
    path = tmp_path / "seconds.json"
    for stop in (0, 3, 3, 4, None):
        found = Clock(path)
        with suppress(KeyboardInterrupt), found.timed("step", "key") as saved:
            spend(20)
            for done in range(6):
                saved(done)
                # The same once more says nothing new.
                spend(1)
                saved(done)
                if done == stop:
                    raise KeyboardInterrupt
                spend(1)
        # What is kept has the reports up to the one of the stop, and no work behind it.
        kept = json.loads(path.read_text())["key"][0]
        assert kept == 20 + 2 * (6 if stop is None else stop)
    assert found.seconds == {"step": 32}


def test_seconds_of_an_earlier_version_are_read(spend, tmp_path):
    (tmp_path / "seconds.json").write_text('{"key": [5.0, false]}')
    found = Clock(tmp_path / "seconds.json")
    with found.timed("step", "key") as saved:
        spend(2)
        saved(0)
    assert found.seconds == {"step": 7}


@pytest.mark.parametrize("damage", ["", "[1]", '{"key": 3}', '{"key": ["x", true]}'])
def test_a_damaged_file_is_no_file(spend, tmp_path, damage):
    path = tmp_path / "seconds.json"
    interrupted(Clock(path), spend)
    path.write_text(damage)
    found = Clock(path)
    with found.timed("step", "key"):
        spend(2)
    assert found.seconds == {"step": 2}


def test_steps_that_keep_nothing_begin_anew(spend, tmp_path):
    path = tmp_path / "seconds.json"
    interrupted(Clock(path), spend, key=None)
    found = Clock(path)
    for _ in range(2):
        with found.timed("step"):
            spend(2)
    assert found.seconds == {"step": 4}
    assert not path.exists()


def test_a_place_that_cannot_be_written_to(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"), Clock(tmp_path / "no" / "x").timed("a", "k"):
        pass


class Stops(Silent):
    """Ctrl-C when so much of a stage is done."""

    def __init__(self, title, done):
        self.wanted = title, done

    @contextmanager
    def stage(self, title):
        def advance(done, total, what=""):
            if (title, done) == self.wanted:
                raise KeyboardInterrupt

        yield advance


def test_a_job_that_was_interrupted_says_what_it_really_took(spend, corpora, tiny, tmp_path, monkeypatch):
    divergence, solve, passages = Speech.divergence_with, rounding_run._solve, rounding_run.passages

    def measured(*arguments):
        spend(7)
        return divergence(*arguments)

    def rounded(*arguments, **settings):
        spend(3)
        return solve(*arguments, **settings)

    def prepared(*arguments):
        spend(50)
        return passages(*arguments)

    monkeypatch.setattr(Speech, "divergence_with", measured)
    monkeypatch.setattr(rounding_run, "_solve", rounded)
    monkeypatch.setattr(rounding_run, "passages", prepared)
    settings = {
        "method": "allocate",
        "probe_utterances": 1,
        "candidates": (2, 4),
        "rule": "all",
        "threads": 1,
    }

    def run(name, progress=None, **budget):
        place = {"model": str(tiny("hubert-large")), "output": tmp_path / name, **corpora}
        return learn(load_learn_recipe(**place, **settings, **(budget or {"ratio": 5.5})), progress=progress)

    whole = run("whole").metrics
    took = {step: whole["seconds"][step] for step in ("sensitivities", "round weights")}
    assert took["sensitivities"] >= 2 * 7 * 10
    # What the calibration speech takes is kept by nobody.
    assert took["round weights"] >= 50 + 3 * 10
    assert whole["compression_seconds"] == sum(took.values())
    for stop in (("sensitivities", 2), ("sensitivities", 5), ("round weights", 0), ("round weights", 4)):
        with pytest.raises(KeyboardInterrupt):
            run("parts", Stops(*stop))
    parts = run("parts").metrics
    assert {step: parts["seconds"][step] for step in took} == took
    assert parts["compression_seconds"] == whole["compression_seconds"]
    # Nothing is left to do, and another budget measures nothing again.
    assert run("parts").metrics["compression_seconds"] == whole["compression_seconds"]
    other = run("parts", average_bits=2).metrics["seconds"]
    assert other["sensitivities"] == took["sensitivities"]
    assert other["round weights"] >= 3 * 10
