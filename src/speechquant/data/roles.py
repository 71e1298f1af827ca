"""Calibration, selection and test must not see the same speech."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from speechquant.data.fingerprint import content_fingerprint, file_size
from speechquant.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speechquant.data.corpus import Corpus
    from speechquant.data.utterance import AudioSource, Utterance

__all__ = ["check_roles"]

_SHOWN = 3


class _Use(NamedTuple):
    role: str
    utterance: Utterance


def check_roles(
    calibration: Corpus | None,
    dev: Corpus | None,
    test: Corpus | None,
    *,
    train: Corpus | None = None,
    allow_overlap: bool = False,
) -> list[str]:
    """Refuse an audio recording that serves in two roles.

    Two utterances are the same recording if their files are one file or have the same bytes, or if their
    sources have the same fingerprint. Ids alone prove nothing: folders often number their files from 1.

    Args:
        calibration: None where the role is not filled; likewise the others.
        dev: used to select layers and cut-offs.
        test: used for the figures that are reported.
        train: used to learn weights.
        allow_overlap: turn the error into a warning.

    Returns:
        Warnings, one line each: overlaps that were allowed, and speakers who serve in two roles.

    Raises:
        DataError: an overlap; names an utterance and both roles.
    """
    filled = {"train": train, "calibration": calibration, "dev": dev, "test": test}
    uses = [_Use(role, item) for role, corpus in filled.items() if corpus is not None for item in corpus]
    warnings: list[str] = []
    for pair, examples in _shared_recordings(uses).items():
        found = f"{examples[0]} is in both the {pair[0]} and the {pair[1]} set"
        more = f" ({len(examples)} such recordings)" if len(examples) > 1 else ""
        if not allow_overlap:
            raise DataError(f"{found}{more}; use disjoint sets, or pass --allow-overlap")
        warnings.append(f"{found}{more}: the figures are too good, because the roles overlap")
    return warnings + _shared_speakers(filled)


def _shared_recordings(uses: list[_Use]) -> dict[tuple[str, str], list[str]]:
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for same in _groups(uses):
        roles = list(dict.fromkeys(use.role for use in same))
        for pair in combinations(roles, 2):
            use = next(item for item in same if item.role == pair[1])
            shared[pair].append(_describe(use.utterance))
    return shared


def _groups(uses: list[_Use]) -> Iterable[list[_Use]]:
    by_key: dict[object, list[_Use]] = defaultdict(list)
    by_size: dict[int, list[_Use]] = defaultdict(list)
    for use in uses:
        audio = use.utterance.audio
        if not isinstance(audio, Path):
            by_key[audio.fingerprint()].append(use)
        elif (size := file_size(audio)) is not None:
            by_size[size].append(use)
    # Files of different sizes differ, so only those of equal size in two roles are read.
    for same_size in by_size.values():
        if len({use.role for use in same_size}) > 1:
            for use in same_size:
                by_key[_content(use.utterance.audio)].append(use)
    return by_key.values()


def _content(audio: Path | AudioSource) -> object:
    return content_fingerprint(audio) or audio


def _describe(utterance: Utterance) -> str:
    place = f" ({utterance.audio})" if isinstance(utterance.audio, Path) else ""
    return f"utterance {utterance.id!r}{place}"


def _shared_speakers(filled: dict[str, Corpus | None]) -> list[str]:
    speakers = {
        role: {item.speaker for item in corpus if item.speaker is not None}
        for role, corpus in filled.items()
        if corpus is not None
    }
    warnings = []
    for first, second in combinations(speakers, 2):
        both = sorted(speakers[first] & speakers[second])
        if both:
            names = ", ".join(both[:_SHOWN]) + (
                f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else ""
            )
            warnings.append(
                f"{len(both)} speakers are in both the {first} and the {second} set ({names}): new voices "
                "may do worse"
            )
    return warnings
