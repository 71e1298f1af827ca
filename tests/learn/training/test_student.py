"""What a batch costs a student: in bfloat16 nearly what it costs in float32, and not quite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechquant.learn.training import Example, LossWeights, Student, collate, task_of


@pytest.mark.parametrize("family", ["ctc", "moonshine"])
def test_bf16_reaches_student_and_teacher_and_leaves_weights_and_losses_alone(family, model):
    found, teacher = model(family), model(family)
    rng, seen = np.random.default_rng(2), []
    wave = found.prepare_wave((0.1 * rng.standard_normal(8000)).astype(np.float32))
    batch = collate([Example("a", wave, (7, 9, 4, 7))])
    found.module.requires_grad_(requires_grad=True)
    for network in (found.module, teacher.module):
        # What leaves the last matrix product says in what it was computed.
        network.register_forward_hook(lambda _module, _inputs, output: seen.append(output.logits.dtype))
    losses = []
    for bf16 in (False, True):
        weights = LossWeights(task=1.0, distillation=1.0)
        student = Student(found.module, task_of(found), weights=weights, teacher=teacher.module, bf16=bf16)
        parts = student(batch)
        parts["loss"].backward()
        losses.append(float(parts["task"]))
        assert parts["loss"].dtype == torch.float32
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
    assert {p.grad.dtype for p in found.module.parameters() if p.grad is not None} == {torch.float32}
