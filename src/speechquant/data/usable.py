"""What is left of a data set without the utterances that cannot be used, and the error when nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data.corpus import Corpus
from speechquant.data.loading import Skipped, iter_loaded
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data.utterance import Utterance

__all__ = ["nothing_usable", "usable_waves", "with_text"]


def usable_waves(
    corpus: Corpus, *, strict: bool, on_skip: Callable[[Skipped], None] = lambda _: None
) -> list[NDArray[np.float32]]:
    """All 16 kHz mono samples of a small corpus at once, each of shape (time,).

    Args:
        corpus: its bad utterances are left out.
        strict: raise for the first of them instead.
        on_skip: called for each that is left out.

    Raises:
        DataError: no utterance can be used.
        AudioError: with `strict`, audio that `iter_loaded` refuses.
    """
    skipped: list[Skipped] = []

    def skip(item: Skipped) -> None:
        skipped.append(item)
        on_skip(item)

    waves = [samples for _, samples in iter_loaded(corpus, strict=strict, on_skip=skip)]
    if not waves:
        raise nothing_usable(corpus.name, skipped)
    return waves


def nothing_usable(name: str, skipped: Sequence[Skipped]) -> DataError:
    """The error for a data set of which every utterance was skipped: how many, and why the first was."""
    if not skipped:
        return DataError(f"the {name} set holds no utterances; give it some audio")
    return DataError(
        f"no usable speech in the {name} set: {len(skipped)} of {len(skipped)} skipped, the first: "
        f"{skipped[0].reason}"
    )


def with_text(
    utterances: Sequence[Utterance], name: str, *, strict: bool, otherwise: str = ""
) -> tuple[Corpus, list[Skipped]]:
    """Divide utterances into those with a transcript, and those that a role which needs one has to skip.

    Args:
        utterances: of one role.
        name: what messages call them.
        strict: refuse the first utterance without transcript.
        otherwise: what a user without transcripts can do, for the message.

    Raises:
        DataError: no utterance has a transcript, or with `strict` one has none.
    """
    kept = [utterance for utterance in utterances if utterance.text and not utterance.text.isspace()]
    if utterances and not kept:
        last = f", or {otherwise}" if otherwise else ""
        raise DataError(
            f"{name}: none of its {len(utterances)} utterances has a transcript; write them down{last}"
        )
    known = {utterance.id for utterance in kept}
    skipped = [
        Skipped(item.id, f"utterance {item.id!r} has no transcript")
        for item in utterances
        if item.id not in known
    ]
    if strict and skipped:
        raise DataError(
            f"{name}: {len(skipped)} of {len(utterances)} skipped, the first: {skipped[0].reason}; write it "
            "down, or leave out --strict"
        )
    return Corpus(name, tuple(kept)), skipped
