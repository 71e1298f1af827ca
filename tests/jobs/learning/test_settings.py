"""Settings of a recipe reach the training: each of these runs differs from the one without."""

from __future__ import annotations

import numpy as np
import pytest

from speechquant.jobs import Silent
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import job as jobs
from speechquant.jobs.learning import learn, session
from speechquant.jobs.learning.methods import compress
from speechquant.jobs.learning.start import start_table
from speechquant.learn import round_weights
from speechquant.learn.allocation import candidates_of
from speechquant.metrics import WordErrors
from speechquant.models import load_model
from speechquant.simulation import observe

SHORT = {"steps": 2, "batch": 2, "evaluate_every": 2, "learning_rate": 1e-3, "threads": 1}

every_method = pytest.mark.parametrize("method", ["qat", "float"])


class Finished(Exception):
    """Training is over; what a test of settings wants to know is known."""


@pytest.fixture
def compressed(corpora, tmp_path, monkeypatch):
    """The job up to the end of its method: the session, and what the method left."""

    def stop(session, work):
        raise Finished(session, compress(session, work))

    def run(model, **settings):
        roles = {role: corpora[role] for role in ("train", "dev")}
        place = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        recipe = load_learn_recipe(**{"model": str(model), "output": place, **roles, **SHORT, **settings})
        monkeypatch.setattr(jobs, "compress", stop)
        with pytest.raises(Finished) as caught:
            learn(recipe)
        return caught.value.args

    return run


@pytest.fixture
def train(compressed):
    """The model after a training, how that went, and its losses."""

    def run(model, **settings):
        done, found = compressed(model, **settings)
        (stage,) = found.stages
        return done.model, stage.trained, [row["loss"] for row in stage.rows if "loss" in row]

    return run


@pytest.fixture
def improving(monkeypatch):
    """Noise has no words: every evaluation finds the weights better than the one before."""
    errors = iter(range(90, 0, -1))
    monkeypatch.setattr(
        session.Session, "_check", lambda *_: WordErrors(words=100, substitutions=next(errors))
    )


@every_method
def test_bf16_is_nearly_f32(train, calm, method):
    exact, again, rough = (
        train(calm(), method=method, precision=precision)[2] for precision in ("f32", "f32", "bf16")
    )
    assert again == exact
    assert rough[0] != exact[0]
    assert rough == pytest.approx(exact, rel=0.05)


@every_method
def test_masks_are_the_models_own_unless_they_are_switched_off(train, calm, method):
    masks = {"apply_spec_augment": True, "mask_time_prob": 0.5, "mask_time_length": 2}
    _, _, bare = train(calm(), method=method)
    _, _, masked = train(calm(**masks), method=method)
    model, _, unmasked = train(calm(**masks), method=method, spec_augment=False)
    assert min(abs(one - two) for one, two in zip(masked, bare, strict=True)) > 1e-3
    assert unmasked == bare
    # What is saved is the user's model still, with its own setting.
    assert model.config.apply_spec_augment is True


@every_method
def test_patience_ends_a_training(train, calm, monkeypatch, method):
    plain, errors = session.Session._check, iter(range(10, 20))

    def worse(self, quantizers):
        return type(plain(self, quantizers))(words=100, substitutions=next(errors))

    monkeypatch.setattr(session.Session, "_check", worse)
    _, trained, losses = train(calm(), method=method, steps=5, evaluate_every=1, patience=2)
    assert (trained.steps, trained.best_step, len(losses)) == (2, 0, 2)


@pytest.mark.parametrize("step_sizes", ["learned", "fixed"])
@pytest.mark.parametrize("method", ["qat", "uniform", "one-stage"])
@pytest.mark.usefixtures("improving")
def test_scales_are_learned_unless_they_are_fixed(compressed, calm, method, step_sizes):
    settings = (
        {"bits": "w4a8"} if method == "qat" else {"average_bits": 4, "rule": "all", "bit_start": "even"}
    )
    settings |= {"method": method, "step_sizes": step_sizes, "scale_learning_rate": 0.05}
    done, found = compressed(calm(), **settings)
    model = load_model(calm())
    if method == "qat":
        start = start_table(model, done.roles.train, done.recipe, Silent())
    else:
        candidates = candidates_of(model, rule="all", bits=done.recipe.candidates)
        start = candidates.table({choice.module: choice.bits for choice in found.allocation.choices})
    moved = [not np.array_equal(entry.scale, start.get(entry.site.name).scale) for entry in found.table]
    assert len(moved) == len(start)
    assert all(moved) if step_sizes == "learned" else not any(moved)


def test_the_method_of_weights_decides_their_scales(compressed, calm):
    done, found = compressed(
        calm(),
        method="allocate",
        weights="max",
        rounding="nearest",
        rule="all",
        average_bits=3.5,
        criterion="fisher",
        probe_utterances=1,
    )
    assert len({entry.spec.bits for entry in found.table}) > 1
    for entry in found.table:
        weight = done.model.operator(entry.site.module).weight.detach().flatten(1)
        expected = weight.abs().amax(dim=1).numpy() / (2 ** (entry.spec.bits - 1) - 1)
        np.testing.assert_allclose(entry.scale.ravel(), expected, rtol=1e-5)


@pytest.mark.usefixtures("improving")
def test_the_temperature_goes_from_its_start_to_its_end(compressed, calm):
    _, found = compressed(
        calm(),
        method="one-stage",
        average_bits=4,
        bit_start="even",
        steps=4,
        search_share=0.75,
        gumbel_start=4.0,
        gumbel_end=0.5,
    )
    rows = [row for row in found.stages[0].rows if "loss" in row]
    told = [row["bits_temperature"] for row in rows if "bits_temperature" in row]
    # Exponentially, over the three updates of the search.
    assert told == pytest.approx([4, 2, 1], rel=1e-3)
    assert len(rows) == 4


def test_a_checkpoint_of_another_version_of_the_training_is_not_used(compressed, calm, monkeypatch):
    done, _ = compressed(calm(), method="float")
    stage = session.Stage("train", 2)
    before = done.signature(stage, None)
    monkeypatch.setattr(session, "VERSION", session.VERSION + 1)
    assert done.signature(stage, None) != before


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.fixture
def noted(corpora, tiny, tmp_path, monkeypatch):
    """What a job says of a setting before it trains."""

    def stop(*_):
        raise Finished

    def run(arch, flag, **settings):
        listener, roles = Notes(), {role: corpora[role] for role in ("train", "dev")}
        recipe = load_learn_recipe(model=str(tiny(arch)), output=tmp_path / "out", **roles, **settings)
        monkeypatch.setattr(jobs, "reference", lambda _: None)
        monkeypatch.setattr(jobs, "compress", stop)
        with pytest.raises(Finished):
            learn(recipe, progress=listener)
        return [message for message in listener.said if flag in message]

    return run


@pytest.mark.parametrize(
    ("flag", "settings", "lines"),
    [
        ("--unit", {"method": "uniform", "unit": "block"}, 1),
        ("--search-share", {"method": "allocate", "search_share": 0.2}, 1),
        ("--criterion", {"method": "one-stage", "criterion": "hessian"}, 1),
        ("--weight-group", {"method": "uniform", "weight_group": 128}, 1),
        ("--weight-group", {"method": "uniform", "weight_group": 128, "weight_granularity": "group"}, 0),
        ("--unit", {"method": "one-stage", "unit": "block"}, 0),
        ("--criterion", {"method": "qat", "criterion": "fisher"}, 1),
        ("--probe-utterances", {"method": "qat", "probe_utterances": 2}, 1),
        ("--probe-utterances", {"method": "uniform", "probe_utterances": 2}, 1),
        ("--probe-utterances", {"method": "one-stage", "probe_utterances": 2}, 0),
        ("--gumbel-end", {"method": "float", "gumbel_end": 0.1}, 1),
        ("--bits", {"method": "float", "bits": "w4a8"}, 1),
        ("--step-sizes", {"method": "float", "step_sizes": "fixed"}, 1),
        ("--exclude", {"method": "float", "exclude": ("head",)}, 1),
        ("", {"method": "allocate", "steps": 7, "batch": 3, "learning_rate": 1e-3}, 3),
        ("", {"method": "uniform", "steps": 7, "batch": 3, "learning_rate": 1e-3, "step_sizes": "fixed"}, 0),
        ("", {"method": "qat", "bits": "w4a8", "calibrator": "max", "exclude": ("head",)}, 0),
        ("", {"method": "float", "steps": 7, "clip": 0.0}, 0),
    ],
)
def test_settings_that_nothing_reads_are_noted(noted, flag, settings, lines):
    budget = {} if settings["method"] in {"qat", "float"} else {"average_bits": 3}
    said = [line for line in noted("hubert-large", flag, **budget, **settings) if "does nothing" in line]
    assert len(said) == lines


def test_masks_that_a_family_does_not_have_are_noted_once(noted):
    (said,) = noted("moonshine-tiny", "--spec-augment", spec_augment=True)
    assert "moonshine" in said


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        # The default does not nag, and without training there are no masks.
        ("moonshine-tiny", {}),
        ("moonshine-tiny", {"spec_augment": False}),
        ("moonshine-tiny", {"spec_augment": True, "method": "allocate", "average_bits": 4}),
        ("hubert-large", {"spec_augment": True}),
    ],
)
def test_otherwise_nothing_is_said_of_masks(noted, arch, settings):
    assert noted(arch, "--spec-augment", **settings) == []


@pytest.mark.parametrize("utterances", [1, 3])
def test_ranges_and_rounding_hear_as_many_utterances_as_they_are_told(train, calm, monkeypatch, utterances):
    heard = []

    def observed(model, waves, **options):
        heard.append(len(waves))
        return observe(model, waves, **options)

    def rounding(model, table, waves, **options):
        heard.append(len(waves))
        return round_weights(model, table, waves, **options)

    monkeypatch.setattr("speechquant.jobs.learning.start.observe", observed)
    monkeypatch.setattr("speechquant.jobs.learning.rounding.round_weights", rounding)
    train(calm(), method="qat", rounding="gptq", calibration_utterances=utterances)
    assert heard == [utterances, utterances]
