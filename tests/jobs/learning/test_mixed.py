"""Mixed precision through the command: the artifact is whole, and the engine says what the simulation says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from scipy.stats import entropy
from typer.testing import CliRunner

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.cli import app
from speechquant.engines import EngineOptions, load_recognizer
from speechquant.errors import RecipeError
from speechquant.jobs import evaluate, export
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import allocation, mixed
from speechquant.learn.training import Speech
from speechquant.models import load_model
from speechquant.numerics import ScaleTable
from speechquant.simulation import quantized

SHORT = ("--steps=3", "--batch=2", "--evaluate-every=3", "--learning-rate=1e-3", "--threads=1")


@pytest.fixture
def learn_any(corpora, tiny, tmp_path):
    """Run the command on a tiny CTC model; whatever it leaves is in the folder."""

    def run(*arguments, name="out", said=None, model=None):
        roles = [part for role in ("train", "dev", "test") for part in (f"--{role}", corpora[role])]
        place = tmp_path / name
        command = ["learn", str(model or tiny("hubert-large")), *roles, *SHORT, *arguments, "-o", str(place)]
        command += [] if "qat" in arguments else ["--rule", "all"]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        if said is not None:
            said.append(result.output)
        return place

    return run


@pytest.fixture
def learn(learn_any):
    """Run a method that has a budget, and open what it leaves."""

    def run(*arguments, name="out"):
        said = []
        place = learn_any(*arguments, name=name, said=said)
        metrics = json.loads((place / "metrics.json").read_text())
        return place, metrics, json.loads((place / "allocation.json").read_text()), said[0]

    return run


@pytest.fixture
def without_chance(tiny, tmp_path):
    """The model without dropout and masks, whose loss in training says what quantization costs."""
    folder = tmp_path / "calm"
    shutil.copytree(tiny("hubert-large"), folder)
    config = json.loads((folder / "config.json").read_text())
    for name, value in config.items():
        if ("dropout" in name or name == "layerdrop") and isinstance(value, float):
            config[name] = 0.0
    config["apply_spec_augment"] = False
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def agrees(place, metrics):
    assert not verify_artifact(place).problems
    assert abs(metrics["quantized"]["wer"] - metrics["simulated"]["wer"]) <= 0.1
    assert metrics["agreement"]["value"] > 99
    assert metrics["quantized"]["backend"] == "onnxruntime"


@pytest.mark.parametrize(
    "form",
    [
        ("--average-bits", "3.5"),
        ("--average-bits", "3.5", "--weight-granularity", "group", "--weight-group", "32"),
        ("--average-bits", "3.2", "--code", "entropy", "--weight-granularity", "tensor"),
        # At most 6 bits, whose products no processor cuts off.
        (
            "--average-bits",
            "3.5",
            "--activation-bits",
            "8",
            *(f"--candidates={bits}" for bits in (2, 3, 4, 6)),
        ),
    ],
    ids=["channel", "group", "entropy", "int8"],
)
def test_openvino_hears_what_the_simulation_hears(learn, corpora, form):
    place, metrics, _, _ = learn("--method", "allocate", "--criterion", "fisher", *form)
    export(place, engine="openvino")
    report = evaluate([place], corpora["test"], engine="openvino", precision="f32", normalizer="upper")
    (found,) = report.results
    assert found.evaluation.backend == "openvino"
    assert abs(found.evaluation.wer - metrics["simulated"]["wer"]) <= 0.1
    artifact = load_artifact(place)
    model = load_model(place, tensors=artifact.tensors())
    entries = artifact.scale_table().entries.items()
    inputs = ScaleTable({name: entry for name, entry in entries if entry.site.role == "input"})
    assert bool(inputs.entries) == ("--activation-bits" in form)
    samples, _ = soundfile.read(next(Path(corpora["test"]).glob("*.wav")), dtype="float32")
    with quantized(model, inputs), torch.no_grad():
        expected = model.module(model.features(samples)).logits[0].numpy()
    for engine, graphs in (("onnxruntime", place / "onnx"), ("openvino", place / "onnx" / "openvino")):
        options = EngineOptions(precision="f32")
        logits = load_recognizer(graphs, engine=engine, vocabulary=place, options=options).logits(samples)
        # In int8 a value at the border of two integers may fall to the other side.
        assert np.square(logits - expected).mean() < 1e-3 * np.square(expected - expected.mean()).mean()


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


@pytest.mark.parametrize("method", ["one-stage", "uniform", "allocate"])
def test_the_entropy_code(learn, method):
    coded = ("--code", "entropy", "--weight-granularity", "tensor", "--rounding", "gptq")
    place, metrics, record, said = learn("--method", method, "--average-bits", "3.2", *coded)
    agrees(place, metrics)
    assert "bits of entropy on average over searched weights" in said
    assert metrics["allocation"]["code"] == "entropy"
    bits = {row["module"]: row["bits"] for row in record["matrices"]}
    assert record["average_bits"] <= 3.2
    assert set(bits.values()) <= {1.5, 2, 2.5, 3, 3.5, 4, 5, 6}
    if method == "uniform":
        assert set(bits.values()) == {3}
    weights = [entry for entry in load_artifact(place).scale_table() if entry.site.role == "weight"]
    assert all(entry.scale.shape == () for entry in weights)
    # Integers are held in more bits than their entropy, which is what was chosen.
    assert any(entry.spec.bits > bits[entry.site.module] for entry in weights)
    tensors = load_artifact(place).tensors()
    for entry in weights:
        found = tensors.integers(f"{entry.site.module}.weight")
        if found.size > 4000:
            counts = np.unique(found, return_counts=True)[1]
            assert entropy(counts, base=2) == pytest.approx(bits[entry.site.module], abs=0.15)
    ET.fromstring((place / "bits.svg").read_text())
    again = load_learn_recipe(place / "recipe.yaml")
    assert (again.code, again.candidates) == ("entropy", (1.5, 2, 2.5, 3, 3.5, 4, 5, 6))
    assert again.rounding == "gptq"


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


@pytest.mark.parametrize("method", ["uniform", "qat"])
def test_rounding_by_speech_starts_nearer_to_the_float_model(learn_any, history, method, without_chance):
    form = {"uniform": ("--average-bits", "4"), "qat": ("--bits", "w4a8")}[method]
    lost = {}
    for rounding in ("nearest", "gptq"):
        place = learn_any(
            *("--method", method, *form, "--rounding", rounding, "--steps=1"),
            name=rounding,
            model=without_chance,
        )
        first = next(row for row in history(place) if "loss" in row)
        lost[rounding] = first["distillation"]
    # Not zero: the teacher is the float model still.
    assert 0 < lost["gptq"] < 0.8 * lost["nearest"]


def test_one_stage_rounds_when_bits_have_settled(learn, history):
    place, metrics, record, _ = learn("--method", "one-stage", "--average-bits", "3.5", "--rounding", "gptq")
    agrees(place, metrics)
    assert record["average_bits"] <= 3.5
    rows = [row for row in history(place) if "loss" in row]
    assert [(row["stage"], row["step"]) for row in rows] == [("search", 1), ("search", 2), ("train", 3)]
    assert all("bits_temperature" in row for row in rows[:2])
    assert "bits_temperature" not in rows[2]
    assert metrics["seconds"]["round weights"] > 0


def test_before_rounding_by_speech_a_search_leaves_weights_alone(learn, monkeypatch, tiny):
    seen, original = [], mixed.round_in_place

    def look(session, table, work):
        seen.append({name: t.numpy().copy() for name, t in session.model.module.state_dict().items()})
        original(session, table, work)

    monkeypatch.setattr(mixed, "round_in_place", look)
    began = load_model(tiny("hubert-large")).module.state_dict()
    arguments = ("--average-bits", "3.5", "--rounding", "gptq")
    _, metrics, _, _ = learn("--method", "one-stage", *arguments)
    assert metrics["training"]["stages"]["search"]["updates"] == 2
    (found,) = seen
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in began.items())


@pytest.mark.parametrize("share", ["0.4", "1"])
def test_what_follows_the_search_goes_on_with_other_speech(learn, monkeypatch, share):
    drawn, original = [], Speech.drawn
    monkeypatch.setattr(Speech, "drawn", lambda self, step: (drawn.append(step), original(self, step))[1])
    arguments = ("--rounding", "gptq", "--search-share", share, "--second-pass", "2")
    learn("--method", "one-stage", "--average-bits", "3.5", "--bit-start", "even", *arguments)
    # Three updates in one stage or two, then the second pass.
    assert drawn == [0, 1, 2, 3, 4]


def test_two_stages_with_groups_and_a_shared_embedding(learn_any, history, tiny):
    form = (
        "--method",
        "two-stage",
        "--average-bits",
        "4",
        "--weight-granularity",
        "group",
        "--weight-group",
        "16",
    )
    place = learn_any(*form, "--rounding", "gptq", model=tiny("moonshine-tiny"))
    metrics = json.loads((place / "metrics.json").read_text())
    agrees(place, metrics)
    assert [row["stage"] for row in history(place) if "loss" in row] == ["search"] * 2 + ["train"] * 3
    assert metrics["rounding"]["method"] == load_artifact(place).info.rounding == "gptq"
    errors = metrics["rounding"]["errors"]
    assert errors.keys() == {
        e.site.name for e in load_artifact(place).scale_table() if e.site.role == "weight"
    }
    assert sum(e["rounded"] < e["nearest"] for e in errors.values()) > 0.8 * len(errors)


def test_a_budget_in_bytes_holds_after_rounding(learn):
    budget = ("--method", "allocate", "--criterion", "fisher", "--rounding", "gptq")
    for ratio in (5.0, 5.3, 5.6, 5.9):
        # In one place, so that costs are measured once.
        place, metrics, record, _ = learn(*budget, "--ratio", str(ratio))
        # Bits are chosen with a margin of 1 %, of which entropy coding of other integers takes some.
        assert metrics["storage"]["ratio"] >= 1.005 * ratio
        assert record["budget"] == f"ratio {ratio:g}"
        # What the file holds of the searched weights: integers and scales.
        names = {f"{row['module']}.weight" for row in record["matrices"]}
        with safe_open(place / "model.safetensors", "numpy") as file:
            held = [
                file.get_tensor(key).nbytes
                for key in file.keys()  # noqa: SIM118
                if key in names or key.removesuffix(".scale") in names
            ]
        assert sum(held) == sum(row["bytes"] for row in record["matrices"])


def test_a_budget_in_bytes_holds_where_rounding_takes_more(learn, monkeypatch):
    """The first rounding makes integers that are not worth coding; the second one does not."""
    rounded, original = [], allocation.round_in_place

    def wasteful(session, table, work):
        original(session, table, work)
        rounded.append(table)
        if len(rounded) == 1:
            for entry in table:
                weight = session.model.operator(entry.site.module).get_parameter("weight")
                scale = torch.from_numpy(entry.scale).view(-1, *[1] * (weight.ndim - 1))
                noise = torch.randint(entry.spec.qmin, entry.spec.qmax + 1, weight.shape)
                weight.data.copy_(noise * scale)

    monkeypatch.setattr(allocation, "round_in_place", wasteful)
    _, metrics, record, _ = learn("--method", "allocate", "--criterion", "fisher", "--ratio", "5.3")
    assert len(rounded) == 2
    assert metrics["storage"]["ratio"] >= 5.3
    assert record["budget"] == "ratio 5.3"
    # From the float weights again, with fewer bits.
    bits = [sum(entry.spec.bits for entry in table) for table in rounded]
    assert bits[1] < bits[0]
    assert metrics["quantized"]["wer"] == pytest.approx(metrics["simulated"]["wer"], abs=0.1)


def test_allocation_rounds_in_the_end(learn, tiny, corpora):
    budget = (*("--method", "allocate", "--average-bits", "3"), *("--criterion", "fisher"))
    plain, _, one, _ = learn(*budget, "--rounding", "nearest")
    place, metrics, other, _ = learn(*budget, name="rounded")
    agrees(place, metrics)
    assert [row["bits"] for row in one["matrices"]] == [row["bits"] for row in other["matrices"]]
    assert load_artifact(place).info.rounding == "gptq"
    # The float network on the training speech, and the same with the weights that each file holds.
    outputs = []
    for folder in (None, plain, place):
        model = load_model(tiny("hubert-large"))
        if folder is not None:
            model.load_tensors(dict(load_artifact(folder).tensors()))
        waves = [
            soundfile.read(path, dtype="float32")[0] for path in sorted(Path(corpora["train"]).glob("*.wav"))
        ]
        with torch.no_grad():
            outputs.append(torch.cat([model.module(model.features(wave)).logits[0] for wave in waves]))
    exact, nearest, rounded = outputs
    assert (rounded - exact).square().mean() < 0.8 * (nearest - exact).square().mean()


@pytest.mark.parametrize("method", ["qat", "float", "allocate", "one-stage"])
def test_what_a_run_wrote_down_is_accepted_again(method, tmp_path):
    budget = {} if method in {"qat", "float"} else {"ratio": 8, "code": "entropy"}
    recipe = load_learn_recipe(model="m", output="o", train="t", dev="d", method=method, **budget)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml("speechquant learn"))
    assert load_learn_recipe(tmp_path / "recipe.yaml") == recipe


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
        ({"method": "float", "rounding": "gptq"}, "no grid"),
        ({"method": "uniform", "ratio": 8, "candidates": (2.5, 3)}, "fractions are for --code entropy"),
        (
            {"method": "uniform", "ratio": 8, "code": "entropy", "candidates": (0.2,)},
            "--candidates are 0.5 to 7",
        ),
        (
            {"method": "uniform", "ratio": 8, "code": "entropy", "weight_granularity": "group"},
            "no scales per group",
        ),
        ({"method": "uniform", "ratio": 8, "code": "entropy", "weights": "max"}, "--weights and --code"),
        (
            {"method": "uniform", "average_bits": 1.5},
            "--average-bits 1.5 is not possible; the fewest of --candidates are 2",
        ),
        ({"method": "qat", "code": "entropy"}, "--code belongs to --method one-stage"),
        ({"method": "qat", "activation_bits": 8}, "--activation-bits belongs to"),
        ({"method": "qat", "weight_granularity": "group"}, "--weight-granularity belongs to"),
        ({"method": "float", "rule": "all"}, "--rule belongs to"),
        ({"method": "qat", "weights": "max"}, "--weights belongs to"),
        ({"method": "qat", "second_pass": 10}, "--second-pass belongs to"),
        ({"method": "uniform", "ratio": 8, "bits": "w4a8"}, "--bits w4a8 is for --method qat"),
        ({"method": "qat", "bits": "w4a16", "start": "artifact"}, "--start is about activations"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        load_learn_recipe(model="m", output="o", train="t", dev="d", **settings)
