"""Latencies in what a comparison writes: made-up turns arrive unchanged in JSON, CSV, tables and pictures."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import speechquant as sq
from speechquant.engines import LatencyResult
from speechquant.jobs.bench import BenchResult, Cell, System
from speechquant.jobs.bench.provenance import provenance
from speechquant.jobs.comparison.speeds import Speeds
from speechquant.jobs.comparison.write import write

SVG = "{http://www.w3.org/2000/svg}"
# Milliseconds of turns by system, for one second of audio; medians 400, 100, 50, 20.
TURNS = {
    "torch f32": (400.0, 390.0, 440.0),
    "onnxruntime f32": (100.0, 90.0, 120.0),
    "openvino bf16": (50.0, 50.0, 65.0),
    "onnxruntime w8a8": (20.0, 15.0, 30.0),
    "onnxruntime w8a8 transformer": (25.0, 25.0, 25.0),
    "onnxruntime w6a6": (22.0, 21.0, 23.0),
}
LENGTHS = (1.0, 10.0, 30.0)


def made_up(turns=None, **changes):
    kinds = {name: "f32" if "f32" in name else "bf16" if "bf16" in name else "int8" for name in TURNS}
    systems = {name: System(None, kind, name.split()[0], 1000) for name, kind in kinds.items()}
    cells = tuple(
        Cell(LatencyResult(s, {n: tuple(s * t for t in ts) for n, ts in (turns or TURNS).items()}))
        for s in LENGTHS
    )
    where = provenance(threads=3, repeats=3, warmup=2, audio="speech of test")
    return BenchResult("m", where, systems, cells, notes=("a note",), **changes)


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """Rows of three widths without latencies."""
    out = tmp_path_factory.mktemp("plain") / "out"
    return sq.compare(
        output=out, methods="max,mse", bits="w8a8,w6a6,w16a16", layers="all,transformer", **tiny
    )


@pytest.fixture(scope="module")
def written(plain, tmp_path_factory):
    """The same with made-up latencies."""
    folder = tmp_path_factory.mktemp("written")
    result = replace(plain, speeds=Speeds(made_up()))
    write(result, folder)
    return result, folder


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expected(row):
    """At ten seconds, by hand."""
    names = {"float": 1000, "w8a8 all": 200, "w8a8 transformer": 250, "w6a6 all": 220}
    return names.get("float" if row["form"] == "float" else f"{row['bits']} {row['layers']}")


def test_rows_have_the_milliseconds_of_their_width(written):
    rows = json.loads((written[1] / "compare.json").read_text())["rows"]
    assert len(rows) == 13
    assert [row["milliseconds"] for row in rows] == [expected(row) for row in rows]
    assert sum(row["milliseconds"] is None for row in rows) == 6
    for row, cells in zip(rows, read(written[1] / "compare.csv"), strict=True):
        assert cells["milliseconds"] == ("" if expected(row) is None else str(float(expected(row))))


def test_turns_arrive_unchanged_in_the_json(written):
    found = json.loads((written[1] / "compare.json").read_text())["latency"]
    assert [cell["seconds"] for cell in found["latency"]] == list(LENGTHS)
    for cell in found["latency"]:
        assert cell["turns"] == {n: [cell["seconds"] * t for t in ts] for n, ts in TURNS.items()}
    assert (found["threads"], found["rows"]) == (3, {"engine": "onnxruntime", "seconds": 10.0})
    assert found["cpu"]["machine"]


def test_the_csv_is_what_numpy_finds(written):
    table = read(written[1] / "latency.csv")
    assert len(table) == len(LENGTHS) * len(TURNS)
    for line in table:
        turns = float(line["seconds"]) * np.array(TURNS[line["system"]])
        low, median, high = np.percentile(turns, [25, 50, 75])
        assert [float(line[f"{name}_ms"]) for name in ("low", "median", "high")] == [low, median, high]
        assert float(line["spread"]) == pytest.approx((high - low) / median)
        for other in ("torch f32", "onnxruntime f32", "openvino bf16"):
            ratio = np.median(np.array(TURNS[other]) / np.array(TURNS[line["system"]]))
            assert float(line[f"times_faster_than.{other}"]) == pytest.approx(ratio)
        assert (line["threads"], line["turns"]) == ("3", "3")


def test_the_tables_have_them_with_spread_and_every_ratio(written):
    lines = (written[1] / "compare.md").read_text().splitlines()
    # 200 is between 175 and 250; 15, 20 and 30 against 90, 100 and 120 and so on.
    whole = "| onnxruntime w8a8 | 200 | 175 to 250 | 38 % | 20.00x | 5.00x | 2.50x |"
    assert any(line.startswith(whole) for line in lines)
    assert "| onnxruntime w8a8 | 20 (5.00x) | 200 (5.00x) | 600 (5.00x) |" in lines
    text = "\n".join(lines)
    assert "CPU threads: 3; medians of 3 interleaved turns" in text
    assert "- ms for 10 s, ONNX Runtime, 3 threads;" in text
    assert "- a note" in text
    assert "![Figure 2: latency against length of audio](figure2.svg)" in text
    row = next(line for line in lines if line.startswith("| max | w8a8 | transformer |"))
    assert row.split("|")[5].strip() == "250"


def scale_of(root, texts):
    """From values to heights, by the ticks: logarithmic."""
    ticks = [
        (float(t.text.replace(",", "")), float(t.get("y")) - 4)
        for t in texts
        if t.get("text-anchor") == "end"
    ]
    (a, one), (b, two) = ticks[0], ticks[-1]
    return lambda v: one + (np.log(v / a)) * (two - one) / np.log(b / a)


def test_files_of_an_earlier_run_are_replaced_whole(written, tmp_path):
    result, _ = written
    paths = write(result, tmp_path)
    (tmp_path / "before").mkdir()
    texts = {path.name: path.read_text() for path in paths}
    for path in paths:
        os.link(path, tmp_path / "before" / path.name)
    write(replace(result, speeds=Speeds(made_up(dict.fromkeys(TURNS, (7.0, 8.0, 9.0))))), tmp_path)
    assert {name: (tmp_path / "before" / name).read_text() for name in texts} == texts
    assert all((tmp_path / name).read_text() != text for name, text in texts.items())
    assert {path.name for path in tmp_path.iterdir()} == {"before", *texts}


def test_the_figure_has_a_point_for_every_median(written):
    root = ET.fromstring((written[1] / "figure2.svg").read_text())
    texts = list(root.iter(f"{SVG}text"))
    y = scale_of(root, [t for t in texts if t.get("class") == "tick"])
    dots = {dot.find(f"{SVG}title").text: float(dot.get("cy")) for dot in root.iter(f"{SVG}circle")}
    assert len(dots) == len(LENGTHS) * len(TURNS)
    for name, turns in TURNS.items():
        for seconds in LENGTHS:
            (height,) = (at for tip, at in dots.items() if tip.startswith(f"{name}, {seconds:g} s:"))
            assert height == pytest.approx(y(seconds * np.median(turns)), abs=0.3)
    assert {"onnxruntime w8a8 5.00x", "torch f32 0.25x"} <= {t.text for t in texts}


def test_the_tradeoff_has_a_second_panel(written, plain, tmp_path):
    root = ET.fromstring((written[1] / "tradeoff.svg").read_text())
    tips = [t.text.replace("\N{NARROW NO-BREAK SPACE}", " ") for t in root.iter(f"{SVG}title")]
    assert any(tip.startswith("max w8a8:") and tip.endswith(", 200 ms") for tip in tips)
    assert any(tip.startswith("max w8a8:") and tip.endswith(" MB") for tip in tips)
    assert "ms for 10 s, ONNX Runtime, 3 threads" in {t.text for t in root.iter(f"{SVG}text")}
    assert 'id="figure2"' in (written[1] / "compare.html").read_text()
    write(plain, tmp_path)
    assert not any(" ms" in t.text for t in ET.parse(tmp_path / "tradeoff.svg").iter(f"{SVG}title"))
    assert not {"figure2.svg", "latency.csv"} & {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "compare.json").read_text())["latency"] is None


def test_ten_seconds_or_what_is_closest(plain):
    result = made_up()
    assert Speeds(result).headline.seconds == 10
    assert Speeds(replace(result, cells=result.cells[::2])).headline.seconds == 1
    nothing = Speeds(replace(result, cells=()))
    assert nothing.headline is None
    assert {replace(plain, speeds=nothing).milliseconds(row) for row in plain.rows} == {None}
