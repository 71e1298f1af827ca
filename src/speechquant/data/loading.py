"""Decode utterances one after another while the caller works on the one before."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.audio import check_speech, load_audio
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data.utterance import Utterance

__all__ = ["Skipped", "iter_loaded"]

_PREFETCH = 4


@dataclass(frozen=True, slots=True)
class Skipped:
    """An utterance that was left out, and the one line that says why."""

    id: str
    reason: str


def iter_loaded(
    corpus: Iterable[Utterance],
    *,
    strict: bool,
    on_skip: Callable[[Skipped], None],
    minimum_seconds: float = 0.1,
    maximum_seconds: float | None = 120.0,
) -> Iterator[tuple[Utterance, NDArray[np.float32]]]:
    """Yield utterances with their 16 kHz mono samples, shape (time,), in the order of the corpus.

    A background thread stays up to four utterances ahead; it stops when the iterator is closed. Whether
    enough utterances are left is for the caller to judge, who may be resuming with the last few of a corpus.

    Args:
        corpus: a `Corpus` or any utterances.
        strict: raise for the first bad utterance instead of skipping it.
        on_skip: called for every utterance left out, in order, from the caller's thread.
        minimum_seconds: shorter audio is bad.
        maximum_seconds: longer audio is bad and is not decoded to its end; None for any length.

    Raises:
        AudioError: with `strict`, audio that is missing, damaged, silent, too short or too long.
        MissingExtraError: always, since every file of that format would fail alike.
    """

    def load(utterance: Utterance) -> NDArray[np.float32]:
        name = f"utterance {utterance.id!r}"
        if isinstance(utterance.audio, Path):
            samples = load_audio(utterance.audio, maximum_seconds=maximum_seconds)
            name = str(utterance.audio)
        else:
            samples = utterance.audio.samples()
        check_speech(samples, name, minimum_seconds=minimum_seconds, maximum_seconds=maximum_seconds)
        return samples

    with closing(_ahead(corpus, load)) as loading:
        for utterance, pending in loading:
            try:
                samples = pending.result()
            except AudioError as error:
                if strict:
                    raise
                on_skip(Skipped(utterance.id, str(error)))
                continue
            yield utterance, samples


def _ahead(
    corpus: Iterable[Utterance], load: Callable[[Utterance], NDArray[np.float32]]
) -> Generator[tuple[Utterance, Future[NDArray[np.float32]]], None, None]:
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speechquant-audio")
    window: deque[tuple[Utterance, Future[NDArray[np.float32]]]] = deque()
    try:
        for utterance in corpus:
            window.append((utterance, pool.submit(load, utterance)))
            if len(window) > _PREFETCH:
                yield window.popleft()
        while window:
            yield window.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
