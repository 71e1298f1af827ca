from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from speechquant.data import Corpus, Utterance
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.simulation import activation_table, observe, weight_table

torch.set_num_threads(1)

ARCHITECTURES = {"ctc": "hubert-large", "moonshine": "moonshine-tiny"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of tiny random models by family."""
    found = {name: tmp_path_factory.mktemp(name) for name in ARCHITECTURES}
    for name, folder in found.items():
        random_model(ARCHITECTURES[name], folder, tiny=True, seed=3)
    return found


@pytest.fixture
def model(folders):
    """A model of a family that the test may change; dropout and SpecAugment off unless asked for."""

    def make(family="ctc", **settings):
        found = load_model(folders[family])
        quiet = {"apply_spec_augment": False, "layerdrop": 0.0}
        for name, value in (quiet | settings).items():
            setattr(found.config, name, value)
        for part in found.module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = settings.get("dropout", 0.0)
            for name in ("dropout", "attention_dropout"):
                if isinstance(getattr(part, name, None), float):
                    setattr(part, name, settings.get("dropout", 0.0))
        return found

    return make


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """Six recordings of noise, two of them of equal length, with different words."""
    folder, rng = tmp_path_factory.mktemp("train"), np.random.default_rng(11)
    words = ("THE CAT", "A DOG", "HE SAT", "NO MORE", "THE END", "SO IT IS")
    made = []
    for index, text in enumerate(words):
        path = folder / f"{index}.wav"
        samples = 6400 + 800 * min(index, 4)
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16_000)
        made.append(Utterance(str(index), path, text))
    return Corpus("train", tuple(made))


@pytest.fixture
def table_of():
    """Scales of all sites of a model, found on noise."""

    def make(found, bits=(8, 8), method="mse"):
        rng = np.random.default_rng(5)
        waves = [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in (6400, 8000)]
        histograms = observe(found, waves)
        inputs = activation_table(found.sites(), histograms=histograms, calibrator="percentile", bits=bits[1])
        return weight_table(found, found.sites(), bits=bits[0], method=method).merged(inputs)

    return make
