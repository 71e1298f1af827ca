"""Mixed precision through the command: the artifact is whole, and the engine says what the simulation says."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.cli import app
from speechquant.errors import RecipeError
from speechquant.jobs.learn_recipe import load_learn_recipe

SHORT = ("--steps=3", "--batch=2", "--evaluate-every=1", "--learning-rate=1e-3", "--threads=1", "--rule=all")


@pytest.fixture
def learn(corpora, tiny, tmp_path):
    """Run the command on a tiny CTC model and open what it leaves."""

    def run(*arguments, name="out"):
        roles = [part for role in ("train", "dev", "test") for part in (f"--{role}", corpora[role])]
        place = tmp_path / name
        command = ["learn", str(tiny("hubert-large")), *roles, *SHORT, *arguments, "-o", str(place)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        metrics = json.loads((place / "metrics.json").read_text())
        return place, metrics, json.loads((place / "allocation.json").read_text()), result.output

    return run


def agrees(place, metrics):
    assert not verify_artifact(place).problems
    assert abs(metrics["quantized"]["wer"] - metrics["simulated"]["wer"]) <= 0.1
    assert metrics["agreement"]["value"] > 99
    assert metrics["quantized"]["backend"] == "onnxruntime"


def test_one_stage(learn, history):
    place, metrics, record, said = learn(
        "--method", "one-stage", "--average-bits", "3.5", "--second-pass", "1"
    )
    agrees(place, metrics)
    assert record["average_bits"] <= 3.5
    assert metrics["storage"]["searched_bits"] == pytest.approx(record["average_bits"])
    bits = {row["module"]: row["bits"] for row in record["matrices"]}
    weights = [entry for entry in load_artifact(place).scale_table() if entry.site.role == "weight"]
    assert {entry.site.module: entry.spec.bits for entry in weights} == bits
    rows = history(place)
    assert [(row["stage"], row["step"]) for row in rows if "loss" in row] == [
        ("train", 1),
        ("train", 2),
        ("train", 3),
        ("second-pass", 4),
    ]
    ET.fromstring((place / "bits.svg").read_text())
    assert set(metrics["training"]["stages"]) == {"train", "second-pass"}
    assert metrics["compression_seconds"] > 0
    for words in ("bits on average", "MB", "compressed in", "S/D/I"):
        assert words in said
    assert load_learn_recipe(place / "recipe.yaml").second_pass == 1


def test_a_search_that_learns_nothing_ends_where_it_began(learn):
    budget = ("--average-bits", "3.5", "--probe-utterances", "2")
    still = ("--method", "one-stage", "--bit-start", "fisher", "--bit-learning-rate", "1e-9")
    _, metrics, began, _ = learn(*still, *budget)
    _, _, best, _ = learn("--method", "allocate", "--criterion", "fisher", *budget, name="best")
    bits = [{row["module"]: row["bits"] for row in record["matrices"]} for record in (began, best)]
    assert bits[0] == bits[1]
    assert len(set(bits[0].values())) > 1
    assert metrics["seconds"]["sensitivities"] > 0


def test_two_stages_without_transcripts(learn):
    place, metrics, _, _ = learn("--method", "two-stage", "--ratio", "5", "--task-weight", "0")
    agrees(place, metrics)
    assert metrics["storage"]["ratio"] >= 4.9
    assert set(metrics["training"]["stages"]) == {"search", "train"}
    assert metrics["training"]["stages"]["search"]["updates"] == 2


def test_uniform_takes_the_most_bits_that_fit(learn):
    place, metrics, record, _ = learn("--method", "uniform", "--average-bits", "3.9")
    agrees(place, metrics)
    assert {row["bits"] for row in record["matrices"]} == {3}
    assert (record["criterion"], metrics["bits"]) == ("uniform", "w3.00a16")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "one-stage"}, "takes one budget"),
        ({"method": "uniform", "average_bits": 3, "ratio": 8}, "--average-bits and --ratio"),
        ({"method": "qat", "ratio": 8}, "--ratio belongs to"),
        ({"method": "allocate", "bit_penalty": 1}, "--bit-penalty is a part of a loss"),
        ({"method": "two-stage", "ratio": 8, "second_pass": 4}, "--second-pass"),
        ({"method": "one-stage", "ratio": 8, "include": ("head",)}, "--rule"),
        ({"method": "one-stage", "ratio": 8, "candidates": (1,)}, "--candidates"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        load_learn_recipe(model="m", output="o", train="t", dev="d", **settings)
