"""Bits without training as a job: the artifact is whole, runs in the engine and meets its budget."""

from __future__ import annotations

import json

import pytest

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.errors import RecipeError
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import allocation
from speechquant.learn.allocation import Budget


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_from_model_to_artifact(corpora, tiny, tmp_path, monkeypatch, arch):
    recipe = load_learn_recipe(model=str(tiny(arch)), output=tmp_path / "out", **corpora)
    source = sum(path.stat().st_size for path in tiny(arch).glob("*.safetensors"))
    most = source / 5
    found = allocation.allocate(
        recipe, Budget(megabytes=most / 1e6), criterion="fisher", rule="all", utterances=1
    )
    assert not verify_artifact(tmp_path / "out").problems
    assert 0.95 * most < (tmp_path / "out/model.safetensors").stat().st_size <= most
    artifact = load_artifact(tmp_path / "out")
    record = json.loads((tmp_path / "out/allocation.json").read_text())
    chosen = {row["module"]: row["bits"] for row in record["matrices"]}
    assert len(set(chosen.values())) > 1
    weights = [entry for entry in artifact.scale_table() if entry.site.role == "weight"]
    assert {entry.site.module: entry.spec.bits for entry in weights} == chosen
    assert artifact.info.method == "allocate"
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["storage"]["searched_bits"] == pytest.approx(record["average_bits"])
    assert found.metrics["quantized"]["backend"] == "onnxruntime"
    assert found.metrics["agreement"]["value"] == 100
    kept = load_learn_recipe(tmp_path / "out/recipe.yaml")
    assert (kept.model, kept.train, kept.test) == (recipe.model, recipe.train, recipe.test)
    # Another budget for the same speech measures nothing again.
    monkeypatch.setattr("speechquant.learn.allocation.run.Speech", None)
    (tmp_path / "out").rename(tmp_path / "first")
    again = allocation.allocate(recipe, Budget(average_bits=8), criterion="fisher", rule="all", utterances=1)
    assert again.allocation.average_bits > found.allocation.average_bits
    assert again.allocation.predicted < found.allocation.predicted


def test_a_budget_that_cannot_be_met_leaves_no_artifact(corpora, tiny, tmp_path):
    recipe = load_learn_recipe(model=str(tiny("hubert-large")), output=tmp_path / "out", **corpora)
    with pytest.raises(RecipeError, match="smallest file"):
        allocation.allocate(recipe, Budget(ratio=1000), criterion="fisher", utterances=1)
    assert not (tmp_path / "out").exists()
