"""A list of utterances with a name; never their samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

from speechquant.audio import SAMPLING_RATE, audio_info
from speechquant.data.fingerprint import content_fingerprint
from speechquant.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speechquant.data.utterance import Utterance

__all__ = ["Corpus"]


@dataclass(frozen=True)
class Corpus(Sequence["Utterance"]):
    """Utterances in order, with what is known of all of them; decoding is left to `iter_loaded`."""

    name: str
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        return len(self.utterances)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Utterance, ...]: ...
    def __getitem__(self, index: int | slice) -> Utterance | tuple[Utterance, ...]:
        return self.utterances[index]

    @cached_property
    def seconds(self) -> float | None:
        """Total length in seconds, None unless every utterance states its own."""
        total = 0.0
        for utterance in self.utterances:
            if utterance.seconds is None:
                return None
            total += utterance.seconds
        return total

    @cached_property
    def words(self) -> int:
        """Words of all transcripts together, as divided by white space."""
        return sum(len(utterance.text.split()) for utterance in self.utterances if utterance.text)

    @property
    def has_text(self) -> bool:
        """Whether at least one utterance has a transcript with words in it."""
        return self.words > 0

    @cached_property
    def signature(self) -> str:
        """SHA-256 over id, text and sound of every utterance, in order: 64 hex digits.

        Audio is hashed by content, so that a copy of the data has the same signature.
        """
        digest = hashlib.sha256()
        for utterance in self.utterances:
            fields = (utterance.id, utterance.text, content_fingerprint(utterance.audio) or "missing")
            # repr keeps the fields apart whatever characters they contain, and None apart from "None".
            digest.update(repr(fields).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def without_text(self) -> Corpus:
        """The same utterances with their transcripts withheld."""
        return self._with(replace(utterance, text=None) for utterance in self.utterances)

    def subset(self, *, limit: int | None = None, seconds: float | None = None, seed: int = 0) -> Corpus:
        """A random part, in the order of the whole.

        Utterances are ranked by a hash of the seed and their id, so that the choice depends neither on their
        order nor on the versions of any library, and a larger part contains the smaller one.

        Args:
            limit: at most this many utterances.
            seconds: stop before the utterance that would exceed this total; at least one utterance is kept.
                Utterances that cannot be measured count nothing and stay, for `iter_loaded` to report.
            seed: another seed, another part.
        """
        ranked = sorted(range(len(self)), key=lambda at: _rank(seed, self.utterances[at].id))
        if limit is not None:
            ranked = ranked[: max(limit, 0)]
        kept = {at: self.utterances[at] for at in ranked}
        if seconds is not None:
            kept = self._within(ranked, seconds)
        return self._with(kept[at] for at in sorted(kept))

    def _within(self, ranked: list[int], seconds: float) -> dict[int, Utterance]:
        kept: dict[int, Utterance] = {}
        total = 0.0
        for at in ranked:
            utterance = _measure(self.utterances[at])
            total += utterance.seconds or 0.0
            if kept and total > seconds:
                break
            kept[at] = utterance
        return kept

    def _with(self, utterances: Iterable[Utterance]) -> Corpus:
        return Corpus(self.name, tuple(utterances))


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()


def _measure(utterance: Utterance) -> Utterance:
    if utterance.seconds is not None:
        return utterance
    audio = utterance.audio
    try:
        seconds = (
            audio_info(audio).seconds if isinstance(audio, Path) else len(audio.samples()) / SAMPLING_RATE
        )
        return replace(utterance, seconds=seconds)
    except AudioError:
        return utterance
