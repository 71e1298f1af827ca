"""Recordings inside the page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["audio_uri", "embed"]


def audio_uri(samples: NDArray[np.float32], rate: int) -> str:
    """Samples of shape (time,) at `rate` Hz as a `data:` address that browsers play.

    MP3, which every browser knows; where libsndfile was built without it, FLAC.
    """
    name, kind = ("MP3", "mpeg") if "MP3" in soundfile.available_formats() else ("FLAC", "flac")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=name)
    return f"data:audio/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def embed(recordings: Iterable[tuple[str, NDArray[np.float32]]], rate: int, limit: int) -> dict[str, str]:
    """Addresses by utterance id, in the order given, until the page would grow by more than `limit` bytes.

    `recordings` is not read further than that.
    """
    found: dict[str, str] = {}
    used = 0
    for id_, samples in recordings:
        address = audio_uri(samples, rate)
        used += len(address)
        if used > limit:
            break
        found[id_] = address
    return found
