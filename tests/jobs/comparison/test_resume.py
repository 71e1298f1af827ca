"""Ctrl-C, a kill and a second start: finished rows stay, and the figures do not change."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest

import speechquant as sq
from speechquant.errors import StorageError
from speechquant.evaluation import evaluator
from speechquant.jobs import clock
from speechquant.jobs.comparison import CompareInterrupted
from speechquant.jobs.comparison import rows as rows_module
from speechquant.learn.rounding import run as rounding
from speechquant.models import ctc_recognizer

METHODS = "stablequant,max,adaptive-mse"


def untimed(folder):
    found = json.loads((folder / "compare.json").read_text())
    for row in found["rows"]:
        del row["seconds"]
    return found


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    sq.compare(output=folder, methods=METHODS, **tiny)
    return folder


@pytest.fixture
def heard(monkeypatch):
    """Calls of the model, and how many waves it has recognised; raises in place of the n-th call if told to."""
    kind, state = ctc_recognizer.CTCRecognizer, {"calls": 0, "waves": 0, "stop": None}
    real = kind.recognize

    def recognize(self, waves):
        state["calls"] += 1
        if state["calls"] == state["stop"]:
            raise KeyboardInterrupt
        state["waves"] += len(waves)
        return real(self, waves)

    monkeypatch.setattr(kind, "recognize", recognize)
    return state


@pytest.mark.parametrize("stop", [1, 5, 17, 21])
def test_an_interrupted_run_goes_on_and_finds_the_same(tiny, tmp_path, heard, whole, stop):
    out = tmp_path / "out"
    heard["stop"] = stop
    with pytest.raises(CompareInterrupted) as caught:
        sq.compare(output=out, methods=METHODS, **tiny)
    written = json.loads((out / "compare.json").read_text())
    assert written["interrupted"] is True
    assert written == caught.value.result.to_dict()
    assert len(written["rows"]) < written["planned"] == 4
    if stop > 2:
        assert "rows; the same command goes on" in (out / "compare.md").read_text()
    before = heard["calls"]
    sq.compare(output=out, methods=METHODS, **tiny)
    assert untimed(out) == untimed(whole)
    alone = {"calls": heard["calls"] - before}
    heard.update(calls=0, stop=None)
    sq.compare(output=tmp_path / "other", methods=METHODS, **tiny)
    # One call was lost, and nothing was done twice.
    assert alone["calls"] == heard["calls"] - (stop - 1)


def test_a_finished_run_does_nothing_again(tiny, whole, heard, monkeypatch):
    before = (whole / "compare.json").read_text()
    monkeypatch.setattr(rows_module, "_search", None)
    found = sq.compare(output=whole, methods=METHODS, **tiny)
    assert heard["calls"] == 0
    assert (whole / "compare.json").read_text() == before
    assert json.loads(before) == found.to_dict()


def test_rows_that_are_added_are_all_that_is_made(tiny, whole, heard):
    found = sq.compare(output=whole, methods=f"{METHODS},entropy", **tiny)
    assert heard["calls"] == 2
    assert len(found.rows) == 5


def test_other_settings_make_the_row_again(tiny, tmp_path):
    first = sq.compare(output=tmp_path / "out", methods="adaptive-mse", **tiny)
    again = sq.compare(output=tmp_path / "out", methods="adaptive-mse", gamma=1e6, **tiny)
    assert first.rows[1].found.clipped
    assert not again.rows[1].found.clipped


def test_other_speech_makes_the_row_again(tiny, tmp_path):
    swapped = {**tiny, "dev": tiny["test"], "test": tiny["dev"]}
    sq.compare(output=tmp_path / "out", methods="stablequant", **tiny)
    again = sq.compare(output=tmp_path / "out", methods="stablequant", **swapped).rows[1]
    fresh = sq.compare(output=tmp_path / "fresh", methods="stablequant", **swapped).rows[1]
    assert replace(again.found, seconds=0.0) == replace(fresh.found, seconds=0.0)
    assert again.test.figures() == fresh.test.figures()


def test_lost_transcripts_are_made_again(tiny, tmp_path, heard):
    first = sq.compare(output=tmp_path / "out", methods="max", **tiny)
    with sqlite3.connect(tmp_path / "out.work" / "evaluations.sqlite") as database:
        database.execute("DELETE FROM transcripts WHERE signature = ?", (first.rows[1].found.signature,))
    heard["calls"] = 0
    again = sq.compare(output=tmp_path / "out", methods="max", **tiny)
    assert heard["calls"] == 2
    assert again.rows[1].test.figures() == first.rows[1].test.figures()


def test_shared_passes_are_made_once_but_count_for_every_row(whole, tiny, tmp_path, heard):
    found = sq.compare(output=tmp_path / "out", methods="adaptive-mse,adaptive-entropy", **tiny)
    layers, utterances = 12, 4
    # Float on dev and test, each layer alone, two rows on dev and test; sets this small are always heard in full.
    assert heard["waves"] == utterances * (2 + layers + 2 * 2)
    assert [row.found.search_passes for row in found.rows[1:]] == [1 + layers] * 2
    one, two = (row.found.seconds for row in found.rows[1:])
    assert min(one, two) > 0.5 * max(one, two)


def test_choices_on_a_part_of_dev_and_figures_on_all_of_it(tiny, tmp_path):
    found = sq.compare(output=tmp_path / "out", methods="stablequant", search_minutes=0.02, **tiny)
    speech = found.to_dict()["speech"]
    assert speech["choices"]["utterances"] < speech["dev"]["utterances"] == len(found.rows[1].dev.transcripts)
    assert "chosen on 1 utterances of dev" in (tmp_path / "out" / "compare.md").read_text()


def test_a_place_that_cannot_be_written_is_refused_first(tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file"):
        sq.compare(output=tmp_path / "file", methods="max", **tiny)
    with pytest.raises(StorageError, match=r"holds a model \(config.json and weights\)"):
        sq.compare(output=tiny["model"], methods="max", **tiny)


def test_tables_of_a_finished_run_stay_until_there_are_new_rows(tiny, tmp_path, heard):
    out = tmp_path / "out"
    sq.compare(output=out, methods="max", **tiny)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with sqlite3.connect(tmp_path / "out.work" / "evaluations.sqlite") as database:
        database.execute("DELETE FROM transcripts")
    heard.update(calls=0, stop=1)
    with pytest.raises(CompareInterrupted):
        sq.compare(output=out, methods="max,mse", **tiny)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_rounding_takes_what_it_took_whatever_lay_between(tiny, tmp_path, monkeypatch):
    now, solved, state = [0.0], rounding.collect, {"stop": None, "calls": 0}

    def collect(*arguments, **settings):
        state["calls"] += 1
        if state["calls"] == state["stop"]:
            raise KeyboardInterrupt
        now[0] += 10
        return solved(*arguments, **settings)

    monkeypatch.setattr(rounding, "collect", collect)
    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])
    settings = {"methods": "max+gptq", "bits": "w4a8", **tiny}
    whole = sq.compare(output=tmp_path / "whole", **settings).rows[1].found.seconds
    calls = state["calls"]
    state.update(calls=0, stop=calls - 3)
    with pytest.raises(CompareInterrupted):
        sq.compare(output=tmp_path / "twice", **settings)
    state["stop"] = None
    twice = sq.compare(output=tmp_path / "twice", **settings).rows[1].found.seconds
    assert twice == whole == 10 * calls


def test_a_row_takes_what_its_passes_took_whatever_lay_between(tiny, tmp_path, monkeypatch, heard):
    now, real = [0.0], ctc_recognizer.CTCRecognizer.recognize

    def recognize(self, waves):
        found = real(self, waves)
        now[0] += 10 * len(waves)
        return found

    monkeypatch.setattr(ctc_recognizer.CTCRecognizer, "recognize", recognize)
    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])
    monkeypatch.setattr(evaluator, "CHUNK_SECONDS", 0.0)
    whole = [row.found.seconds for row in sq.compare(output=tmp_path / "whole", methods="max", **tiny).rows]
    dev = test = 4
    assert whole == [10 * (dev + test)] * 2
    for stop in (2, 4, 7):
        heard.update(calls=0, stop=stop)
        out = tmp_path / str(stop)
        with pytest.raises(CompareInterrupted):
            sq.compare(output=out, methods="max", **tiny)
        heard["stop"] = None
        assert [row.found.seconds for row in sq.compare(output=out, methods="max", **tiny).rows] == whole
