"""Recognition with a CTC network in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from speechquant.decoding import Transcript, ctc_transcript, prepare_wave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from speechquant.decoding import RuntimeSpec, Vocabulary

__all__ = ["CTCRecognizer"]

# The first convolution of a full-size model writes 6.5 MB of activations per second of audio.
_BATCH_SECONDS = 32.0


class CTCRecognizer:
    """Waveforms -> transcripts with frames and timed words; implements `decoding.Recognizer`.

    Waves are batched by length: equal lengths only where padding would change the output, otherwise padded to
    the longest with an attention mask.
    """

    backend = "torch"

    def __init__(
        self,
        module: nn.Module,
        runtime: RuntimeSpec,
        vocabulary: Vocabulary,
        *,
        delimiter: int | None,
        signature: str,
    ) -> None:
        self.signature = signature
        self.sampling_rate = runtime.sampling_rate
        self.length_exact = runtime.length_exact
        self._module = module
        self._runtime = runtime
        self._vocabulary = vocabulary
        self._delimiter = delimiter

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        spec = self._runtime
        prepared = [prepare_wave(w, normalize=spec.normalize, minimum=spec.minimum_samples) for w in waves]
        results: list[Transcript | None] = [None] * len(waves)
        for batch in self._batches([wave.size for wave in prepared]):
            found = self._recognize_batch([prepared[i] for i in batch])
            for index, transcript in zip(batch, found, strict=True):
                results[index] = transcript
        return [transcript for transcript in results if transcript is not None]

    def _batches(self, sizes: list[int]) -> Iterator[list[int]]:
        """Indices of waves that may run together, at most `_BATCH_SECONDS` of padded audio or one wave."""
        budget = _BATCH_SECONDS * self.sampling_rate
        batch: list[int] = []
        for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
            full = batch and sizes[batch[0]] * (len(batch) + 1) > budget
            if batch and (full or (self.length_exact and sizes[index] != sizes[batch[0]])):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @torch.inference_mode()
    def _recognize_batch(self, waves: list[NDArray[np.float32]]) -> list[Transcript]:
        sizes = torch.tensor([wave.size for wave in waves])
        longest = int(sizes.max())
        inputs = torch.zeros(len(waves), longest)
        for row, wave in zip(inputs, waves, strict=True):
            row[: wave.size] = torch.from_numpy(wave)
        device = next(self._module.parameters()).device
        inputs = inputs.to(device)
        if bool((sizes == longest).all()):
            logits = self._module(inputs).logits
            frames = [logits.shape[1]] * len(waves)
        else:
            mask = (torch.arange(longest)[None] < sizes[:, None]).long().to(device)
            logits = self._module(inputs, attention_mask=mask).logits
            frames = self._module._get_feat_extract_output_lengths(sizes).tolist()  # type: ignore[operator] # noqa: SLF001 - transformers has no public name for it
        best = logits.argmax(dim=-1).cpu().numpy()
        return [
            ctc_transcript(
                ids[:count],
                self._vocabulary,
                blank=self._runtime.blank,
                delimiter=self._delimiter,
                seconds_per_frame=self._runtime.frame_seconds,
            )
            for ids, count in zip(best, frames, strict=True)
        ]
