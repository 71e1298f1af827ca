"""Entropy coded weights in `model.safetensors`: smaller, the same integers, refused when altered."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from speechquant.artifact.weights import Tensors, save_tensors
from speechquant.errors import ArtifactError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, packed_size, quantize, weight_scales


@pytest.fixture
def written(tmp_path):
    """A file with a weight that is worth coding, one that is not, and one of more than 8 bits."""
    rng = np.random.default_rng(0)
    arrays = {
        "bell.weight": rng.normal(size=(64, 300)).astype(np.float32),
        "flat.weight": rng.integers(-7, 7, (64, 64), endpoint=True).astype(np.float32),
        "wide.weight": rng.normal(size=(8, 300)).astype(np.float32),
    }
    specs = {"bell": QuantSpec(6, "channel", narrow=True), "flat": QuantSpec(4), "wide": QuantSpec(12)}
    entries = {}
    for name, spec in specs.items():
        scale = np.float32(1) if name == "flat" else weight_scales(arrays[f"{name}.weight"], spec)
        site = Site(name, "weight", name)
        entries[site.name] = Entry(site, spec, np.asarray(scale, np.float32))
    table = ScaleTable(entries)
    path = tmp_path / "model.safetensors"
    save_tensors(path, arrays, table)
    return path, arrays, table


def notes(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["speechquant"])


def rewrite(path, stored=None, packed=None):
    note = notes(path)
    for name, changes in (packed or {}).items():
        note["packed"][name] |= changes
    save_file(load_file(path) | (stored or {}), path, metadata={"speechquant": json.dumps(note)})


def test_each_tensor_is_coded_only_where_that_is_smaller(written):
    path, arrays, table = written
    packed, stored = notes(path)["packed"], load_file(path)
    assert {name for name, how in packed.items() if "coding" in how} == {"bell.weight"}
    for entry in table:
        name = f"{entry.site.module}.weight"
        size = packed_size(arrays[name].size, entry.spec.bits)
        assert (stored[name].size < size) if name == "bell.weight" else (stored[name].size == size)


def test_integers_and_values_come_back(written):
    path, arrays, table = written
    tensors = Tensors(path)
    for entry in table:
        name = f"{entry.site.module}.weight"
        integers = quantize(arrays[name], entry.scale, entry.spec)
        assert np.array_equal(tensors.integers(name), integers)
        assert np.array_equal(quantize(tensors[name], entry.scale, entry.spec), integers)


def test_equal_models_give_equal_files(written, tmp_path):
    path, arrays, table = written
    save_tensors(tmp_path / "again", arrays, table)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("stored", "packed"),
    [
        (lambda data: data[:-2], {}),
        (lambda data: np.append(data, data[:1]), {}),
        (lambda data: data[:0], {}),
        (lambda data: data, {"shape": [64, 302]}),
        (lambda data: data, {"shape": [10**9, 10**9]}),
        (lambda data: data, {"bits": 3}),
        (lambda data: data, {"coding": None}),
    ],
)
def test_altered_weights_are_refused_in_one_line(written, stored, packed):
    path, *_ = written
    rewrite(path, {"bell.weight": stored(load_file(path)["bell.weight"])}, {"bell.weight": packed})
    with pytest.raises(ArtifactError, match=r"bell\.weight.*again") as caught:
        Tensors(path).integers("bell.weight")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", [{"coding": "rar"}, {"coding": 3}, {"bits": 12}])
def test_unknown_codings_are_refused(written, packed):
    path, *_ = written
    rewrite(path, packed={"bell.weight": packed})
    with pytest.raises(ArtifactError, match="malformed"):
        Tensors(path)
