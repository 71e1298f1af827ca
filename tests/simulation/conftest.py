from __future__ import annotations

import numpy as np
import pytest
import torch

from speechquant.models.random import random_model

torch.set_num_threads(1)


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
        for level, size in ((0.05, 6400), (0.2, 9000), (0.1, 4800), (0.01, 8000))
    ]
