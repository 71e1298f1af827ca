"""What is written: CSV against JSON, pictures that parse, figures against NumPy."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile

import speechquant as sq
from speechquant.jobs.comparison.amplitudes import amplitudes, pooled
from speechquant.jobs.comparison.tables import notes
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.numerics import Histogram
from speechquant.report.amplitudes import group_of
from speechquant.simulation import observe


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    sq.compare(
        output=out, methods="stablequant,adaptive-mse,percentile", bits="w8a8,w4a4", figures=True, **tiny
    )
    return out


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_says_what_the_json_says(folder):
    """Every cell is looked up in the JSON by its dotted name; every leaf of the JSON has a cell."""
    rows, table = json.loads((folder / "compare.json").read_text())["rows"], read(folder / "compare.csv")
    assert len(rows) == len(table) == 7
    seen = 0
    for row, cells in zip(rows, table, strict=True):
        for name, text in cells.items():
            value = row
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is None or value == []:
                assert text == ""
            elif isinstance(value, list):
                assert text.split(" ") == value
            elif isinstance(value, str):
                assert text == value
            else:
                assert float(text) == value
            seen += value is not None
        leaves = re.findall(r'"[^"]+": (?!null|\{)', json.dumps(row))
        assert len(leaves) <= len(cells)
    assert seen > 150


def test_words_are_counted_as_they_are_scored(tiny, tmp_path):
    result = sq.compare(output=tmp_path / "out", methods="max", bits="w8a8", **tiny)
    # A normaliser may make two words of one, so that more are scored than the transcripts have.
    spoken = {role: (n, words + 100) for role, (n, words) in result.conditions.speech.items()}
    result = replace(result, conditions=replace(result.conditions, speech=spoken))
    dev, test = (found.errors.words for found in (result.rows[0].dev, result.rows[0].test))
    assert notes(result)[0].startswith(f"dev {dev} words, test {test} words;")


def test_figures_alone_explain_no_table(tiny, tmp_path):
    result = sq.compare(output=tmp_path / "out", methods=None, figures=True, **tiny)
    assert result.planned == 0
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "words;" not in text
    # Amplitudes are those of calibration speech, without which they mean nothing.
    assert "utterances: 2 of calibration, 4 of dev, 4 of test; " in text
    assert (tmp_path / "out" / "figure1a.svg").stat().st_size > 1000


def test_the_tables_show_every_row_and_every_mark(folder):
    rows = json.loads((folder / "compare.json").read_text())["rows"]
    lines = (folder / "compare.md").read_text().splitlines()
    for row in rows:
        (line,) = [x for x in lines if x.startswith(f"| {row['method']} | {row['bits']} |")]
        for role in ("dev", "test"):
            figures = row[role]
            counts = "/".join(str(figures[k]) for k in ("substitutions", "deletions", "insertions"))
            assert f"{figures['wer']:.2f} ({figures['low']:.2f} to {figures['high']:.2f}), {counts}" in line
            for tests in row["against"].values():
                assert f"{role} {tests[role]['outcome']} " in line
        assert f" {row['bytes'] / 1e6:.1f} " in line


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.cells, self.outside = set(), 0, []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.cells += tag == "td"
        address = found.get("src") or found.get("href") or ""
        if not address.startswith(("#", "data:")) and address:
            self.outside.append(address)


def test_the_page_is_whole_and_needs_nothing_from_outside(folder):
    tags = Tags()
    text = (folder / "compare.html").read_text()
    tags.feed(text)
    assert {"tradeoff", "tables", "conditions", "figure1a", "figure1b", "figure1c"} <= tags.ids
    assert tags.cells >= 7 * (7 + 4)
    assert tags.outside == []
    assert text.count("<svg") == 2 * 4


@pytest.mark.parametrize("name", ["tradeoff", "figure1a", "figure1b", "figure1c"])
def test_pictures_are_documents_with_styles_of_their_own(folder, name):
    root = ET.fromstring((folder / f"{name}.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert "--card" in root.find(f"{space}style").text
    assert root.findall(f"{space}path")


def test_amplitudes_are_those_of_numpy():
    """Values that lie on a grid of the histogram, so that nothing has to be spread."""
    rng = np.random.default_rng(3)
    values = np.concatenate([np.abs(rng.standard_normal(5000)) * 3, [15.9]])
    found = pooled("x", [Histogram.empty().add(values[:2000]), Histogram.empty().add(values[2000:])])
    edges = np.array(found.edges)
    expected, _ = np.histogram(values, edges)
    assert sum(found.counts) == pytest.approx(len(values))
    assert np.abs(np.array(found.counts) - expected).max() < 12
    assert edges[0] == 0
    np.testing.assert_allclose(np.log2(edges[2:] / edges[1:-1]), 0.25)
    assert found.largest >= 15.9
    assert sum(found.shares) == pytest.approx(1)


def test_no_line_is_finer_than_the_histogram():
    """Values spread evenly inside a bin would rise with every quarter octave in it and fall behind it: teeth."""
    histogram = Histogram.empty().add(np.random.default_rng(4).exponential(size=10_000) ** 3)
    found = pooled("x", [histogram])
    assert np.diff(found.edges[1:]).min() > 0.7 * histogram.width
    smooth = np.diff(np.log(found.counts[1:12]))
    assert np.abs(np.diff(smooth)).max() < 0.35


def test_amplitudes_of_nothing_and_of_zeros():
    assert sum(pooled("x", [Histogram.empty().add([0.0, 0.0])]).counts) == 2
    assert pooled("x", []).largest == 0


def test_figure_1_has_each_convolution_and_the_transformer(tiny):
    model = load_model(tiny["model"])
    wave, _ = soundfile.read(f"{tiny['calibration']}/0.wav", dtype="float32")
    histograms = observe(model, [wave])
    a, b, c = amplitudes(model, histograms)
    assert [s.name for s in a.series] == [f"conv.{i}" for i in range(6)]
    assert [s.name for s in b.series] == ["convolutions", "Transformer"]
    first = next(site for site in model.sites() if site.layer == "conv.0")
    assert sum(a.series[0].counts) == pytest.approx(histograms[first.name].total)
    assert sum(b.series[0].counts) == pytest.approx(sum(sum(s.counts) for s in a.series))
    counts = {s.name: sum(s.counts) for s in c.series}
    weights = {s.module: model.operator(s.module).weight for s in model.sites() if s.role == "weight"}
    assert counts["convolutions"] == pytest.approx(sum(w.numel() for w in weights.values() if w.ndim == 3))
    assert counts["Linears"] == pytest.approx(sum(w.numel() for w in weights.values() if w.ndim == 2))


def test_a_tensor_that_several_layers_read_counts_once(tmp_path):
    random_model("moonshine-tiny", tmp_path / "model", tiny=True)
    model = load_model(str(tmp_path / "model"))
    sites = [site for site in model.sites() if site.role == "input" and group_of(site.layer) == "transformer"]
    rng, seen = np.random.default_rng(0), {}
    # What all layers of a decoder read of the encoder is one tensor, by whatever name.
    for site in sites:
        crosses = (
            "encoder_attn" in site.module and "q_proj" not in site.module and "o_proj" not in site.module
        )
        seen[site.name] = "encoder" if crosses else site.name
    tensors = {name: Histogram.empty().add(rng.standard_normal(100), name) for name in set(seen.values())}
    every = {
        site.name: Histogram.empty().add(rng.standard_normal(100), "x")
        for site in model.sites()
        if site.role == "input"
    }
    figures = amplitudes(model, every | {name: tensors[key] for name, key in seen.items()})
    (both,) = (figure for figure in figures if figure.key == "figure1b")
    assert len({site.layer for site in sites if seen[site.name] == "encoder"}) > 1
    assert sum(both.series[-1].counts) == pytest.approx(100 * len(tensors))


def test_the_data_of_the_figures_is_in_a_csv(folder):
    found = read(folder / "amplitudes.csv")
    series = {(row["figure"], row["series"]) for row in found}
    assert ("figure1a", "conv.0") in series
    assert ("figure1c", "Linears") in series
    for name in series:
        mine = [row for row in found if (row["figure"], row["series"]) == name]
        assert sum(float(row["share"]) for row in mine) == pytest.approx(1)
        assert [row["high"] for row in mine[:-1]] == [row["low"] for row in mine[1:]]


def test_figures_alone_need_no_rows(tiny, tmp_path):
    found = sq.compare(output=tmp_path / "out", recipe="figures", **tiny)
    assert found.rows == ()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"figure1a.svg", "figure1b.svg", "figure1c.svg", "amplitudes.csv", "compare.html"} <= names
    assert "tradeoff.svg" not in names


def test_rows_that_understand_nothing_are_in_the_tables_alone(tiny, tmp_path):
    found = sq.compare(output=tmp_path / "out", methods="max", bits="w8a8,w2a2", **tiny)
    assert found.rows[1].test.wer < 90 < found.rows[2].test.wer
    picture = (tmp_path / "out" / "tradeoff.svg").read_text()
    assert "max w8a8" in picture
    assert "max w2a2" not in picture
    assert "max | w2a2" in (tmp_path / "out" / "compare.md").read_text()
