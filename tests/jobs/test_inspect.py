"""The listing says what was decided and what the engine made of it."""

from __future__ import annotations

import json
import shutil

import artifact_fakes as fakes
import pytest

from speechquant.errors import ArtifactError
from speechquant.jobs.inspect import inspect
from speechquant.jobs.verify import verify


def test_every_site_is_listed(artifact):
    found = inspect(artifact)
    rows = {row.site: row for row in found.rows}
    table = fakes.table(fakes.weights())
    assert list(rows) == list(table.entries)
    conv = rows["conv:input"]
    assert (conv.layer, conv.bits, conv.scales, conv.clipped) == ("conv.0", 8, 1, True)
    assert conv.threshold == pytest.approx(0.1 * 127)
    assert not rows["conv:weight"].clipped
    assert not rows["head:input"].clipped
    assert rows["head:input"].scales == fakes.CHANNELS
    assert rows["head:weight"].threshold == pytest.approx(abs(fakes.weights()["head.weight"]).max(), rel=1e-6)


def test_what_the_engine_runs(artifact):
    found = inspect(artifact)
    assert {row.site: row.runs for row in found.rows if row.role == "input"} == {
        "conv:input": "int8",
        "head:input": "float",
    }
    assert found.coverage.fallbacks == ("head",)


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
