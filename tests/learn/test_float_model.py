"""A trained float model as a folder: the same outputs, the same files, also with weight normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from speechquant.learn import save_float_model
from speechquant.models import load_model


@pytest.mark.parametrize("family", ["ctc", "moonshine"])
def test_the_folder_holds_the_trained_model(family, model, tmp_path):
    found = model(family)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in found.module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_float_model(found, tmp_path)
    again = load_model(tmp_path)
    state, expected = again.module.state_dict(), found.module.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)
    assert {path.name for path in again.kept_files} >= {path.name for path in found.kept_files}
    wave = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    assert again.recognizer().recognize([wave])[0].text == found.recognizer().recognize([wave])[0].text


def test_other_tools_read_it(model, tmp_path):
    save_float_model(model("ctc"), tmp_path)
    _, report = transformers.HubertForCTC.from_pretrained(
        tmp_path, local_files_only=True, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
