"""Bits and bytes of a file of weights, against sizes that are counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import artifact_fakes as fakes
import numpy as np
import pytest

from speechquant.artifact import save_artifact, storage_of
from speechquant.artifact.weights import save_tensors
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, weight_scales


def entry(name, weight, bits, **granularity):
    spec = QuantSpec(bits, narrow=True, **granularity)
    site = Site(name, "weight", name)
    return Entry(site, spec, weight_scales(weight, spec))


def test_every_byte_is_counted(tmp_path):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(50, 40)).astype(np.float32)
    arrays = {
        "a.weight": rng.normal(size=(128, 100)).astype(np.float32),
        "a.bias": np.zeros(128, np.float32),
        "b.weight": shared,
        "embedding": shared,
        "half": np.zeros(10, np.float16),
    }
    entries = [entry("a", arrays["a.weight"], 4, granularity="channel"), entry("b", shared, 2)]
    path = tmp_path / "model.safetensors"
    save_tensors(path, arrays, ScaleTable({e.site.name: e for e in entries}))
    found = storage_of(path, searched=["b"])
    assert found.parameters == 12_800 + 128 + 2000 + 10
    assert found.quantized == 14_800
    assert found.quantized_bits == pytest.approx((4 * 12_800 + 2 * 2000) / 14_800)
    assert found.searched_bits == 2
    assert found.average_bits == pytest.approx(
        (4 * 12_800 + 2 * 2000 + 32 * 128 + 16 * 10) / found.parameters
    )
    assert found.float_bytes == 4 * found.parameters
    assert found.stored_bytes == path.stat().st_size
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    contents = 12_800 // 2 + 2000 // 4 + 4 * (128 + 1) + 4 * 128 + 2 * 10
    assert found.packed_bytes == header + contents
    assert found.stored_bytes < found.packed_bytes
    assert found.ratio == found.float_bytes / path.stat().st_size


def test_nothing_quantized(tmp_path):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"a.weight": np.zeros((3, 4), np.float32)}, ScaleTable({}))
    found = storage_of(path)
    assert (found.quantized, found.quantized_bits, found.searched_bits) == (0, None, None)
    assert found.average_bits == 32
    assert found.packed_bytes == found.stored_bytes


def test_an_artifact_records_it(tmp_path):
    made = replace(fakes.contents(tmp_path / "model"), searched=["conv"])
    saved = save_artifact(made, tmp_path / "out")
    found = saved.storage()
    assert found.searched_bits == 8
    metrics = json.loads((saved.folder / "metrics.json").read_text())
    assert metrics["storage"] == found.figures()
    assert metrics["storage"]["stored_bytes"] == (saved.folder / "model.safetensors").stat().st_size
