"""What an engine must know about a model besides its graphs: how to feed it and read its output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

__all__ = ["RuntimeSpec", "Task"]

Task = Literal["ctc", "seq2seq"]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """How to feed a model and read its output, independent of family and engine.

    `normalize` is per-utterance zero mean and unit variance. `length_exact` forbids padding.
    `minimum_samples` is the receptive field of the encoder: shorter waves are padded with zeros to it.
    `frame_seconds` is the hop of the encoder. CTC models use `blank`; sequence-to-sequence models start with
    `start`, stop at `end`, and emit at most `int(tokens_per_second * seconds) + extra_tokens` tokens.
    `writes_punctuation` says that references should be compared through an English normaliser.

    The bounds are those of `engine.json`, which comes with an artifact and is not trusted: they hold where it is
    read (`engines.Manifest.load`), not where a family describes its own model.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    task: Task
    sampling_rate: Annotated[int, Field(ge=1_000, le=768_000)]
    normalize: bool
    length_exact: bool
    minimum_samples: Count
    frame_seconds: Annotated[float, Field(ge=0.001, le=10)]  # one sample at least, at any of these rates
    writes_punctuation: bool = False
    blank: Count = 0
    start: Count = 0
    end: Count = 0
    tokens_per_second: Annotated[float, Field(gt=0, le=100)] = 6.5
    extra_tokens: Annotated[int, Field(ge=0, le=1_000)] = 4

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
