from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

from speechquant.models import MoonshineModel, load_model
from speechquant.models.random import random_model


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / "moonshine-tiny")


@pytest.fixture(scope="module")
def oracle(trained):
    folder = trained / "moonshine-tiny"
    return AutoProcessor.from_pretrained(folder), AutoModelForSpeechSeq2Seq.from_pretrained(
        folder, dtype=torch.float32
    ).eval()


def test_layers(model):
    blocks = [f"{side}.{i}" for side in ("encoder", "decoder") for i in range(6)]
    assert model.layers() == ("input", "conv.0", "conv.1", *blocks, "head")
    layers = {site.module: site.layer for site in model.sites()}
    assert layers["model.encoder.conv1"] == "input"
    assert layers["model.decoder.layers.3.encoder_attn.k_proj"] == "decoder.3"
    assert layers["proj_out"] == "head"
    assert model.operator("proj_out").weight is model.module.model.decoder.embed_tokens.weight
    assert model.writes_punctuation


def test_text_is_that_of_generate(model, oracle, clips):
    processor, network = oracle
    ours = model.recognizer().recognize(clips)
    for wave, found in zip(clips, ours, strict=True):
        inputs = processor(wave, sampling_rate=16_000, return_tensors="pt")
        limit = int(6.5 * wave.size / 16_000) + 4
        ids = network.generate(**inputs, max_new_tokens=limit)
        assert found.text == processor.batch_decode(ids, skip_special_tokens=True)[0]
        assert found.text
        assert not found.capped


def test_batches_do_not_change_text(model, clips):
    recognizer = model.recognizer()
    assert recognizer.recognize(clips) == [recognizer.recognize([wave])[0] for wave in clips]
    assert recognizer.recognize([]) == []


def test_step_logits_are_those_of_the_whole_decoder(tmp_path, noise):
    """Random weights, two rows of unlike length: cached steps against one teacher-forced pass per row."""
    model = random_model("moonshine-tiny", tmp_path, tiny=True)
    assert isinstance(model, MoonshineModel)
    encode, step = (part.module for part in model.parts())
    waves = [torch.from_numpy(noise(9000, 1))[None], torch.from_numpy(noise(4000, 2))[None]]
    ids = torch.tensor([[1, 7, 9, 5, 7], [1, 20, 3, 30, 12]])
    with torch.no_grad():
        encoded = [encode(wave) for wave in waves]
        longest = max(caches[0].shape[2] for caches in encoded)
        sizes = torch.tensor([caches[0].shape[2] for caches in encoded])
        mask = torch.arange(longest)[None] < sizes[:, None]
        cross = [
            torch.cat([torch.nn.functional.pad(c, (0, 0, 0, longest - c.shape[2]), value=9.0) for c in same])
            for same in zip(*encoded, strict=True)
        ]
        own = [c[:, :, :0] for c in cross]
        for position in range(ids.shape[1]):
            logits, own = step(ids[:, position : position + 1], torch.tensor([position]), mask, own, cross)
            for row, wave in enumerate(waves):
                whole = model.module(wave, decoder_input_ids=ids[row : row + 1, : position + 1]).logits
                torch.testing.assert_close(logits[row], whole[0, -1], atol=1e-5, rtol=1e-4)


def test_a_wave_shorter_than_one_frame_is_recognised(model):
    (found,) = model.recognizer().recognize([np.full(10, 0.1, dtype=np.float32)])
    assert len(found.tokens) <= 4


def test_a_broken_network_stops(model, clips):
    """A head that says one token for ever runs into the repetition limit, and says so."""

    def stuck(_module, _inputs, output):
        return torch.zeros_like(output).index_fill_(-1, torch.tensor([450]), 1.0)

    handle = model.operator("proj_out").register_forward_hook(stuck)
    try:
        found = model.recognizer(signature="stuck").recognize(clips)
    finally:
        handle.remove()
    assert all(row.capped for row in found)
    assert all(len(row.tokens) <= 16 for row in found)


def test_observation_shows_the_decoder_every_token(model, clips):
    rows = []
    handle = model.operator("proj_out").register_forward_pre_hook(
        lambda _, inputs: rows.append(inputs[0].shape)
    )
    try:
        model.observe(clips[0])
        written = len(rows)
    finally:
        handle.remove()
    (found,) = model.recognizer().recognize([clips[0]])
    assert written == len(found.tokens) + 1
    assert set(rows) == {(1, 1, 288)}
