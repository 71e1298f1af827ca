"""One pile of speech becomes three data sets that share no recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data.corpus import Corpus
from speechquant.data.loading import Skipped
from speechquant.data.segments import Unusable, recording
from speechquant.data.usable import nothing_usable
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.data.utterance import Utterance

__all__ = ["ROLES", "SHARES", "divide"]

ROLES = ("calibration", "dev", "test")
SHARES = (0.2, 0.6)
"""A fifth for calibration, two fifths for dev, the rest for test."""


def divide(corpus: Corpus, *, seed: int = 0) -> tuple[tuple[Corpus, Corpus, Corpus], list[str]]:
    """Divide a corpus, `segmented` or not, into calibration, dev and test.

    All segments of one recording serve in one role. Which recordings do is decided by a hash of their names and
    the seed. Fewer than three recordings are divided by time instead: a beginning, a middle and an end.
    Recordings that are known to be unusable stand in the calibration set, where they are reported.

    Returns:
        The three, and a warning where recordings had to be divided.

    Raises:
        DataError: nothing usable, or not enough for three roles.
    """
    unusable = [item for item in corpus if isinstance(item.audio, Unusable)]
    usable = [item for item in corpus if not isinstance(item.audio, Unusable)]
    skipped = [Skipped(u.id, u.audio.reason) for u in unusable if isinstance(u.audio, Unusable)]
    if not usable:
        raise nothing_usable(corpus.name, skipped)
    groups: dict[int, list[Utterance]] = {}
    for item in usable:
        groups.setdefault(id(recording(item)), []).append(item)
    warnings = []
    if len(groups) >= len(ROLES):
        roles = _by_recording(list(groups.values()), seed)
    elif len(usable) >= len(ROLES):
        first, second = _limits(len(usable))
        roles = (usable[:first], usable[first:second], usable[second:])
        warnings.append(
            f"{corpus.name}: {len(groups)} recording{'s' if len(groups) > 1 else ''} for three roles: they are "
            "parts of the same recordings, so new voices and lines may do worse; more files are better"
        )
    else:
        why = f" ({len(skipped)} of {len(corpus)} skipped, the first: {skipped[0].reason})" if skipped else ""
        raise DataError(
            f"{corpus.name}: --audio-only needs at least 3 audio files, one for each role, or a recording long "
            f"enough to be cut into 3 parts, over a minute{why}"
        )
    calibration, dev, test = (Corpus(name, tuple(part)) for name, part in zip(ROLES, roles, strict=True))
    return (Corpus(ROLES[0], (*calibration, *unusable)), dev, test), warnings


def _by_recording(
    groups: Sequence[Sequence[Utterance]], seed: int
) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
    heads = Corpus("", tuple(group[0] for group in groups))
    # A larger part that `subset` chooses contains the smaller one.
    early, middle = ({item.id for item in heads.subset(limit=n, seed=seed)} for n in _limits(len(groups)))
    roles: tuple[list[Utterance], list[Utterance], list[Utterance]] = ([], [], [])
    for group in groups:
        name = group[0].id
        roles[0 if name in early else 1 if name in middle else 2].extend(group)
    return roles


def _limits(count: int) -> tuple[int, int]:
    """Where the first and the second part end; each part has at least one item."""
    first = max(1, round(SHARES[0] * count))
    return first, min(max(first + 1, round(SHARES[1] * count)), count - 1)
