"""Rows are what the operators multiply, and stages are what the network calls, in its order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speechquant.errors import ModelError
from speechquant.learn.rounding.replay import input_of, passages, replay
from speechquant.learn.rounding.stages import Windows, stages
from speechquant.numerics import Entry, QuantSpec, ScaleTable


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 5, "padding": 2, "groups": 4},
        {"kernel_size": 5, "padding": "same", "groups": 2, "dilation": 2},
        {"kernel_size": 3, "dilation": 3, "stride": 4, "padding": 1},
        {"kernel_size": 1},
    ],
)
def test_rows_times_weight_is_the_convolution(settings):
    torch.manual_seed(0)
    conv = nn.Conv1d(8, 12, bias=False, **settings)
    x = torch.randn(1, 8, 41)
    expected = conv(x)[0]
    windows = Windows.of(conv)
    assert windows.count(x) == expected.shape[1]
    chosen = torch.tensor([0, 3, expected.shape[1] - 1])
    rows = windows.rows(x, chosen, range(conv.groups))
    weight = conv.weight.reshape(conv.groups, 12 // conv.groups, -1)
    found = (weight @ rows.transpose(1, 2)).reshape(12, 3)
    torch.testing.assert_close(found, expected[:, chosen])
    last = windows.rows(x, chosen, range(conv.groups - 1, conv.groups))
    assert torch.equal(last, rows[-1:])


def test_rows_of_a_linear_are_its_frames():
    x = torch.randn(2, 7, 5)
    windows = Windows.of(nn.Linear(5, 3))
    assert windows.count(x) == 14
    assert torch.equal(windows.rows(x, torch.tensor([8]), range(1))[0, 0], x[1, 1])


def test_padding_that_is_not_zero_is_refused():
    with pytest.raises(ModelError, match="reflect"):
        Windows.of(nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect"))


def test_stages_follow_the_network(ctc, waves, table_of):
    found = stages(ctc, table_of(ctc), passages(ctc, waves[:1])[0])
    names = [stage.operators for stage in found]
    convolutions = [f"hubert.feature_extractor.conv_layers.{i}.conv" for i in range(7)]
    assert names[:7] == [(name,) for name in convolutions]
    block = "hubert.encoder.layers.0."
    assert names[9:13] == [
        tuple(f"{block}attention.{part}_proj" for part in "qkv") if part is None else (block + part,)
        for part in (
            None,
            "attention.out_proj",
            "feed_forward.intermediate_dense",
            "feed_forward.output_dense",
        )
    ]
    assert names[-1] == ("lm_head",)
    assert sorted(name for group in names for name in group) == sorted({site.module for site in ctc.sites()})


def test_cross_attention_reads_the_encoder_once(moonshine, waves, table_of):
    found = stages(moonshine, table_of(moonshine), passages(moonshine, waves[:1])[0])
    cross = next(stage for stage in found if len(stage.operators) == 4)
    assert all("encoder_attn" in name for name in cross.operators)
    assert found[-1].operators == ("proj_out",)


def test_other_scales_are_other_stages(ctc, waves, table_of):
    table = table_of(ctc)
    entry = next(e for e in table if e.site.name.endswith("layers.0.attention.k_proj:input"))
    changed = table.merged(ScaleTable({entry.site.name: Entry(entry.site, QuantSpec(6), entry.scale)}))
    passage = passages(ctc, waves[:1])[0]
    assert len(stages(ctc, changed, passage)) == len(stages(ctc, table, passage)) + 1


def test_operators_outside_the_table_are_no_stage(ctc, waves, table_of):
    table = table_of(ctc)
    part = ScaleTable({n: e for n, e in table.entries.items() if e.site.layer == "transformer.1"})
    found = stages(ctc, part, passages(ctc, waves[:1])[0])
    assert len(found) == 4
    assert all("layers.1." in name for stage in found for name in stage.operators)


def test_the_decoder_is_fed_what_the_model_writes(moonshine, waves):
    heard = moonshine.recognizer().recognize(waves)
    fed = passages(moonshine, waves)
    start = moonshine.runtime.start
    assert [p.tokens[0].tolist() for p in fed] == [[start, *t.tokens] for t in heard]


def test_rows_of_the_decoder_are_those_of_recognition(moonshine, waves):
    """One pass over all tokens shows an operator what greedy decoding shows it step by step."""
    name = "model.decoder.layers.1.mlp.fc2"
    steps = []
    hook = moonshine.operator(name).register_forward_pre_hook(lambda _, inputs: steps.append(inputs[0][0]))
    try:
        moonshine.observe(waves[0])
    finally:
        hook.remove()
    found = input_of(moonshine, name, passages(moonshine, waves[:1])[0])[0]
    stepped = torch.cat(steps)[: len(found)]
    torch.testing.assert_close(found[: len(stepped)], stepped, atol=1e-4, rtol=1e-4)


def test_nothing_behind_the_operator_runs(ctc, waves):
    passage = passages(ctc, waves[:1])[0]
    calls = []
    hook = ctc.operator("lm_head").register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        input_of(ctc, "hubert.encoder.layers.0.attention.out_proj", passage)
        assert calls == []
        replay(ctc, passage)
        assert calls == [1]
    finally:
        hook.remove()
    assert not ctc.operator("hubert.encoder.layers.0.attention.out_proj")._forward_pre_hooks
