"""What is written down of a run: metrics.json, the page's data and the terminal, from findings that are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speechquant.cli.summary import print_outcome
from speechquant.decoding import Transcript
from speechquant.engines import Coverage, LatencyResult
from speechquant.evaluation import Evaluation, Transcription
from speechquant.jobs.quantization import Findings, Outcome
from speechquant.jobs.quantization.figures import describe
from speechquant.jobs.quantization.measure import Measured, _agreement
from speechquant.jobs.quantization.page import report_data
from speechquant.jobs.recipe import load_recipe
from speechquant.metrics import mapsswe, score
from speechquant.numerics import ScaleTable, Site
from speechquant.report import judge, render
from speechquant.search import CutoffScore, LayerSensitivity, SearchResult

SAID = {f"u{i}": f"a b c d e f g h {i}" for i in range(12)}
# Turns whose median ratios (2 and 5) are not the ratios of their medians (3 and 4).
TURNS = {"float": (10.0, 30.0, 40.0), "quantized": (10.0, 10.0, 20.0), "pytorch": (60.0, 40.0, 100.0)}


def evaluation(wrong, references, *, frames=False):
    """The last word is wrong in the first `wrong` utterances."""
    texts = {id_: text[:-1] + "x" if i < wrong else text for i, (id_, text) in enumerate(SAID.items())}
    spelled = {id_: tuple(map(ord, text)) for id_, text in texts.items()}
    transcripts = {
        id_: Transcript(text, spelled[id_], spelled[id_] if frames else ()) for id_, text in texts.items()
    }
    found = score(SAID, texts, normalizer="none", speakers=dict.fromkeys(SAID, "s"))
    heard = Transcription(transcripts, (), 1.0, 1.0, 0, "engine", "signature")
    return Evaluation(found, heard, "none", references)


def made(references="transcripts", *, frames=False, p_opt=None, **settings):
    """A bench and findings: 0 errors in float, 11 after quantization."""
    recipe = load_recipe(model="some/model", output="out", audio_only="x", **settings)
    bench = SimpleNamespace(
        recipe=recipe,
        normalizer="none",
        skipped={},
        model=SimpleNamespace(folder=Path("folder"), sites=tuple),
        corpora=SimpleNamespace(test=[]),
    )
    bad, good = evaluation(11, references, frames=frames), evaluation(0, references, frames=frames)
    engines = Measured(
        bytes={"float": 400, "quantized": 100},
        coverage=Coverage(2, 3, ("head",), ()),
        latency=LatencyResult(10.0, TURNS),
        agreement=_agreement(good, bad),
    )
    search = SearchResult(ScaleTable({}), 1.0, tuple(p_opt or ()), p_opt)
    systems = {"float": good, "simulated": good, "quantized": bad}
    return bench, Findings({}, search, {"float": good, "quantized": bad}, systems, engines)


def outcome(bench, findings):
    metrics = describe(bench, findings)
    page = report_data(bench, findings, metrics)
    verdict = judge(page)
    out = Path("out")
    return Outcome(
        artifact=out,
        work=out.with_name("out.work"),
        verdict=verdict.sentence,
        caveats=verdict.caveats,
        metrics=json.loads(json.dumps(metrics)),
        transcripts=page.transcripts,
        findings=findings,
    )


def printed(capsys, *made_up):
    print_outcome(outcome(*made_up))
    return capsys.readouterr().out


def test_with_transcripts_there_is_a_test():
    bench, findings = made()
    metrics = describe(bench, findings)
    direct = mapsswe(findings.test["float"].score, findings.test["quantized"].score).p_value
    assert metrics["p_value"] == metrics["p_values"]["quantized"] == direct < 0.05
    assert metrics["p_values"]["simulated"] == 1


def test_against_its_own_output_the_float_model_is_not_tested(capsys):
    bench, findings = made("float model")
    metrics = describe(bench, findings)
    assert metrics["p_value"] is None
    assert set(metrics["p_values"].values()) == {None}
    page = report_data(bench, findings, metrics)
    assert {system.p_value for system in page.systems} == {None}
    html = render(page)
    assert "Against float" not in html
    assert "paired" not in html
    assert "worse</td>" not in html
    text = printed(capsys, bench, findings)
    assert "<0.001" not in text
    assert "0.00" not in [
        cell for line in text.splitlines() if "stablequant" in line for cell in line.split()
    ]


def test_weights_alone_are_told_in_other_words(capsys):
    bench, findings = made(bits="w4a16")
    findings.engines = replace(findings.engines, coverage=Coverage(0, 3, (), (), 2, ("conv",)))
    text = printed(capsys, bench, findings)
    assert "weight-only w4a16" in text
    assert "keeps weights in 4 bits: 2 of 3 operators with weights, read back from the engine" in text
    assert "1 more have 4 bits in the file and become float when it is loaded" in text
    assert not any(word in text for word in ("clipped", "cut-off", "int8", "search:"))
    metrics = describe(bench, findings)
    assert (metrics["method"], metrics["coverage"]["weights_4bit"]) == ("weight-only", 2)
    page = report_data(bench, findings, metrics)
    verdict = judge(page)
    assert "int8" not in " ".join((verdict.headline, verdict.sentence, *verdict.caveats))
    html = render(page)
    assert "2 of 3" in html
    assert "Keeps 4-bit weights" in html
    assert "Runs in int8" not in html


def test_the_speed_is_the_median_ratio_of_turns(capsys):
    bench, findings = made()
    metrics = describe(bench, findings)
    assert metrics["latency_ms"]["speedup"] == pytest.approx({"float": 2.0, "pytorch": 5.0})
    assert metrics["latency_ms"]["float"] == 30.0
    page = report_data(bench, findings, metrics)
    assert [row.speedup for row in page.latency] == [2.0]
    assert "2.0\N{MULTIPLICATION SIGN} faster" in judge(page).sentence
    assert "speed: 2.00x ONNX Runtime float32, 5.00x PyTorch float32" in printed(capsys, bench, findings)


@pytest.mark.parametrize(("frames", "unit"), [(True, "frames"), (False, "tokens")])
def test_the_agreement_has_a_unit(capsys, frames, unit):
    bench, findings = made(frames=frames)
    lengths = [len(text) for text in SAID.values()]
    # One letter differs in eleven texts, in the two of two-digit numbers a letter more.
    assert describe(bench, findings)["agreement"]["unit"] == unit
    value = describe(bench, findings)["agreement"]["value"]
    assert 100 * (1 - 13 / sum(lengths)) <= value < 100
    assert f"agree on {value:.2f} % of {unit}" in printed(capsys, bench, findings)


@pytest.mark.parametrize(
    ("p_opt", "kept", "text"),
    [
        ({"conv.0": 0.1, "conv.1": 0.1}, 0.1, "p_opt = 0.1 %"),
        (
            {"conv.0": 0.1, "conv.1": 0.2},
            {"conv.0": 0.1, "conv.1": 0.2},
            "p_opt = conv.0 0.1 %, conv.1 0.2 %",
        ),
        ({}, None, "clipped layers: none"),
    ],
)
def test_cutoffs(capsys, p_opt, kept, text):
    bench, findings = made(p_opt=p_opt)
    assert describe(bench, findings)["p_opt"] == kept
    assert text in printed(capsys, bench, findings)


def test_layers_left_in_float_are_told(capsys):
    bench, findings = made(p_opt={"conv.0": 0.1}, max_drop=2.0)
    alone = (
        LayerSensitivity("conv.0", 4.0, 3.0, selected=True),
        LayerSensitivity("conv.1", 88.46, 87.46, selected=True, share=0.2),
        LayerSensitivity("head", 6.0, 5.0, selected=True),
    )
    findings.search = replace(findings.search, sensitivity=alone)
    assert "left in float" not in printed(capsys, bench, findings)
    findings.search = replace(findings.search, float_layers=("conv.1", "head"))
    text = printed(capsys, bench, findings).splitlines()
    told = "left in float: conv.1 (alone ≈ +87.5 points on dev), head (alone +5.0 points on dev)"
    place = text.index("clipped layers: conv.0; cut-off p_opt = 0.1 %") + 1
    assert text[place] == told
    assert text[place + 1].startswith("  ≈: estimated from a part of dev")
    metrics = describe(bench, findings)
    assert (metrics["float_layers"], metrics["selected_layers"]) == (["conv.1", "head"], ["conv.0"])
    page = report_data(bench, findings, metrics)
    assert (page.float_layers, page.max_drop) == (("conv.1", "head"), 2.0)
    findings.search = replace(findings.search, float_layers=("head",))
    assert "≈" not in printed(capsys, bench, findings)


def test_the_page_knows_what_was_estimated():
    bench, findings = made()
    alone = (
        LayerSensitivity("conv.0", 4.0, 3.0, selected=True),
        LayerSensitivity("head", 6.0, 5.0, True, 0.2),
    )
    tried = (CutoffScore(0.0, 9.0, 90, share=0.5), CutoffScore(0.1, 2.0, 20))
    findings.search = replace(findings.search, sensitivity=alone, cutoffs=tried)
    page = report_data(bench, findings, describe(bench, findings))
    assert [layer.share for layer in page.layers] == [1.0, 0.2]
    assert [c.share for c in page.cutoffs] == [0.5, 1.0]


def test_the_dev_set_is_on_the_page():
    bench, findings = made()
    page = report_data(bench, findings, describe(bench, findings))
    rows = {system.key: system for system in page.systems if system.dataset == "dev"}
    assert set(rows) == {"float", "simulated"}
    assert rows["simulated"].wer == findings.dev["quantized"].wer
    assert "Dev set" in render(page)


def test_labels_are_short_enough_for_a_phone():
    bench, findings = made()
    page = report_data(bench, findings, describe(bench, findings))
    assert [s.label for s in page.systems if s.dataset == "test"] == [
        "float32",
        "StableQuant, int8 engine",
        "simulated",
    ]
    bench, findings = made(bits="w4a8", method="mse")
    assert report_data(bench, findings, describe(bench, findings)).systems[1].label == "mse, w4a8, engine"


def test_an_operator_without_scales_is_in_float_on_purpose():
    bench, findings = made()
    bench.model.sites = lambda: [Site("head", "weight", "lm_head")]
    page = report_data(bench, findings, describe(bench, findings))
    assert page.coverage.on_purpose == {"head": "lm_head"}
    assert "int8 everywhere" not in " ".join(judge(page).caveats)
    assert "head</code> (on purpose)" in render(page)


def test_caveats_and_the_work_folder_are_told(capsys):
    bench, findings = made()
    done = outcome(bench, findings)
    text = printed(capsys, bench, findings)
    assert len(done.caveats) >= 2
    assert all(caveat in text for caveat in done.caveats)
    assert "Not int8 everywhere: 1 of 3" in text
    assert text.splitlines()[-1].startswith("out.work can be deleted")


def test_every_figure_is_plain_json():
    bench, findings = made()
    text = json.dumps(describe(bench, findings), allow_nan=False)
    assert np.isfinite(json.loads(text)["quantized"]["wer"])
