"""Rewrites of graphs: fewer operators, the same result as torch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from engine_checks import plain_session

from speechquant.engines.export import export_onnx

SCALE = 0.02


class Normalised(torch.nn.Module):
    """A convolution with a norm behind it, as at the start of wav2vec 2.0."""

    def __init__(self, channels, groups, bias, kernel=10, out=12):
        super().__init__()
        self.conv = torch.nn.Conv1d(channels, out, kernel, stride=5, bias=bias)
        self.norm = torch.nn.GroupNorm(groups, out)
        torch.nn.init.normal_(self.norm.weight)
        torch.nn.init.normal_(self.norm.bias)

    def forward(self, x):
        return self.norm(self.conv(x))


class Rotary(torch.nn.Module):
    """Queries of two heads, the first channels rotated: in neighbouring pairs, or one half against the other.

    `odd` says which channels are the second of each pair.
    """

    def __init__(self, rotated, halves, odd=slice(1, None, 2)):
        super().__init__()
        self.rotated, self.halves, self.odd = rotated, halves, odd
        self.project = torch.nn.Linear(12, 2 * 12)

    def forward(self, x):
        q = self.project(x).view(1, -1, 2, 12).transpose(1, 2)
        angles = torch.arange(x.shape[1])[:, None] / 7 ** torch.arange(self.rotated // 2)
        cos, sin = angles.cos(), angles.sin()
        part, kept = q[..., : self.rotated], q[..., self.rotated :]
        if self.halves:
            a, b = part.chunk(2, -1)
            turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        else:
            a, b = part[..., 0::2], part[..., self.odd]
            turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        return torch.cat((turned, kept), -1)


class OneToken(torch.nn.Module):
    """A single query against keys."""

    def __init__(self):
        super().__init__()
        self.project = torch.nn.Linear(12, 12)

    def forward(self, x):
        q = self.project(x[:, -1:]).view(x.shape[0], 1, 3, 4).transpose(1, 2)
        keys = x.view(x.shape[0], -1, 3, 4).transpose(1, 2)
        mixed = torch.softmax(q @ keys.transpose(-1, -2), -1) @ keys
        return mixed.transpose(1, 2).reshape(x.shape[0], 1, 12)


def operators(folder):
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def run(folder, x):
    return plain_session(folder / "model.onnx").run(None, {"wave": x})[0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("level", [0.0, 3.0])
def test_a_norm_over_time_goes_into_the_product(tmp_path, bench, bias, level):
    torch.manual_seed(0)
    module = Normalised(1, 12, bias)
    model = bench(module, torch.randn(1, 1, 300), axis=2)
    export_onnx(model, table(model, module), tmp_path)
    assert not {"InstanceNormalization", "GroupNormalization"} & set(operators(tmp_path))
    # `level` shifts all samples: a variance taken as the mean of squares would lose its digits.
    x = (0.3 * np.random.default_rng(1).standard_normal((1, 1, 1234)) + level * SCALE * 30).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), expected(module, x), atol=2e-5)


def test_a_constant_signal_is_not_divided_by_zero(tmp_path, bench):
    module = Normalised(1, 12, bias=True)
    model = bench(module, torch.randn(1, 1, 300), axis=2)
    export_onnx(model, table(model, module), tmp_path)
    x = np.zeros((1, 1, 500), np.float32)
    np.testing.assert_allclose(run(tmp_path, x), expected(module, x), atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(1, 4), (16, 12)])
def test_other_norms_stay(tmp_path, bench, channels, groups):
    """Groups of several channels share their statistics; wide windows cost more than the norm."""
    torch.manual_seed(0)
    module = Normalised(channels, groups, bias=False)
    model = bench(module, torch.randn(2, channels, 300), axis=2)
    export_onnx(model, table(model, module), tmp_path)
    assert {"InstanceNormalization", "GroupNormalization"} & set(operators(tmp_path))
    x = (0.3 * np.random.default_rng(1).standard_normal((2, channels, 700))).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), expected(module, x), atol=2e-5)


@pytest.mark.parametrize("rotated", [8, 12])
def test_neighbours_rotated_in_pairs_are_one_operator(tmp_path, bench, rotated):
    module = Rotary(rotated, halves=False)
    model = bench(module, torch.randn(1, 9, 12), axis=1)
    export_onnx(model, None, tmp_path)
    # Where all channels are rotated nothing is kept, and PyTorch writes another end.
    assert operators(tmp_path)["RotaryEmbedding"] == (rotated < 12)
    x = np.random.default_rng(0).standard_normal((1, 23, 12)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), tanh(module, x), atol=2e-6)


def test_halves_rotated_against_each_other_are_left_alone(tmp_path, bench):
    module = Rotary(8, halves=True)
    export_onnx(bench(module, torch.randn(1, 9, 12), axis=1), None, tmp_path)
    assert "RotaryEmbedding" not in operators(tmp_path)
    x = np.random.default_rng(0).standard_normal((1, 23, 12)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), tanh(module, x), atol=2e-6)


@pytest.mark.parametrize("odd", [slice(0, None, 2), slice(1, 2, 2), slice(4, None)])
def test_channels_rotated_with_others_than_their_neighbours_are_left_alone(tmp_path, bench, odd):
    module = Rotary(8, halves=False, odd=odd)
    export_onnx(bench(module, torch.randn(1, 9, 12), axis=1), None, tmp_path)
    assert "RotaryEmbedding" not in operators(tmp_path)
    x = np.random.default_rng(0).standard_normal((1, 23, 12)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), tanh(module, x), atol=2e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_single_query_is_not_transposed(tmp_path, bench, batch):
    module = OneToken()
    export_onnx(bench(module, torch.randn(2, 9, 12), axis=1), None, tmp_path)
    # Left are those of the weight and of the keys, which move data.
    assert operators(tmp_path)["Transpose"] <= 3
    x = np.random.default_rng(0).standard_normal((batch, 5, 12)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), tanh(module, x), atol=2e-6)


def test_four_queries_are_transposed(tmp_path, bench):
    class FourTokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.project = torch.nn.Linear(12, 12)

        def forward(self, x):
            return self.project(x[:, -4:]).view(x.shape[0], 4, 3, 4).transpose(1, 2).contiguous() * 2

    module = FourTokens()
    export_onnx(bench(module, torch.randn(2, 9, 12), axis=1), None, tmp_path)
    x = np.random.default_rng(0).standard_normal((2, 7, 12)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path, x), tanh(module, x), atol=2e-6)


def table(model, module):
    weight = module.conv.weight.detach().numpy()
    scale = (np.abs(weight).reshape(len(weight), -1).max(1) / 127).astype(np.float32)
    return model.table(SCALE, scale, 8, module="operator.conv")


def expected(module, x):
    conv = module.conv
    weight = conv.weight.detach().numpy()
    scale = (np.abs(weight).reshape(len(weight), -1).max(1) / 127).astype(np.float32)[:, None, None]
    rounded = torch.tensor(np.round(weight / scale) * scale)
    grid = torch.tensor(np.clip(np.round(x / np.float32(SCALE)), -128, 127) * np.float32(SCALE))
    with torch.no_grad():
        return torch.tanh(module.norm(torch.nn.functional.conv1d(grid, rounded, conv.bias, 5))).numpy()


def tanh(module, x):
    with torch.no_grad():
        return torch.tanh(module(torch.tensor(x))).numpy()
