"""The benchmark of training measures what its rows say, in turns, and repeats nothing."""

import argparse
import json
from contextlib import contextmanager

import pytest
import torch
from training import _run, main, measure, page
from training_updates import KINDS, Stops, Task, measured, session_of, weights_of

from speechquant.jobs.learning import session as sessions
from speechquant.models.random import random_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    random_model("hubert-large", folder, tiny=True)
    return str(folder)


@pytest.fixture
def task(tiny):
    def make(kind, *, checkpointing=False):
        return Task(
            tiny, kind, checkpointing, seconds=1.0, batch=2, updates=2, threads=torch.get_num_threads()
        )

    return make


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_timed_and_end_before_anything_else(task, kind, checkpointing, tmp_path, monkeypatch):
    asked, plain = [], sessions.recomputing

    @contextmanager
    def recomputing(network):
        asked.append(network)
        with plain(network):
            yield

    monkeypatch.setattr(sessions, "recomputing", recomputing)
    found = measured(task(kind, checkpointing=checkpointing), tmp_path)
    assert len(found["seconds"]) == 2
    assert min(found["seconds"]) > 0
    assert found["peak_bytes"] > 4 * found["parameters"] > 0
    assert bool(asked) == checkpointing


def test_each_kind_has_the_weights_that_it_names(task, tmp_path):
    made = {}
    for kind in KINDS:
        session = session_of(task(kind), tmp_path, Stops(1))
        made[kind] = weights_of(session, kind)
    assert session.model.config.layerdrop == 0
    assert made["float"] is None
    table = made["uniform"].table()
    assert {e.spec.bits for e in table if ".layers." in e.site.name} == {4}
    assert {e.spec.bits for e in table if ".layers." not in e.site.name} == {8}
    shares = {}
    for kind in ("searching", "settled"):
        choice = made[kind].choice
        choice.begin(2)
        shares[kind] = [len(choice.shares(module)[0]) for module in choice.bits()]
    assert set(shares["settled"]) == {1}
    assert sum(shares["searching"]) > 1.5 * len(shares["searching"])
    weights = {name: session.model.operator(name).weight.numel() for name in choice.bits()}
    total = sum(bits * weights[name] for name, bits in choice.bits().items())
    assert 0.98 * 4 <= total / sum(weights.values()) <= 4


def test_a_measurement_has_a_process_of_its_own(task):
    found = _run(task("uniform", checkpointing=True), "cpu")
    assert len(found["seconds"]) == 2
    with pytest.raises(SystemExit, match="uniform of missing ended with code 1"):
        _run(Task("missing", "uniform", checkpointing=False, seconds=1, batch=1, updates=1, threads=1), "cpu")


@pytest.fixture
def own(tmp_path):
    def make(**given):
        usual = {
            "kinds": ["float", "uniform"],
            "seconds": 5.0,
            "batch": 2,
            "updates": 2,
            "threads": 1,
            "device": "cpu",
            "repeats": 2,
            "again": False,
            "out": tmp_path / "training",
        }
        return argparse.Namespace(**usual | given)

    return make


@pytest.fixture
def bench(own):
    """Measures with a process that is made up: uniform training takes 2 s and 200 MB, float a quarter less."""
    known = {"rows": []}

    def run(**given):
        asked = []

        def pretend(task, _device):
            asked.append((task.folder, task.kind, task.checkpointing))
            unit = (2.0 if task.kind == "uniform" else 1.5) * (1.5 if task.checkpointing else 1)
            peak = unit * 1e8 / (3 if task.checkpointing else 1)
            times = [unit, unit + 0.1 * len(asked)]
            return {"seconds": times, "peak_bytes": round(peak), "parameters": 10**6}

        measure(own(**given), {"a": "A", "b": "B"}, known, run=pretend)
        return asked

    return run, known


def test_measurements_take_turns_and_are_not_made_twice(bench, own):
    run, known = bench
    first = run()
    cases = [(model, kind, less) for model in "AB" for kind in ("float", "uniform") for less in (False, True)]
    assert first == cases * 2
    assert run() == []
    assert run(repeats=3) == cases
    assert (
        run(kinds=["float", "searching"])
        == [(model, "searching", less) for model in "AB" for less in (False, True)] * 2
    )
    assert run(seconds=10.0) == cases * 2
    assert run(again=True, repeats=1, kinds=["uniform"]) == [case for case in cases if case[1] == "uniform"]
    assert json.loads(own().out.with_suffix(".json").read_text()) == known


def test_the_page_has_ratios_to_uniform_training(bench, own):
    run, known = bench
    run(repeats=1)
    lines = page(known)
    assert own().out.with_suffix(".md").read_text() == "\n".join(lines)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    assert rows[2][0] == "float"
    assert rows[3][:2] == ["float", "yes"]
    uniform = next(row for row in rows if row[:2] == ["uniform, 4 bits", "no"])
    # The third process of all: 2 s and 2.3 s.
    assert uniform[2:] == ["**2.15** (2.00 to 2.30)", "1.00", "**200** (200 to 200)", "1.00"]
    assert rows[2][2:] == ["**1.55** (1.50 to 1.60)", "0.72", "**150** (150 to 150)", "0.75"]
    assert sum(line.startswith("## ") for line in lines) == 2


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        "sys.argv", ["training.py", "wav2vec2-base", "--device", "cuda", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--device cuda: torch finds no GPU here" in capsys.readouterr().err
