"""Divergence by hand, also where blocks before the changed operator are not computed again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from speechquant.errors import DataError
from speechquant.learn.allocation import Speech


@pytest.fixture
def waves():
    rng = np.random.default_rng(5)
    return [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in (6400, 8000)]


def run(model, speech):
    """Logits of every utterance by the network alone."""
    with torch.no_grad():
        return [
            model.module(p.features, **({} if p.tokens is None else {"decoder_input_ids": p.tokens}))
            .logits[0]
            .numpy()
            for p in speech.passages
        ]


@pytest.mark.parametrize("family", ["ctc", "moonshine"])
def test_divergence_with_any_other_weight(model, waves, family):
    found = model(family)
    speech = Speech(found, waves)
    before = run(found, speech)
    assert speech.positions == sum(len(said) for said in before)
    for site in (site for site in found.sites() if site.role == "weight"):
        weight = found.operator(site.module).get_parameter("weight")
        original, other = weight.data, weight.data * 1.3
        seen = speech.divergence_with(site.module, other)
        assert torch.equal(weight.data, original)
        weight.data = other
        after = run(found, speech)
        weight.data = original
        pairs = zip(before, after, strict=True)
        each = [rel_entr(np.exp(log_softmax(a, -1)), np.exp(log_softmax(b, -1))).sum() for a, b in pairs]
        assert seen == pytest.approx(sum(each) / speech.positions, rel=1e-3, abs=1e-6), site.module
    assert all(np.array_equal(a, b) for a, b in zip(before, run(found, speech), strict=True))


def test_nothing_is_left_behind(model, waves):
    found = model("moonshine")
    speech = Speech(found, waves[:1])
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in found.module.modules()]
    assert not any(hooks)
    with speech.gradients(["proj_out"]) as weights:
        assert weights["proj_out"].requires_grad
    assert not any(part.requires_grad for part in found.module.parameters())
    assert not any("forward" in vars(part) for part in found.module.modules())


def test_no_speech(model):
    with pytest.raises(DataError, match="need speech"):
        Speech(model("ctc"), [])
