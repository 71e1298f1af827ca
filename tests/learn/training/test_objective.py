"""The losses against brute force, other libraries and themselves."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from speechquant.learn.training import (
    CTC,
    Example,
    LossWeights,
    Outputs,
    Student,
    collate,
    divergence,
    task_of,
)


class Network:
    """Pretends that every frame is 10 samples."""

    @staticmethod
    def _get_feat_extract_output_lengths(samples):
        return samples // 10


def example(found, samples, target, seed=0):
    wave = (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
    return Example(str(seed), found.prepare_wave(wave), tuple(target))


def paths(logits, target, blank):
    """Minus the log of the summed probability of all paths that collapse to the target."""
    probabilities = torch.softmax(logits.double(), dim=-1).numpy()
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        collapsed = [symbol for symbol, _ in itertools.groupby(path)]
        if tuple(symbol for symbol in collapsed if symbol != blank) == tuple(target):
            total += math.prod(probabilities[frame, symbol] for frame, symbol in enumerate(path))
    return -math.log(total)


@pytest.mark.parametrize("target", [(1,), (1, 2), (2, 2), (1, 2, 1)])
def test_ctc_is_the_sum_over_all_paths(target):
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(len(target)))
    batch = collate([Example("a", np.zeros(50, np.float32), target)])
    loss = CTC(Network, blank=0).loss(Outputs(logits, torch.tensor([5])), batch)
    assert float(loss) == pytest.approx(paths(logits[0], target, 0) / len(target), rel=1e-5)


def test_ctc_needs_a_frame_per_letter_and_a_blank_between_equal_ones():
    task = CTC(Network, blank=0)
    assert task.fits(30, (1, 2, 3))
    assert not task.fits(29, (1, 2, 3))
    assert task.fits(40, (1, 1, 2))
    assert not task.fits(39, (1, 1, 2))


def test_ctc_is_the_loss_of_transformers(model):
    found = model("ctc", ctc_loss_reduction="mean")
    examples = [example(found, 9000, (5, 6, 7)), example(found, 6400, (9, 9), seed=1)]
    batch, task = collate(examples), task_of(found)
    assert batch.padded
    found.module.eval()
    own = task.loss(task.outputs(found.module, batch), batch)
    mask = (torch.arange(9000)[None] < batch.samples[:, None]).long()
    labels = torch.tensor([[5, 6, 7], [9, 9, -100]])
    other = found.module(batch.waves, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(own.mean(), other)


def test_teacher_forcing_is_the_loss_of_transformers(model):
    found = model("moonshine", pad_token_id=2)
    batch, task = collate([example(found, 8000, (5, 6, 7, 8))]), task_of(found)
    own = task.loss(task.outputs(found.module, batch), batch)
    other = found.module(batch.waves, labels=torch.tensor([[5, 6, 7, 8, 2]])).loss
    torch.testing.assert_close(own[0], other)


def test_waves_of_different_length_are_refused_where_padding_would_count(model):
    found = model("moonshine")
    batch = collate([example(found, 8000, (5,)), example(found, 6400, (6,))])
    with pytest.raises(ValueError, match="padding"):
        task_of(found).outputs(found.module, batch)


@pytest.mark.parametrize("family", ["ctc", "moonshine"])
def test_a_loss_does_not_depend_on_its_company(family, model):
    found = model(family)
    lengths = (8000, 6400) if family == "ctc" else (8000, 8000)
    examples = [example(found, lengths[0], (5, 6, 7, 8)), example(found, lengths[1], (9, 3), seed=1)]
    task = task_of(found)
    found.module.eval()
    together = collate(examples)
    both = task.loss(task.outputs(found.module, together), together)
    for index, one in enumerate(examples):
        alone = collate([one])
        torch.testing.assert_close(
            task.loss(task.outputs(found.module, alone), alone)[0], both[index], rtol=1e-4, atol=1e-5
        )


def test_divergence_is_that_of_scipy_over_real_positions():
    generator = torch.Generator().manual_seed(4)
    student, teacher = (torch.randn(2, 4, 6, generator=generator) for _ in range(2))
    lengths = torch.tensor([4, 2])
    for temperature in (1.0, 2.5):
        found = divergence(Outputs(student, lengths), Outputs(teacher, lengths), temperature=temperature)
        for row, length in enumerate(lengths):
            pairs = [
                torch.softmax(
                    torch.stack([teacher[row, at], student[row, at]]).double() / temperature, dim=-1
                )
                for at in range(length)
            ]
            expected = temperature**2 * np.mean([entropy(p.numpy(), q.numpy()) for p, q in pairs])
            assert float(found[row]) == pytest.approx(expected, rel=1e-5)
    same = divergence(Outputs(student, lengths), Outputs(student, lengths))
    torch.testing.assert_close(same, torch.zeros(2))


def test_parts_of_the_loss_add_up_and_the_teacher_learns_nothing(model):
    found, teacher = model("ctc"), model("ctc")
    with torch.no_grad():
        teacher.module.lm_head.weight.mul_(1.5)
    found.module.requires_grad_(requires_grad=True)
    student = Student(
        found.module, task_of(found), weights=LossWeights(0.5, 2.0, 1.0), teacher=teacher.module
    )
    parts = student(collate([example(found, 8000, (5, 6))]))
    assert tuple(parts) == student.parts == ("loss", "task", "distillation")
    torch.testing.assert_close(parts["loss"], 0.5 * parts["task"] + 2 * parts["distillation"])
    parts["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.module.parameters())
    assert not any(
        parameter is other for parameter in student.parameters() for other in teacher.module.parameters()
    )


def test_learning_without_labels_ignores_the_targets(model):
    found, teacher = model("ctc"), model("ctc")
    student = Student(found.module, task_of(found), weights=LossWeights(0.0, 1.0), teacher=teacher.module)
    one, two = (student(collate([example(found, 8000, target)])) for target in ((1,), (9, 8, 7)))
    assert float(one["loss"]) == float(two["loss"])
    assert "task" not in one
