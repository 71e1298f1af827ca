from __future__ import annotations

import json
import pickle
import re
from fnmatch import fnmatch

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from speechquant.errors import ModelError
from speechquant.models import load_model
from speechquant.models.random import random_model


@pytest.fixture
def folder(tmp_path):
    random_model("hubert-large", tmp_path / "model", tiny=True)
    return tmp_path / "model"


def refused(source, *words):
    with pytest.raises(ModelError) as caught:
        load_model(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reweigh(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_half_precision_is_loaded_as_float(trained):
    model = load_model(str(trained / "hubert-mini-ctc"))
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    names = {path.name for path in model.kept_files}
    assert {"config.json", "preprocessor_config.json", "vocab.json"} <= names
    assert "model.safetensors" not in names
    assert not model.writes_punctuation


def test_sharded_weights(folder):
    whole = load_model(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for part, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / part, metadata={"format": "pt"})
    table = {name: part for part, held in parts.items() for name in held}
    index = {"metadata": {"total_size": 1}, "weight_map": table}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert load_model(folder).signature == whole.signature
    (folder / "b.safetensors").unlink()
    refused(folder, "b.safetensors", "missing")


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        {},
        {"lm_head.weight": 7},
        {"lm_head.weight": "../model.safetensors"},
        {"lm_head.weight": "/etc/passwd"},
        {"lm_head.weight": ["a"]},
        {"lm_head.weight": "pytorch_model.bin"},
    ],
)
def test_an_index_that_leads_elsewhere(folder, table):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    refused(folder, "model.safetensors.index.json", "fetch")


@pytest.mark.parametrize("shape", [(), (32,), (32, 4, 1)])
def test_an_output_layer_of_another_shape(folder, shape):
    reweigh(folder, lambda weights: weights.update({"lm_head.weight": torch.ones(shape)}))
    refused(folder, "lm_head.weight", "shape", "(vocabulary, channels)")


def test_licence_files_are_kept_and_nothing_else(folder):
    licences = ["COPYING", "LICENCE.txt", "LICENSE", "LICENSE-weights.md", "NOTICE", "license.txt"]
    for name in [*licences, "notes.txt", "README.md"]:
        (folder / name).write_text("x")
    (folder / "LICENSES").mkdir()
    kept = {path.name for path in load_model(folder).kept_files}
    assert set(licences) <= kept
    assert not {"notes.txt", "README.md", "LICENSES", "model.safetensors"} & kept


def test_the_hub_is_asked_for_the_card_and_the_licence(folder, monkeypatch):
    offered = {"config.json", "model.safetensors", "README.md", "LICENSE", "NOTICE.txt", "COPYING"}
    refused_files = {"pytorch_model.bin", "modeling_custom.py", "flax_model.msgpack"}

    def download(name, *, allow_patterns):
        fetched = {n for n in offered | refused_files if any(fnmatch(n, p) for p in allow_patterns)}
        assert fetched == offered
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_model("someone/model").model_type == "hubert"


def test_no_such_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "not a folder")
    refused("./nowhere", "not a folder")


def test_hub_without_a_connection(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/no-such-model-here", "nobody/no-such-model-here", "hub")


def test_no_config(folder):
    (folder / "config.json").unlink()
    refused(folder, "config.json")


def test_broken_config(folder):
    (folder / "config.json").write_text("{")
    refused(folder, "config.json", "JSON")


def test_unknown_architecture_lists_the_supported(folder):
    rewrite(folder, model_type="whisper")
    refused(folder, "'whisper'", "hubert", "moonshine", "wavlm")


def test_an_encoder_without_head(folder):
    reweigh(folder, lambda weights: (weights.pop("lm_head.weight"), weights.pop("lm_head.bias")))
    refused(folder, "lm_head", "HubertForCTC")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder, bad):
    def spoil(weights):
        weights["hubert.encoder.layers.1.attention.k_proj.weight"][3, 2] = bad

    reweigh(folder, spoil)
    refused(folder, "hubert.encoder.layers.1.attention.k_proj.weight", "NaN")


def test_missing_weights(folder):
    reweigh(folder, lambda weights: weights.pop("hubert.encoder.layer_norm.weight"))
    refused(folder, "1 weights are missing", "hubert.encoder.layer_norm.weight")


@pytest.mark.parametrize(
    ("arch", "setting", "first"),
    [
        ("hubert-large", "num_hidden_layers", "hubert.encoder.layers.1.attention.k_proj.bias"),
        ("data2vec-audio-base", "num_conv_pos_embeddings", "data2vec_audio.encoder.pos_conv_embed.layers.1."),
        ("wavlm-base", "num_hidden_layers", "wavlm.encoder.layers.1."),
        ("moonshine-tiny", "decoder_num_hidden_layers", "model.decoder.layers.1."),
    ],
)
def test_weights_without_a_place_in_the_configuration(tmp_path, arch, setting, first):
    random_model(arch, tmp_path, tiny=True)
    rewrite(tmp_path, **{setting: 1})
    refused(tmp_path, "no place for", first, "fetch")


def test_weights_of_an_adapter_that_the_configuration_leaves_out(tmp_path):
    random_model("wav2vec2-base", tmp_path, tiny=True)
    reweigh(
        tmp_path, lambda weights: weights.update({"wav2vec2.adapter.layers.0.conv.weight": torch.ones(3)})
    )
    refused(tmp_path, "no place for", "wav2vec2.adapter.layers.0.conv.weight")


@pytest.mark.parametrize(
    ("arch", "learner"),
    [
        ("wav2vec2-base", "Wav2Vec2ForPreTraining"),
        ("unispeech-large", "UniSpeechForPreTraining"),
        ("unispeech-sat-base", "UniSpeechSatForPreTraining"),
    ],
)
@pytest.mark.parametrize("names", [("weight_g", "weight_v"), ("original0", "original1")])
def test_what_is_left_over_from_pre_training(tmp_path, arch, learner, names):
    whole = random_model(arch, tmp_path, tiny=True)
    trainer = getattr(transformers, learner)(whole.config)
    stem = f"{trainer.base_model_prefix}.encoder.pos_conv_embed.conv."

    def leave(weights):
        heads = {n: t for n, t in trainer.state_dict().items() if not n.startswith(trainer.base_model_prefix)}
        assert {"project_hid.weight", "project_q.weight", "quantizer.codevectors"} <= heads.keys()
        weights.update(heads)
        if names[0] == "weight_g":
            for old, new in zip(names, ("original0", "original1"), strict=True):
                weights[stem + old] = weights.pop(f"{stem}parametrizations.weight.{new}")

    reweigh(tmp_path, leave)
    assert load_model(tmp_path).signature == whole.signature


def test_the_embedding_of_masked_frames_has_no_place_where_nothing_is_masked(folder):
    rewrite(folder, mask_time_prob=0.0, mask_feature_prob=0.0)
    assert "hubert.masked_spec_embed" in load_file(folder / "model.safetensors")
    assert "hubert.masked_spec_embed" not in load_model(folder).module.state_dict()


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    refused(folder, "model.safetensors", "damaged")


def test_pickles_are_never_loaded(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    refused(folder, "model.safetensors", "pytorch_model.bin", "save_pretrained")
    assert not (tmp_path / "exploded").exists()


def test_no_vocabulary(folder):
    (folder / "vocab.json").unlink()
    refused(folder, "no vocabulary")


def test_vocabulary_that_is_too_small(folder):
    path = folder / "vocab.json"
    table = json.loads(path.read_text())
    del table["Z"]
    path.write_text(json.dumps(table))
    refused(folder, "vocabulary size mismatch", "32")


def test_config_and_head_disagree(folder):
    rewrite(folder, vocab_size=31)
    refused(folder, "vocabulary size mismatch", "31", "32")


STRIDES = [5, 2, 2, 2, 2, 2, 2]
IMPOSSIBLE = [
    ({"num_hidden_layers": "two"}, ["num_hidden_layers", "'two'"]),
    ({"num_hidden_layers": -1}, ["num_hidden_layers", "-1"]),
    ({"num_attention_heads": 0}, ["num_attention_heads", "positive integer"]),
    ({"num_attention_heads": 5}, ["HubertForCTC", "num_heads"]),
    ({"hidden_size": 0}, ["hidden_size"]),
    ({"layer_norm_eps": "x"}, ["HubertForCTC", "layer_norm_eps", "float"]),
    ({"hidden_act": "nope"}, ["'nope' is not known"]),
    ({"conv_kernel": [10, 3, 3]}, ["conv_kernel 3", "conv_stride 7"]),
    ({"conv_kernel": 5}, ["conv_kernel", "list"]),
    ({"conv_stride": [*STRIDES[:-1], 0]}, ["conv_stride", "positive"]),
    ({"num_feat_extract_layers": 3}, ["HubertForCTC", "convolutional layers"]),
    ({"vocab_size": "31"}, ["vocab_size", "'31'"]),
    ({"vocab_size": 32.0}, ["vocab_size"]),
    ({"_attn_implementation": "flash_attention_2"}, ["HubertForCTC", "FlashAttention2"]),
]


@pytest.mark.parametrize(("changes", "words"), IMPOSSIBLE)
def test_a_configuration_that_nothing_can_be_built_from(folder, changes, words):
    tensors = {name: value.numpy() for name, value in load_model(folder).module.state_dict().items()}
    rewrite(folder, **changes)
    refused(folder, str(folder), "config.json", *words)
    # An artifact has the configuration without these files of weights.
    with pytest.raises(ModelError, match=re.escape(words[0])):
        load_model(folder, tensors=tensors)


@pytest.mark.parametrize("method", [{"quant_method": "bitsandbytes", "load_in_8bit": True}, {}, 8])
def test_a_model_that_is_quantized_already(folder, method):
    rewrite(folder, quantization_config=method)
    refused(folder, "config.json", "quantized already", "float model")


def test_weights_of_another_width_than_the_configuration(folder):
    rewrite(folder, hidden_size=48)
    refused(folder, "hubert.encoder.layer_norm.bias", "(32,)", "config.json wants (48,)", "fetch")


@pytest.mark.parametrize("end", [None, [1, 2], -1, 32])
def test_a_last_token_that_the_network_cannot_write(tmp_path, end):
    random_model("moonshine-tiny", tmp_path, tiny=True)
    rewrite(tmp_path, eos_token_id=end)
    refused(tmp_path, "config.json", "eos_token_id must be an id below 32")


def test_a_blank_that_the_network_cannot_write(folder):
    random_model("moonshine-tiny", folder.parent / "other", tiny=True)
    (folder.parent / "other" / "tokenizer.json").rename(folder / "tokenizer.json")
    (folder / "vocab.json").unlink()
    rewrite(folder, pad_token_id=None)
    refused(folder, "config.json", "pad_token_id must be an id below 32")


def test_no_preprocessor(folder):
    (folder / "preprocessor_config.json").unlink()
    refused(folder, "preprocessor_config.json")
