"""A run that is killed or interrupted at any moment loses little and spoils nothing."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from speechquant.artifact import load_artifact
from speechquant.evaluation import evaluator

# Notes every chunk of utterances, and kills the process before chunk `kill_at` is stored.
KILL = """
import os, signal
from speechquant.evaluation import evaluator
from speechquant.evaluation.store import EvaluationStore

evaluator.CHUNK_UTTERANCES = {chunk}
log = open({log!r}, "a")
recognize, save = evaluator._Run.recognize, EvaluationStore.save
chunks = 0

def noted(self, chunk):
    for utterance, _ in chunk:
        print(self.recognizer.signature, utterance.id, file=log, flush=True)
    recognize(self, chunk)

def killed(self, *arguments):
    global chunks
    chunks += 1
    if chunks == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, *arguments)

evaluator._Run.recognize, EvaluationStore.save = noted, killed
"""
CHUNK, KILL_AT = 2, 14


def test_a_killed_run_goes_on_where_it_was(first, start, run, figures, tmp_path, monkeypatch):  # noqa: PLR0917
    log, out = tmp_path / "log", tmp_path / "out"
    done = start("-o", out, "--naive", prelude=KILL.format(log=str(log), kill_at=KILL_AT, chunk=CHUNK))
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    before = log.read_text().splitlines()
    assert len(before) == KILL_AT * CHUNK
    after = []
    recognize = evaluator._Run.recognize

    def noted(self, chunk):
        after.extend(f"{self.recognizer.signature} {utterance.id}" for utterance, _ in chunk)
        recognize(self, chunk)

    monkeypatch.setattr(evaluator._Run, "recognize", noted)
    result = run("-o", out, "--naive")
    assert result.exit_code == 0, result.output
    assert load_artifact(out).scale_table().signature == load_artifact(first.folder).scale_table().signature
    assert figures(out) == figures(first.folder)
    assert sorted(set(before) & set(after)) == sorted(before[-CHUNK:])
    assert len(set(after)) == len(after)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "out", "out.work"]


@pytest.fixture
def interrupted(first, run, tmp_path, monkeypatch):
    """Presses Ctrl-C once at a moment; evaluations and an older artifact are there already."""
    out = tmp_path / "out"
    shutil.copytree(first.folder, out)
    shutil.copytree(first.folder.with_name("out.work"), tmp_path / "out.work")

    def press(room, name, *, after=False):
        pressed = []
        real = getattr(room, name)

        def moment(*arguments, **options):
            result = real(*arguments, **options) if after else None
            if not pressed:
                pressed.append(name)
                signal.raise_signal(signal.SIGINT)
            return result if after else real(*arguments, **options)

        monkeypatch.setattr(room, name, moment)
        return run("-o", out, "--method", "percentile"), pressed

    return press, out


@pytest.mark.parametrize(
    ("place", "after"),
    [
        ("jobs.quantization.job.open_corpora", False),
        ("jobs.quantization.job.load_model", True),
        ("jobs.quantization.workbench.observe", False),
        ("evaluation.evaluator.iter_loaded", True),
        ("jobs.quantization.workbench.activation_table", False),
        ("jobs.quantization.measure.export_onnx", True),
        ("jobs.quantization.measure.measure", False),
        ("jobs.quantization.job.render", False),
        ("artifact.save.save_tensors", True),
        ("artifact.save.model_card", False),
        ("artifact.staging._check_replaceable", True),
    ],
)
def test_ctrl_c_leaves_the_old_artifact(interrupted, first, place, after):
    import importlib

    press, out = interrupted
    if "observe" in place:
        next(out.with_name("out.work").glob("histograms-*")).unlink()
    room, name = place.rsplit(".", 1)
    result, pressed = press(importlib.import_module(f"speechquant.{room}"), name, after=after)
    assert pressed
    assert result.exit_code == 130, result.output
    said = [line for line in result.stderr.splitlines() if "interrupted" in line or "error" in line.lower()]
    assert said == ["interrupted; run the same command again to go on"]
    assert "Traceback" not in result.output
    same_files(out, first.folder)
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "out.work"]
    leftovers = [path.name for path in out.with_name("out.work").iterdir() if path.is_dir()]
    assert leftovers == []


def test_ctrl_c_in_a_process_of_its_own(start, tmp_path):
    prelude = """
import os, signal
from speechquant.jobs.quantization import workbench
real = workbench.observe
def observe(*a, **k):
    os.kill(os.getpid(), signal.SIGINT)
    return real(*a, **k)
workbench.observe = observe
"""
    done = start("-o", tmp_path / "out", prelude=prelude)
    assert done.returncode == 130
    assert done.stderr.splitlines() == ["interrupted; run the same command again to go on"]
    assert not (tmp_path / "out").exists()


def same_files(one, two):
    def contents(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert contents(one) == contents(two)
    assert json.loads((one / "metrics.json").read_text())
