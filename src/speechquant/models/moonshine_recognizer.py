"""Recognition with Moonshine in torch: encode one by one, decode side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from speechquant.decoding import Transcript, greedy_search, prepare_wave, side_by_side, token_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding import RuntimeSpec, Vocabulary
    from speechquant.models.moonshine_graphs import MoonshineEncode, MoonshineStep

__all__ = ["MoonshineRecognizer"]


class MoonshineRecognizer:
    """Waveforms -> transcripts by greedy search; implements `decoding.Recognizer`.

    Waves are encoded alone, because padding would change the encoder's output, and decoded in batches of
    similar length under a mask over the padded encoder frames.
    """

    backend = "torch"

    def __init__(
        self,
        encode: MoonshineEncode,
        step: MoonshineStep,
        runtime: RuntimeSpec,
        vocabulary: Vocabulary,
        *,
        signature: str,
    ) -> None:
        self.signature = signature
        self.sampling_rate = runtime.sampling_rate
        self.length_exact = runtime.length_exact
        self._encode = encode
        self._step = step
        self._runtime = runtime
        self._vocabulary = vocabulary

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        return side_by_side(waves, self._recognize_batch)

    @torch.inference_mode()
    def _recognize_batch(self, waves: list[NDArray[np.float32]]) -> list[Transcript]:
        spec = self._runtime
        device = next(self._encode.parameters()).device
        encoded = [self._encode(self._features(wave).to(device)) for wave in waves]
        mask, cross = _stack(encoded)
        mask = mask.to(device)
        heads, width = cross[0].shape[1], cross[0].shape[3]
        caches = [torch.zeros(len(waves), heads, 0, width, device=device) for _ in cross]

        def step(tokens: NDArray[np.int64], position: int) -> NDArray[np.floating]:
            nonlocal caches
            logits, caches = self._step(
                torch.from_numpy(tokens).to(device),
                torch.tensor([position], device=device),
                mask,
                caches,
                cross,
            )
            return logits.cpu().numpy()  # type: ignore[no-any-return]

        limits = [
            token_limit(
                wave.size,
                spec.sampling_rate,
                per_second=spec.tokens_per_second,
                extra=spec.extra_tokens,
            )
            for wave in waves
        ]
        found = greedy_search(step, batch=len(waves), start=spec.start, end=spec.end, limits=limits)
        return [
            Transcript(text=self._vocabulary.decode(row.tokens), tokens=row.tokens, capped=row.capped)
            for row in found
        ]

    def _features(self, wave: NDArray[np.float32]) -> torch.Tensor:
        spec = self._runtime
        return torch.from_numpy(prepare_wave(wave, normalize=spec.normalize, minimum=spec.minimum_samples))[
            None
        ]


def _stack(encoded: list[list[torch.Tensor]]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Join caches (1, heads, frames, width) of several waves.

    Returns:
        The mask of real frames, bool (batch, longest), and the caches padded with zeros,
        (batch, heads, longest, width).
    """
    frames = torch.tensor([caches[0].shape[2] for caches in encoded])
    longest = int(frames.max())
    mask = torch.arange(longest)[None] < frames[:, None]
    stacked = []
    for same in zip(*encoded, strict=True):
        joined = same[0].new_zeros(len(encoded), same[0].shape[1], longest, same[0].shape[3])
        for row, cache in zip(joined, same, strict=True):
            row[:, : cache.shape[2]] = cache[0]
        stacked.append(joined)
    return mask, stacked
