"""Settings of a recipe reach the training: each of these runs differs from the one without."""

from __future__ import annotations

import pytest

from speechquant.jobs import Silent
from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import job as jobs
from speechquant.jobs.learning import learn, session
from speechquant.jobs.learning.methods import compress
from speechquant.learn import round_weights
from speechquant.simulation import observe

SHORT = {"steps": 2, "batch": 2, "evaluate_every": 2, "learning_rate": 1e-3, "threads": 1}

every_method = pytest.mark.parametrize("method", ["qat", "float"])


class Finished(Exception):
    """Training is over; what a test of settings wants to know is known."""


@pytest.fixture
def train(corpora, tmp_path, monkeypatch):
    """The job up to the end of its training: the model, how training went, its losses."""

    def stop(session, work):
        raise Finished(session.model, compress(session, work))

    def run(model, **settings):
        roles = {role: corpora[role] for role in ("train", "dev")}
        place = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        recipe = load_learn_recipe(**{"model": str(model), "output": place, **roles, **SHORT, **settings})
        monkeypatch.setattr(jobs, "compress", stop)
        with pytest.raises(Finished) as caught:
            learn(recipe)
        model, found = caught.value.args
        (stage,) = found.stages
        return model, stage.trained, [row["loss"] for row in stage.rows if "loss" in row]

    return run


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
    ],
)
def test_settings_that_nothing_reads_are_noted(noted, flag, settings, lines):
    assert len(noted("hubert-large", flag, average_bits=3, **settings)) == lines


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
