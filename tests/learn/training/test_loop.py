"""The loop: it trains as transformers would, resumes to the bit, keeps the best, and stops when told."""

from __future__ import annotations

import json
import math
import signal
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch

from speechquant.errors import ModelError
from speechquant.learn.training import (
    Plan,
    Schedule,
    Speech,
    Student,
    Trainer,
    loop,
    optimizer_of,
    processes,
    targets_of,
    task_of,
)
from speechquant.learn.training.checkpoint import tensors_of
from speechquant.learn.training.history import History
from speechquant.learn.training.seeding import derived_seed
from speechquant.metrics import WordErrors

RATE = 1e-3


@pytest.fixture
def run(model, train, tmp_path):
    """Train a tiny model and return it with the outcome; settings as in a recipe."""

    def start(
        *,
        steps=4,
        batch=2,
        folder="run",
        scores=None,
        on_step=lambda *_: None,
        stop_at=None,
        rate=RATE,
        settings="same",
        every=2,
        patience=0,
        maximum=1 << 20,
        **config,
    ):
        found = model("ctc", **config)
        task, targets = task_of(found), targets_of(found)
        ids = {item.id: tuple(targets.encode(item.text)) for item in train}
        speech = Speech(found, train, ids, batch=batch, seed=1)
        found.module.requires_grad_(requires_grad=True)
        student = Student(found.module, task)
        pending = iter(scores or [])
        tellings = []

        def tell(done, total, loss, dev):
            tellings.append(done)
            on_step(done, student)
            if done == stop_at and tellings.count(done) == 1:
                raise KeyboardInterrupt

        (tmp_path / folder).mkdir(exist_ok=True)
        trainer = Trainer(
            student,
            optimizer_of(found.module, learning_rate=rate, weight_decay=0.1),
            speech,
            Plan(Schedule(steps, 1), every, patience=patience, clip=0.5, maximum_samples=maximum, seed=7),
            evaluate=lambda: WordErrors(words=100, substitutions=next(pending, 50)),
            folder=tmp_path / folder,
            settings=settings,
            accelerator=processes(),
            on_step=tell,
        )
        return found, trainer.run()

    return start


def state(found):
    return {name: tensor.clone() for name, tensor in found.module.state_dict().items()}


def history(tmp_path, folder):
    rows = [json.loads(line) for line in (tmp_path / folder / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


DROPPING = {"dropout": 0.2, "apply_spec_augment": True, "mask_time_prob": 0.3, "mask_time_length": 2}


def test_an_update_is_what_a_plain_loop_with_transformers_makes(run, model, train, tmp_path):
    # Without dropout there is nothing here but transformers, torch, and the order of the speech.
    found, _ = run(steps=3, batch=2, every=3, scores=[50, 40], dropout=0.0)
    plain = model("ctc", dropout=0.0, ctc_loss_reduction="mean")
    network, targets = plain.module.train().requires_grad_(requires_grad=True), targets_of(plain)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}]
    )
    order = np.random.default_rng(derived_seed(1, "order", 0)).permutation(len(train))
    losses, norms = [], []
    for step, rate in enumerate((RATE / 2, RATE, RATE * 0.5)):
        losses.append(0.0)
        for index in order[2 * step : 2 * step + 2]:
            samples, _ = soundfile.read(train[index].audio, dtype="float32")
            labels = torch.tensor([targets.encode(train[index].text)])
            loss = network(torch.from_numpy(plain.prepare_wave(samples))[None], labels=labels).loss / 2
            loss.backward()
            losses[-1] += float(loss.detach())
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    rows = [row for row in history(tmp_path, "run") if "loss" in row]
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-5)
    assert [row["gradient_norm"] for row in rows] == pytest.approx(norms, rel=1e-4)
    assert [row["learning_rate"] for row in rows] == pytest.approx([RATE / 2, RATE, RATE / 2])
    expected = plain.module.state_dict()
    for name, tensor in state(found).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=2e-5)


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run(run, tmp_path):
    # Every step has all utterances, and the weights stay.
    still = {"steps": 3, "batch": 6, "every": 3, "rate": 1e-30}
    for folder, dropout in (("none", 0.0), ("some", 0.3), ("again", 0.3)):
        run(folder=folder, scores=[50, 40], dropout=dropout, **still)
    none, some, again = (
        [row["loss"] for row in history(tmp_path, name) if "loss" in row]
        for name in ("none", "some", "again")
    )
    assert none == pytest.approx([none[0]] * 3, rel=1e-5)
    assert min(abs(one - two) for one, two in pairwise(some)) > 1e-3
    assert again == some


@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_run_that_was_interrupted_ends_with_the_same_weights(run, tmp_path, stop_at):
    scores = [50, 40, 30]
    whole, _ = run(steps=4, folder="whole", scores=scores, **DROPPING)
    with pytest.raises(KeyboardInterrupt):
        run(steps=4, folder="parts", scores=scores, stop_at=stop_at, **DROPPING)
    again, outcome = run(steps=4, folder="parts", scores=scores[stop_at - 1 :], **DROPPING)
    expected = state(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state(again).items())
    assert history(tmp_path, "parts") == history(tmp_path, "whole")
    assert (outcome.steps, outcome.best_step, outcome.best_wer) == (4, 4, 30)


@pytest.mark.parametrize("place", ["step", "add"])
def test_ctrl_c_in_the_middle_of_an_update_or_an_evaluation(run, tmp_path, monkeypatch, place):
    whole, _ = run(folder="whole", scores=[50, 40, 30], **DROPPING)
    kind = {"step": torch.optim.AdamW, "add": History}[place]
    plain, calls = getattr(kind, place), []

    def interrupted(self, *arguments, **row):
        found = plain(self, *arguments, **row)
        calls.append(1)
        # The third update, or the evaluation behind the second.
        if len(calls) == {"step": 3, "add": 4}[place]:
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(kind, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder="parts", scores=[50, 40, 30], **DROPPING)
    again, outcome = run(folder="parts", scores=[30], **DROPPING)
    assert history(tmp_path, "parts") == history(tmp_path, "whole")
    assert all(torch.equal(tensor, state(whole)[name]) for name, tensor in state(again).items())
    assert outcome.steps == 4


def test_a_finished_run_is_not_repeated(run):
    first, one = run(scores=[50, 40, 30])
    second, two = run(scores=[])
    assert one == two
    assert all(torch.equal(tensor, state(first)[name]) for name, tensor in state(second).items())


@pytest.mark.parametrize("damage", ["other settings", "damaged", "no best"])
def test_a_checkpoint_that_does_not_belong_is_not_used(run, tmp_path, damage):
    first, _ = run(scores=[50, 40, 30])
    if damage == "damaged":
        (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"nothing")
    if damage == "no best":
        (tmp_path / "run" / "best.safetensors").unlink()
    steps = []
    again, _ = run(
        scores=[50, 40, 30],
        on_step=lambda done, _: steps.append(done),
        settings="other" if damage == "other settings" else "same",
    )
    assert sorted(set(steps)) == [0, 1, 2, 3, 4]
    # From the weights of the model, not from those that were trained already.
    assert all(torch.equal(tensor, state(first)[name]) for name, tensor in state(again).items())


def test_the_best_weights_are_kept(run, tmp_path):
    seen = {}

    def remember(done, student):
        seen[done] = {name: p.detach().clone() for name, p in student.network.named_parameters()}

    found, outcome = run(scores=[50, 20, 30], on_step=remember)
    assert (outcome.best_step, outcome.best_wer, outcome.steps) == (2, 20, 4)
    assert all(torch.equal(p, seen[2][name]) for name, p in found.module.named_parameters())
    assert any(not torch.equal(p, seen[4][name]) for name, p in found.module.named_parameters())
    judged = [row for row in history(tmp_path, "run") if "dev" in row]
    assert [(row["step"], row["best"]) for row in judged] == [(0, True), (2, True), (4, False)]
    assert judged[1]["dev"]["substitutions"] == 20


def test_patience_ends_a_run(run):
    _, outcome = run(steps=20, every=1, patience=2, scores=[50, 40, 45, 40, 10])
    assert (outcome.steps, outcome.best_step) == (3, 1)


def test_a_step_may_be_cut_into_batches(run, tmp_path):
    one, _ = run(steps=2, batch=4, folder="one", scores=[50, 40])
    many, _ = run(steps=2, batch=4, folder="many", scores=[50, 40], maximum=9600)
    for name, tensor in state(one).items():
        torch.testing.assert_close(tensor, state(many)[name], rtol=1e-3, atol=2e-5)
    norms = [
        [row["gradient_norm"] for row in history(tmp_path, name) if "loss" in row] for name in ("one", "many")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_divergence_is_an_error_with_advice(run):
    with pytest.raises(ModelError, match=r"diverged in step . *.*--learning-rate"):
        run(steps=4, rate=1e30, scores=[50, 40, 30])


def test_what_happens_once_is_no_divergence(run, tmp_path, monkeypatch):
    plain, _ = run(folder="plain", scores=[50, 40, 30], **DROPPING)
    calls, compute = [], Student.forward

    def faulty(student, batch):
        parts = compute(student, batch)
        calls.append(1)
        return {**parts, "loss": parts["loss"] * math.nan} if len(calls) == 3 else parts

    monkeypatch.setattr(Student, "forward", faulty)
    disturbed, _ = run(folder="disturbed", scores=[50, 40, 30], **DROPPING)
    assert len(calls) > 3
    for name, tensor in state(plain).items():
        assert torch.equal(tensor, state(disturbed)[name])
    rows = history(tmp_path, "disturbed")
    assert [row.pop("repeated", False) for row in rows if "loss" in row].count(True) == 1
    assert rows == history(tmp_path, "plain")


def test_an_evaluation_that_is_made_again_stands_once(run, tmp_path):
    (tmp_path / "run").mkdir()
    # Killed while the first checkpoint was written: the line is there, the checkpoint is not.
    (tmp_path / "run" / "history.jsonl").write_text('{"step": 0, "dev": {"wer": 50.0}, "seconds": 1.0}\n')
    run(scores=[50, 40, 30])
    assert [row["step"] for row in history(tmp_path, "run") if "dev" in row] == [0, 2, 4]


class Killed(BaseException):
    """The process is gone: nothing more is written."""


def test_an_evaluation_whose_checkpoint_was_not_finished_stands_once(run, tmp_path, monkeypatch):
    run(folder="whole", scores=[50, 40, 30])

    def ctrl_c():
        yield 50
        raise KeyboardInterrupt

    # During the evaluation behind the second update, which is made again,
    with pytest.raises(KeyboardInterrupt):
        run(scores=ctrl_c())

    def kill(*_):
        raise Killed

    # but for its checkpoint.
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", kill)
        with pytest.raises(Killed):
            run(scores=[40])
    assert [row["step"] for row in history(tmp_path, "run") if "dev" in row] == [0, 2]
    _, outcome = run(scores=[40, 30])
    assert history(tmp_path, "run") == history(tmp_path, "whole")
    assert (outcome.steps, outcome.best_step, outcome.best_wer) == (4, 4, 30)


def test_a_step_without_usable_speech_is_left_out_and_says_so(run, tmp_path, monkeypatch):
    drawn = Speech.steps

    def steps(self, first, last):
        for index, examples in enumerate(drawn(self, first, last)):
            yield [] if index == 1 else examples

    monkeypatch.setattr(Speech, "steps", steps)
    ends = {}
    run(
        on_step=lambda done, student: ends.setdefault(
            done, {n: t.clone() for n, t in tensors_of(student).items()}
        )
    )
    assert all(torch.equal(ends[1][name], tensor) for name, tensor in ends[2].items())
    assert not all(torch.equal(ends[2][name], tensor) for name, tensor in ends[3].items())
    rows = {row["step"]: row for row in history(tmp_path, "run") if "learning_rate" in row}
    assert rows[2].get("skipped") is True
    assert not rows[2].keys() & {"loss", "gradient_norm"}
    assert all(rows[step]["loss"] > 0 and "skipped" not in rows[step] for step in (1, 3, 4))


def test_no_pickle_is_ever_read(run, tmp_path):
    run(scores=[50, 40, 30])
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, tmp_path / "run" / "checkpoint.safetensors")
    steps = []
    run(scores=[50, 40, 30], on_step=lambda done, _: steps.append(done))
    assert steps[0] == 0
