"""Recognition with ONNX Runtime, in 8-bit integers where the graphs have them. Needs no torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnxruntime

from speechquant.decoding import (
    CTCVocabulary,
    Transcript,
    ctc_transcript,
    greedy_search,
    prepare_wave,
    token_limit,
)
from speechquant.engines.base import register
from speechquant.engines.session import SessionOptions, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, Recognizer
    from speechquant.engines.manifest import Manifest

__all__ = ["CTCRecognizer", "Seq2SeqRecognizer", "open_recognizer"]

# Beyond this the reading of the cross caches, not the number of steps, decides the time on a CPU.
_ROWS = 16


@register("onnxruntime")
def open_recognizer(
    folder: Path, manifest: Manifest, vocabulary: CTCVocabulary | BPEVocabulary, threads: int | None
) -> Recognizer:
    """A recogniser for the graphs of a folder.

    Raises:
        ArtifactError: a file is missing.
        EngineError: ONNX Runtime refuses a graph or the settings.
    """
    kind = CTCRecognizer if manifest.runtime.task == "ctc" else Seq2SeqRecognizer
    return kind(folder, manifest, vocabulary, threads)


class _OnnxRuntimeRecognizer:
    """The fields of `decoding.Recognizer`, which both kinds share. Safe to use from several threads."""

    backend = "onnxruntime"
    parts: ClassVar[tuple[str, ...]]

    def __init__(
        self, folder: Path, manifest: Manifest, vocabulary: CTCVocabulary | BPEVocabulary, threads: int | None
    ) -> None:
        self._runtime = manifest.runtime
        self._vocabulary = vocabulary
        options = SessionOptions(threads=threads)
        self._sessions = {part: open_session(manifest.path(folder, part), options) for part in self.parts}
        self.sampling_rate = manifest.runtime.sampling_rate
        self.length_exact = manifest.runtime.length_exact
        # Another version of the engine may round differently; another vocabulary writes other text.
        text = (
            f"{manifest.signature}|onnxruntime {onnxruntime.__version__}|{sorted(vocabulary.tokens.items())}"
        )
        self.signature = hashlib.sha256(text.encode()).hexdigest()

    def _prepare(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        spec = self._runtime
        return prepare_wave(wave, normalize=spec.normalize, minimum=spec.minimum_samples)


class CTCRecognizer(_OnnxRuntimeRecognizer):
    """Waveforms -> transcripts with frames and timed words, one utterance at a time.

    A batch would not be faster on a CPU: one utterance keeps all cores busy, and padding is work.
    """

    parts = ("model",)

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        spec = self._runtime
        delimiter = self._vocabulary.delimiter if isinstance(self._vocabulary, CTCVocabulary) else None
        return [
            ctc_transcript(
                self.logits(wave),
                self._vocabulary,
                blank=spec.blank,
                delimiter=delimiter,
                seconds_per_frame=spec.frame_seconds,
            )
            for wave in waves
        ]

    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for one waveform: (frames, vocabulary)."""
        (logits,) = self._sessions["model"].run(["logits"], {"wave": self._prepare(wave)[None]})
        result: NDArray[np.float32] = logits[0]
        return result


class Seq2SeqRecognizer(_OnnxRuntimeRecognizer):
    """Waveforms -> transcripts by greedy search.

    Waves are encoded alone, because padding would change the encoder's output, and decoded in batches of like
    length under a mask over the padded encoder frames. Caches stay inside ONNX Runtime from step to step.
    """

    parts = ("encode", "step")

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        order = sorted(range(len(waves)), key=lambda i: (-waves[i].size, i))
        results: dict[int, Transcript] = {}
        for first in range(0, len(order), _ROWS):
            rows = order[first : first + _ROWS]
            found = self._recognize_batch([waves[i] for i in rows])
            results.update(zip(rows, found, strict=True))
        return [results[i] for i in range(len(waves))]

    def _recognize_batch(self, waves: list[NDArray[np.float32]]) -> list[Transcript]:
        spec = self._runtime
        names, cross = self.encode(waves)
        steps = _Steps(self._sessions["step"], names, cross)
        limits = [
            token_limit(
                wave.size, spec.sampling_rate, per_second=spec.tokens_per_second, extra=spec.extra_tokens
            )
            for wave in waves
        ]
        found = greedy_search(steps, batch=len(waves), start=spec.start, end=spec.end, limits=limits)
        return [
            Transcript(text=self._vocabulary.decode(row.tokens), tokens=row.tokens, capped=row.capped)
            for row in found
        ]

    def encode(
        self, waves: Sequence[NDArray[np.float32]]
    ) -> tuple[list[str], list[list[NDArray[np.float32]]]]:
        """The names of the cross caches, and for every wave its caches, each (1, heads, frames, channels)."""
        session = self._sessions["encode"]
        names = [output.name for output in session.get_outputs()]
        return names, [session.run(names, {"wave": self._prepare(wave)[None]}) for wave in waves]


class _Steps:
    """The decoder of one batch: called with a token per row, it returns logits and keeps the caches.

    Args of the constructor: the session of the step graph, and what `Seq2SeqRecognizer.encode` returned.
    """

    def __init__(self, session: Any, names: list[str], rows: list[list[NDArray[np.float32]]]) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        frames = [row[0].shape[2] for row in rows]
        mask = np.arange(max(frames))[None] < np.array(frames)[:, None]
        self._fixed = {"cross_mask": _value(mask)}
        for index, name in enumerate(names):
            self._fixed[name] = _value(_stack([row[index] for row in rows], max(frames)))
        _, heads, _, width = rows[0][0].shape
        empty = np.zeros((len(rows), heads, 0, width), np.float32)
        self._caches = {
            name.removeprefix("new_"): _value(empty) for name in self._outputs if name != "logits"
        }

    def __call__(self, tokens: NDArray[np.int64], position: int) -> NDArray[np.floating]:
        """Logits (batch, vocabulary) after feeding `tokens` (batch, 1) at `position`."""
        fed = {"token": _value(tokens), "position": _value(np.array([position], np.int64))}
        outputs = self._session.run_with_ort_values(self._outputs, fed | self._fixed | self._caches)
        named = dict(zip(self._outputs, outputs, strict=True))
        logits: NDArray[np.floating] = named.pop("logits").numpy()
        self._caches = {name.removeprefix("new_"): cache for name, cache in named.items()}
        return logits


def _value(array: NDArray[Any]) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _stack(rows: list[NDArray[np.float32]], frames: int) -> NDArray[np.float32]:
    """Caches (1, heads, frames, channels) of several waves as one, padded with zeros to the longest."""
    if len(rows) == 1:
        return rows[0]
    stacked = np.zeros((len(rows), rows[0].shape[1], frames, rows[0].shape[3]), np.float32)
    for target, row in zip(stacked, rows, strict=True):
        target[:, : row.shape[2]] = row[0]
    return stacked
