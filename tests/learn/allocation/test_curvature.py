"""Hutchinson's trace and the Fisher diagonal against the exact Hessian of a small network."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional

from speechquant.learn.allocation import Fisher, Hessian, Matrix, traces
from speechquant.numerics import Entry, QuantSpec, Site, weight_scales

MODULES = ("0", "2")


class Small:
    """Two layers on two utterances; what criteria ask of `Speech`."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5))
        for part in self.network.parameters():
            part.data = torch.randn(part.shape, generator=generator)
            part.requires_grad = False
        self.inputs = [torch.randn(n, 3, generator=generator) for n in (4, 6)]
        self.said = [functional.log_softmax(self.network(x), dim=-1) for x in self.inputs]
        self.positions = 10

    def __len__(self):
        return len(self.inputs)

    def logits(self, index):
        return self.network(self.inputs[index])

    def divergence(self, index, logits):
        said = functional.log_softmax(logits, dim=-1)
        return functional.kl_div(said, self.said[index], reduction="sum", log_target=True)

    @contextmanager
    def gradients(self, modules):
        weights = {name: self.network.get_submodule(name).weight for name in modules}
        for weight in weights.values():
            weight.requires_grad = True
        yield weights
        for weight in weights.values():
            weight.requires_grad = False


@pytest.fixture
def small():
    return Small()


@pytest.fixture
def hessian(small):
    """The Hessian of the divergence per position with respect to both weights, (32, 32)."""
    first, second = (small.network.get_submodule(name) for name in MODULES)

    def divergence(flat):
        one, two = flat[:12].reshape(4, 3), flat[12:].reshape(5, 4)
        total = 0
        for index, x in enumerate(small.inputs):
            logits = torch.tanh(x @ one.T + first.bias) @ two.T + second.bias
            total = total + small.divergence(index, logits)
        return total / small.positions

    flat = torch.cat([first.weight.flatten(), second.weight.flatten()])
    return torch.autograd.functional.hessian(divergence, flat)


def blocks(matrix):
    return {"0": matrix[:12, :12], "2": matrix[12:, 12:]}


def test_traces_are_those_of_the_exact_hessian(small, hessian):
    probes = 400
    found = traces(small, MODULES, probes=probes)
    rows = {"0": slice(0, 12), "2": slice(12, 32)}
    for name, block in blocks(hessian).items():
        # v' A v with A the rows of the block has the variance sum over pairs of (A_jk + A_kj)^2.
        part = torch.zeros_like(hessian)
        part[rows[name]] = hessian[rows[name]]
        both = (part + part.T).triu(1)
        deviation = float(both.square().sum().sqrt()) / probes**0.5
        assert deviation < 0.1 * float(block.trace())
        assert found[name] == pytest.approx(float(block.trace()), abs=4 * deviation)


def matrices(small):
    made = []
    for name in MODULES:
        weight, site = small.network.get_submodule(name).weight.numpy(), Site(name, "weight", name)
        entries = {}
        for bits in (3, 8):
            spec = QuantSpec(bits, "channel", narrow=True)
            entries[bits] = Entry(site, spec, weight_scales(weight, spec))
        made.append(Matrix(site, weight, entries))
    return made


def test_hessian_costs_are_trace_times_error(small, hessian):
    found = dict(Hessian(probes=400).costs(small, matrices(small), 0, lambda *_: None))
    for matrix in matrices(small):
        name = matrix.site.module
        wrong = matrix.quantized(3).numpy() - matrix.weight
        share = float(blocks(hessian)[name].trace()) / wrong.size
        assert found[name][3] == pytest.approx(share * float((wrong**2).sum()) / 2, rel=0.2)
        assert found[name][8] < found[name][3] / 100


def test_fisher_costs_are_the_diagonal_of_the_hessian(small, hessian):
    found = dict(Fisher(draws=400).costs(small, matrices(small), 0, lambda *_: None))
    for matrix in matrices(small):
        name = matrix.site.module
        wrong = matrix.quantized(3).numpy() - matrix.weight
        diagonal = blocks(hessian)[name].diagonal().numpy()
        assert found[name][3] == pytest.approx(float((diagonal * wrong.reshape(-1) ** 2).sum()) / 2, rel=0.15)


def test_the_seed_decides(small):
    found = [traces(small, MODULES, probes=2, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert found[0] != found[2]
