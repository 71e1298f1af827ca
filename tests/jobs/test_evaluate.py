"""Figures of the job equal what jiwer says of the same texts; two models get a paired test."""

from __future__ import annotations

import json
import shutil

import artifact_fakes as fakes
import jiwer
import pytest

from speechquant.errors import ArtifactError, DataError, MissingExtraError, RecipeError
from speechquant.evaluation import EvaluationStore
from speechquant.jobs.evaluate import evaluate

SAID = {"one": "BAD DAB CAB", "two": "ABBA", "three": "A CAB"}
WRITTEN = {"one": "bad dab cab", "two": "abba dada", "three": "A BAD CAB"}


@pytest.fixture
def corpus(tmp_path):
    rows = []
    for name, text in SAID.items():
        fakes.write_speech(tmp_path / "data" / f"{name}.wav", text)
        rows.append({"id": name, "audio": f"{name}.wav", "text": WRITTEN[name], "speaker": name[0]})
    path = tmp_path / "data" / "test.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def other(artifact, tmp_path):
    """The same artifact, but its vocabulary calls every D a B."""
    folder = tmp_path / "other"
    shutil.copytree(artifact, folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["X"] = vocabulary.pop("D")
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return folder


def test_figures_equal_jiwer(artifact, corpus):
    report = evaluate([artifact], corpus)
    found = report.results[0]
    truth = jiwer.process_words([t.upper() for t in WRITTEN.values()], list(SAID.values()))
    assert found.evaluation.wer == pytest.approx(100 * truth.wer)
    assert report.normalizer == "upper"
    values = report.to_dict()["results"][0]
    assert (values["deletions"], values["words"]) == (truth.deletions, 8)
    assert values["speakers"]["o"] == 0.0
    json.dumps(report.to_dict(), allow_nan=False)


def test_two_models_are_tested_against_each_other(artifact, other, corpus):
    report = evaluate([artifact, other], corpus)
    (test,) = report.tests
    assert (test.first, test.second) == (str(artifact), str(other))
    assert test.outcome.mean < 0 < report.results[1].evaluation.wer - report.results[0].evaluation.wer
    assert 0 < test.outcome.p_value <= 1
    assert len(evaluate([artifact, other, artifact], corpus).tests) == 3


def test_stored_transcripts_are_used_again(artifact, corpus, tmp_path):
    store = tmp_path / "store.sqlite"
    first = evaluate([artifact], corpus, store=store).results[0].evaluation
    second = evaluate([artifact], corpus, store=store).results[0].evaluation
    assert (first.transcription.reused, second.transcription.reused) == (0, 3)
    assert first.wer == second.wer
    with EvaluationStore(store) as kept:
        assert len(kept.transcripts(first.transcription.signature)) == 3


def test_the_recorded_normaliser_is_used(artifact, corpus, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(artifact, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"normalizer": "none"}))
    assert evaluate([folder], corpus).results[0].evaluation.wer > 50
    assert evaluate([folder], corpus, normalizer="lower").normalizer == "lower"
    with pytest.raises(RecipeError, match="--normalizer"):
        evaluate([folder, artifact], corpus)


def test_limit_and_bad_audio(artifact, corpus):
    assert evaluate([artifact], corpus, limit=2).results[0].evaluation.errors.words < 8
    (corpus.parent / "two.wav").write_bytes(b"")
    found = evaluate([artifact], corpus).results[0].evaluation
    assert [skip.id for skip in found.transcription.skipped] == ["two"]
    assert found.errors.words == 6


def test_what_cannot_be_evaluated(artifact, corpus, tmp_path):
    with pytest.raises(RecipeError, match="nothing to evaluate"):
        evaluate([], corpus)
    with pytest.raises(DataError, match="not found"):
        evaluate([artifact], tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="normaliser"):
        evaluate([artifact], corpus, normalizer="klingon")
    with pytest.raises(ArtifactError, match="neither an artifact nor a model"):
        evaluate([corpus], corpus)


def test_a_float_model_without_torch_names_the_extra(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"speechquant\[quantize\]"):
        evaluate([tmp_path], corpus)
