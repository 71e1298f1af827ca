"""Gradient checkpointing: the very gradients of training without it, and less that is kept for them."""

from __future__ import annotations

import copy
import logging
from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
import torch

from speechquant.learn.allocation import candidates_of
from speechquant.learn.mixed import Annealing, BitChoice, MixedWeights, SearchPlan, groups_of
from speechquant.learn.qat import Quantizers
from speechquant.learn.training import Example, LossWeights, Student, collate, recomputing, task_of
from speechquant.learn.training.seeding import seeded

# Everything random that a network does in training.
RANDOM = {
    "dropout": 0.2,
    "layerdrop": 0.3,
    "apply_spec_augment": True,
    "mask_time_prob": 0.3,
    "mask_time_length": 2,
}
every_family = pytest.mark.parametrize("family", ["ctc", "moonshine"])


def batch_of(found, *samples):
    rng = np.random.default_rng(2)
    waves = [found.prepare_wave((0.1 * rng.standard_normal(size)).astype(np.float32)) for size in samples]
    return collate([Example(str(i), wave, (7, 9, 4, 7)) for i, wave in enumerate(waves)])


@pytest.fixture
def student_of(model, table_of):
    """A student with quantizers of one kind, and its batches: one of them padded where a family takes that."""

    def make(family, quantizers="float", *, bf16=False):
        found = model(family, **RANDOM)
        teacher = copy.deepcopy(found.module)
        extra = {"float": lambda: None, "qat": qat, "mixed": mixed, "settled": settled}[quantizers]
        task, made = task_of(found), extra(found) if quantizers != "float" else None
        found.module.requires_grad_(requires_grad=True)
        choice = getattr(made, "choice", None)
        student = Student(
            found.module,
            task,
            weights=LossWeights(1.0, 1.0),
            teacher=teacher,
            extra=made,
            bf16=bf16,
            penalty=None if choice is None else choice.penalty,
        )
        second = (7200, 9600) if family == "ctc" else (9600, 9600)
        return student.train(), (batch_of(found, 8000), batch_of(found, *second))

    def qat(found):
        return Quantizers(found, table_of(found, (4, 6)))

    def mixed(found, updates=3):
        candidates = candidates_of(found, rule="all", bits=(2, 4, 8))
        groups = groups_of(candidates, "matrix", in_bytes=False)
        limit = 3 * sum(group.weights for group in groups)
        choice = BitChoice(groups, SearchPlan(Annealing(updates), limit=limit, threshold=0.0, seed=4))
        choice.begin(1)
        return MixedWeights.searching(found, candidates, choice)

    def settled(found):
        return mixed(found, updates=1)

    return make


def gradients(student, batches, *, again, once=True):
    """Gradients of an update as the training loop makes it, and the loss of each batch."""
    student.zero_grad()
    losses = []
    with ExitStack() as stack:
        stack.enter_context(recomputing(student.network) if again else nullcontext())
        stack.enter_context(student.extra.installed() if student.extra is not None else nullcontext())
        stack.enter_context(student.once() if once else nullcontext())
        for index, batch in enumerate(batches):
            with seeded(7, "step", index):
                parts = student(batch)
                parts["loss"].backward()
            losses.append({name: float(part.detach()) for name, part in parts.items()})
    return {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}, losses


@every_family
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("quantizers", ["float", "qat", "mixed", "settled"])
def test_gradients_are_the_very_same(student_of, family, quantizers, once):
    student, batches = student_of(family, quantizers)
    kept, losses = gradients(student, batches, again=False, once=once)
    made, same_losses = gradients(student, batches, again=True, once=once)
    assert made.keys() == kept.keys()
    assert same_losses == losses
    assert sum(bool(gradient.any()) for gradient in kept.values()) > 0.7 * len(kept)
    for name, gradient in kept.items():
        assert torch.equal(made[name], gradient), name
    # What is compared depends on chance: other seeds give other gradients.
    with seeded(8):
        other = student(batches[0])["loss"].detach()
    assert float(other) != losses[0]["loss"]


def test_gradients_are_the_same_in_half_precision(student_of):
    student, batches = student_of("ctc", "mixed", bf16=True)
    kept, _ = gradients(student, batches, again=False)
    made, _ = gradients(student, batches, again=True)
    for name, gradient in kept.items():
        torch.testing.assert_close(made[name], gradient)


def kept_bytes(student, batch, *, again):
    """Bytes of activations that wait for the backward pass: each storage once, weights of any kind left out."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    extra = student.extra
    with ExitStack() as stack:
        stack.enter_context(recomputing(student.network) if again else nullcontext())
        stack.enter_context(extra.installed() if extra is not None else nullcontext())
        stack.enter_context(student.once())
        held = [] if extra is None else [leaf for _, leaf in extra._held.values()]
        with seeded(7), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            parts = student(batch)
        parts["loss"].backward()
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*student.parameters(), *held)}
    return sum(size for place, size in kept.items() if place not in weights)


@every_family
@pytest.mark.parametrize("quantizers", ["float", "qat", "mixed"])
def test_less_is_kept(student_of, family, quantizers):
    student, (batch, _) = student_of(family, quantizers)
    whole = kept_bytes(student, batch, again=False)
    assert kept_bytes(student, batch, again=True) < 0.5 * whole
    # And afterwards as much as before.
    assert kept_bytes(student, batch, again=False) == whole


@every_family
def test_the_network_is_as_it_was_also_after_a_failure(model, family):
    network = model(family).module

    def flags():
        return [
            name for name, part in network.named_modules() if getattr(part, "gradient_checkpointing", False)
        ]

    def fail():
        with recomputing(network):
            assert len(flags()) > 4
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert not flags()


def test_nothing_is_said(student_of, monkeypatch, recwarn):
    said = []
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(
        logger, "handlers", [type("Ear", (logging.Handler,), {"emit": lambda _, r: said.append(r)})()]
    )
    logging.Logger.warning_once.cache_clear()
    student, batches = student_of("moonshine")
    gradients(student, batches, again=True)
    assert not said
    assert not recwarn.list
