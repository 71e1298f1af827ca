"""Training as a job: what it leaves behind works with everything else, and goes on where it was."""

from __future__ import annotations

import json
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
import yaml
from transformers import HubertForCTC

from speechquant.artifact import load_artifact, verify_artifact
from speechquant.engines.session import SessionOptions, open_session
from speechquant.errors import ArtifactError, DataError, RecipeError, StorageError
from speechquant.jobs import Silent
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import learn
from speechquant.jobs.learning.roles import open_roles
from speechquant.jobs.learning.start import start_table
from speechquant.jobs.learning.texts import plain_targets, spell
from speechquant.learn.training import Student
from speechquant.models import load_model
from speechquant.simulation import quantized

SHORT = {"steps": 4, "batch": 2, "evaluate_every": 2, "learning_rate": 1e-2, "scale_learning_rate": 0.05}


@pytest.fixture
def recipe(corpora, tiny, tmp_path):
    def make(arch="hubert-large", name="out", **settings):
        return load_learn_recipe(
            **{"model": str(tiny(arch)), "output": tmp_path / name, **corpora, **SHORT, **settings}
        )

    return make


@pytest.fixture
def trained(monkeypatch):
    """A job up to the proof, when nothing changes any more."""
    from speechquant.jobs.learning import job

    class Trained(Exception):
        """All that was wanted."""

    def stop(*_):
        raise Trained

    def run(settings):
        monkeypatch.setattr(job, "prove_quantized", stop)
        with pytest.raises(Trained):
            learn(settings)

    return run


@pytest.fixture(scope="module")
def learned(corpora, tiny, tmp_path_factory):
    """One artifact of a tiny CTC model, trained with 4-bit weights until the weights had moved."""
    from speechquant.jobs.learning import session

    out = tmp_path_factory.mktemp("learned") / "out"
    settings = {"model": str(tiny("hubert-large")), "output": out, **corpora, **SHORT, "bits": "w4a8"}
    with pytest.MonkeyPatch.context() as patch:
        # Noise has no words: the last weights are the best.
        errors, plain = iter(range(90, 0, -1)), session.Session._check

        def check(self, quantizers):
            found = plain(self, quantizers)
            return type(found)(words=100, substitutions=next(errors), deletions=found.deletions * 0)

        patch.setattr(session.Session, "_check", check)
        return learn(load_learn_recipe(**settings))


def test_the_artifact_is_complete(learned, history):
    assert not verify_artifact(learned.folder).problems
    artifact = load_artifact(learned.folder)
    assert (artifact.info.method, artifact.info.bits) == ("qat", "w4a8")
    assert {entry.spec.bits for entry in artifact.scale_table() if entry.site.role == "weight"} == {4}
    assert {"history.jsonl", "learning.svg", "report.html", "metrics.json", "recipe.yaml"} <= {
        path.name for path in learned.folder.iterdir()
    }
    rows = history(learned.folder)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "dev" in row] == [0, 2, 4]
    ET.fromstring((learned.folder / "learning.svg").read_text())
    metrics = json.loads((learned.folder / "metrics.json").read_text())
    assert metrics["reported_on"] == "test"
    assert metrics["training"]["best_update"] == 4
    assert {"float", "simulated", "quantized"} <= metrics.keys()
    assert yaml.safe_load((learned.folder / "recipe.yaml").read_text())["bits"] == "w4a8"
    page = (learned.folder / "report.html").read_text()
    for part in ("tradeoff", "accuracy", "layers", "ranges", "learning", "engine", "transcripts"):
        assert f'<section id="{part}"' in page
    assert "Activations stay in float" not in page


def test_weights_and_scales_were_learned(learned, tiny):
    model, artifact = load_model(tiny("hubert-large")), load_artifact(learned.folder)
    recipe = load_learn_recipe(learned.folder / "recipe.yaml")
    start = start_table(model, open_roles(recipe).train, recipe, Silent())
    moved = [
        entry.site.name
        for entry in artifact.scale_table()
        if not np.array_equal(entry.scale, start.get(entry.site.name).scale)
    ]
    assert len(moved) == len(start)
    name = "hubert.encoder.layers.0.feed_forward.intermediate_dense.weight"
    assert not np.array_equal(artifact.tensors()[name], model.module.state_dict()[name].numpy())


def test_engine_and_simulation_agree(learned):
    artifact = load_artifact(learned.folder)
    model = load_model(learned.folder, tensors=artifact.tensors())
    wave = (0.1 * np.random.default_rng(3).standard_normal((1, 9000))).astype(np.float32)
    with quantized(model, artifact.scale_table()), torch.inference_mode():
        expected = model.module(torch.from_numpy(wave)).logits.numpy()
    session = open_session(learned.folder / "onnx" / "model.onnx", SessionOptions(1))
    (got,) = session.run(None, {"wave": wave})
    assert ((got - expected) ** 2).sum() < 1e-3 * (expected**2).sum()
    assert learned.metrics["agreement"]["value"] > 95


def test_a_float_control_is_a_model_again(recipe, tiny, history):
    outcome = learn(recipe(method="float", test=None))
    model = load_model(outcome.folder)
    assert outcome.metrics["reported_on"] == "dev"
    assert outcome.metrics["bits"] == "float"
    assert "trained" in outcome.metrics
    assert model.layers() == load_model(tiny("hubert-large")).layers()
    assert len(history(outcome.folder)) == 7
    page = (outcome.folder / "report.html").read_text()
    assert '<section id="learning"' in page
    assert "trained model" in page
    assert "quantized model" not in page


def test_a_float_control_is_made_again_by_the_same_command(recipe):
    settings = recipe(method="float", test=None)
    first = learn(settings)
    weights = (first.folder / "model.safetensors").read_bytes()
    again = learn(settings)
    assert (again.folder / "model.safetensors").read_bytes() == weights
    assert again.metrics["trained"] == first.metrics["trained"]
    with pytest.raises(ArtifactError, match="holds other files"):
        learn(recipe(test=None))
    with pytest.raises(StorageError, match="is the model that is read"):
        learn(recipe(method="float", test=None, model=str(first.folder)))
    (first.folder / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"config\.json was added or changed"):
        learn(settings)


@pytest.mark.parametrize("less_memory", [False, True])
def test_an_interrupted_job_goes_on_and_ends_alike(recipe, history, less_memory):
    class Stops(Silent):
        def stage(self, title):
            return Stage(title)

    class Stage:
        def __init__(self, title):
            self.training = title == "train"

        def __enter__(self):
            return self.tell

        def __exit__(self, *_):
            return False

        def tell(self, done, total, what=""):
            if self.training and done == 3:
                raise KeyboardInterrupt

    whole = learn(recipe(name="whole", method="float", test=None))
    with pytest.raises(KeyboardInterrupt):
        learn(recipe(name="parts", method="float", test=None), progress=Stops())
    assert not (whole.folder.parent / "parts").exists()
    parts = learn(recipe(name="parts", method="float", test=None, gradient_checkpointing=less_memory))
    # It did not begin anew.
    assert len(list(parts.work.glob("train-*"))) == 1
    assert (parts.folder / "model.safetensors").read_bytes() == (
        whole.folder / "model.safetensors"
    ).read_bytes()
    steps = [(row["step"], row.get("loss")) for row in history(parts.folder)]
    assert steps == [(row["step"], row.get("loss")) for row in history(whole.folder)]


def test_layers_run_again_in_the_student_and_only_while_it_trains(recipe, trained, monkeypatch):
    networks, seen = [], []

    def flagged(network):
        return any(getattr(part, "gradient_checkpointing", False) for part in network.modules())

    plain = Student.forward

    def forward(student, batch):
        networks[:] = student.network, *student._teacher
        seen.append([flagged(network) for network in networks])
        return plain(student, batch)

    monkeypatch.setattr(Student, "forward", forward)
    for name, on in (("with", True), ("without", False)):
        trained(recipe(name=name, test=None, gradient_checkpointing=on))
        assert seen == [[on, False]] * len(seen)
        assert len(seen) >= 4
        assert not any(map(flagged, networks))
        seen.clear()


def test_a_family_that_cannot_run_layers_again_is_refused(recipe, monkeypatch):
    monkeypatch.setattr(HubertForCTC, "supports_gradient_checkpointing", False)
    with pytest.raises(RecipeError, match=r"^--gradient-checkpointing: hubert .*--batch-seconds$"):
        learn(recipe(gradient_checkpointing=True))


def test_ranges_of_an_artifact_are_kept_for_other_bits(learned, recipe, tiny):
    # The artifact was made from the untrained model, so it may start another training of it.
    model, settings = load_model(tiny("hubert-large")), recipe(bits="w8a6", start=learned.folder)
    table = start_table(model, open_roles(settings).train, settings, Silent())
    known = load_artifact(learned.folder).scale_table()
    for entry in table:
        if entry.site.role == "input":
            start = known.get(entry.site.name)
            assert (entry.spec.bits, start.spec.bits) == (6, 8)
            assert float(entry.scale) * 31 == pytest.approx(float(start.scale) * 127, rel=1e-6)
        else:
            assert entry.spec.bits == 8
    other = load_model(tiny("wavlm-base"))
    with pytest.raises(ArtifactError, match="another model"):
        start_table(other, open_roles(settings).train, settings, Silent())


def test_activations_of_16_bits_stay_in_float(recipe):
    outcome = learn(recipe(bits="w4a16"))
    entries = list(load_artifact(outcome.folder).scale_table())
    assert {entry.site.role for entry in entries} == {"weight"}
    assert {entry.spec.bits for entry in entries} == {4}
    metrics = outcome.metrics
    assert metrics["bits"] == "w4a16"
    assert abs(metrics["quantized"]["wer"] - metrics["simulated"]["wer"]) <= 0.1
    assert metrics["agreement"]["value"] > 99


def test_layers_may_stay_in_float(recipe, tiny):
    settings = recipe(include=("transformer.*",), exclude=("transformer.0",))
    table = start_table(load_model(tiny("hubert-large")), open_roles(settings).train, settings, Silent())
    assert {entry.site.layer for entry in table} == {"transformer.1"}
    nothing = recipe(include=("nothing",))
    with pytest.raises(RecipeError, match="leave no layer"):
        start_table(load_model(tiny("hubert-large")), open_roles(nothing).train, nothing, Silent())


class Hearing:
    """An evaluator whose model heard one utterance right and one wrong."""

    normalizer = "lower"

    def transcribe(self, recognizer, corpus, progress):
        self.asked = [item.id for item in corpus]
        texts = dict(zip(self.asked, ("Some, MORE words", "NOTHING"), strict=True))
        return type("Heard", (), {"texts": texts})


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"start": "nowhere"}, ArtifactError, "nowhere"),
        ({"exclude": ("*",)}, RecipeError, "--include and --exclude leave no layer"),
    ],
)
def test_what_it_starts_from_is_looked_at_first(recipe, monkeypatch, settings, kind, words):
    from speechquant.jobs.learning import job

    monkeypatch.setattr(job, "reference", None)
    with pytest.raises(kind, match=words):
        learn(recipe(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "qat", "bits": "w3a8"},
        {"method": "uniform", "average_bits": 3},
        {"method": "two-stage", "average_bits": 3},
        {"method": "one-stage", "average_bits": 3},
    ],
    ids=lambda settings: settings["method"],
)
def test_what_a_decoder_follows_is_written_by_the_float_model(recipe, trained, monkeypatch, settings):
    from speechquant.jobs.learning import session

    asked = recipe(rounding="gptq", task_weight=0, **settings)
    before, heard = load_model(asked.model).results_signature, []
    monkeypatch.setattr(session, "spell", lambda model, *_, **__: heard.append(model.results_signature))
    trained(asked)
    assert heard == [before]


def test_a_batch_has_something_for_every_process(recipe, monkeypatch):
    from speechquant.jobs.learning import job

    two = SimpleNamespace(num_processes=2, is_main_process=True)
    monkeypatch.setattr(job, "processes", lambda: two)
    with pytest.raises(
        RecipeError, match="--batch 1 leaves some of 2 processes without an utterance; raise it to 2"
    ):
        learn(recipe(batch=1))


def test_a_model_that_decodes_keeps_its_own_spelling(recipe, tiny):
    model, roles = load_model(tiny("moonshine-tiny")), open_roles(recipe("moonshine-tiny"))
    targets = plain_targets(model, roles.train, learns_text=True)
    before, hearing = dict(targets), Hearing()
    spell(
        model,
        roles.train,
        ["train0", "train1"],
        targets,
        evaluator=hearing,
        progress=Silent(),
        learns_text=True,
    )
    assert hearing.asked == ["train0", "train1"]
    # What was heard wrong is taken from the transcript.
    assert {name for name in targets if targets[name] != before[name]} == {"train0"}
    spell(
        model,
        roles.train,
        ["train0", "train1"],
        targets,
        evaluator=hearing,
        progress=Silent(),
        learns_text=False,
    )
    assert {name for name in targets if targets[name] != before[name]} == {"train0", "train1"}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"dev": "train"}, DataError, "both the train and the dev set"),
        ({"task_weight": 0, "distillation": 0}, RecipeError, "nothing to learn"),
        ({"method": "float", "task_weight": 0}, RecipeError, "--task-weight"),
        ({"method": "float", "start": "x"}, RecipeError, "exclude each other"),
        ({"bits": "w9"}, RecipeError, "--bits"),
        ({"method": "other"}, RecipeError, "--method: choose qat, float, one-stage"),
        ({"steps": 0}, RecipeError, "--steps"),
        ({"start": "missing"}, ArtifactError, "missing"),
        ({"train": "missing"}, DataError, "missing"),
        ({"maximum_seconds": 0.2}, DataError, "can be used"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(recipe, corpora, settings, error, words):
    settings = {key: corpora.get(value, value) if key == "dev" else value for key, value in settings.items()}
    with pytest.raises(error, match=words) as caught:
        learn(recipe(**settings))
    assert "\n" not in str(caught.value)


def test_the_same_command_with_a_recipe(learned):
    again = load_learn_recipe(learned.folder / "recipe.yaml", output="elsewhere", bits="w8a8")
    assert (again.bits, again.steps, str(again.output)) == ("w8a8", 4, "elsewhere")
