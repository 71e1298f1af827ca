"""From findings to the report page: every tensor, every system, and recordings only when asked for."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechquant import report
from speechquant.data import Corpus, Utterance
from speechquant.decoding import Transcript
from speechquant.evaluation import Evaluation, Transcription
from speechquant.jobs.quantization import page
from speechquant.jobs.quantization import recordings as module
from speechquant.jobs.quantization.recordings import changed_recordings
from speechquant.jobs.quantization.sites import activation_sites, weight_sites
from speechquant.jobs.recipe import load_recipe
from speechquant.metrics import score
from speechquant.numerics import Entry, Histogram, QuantSpec, ScaleTable, Site, threshold
from speechquant.search import SearchResult

SAID = {"a": "one two three", "b": "one two three", "c": "one two three", "d": "one two three"}
HEARD = {"a": "one two three", "b": "one two", "c": "x y z", "d": "one x three"}


def evaluation(texts):
    heard = Transcription({i: Transcript(t, (), ()) for i, t in texts.items()}, (), 1.0, 1.0, 0, "e", "s")
    return Evaluation(score(SAID, texts), heard, "none", "transcripts")


@pytest.fixture
def bench(tmp_path):
    rng = np.random.default_rng(0)
    utterances = []
    for id_, text in SAID.items():
        soundfile.write(tmp_path / f"{id_}.wav", 0.1 * rng.standard_normal(8000), 16_000)
        utterances.append(Utterance(id_, tmp_path / f"{id_}.wav", text))

    def make(**settings):
        return SimpleNamespace(
            recipe=load_recipe(model="m", output="o", audio_only="x", **settings),
            layers=("conv.0", "head"),
            model=SimpleNamespace(sampling_rate=16_000),
            corpora=SimpleNamespace(test=Corpus("test", tuple(utterances))),
        )

    return make


FINDINGS = SimpleNamespace(test={"float": evaluation(SAID), "quantized": evaluation(HEARD)})


def test_no_recording_unless_asked_for(bench):
    assert changed_recordings(bench(), FINDINGS) == ({}, 0)


def test_recordings_of_changed_utterances_the_largest_change_first(bench):
    found, left = changed_recordings(bench(report_audio=True), FINDINGS)
    assert (list(found), left) == (["c", "b", "d"], 0)
    data = base64.b64decode(found["c"].partition("base64,")[2])
    assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(0.5, abs=0.2)


def test_the_option_puts_players_into_the_page(bench, monkeypatch):
    """What else is on the page comes from elsewhere."""
    for name, value in (
        ("activation_sites", ()), ("weight_sites", ()), ("_systems", ()), ("_tradeoff", ()),
        ("shown_coverage", None), ("_latency", report.LatencyRow(1, 2.0, 1.0, 2.0)),
    ):  # fmt: skip
        monkeypatch.setattr(page, name, lambda *_, value=value: value)
    findings = SimpleNamespace(
        test=FINDINGS.test,
        search=SearchResult(ScaleTable({}), 0.0, (), {}),
        engines=SimpleNamespace(bytes={"float": 2, "quantized": 1}, coverage=None),
        warnings=(),
        seconds={},
        peak_rss_mb=None,
    )
    players = {}
    for asked in (False, True):
        made = bench(report_audio=asked)
        made.normalizer = "none"
        data = page.report_data(made, findings, {"model": "m", "p_values": {}, "versions": {}})
        text = report.render(data)
        found = re.search(r'id="recording-data">(.+?)</script>', text)
        players[asked] = json.loads(found[1]) if found else {}
    assert list(players[True]) == ["c", "b", "d"]
    assert players[False] == {}


def test_what_does_not_fit_is_counted(bench, monkeypatch):
    one = len(changed_recordings(bench(report_audio=True), FINDINGS)[0]["c"])
    monkeypatch.setattr(module, "LIMIT_BYTES", int(one * 1.5))
    found, left = changed_recordings(bench(report_audio=True), FINDINGS)
    assert (list(found), left) == (["c"], 2)


def test_sites_say_what_was_chosen_in_the_order_of_the_model(bench):
    values = np.abs(np.random.default_rng(1).standard_normal(3000)) ** 2
    histogram = Histogram.empty().add(values)
    scale = np.float32(threshold("stablequant", histogram, 8, cutoff=0.5) / 127)
    entries = [
        Entry(Site("lm", "input", "head"), QuantSpec(8), scale),
        Entry(
            Site("lm", "weight", "head"), QuantSpec(4, "group", group_size=64), np.ones((3, 2), np.float32)
        ),
        Entry(Site("c0", "input", "conv.0"), QuantSpec(8), scale),
        Entry(Site("c0", "weight", "conv.0"), QuantSpec(8, "channel", narrow=True), np.ones(5, np.float32)),
    ]
    table = ScaleTable({entry.site.name: entry for entry in entries})
    findings = SimpleNamespace(
        search=SearchResult(table, 1.0, ("head",), {"head": 0.5}),
        histograms={"lm:input": histogram, "c0:input": histogram},
        weights=SimpleNamespace(errors={"lm:weight": SimpleNamespace(nearest=0.2, rounded=0.1)}),
    )
    conv, head = activation_sites(bench(), findings)
    assert [(s.site, s.cutoff, s.bits) for s in (conv, head)] == [("c0:input", 0.0, 8), ("lm:input", 0.5, 8)]
    assert head.scale == pytest.approx(float(scale))
    assert head.thresholds["chosen"] == pytest.approx(127 * float(scale))
    assert head.thresholds["mse"] == pytest.approx(threshold("mse", histogram, 8))
    left = replace(findings.search, float_layers=("conv.0",), table=ScaleTable({"lm:input": entries[0]}))
    findings.search = left
    sites = [entry.site for entry in entries]
    made = bench()
    made.model.sites = lambda: sites
    conv, head = activation_sites(made, findings)
    assert (conv.site, conv.scale, "chosen" in conv.thresholds) == ("c0:input", None, False)
    assert (head.site, "chosen" in head.thresholds) == ("lm:input", True)
    findings.search = replace(left, float_layers=(), table=table)
    assert [(w.operator, w.bits, w.sharing, w.scales, w.rounded) for w in weight_sites(bench(), findings)] == [
        ("c0", 8, "output channel", 5, None), ("lm", 4, "64 weights", 6, 0.1),
    ]  # fmt: skip
