"""Weights in groups: integers and scales come back to the last bit, in 16 bits where that is exact."""

from __future__ import annotations

import json

import artifact_fakes as fakes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from speechquant.artifact import save_artifact, verify_artifact
from speechquant.errors import ArtifactError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, quantize, weight_scales

SPEC = QuantSpec(4, "group", group_size=4)
SITES = {"conv": Site("conv", "weight", "conv.0"), "head": Site("head", "weight", "head")}


def table(arrays, factor=1.0):
    entries = {}
    for name, site in SITES.items():
        scale = weight_scales(arrays[f"{name}.weight"], SPEC, "mse") * np.float32(factor)
        entries[site.name] = Entry(site, SPEC, scale)
    return ScaleTable(entries)


@pytest.fixture
def saved(tmp_path):
    contents = fakes.contents(tmp_path / "model", table=table(fakes.weights()), bits="w4a16")
    return save_artifact(contents, tmp_path / "out")


def test_the_table_and_the_integers_come_back(saved):
    arrays = fakes.weights()
    wanted, found = table(arrays), saved.scale_table()
    assert found.signature == wanted.signature
    assert verify_artifact(saved.folder).problems == ()
    for name, site in SITES.items():
        entry = wanted.get(site.name)
        integers = quantize(arrays[f"{name}.weight"], entry.scale, SPEC)
        assert np.array_equal(saved.tensors().integers(f"{name}.weight"), integers)
        values = saved.tensors()[f"{name}.weight"]
        assert np.array_equal(quantize(values, entry.scale, SPEC), integers)
        flat, rows = values.reshape(len(values), -1), integers.reshape(len(values), -1)
        for index in range(flat.shape[1]):
            assert np.array_equal(flat[:, index], rows[:, index] * entry.scale[:, index // 4])


def test_scales_take_16_bits_where_that_loses_nothing(saved, tmp_path):
    stored = load_file(saved.folder / "model.safetensors")
    # 15 weights of a channel are four groups, the last of three.
    assert stored["conv.weight.scale"].dtype == np.float16
    assert stored["conv.weight.scale"].shape == (fakes.CHANNELS, 4)
    assert stored["conv.weight"].size == fakes.CHANNELS * 15 // 2
    finer = table(fakes.weights(), factor=1.0001)
    other = save_artifact(fakes.contents(tmp_path / "model", table=finer), tmp_path / "finer")
    assert load_file(other.folder / "model.safetensors")["conv.weight.scale"].dtype == np.float32
    assert other.scale_table().signature == finer.signature


def damage(folder, *, note=None, tensors=None):
    path = folder / "model.safetensors"
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        notes = json.loads(file.metadata()["speechquant"])
    if note:
        note(notes["packed"]["conv.weight"])
    if tensors:
        tensors(arrays)
    save_file(arrays, path, metadata={"speechquant": json.dumps(notes)})


def problems(folder):
    found = verify_artifact(folder).problems
    return [text for text in found if "SHA-256" not in text and "bytes instead" not in text]


def test_another_group_size_is_found(saved):
    damage(saved.folder, note=lambda packing: packing.update(group_size=5))
    assert problems(saved.folder) == ["conv.weight: groups of 5 in model.safetensors, 4 in quantization.json"]
    damage(saved.folder, note=lambda packing: packing.update(group_size=0))
    assert "malformed" in problems(saved.folder)[0]


def test_too_few_scales_are_found(saved):
    damage(
        saved.folder, tensors=lambda arrays: arrays.update({"conv.weight.scale": np.ones((6, 3), np.float16)})
    )
    assert "conv.weight: scales of shape (6, 3) instead of (6, 4)" in problems(saved.folder)
    with pytest.raises(ArtifactError, match=r"the scales of conv\.weight do not fit"):
        saved.tensors()["conv.weight"]


def test_scales_of_another_kind_are_refused(saved):
    damage(saved.folder, tensors=lambda arrays: arrays.update({"conv.weight.scale": np.ones(6, np.float32)}))
    with pytest.raises(ArtifactError, match="not one scale per group"):
        saved.scale_table()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"group_size": None}, "a group size belongs to scales per group"),
        ({"granularity": "channel"}, "a group size belongs to scales per group"),
        ({"role": "input", "tensor": None}, "activations have no scales per group"),
    ],
)
def test_a_site_that_contradicts_itself_is_refused(saved, change, text):
    path = saved.folder / "quantization.json"
    values = json.loads(path.read_text())
    values["sites"][0].update(change)
    path.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=text):
        verify_artifact(saved.folder)
