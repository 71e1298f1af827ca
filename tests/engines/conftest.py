from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from speechquant.decoding import RuntimeSpec
from speechquant.engines.export import export_onnx
from speechquant.models import ExportPart
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site

torch.set_num_threads(1)
# What several tests check alike is a module beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def models(random_models):
    """Each is traced once for all tests."""
    return random_models()


@pytest.fixture(scope="session")
def table_for(noise):
    """A table over all sites: inputs by the largest value of one run, weights by each channel's maximum."""

    def make(model, bits=8, weight_bits=None, keep=lambda site: True):
        largest = {}
        handles = [
            model.operator(name).register_forward_pre_hook(
                lambda _, inputs, name=name: largest.update(
                    {name: max(largest.get(name, 1e-6), float(inputs[0].abs().max()))}
                )
            )
            for name in {site.module for site in model.sites()}
        ]
        model.observe(noise(9000, seed=7))
        for handle in handles:
            handle.remove()
        entries = {}
        for site in model.sites():
            if site.role == "input":
                spec = QuantSpec(bits)
                scale = np.float32(0.7 * largest[site.module] / spec.qmax).reshape(())
            else:
                spec = QuantSpec(weight_bits or bits, "channel", narrow=True)
                weight = model.operator(site.module).weight.detach().numpy()
                scale = (np.abs(weight).reshape(len(weight), -1).max(1) / spec.qmax).astype(np.float32)
            if keep(site):
                entries[site.name] = Entry(site, spec, scale)
        return ScaleTable(entries)

    return make


@pytest.fixture(scope="session")
def exports_for(models, table_for, tmp_path_factory):
    """For a dialect: what gives the export of an architecture, each made once, and its table; None for float."""
    made = {}

    def make(dialect, arch, *, quantized=True, **settings):
        key = (dialect, arch, quantized, str(settings))
        if key not in made:
            model = models(arch)
            table = table_for(model, **settings) if quantized else None
            folder = tmp_path_factory.mktemp("artifact") / dialect
            made[key] = export_onnx(model, table, folder, dialect), table
        return made[key]

    return lambda dialect: partial(make, dialect)


@pytest.fixture(scope="session")
def simulation():
    return simulated


@pytest.fixture(scope="session")
def bench():
    return Bench


def fake(x, scale, low, high):
    return torch.clamp(torch.round(x / scale), low, high) * scale


@contextmanager
def simulated(model, table):
    """The table put into the torch model: written for these tests, independent of the simulation room."""
    handles, originals = [], []
    for entry in table:
        part, spec = model.operator(entry.site.module), entry.spec
        scale, limits = torch.tensor(entry.scale), (spec.qmin, spec.qmax)
        if entry.site.role == "input":
            handles.append(
                part.register_forward_pre_hook(
                    lambda _, inputs, scale=scale, limits=limits: (fake(inputs[0], scale, *limits),)
                )
            )
        else:
            originals.append((part.weight, part.weight.data))
            scale = scale.reshape(-1, *[1] * (part.weight.dim() - 1)) if scale.dim() else scale
            part.weight.data = fake(part.weight.data, scale, *limits)
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for weight, data in originals:
            weight.data = data


class Bench:
    """A model of one operator: what `export_onnx` needs and nothing else."""

    runtime = RuntimeSpec(
        task="ctc",
        sampling_rate=16000,
        normalize=False,
        length_exact=True,
        minimum_samples=1,
        frame_seconds=0.1,
    )

    def __init__(self, operator, example, axis, path="operator"):
        self.module = torch.nn.Module()
        self.module.add_module(path, operator.eval().requires_grad_(requires_grad=False))
        self.example, self.axis = example, axis

    def operator(self, name):
        return self.module.get_submodule(name)

    def parts(self):
        runner = Runner(self.operator("operator"))
        return (
            ExportPart(
                name="model",
                module=runner,
                inputs=(self.example,),
                input_names=("wave",),
                output_names=("logits",),
                dynamic_shapes=({0: "batch", self.axis: "time"},),
                operators=("operator",),
            ),
        )

    def table(self, scale, weight_scale, bits=8, module="operator"):
        weights = QuantSpec(bits, "channel", narrow=True)
        sites = [Site(module, role, "x") for role in ("input", "weight")]
        entries = [
            Entry(sites[0], QuantSpec(bits), np.float32(scale).reshape(())),
            Entry(sites[1], weights, np.asarray(weight_scale, np.float32)),
        ]
        return ScaleTable({entry.site.name: entry for entry in entries})


class Runner(torch.nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def forward(self, x):
        return torch.tanh(self.operator(x))
