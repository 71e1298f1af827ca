"""Recognition over graphs that some engine runs; an engine adds only how it runs one. Needs no torch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from speechquant.decoding import (
    CTCVocabulary,
    Transcript,
    ctc_transcript,
    greedy_search,
    prepare_wave,
    side_by_side,
    token_limit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, Recognizer
    from speechquant.engines.manifest import Manifest

__all__ = ["CTCRecognizer", "Graph", "Seq2SeqRecognizer", "recognizer_of"]


class Graph(Protocol):
    """One loaded graph. Values are tensors of the engine, which may stay on its device. Safe to share."""

    outputs: tuple[str, ...]

    def put(self, array: NDArray[Any]) -> Any:
        """An array as a value."""
        ...

    def run(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """All outputs by name; they stay as they are whatever is run later."""
        ...

    def get(self, value: Any) -> NDArray[Any]:
        """A value as an array."""
        ...


def recognizer_of(
    manifest: Manifest,
    vocabulary: CTCVocabulary | BPEVocabulary,
    open_graph: Callable[[str], Graph],
    *,
    backend: str,
    version: str,
) -> Recognizer:
    """A recogniser for the task of a manifest.

    Args:
        manifest: What was exported.
        vocabulary: Of the model.
        open_graph: Part -> loaded graph.
        backend: The name of the engine.
        version: Everything about the engine that may change a result in the last digit.
    """
    kind = CTCRecognizer if manifest.runtime.task == "ctc" else Seq2SeqRecognizer
    graphs = {part: open_graph(part) for part in kind.parts}
    return kind(manifest, vocabulary, graphs, backend=backend, version=version)


class _GraphRecognizer:
    """The fields of `decoding.Recognizer`, which both kinds share. Safe to use from several threads."""

    parts: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        manifest: Manifest,
        vocabulary: CTCVocabulary | BPEVocabulary,
        graphs: Mapping[str, Graph],
        *,
        backend: str,
        version: str,
    ) -> None:
        self._runtime = manifest.runtime
        self._vocabulary = vocabulary
        self._graphs = graphs
        self.backend = backend
        self.sampling_rate = manifest.runtime.sampling_rate
        self.length_exact = manifest.runtime.length_exact
        # Another version of the engine may round differently; another vocabulary writes other text.
        text = f"{manifest.signature}|{backend} {version}|{sorted(vocabulary.tokens.items())}"
        self.signature = hashlib.sha256(text.encode()).hexdigest()

    def _run_wave(self, part: str, wave: NDArray[np.float32]) -> Mapping[str, Any]:
        """The outputs of a graph that takes one prepared waveform of shape (1, time)."""
        spec, graph = self._runtime, self._graphs[part]
        prepared = prepare_wave(wave, normalize=spec.normalize, minimum=spec.minimum_samples)
        return graph.run({"wave": graph.put(prepared[None])})


class CTCRecognizer(_GraphRecognizer):
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
        result: NDArray[np.float32] = self._graphs["model"].get(self._run_wave("model", wave)["logits"])[0]
        return result


class Seq2SeqRecognizer(_GraphRecognizer):
    """Waveforms -> transcripts by greedy search.

    Waves are encoded alone, because padding would change the encoder's output, and decoded in batches of like
    length under a mask over the padded encoder frames. Caches stay inside the engine from step to step.
    """

    parts = ("encode", "step")

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe mono waveforms of shape (time,), in order."""
        return side_by_side(waves, self._recognize_batch)

    def _recognize_batch(self, waves: list[NDArray[np.float32]]) -> list[Transcript]:
        spec = self._runtime
        names, cross = self.encode(waves)
        steps = _Steps(self._graphs["step"], names, cross)
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
        graph = self._graphs["encode"]
        rows = []
        for wave in waves:
            found = self._run_wave("encode", wave)
            rows.append([graph.get(found[name]) for name in graph.outputs])
        return list(graph.outputs), rows


class _Steps:
    """The decoder of one batch: called with a token per row, it returns logits and keeps the caches.

    Args of the constructor: the step graph, and what `Seq2SeqRecognizer.encode` returned.
    """

    def __init__(self, graph: Graph, names: list[str], rows: list[list[NDArray[np.float32]]]) -> None:
        self._graph = graph
        frames = [row[0].shape[2] for row in rows]
        mask = np.arange(max(frames))[None] < np.array(frames)[:, None]
        self._fixed = {"cross_mask": graph.put(mask)}
        for index, name in enumerate(names):
            self._fixed[name] = graph.put(_stack([row[index] for row in rows], max(frames)))
        _, heads, _, width = rows[0][0].shape
        empty = graph.put(np.zeros((len(rows), heads, 0, width), np.float32))
        self._caches = {name.removeprefix("new_"): empty for name in graph.outputs if name != "logits"}

    def __call__(self, tokens: NDArray[np.int64], position: int) -> NDArray[np.floating]:
        """Logits (batch, vocabulary) after feeding `tokens` (batch, 1) at `position`."""
        put = self._graph.put
        fed = {"token": put(tokens), "position": put(np.array([position], np.int64))}
        found = dict(self._graph.run(fed | self._fixed | self._caches))
        logits: NDArray[np.floating] = self._graph.get(found.pop("logits"))
        self._caches = {name.removeprefix("new_"): cache for name, cache in found.items()}
        # OpenVINO 2026.4 gives (1, batch, vocabulary) where it has moved the choice of the position.
        return logits.reshape(len(tokens), -1)


def _stack(rows: list[NDArray[np.float32]], frames: int) -> NDArray[np.float32]:
    """Caches (1, heads, frames, channels) of several waves as one, padded with zeros to the longest."""
    if len(rows) == 1:
        return rows[0]
    stacked = np.zeros((len(rows), rows[0].shape[1], frames, rows[0].shape[3]), np.float32)
    for target, row in zip(stacked, rows, strict=True):
        target[:, : row.shape[2]] = row[0]
    return stacked
