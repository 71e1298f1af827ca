"""Bits without training as a job: the artifact is whole, runs in the engine and meets its budget."""

from __future__ import annotations

import json

import pytest

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.errors import ArtifactError, RecipeError
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn
from speechquant.models import load_model

QUICK = {"method": "allocate", "criterion": "fisher", "probe_utterances": 1}


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_from_model_to_artifact(corpora, tiny, tmp_path, monkeypatch, arch):
    source = sum(path.stat().st_size for path in tiny(arch).glob("*.safetensors"))
    most = source / 5
    recipe = load_learn_recipe(
        model=str(tiny(arch)), output=tmp_path / "out", **corpora, **QUICK, rule="all", megabytes=most / 1e6
    )
    found = learn(recipe)
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
    assert metrics["training"] is None
    assert found.metrics["quantized"]["backend"] == "onnxruntime"
    assert found.metrics["agreement"]["value"] == 100
    assert load_learn_recipe(tmp_path / "out/recipe.yaml") == recipe
    # Another budget for the same speech measures nothing again.
    monkeypatch.setattr("speechquant.learn.allocation.run.Speech", None)
    (tmp_path / "out").rename(tmp_path / "first")
    again = learn(recipe.model_copy(update={"megabytes": None, "average_bits": 8.0}))
    one, two = found.metrics["allocation"], again.metrics["allocation"]
    assert two["average_bits"] > one["average_bits"]
    assert two["predicted"] < one["predicted"]


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_activations_of_8_bits_make_engines_multiply_integers(corpora, tiny, tmp_path, arch):
    recipe = load_learn_recipe(
        model=str(tiny(arch)),
        output=tmp_path / "out",
        **corpora,
        **QUICK,
        rule="all",
        average_bits=5.0,
        activation_bits=8,
        exclude=("conv.1",),
    )
    found = learn(recipe)
    table = load_artifact(tmp_path / "out").scale_table()
    sites = load_model(tiny(arch)).sites()
    wanted = {site.name for site in sites if site.role == "weight" or site.layer != "conv.1"}
    assert {entry.site.name for entry in table} == wanted
    assert all(entry.spec.bits == 8 for entry in table if entry.site.role == "input")
    coverage = found.metrics["coverage"]
    floats = sum(site.role == "input" and site.layer == "conv.1" for site in sites)
    assert coverage["int8"] == coverage["total"] - floats > 0
    assert coverage["weights_4bit"] == 0
    assert found.metrics["bits"].endswith("a8")
    assert found.metrics["agreement"]["value"] > 95
    assert not verify_artifact(tmp_path / "out").problems


def test_ranges_of_an_artifact_of_another_model_are_refused_before_the_work(corpora, tiny, tmp_path):
    first = load_learn_recipe(
        model=str(tiny("hubert-large")), output=tmp_path / "out", **corpora, **QUICK, average_bits=8.0
    )
    learn(first)
    other = load_learn_recipe(
        model=str(tiny("wav2vec2-base")),
        output=tmp_path / "other",
        **corpora,
        **QUICK,
        average_bits=8.0,
        activation_bits=8,
        start=tmp_path / "out",
    )
    with pytest.raises(ArtifactError, match="another model"):
        learn(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "qat", "activation_bits": 8}, "--activation-bits belongs"),
        ({"weight_granularity": "group"}, "per channel or tensor"),
        ({"activation_bits": None, "exclude": ("conv.1",)}, "--activation-bits 8"),
    ],
)
def test_activation_bits_that_make_no_sense_are_refused(settings, message):
    given = {"method": "allocate", "average_bits": 4.0, "activation_bits": 8} | settings
    given = {
        name: value for name, value in given.items() if given["method"] != "qat" or "average" not in name
    }
    with pytest.raises(RecipeError, match=message):
        load_learn_recipe(model="demo", output="out", train="train", dev="dev", **given)


def test_a_budget_that_cannot_be_met_leaves_no_artifact(corpora, tiny, tmp_path):
    recipe = load_learn_recipe(
        model=str(tiny("hubert-large")), output=tmp_path / "out", **corpora, **QUICK, ratio=1000
    )
    with pytest.raises(RecipeError, match=r"^ratio 1000 is not possible; the smallest file") as caught:
        learn(recipe)
    assert not (tmp_path / "out").exists()
    # What is said to be possible is possible, although rounding by speech may take a little more.
    most = float(str(caught.value).rpartition(" ")[2])
    found = learn(recipe.model_copy(update={"ratio": most}))
    assert found.metrics["storage"]["ratio"] > 0.98 * most
