"""Moonshine: convolutions on the waveform, a rotary Transformer encoder, an autoregressive decoder."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from speechquant.decoding import RuntimeSpec
from speechquant.errors import ModelError
from speechquant.models.base import ExportPart, SpeechModel, register
from speechquant.models.moonshine_graphs import MoonshineEncode, MoonshineStep
from speechquant.models.moonshine_recognizer import MoonshineRecognizer
from speechquant.models.preprocessor import read_preprocessor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MoonshineModel"]

_BLOCK = re.compile(r"model\.(encoder|decoder)\.layers\.(\d+)\.")
_CONVS = {"model.encoder.conv1": "input", "model.encoder.conv2": "conv.0", "model.encoder.conv3": "conv.1"}
# conv1 has kernel 127 and stride 64, conv2 7 and 3, conv3 3 and 2; the architecture fixes them.
_RECEPTIVE_FIELD = 127 + 6 * 64 + 2 * 64 * 3
_HOP = 64 * 3 * 2


@register({"moonshine": "MoonshineForConditionalGeneration"})
class MoonshineModel(SpeechModel):
    """Waveform -> 3 convolutions -> encoder -> decoder -> head, whose weight is also the token embedding.

    Layers: `input` (waveform into conv1), `conv.0` and `conv.1` (inputs of conv2 and conv3), `encoder.j`,
    `decoder.j` (cross-attention included), `head`. The output of conv3 goes through layer norms into the
    blocks. Quantizing the weight of `proj_out` in place would change the embedding too, as they share it.
    """

    family = "moonshine"
    writes_punctuation = True
    heads = ("model.decoder.embed_tokens.weight", "proj_out.weight")

    def _layer(self, operator: str) -> str:
        if operator in _CONVS:
            return _CONVS[operator]
        match = _BLOCK.match(operator)
        return f"{match[1]}.{match[2]}" if match else "head"

    def _adjust(self) -> None:
        config = self.config
        pairs = (
            (config.encoder_num_attention_heads, config.encoder_num_key_value_heads),
            (config.decoder_num_attention_heads, config.decoder_num_key_value_heads),
        )
        if any(queries != keys for queries, keys in pairs):
            raise ModelError(f"{self.folder}: grouped key-value heads are not supported for Moonshine")
        if config.rope_parameters["rope_type"] != "default":
            kind = config.rope_parameters["rope_type"]
            raise ModelError(f"{self.folder}: rotary embedding {kind!r} is not supported for Moonshine")

    @cached_property
    def runtime(self) -> RuntimeSpec:
        """How to feed the model and read its output, on any engine."""
        preprocessor = read_preprocessor(self.folder)
        return RuntimeSpec(
            task="seq2seq",
            sampling_rate=preprocessor.sampling_rate,
            normalize=preprocessor.normalize,
            # The group norm after conv1 averages over the whole signal, so padding counts.
            length_exact=True,
            minimum_samples=_RECEPTIVE_FIELD,
            frame_seconds=_HOP / preprocessor.sampling_rate,
            writes_punctuation=self.writes_punctuation,
            start=self._token_id("decoder_start_token_id"),
            end=self._token_id("eos_token_id"),
        )

    @cached_property
    def _encode(self) -> MoonshineEncode:
        return MoonshineEncode(self.module).eval()

    @cached_property
    def _step(self) -> MoonshineStep:
        return MoonshineStep(self.module).eval()

    def observe(self, wave: NDArray[np.float32]) -> None:
        """Recognise one utterance alone: the decoder sees the tokens that it writes."""
        self.recognizer().recognize([wave])

    def recognizer(self, *, signature: str | None = None) -> MoonshineRecognizer:
        """Greedy recognition with key-value caches, decoding batched."""
        return MoonshineRecognizer(
            self._encode,
            self._step,
            self.runtime,
            self.vocabulary,
            signature=signature or self.results_signature,
        )

    def parts(self) -> tuple[ExportPart, ...]:
        """Two graphs: `encode` (wave -> cross caches) and `step` (token, caches -> logits, new caches)."""
        wave = torch.zeros(1, self.sampling_rate)
        with torch.inference_mode():
            frames = self._encode(wave)[0].shape[2]
        return (self._encode_part(wave), self._step_part(frames))

    def _encode_part(self, wave: torch.Tensor) -> ExportPart:
        return ExportPart(
            name="encode",
            module=self._encode,
            inputs=(wave,),
            input_names=("wave",),
            output_names=self._cache_names("cross"),
            dynamic_shapes=({1: "samples"},),
            operators=self._operators_in(self._encode),
        )

    def _step_part(self, frames: int) -> ExportPart:
        config = self.config
        heads = config.decoder_num_attention_heads
        width = config.hidden_size // heads
        count, batch, past = 2 * config.decoder_num_hidden_layers, 2, 3
        own, cross = self._cache_names("self"), self._cache_names("cross")
        return ExportPart(
            name="step",
            module=self._step,
            inputs=(
                torch.zeros(batch, 1, dtype=torch.int64),
                torch.tensor([past]),
                torch.ones(batch, frames, dtype=torch.bool),
                [torch.zeros(batch, heads, past, width) for _ in range(count)],
                [torch.zeros(batch, heads, frames, width) for _ in range(count)],
            ),
            input_names=("token", "position", "cross_mask", *own, *cross),
            output_names=("logits", *(f"new_{name}" for name in own)),
            dynamic_shapes=(
                {0: "batch"},
                {},
                {0: "batch", 1: "frames"},
                [{0: "batch", 2: "past"} for _ in range(count)],
                [{0: "batch", 2: "frames"} for _ in range(count)],
            ),
            operators=self._operators_in(self._step),
        )

    def _cache_names(self, kind: str) -> tuple[str, ...]:
        layers = range(self.config.decoder_num_hidden_layers)
        return tuple(f"{kind}_{part}.{layer}" for layer in layers for part in ("key", "value"))
