"""`export` and `engines` as a shell sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import speechquant.jobs.engines
import speechquant.jobs.export  # noqa: F401 - its module is looked up below
from speechquant.engines import Coverage
from speechquant.jobs import EngineExport


def test_export_prints_what_runs_in_float(cli, monkeypatch):
    asked = {}

    def job(artifact, **settings):
        asked.update(settings, artifact=artifact)
        return (EngineExport("openvino", Path("a/onnx/openvino"), 2_500_000, Coverage(3, 4, ("x",), ("x",))),)

    monkeypatch.setattr(sys.modules["speechquant.jobs.export"], "export", job)
    result = cli("export", "a", "--engine", "openvino")
    assert result.exit_code == 0
    assert (asked["artifact"], asked["engine"], asked["output"]) == (Path("a"), "openvino", None)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["openvino", "2.5", "3", "of", "4", "a/onnx/openvino"] in rows
    assert "openvino runs in float: x, although int8 was asked for" in result.stdout
    (values,) = json.loads(cli("export", "a", "-o", "b", "--json").stdout)
    assert (values["bytes"], values["coverage"]["int8"], values["folder"]) == (
        2_500_000,
        3,
        "a/onnx/openvino",
    )
    assert (asked["engine"], asked["output"]) == ("all", Path("b"))


def test_export_of_something_else_is_one_line(cli, tmp_path):
    result = cli("export", tmp_path, "--engine", "onnxruntime")
    assert result.exit_code == 2
    assert "is not an artifact" in result.stderr
    assert "Traceback" not in result.output


def test_engines(cli):
    result = cli("engines")
    assert result.exit_code == 0
    assert "onnxruntime" in result.stdout
    values = json.loads(cli("engines", "--json").stdout)
    assert {"cpu", "cores", "engines", "warnings"} == values.keys()
    assert "onnxruntime" in [engine["name"] for engine in values["engines"]]
