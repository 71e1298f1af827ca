"""Run any recogniser over any corpus in modest chunks, resuming from what is stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from speechquant.data import Corpus, iter_loaded, nothing_usable, with_text
from speechquant.data.fingerprint import content_fingerprint
from speechquant.errors import DataError, EngineError
from speechquant.evaluation.result import Evaluation, Transcription
from speechquant.evaluation.store import StoredTranscript
from speechquant.metrics import get_normalizer, score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data import Skipped, Utterance
    from speechquant.decoding.types import Recognizer
    from speechquant.evaluation.store import EvaluationStore

    Loaded = tuple[Utterance, NDArray[np.float32]]

__all__ = ["Evaluator", "Loader", "Progress"]

Progress = Callable[[int, int], None]
CHUNK_UTTERANCES = 16
CHUNK_SECONDS = 240.0


class Loader(Protocol):
    """Yields utterances with their samples, in order."""

    def __call__(
        self, corpus: Iterable[Utterance], *, strict: bool, on_skip: Callable[[Skipped], None]
    ) -> Iterator[Loaded]:
        """Tell `on_skip` of what is unusable, or raise if `strict`; what is left may be nothing."""
        ...


class Evaluator:
    """Evaluates recognisers under one set of rules, so that their figures may be compared.

    Args:
        normalizer: Name of the text normaliser for references and hypotheses.
        store: Where transcripts are kept and looked up; None keeps nothing.
        references: "text" for the utterances' own texts, or texts by utterance id (the float model's
            transcripts, from `transcribe`, when nobody wrote down the audio).
        loader: Reads the audio; the data room's `iter_loaded` by default.
        strict: Refuse unusable audio instead of skipping it with a record.
        seed: Of the bootstrap intervals.

    Raises:
        RecipeError: the normaliser is unknown.
    """

    def __init__(
        self,
        normalizer: str,
        store: EvaluationStore | None = None,
        references: Literal["text"] | Mapping[str, str] = "text",
        *,
        loader: Loader | None = None,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        get_normalizer(normalizer)
        self.normalizer = normalizer
        self.store = store
        self.references = references
        self.loader: Loader = loader or iter_loaded
        self.strict = strict
        self.seed = seed

    def evaluate(
        self, recognizer: Recognizer, corpus: Sequence[Utterance], progress: Progress | None = None
    ) -> Evaluation:
        """Recognise what is not stored yet, then score everything; see `transcribe`.

        Where transcripts are the references, utterances without one are skipped like unusable audio.

        Raises:
            DataError: no utterance has a transcript, or with `strict` one has none; the float model's text is
                missing; there are no reference words at all.
        """
        if not isinstance(self.references, str):
            return self._score(corpus, self.transcribe(recognizer, corpus, progress))
        told, untold = with_text(corpus, _name(corpus), strict=self.strict)
        heard = self.transcribe(recognizer, told, progress)
        return self._score(told, replace(heard, skipped=(*untold, *heard.skipped)))

    def transcribe(
        self, recognizer: Recognizer, corpus: Sequence[Utterance], progress: Progress | None = None
    ) -> Transcription:
        """Recognise what is not stored yet; no references are needed.

        Each chunk is stored as soon as it is finished: a run that is killed and started again repeats at most
        one chunk. `progress` receives (utterances done, utterances in total).

        Raises:
            DataError: an id occurs twice, or no utterance could be used.
        """
        _check_ids(corpus)
        run = _Run(recognizer, self.store, corpus, progress)
        todo = run.look_up()
        if todo:
            # Closing also stops the loader's background thread when the recogniser fails or on Ctrl-C.
            loaded = self.loader(todo, strict=self.strict, on_skip=run.skip)
            with closing(_chunks(loaded, recognizer.sampling_rate)) as chunks:
                for chunk in chunks:
                    run.recognize(chunk)
        if run.skipped and not run.finished:
            raise nothing_usable(_name(corpus), run.skipped)
        return run.result()

    def _score(self, corpus: Sequence[Utterance], transcription: Transcription) -> Evaluation:
        done = [utterance for utterance in corpus if utterance.id in transcription.transcripts]
        result = score(
            {utterance.id: self._reference(utterance) for utterance in done},
            {id_: transcript.text for id_, transcript in transcription.transcripts.items()},
            normalizer=self.normalizer,
            speakers={utterance.id: utterance.speaker for utterance in done},
        )
        if result.totals.words == 0:
            raise DataError(
                f"no reference words in {len(corpus)} utterances ({len(transcription.skipped)} skipped): "
                "there is nothing to score, check the data"
            )
        return Evaluation(
            score=result,
            transcription=transcription,
            normalizer=self.normalizer,
            references="transcripts" if isinstance(self.references, str) else "float model",
            seed=self.seed,
        )

    def _reference(self, utterance: Utterance) -> str:
        if isinstance(self.references, str):
            return utterance.text or ""
        if utterance.id not in self.references:
            raise DataError(
                f"utterance {utterance.id!r} has no reference from the float model: "
                "let it transcribe the same data first"
            )
        return self.references[utterance.id]


def _name(corpus: Sequence[Utterance]) -> str:
    return corpus.name if isinstance(corpus, Corpus) else "evaluation"


def _check_ids(corpus: Sequence[Utterance]) -> None:
    counts = Counter(utterance.id for utterance in corpus)
    repeated = next((id_ for id_, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"utterance id {repeated!r} occurs more than once: give every utterance its own")


class _Run:
    """What one call of `transcribe` has gathered so far."""

    def __init__(
        self,
        recognizer: Recognizer,
        store: EvaluationStore | None,
        corpus: Sequence[Utterance],
        progress: Progress | None,
    ) -> None:
        self.recognizer = recognizer
        self.store = store
        self.corpus = corpus
        self.finished: dict[str, StoredTranscript] = {}
        self.skipped: list[Skipped] = []
        self.reused = 0
        self.elapsed = 0.0
        self._progress = progress

    def look_up(self) -> list[Utterance]:
        """Take what is stored; returns the utterances that are left to recognise."""
        stored = self.store.transcripts(self.recognizer.signature) if self.store else {}
        todo = []
        for utterance in self.corpus:
            fingerprint = content_fingerprint(utterance.audio) if stored else None
            found = stored.get((utterance.id, fingerprint)) if fingerprint else None
            if found:
                self.finished[utterance.id] = found
            else:
                todo.append(utterance)
        self.reused = len(self.finished)
        self._report()
        return todo

    def skip(self, skipped: Skipped) -> None:
        self.skipped.append(skipped)
        self._report()

    def recognize(self, chunk: Sequence[Loaded]) -> None:
        start = time.perf_counter()
        transcripts = self.recognizer.recognize([samples for _, samples in chunk])
        self.elapsed += time.perf_counter() - start
        if len(transcripts) != len(chunk):
            raise EngineError(
                f"{self.recognizer.backend} returned {len(transcripts)} transcripts for {len(chunk)} "
                "utterances, a fault of the engine: use another one"
            )
        results = [
            StoredTranscript(
                utterance.id,
                content_fingerprint(utterance.audio) or "",
                samples.shape[-1] / self.recognizer.sampling_rate,
                transcript,
            )
            for (utterance, samples), transcript in zip(chunk, transcripts, strict=True)
        ]
        if self.store:
            # A file that vanished meanwhile has no fingerprint to be found under again.
            self.store.save(self.recognizer.signature, [result for result in results if result.fingerprint])
        self.finished.update((result.utterance, result) for result in results)
        self._report()

    def result(self) -> Transcription:
        done = [self.finished[utterance.id] for utterance in self.corpus if utterance.id in self.finished]
        return Transcription(
            transcripts={stored.utterance: stored.transcript for stored in done},
            skipped=tuple(self.skipped),
            seconds=sum(stored.seconds for stored in done),
            elapsed=self.elapsed,
            reused=self.reused,
            backend=self.recognizer.backend,
            signature=self.recognizer.signature,
        )

    def _report(self) -> None:
        if self._progress:
            self._progress(len(self.finished) + len(self.skipped), len(self.corpus))


def _chunks(loaded: Iterator[Loaded], sampling_rate: int) -> Generator[list[Loaded], None, None]:
    """Groups of at most 16 utterances and, unless one alone is longer, 240 s of audio."""
    chunk: list[Loaded] = []
    seconds = 0.0
    for utterance, samples in loaded:
        length = samples.shape[-1] / sampling_rate
        if chunk and (len(chunk) == CHUNK_UTTERANCES or seconds + length > CHUNK_SECONDS):
            yield chunk
            chunk, seconds = [], 0.0
        chunk.append((utterance, samples))
        seconds += length
    if chunk:
        yield chunk
