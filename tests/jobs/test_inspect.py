"""The listing says what was decided and what the engine made of it."""

from __future__ import annotations

import json
import shutil

import artifact_fakes as fakes
import numpy as np
import pytest

from speechquant.artifact import save_artifact
from speechquant.errors import ArtifactError
from speechquant.jobs.inspect import inspect
from speechquant.jobs.verify import verify
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site


def test_every_site_is_listed(artifact):
    found = inspect(artifact)
    rows = {row.site: row for row in found.rows}
    table = fakes.table(fakes.weights())
    assert set(rows) == set(table.entries)
    conv = rows["conv:input"]
    assert (conv.layer, conv.bits, conv.scales, conv.selected) == ("conv.0", 8, 1, True)
    assert (conv.maximum, rows["conv:weight"].maximum) == (31.5, None)
    assert conv.threshold == pytest.approx(0.1 * 127)
    assert not rows["conv:weight"].selected
    assert not rows["head:input"].selected
    assert rows["head:input"].scales == fakes.CHANNELS
    assert rows["head:weight"].threshold == pytest.approx(abs(fakes.weights()["head.weight"]).max(), rel=1e-6)


def test_rows_are_in_the_order_of_the_model(tmp_path):
    layers = ("conv.0", "conv.1", "head")
    modules = {"conv.0": ["z"], "conv.1": ["y", "a"], "head": ["b"]}
    spec, arrays = QuantSpec(8), {}
    sites = [
        Site(module, role, layer)
        for role in ("weight", "input")
        for layer in layers
        for module in modules[layer]
    ]
    # The search appends the inputs of the layers that it clips last.
    sites.sort(key=lambda site: (site.role == "input", site.role == "input" and site.layer == "conv.1"))
    for site in sites:
        arrays[f"{site.module}.weight"] = np.ones((2, 2), np.float32)
    table = ScaleTable({site.name: Entry(site, spec, np.float32(0.1)) for site in sites})
    made = fakes.contents(tmp_path / "model", table=table, weights=arrays)
    found = inspect(save_artifact(made, tmp_path / "out").folder)
    expected = [f"{module}:{role}" for module in "zyab" for role in ("input", "weight")]
    assert [row.site for row in found.rows] == expected


def test_what_the_engine_runs(artifact):
    found = inspect(artifact)
    assert {row.site: row.runs for row in found.rows if row.role == "input"} == {
        "conv:input": "int8",
        "head:input": "float",
    }
    assert found.coverage.fallbacks == ("head",)


def test_weights_in_4_bits_are_told_from_those_that_become_float(artifact, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(artifact, folder)
    path = folder / "onnx" / "engine.json"
    content = json.loads(path.read_text())
    content["operators"] = [one | {"int8": False, "weights_4bit": True} for one in content["operators"]]
    content["coverage"] = {"int8": 0, "total": 2, "weights_4bit": 1, "expanded": ["conv"]}
    path.write_text(json.dumps(content))
    found = inspect(folder)
    assert {row.site.partition(":")[0]: row.runs for row in found.rows} == {
        "conv": "4-bit file",
        "head": "4-bit weights",
    }
    assert found.coverage.small == 2


def test_without_coverage_nothing_is_claimed(artifact, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(artifact, folder)
    path = folder / "onnx" / "engine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"coverage": None}))
    found = inspect(folder)
    assert found.coverage is None
    assert {row.runs for row in found.rows} == {"unknown"}


def test_not_an_artifact(tmp_path):
    with pytest.raises(ArtifactError):
        inspect(tmp_path)


def test_verify_passes_an_artifact(artifact):
    assert verify(artifact).problems == ()
