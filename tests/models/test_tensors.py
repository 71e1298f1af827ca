"""Weights that come from elsewhere than the model's folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from speechquant.errors import ModelError
from speechquant.models import load_model
from speechquant.models.random import random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model("hubert-large", tmp_path_factory.mktemp("model"), tiny=True)


@pytest.fixture
def tensors(model):
    return {name: tensor.numpy().copy() for name, tensor in model.module.state_dict().items()}


@pytest.fixture
def bare(model, tmp_path):
    """The model's small files without its weights."""
    for path in model.kept_files:
        shutil.copy(path, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    return tmp_path


def test_the_same_model_comes_out(model, tensors, bare):
    state = torch.random.get_rng_state()
    again = load_model(bare, tensors=tensors)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.signature == model.signature
    assert again.sites() == model.sites()
    wave = torch.randn(1, 4000)
    with torch.no_grad():
        assert torch.equal(again.module(wave).logits, model.module(wave).logits)


def test_other_weights_are_another_model(model, tensors, bare):
    tensors["lm_head.bias"] = tensors["lm_head.bias"] + 1
    assert load_model(bare, tensors=tensors).signature != model.signature


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("lm_head.bias"), "lm_head.bias"),
        (lambda t: t.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda t: t.update({"lm_head.bias": np.zeros(3, np.float32)}), "the first is lm_head.bias"),
        (lambda t: t["lm_head.bias"].fill(np.nan), "NaN"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors, bare, change, words):
    change(tensors)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(bare, tensors=tensors)
    assert "\n" not in str(caught.value)
