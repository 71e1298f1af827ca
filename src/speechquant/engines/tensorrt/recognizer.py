"""Recognition with TensorRT engines."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.decoding import CTCVocabulary, ctc_transcript, prepare_wave
from speechquant.engines.base import register
from speechquant.engines.recognizers import recognizer_of
from speechquant.engines.tensorrt.libraries import import_tensorrt
from speechquant.engines.tensorrt.session import Session
from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, Transcript
    from speechquant.engines.manifest import Manifest

__all__ = ["TensorRtRecognizer", "open_recognizer"]


@register("tensorrt")
def open_recognizer(
    folder: Path,
    manifest: Manifest,
    vocabulary: CTCVocabulary | BPEVocabulary,
    options: Any,  # noqa: ARG001 - threads and precision: decided when the engine was built
) -> TensorRtRecognizer:
    """A recogniser for the engines of a folder.

    Raises:
        ArtifactError: a file is missing.
        EngineError: the folder holds graphs and no engines, or TensorRT refuses one.
        MissingExtraError: TensorRT or the CUDA bindings are not installed.
    """
    if any(file.name.endswith(".onnx") for file in manifest.files):
        raise EngineError(
            f"{folder} holds graphs, not engines; run: speechquant build-trt {folder} -o engines"
        )
    return TensorRtRecognizer(folder, manifest, vocabulary)


class TensorRtRecognizer:
    """Implements `decoding.Recognizer`.

    CTC: waves of equal length share a batch. Sequence-to-sequence: as on every engine, encoded alone and decoded
    in batches, with the caches on the GPU. Several threads may share a recogniser; they take turns.
    """

    backend = "tensorrt"

    def __init__(self, folder: Path, manifest: Manifest, vocabulary: CTCVocabulary | BPEVocabulary) -> None:
        self._spec, self._vocabulary = manifest.runtime, vocabulary
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

        def load(part: str) -> Session:
            self._sessions[part] = Session(manifest.path(folder, part))
            return self._sessions[part]

        version = str(import_tensorrt().__version__)
        self._inner = recognizer_of(manifest, vocabulary, load, backend=self.backend, version=version)
        self.signature = self._inner.signature
        self.sampling_rate = manifest.runtime.sampling_rate
        self.length_exact = manifest.runtime.length_exact

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        ctc = self._spec.task == "ctc"
        sizes = [wave.size for wave in waves]
        results: dict[int, Transcript] = {}
        with self._lock:
            for rows in _batches(sizes, self._rows, equal=ctc):
                batch = [waves[index] for index in rows]
                found = self._ctc(batch) if ctc else self._inner.recognize(batch)
                results.update(zip(rows, found, strict=True))
        return [results[index] for index in range(len(waves))]

    def logits(self, waves: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output of a CTC network for prepared waves (batch, samples): (batch, frames, vocabulary)."""
        session = self._sessions["model"]
        result: NDArray[np.float32] = session.get(session.run({"wave": session.put(waves)})["logits"])
        return result

    def close(self) -> None:
        """Give the GPU's memory back; the recogniser cannot be used any more."""
        with self._lock:
            for session in self._sessions.values():
                session.close()

    @property
    def _rows(self) -> int:
        """Most rows that every profile of the batched graph takes."""
        part, name = ("model", "wave") if self._spec.task == "ctc" else ("step", "token")
        return min(limits[name][2][0] for limits in self._sessions[part].limits)

    def _ctc(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcripts of waves of one length."""
        spec = self._spec
        delimiter = self._vocabulary.delimiter if isinstance(self._vocabulary, CTCVocabulary) else None
        prepared = [
            prepare_wave(wave, normalize=spec.normalize, minimum=spec.minimum_samples) for wave in waves
        ]
        return [
            ctc_transcript(
                logits,
                self._vocabulary,
                blank=spec.blank,
                delimiter=delimiter,
                seconds_per_frame=spec.frame_seconds,
            )
            for logits in self.logits(np.stack(prepared))
        ]


def _batches(sizes: Sequence[int], most: int, *, equal: bool) -> list[list[int]]:
    """Which waves go together, as indices: like lengths, and only equal ones where `equal`."""
    batches: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        last = batches[-1] if batches else []
        if last and len(last) < most and (not equal or sizes[last[0]] == sizes[index]):
            last.append(index)
        else:
            batches.append([index])
    return batches
