"""Models with random weights in the shape of published ones, for tests and for speed measurements."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
import transformers

from speechquant.errors import ModelError
from speechquant.models.load import load_model
from speechquant.models.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from speechquant.models.base import SpeechModel

__all__ = ["ARCHITECTURES", "random_model"]

_LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_CTC_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
_MOONSHINE_TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 2,
    "encoder_num_attention_heads": 4,
    "decoder_num_attention_heads": 4,
}
_MOONSHINE_BASE = {
    "hidden_size": 416,
    "intermediate_size": 1664,
    "encoder_num_hidden_layers": 8,
    "decoder_num_hidden_layers": 8,
    "partial_rotary_factor": 0.62,
}

ARCHITECTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "wav2vec2-base": ("Wav2Vec2", {}),
    "wav2vec2-large": ("Wav2Vec2", _LARGE),
    "wav2vec2-large-lv60": ("Wav2Vec2", _LARGE | _LAYER_NORM),
    "hubert-base": ("Hubert", {}),
    "hubert-large": ("Hubert", _LARGE | _LAYER_NORM),
    "wavlm-base": ("WavLM", {}),
    "wavlm-large": ("WavLM", _LARGE | _LAYER_NORM),
    "data2vec-audio-base": ("Data2VecAudio", {}),
    "data2vec-audio-large": ("Data2VecAudio", _LARGE),
    "unispeech-large": ("UniSpeech", _LARGE | _LAYER_NORM),
    "unispeech-sat-base": ("UniSpeechSat", {}),
    "unispeech-sat-large": ("UniSpeechSat", _LARGE | _LAYER_NORM),
    "moonshine-tiny": ("Moonshine", {}),
    "moonshine-base": ("Moonshine", _MOONSHINE_BASE),
}
"""Name -> (prefix of the classes in transformers, settings that differ from the defaults there)."""


def random_model(arch: str, folder: Path, *, seed: int = 0, tiny: bool = False) -> SpeechModel:
    """Write a model with random weights and a small vocabulary to `folder`, and load it.

    Norms, biases and position biases get random values too, which a fresh network leaves at 0 and 1; so an
    adapter that forgets one is found out.

    Args:
        arch: one of `ARCHITECTURES`.
        folder: where the files go; it may be thrown away once the model is loaded.
        seed: of the weights. The global random state is left alone.
        tiny: keep the structure of the architecture but shrink it to some ten thousand weights.

    Raises:
        ModelError: `arch` is not one of `ARCHITECTURES`.
    """
    if arch not in ARCHITECTURES:
        raise ModelError(f"no random model {arch!r}; choose one of {', '.join(ARCHITECTURES)}")
    prefix, settings = ARCHITECTURES[arch]
    speaks = prefix == "Moonshine"
    small = (_MOONSHINE_TINY if speaks else _CTC_TINY) if tiny else {}
    fixed = {
        "vocab_size": len(_LETTERS),
        **({"bos_token_id": 1, "eos_token_id": 2} if speaks else {"pad_token_id": 0}),
    }
    config = getattr(transformers, f"{prefix}Config")(**{**settings, **small, **fixed})
    head = "ForConditionalGeneration" if speaks else "ForCTC"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = getattr(transformers, prefix + head)(config)
        _shake(network)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        network.save_pretrained(folder)
    _write_files(folder, speaks=speaks)
    return load_model(folder)


@torch.no_grad()
def _shake(network: torch.nn.Module) -> None:
    for parameter in network.parameters():
        if parameter.squeeze().dim() <= 1:
            parameter.add_(0.1 * torch.randn_like(parameter))


def _write_files(folder: Path, *, speaks: bool) -> None:
    ids = {letter: i for i, letter in enumerate(_LETTERS)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    specials = [{"id": i, "content": _LETTERS[i], **plain} for i in range(4)]
    files: dict[str, dict[str, Any]] = {
        "preprocessor_config.json": {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "sampling_rate": 16_000,
            "padding_value": 0.0,
            "do_normalize": not speaks,
            "return_attention_mask": True,
        }
    }
    if speaks:
        model = {"type": "BPE", "vocab": ids, "merges": [], "unk_token": "<unk>"}
        spaces = {"type": "Replace", "pattern": {"String": "|"}, "content": " "}
        decoder = {"type": "Sequence", "decoders": [spaces, {"type": "Fuse"}]}
        files["tokenizer.json"] = {
            "version": "1.0",
            "added_tokens": specials,
            "decoder": decoder,
            "model": model,
        }
    else:
        files["vocab.json"] = ids
        files["tokenizer_config.json"] = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>"}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
