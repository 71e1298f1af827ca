"""Transcribe recordings of any length and number, with memory that does not grow."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.audio import check_length
from speechquant.decoding import LongTranscript, Recording, transcribe_recordings
from speechquant.errors import AudioError, DataError, MissingExtraError, RecipeError
from speechquant.jobs.progress import Silent
from speechquant.jobs.reading import SHORTEST_SECONDS, read_sources
from speechquant.jobs.recordings import find_sources
from speechquant.jobs.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.engines import Precision
    from speechquant.jobs.progress import Advance, Progress
    from speechquant.jobs.reading import AudioSource, Source
    from speechquant.jobs.targets import Target

__all__ = ["FileTranscript", "transcribe", "transcribe_one"]

# What a decoder reads at every step, its weights, is read once for all rows. CTC models have no such steps.
_SEQ2SEQ_BATCH = 8


@dataclass(frozen=True, slots=True)
class FileTranscript:
    """One recording: its transcript, or the one line that says why there is none.

    `elapsed` is the time that the model took for it, in seconds. `number` counts the recordings from 1; `path` is
    None for samples.
    """

    path: Path | None
    transcript: LongTranscript | None
    problem: str | None
    elapsed: float
    number: int = 1

    @property
    def name(self) -> str:
        """The path, or `recording N` for samples."""
        return f"recording {self.number}" if self.path is None else str(self.path)


def transcribe(
    target: str | Path,
    audio: Iterable[str | Path | NDArray[np.float32]],
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    cache: Path | None = None,
    provider: str | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[FileTranscript]:
    """Yield one result per recording, in order, as soon as it is there.

    The next recording is read and resampled in a background thread while the model works on the present one.

    Args:
        target: an artifact, or a float model (see `open_target`).
        audio: audio files, folders that are searched for audio, and mono samples of shape (time,) at the
            model's sampling rate. The paths of a list, but not what its folders hold, are checked before the
            first is transcribed. An iterator may be endless; it is advanced in the background thread.
        engine: runs artifacts.
        threads: CPU threads.
        precision: of what the engine does not compute in 8-bit integers; its choice by default.
        cache: folder for models that an engine has compiled.
        provider: what ONNX Runtime computes with, `cpu` by default.
        batch_size: windows that are decoded side by side. By default 8 for sequence-to-sequence models, whose
            results then come in groups, and 1 for CTC models, which gain nothing, and for iterators, which may
            be live.
        strict: raise for the first unusable recording instead of yielding its problem.
        progress: hears of every batch of windows.

    Raises:
        DataError: a path of a list does not exist, a folder holds no audio, or there is nothing at all.
        RecipeError: a batch size below 1.
        AudioError: with `strict`, an unusable recording.
        ArtifactError, ModelError, EngineError: as `open_target`.
        MissingExtraError: a float model without PyTorch; with `strict`, a file that needs the extra `codecs`.
    """
    if batch_size is not None and batch_size < 1:
        raise RecipeError(f"a batch of {batch_size} is not possible; give 1 or more")
    sources = find_sources(audio)
    opened = open_target(
        target, engine=engine, threads=threads, precision=precision, cache=cache, provider=provider
    )
    batch = batch_size or (_SEQ2SEQ_BATCH if opened.ctc is None and isinstance(sources, list) else 1)
    total = len(sources) if isinstance(sources, list) else None
    with (progress or Silent()).stage("transcribe") as advance:
        tell = _Teller(advance, total)
        tell.at(0)
        yield from _results(opened, sources, batch, strict=strict, tell=tell)


def transcribe_one(target: Target, audio: AudioSource) -> LongTranscript:
    """Transcribe one file, or mono samples of shape (time,) at the model's sampling rate.

    Raises:
        AudioError: missing, damaged, not one channel, not finite, shorter than 0.1 s, or silent throughout.
        MissingExtraError: the file needs the extra `codecs`.
    """
    batch = _SEQ2SEQ_BATCH if target.ctc is None else 1
    (result,) = _results(target, [audio], batch, strict=True, tell=_Teller(_unheard, 1))
    if result.transcript is None:
        raise AudioError(str(result.problem))
    return result.transcript


class _Sourced(Recording):
    """A recording that knows where it came from."""

    def __init__(self, source: Source, blocks: Iterable[NDArray[np.float32]], target: Target) -> None:
        super().__init__(blocks, target.recognizer.sampling_rate, ctc=target.ctc)
        self.source = source

    def outcome(self) -> LongTranscript:
        """As `result`, but for audio in which there is nothing to hear.

        Raises:
            AudioError: also if the recording is too short, or silent from beginning to end.
        """
        name, found = self.source.name, self.result()
        check_length(found.seconds, name, minimum=SHORTEST_SECONDS)
        if not self.sound:
            raise AudioError(f"{name}: is silent (all samples are zero)")
        return found


class _Teller:
    """Says how far a job is: recordings done, and the part of the present one that was heard."""

    def __init__(self, advance: Advance, total: int | None) -> None:
        self._advance, self._total = advance, total

    def __call__(self, recording: _Sourced) -> None:
        source, part = recording.source, 0.0
        minutes = f"{recording.seconds / 60:.0f}"
        if source.seconds:
            part = min(1.0, recording.seconds / source.seconds)
            minutes += f" of {source.seconds / 60:.0f}"
        name = source.name if source.path is None else source.path.name
        self._advance(source.number - 1 + part, self._total or source.number, f"{name} {minutes} min")

    def at(self, count: int) -> None:
        self._advance(count, self._total or count)


def _unheard(done: float, total: int, what: str = "") -> None:
    del done, total, what


def _results(
    target: Target, audio: Iterable[AudioSource], batch: int, *, strict: bool, tell: _Teller
) -> Iterator[FileTranscript]:
    count = 0
    with closing(read_sources(audio, target.recognizer.sampling_rate)) as sources:
        begun = (_Sourced(source, blocks, target) for source, blocks in sources)
        for recording in transcribe_recordings(target.recognizer, begun, batch=batch, progress=tell):
            count, transcript, problem = count + 1, None, None
            try:
                transcript = recording.outcome()
            except (AudioError, MissingExtraError) as error:
                if strict:
                    raise
                problem = str(error)
            yield FileTranscript(recording.source.path, transcript, problem, recording.elapsed, count)
    if not count:
        raise DataError("nothing to transcribe; give audio files or folders")
    tell.at(count)
