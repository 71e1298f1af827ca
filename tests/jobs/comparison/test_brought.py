"""Rows that were brought along: what `learn` made bring their own figures, and need test speech alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

import speechquant as sq
from speechquant.engines import recognizers
from speechquant.jobs.comparison import CompareInterrupted
from speechquant.jobs.comparison.bench import RowBench
from speechquant.jobs.comparison.rows import _method
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn
from speechquant.metrics import mapsswe, score

QUICK = {"steps": 2, "batch": 2, "evaluate_every": 1, "threads": 1}
MADE = {
    "control": {"method": "float", **QUICK},
    "u4": {"method": "uniform", "average_bits": 4, "rule": "all", **QUICK},
    "kl-6": {
        "method": "allocate",
        "average_bits": 6,
        "rule": "all",
        "probe_utterances": 1,
        "rounding": "nearest",
    },
    "kl-8": {
        "method": "allocate",
        "average_bits": 7.5,
        "rule": "all",
        "probe_utterances": 1,
        "rounding": "nearest",
    },
}


@pytest.fixture(scope="module")
def learned(tiny, tmp_path_factory):
    """What `learn` wrote for a tiny model, by name."""
    root = tmp_path_factory.mktemp("learned")
    roles = {"train": tiny["calibration"], "dev": tiny["dev"], "test": tiny["test"]}
    for name, settings in MADE.items():
        learn(load_learn_recipe(model=tiny["model"], output=root / name, **roles, **settings))
    return root


@pytest.fixture(scope="module")
def alone(tiny):
    """Settings of a comparison of rows alone."""
    return {name: tiny[name] for name in ("model", "test", "threads")}


def rows_of(folder, *names):
    return tuple(f"{name}={folder / name}" for name in names)


@pytest.fixture(scope="module")
def compared(learned, alone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "out"
    return sq.compare(output=folder, row=rows_of(learned, "u4", "kl-6", "kl-8", "control"), **alone), folder


def by_name(result):
    return {row.name: row for row in result.rows}


def test_learned_rows_bring_the_figures_of_their_artifacts(compared, learned):
    for name, row in by_name(compared[0]).items():
        if name in ("float", "control"):
            assert (row.found.storage, row.found.compression_seconds) == (None, None)
            continue
        metrics = json.loads((learned / name / "metrics.json").read_text())
        assert row.found.compression_seconds == metrics["compression_seconds"] > 0
        assert row.to_dict()["storage"] == metrics["storage"]
        size = (learned / name / "model.safetensors").stat().st_size
        assert compared[0].size(row) == row.found.storage.stored_bytes == size
        assert row.bits == metrics["bits"]
        # The engine that ran it for `learn` said the same.
        assert row.test.figures() == {k: metrics["quantized"][k] for k in row.test.figures()}
        assert row.found.backend == "onnxruntime"


def test_methods_are_named_and_allocation_by_its_criterion(compared):
    assert {name: row.method for name, row in by_name(compared[0]).items()} == {
        "float": "float", "u4": "uniform", "kl-6": "allocate (kl)", "kl-8": "allocate (kl)",
        "control": "float model",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "rounding", "allocation", "name"),
    [
        ("uniform", "gptq", {"criterion": "uniform"}, "uniform+gptq"),
        ("uniform", "nearest", {"criterion": "uniform"}, "uniform"),
        ("allocate", "gptq", {"criterion": "kl"}, "allocate+gptq (kl)"),
        ("stablequant", "adaround", None, "stablequant+adaround"),
    ],
)
def test_artifacts_that_were_rounded_differently_are_not_one_method(method, rounding, allocation, name):
    info = SimpleNamespace(method=method, rounding=rounding)
    assert _method(SimpleNamespace(info=info, metrics={"allocation": allocation})) == name


def test_rows_are_tested_against_the_control_too(compared, tiny):
    rows = by_name(compared[0])
    assert "control" not in {**rows["float"].against, **rows["control"].against}
    texts = {id_: Path(tiny["test"], f"{id_}.txt").read_text() for id_ in rows["float"].test.transcripts}
    for name in ("u4", "kl-6", "kl-8"):
        one, two = (
            score(texts, {k: t.text for k, t in rows[n].test.transcripts.items()}, normalizer="upper")
            for n in ("control", name)
        )
        assert rows[name].against["control"]["test"].p_value == mapsswe(one, two).p_value


def test_the_table_has_all_of_it(compared):
    result, folder = compared
    lines = (folder / "compare.md").read_text().splitlines()
    head = next(line for line in lines if line.startswith("| row |"))
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "row", "method", "bits", "MB", "test WER % (95 %), S/D/I", "against float", "against control",
        "average bits", "ratio", "compressed in",
    ]  # fmt: skip
    for name in ("u4", "kl-6", "kl-8"):
        row, found = by_name(result)[name], by_name(result)[name].found
        (line,) = [text for text in lines if text.startswith(f"| {name} |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[3] == f"{found.storage.stored_bytes / 1e6:.2f}"
        assert cells[7:9] == [f"{found.storage.average_bits:.2f}", f"{found.storage.ratio:.2f}"]
        assert f"{row.test.wer:.2f} (" in cells[4]
        assert cells[9].endswith("s")
    text = "\n".join(lines)
    assert "as it lies on disk" in text
    assert "artifacts ran in ONNX Runtime" in text
    # Nothing was chosen here.
    assert "Choices and costs" not in text
    assert "dev WER" not in text


def test_the_picture_joins_methods_and_draws_the_float_model(compared):
    picture = ET.fromstring((compared[1] / "tradeoff.svg").read_text())
    styles = [e.get("class", "") for e in picture.iter() if e.tag.endswith("path")]
    understood = [row for row in compared[0].rows if row.method == "allocate (kl)" and row.test.wer < 90]
    assert len(understood) == 2
    assert len([s for s in styles if s.startswith("joined")]) == 1
    assert [e for e in picture.iter() if e.get("class") == "band"]
    assert "size of the file in MB" in (compared[1] / "compare.html").read_text()


def test_rows_alone_calibrate_nothing_and_hear_test_alone(learned, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(RowBench, "calibrate", None)
    found = sq.compare(output=tmp_path / "out", row=rows_of(learned, "u4"), **alone)
    assert [row.error for row in found.rows] == [None, None]
    assert all(row.dev is None for row in found.rows)
    assert set(found.to_dict()["speech"]) == {"test"}


def test_dev_is_reported_where_it_is_given(learned, alone, tiny, tmp_path):
    found = sq.compare(output=tmp_path / "out", row=rows_of(learned, "u4"), dev=tiny["dev"], **alone)
    expected = sq.evaluate([learned / "u4"], tiny["dev"], normalizer="upper").results[0].evaluation
    assert found.rows[1].dev.figures() == expected.figures()
    assert set(found.rows[1].against["float"]) == {"dev", "test"}
    assert "dev WER" in (tmp_path / "out" / "compare.md").read_text()


def test_beside_methods_all_sizes_are_arithmetic(learned, tiny, tmp_path):
    found = sq.compare(output=tmp_path / "out", methods="max", row=rows_of(learned, "kl-8"), **tiny)
    row = found.rows[2]
    assert found.size(row) == row.found.storage.packed_bytes != row.found.storage.stored_bytes
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "MB on disk" in text
    assert f" {row.found.storage.stored_bytes / 1e6:.2f} " in text
    assert "Choices and costs" in text
    assert "allocate (kl), brought along" in (tmp_path / "out" / "tradeoff.svg").read_text()


def test_finished_rows_are_not_heard_again(learned, alone, tmp_path, monkeypatch):
    kind = recognizers.CTCRecognizer
    real, calls = kind.recognize, []

    def recognize(self, waves):
        calls.append(len(waves))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, waves)

    monkeypatch.setattr(kind, "recognize", recognize)
    settings = {"output": tmp_path / "out", "row": rows_of(learned, "u4", "kl-6"), **alone}
    with pytest.raises(CompareInterrupted) as caught:
        sq.compare(**settings)
    assert [row.name for row in caught.value.result.rows] == ["float", "u4"]
    whole = sq.compare(**settings)
    assert len(calls) == 3
    again = sq.compare(**settings)
    assert len(calls) == 3
    assert [row.test.figures() for row in again.rows] == [row.test.figures() for row in whole.rows]


@pytest.mark.parametrize("nonsense", ["soon", None, float("inf"), [3]])
def test_figures_of_a_file_are_not_trusted(learned, alone, tmp_path, nonsense):
    folder = tmp_path / "kl"
    shutil.copytree(learned / "kl-6", folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"compression_seconds": nonsense, "allocation": nonsense}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    row = sq.compare(output=tmp_path / "out", row=(f"kl={folder}",), **alone).rows[1]
    assert row.error is None
    assert row.found.compression_seconds is None
    assert row.method == "allocate"
