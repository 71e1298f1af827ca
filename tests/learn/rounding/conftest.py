from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from speechquant.simulation import activation_table, observe, weight_table

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["ctc", "moonshine"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def waves(waves):
    """Fewer, for what runs several times over them."""
    return waves[:3]


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
