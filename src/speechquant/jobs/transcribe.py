"""Transcribe files of any length, one after another, with memory that does not grow."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechquant.audio import check_speech, is_audio_name, stream_audio
from speechquant.decoding import LongTranscript, transcribe_long
from speechquant.errors import AudioError, DataError, MissingExtraError
from speechquant.jobs.progress import Silent
from speechquant.jobs.targets import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from speechquant.engines import Precision
    from speechquant.jobs.progress import Progress
    from speechquant.jobs.targets import Target

__all__ = ["FileTranscript", "find_audio", "transcribe", "transcribe_file", "transcribe_samples"]

_BLOCK_SECONDS = 10.0
_SHORTEST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class FileTranscript:
    """One file: its transcript, or the one line that says why there is none. `elapsed` is in seconds."""

    path: Path
    transcript: LongTranscript | None
    problem: str | None
    elapsed: float


def transcribe(
    target: str | Path,
    paths: Sequence[str | Path],
    *,
    engine: str = "onnxruntime",
    threads: int | None = None,
    precision: Precision | None = None,
    cache: Path | None = None,
    provider: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Iterator[FileTranscript]:
    """Yield one result per audio file, in order, as soon as it is there.

    Args:
        target: an artifact, or a float model (see `open_target`).
        paths: audio files, and folders that are searched for audio.
        engine: runs artifacts.
        threads: CPU threads.
        precision: of what the engine does not compute in 8-bit integers; its choice by default.
        cache: folder for models that an engine has compiled.
        provider: what ONNX Runtime computes with, `cpu` by default.
        strict: raise for the first unusable file instead of yielding its problem.
        progress: hears of every window.

    Raises:
        DataError: a path does not exist, or there is no audio at all.
        AudioError: with `strict`, an unusable file.
        ArtifactError, ModelError, EngineError: as `open_target`.
        MissingExtraError: a float model without PyTorch; with `strict`, a file that needs the extra `codecs`.
    """
    files = find_audio(paths)
    opened = open_target(
        target, engine=engine, threads=threads, precision=precision, cache=cache, provider=provider
    )
    with (progress or Silent()).stage("transcribe") as advance:
        for done, path in enumerate(files):

            def tell(seconds: float, *, done: int = done, path: Path = path) -> None:
                advance(done, len(files), f"{path.name} {seconds / 60:.0f} min")

            advance(done, len(files), path.name)
            start = time.perf_counter()
            transcript, problem = None, None
            try:
                transcript = transcribe_file(opened, path, progress=tell)
            except (AudioError, MissingExtraError) as error:
                if strict:
                    raise
                problem = str(error)
            yield FileTranscript(path, transcript, problem, time.perf_counter() - start)
        advance(len(files), len(files))


def transcribe_file(
    target: Target, path: Path, *, progress: Callable[[float], None] | None = None
) -> LongTranscript:
    """Transcribe one file in windows.

    Raises:
        AudioError: missing, damaged, shorter than 0.1 s, or silent from beginning to end.
    """
    rate = target.recognizer.sampling_rate
    watch = _Watch(stream_audio(path, _BLOCK_SECONDS, rate))
    result = transcribe_long(target.recognizer, watch, ctc=target.ctc, progress=progress)
    if result.seconds < _SHORTEST_SECONDS:
        raise AudioError(
            f"{path}: {result.seconds:.3f} seconds is too short; at least {_SHORTEST_SECONDS:g} are needed"
        )
    if not watch.sound:
        raise AudioError(f"{path}: is silent (all samples are zero)")
    return result


def transcribe_samples(target: Target, samples: NDArray[np.float32]) -> LongTranscript:
    """Transcribe mono samples, shape (time,), at the model's sampling rate, in windows.

    Raises:
        AudioError: not one channel, not finite, shorter than 0.1 s, or silent.
    """
    rate = target.recognizer.sampling_rate
    if samples.ndim != 1:
        raise AudioError(f"samples have the shape {samples.shape}; give one channel, shape (time,)")
    mono = np.ascontiguousarray(samples, np.float32)
    check_speech(mono, "samples", minimum_seconds=_SHORTEST_SECONDS, sampling_rate=rate)
    return transcribe_long(target.recognizer, iter([mono]), ctc=target.ctc)


def find_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Audio files in the order given; folders are searched below, in alphabetical order.

    Raises:
        DataError: a path does not exist, a folder holds no audio, or no paths were given.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: audio file not found; check the path")
            files.append(path)
            continue
        below = sorted(
            Path(folder) / name
            for folder, _, names in os.walk(path)
            for name in names
            if is_audio_name(name) and not name.startswith(".")
        )
        if not below:
            raise DataError(f"{path}: there is no audio file in this folder; check the path")
        files += below
    if not files:
        raise DataError("nothing to transcribe; give audio files or folders")
    return list(dict.fromkeys(files))


class _Watch:
    """Passes blocks on and remembers whether any of them had sound."""

    def __init__(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        self.sound = False
        self._blocks = blocks

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks:
            self.sound = self.sound or bool(np.any(block))
            yield block
