"""Teacher forcing: a decoder fed the tokens of the float model, so that systems can be compared step by step.

Left alone, a decoder that writes another word once has other inputs from there on, and logits cannot be compared any
more. Fed the reference's tokens, every system answers the same questions: which token comes after these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.decoding import greedy_search, token_limit
from speechquant.engines.recognizers import CTCRecognizer, Seq2SeqRecognizer, _Steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.engines.recognizers import Graph

__all__ = ["logits_of", "record_steps"]


def logits_of(
    recognizer: CTCRecognizer | Seq2SeqRecognizer, wave: NDArray[np.float32], tokens: Sequence[int]
) -> NDArray[np.float32]:
    """Logits of one wave: per frame for CTC, (frames, vocabulary); otherwise per token, (tokens + 1, vocabulary).

    `tokens` are the reference's, which the decoder is fed after the start token; CTC needs none.
    """
    if isinstance(recognizer, CTCRecognizer):
        return recognizer.logits(wave)
    names, cross = recognizer.encode([wave])
    steps = _Steps(recognizer._graphs["step"], names, cross)
    fed = (recognizer._runtime.start, *tokens)
    rows = [steps(np.array([[token]], np.int64), position)[0] for position, token in enumerate(fed)]
    return np.stack(rows)


class _Recorder:
    """A graph that keeps what it is fed."""

    def __init__(self, graph: Graph, kept: list[dict[str, NDArray[Any]]]) -> None:
        self._graph = graph
        self._kept = kept
        self._known: dict[int, tuple[Any, NDArray[Any]]] = {}
        self.outputs = graph.outputs
        self.put, self.get = graph.put, graph.get

    def run(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Cross caches are the same in all steps of an utterance and are kept once."""
        self._kept.append({name: self._array(value) for name, value in values.items()})
        return self._graph.run(values)

    def _array(self, value: Any) -> NDArray[Any]:
        if id(value) not in self._known:
            # A copy, as the engine borrows the caller's memory; and the value, whose id another would get otherwise.
            found = self.get(value)
            # ONNX Runtime gives numpy's other 64-bit type ("q"), which OpenVINO does not know; the name says "l".
            self._known[id(value)] = value, found.astype(found.dtype.name)
        return self._known[id(value)][1]


def record_steps(
    recognizer: Seq2SeqRecognizer, waves: Sequence[NDArray[np.float32]]
) -> list[dict[str, NDArray[Any]]]:
    """The inputs of every decoder step while waves are recognised one by one."""
    kept: list[dict[str, NDArray[Any]]] = []
    spec = recognizer._runtime
    for wave in waves:
        names, cross = recognizer.encode([wave])
        steps = _Steps(_Recorder(recognizer._graphs["step"], kept), names, cross)
        limit = token_limit(
            wave.size, spec.sampling_rate, per_second=spec.tokens_per_second, extra=spec.extra_tokens
        )
        greedy_search(steps, batch=1, start=spec.start, end=spec.end, limits=[limit])
    return kept
