"""What follows from turns, by hand; and what is written of it."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from speechquant.errors import StorageError
from speechquant.jobs.bench import Cell, System, write
from speechquant.jobs.bench.figure import draw_latencies
from speechquant.jobs.bench.realtime import RealTime
from speechquant.jobs.bench.tables import (
    conditions,
    latency_grids,
    memory_grids,
    ratio_grids,
    remarks,
    start_grid,
)

TURNS = {
    "torch f32": (80.0, 10.0, 60.0),
    "a f32": (40.0, 50.0, 60.0),
    "a bf16": (20.0, 20.0, 20.0),
    "a int8": (10.0, 20.0, 12.0),
}
SVG = "{http://www.w3.org/2000/svg}"


def test_ratios_are_medians_within_a_turn(made):
    result = made(TURNS)
    latency = result.cells[0].latency
    found = result.speedups(latency)
    # 80/10, 10/20, 60/12 and 40/10, 50/20, 60/12.
    assert found["a int8"] == pytest.approx({"torch f32": 5, "a f32": 4, "a bf16": 20 / 12})
    assert set(found) == set(TURNS)
    assert found["torch f32"]["torch f32"] == 1
    # Medians are 60, 50 and, in bf16, 20: the best float32 is not the best float.
    assert result.fastest_float32(latency) == "a f32"


def test_without_float_systems_nothing_is_compared(made):
    result = made({"a int8": (1.0, 2.0)})
    result = replace(result, systems={"a int8": result.systems["a int8"]})
    assert result.fastest_float32(result.cells[0].latency) is None
    assert result.speedups(result.cells[0].latency) == {"a int8": {}}
    (grid, _) = latency_grids(result)
    assert grid.rows == (("a int8", "1.5", "1.5", "1.5"),)
    assert list(ratio_grids(result)) == []


def test_a_noisy_machine_is_told(made):
    assert made().warnings == ()
    # Quartiles of 10, 12, 20 are 11 and 16: 42 % of the median; torch: 35 and 70, 58 %.
    (line,) = made(TURNS).warnings
    assert "18 of 24" not in line
    assert "12 of 24" in line
    assert "58%" in line
    assert "torch f32" in line


def test_unequal_work_is_told(made):
    assert made(tokens={"torch f32": 20, "a int8": 19}).warnings == ()
    lines = made(tokens={"torch f32": 20, "a int8": 3}).warnings
    assert len(lines) == 6
    assert lines[0].startswith("at 10 s a int8 wrote 3 tokens and torch f32 20")
    assert "2 s, batch 4" in lines[-1]


def test_tables(made):
    result = made(realtime=RealTime("d", 2, 100.0, dict.fromkeys(TURNS, 5.0)))
    one, four = latency_grids(result)
    assert one.head == ("system", "1 s", "2 s", "10 s")
    assert "batch 4" in four.title
    assert one.rows[0] == ("torch f32", "80 (0.50x)", "160 (0.50x)", "800 (0.50x)")
    assert one.rows[3] == ("a int8", "10 (4.00x)", "20 (4.00x)", "100 (4.00x)")
    assert one.rows[4] == ("best float32", "a f32", "a f32", "a f32")
    start = start_grid(result)
    row = dict(zip(start.head, start.rows[3], strict=True))
    assert row == {
        "system": "a int8",
        "MB": "0.0",
        "in int8": "3 of 4",
        "load s": "0.50",
        "first call ms": "3.0",
        "RTF": "0.0500",
        "": "rest in f32",
    }
    (memory,) = memory_grids(result)
    assert memory.rows[0] == ("torch f32", "108", "180")
    ratios, _ = ratio_grids(result)
    assert ratios.head == ("system", "torch f32", "a f32", "a bf16")
    assert ratios.rows[0] == ("a int8, 1 s", "8.00x", "4.00x", "2.00x")


def test_conditions_count_the_turns_that_there_were(made):
    result = made()
    assert "medians of 3 interleaved turns" in conditions(result)[0]
    short = replace(result.cells[0].latency, turns=dict.fromkeys(TURNS, (1.0,)))
    result = replace(result, cells=(*result.cells, Cell(short)), interrupted=True)
    assert "medians of 1 to 3 interleaved turns" in conditions(result)[0]
    assert remarks(result)[0].startswith("interrupted")
    assert "no interleaved turns" in conditions(replace(result, cells=()))[0]


def test_json_has_everything(made, tmp_path):
    result = made(TURNS, notes=("a note",))
    write(result, tmp_path)
    values = json.loads((tmp_path / "bench.json").read_text())
    assert values["threads"] == 2
    assert values["repeats"] == 3
    assert values["cpu"]["machine"]
    assert values["versions"]["onnxruntime"]
    assert values["command"]
    assert values["notes"] == ["a note"]
    assert values["systems"]["a int8"]["coverage"] == {"int8": 3, "total": 4, "fallbacks": ["x"]}
    cell = values["latency"][0]
    assert (cell["seconds"], cell["batch"]) == (10.0, 1)
    assert cell["turns"] == {name: list(times) for name, times in TURNS.items()}
    assert cell["median"]["a int8"] == 12
    assert cell["fastest_float32"] == "a f32"
    assert cell["speedups"]["a int8"]["a f32"] == pytest.approx(4)
    assert len(values["footprints"]) == 8
    text = (tmp_path / "bench.md").read_text()
    assert "| a int8 | 12 (4.00x) | 12 (4.00x) | 12 (4.00x) |" in text
    assert "warning: the machine was not quiet" in text
    assert "CPU threads: 2" in text


def points(path):
    return [tuple(map(float, point.split())) for point in path.get("d")[1:].split("L")]


def test_the_figure_has_a_line_per_system(made):
    root = ET.fromstring(draw_latencies(made(), 1))
    assert root.tag == f"{SVG}svg"
    lines = [path for path in root.iter(f"{SVG}path") if "series" in path.get("class")]
    assert len(lines) == 4
    coordinates = [points(line) for line in lines]
    for index in range(3):
        # Each system is twice as fast as the one before: the same distance everywhere on a logarithmic axis.
        steps = [b[index][1] - a[index][1] for a, b in itertools.pairwise(coordinates)]
        assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
        assert steps[0] > 10
    across = [x for x, _ in coordinates[0]]
    assert across == sorted(across)
    assert (across[2] - across[1]) / (across[1] - across[0]) == pytest.approx(2.32, abs=0.02)  # log2(5)
    style = root.find(f"{SVG}style").text
    assert "prefers-color-scheme: dark" in style
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {*TURNS, "1", "2", "10"} <= texts


def test_labels_stay_apart_and_inside(made):
    same = dict.fromkeys(TURNS, (50.0, 50.0))
    root = ET.fromstring(draw_latencies(made(same), 1))
    heights = sorted(float(t.get("y")) for t in root.iter(f"{SVG}text") if t.text in TURNS)
    assert all(two - one >= 15 for one, two in itertools.pairwise(heights))
    assert heights[-1] < float(root.get("height"))
    assert heights[0] > 0


def test_a_second_system_of_an_engine_and_kind_looks_different(made):
    result = made()
    systems = {**result.systems, "a bf16": System(None, "int8", "a", 1)}
    root = ET.fromstring(draw_latencies(replace(result, systems=systems), 1))
    styles = [p.get("class") for p in root.iter(f"{SVG}path") if "series" in p.get("class")]
    assert len(set(styles)) == len(styles)


def test_names_are_escaped_in_the_figure(made):
    result = replace(made(), title='<script> & "x"')
    texts = [text.text for text in ET.fromstring(draw_latencies(result, 1)).iter(f"{SVG}text")]
    assert any('<script> & "x"' in text for text in texts)


def test_figures_of_an_earlier_run_go(made, tmp_path):
    for name in ("latency-batch8.svg", "latency.svg", "latency-mine.svg"):
        (tmp_path / name).write_text("old")
    written = write(made(), tmp_path)
    names = {"bench.json", "bench.md", "latency.svg", "latency-batch4.svg"}
    assert {path.name for path in written} == names
    assert {path.name for path in tmp_path.iterdir()} == names | {"latency-mine.svg"}
    write(replace(made(), cells=()), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.md", "latency-mine.svg"}


def test_files_of_an_earlier_run_are_replaced_whole(made, tmp_path):
    names = [path.name for path in write(made(), tmp_path)]
    (tmp_path / "before").mkdir()
    texts = {name: (tmp_path / name).read_text() for name in names}
    for name in names:
        os.link(tmp_path / name, tmp_path / "before" / name)
    write(made(TURNS), tmp_path)
    assert {name: (tmp_path / "before" / name).read_text() for name in names} == texts
    assert all((tmp_path / name).read_text() != text for name, text in texts.items())


def test_a_place_that_cannot_be_written_is_one_line(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write(made(), tmp_path / "file" / "out")
