"""Attention as one operator: the same result as torch and as the operators that it stands for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from engine_checks import plain_session
from torch.nn.functional import scaled_dot_product_attention as attend

from speechquant.engines.export import export_onnx

HEADS, WIDTH = 3, 8
CHANNELS = HEADS * WIDTH


def split(x):
    return x.view(x.shape[0], -1, HEADS, WIDTH).transpose(1, 2)


def join(x):
    return x.transpose(1, 2).reshape(x.shape[0], -1, CHANNELS)


class Encoder(torch.nn.Module):
    """Every frame looks at every frame; `bias` is what scores get on top."""

    def __init__(self, bias, scale=None):
        super().__init__()
        self.bias, self.scale = bias, scale
        self.project = torch.nn.ModuleList(torch.nn.Linear(CHANNELS, CHANNELS) for _ in "qkv")

    def forward(self, x):
        q, k, v = (split(project(x)) for project in self.project)
        bias = None if self.bias is None else self.bias(x)
        return join(attend(q, k, v, attn_mask=bias, scale=self.scale))


def distances(x):
    """(1, heads, time, time), as relative positions have it."""
    frames = torch.arange(x.shape[1])
    return -(frames[:, None] - frames).abs() * torch.tensor([0.1, 0.5, 2.0])[:, None, None][None]


def own_distances(x):
    """(batch, heads, time, time)."""
    return distances(x) * x[:, :1, :1, None].abs()


def loud_frames(x):
    """(batch, 1, 1, time): which keys may be seen, the same for all queries."""
    return (x[:, :, 0] > -0.5)[:, None, None]


class Decoder(torch.nn.Module):
    """The last frame looks at itself and at those before it, which are in a cache; positions are rotated."""

    def __init__(self):
        super().__init__()
        self.project = torch.nn.ModuleList(torch.nn.Linear(CHANNELS, CHANNELS) for _ in "qkv")

    def forward(self, x):
        q, k, v = (split(project(x[:, -1:])) for project in self.project)
        before = split(x[:, :-1])
        keys = torch.cat((before, rotated(k)), 2)
        values = torch.cat((before * 2, v), 2)
        return join(attend(rotated(q), keys, values)) + (keys + values).sum((1, 2, 3))[:, None, None]


def rotated(x):
    angles = torch.tensor([[0.3, 1.1, 2.0]])
    part, kept = x[..., :6], x[..., 6:]
    a, b = part[..., 0::2], part[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    pairs = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    return torch.cat((pairs, kept), -1)


class Listener(torch.nn.Module):
    """The last frame looks at those frames that are no padding."""

    def __init__(self):
        super().__init__()
        self.project = torch.nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x):
        heard = loud_frames(x)
        return join(attend(split(self.project(x[:, -1:])), split(x), split(x * 2), attn_mask=heard))


def exported(bench, module, folder, frames=9):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    export_onnx(bench(module, torch.randn(2, frames, CHANNELS), axis=1), None, folder)
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def run(folder, x):
    return plain_session(folder / "model.onnx").run(None, {"wave": x})[0]


def equals_torch(folder, module, shapes):
    for seed, (batch, frames) in enumerate(shapes):
        x = np.random.default_rng(seed).standard_normal((batch, frames, CHANNELS)).astype(np.float32)
        x[:, -1, 0] = 1
        with torch.no_grad():
            expected = torch.tanh(module(torch.tensor(x))).numpy()
        np.testing.assert_allclose(run(folder, x), expected, atol=2e-5)


SHAPES = [(1, 1), (1, 23), (3, 9), (2, 1100)]


@pytest.mark.parametrize("bias", [None, distances, own_distances])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_an_encoder_has_one_operator(tmp_path, bench, bias, scale):
    module = Encoder(bias, scale)
    found = exported(bench, module, tmp_path)
    assert found["MultiHeadAttention"] == 1
    assert "Softmax" not in found
    equals_torch(tmp_path, module, SHAPES)


def test_it_computes_what_the_operators_compute(tmp_path, bench, monkeypatch):
    module = Encoder(distances)
    exported(bench, module, tmp_path / "fused")
    monkeypatch.setattr("speechquant.engines.export.dialects.onnxruntime.fuse_attention", lambda _: 0)
    assert exported(bench, module, tmp_path / "apart")["Softmax"] == 1
    x = np.random.default_rng(0).standard_normal((2, 300, CHANNELS)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "fused", x), run(tmp_path / "apart", x), atol=2e-6)


def test_a_mask_of_keys_for_many_queries_stays_apart(tmp_path, bench):
    """The operator wants a value for every score."""
    module = Encoder(loud_frames)
    found = exported(bench, module, tmp_path)
    assert (found["MultiHeadAttention"], found["Softmax"]) == (0, 1)
    equals_torch(tmp_path, module, [(1, 23), (3, 9)])


def test_caches_go_through_the_operator(tmp_path, bench):
    module = Decoder()
    found = exported(bench, module, tmp_path)
    assert (found["MultiHeadAttention"], found["RotaryEmbedding"]) == (1, 2)
    nodes = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    assert [len(node.output) for node in nodes if node.op_type == "MultiHeadAttention"] == [3]
    equals_torch(tmp_path, module, SHAPES)


def test_a_query_hears_what_is_not_masked(tmp_path, bench):
    module = Listener()
    found = exported(bench, module, tmp_path)
    assert (found["MultiHeadAttention"], found["Softmax"]) == (1, 0)
    equals_torch(tmp_path, module, SHAPES)


def test_scores_that_are_read_elsewhere_stay(tmp_path, bench):
    class Shown(Encoder):
        def forward(self, x):
            q, k, v = (split(project(x)) for project in self.project)
            shares = torch.softmax((q * 0.5) @ (k.transpose(-1, -2) * 0.5), -1)
            return join(shares @ v) + shares.sum((1, 2))[:, :, None]

    module = Shown(None)
    assert exported(bench, module, tmp_path)["Softmax"] == 1
    equals_torch(tmp_path, module, [(1, 23), (3, 9)])


def test_heads_that_are_joined_in_another_order_stay(tmp_path, bench):
    class Turned(Encoder):
        def forward(self, x):
            q, k, v = (split(project(x)) for project in self.project)
            mixed = torch.softmax((q * 0.5) @ (k.transpose(-1, -2) * 0.5), -1) @ v
            return mixed.transpose(1, 2).reshape(x.shape[0], CHANNELS, -1)

    module = Turned(None)
    assert "MultiHeadAttention" not in exported(bench, module, tmp_path)
    equals_torch(tmp_path, module, [(1, 23), (3, 9)])


@pytest.mark.parametrize("arch", ["wav2vec2-base", "wavlm-base"])
def test_every_layer_of_a_model_has_one(tmp_path, models, arch):
    model = models(arch)
    export_onnx(model, None, tmp_path)
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    found = Counter(node.op_type for node in graph.node)
    assert (found["MultiHeadAttention"], found["Softmax"]) == (model.config.num_hidden_layers, 0)
