"""What an engine must know about a model besides its graphs: how to feed it and read its output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["RuntimeSpec", "Task"]

Task = Literal["ctc", "seq2seq"]


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """How to feed a model and read its output, independent of family and engine.

    `normalize` is per-utterance zero mean and unit variance. `length_exact` forbids padding.
    `minimum_samples` is the receptive field of the encoder: shorter waves are padded with zeros to it.
    `frame_seconds` is the hop of the encoder. CTC models use `blank`; sequence-to-sequence models start with
    `start`, stop at `end`, and emit at most `int(tokens_per_second * seconds) + extra_tokens` tokens.
    `writes_punctuation` says that references should be compared through an English normaliser.
    """

    task: Task
    sampling_rate: int
    normalize: bool
    length_exact: bool
    minimum_samples: int
    frame_seconds: float
    writes_punctuation: bool = False
    blank: int = 0
    start: int = 0
    end: int = 0
    tokens_per_second: float = 6.5
    extra_tokens: int = 4

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RuntimeSpec:
        """The inverse of `to_dict`; unknown keys raise TypeError."""
        return cls(**values)
