from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechquant.models.random import random_model
from speechquant.simulation import activation_table, observe, weight_table

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def ctc(tmp_path_factory):
    return random_model("hubert-large", tmp_path_factory.mktemp("ctc"), tiny=True)


@pytest.fixture(scope="session")
def moonshine(tmp_path_factory):
    return random_model("moonshine-tiny", tmp_path_factory.mktemp("moonshine"), tiny=True)


@pytest.fixture(params=["ctc", "moonshine"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def waves():
    rng = np.random.default_rng(7)
    return [
        (level * rng.standard_normal(size)).astype(np.float32)
        for level, size in ((0.05, 6400), (0.2, 9000), (0.1, 4800))
    ]


@pytest.fixture
def table_of(waves):
    """Scales of weights, and of inputs unless `inputs` is None."""

    def make(model, bits=4, inputs=8):
        table = weight_table(model, model.sites(), bits=bits)
        if inputs is None:
            return table
        histograms = observe(model, waves)
        return table.merged(
            activation_table(model.sites(), histograms=histograms, calibrator="max", bits=inputs)
        )

    return make
