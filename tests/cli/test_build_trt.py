from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speechquant.cli import app
from speechquant.engines import Coverage
from speechquant.engines.tensorrt import BuildOptions, Built, Seconds
from speechquant.jobs import build_trt as job


@pytest.fixture
def calls(monkeypatch):
    """What the command gives to the job, which builds nothing."""
    made = []

    def build(artifact, output, options, *, progress):
        made.append((artifact, output, options))
        return Built(output, (output / "model.plan",), 2_500_000, "10.15", Coverage(22, 22))

    monkeypatch.setattr(job, "build_trt", build)
    return made


def run(*words):
    return CliRunner().invoke(app, ["build-trt", *words])


def test_defaults(calls):
    result = run("art", "-o", "out")
    assert result.exit_code == 0
    assert calls == [(Path("art"), Path("out"), BuildOptions())]
    assert result.stdout == "model.plan in out: 2.5 MB, 22 of 22 operators in int8, TensorRT 10.15\n"


def test_options(calls):
    words = "--seconds 0:1:2 --seconds 2:3:4.5 --batch 3 --precision fp16 --workspace 64 --portable --level 2"
    result = run("art", "-o", "out", *words.split(), "--timing-cache", "cache", "--json")
    assert calls[0][2] == BuildOptions(
        seconds=(Seconds(0, 1, 2), Seconds(2, 3, 4.5)),
        batch=3,
        precision="fp16",
        workspace=64,
        portable=True,
        timing_cache=Path("cache"),
        level=2,
    )
    printed = json.loads(result.stdout)
    assert (printed["bytes"], printed["files"], printed["coverage"]["int8"]) == (
        2_500_000,
        ["out/model.plan"],
        22,
    )


@pytest.mark.parametrize(
    "words",
    ["--seconds 3:2:1", "--seconds ten", "--precision int4", "--batch 0", "--workspace 0", "--level 9"],
)
def test_nonsense_is_refused(calls, words):
    assert run("art", "-o", "out", *words.split()).exit_code == 2
    assert calls == []


def test_a_missing_tensorrt_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    result = run(str(tmp_path), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "pip install tensorrt" in result.stderr
    assert "Traceback" not in result.stderr
