"""Quantizers in a network: what they compute, what they share, and that they leave no trace."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from speechquant.learn.lsq import StepSize
from speechquant.learn.qat import Quantizers, shared_inputs
from speechquant.learn.training import Example, Student, collate, optimizer_of, task_of
from speechquant.numerics import Entry, ScaleTable
from speechquant.simulation import quantized

FAMILIES = ["ctc", "moonshine"]
every_family = pytest.mark.parametrize("family", FAMILIES)


def batch_of(found, *samples):
    rng = np.random.default_rng(2)
    return collate(
        [
            Example(
                str(i), found.prepare_wave((0.1 * rng.standard_normal(n)).astype(np.float32)), (7, 9, 4, 7)
            )
            for i, n in enumerate(samples)
        ]
    )


def wave():
    return (0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)


@every_family
def test_training_computes_what_the_simulation_computes(family, model, table_of):
    found = model(family)
    table, task, batch = table_of(found, (4, 8)), task_of(found), batch_of(found, 8000)
    quantizers = Quantizers(found, table, shared=shared_inputs(found, wave()))
    plain = task.outputs(found.module, batch).logits
    with quantizers.installed():
        trained = task.outputs(found.module, batch).logits
        with quantizers.paused():
            assert torch.equal(task.outputs(found.module, batch).logits, plain)
    with quantized(found, table):
        simulated = task.outputs(found.module, batch).logits
    assert not torch.allclose(trained, plain, atol=1e-4)
    torch.testing.assert_close(trained, simulated, rtol=0, atol=1e-6)


@every_family
def test_the_network_is_as_it_was_also_after_a_failure(family, model, table_of):
    found = model(family)
    quantizers = Quantizers(found, table_of(found))
    before = {name: set(part.__dict__) for name, part in found.module.named_modules()}
    with pytest.raises(RuntimeError, match="on the way"), quantizers.installed():
        raise RuntimeError("on the way")
    assert {name: set(part.__dict__) for name, part in found.module.named_modules()} == before


@every_family
def test_the_table_starts_as_it_was_and_follows_the_steps(family, model, table_of):
    found = model(family)
    table = table_of(found)
    quantizers = Quantizers(found, table, shared=shared_inputs(found, wave()))
    assert quantizers.table().signature == table.signature
    with torch.no_grad():
        for step in quantizers.steps:
            step.shift.fill_(np.log(2))
    for entry in quantizers.table():
        start = table.get(entry.site.name)
        assert (entry.spec, entry.scale.shape) == (start.spec, start.scale.shape)
        np.testing.assert_allclose(entry.scale, 2 * start.scale, rtol=1e-6)


def test_inputs_that_are_one_tensor_share_a_step(model, table_of):
    found = model("ctc")
    groups = [set(group) for group in shared_inputs(found, wave())]
    block = "hubert.encoder.layers.0.attention."
    assert {f"{block}{name}_proj" for name in "qkv"} in groups
    assert {f"{block}out_proj"} in groups
    assert sum(map(len, groups)) == len(found.sites()) / 2
    table = table_of(found)
    shared = shared_inputs(found, wave())
    together = Quantizers(found, table, shared=shared)
    assert len(Quantizers(found, table).steps) - len(together.steps) == 2 * 2
    # Engines cannot share what began apart, and training keeps it so.
    name = f"{block}q_proj:input"
    other = Entry(
        table.get(name).site, table.get(name).spec, np.asarray(table.get(name).scale * 2, np.float32)
    )
    assert len(Quantizers(found, table.merged(ScaleTable({name: other})), shared=shared).steps) == (
        len(together.steps) + 1
    )


def test_cross_attention_reads_one_tensor_in_all_layers(model):
    groups = shared_inputs(model("moonshine"), wave())
    together = next(group for group in groups if "model.decoder.layers.0.encoder_attn.k_proj" in group)
    parts = {name.split(".")[-1] for name in together}
    assert (len(together), parts) == (4, {"k_proj", "v_proj"})


@every_family
def test_gradients_reach_every_weight_and_step(family, model, table_of):
    found = model(family)
    quantizers = Quantizers(found, table_of(found, (4, 6)))
    found.module.requires_grad_(requires_grad=True)
    student = Student(found.module, task_of(found), extra=quantizers)
    with quantizers.installed():
        student(batch_of(found, 8000))["loss"].backward()
    unused = {"masked_spec_embed"}
    for name, parameter in student.named_parameters():
        if name.rpartition(".")[2] not in unused:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
    assert all(float(step.shift.grad.abs().max()) > 0 for step in quantizers.steps)


@every_family
def test_weights_quantized_once_have_the_gradients_of_weights_quantized_for_every_batch(
    family, model, table_of, monkeypatch
):
    found = model(family)
    quantizers = Quantizers(found, table_of(found, (4, 6)))
    found.module.requires_grad_(requires_grad=True)
    student = Student(found.module, task_of(found), extra=quantizers)
    batches = [batch_of(found, samples) for samples in (6400, 8000, 6400)]
    calls = []
    quantize = StepSize.forward
    monkeypatch.setattr(StepSize, "forward", lambda step, x: (calls.append(step), quantize(step, x))[1])

    def gradients(*, once):
        calls.clear()
        student.zero_grad()
        with quantizers.installed(), student.once() if once else nullcontext():
            for batch in batches:
                student(batch)["loss"].backward()
        return {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}, len(calls)

    (often, many), (once, few) = gradients(once=False), gradients(once=True)
    assert once.keys() == often.keys()
    for name, gradient in often.items():
        torch.testing.assert_close(
            once[name], gradient, rtol=1e-4, atol=1e-6 + 1e-5 * float(gradient.abs().max())
        )
    weights = sum(1 for site in found.sites() if site.role == "weight")
    assert many - few == 2 * weights


@every_family
def test_quantized_training_learns_two_utterances_by_heart(family, model, table_of):
    found = model(family)
    quantizers = Quantizers(found, table_of(found, (4, 8)), shared=shared_inputs(found, wave()))
    found.module.requires_grad_(requires_grad=True)
    student = Student(found.module, task_of(found), extra=quantizers)
    optimizer = optimizer_of(found.module, quantizers, learning_rate=8e-3, extra_learning_rate=3e-3)
    batch, losses = batch_of(found, 6400, 6400), []
    with quantizers.installed():
        for _ in range(50):
            optimizer.zero_grad()
            loss = student(batch)["loss"] / 2
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    # What was learned is in the weights and the table, not only in the quantizers of training.
    found.module.requires_grad_(requires_grad=False)
    task = task_of(found)
    with quantized(found, quantizers.table()):
        kept = task.loss(task.outputs(found.module, batch), batch).mean()
    assert float(kept) < 0.3 * losses[0]
