"""What must hold for every architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.utils import _pytree as pytree

from speechquant.errors import ModelError
from speechquant.models import load_model
from speechquant.models.random import ARCHITECTURES, random_model

CTC = [name for name in ARCHITECTURES if not name.startswith("moonshine")]


@pytest.fixture(scope="module")
def models(random_models):
    return random_models()


def untouched(model):
    """The network as transformers loads it: weight normalisation and its own attention in place."""
    names = {"hubert": "Hubert", "wavlm": "WavLM", "data2vec-audio": "Data2VecAudio", "wav2vec2": "Wav2Vec2"}
    names |= {"unispeech": "UniSpeech", "unispeech-sat": "UniSpeechSat"}
    cls = getattr(transformers, names[model.model_type] + "ForCTC")
    return cls.from_pretrained(model.folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_site_sees_data(models, arch, noise):
    model = models(arch)
    seen = set()
    handles = [
        part.register_forward_hook(lambda *_, name=name: seen.add(name))
        for name, part in model.module.named_modules()
        if isinstance(part, nn.Conv1d | nn.Linear)
    ]
    model.observe(noise(8000))
    for handle in handles:
        handle.remove()
    assert {site.module for site in model.sites()} == seen


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_sites_cover_every_operator_with_input_and_weight(models, arch):
    model = models(arch)
    operators = [n for n, part in model.module.named_modules() if isinstance(part, nn.Conv1d | nn.Linear)]
    assert [site.name for site in model.sites()] == [
        f"{n}:{role}" for n in operators for role in ("input", "weight")
    ]
    assert len({id(model.operator(site.module)) for site in model.sites()}) == len(operators)
    assert set(model.layers()) == {site.layer for site in model.sites()}


@pytest.mark.parametrize("arch", CTC)
def test_layers_of_ctc(models, arch):
    convs = [f"conv.{i}" for i in range(6)]
    blocks = ["transformer.0", "transformer.1"]
    assert models(arch).layers() == ("input", *convs, "projection", "pos_conv", *blocks, "lm_head")


@pytest.mark.parametrize("arch", CTC)
def test_output_is_that_of_transformers(models, arch, noise):
    model = models(arch)
    oracle = untouched(model)
    waves = torch.from_numpy(np.stack([noise(6000, 1), noise(6000, 2)]))
    mask = torch.ones(2, 6000, dtype=torch.long)
    mask[1, 4000:] = 0
    with torch.no_grad():
        for options in ({}, {"attention_mask": mask}):
            torch.testing.assert_close(
                model.module(waves, **options).logits, oracle(waves, **options).logits, atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("arch", CTC)
def test_padding_leaks_exactly_where_the_model_says_so(models, arch, noise):
    model = models(arch)
    wave = noise(6000)
    padded = torch.zeros(1, 12_000)
    padded[0, :6000] = torch.from_numpy(wave)
    mask = (torch.arange(12_000) < 6000).long()[None]
    with torch.no_grad():
        alone = model.module(torch.from_numpy(wave)[None]).logits[0]
        together = model.module(padded, attention_mask=mask).logits[0, : len(alone)]
    same = torch.allclose(alone, together, atol=1e-4)
    assert same is not model.length_exact


@pytest.mark.parametrize("arch", ["wav2vec2-base", "hubert-large", "wavlm-large", "data2vec-audio-base"])
def test_batches_do_not_change_transcripts(models, arch, noise):
    model = models(arch)
    waves = [noise(size, size) for size in (9000, 100, 5000, 9000, 400, 12_345)]
    recognizer = model.recognizer()
    together = recognizer.recognize(waves)
    alone = [recognizer.recognize([wave])[0] for wave in waves]
    assert together == alone
    assert together[1].frames
    with torch.no_grad():
        best = model.module(model.features(waves[2])).logits[0].argmax(-1)
    assert together[2].frames == tuple(best.tolist())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_float_network_is_frozen(models, arch):
    module = models(arch).module
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert not any(nn.utils.parametrize.is_parametrized(part) for part in module.modules())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_minimum_is_the_receptive_field(models, arch):
    model = models(arch)
    minimum = model.runtime.minimum_samples
    run = model.parts()[0].module
    with torch.no_grad():
        shortest = pytree.tree_leaves(run(torch.zeros(1, minimum)))[0]
        assert shortest.shape[-2] == 1
        with pytest.raises(RuntimeError):
            run(torch.zeros(1, minimum - 1))


@pytest.mark.parametrize("arch", ["hubert-large", "moonshine-tiny"])
def test_parts_describe_their_graphs(models, arch):
    model = models(arch)
    covered = set()
    for part in model.parts():
        with torch.no_grad():
            outputs = pytree.tree_leaves(part.module(*part.inputs))
        assert len(outputs) == len(part.output_names)
        assert len(pytree.tree_leaves(part.inputs)) == len(part.input_names)
        assert all(part.module.get_submodule(k) is model.operator(v) for k, v in part.operators.items())
        covered |= set(part.operators.values())
    assert covered == {site.module for site in model.sites()}


def test_signature_follows_weights_and_vocabulary(tmp_path):
    first = random_model("hubert-large", tmp_path / "a", tiny=True)
    again = random_model("hubert-large", tmp_path / "b", tiny=True)
    other = random_model("hubert-large", tmp_path / "c", tiny=True, seed=1)
    assert first.signature == again.signature == load_model(tmp_path / "a").signature
    assert first.signature != other.signature
    vocabulary = tmp_path / "b" / "vocab.json"
    vocabulary.write_text(vocabulary.read_text().replace('"A"', '"Ä"'))
    assert load_model(tmp_path / "b").signature != first.signature
    assert first.recognizer().signature == first.results_signature
    assert first.recognizer(signature="x").signature == "x"


def test_random_models_leave_the_random_state_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_model("moonshine-tiny", tmp_path, tiny=True)
    assert torch.equal(torch.rand(3), expected)


def test_unknown_random_model(tmp_path):
    with pytest.raises(ModelError, match="wav2vec2-base"):
        random_model("wav2vec3", tmp_path)
