"""The picture of a training run says what the history says."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from speechquant.report import learning_file
from speechquant.report.plots.learning import draw_learning

ROWS = [
    {"step": 0, "dev": {"wer": 30.0}, "best": True},
    {"step": 1, "loss": 3.0},
    {"step": 2, "loss": 2.0},
    {"step": 2, "dev": {"wer": 12.0}, "best": True},
    {"step": 3, "loss": None},
    {"step": 4, "loss": 1.0},
    {"step": 4, "dev": {"wer": 14.0}, "best": False},
]


def dots(root):
    return [item for item in root.iter() if item.tag.endswith("circle")]


def test_every_evaluation_has_a_dot_and_the_chosen_one_stands_out():
    root = ET.fromstring(draw_learning(ROWS, 10.0, 700))
    found = dots(root)
    assert [dot.get("class") for dot in found] == ["dot fill-quantized", "dot best", "dot fill-quantized"]
    heights = [float(dot.get("cy")) for dot in found]
    assert heights[0] < heights[2] < heights[1]
    across = [float(dot.get("cx")) for dot in found]
    assert across == sorted(across)
    texts = [item.text for item in root.iter() if item.tag.endswith("text")]
    assert any(text and text.startswith("float 10.00") for text in texts)
    assert any(text and text.startswith("chosen: 12.00") for text in texts)
    assert "12.00" in root.get("aria-label")


def test_the_file_stands_alone():
    root = ET.fromstring(learning_file(ROWS, None))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert any(child.tag.endswith("style") for child in root)


def test_a_run_without_losses_or_rates_is_drawn_too():
    for rows in ([], ROWS[:1], [{"step": 1, "loss": 2.0}], [{"step": 0, "dev": {"wer": None}, "best": True}]):
        ET.fromstring(draw_learning(rows, None, 700))
