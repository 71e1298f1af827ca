from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from onnx_ir.tensor_adapters import TorchTensor

from speechquant.engines.export import write
from speechquant.models.random import random_model

torch.set_num_threads(1)

TRAINING = "dropout", "layerdrop", "spec_augment", "mask_"
"""In names of settings of a configuration that do nothing outside a training."""


@pytest.fixture(scope="session", autouse=True)
def _one_trace_for_all():
    """Models of one configuration are traced once, which is most of the time of a job; weights are their own."""
    traced, plain = {}, write.trace

    def trace(model, part):
        config = json.loads((model.folder / "config.json").read_text())
        acting = {name: value for name, value in config.items() if not any(word in name for word in TRAINING)}
        key = json.dumps(acting), part.name
        if key not in traced:
            traced[key] = plain(model, part)
        found = traced[key].clone()
        tensors = dict(part.module.named_parameters(remove_duplicate=False))
        tensors |= dict(part.module.named_buffers(remove_duplicate=False))
        for name, value in found.graph.initializers.items():
            if name in tensors:
                value.const_value = TorchTensor(tensors[name], name=name)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "trace", trace)
        yield


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """Three folders of noise with texts."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for role, count in (("train", 5), ("dev", 2), ("test", 2)):
        (root / role).mkdir()
        for i in range(count):
            noise = (0.1 * rng.standard_normal(6400 + 1000 * i)).astype(np.float32)
            soundfile.write(root / role / f"{role}{i}.wav", noise, 16_000)
            (root / role / f"{role}{i}.txt").write_text("SOME MORE WORDS")
    return {role: str(root / role) for role in ("train", "dev", "test")}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of tiny random models by architecture."""
    made = {}

    def make(arch):
        if arch not in made:
            made[arch] = tmp_path_factory.mktemp(arch)
            random_model(arch, made[arch], tiny=True, seed=1)
        return made[arch]

    return make


@pytest.fixture
def calm(tiny, tmp_path):
    """Folders of a CTC model without dropout and masks, whose losses have no chance in them, unless settings say so."""

    def make(**settings):
        source, folder = tiny("hubert-large"), tmp_path / f"calm{len(list(tmp_path.glob('calm*')))}"
        shutil.copytree(source, folder)
        config = json.loads((source / "config.json").read_text())
        still = {name: 0.0 for name in config if "dropout" in name or name == "layerdrop"}
        config |= {**still, "apply_spec_augment": False, **settings}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.fixture(scope="session")
def history():
    def read(folder):
        return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]

    return read
