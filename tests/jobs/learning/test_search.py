"""The search for bits as a job: blocks, penalties, budgets in bytes, interruptions."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest
from accelerate import Accelerator

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.jobs import Silent
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn, mixed, session
from speechquant.learn.allocation import float_bytes
from speechquant.learn.training import Trainer
from speechquant.models import load_model

SHORT = {"steps": 3, "batch": 2, "evaluate_every": 1, "learning_rate": 1e-3, "threads": 1, "rule": "all"}


@pytest.fixture
def run(corpora, tiny, tmp_path):
    """Learn on a tiny CTC model; returns the outcome and the record of the bits."""

    def run(name="out", progress=None, **settings):
        place = {"model": str(tiny("hubert-large")), "output": tmp_path / name, **corpora}
        found = learn(load_learn_recipe(**{**place, **SHORT, **settings}), progress=progress)
        assert not verify_artifact(found.folder).problems
        assert found.metrics["agreement"]["value"] > 99
        record = json.loads((found.folder / "allocation.json").read_text())
        held = {entry.site.module: entry.spec.bits for entry in load_artifact(found.folder).scale_table()}
        assert {row["module"]: row["bits"] for row in record["matrices"]} == held
        return found, record

    return run


def test_matrices_of_a_block_get_the_same_bits(run):
    several = {}
    for unit in ("block", "matrix"):
        _, record = run(unit, method="one-stage", average_bits=3.5, unit=unit, bit_start="fisher")
        assert record["average_bits"] <= 3.5
        by_layer = {}
        for row in record["matrices"]:
            by_layer.setdefault(row["layer"], set()).add(row["bits"])
        assert len(set.union(*by_layer.values())) > 1
        several[unit] = [layer for layer, bits in by_layer.items() if len(bits) > 1]
    assert not several["block"]
    assert several["matrix"]


def test_a_penalty_takes_the_place_of_a_budget(run, history):
    found, record = run(method="one-stage", bit_penalty=100.0, bit_start="fisher")
    assert record["budget"] is None
    # It begins even, at the mean of all candidates, and nothing is measured for that.
    assert "sensitivities" not in found.metrics["seconds"]
    rows = [row["average_bits"] for row in history(found.folder) if "bits_temperature" in row]
    assert len(rows) == 2
    assert (2 + 3 + 4 + 6 + 8) / 5 > rows[0] > rows[1]
    assert {row["bits"] for row in record["matrices"]} == {2}
    # Distances of logits are no divergence.
    assert record["predicted"] is found.metrics["allocation"]["predicted"] is None


@pytest.fixture
def without_texts(corpora, tmp_path):
    """The training speech alone."""
    return str(shutil.copytree(corpora["train"], tmp_path / "train", ignore=shutil.ignore_patterns("*.txt")))


@pytest.mark.parametrize(
    ("rounding", "unit"), [("nearest", "ratio"), ("nearest", "megabytes"), ("gptq", "ratio")]
)
def test_a_budget_in_bytes_holds_in_the_file(run, without_texts, tiny, rounding, unit):
    most = float_bytes(load_model(tiny("hubert-large"))) / 5.5
    budget, said = {"ratio": (5.5, "ratio 5.5"), "megabytes": (most / 1e6, f"{most / 1e6:g} MB")}[unit]
    margin, more = (0, {}) if rounding == "nearest" else (0.01, {"task_weight": 0, "train": without_texts})
    found, record = run(method="one-stage", rounding=rounding, **{unit: budget}, **more)
    storage = found.metrics["storage"]
    assert storage["float_bytes"] == pytest.approx(5.5 * most)
    assert 0.93 * most < storage["stored_bytes"] <= (1 + margin) * most
    assert storage["stored_bytes"] == (found.folder / "model.safetensors").stat().st_size
    assert record["budget"] == said


class Stops(Silent):
    """Ctrl-C when a stage begins."""

    @contextmanager
    def stage(self, title):
        if title == "train":
            raise KeyboardInterrupt
        yield lambda done, total, what="": None


def test_two_stages_go_on_between_them(run, monkeypatch):
    updates, judged = [], []
    update, check = Trainer._update, session.Session._check

    def counted(self, examples):
        updates.append(self._position.step)
        update(self, examples)

    def better(self, quantizers):
        # Noise has no words: the last weights are the best.
        judged.append(quantizers)
        found = check(self, quantizers)
        return type(found)(words=100, substitutions=100 - len(judged), deletions=0, insertions=0)

    monkeypatch.setattr(Trainer, "_update", counted)
    monkeypatch.setattr(session.Session, "_check", better)
    settings = {"method": "two-stage", "average_bits": 3.5, "bit_learning_rate": 1.0}
    whole, record = run("whole", **settings)
    assert whole.metrics["training"]["best_update"] == 3
    assert updates == [0, 1, 0, 1, 2]
    updates.clear()
    judged.clear()
    with pytest.raises(KeyboardInterrupt):
        run("parts", progress=Stops(), **settings)
    assert updates == [0, 1]
    parts, other = run("parts", **settings)
    assert updates == [0, 1, 0, 1, 2]
    assert other == record
    files = [found.folder / "model.safetensors" for found in (whole, parts)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_first_process_measures_before_the_others(run, monkeypatch):
    inside, seen = [False], []

    @contextmanager
    def first(self):
        inside[0] = True
        yield
        inside[0] = False

    original = mixed.sensitivities

    def measured(*arguments, **settings):
        seen.append(inside[0])
        return original(*arguments, **settings)

    monkeypatch.setattr(Accelerator, "main_process_first", first)
    monkeypatch.setattr(mixed, "sensitivities", measured)
    run(method="allocate", average_bits=3.5, criterion="fisher", rounding="nearest")
    assert seen == [True]
