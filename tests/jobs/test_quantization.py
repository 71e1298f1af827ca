"""The steps of the main job on a tiny random model: what is quantized, how, and what is remembered."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from speechquant.data import Corpus, Utterance
from speechquant.decoding import CTCVocabulary
from speechquant.errors import DataError, RecipeError
from speechquant.evaluation import EvaluationStore
from speechquant.jobs import Silent
from speechquant.jobs.quantization import workbench as module
from speechquant.jobs.quantization.spelling import unwritable
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.recipe import load_recipe
from speechquant.jobs.sources import open_corpora
from speechquant.models.random import random_model
from speechquant.numerics import ScaleTable, calibrate, weight_scales
from speechquant.simulation import observe

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model("wav2vec2-large-lv60", tmp_path_factory.mktemp("model"), tiny=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three folders of noise with texts; calibration also has two files that cannot be used."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for role in ("cal", "dev", "test"):
        (root / role).mkdir()
        for i in range(3):
            noise = (0.1 * rng.standard_normal(6400 + 1000 * i)).astype(np.float32)
            soundfile.write(root / role / f"{i}.wav", noise, 16_000)
            (root / role / f"{i}.txt").write_text("SOME MORE WORDS")
    (root / "cal" / "8.wav").write_bytes(b"")
    soundfile.write(root / "cal" / "9.wav", np.zeros(16_000), 16_000)
    return {"calibration": str(root / "cal"), "dev": str(root / "dev"), "test": str(root / "test")}


@pytest.fixture
def bench(model, data, tmp_path):
    opened = []

    def make(**settings):
        roles = {} if "audio_only" in settings else data
        recipe = load_recipe(**{"model": "m", "output": "o", "cutoffs": "0:0.5:0.5", **roles, **settings})
        store = EvaluationStore(tmp_path / "store.sqlite")
        opened.append(store)
        return Workbench(model, open_corpora(recipe), recipe, store, tmp_path, Silent())

    yield make
    for store in opened:
        store.close()


def search(bench):
    histograms = bench.calibrate()
    evaluator, dev = bench.scoring(bench.corpora.dev)
    return histograms, bench.search(histograms, evaluator, dev)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, lambda layer: True),
        ({"include": ("transformer.*",)}, lambda layer: layer.startswith("transformer.")),
        ({"exclude": ("conv.*", "input")}, lambda layer: not layer.startswith(("conv.", "input"))),
        (
            {"include": ("conv.[0-3]",), "exclude": ("conv.1",)},
            lambda layer: layer in {"conv.0", "conv.2", "conv.3"},
        ),
    ],
)
def test_include_and_exclude_choose_layers_and_their_weights(bench, model, settings, kept):
    made = bench(method="max", **settings)
    expected = [layer for layer in model.layers() if kept(layer)]
    assert expected
    assert list(made.layers) == expected
    _, found = search(made)
    assert set(found.table.entries) == {site.name for site in model.sites() if site.layer in expected}


def test_no_layer_left_is_an_error(bench):
    with pytest.raises(RecipeError, match=r"leave no layer; there are input, conv\.0"):
        _ = bench(include=("nothing",)).layers


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"method": "max"}, {}),
        ({"method": "percentile", "percentile": 99.0}, {"percentile": 99.0}),
        ({"method": "mse", "start_bin": 64}, {"start_bin": 64}),
        ({"method": "entropy"}, {}),
        ({"method": "max", "bits": "w4a6", "weights": "mse", "weight_granularity": "tensor"}, {}),
    ],
)
def test_a_plain_method_uses_its_calibrator_everywhere(bench, model, settings, options):
    made = bench(**settings)
    histograms, found = search(made)
    weight_bits, bits = made.recipe.bit_widths
    assert len(found.table) == len(model.sites())
    for entry in found.table:
        if entry.site.role == "input":
            direct = calibrate(settings["method"], histograms[entry.site.name], bits, **options)
        else:
            weight = model.operator(entry.site.module).weight.numpy()
            direct = weight_scales(weight, entry.spec, settings.get("weights", "max"))
        np.testing.assert_array_equal(entry.scale, np.float32(direct))
        assert entry.spec.bits == (bits if entry.site.role == "input" else weight_bits)


@pytest.mark.parametrize("settings", [{"gamma": 1e9}, {"gamma": 1e-9, "fold": True, "start_bin": 9}])
def test_stablequant_clips_selected_layers_and_leaves_the_others_to_mse(bench, settings):
    made = bench(**settings)
    histograms, found = search(made)
    options = {"start_bin": made.recipe.start_bin or 1, "fold": made.recipe.fold}
    for entry in found.table:
        if entry.site.role == "input":
            cutoff = (found.p_opt or {}).get(entry.site.layer, 0.0)
            direct = calibrate("stablequant", histograms[entry.site.name], 8, cutoff=cutoff, **options)
            assert entry.scale == np.float32(direct)
    assert set(found.p_opt) == set(found.selected_layers)
    assert len(found.sensitivity) == len(made.layers)


def test_naive_is_max_of_the_same_bits(bench):
    made = bench(bits="w6a4")
    histograms = made.calibrate()
    for entry in made.plain(histograms, "max"):
        if entry.site.role == "input":
            assert entry.scale == np.float32(calibrate("max", histograms[entry.site.name], 4))
        assert entry.spec.bits == (4 if entry.site.role == "input" else 6)


def test_calibration_is_kept_with_what_it_skipped(bench, model, monkeypatch):
    first = bench()
    histograms = first.calibrate()
    assert [item.id for item in first.skipped["calibration"]] == ["8", "9"]
    usable = [soundfile.read(u.audio, dtype="float32")[0] for u in first.corpora.calibration[:3]]
    assert histograms == observe(model, usable)
    monkeypatch.setattr(module, "observe", None)
    again = bench()
    assert again.calibrate() == histograms
    assert again.skipped == first.skipped


def test_a_damaged_histogram_file_is_made_again(bench):
    made = bench()
    histograms = made.calibrate()
    (path,) = made.work.glob("histograms-*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    assert bench().calibrate() == histograms


def test_another_calibration_set_is_another_file(bench, data):
    bench().calibrate()
    made = bench(calibration=data["dev"], allow_overlap=True)
    made.calibrate()
    assert len(list(made.work.glob("histograms-*.npz"))) == 2


def test_an_evaluation_is_never_made_twice(bench, model, monkeypatch):
    made = bench()
    histograms, found = search(made)

    def refuse(*_):
        raise AssertionError("the model ran again")

    monkeypatch.setattr(type(model.recognizer()), "recognize", refuse)
    again_histograms, again = search(bench())
    assert again_histograms == histograms
    assert again.table.signature == found.table.signature
    assert (again.dev_wer, again.p_opt, again.cutoffs) == (found.dev_wer, found.p_opt, found.cutoffs)
    assert (again.dev_passes, again.dev_requests) == (found.dev_passes, found.dev_requests)


def test_a_jury_hears_any_part_in_any_order(bench):
    made = bench()
    evaluator, dev = made.scoring(made.corpora.dev)
    table = made.plain(made.calibrate(), "max")
    jury = made.scorer(evaluator, dev)
    whole = made.simulate(table, evaluator, dev).score
    each = np.array([one.errors.errors for one in whole.utterances])
    assert jury(table).errors == whole.totals.errors
    assert jury.words.tolist() == [one.errors.words for one in whole.utterances]
    for part in ([2], [2, 0], [1, 2, 0]):
        assert jury.errors(table, np.array(part)).tolist() == each[part].tolist()
    assert bench(full_search=True).scorer(evaluator, dev)(table) == whole.totals


def test_speech_without_words_is_heard_beside_some_that_has(bench, data, tmp_path):
    silent = replace(bench().corpora.dev[0], id="none", text="...")
    made = bench()
    evaluator, dev = made.scoring(made.corpora.dev)
    jury = made.scorer(evaluator, Corpus("dev", (*dev, silent)))
    assert jury.words[-1] == 0
    assert jury.errors(ScaleTable({}), np.array([3])).shape == (1,)


def test_audio_only_takes_the_float_models_words_as_references(bench, model, monkeypatch, data):
    made = bench(audio_only=data["calibration"])
    kind = type(model.recognizer())
    real = kind.recognize

    def speak(self, waves):
        return [
            replaced(found, f"WORD {wave.size}") for found, wave in zip(real(self, waves), waves, strict=True)
        ]

    monkeypatch.setattr(kind, "recognize", speak)
    evaluator, corpus = made.scoring(made.corpora.dev)
    result = made.simulate(ScaleTable({}), evaluator, corpus)
    assert (result.references, result.wer) == ("float model", 0.0)
    skipped = [item.id for items in made.skipped.values() for item in items]
    assert len(corpus) + len(skipped) == len(made.corpora.dev)
    monkeypatch.setattr(kind, "recognize", lambda self, w: [replaced(found, " ") for found in real(self, w)])
    made.store.close()
    made.store.path.unlink()
    quiet = bench(audio_only=data["calibration"])
    with pytest.raises(DataError, match="hears no words in the dev audio"):
        quiet.scoring(quiet.corpora.dev)


def replaced(transcript, text):
    return replace(transcript, text=text)


def vocabulary(letters="AB'", **settings):
    tokens = dict(enumerate(["<pad>", "|", *letters]))
    return CTCVocabulary(tokens, frozenset({0}), 0, 1, **settings)


def corpus(*texts):
    return Corpus("dev", tuple(Utterance(str(i), None, text) for i, text in enumerate(texts)))


@pytest.mark.parametrize(
    ("texts", "normalizer", "names"),
    [
        (("AB BA", "A'B"), "upper", None),
        (("ab, ba!",), "upper", None),
        (("ab",), "none", "a, b"),
        (("AB C", "CAB D", None), "upper", "C, D"),
        (("caf\u00e9",), "lower", "c, f, \u00e9"),
        (("stra\u00dfe",), "upper", "E, R, S, T"),
        (("AB 25",), "whisper-english", None),
    ],
)
def test_characters_outside_the_vocabulary_are_named(texts, normalizer, names):
    found = unwritable(corpus(*texts), vocabulary(), normalizer)
    if names is None:
        assert found is None
    else:
        assert f"({names})" in found
        assert "\n" not in found


def test_characters_are_counted_by_transcript_and_the_most_frequent_come_first():
    found = unwritable(corpus("A X", "A XY", "AB", "Y X"), vocabulary(), "upper")
    assert found.startswith("dev: 3 of 4 transcripts hold characters")
    assert "(X, Y)" in found
    many = unwritable(corpus("CDEFGHIJKLMNOP"), vocabulary(), "upper")
    assert "and 4 more" in many
    assert unwritable(corpus("ab"), vocabulary(lower=True), "none") is None
    assert unwritable(corpus("\u4e2d"), object(), "upper") is None


def test_with_activations_in_float_there_is_nothing_to_search(bench):
    opened = bench(bits="w4a16", weight_group=32)
    evaluator, dev = opened.scoring(opened.corpora.dev)
    found = opened.search({}, evaluator, dev)
    assert (found.dev_passes, found.selected_layers, found.p_opt) == (1, (), None)
    assert {entry.site.role for entry in found.table} == {"weight"}
    assert {(e.spec.bits, e.spec.granularity, e.spec.group_size) for e in found.table} == {(4, "group", 32)}
    assert [e.site for e in found.table] == [s for s in opened.model.sites() if s.role == "weight"]
    for entry in found.table:
        weight = opened.model.operator(entry.site.module).weight.numpy()
        assert np.array_equal(entry.scale, weight_scales(weight, entry.spec, "mse"))
    naive = opened.plain({}, "max")
    assert {e.spec.granularity for e in naive} == {"channel"}


def scored_by(monkeypatch, wer_of):
    """Replaces the dev set by a function of the layers that are quantized."""

    def simulate(self, table, *_, **__):
        sites = [entry.site for entry in table]
        layers, weights = ({s.layer for s in sites if s.role == r} for r in ("input", "weight"))
        wer = wer_of(layers, bool(weights))
        return SimpleNamespace(errors=SimpleNamespace(errors=10 * wer, words=1000, wer=wer))

    monkeypatch.setattr(Workbench, "simulate", simulate)


def one_bad_layer(layers, final):
    """conv.1 cannot be saved, conv.2 only has to be clipped."""
    return 5 + 20 * ("conv.1" in layers) + 10 * ("conv.2" in layers and not final)


@pytest.mark.parametrize(
    ("max_drop", "left", "clipped"),
    [(0.5, ["conv.1"], ["conv.2"]), (float("inf"), [], ["conv.1", "conv.2"]), (20, [], ["conv.1", "conv.2"])],
)
def test_a_layer_that_no_cutoff_saves_stays_in_float(bench, monkeypatch, max_drop, left, clipped):
    scored_by(monkeypatch, one_bad_layer)
    made = bench(full_search=True, max_drop=max_drop)
    _, found = search(made)
    assert (list(found.float_layers), list(found.selected_layers)) == (left, clipped)
    assert set(found.table.entries) == {site.name for site in made.model.sites() if site.layer not in left}


def test_plain_methods_and_weights_alone_keep_all_layers(bench, model, monkeypatch):
    scored_by(monkeypatch, lambda *_: 50)
    for settings in ({"method": "max"}, {"bits": "w4a16", "weight_group": 32}):
        _, found = search(bench(max_drop=0.0, **settings))
        assert found.float_layers == ()
        assert {entry.site.layer for entry in found.table} == set(model.layers())


@pytest.mark.parametrize("per_layer", [False, True])
def test_the_bar_of_the_search_never_goes_back(bench, monkeypatch, per_layer):
    scored_by(monkeypatch, one_bad_layer)
    told = []

    class Listener(Silent):
        @contextmanager
        def stage(self, title):
            yield lambda done, total, what="": told.append((title, done, total, what))

    made = replace(bench(full_search=True, per_layer=per_layer), progress=Listener())
    search(made)
    steps = [(done, total) for title, done, total, _ in told if title == "search"]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert all(done <= total for done, total in steps)
    assert [total for _, total in steps] == sorted(total for _, total in steps)
    assert steps[-1][0] == steps[-1][1]
    assert told[-1][3].endswith("without conv.1")
