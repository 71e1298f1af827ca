"""wav2vec 2.0 and its relatives with a CTC head: HuBERT, WavLM, data2vec-audio, UniSpeech, UniSpeech-SAT."""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from speechquant.decoding import CTCVocabulary, RuntimeSpec
from speechquant.models.base import ExportPart, SpeechModel, register
from speechquant.models.ctc_recognizer import CTCRecognizer
from speechquant.models.preprocessor import read_preprocessor
from speechquant.models.wavlm import make_attention_explicit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CTCModel"]

_CONV = re.compile(r"\.feature_extractor\.conv_layers\.(\d+)\.")
_BLOCK = re.compile(r"\.encoder\.layers\.(\d+)\.")
_EXAMPLE_SAMPLES = 16_000


@register(
    {
        "wav2vec2": "Wav2Vec2ForCTC",
        "hubert": "HubertForCTC",
        "wavlm": "WavLMForCTC",
        "data2vec-audio": "Data2VecAudioForCTC",
        "unispeech": "UniSpeechForCTC",
        "unispeech-sat": "UniSpeechSatForCTC",
    }
)
class CTCModel(SpeechModel):
    """Waveform -> convolutions -> projection -> positional convolution -> Transformer -> letters per frame.

    Layers: `input` (waveform into convolution 0), `conv.i` (output of convolution i, that is, the input of
    convolution i + 1), `projection` (output of the last convolution after its layer norm), `pos_conv`,
    `transformer.j`, `adapter` (where the model has one), `lm_head`.
    """

    family = "ctc"
    heads = ("lm_head.weight",)

    def _layer(self, operator: str) -> str:
        if match := _CONV.search(operator):
            index = int(match[1])
            return f"conv.{index - 1}" if index else "input"
        if match := _BLOCK.search(operator):
            return f"transformer.{match[1]}"
        for part, layer in (("feature_projection", "projection"), ("pos_conv_embed", "pos_conv")):
            if f".{part}." in operator:
                return layer
        return "lm_head" if operator == "lm_head" else "adapter"

    def _adjust(self) -> None:
        make_attention_explicit(self.module)

    @cached_property
    def runtime(self) -> RuntimeSpec:
        """How to feed the model and read its output, on any engine."""
        preprocessor = read_preprocessor(self.folder)
        kernels, strides = tuple(self.config.conv_kernel), tuple(self.config.conv_stride)
        hop = math.prod(strides)
        if self._has_adapter:
            hop *= self.config.adapter_stride**self.config.num_adapter_layers
        return RuntimeSpec(
            task="ctc",
            sampling_rate=preprocessor.sampling_rate,
            normalize=preprocessor.normalize,
            length_exact=self._padding_leaks,
            minimum_samples=_receptive_field(kernels, strides),
            frame_seconds=hop / preprocessor.sampling_rate,
            writes_punctuation=self.writes_punctuation,
            blank=self.blank,
        )

    @property
    def blank(self) -> int:
        """Id of the CTC blank."""
        if isinstance(self.vocabulary, CTCVocabulary):
            return self.vocabulary.blank
        return self._token_id("pad_token_id")

    @property
    def delimiter(self) -> int | None:
        """Id of the token between words; None where words are not separated by a token."""
        return self.vocabulary.delimiter if isinstance(self.vocabulary, CTCVocabulary) else None

    @property
    def _has_adapter(self) -> bool:
        return bool(getattr(self.config, "add_adapter", False))

    @property
    def _padding_leaks(self) -> bool:
        """Whether padded samples reach the output in spite of the attention mask.

        The group norm of the first convolution averages over time; so padding counts. data2vec stacks
        positional convolutions, the second of which already sees what the first made of the padding; a batch
        norm before the positional convolution and a convolutional adapter do the same.
        """
        return (
            getattr(self.config, "feat_extract_norm", "layer") == "group"
            or self.model_type == "data2vec-audio"
            or bool(getattr(self.config, "conv_pos_batch_norm", False))
            or self._has_adapter
        )

    def observe(self, wave: NDArray[np.float32]) -> None:
        """One forward pass over one utterance."""
        with torch.inference_mode():
            self.module(self.features(wave))

    def recognizer(self, *, signature: str | None = None) -> CTCRecognizer:
        """Recognition with frames and timed words."""
        return CTCRecognizer(
            self.module,
            self.runtime,
            self.vocabulary,
            delimiter=self.delimiter,
            signature=signature or self.results_signature,
        )

    def parts(self) -> tuple[ExportPart, ...]:
        """One graph: prepared waves of equal length -> logits."""
        # WavLM's export fixes the batch to 1 unless the example has more.
        example = torch.zeros(2, _EXAMPLE_SAMPLES)
        module = _Logits(self.module).eval()
        return (
            ExportPart(
                name="model",
                module=module,
                inputs=(example,),
                input_names=("wave",),
                output_names=("logits",),
                dynamic_shapes=({0: "batch", 1: "samples"},),
                operators=self._operators_in(module),
            ),
        )


class _Logits(nn.Module):
    """Prepared waves (batch, samples) of equal length -> logits (batch, frames, vocabulary)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(wave).logits
        return logits


def _receptive_field(kernels: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Samples that one frame of a stack of convolutions sees."""
    field, hop = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * hop
        hop *= stride
    return field
