"""Quantizers inside the block do what the formula says, and outside nothing is left of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechquant.numerics import Entry, QuantSpec, ScaleTable, dequantize, quantize
from speechquant.simulation import observe, quantized, weight_table
from speechquant.simulation.tables import activation_table


def full_table(model, waves, bits=(8, 8)):
    histograms = observe(model, waves)
    inputs = activation_table(model.sites(), histograms=histograms, calibrator="max", bits=bits[1])
    return weight_table(model, model.sites(), bits=bits[0]).merged(inputs)


def state(model):
    return {name: (part, part.data_ptr(), part.clone()) for name, part in model.module.named_parameters()}


def hooks(model):
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in model.module.modules())


def untouched(model, before):
    after = dict(model.module.named_parameters())
    assert after.keys() == before.keys()
    for name, (parameter, pointer, value) in before.items():
        assert after[name] is parameter, name
        assert parameter.data_ptr() == pointer, name
        assert torch.equal(parameter, value), name
    assert hooks(model) == 0


def test_everything_is_restored(model, waves):
    table, before = full_table(model, waves), state(model)
    with quantized(model, table) as inside:
        assert inside is model
        assert hooks(model) == sum(entry.site.role == "input" for entry in table)
        model.observe(waves[0])
    untouched(model, before)


@pytest.mark.parametrize("where", ["body", "hook", "entry"])
def test_everything_is_restored_after_an_exception(model, waves, where):
    table, before = full_table(model, waves), state(model)
    last = model.sites()[-2]
    if where == "entry":
        broken = Entry(last, QuantSpec(8), np.ones((2, 3), np.float32) * np.float32("nan"))
        weird = last.__class__("no.such.module", "input", "x")
        table = ScaleTable({**table.entries, "zz": broken, "zzz": Entry(weird, QuantSpec(8), broken.scale)})
    expected = {"body": KeyboardInterrupt, "hook": RuntimeError, "entry": AttributeError}[where]
    with pytest.raises(expected), quantized(model, table):  # noqa: PT012 - it fails in different places
        if where == "body":
            raise KeyboardInterrupt
        model.operator(last.module)(torch.zeros(1, 1, 3))
    untouched(model, before)


def test_weights_are_the_dequantized_integers(model, waves):
    table = weight_table(model, model.sites(), bits=4)
    floats = {e.site.name: model.operator(e.site.module).weight.numpy().copy() for e in table}
    assert len(table) == len(model.sites()) // 2
    with quantized(model, table):
        for entry in table:
            found = model.operator(entry.site.module).weight.numpy()
            w = floats[entry.site.name]
            expected = dequantize(quantize(w, entry.scale, entry.spec), entry.scale)
            np.testing.assert_array_equal(found, expected)
            assert len(np.unique(found[0] / entry.scale[0])) <= 15


def test_inputs_are_quantized_on_every_call_and_only_where_the_table_says(model, waves):
    table = ScaleTable({n: e for n, e in full_table(model, waves).entries.items() if e.site.role == "input"})
    chosen = list(table)[1::2]
    part = ScaleTable({entry.site.name: entry for entry in chosen})
    seen = {}

    def spy(name, operator):
        def forward(x, *args, **kwargs):
            seen.setdefault(name, []).append(x.clone())
            return type(operator).forward(operator, x, *args, **kwargs)

        operator.forward = forward

    for entry in table:
        spy(entry.site.name, model.operator(entry.site.module))
    try:
        with quantized(model, part), torch.inference_mode():
            model.observe(waves[0])
    finally:
        for entry in table:
            del model.operator(entry.site.module).forward
    for entry in table:
        on_grid = all(
            torch.equal(x, (x / float(entry.scale)).round().clamp(-128, 127) * float(entry.scale))
            for x in seen[entry.site.name]
        )
        assert on_grid == (entry.site.name in part.entries), entry.site.name


def test_nested_blocks_restore_in_order(ctc, waves):
    before = state(ctc)
    one = weight_table(ctc, ctc.sites()[:6], bits=8)
    two = weight_table(ctc, ctc.sites()[:2], bits=2)
    module = ctc.sites()[0].module
    with quantized(ctc, one):
        inner = ctc.operator(module).weight.clone()
        with quantized(ctc, two):
            assert not torch.equal(ctc.operator(module).weight, inner)
        assert torch.equal(ctc.operator(module).weight, inner)
    untouched(ctc, before)


def test_the_tied_head_of_moonshine_stays_tied_and_the_embedding_moves_with_it(moonshine):
    head = next(site for site in moonshine.sites() if site.layer == "head" and site.role == "weight")
    embedding = moonshine.module.get_input_embeddings()
    assert embedding.weight is moonshine.operator(head.module).weight
    before = embedding.weight.clone()
    table = weight_table(moonshine, [head], bits=3)
    with quantized(moonshine, table):
        # The artifact stores one tensor for both, so the simulation must quantize both.
        assert embedding.weight is moonshine.operator(head.module).weight
        assert not torch.equal(embedding.weight, before)
    assert embedding.weight is moonshine.operator(head.module).weight
    assert torch.equal(embedding.weight, before)


def test_the_empty_table_is_the_float_model(model, waves):
    recognizer = model.recognizer()
    expected = recognizer.recognize(waves[:2])
    with quantized(model, ScaleTable({})):
        assert model.recognizer().recognize(waves[:2]) == expected
    with quantized(model, full_table(model, waves, bits=(2, 2))):
        assert model.recognizer().recognize(waves[:2]) != expected
    assert model.recognizer().recognize(waves[:2]) == expected
