from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(params=["ctc", "moonshine"])
def model(request):
    return request.getfixturevalue(request.param)
