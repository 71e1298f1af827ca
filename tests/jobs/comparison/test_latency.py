"""Latency in a comparison: a tiny model really runs, nothing is done twice, what fails is a note."""

from __future__ import annotations

import re

import numpy as np
import pytest

import speechquant as sq
from speechquant.errors import EngineError
from speechquant.jobs.bench.candidates import Maker
from speechquant.jobs.comparison import CompareInterrupted
from speechquant.jobs.comparison import latency as latency_module
from speechquant.jobs.comparison import rows as rows_module
from speechquant.models.ctc_recognizer import CTCRecognizer


@pytest.fixture(scope="module")
def measured(tiny, artifact, tmp_path_factory):
    """Really exported and run: two widths, an artifact, a float model; w16a16 has no integers."""
    out = tmp_path_factory.mktemp("measured") / "out"
    row = (f"letters={artifact}", f"control={tiny['model']}")
    settings = {"output": out, "methods": "max,mse", "bits": "w8a8,w4a16,w16a16", "row": row, **tiny}
    return sq.compare(latency=True, **settings), settings


def test_everything_runs_in_turns(measured):
    result, settings = measured
    found = result.speeds.measured
    wanted = {
        "torch f32",
        "onnxruntime f32",
        "onnxruntime w8a8",
        "onnxruntime w4a16",
        "letters on onnxruntime",
    }
    wanted |= {"openvino f32", "openvino w8a8", "openvino w4a16"}
    assert wanted <= set(found.systems)
    assert {name.split()[0] for name in set(found.systems) - wanted} <= {"openvino"}
    assert [cell.latency.seconds for cell in found.cells] == list(latency_module.LENGTHS)
    for cell in found.cells:
        assert set(cell.latency.turns) == set(found.systems)
        times = np.array(list(cell.latency.turns.values()))
        assert times.shape[1] == latency_module.REPEATS
        assert np.isfinite(times).all()
        assert (times > 0).all()
    for engine in ("onnxruntime", "openvino"):
        assert found.systems[f"{engine} w8a8"].coverage.int8 > 0
    by_name = {row.name: result.milliseconds(row) for row in result.rows}
    assert by_name["max w8a8"] == by_name["mse w8a8"] != by_name["max w4a16"]
    median = result.speeds.headline.median
    assert by_name["letters"] == median["letters on onnxruntime"]
    assert by_name["float"] == median["onnxruntime f32"]
    assert by_name["control"] is by_name["max w16a16"] is None
    notes = "\n".join(found.notes)
    assert "no latency of w16a16" in notes
    assert "no latency of control, which is a float model" in notes
    assert not list((settings["output"].with_name("out.work")).glob("scratch-*"))


@pytest.fixture
def one_engine(monkeypatch):
    monkeypatch.setattr(latency_module, "choose_engines", lambda _: (("onnxruntime",), []))


@pytest.mark.usefixtures("one_engine")
def test_a_width_runs_in_integers_of_its_own_scales(measured, tiny, monkeypatch, tmp_path):
    """The table that is exported is the calibrator called by hand."""
    from speechquant.models import load_model
    from speechquant.numerics import calibrate, load_histograms

    tables = {}
    real = Maker.export

    def export(self, model, table, engine, folder=None):
        tables[engine, folder] = table
        return real(self, model, table, engine, folder)

    monkeypatch.setattr(Maker, "export", export)
    settings = {"output": tmp_path / "out", "figures": True, **tiny}
    sq.compare(latency=True, **settings)
    (path,) = tmp_path.glob("out.work/histograms-*.npz")
    histograms, model = load_histograms(path), load_model(tiny["model"])
    table = tables["onnxruntime", "onnxruntime-w8a8-all"]
    assert len(table) == len(model.sites())
    for site in model.sites():
        if site.role == "input":
            scale = calibrate("percentile", histograms[site.name], 8, percentile=99.9)
            assert float(table.entries[site.name].scale) == pytest.approx(scale)


def test_nothing_is_measured_again(measured, monkeypatch):
    result, settings = measured
    monkeypatch.setattr(latency_module, "speed_systems", None)
    monkeypatch.setattr(latency_module, "measure_systems", None)
    before = (settings["output"] / "compare.json").read_text()
    again = sq.compare(latency=True, **settings)
    assert (settings["output"] / "compare.json").read_text() == before
    assert again.to_dict()["latency"] == result.to_dict()["latency"]
    assert "w8a8" in (settings["output"] / "figure2.svg").read_text()


@pytest.mark.parametrize("change", [{"threads": 2}, {"bits": "w8a8"}, {"row": ()}])
def test_what_decides_a_latency_is_in_its_key(measured, monkeypatch, change):
    asked = []

    def systems(*_, **__):
        asked.append(1)
        raise EngineError("enough")

    monkeypatch.setattr(latency_module, "speed_systems", systems)
    sq.compare(latency=True, **{**measured[1], **change})
    assert asked


@pytest.mark.usefixtures("one_engine")
def test_an_interrupted_measurement_keeps_finished_lengths(tiny, tmp_path, monkeypatch):
    settings = {"output": tmp_path / "out", "figures": True, "latency": True, **tiny}
    real, calls = latency_module.measure_systems, []

    def measure(systems, *, keep, seconds, **others):
        calls.append(tuple(seconds))

        def stop(cell):
            keep(cell)
            if len(calls) == 1:
                raise KeyboardInterrupt

        return real(systems, keep=stop, seconds=seconds, **others)

    monkeypatch.setattr(latency_module, "measure_systems", measure)
    with pytest.raises(CompareInterrupted) as caught:
        sq.compare(**settings)
    first, second = latency_module.LENGTHS
    (kept,) = caught.value.result.speeds.measured.cells
    assert kept.latency.seconds == first
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "interrupted: the rest is missing" in text
    whole = sq.compare(**settings).speeds.measured
    assert calls == [(first, second), (second,)]
    assert not whole.interrupted
    assert whole.cells[0].latency.turns == kept.latency.turns


@pytest.mark.usefixtures("one_engine")
def test_latencies_of_a_finished_run_outlive_a_kill(tiny, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    out = tmp_path / "out"
    sq.compare(output=out, figures=True, latency=True, **tiny)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(latency_module, "recall", kill)
    with pytest.raises(Killed):
        sq.compare(output=out, figures=True, latency=True, **tiny)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_export_that_fails_is_a_note_and_tried_again(tiny, tmp_path, monkeypatch):
    settings = {"output": tmp_path / "out", "figures": True, "latency": True, **tiny}
    real, broken = Maker.export, [True]

    def export(self, model, table, engine, folder=None):
        if broken and engine == "openvino" and table is not None:
            raise EngineError("this cannot\nbe written")
        return real(self, model, table, engine, folder)

    monkeypatch.setattr(Maker, "export", export)
    found = sq.compare(**settings)
    assert "no latency of openvino w8a8: this cannot be written" in found.speeds.measured.notes
    assert {"onnxruntime w8a8", "openvino f32"} <= set(found.speeds.measured.systems)
    assert "this cannot be written" in (tmp_path / "out" / "compare.html").read_text()
    same = sq.compare(**settings)
    assert same.to_dict()["latency"] == found.to_dict()["latency"]
    broken.clear()
    assert "openvino w8a8" in sq.compare(**settings).speeds.measured.systems


def test_a_model_without_exports_is_measured_in_torch_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Maker, "export", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no graph")))
    found = sq.compare(output=tmp_path / "out", methods="max", latency=True, **tiny)
    assert list(found.speeds.measured.systems) == ["torch f32"]
    assert {found.milliseconds(row) for row in found.rows} == {None}
    assert (tmp_path / "out" / "figure2.svg").is_file()


@pytest.mark.usefixtures("one_engine")
def test_a_measurement_that_fails_loses_no_rows(tiny, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(latency_module, "measure_systems", fail)
    found = sq.compare(output=tmp_path / "out", methods="max", latency=True, **tiny)
    assert [row.error for row in found.rows] == [None, None]
    assert "latency was not measured to the end: out of luck" in (tmp_path / "out" / "compare.md").read_text()
    assert not (tmp_path / "out" / "figure2.svg").exists()


def test_artifacts_alone_stand_beside_float_engines(alone_settings, artifact, tmp_path):
    found = sq.compare(output=tmp_path / "out", row=(f"a={artifact}",), latency=True, **alone_settings)
    systems = set(found.speeds.measured.systems)
    assert {"torch f32", "onnxruntime f32", "a on onnxruntime"} <= systems
    assert not any(re.search(r"w\d+a\d+", name) for name in systems)
    assert found.milliseconds(found.rows[1]) == found.speeds.headline.median["a on onnxruntime"]


@pytest.fixture
def alone_settings(tiny):
    return {name: tiny[name] for name in ("model", "test", "threads")}


@pytest.mark.usefixtures("one_engine")
def test_torch_has_its_threads_back(tiny, tmp_path, monkeypatch):
    import torch

    seen = []
    monkeypatch.setattr(
        latency_module,
        "measure_systems",
        lambda systems, **_: (
            [system.open() for system in systems.values()] and seen.append(torch.get_num_threads())
        ),
    )
    monkeypatch.setattr(latency_module, "installed_engines", lambda: type("R", (), {"cores": 2}))
    before = torch.get_num_threads()
    sq.compare(output=tmp_path / "out", figures=True, latency=True, **{**tiny, "threads": None})
    assert (seen, torch.get_num_threads()) == ([2], before)


def test_other_rounding_makes_rows_with_a_rounding_again(tiny, tmp_path, monkeypatch):
    made, real = [], rows_module._search
    monkeypatch.setattr(
        rows_module, "_search", lambda b, plan, *a: made.append(plan.name) or real(b, plan, *a)
    )
    settings = {"output": tmp_path / "out", "methods": "max,max+gptq", **tiny}
    sq.compare(**settings)
    sq.compare(**settings)
    assert made == ["max w8a8", "max+gptq w8a8"]
    monkeypatch.setattr(rows_module, "ROUNDING_VERSION", -1)
    sq.compare(**settings)
    assert made[2:] == ["max+gptq w8a8"]


@pytest.mark.usefixtures("one_engine")
def test_the_progress_tells_what_is_measured(tiny, tmp_path):
    from contextlib import contextmanager

    told = []

    class Listener:
        @contextmanager
        def stage(self, title):
            yield lambda done, total, what="": told.append((title, done, total, what))

        def note(self, message):
            told.append(message)

    sq.compare(output=tmp_path / "out", figures=True, latency=True, progress=Listener(), **tiny)
    assert any(
        isinstance(t, tuple) and t[0].startswith("export") and t[3] == "onnxruntime w8a8" for t in told
    )
    turns = len(latency_module.LENGTHS) * (latency_module.REPEATS + latency_module.WARMUP)
    assert ("latency, in turns", turns, turns, f"{latency_module.LENGTHS[-1]:g} s") in told


@pytest.mark.usefixtures("one_engine")
def test_the_float_model_is_the_one_that_is_loaded(tiny, tmp_path, monkeypatch):
    opened = []
    real = CTCRecognizer.__init__
    monkeypatch.setattr(
        CTCRecognizer, "__init__", lambda self, *a, **k: opened.append(1) or real(self, *a, **k)
    )
    from speechquant.jobs.bench import floats

    monkeypatch.setattr(floats, "load_float", None)
    found = sq.compare(output=tmp_path / "out", figures=True, latency=True, **tiny)
    assert opened
    assert "torch f32" in found.speeds.measured.systems
