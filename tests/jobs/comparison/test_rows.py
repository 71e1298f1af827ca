"""Rows against independent computations: brute force with hooks and jiwer, the metrics called by hand."""

from __future__ import annotations

from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import torch

import speechquant as sq
from speechquant.errors import DataError, RecipeError
from speechquant.evaluation import EvaluationStore
from speechquant.jobs import Silent, load_recipe
from speechquant.jobs.compare_recipe import LAYERS, load_compare_recipe
from speechquant.jobs.comparison import rows as rows_module
from speechquant.jobs.comparison.result import mark
from speechquant.jobs.comparison.sizes import packed_bytes
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.sources import open_corpora
from speechquant.metrics import mapsswe, score
from speechquant.models import load_model
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, calibrate
from speechquant.simulation import observe

METHODS = (
    "max,percentile,percentile:99.0,mse,entropy,adaptive-percentile,adaptive-mse,adaptive-entropy",
    "stablequant,plain-stablequant,max+gptq",
)


@pytest.fixture(scope="module")
def result(tiny, tmp_path_factory):
    return sq.compare(
        output=tmp_path_factory.mktemp("compared") / "out", methods=METHODS, bits="w8a6", **tiny
    )


@pytest.fixture(scope="module")
def rows(result):
    return {row.name.removesuffix(" w8a6"): row for row in result.rows}


@pytest.fixture(scope="module")
def model(tiny):
    return load_model(tiny["model"])


def speech(tiny, role):
    files = sorted(Path(tiny[role]).glob("*.wav"))
    return [soundfile.read(f, dtype="float32")[0] for f in files], [
        f.with_suffix(".txt").read_text() for f in files
    ]


def on_grid(x, scale, low, high):
    return torch.clamp(torch.round(x / scale), low, high) * scale


def brute_force_wer(model, tiny, role, scales, *, weight_bits=None):
    """The rate of the model whose inputs are put on a grid by plain hooks, and all weights too if asked for."""
    handles, originals = [], {}
    for name, (scale, bits) in scales.items():
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        step = torch.tensor(scale, dtype=torch.float32)
        handles.append(
            model.operator(name).register_forward_pre_hook(
                lambda _, x, s=step, a=low, b=high: (
                    on_grid(x[0], s, a, b),
                    *x[1:],
                )
            )
        )
        if weight_bits:
            weight, top = model.operator(name).weight, 2 ** (weight_bits - 1) - 1
            originals[name] = weight.data
            step = (weight.data.abs().flatten(1).amax(1) / top).view(-1, *[1] * (weight.ndim - 1))
            weight.data = on_grid(weight.data, step, -top, top)
    try:
        waves, texts = speech(tiny, role)
        return 100 * jiwer.wer(texts, [t.text for t in model.recognizer().recognize(waves)])
    finally:
        for handle in handles:
            handle.remove()
        for name, data in originals.items():
            model.operator(name).weight.data = data


@pytest.fixture(scope="module")
def chosen(model, tiny):
    """The layers that cost more than gamma alone at 8 bits under max, and all histograms."""
    histograms = observe(model, speech(tiny, "calibration")[0])
    sites = [site for site in model.sites() if site.role == "input"]
    reference = brute_force_wer(model, tiny, "dev", {})
    found = []
    for layer in model.layers():
        scales = {s.module: (histograms[s.name].maximum / 127, 8) for s in sites if s.layer == layer}
        if brute_force_wer(model, tiny, "dev", scales) - reference > 0.25:
            found.append(layer)
    return tuple(found), histograms


@pytest.mark.parametrize("calibrator", ["percentile", "mse", "entropy"])
def test_layer_adaptive_is_the_brute_force_loop(rows, model, tiny, chosen, calibrator):
    selected, histograms = chosen
    assert 0 < len(selected) < len(model.layers())
    row = rows[f"adaptive-{calibrator}"]
    assert row.found.clipped == selected
    scales = {
        site.module: (
            calibrate(calibrator if site.layer in selected else "max", histograms[site.name], 6),
            6,
        )
        for site in model.sites()
        if site.role == "input"
    }
    for role in ("dev", "test"):
        expected = brute_force_wer(model, tiny, role, scales, weight_bits=8)
        assert getattr(row, role).wer == pytest.approx(expected)


def test_plain_stablequant_clips_all_layers_at_the_best_cutoff(rows, model, tiny, chosen):
    row, (_, histograms) = rows["plain-stablequant"], chosen
    sites = [site for site in model.sites() if site.role == "input"]

    def wer(role, cutoff):
        scales = {
            site.module: (calibrate("stablequant", histograms[site.name], 6, cutoff=cutoff), 6)
            for site in sites
        }
        return brute_force_wer(model, tiny, role, scales, weight_bits=8)

    grid = load_compare_recipe(output="o", methods="max", **tiny).cutoff_grid
    rates = [wer("dev", cutoff) for cutoff in grid]
    assert len(set(rates)) > 1
    # Of equal ones the smallest is taken.
    best = grid[rates.index(min(rates))]
    assert row.found.p_opt == best
    assert row.found.clipped == tuple(model.layers())
    assert 0 < row.found.search_passes <= len(grid)
    for role in ("dev", "test"):
        assert getattr(row, role).wer == pytest.approx(wer(role, best))
    assert set(row.against) == {"float", "stablequant"}


@pytest.mark.parametrize(
    ("name", "calibrator", "options"),
    [
        ("max", "max", {}),
        ("percentile", "percentile", {}),
        ("percentile:99.0", "percentile", {"percentile": 99.0}),
    ],
)
def test_plain_rows_are_too(request, name, calibrator, options):
    rows, model, tiny, (_, histograms) = map(request.getfixturevalue, ("rows", "model", "tiny", "chosen"))
    sites = [site for site in model.sites() if site.role == "input"]
    scales = {s.module: (calibrate(calibrator, histograms[s.name], 6, **options), 6) for s in sites}
    expected = brute_force_wer(model, tiny, "test", scales, weight_bits=8)
    assert rows[name].test.wer == pytest.approx(expected)


def test_stablequant_is_what_the_main_job_finds(rows, tiny, model, chosen, tmp_path):
    recipe = load_recipe(**tiny, output=tmp_path / "out", bits="w8a6", max_drop=float("inf"))
    with EvaluationStore(tmp_path / "store.sqlite") as store:
        bench = Workbench(model, open_corpora(recipe), recipe, store, tmp_path, Silent())
        evaluator, dev = bench.scoring(bench.corpora.dev)
        found = bench.search(bench.calibrate(), evaluator, dev)
        simulated = bench.simulate(found.table, evaluator, bench.corpora.test)
    row = rows["stablequant"].found
    assert row.clipped == found.selected_layers == chosen[0]
    assert {row.p_opt} == set(found.p_opt.values())
    assert (row.signature, row.search_passes) == (simulated.signature, found.dev_passes)
    assert rows["stablequant"].test.figures() == simulated.figures()
    assert rows["stablequant"].dev.wer == found.dev_wer


def test_rounding_changes_weights_alone(rows):
    assert rows["max+gptq"].found.signature != rows["max"].found.signature
    assert rows["max+gptq"].found.bytes == rows["max"].found.bytes


def test_tests_are_the_metrics_called_by_hand(rows, tiny):
    outcomes = set()
    for row in rows.values():
        for reference, tests in row.against.items():
            other = rows[reference]
            for role, test in tests.items():
                texts = dict(enumerate(speech(tiny, role)[1]))
                one, two = (
                    score(
                        {str(k): v for k, v in texts.items()},
                        {k: t.text for k, t in getattr(r, role).transcripts.items()},
                        normalizer="upper",
                    )
                    for r in (other, row)
                )
                expected = mapsswe(one, two)
                assert (test.p_value, test.z) == (expected.p_value, expected.z)
                fewer = two.totals.errors < one.totals.errors
                same = expected.p_value >= 0.05
                assert mark(test) == ("equal" if same else "better" if fewer else "worse")
                outcomes.add(mark(test))
    assert {"equal", "worse"} <= outcomes
    assert rows["float"].against == {}
    assert rows["stablequant"].against.keys() == {"float"}
    assert rows["mse"].against.keys() == {"float", "stablequant"}


def test_a_row_that_errs_less_is_better():
    words = ["one", "two", "three", "four", "five", "six", "seven"]
    references = {str(i): " ".join(words) for i in range(12)}
    bad = {i: text.replace("four", "x") for i, text in references.items()}
    first, second = (score(references, hypotheses, normalizer="none") for hypotheses in (bad, references))
    assert mark(mapsswe(first, second)) == "better"
    assert mark(mapsswe(second, first)) == "worse"
    assert mark(mapsswe(first, first)) == "equal"


def test_sizes_are_the_closed_form(rows, model):
    parameters = sum(p.numel() for p in model.module.parameters())
    weights = [model.operator(s.module).weight for s in model.sites() if s.role == "weight"]
    packed = sum(w.numel() for w in weights)
    scales = sum(w.shape[0] for w in weights) + len(weights)
    assert rows["float"].found.bytes == 4 * parameters
    assert rows["max"].found.bytes == 4 * (parameters - packed) + packed + 4 * scales


def test_a_shared_weight_counts_once_and_odd_bits_are_rounded_up():
    class Shared:
        def __init__(self):
            self.module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 5, bias=False)})
            self.module["b"] = self.module["a"]

        def operator(self, name):
            return self.module[name]

    spec = QuantSpec(3, "channel", narrow=True)
    entries = {n: Entry(Site(n, "weight", n), spec, np.ones(5, np.float32)) for n in ("a", "b")}
    assert packed_bytes(Shared(), ScaleTable(entries)) == 6 + 2 * 5 * 4
    assert packed_bytes(Shared(), ScaleTable({})) == 60


def test_what_is_brought_along_is_a_row(tiny, artifact, tmp_path):
    given = (f"control={tiny['model']}", f"letters={artifact}")
    found = sq.compare(output=tmp_path / "out", methods="max", row=given, figures=True, **tiny)
    float_row, _, control, letters = found.rows
    assert (control.method, control.bits, control.found.bytes) == ("float model", "w32a32", None)
    assert control.test.figures() == float_row.test.figures()
    assert control.against["float"]["test"].p_value == 1
    alone = sq.evaluate([artifact], tiny["test"], normalizer="upper").results[0].evaluation
    assert letters.test.figures() == alone.figures()
    assert (letters.form, letters.bits, letters.found.backend) == ("given", "w8a8", alone.backend)
    assert letters.found.bytes == letters.found.storage.packed_bytes


def test_stablequant_that_is_brought_along_is_tested_against_the_one_made_here(tiny, artifact, tmp_path):
    brought = (f"mine={artifact}", f"twin={artifact}")
    rows = sq.compare(output=tmp_path / "out", methods="stablequant", row=brought, **tiny).rows
    made, mine, twin = rows[1:]
    assert "stablequant" not in made.against
    for row in (mine, twin):
        assert row.method == "stablequant"
        assert row.against["stablequant"]["test"] == made.test.compare(row.test)
    alone = {"test": tiny["test"], "model": tiny["model"], "threads": 1}
    mine, twin = sq.compare(output=tmp_path / "alone", row=brought, **alone).rows[1:]
    assert "stablequant" not in mine.against
    assert twin.against["stablequant"]["test"].p_value == 1


def test_a_comparison_may_be_written_where_one_is(tiny, tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    sq.compare(output=".", methods="max", **tiny)
    assert (place / "compare.md").is_file()
    assert (tmp_path / "here.work" / "evaluations.sqlite").is_file()


def test_one_bad_method_does_not_lose_the_others(tiny, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the search\nexploded")

    monkeypatch.setattr(rows_module, "layer_adaptive", fail)
    found = sq.compare(output=tmp_path / "out", methods="adaptive-mse,max", **tiny)
    assert [row.error for row in found.rows] == [None, "the search exploded", None]
    assert found.rows[2].test is not None
    assert "adaptive-mse w8a8 failed: the search exploded" in (tmp_path / "out" / "compare.md").read_text()
    assert [row.name for row in found.failed] == ["adaptive-mse w8a8"]


def test_layers_that_match_nothing_are_a_failed_row(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(LAYERS, "transformer", ("no.*",))
    found = sq.compare(output=tmp_path / "out", methods="max", layers="transformer,all", **tiny)
    assert "leave no layer" in found.rows[1].error
    assert found.rows[2].error is None


def test_transformer_rows_leave_the_rest_in_float(tiny, model, chosen, tmp_path):
    found = sq.compare(output=tmp_path / "out", methods="max", bits="w4a4", layers="transformer", **tiny)
    inside = ("transformer.", "lm_head")
    sites = [s for s in model.sites() if s.role == "input" and s.layer.startswith(inside)]
    scales = {s.module: (chosen[1][s.name].maximum / 7, 4) for s in sites}
    expected = brute_force_wer(model, tiny, "test", scales, weight_bits=4)
    assert found.rows[1].test.wer == pytest.approx(expected)


def test_speech_in_two_roles_is_refused(tiny, tmp_path):
    with pytest.raises(DataError, match="use disjoint sets"):
        sq.compare(output=tmp_path / "out", methods="max", **{**tiny, "test": tiny["dev"]})


def test_a_row_that_is_not_there_is_refused_at_once(tiny, tmp_path):
    with pytest.raises(RecipeError, match=r"--row a: .*nothing is no folder"):
        sq.compare(output=tmp_path / "out", methods="max", row=(f"a={tmp_path / 'nothing'}",), **tiny)
    assert not (tmp_path / "out.work").exists()
