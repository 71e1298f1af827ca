"""What the page says of the tensors of a trained model is what its table says, and what went through it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from speechquant.jobs.learn_recipe import load_learn_recipe
from speechquant.jobs.learning import job, learn
from speechquant.jobs.learning.methods import compress
from speechquant.jobs.learning.sites import activation_sites, weight_sites
from speechquant.simulation import quantized

SHORT = {"steps": 1, "batch": 2, "evaluate_every": 1, "threads": 1}


class Finished(Exception):
    """The method is done, which is all that these tests want."""


@pytest.fixture
def compressed(corpora, tiny, tmp_path, monkeypatch):
    def stop(session, work):
        raise Finished(session, compress(session, work))

    def run(**settings):
        monkeypatch.setattr(job, "compress", stop)
        roles = {role: corpora[role] for role in ("train", "dev")}
        model = str(tiny("hubert-large"))
        with pytest.raises(Finished) as caught:
            learn(load_learn_recipe(model=model, output=tmp_path / "out", **roles, **settings))
        return caught.value.args

    return run


def test_every_tensor_of_a_trained_model_is_shown_in_the_order_of_the_model(compressed, corpora):
    session, found = compressed(method="qat", bits="w4a8", exclude=("conv.1",), **SHORT)
    inputs, weights = activation_sites(session, found), weight_sites(session, found)
    layers = [layer for layer in session.model.layers() if layer != "conv.1"]
    assert list(dict.fromkeys(site.layer for site in inputs)) == layers
    assert list(dict.fromkeys(site.layer for site in weights)) == layers
    assert len(inputs) + len(weights) == len(found.table)
    for site in inputs:
        scale = float(found.table.get(site.site).scale)
        assert (site.bits, site.scale) == (8, scale)
        assert site.thresholds == {"max": site.histogram.maximum, "chosen": scale * 127}
    for site in weights:
        assert (site.bits, site.sharing, site.rounded) == (4, "output channel", None)
        assert site.scales == found.table.get(f"{site.operator}:weight").scale.size


def test_amplitudes_are_those_of_the_model_with_its_weights_on_the_grid(compressed, corpora):
    session, found = compressed(method="qat", bits="w4a8", **SHORT)
    last = activation_sites(session, found)[-1]
    weights = type(found.table)({e.site.name: e for e in found.table if e.site.role == "weight"})
    seen = []
    operator = session.model.operator(last.site.removesuffix(":input"))
    handle = operator.register_forward_pre_hook(lambda _, inputs: seen.append(float(inputs[0].abs().max())))
    with quantized(session.model, weights), torch.inference_mode():
        for utterance in session.roles.train:
            session.model.observe(soundfile.read(utterance.audio, dtype="float32")[0])
    handle.remove()
    assert last.histogram.maximum == pytest.approx(max(seen), rel=1e-6)
    assert not operator._forward_pre_hooks


def test_speech_that_is_gone_costs_the_picture_alone(compressed, monkeypatch):
    session, found = compressed(method="qat", bits="w8a8", **SHORT)
    monkeypatch.setattr("speechquant.jobs.learning.sites.iter_loaded", lambda *_, **__: iter(()))
    assert activation_sites(session, found) == ()


def test_errors_of_rounding_are_shown_where_no_training_followed(compressed):
    session, found = compressed(
        method="allocate", criterion="fisher", probe_utterances=1, average_bits=4, rounding="gptq"
    )
    assert activation_sites(session, found) == ()
    shown = weight_sites(session, found)
    bits = {choice.module: choice.bits for choice in found.allocation.choices}
    assert {site.operator: site.bits for site in shown if site.operator in bits} == bits
    assert np.mean([site.rounded < site.nearest for site in shown]) > 0.8


def test_a_control_has_no_quantized_tensors(compressed):
    session, found = compressed(method="float", **SHORT)
    assert activation_sites(session, found) == weight_sites(session, found) == ()
