"""The histograms of a model in one npz file without pickles."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from speechquant.errors import ArtifactError
from speechquant.numerics.histogram import Histogram
from speechquant.storage import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["load_histograms", "save_histograms"]

_UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    MemoryError,  # a header may promise any size
    RuntimeError,  # of zipfile: encrypted, or an unknown compression
    SyntaxError,  # of numpy: a header that is no literal
    TypeError,
    ValueError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


def save_histograms(path: Path, histograms: Mapping[str, Histogram]) -> None:
    """Write all histograms (same number of bins) under their site names, or nothing: StorageError."""
    arrays = {
        "names": np.array(list(histograms), dtype=np.str_),
        "counts": np.array([h.counts for h in histograms.values()], np.int64),
        "exponents": np.array([h.exponent for h in histograms.values()], np.int64),
        "maxima": np.array([h.maximum for h in histograms.values()], np.float64),
    }
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_histograms(path: Path) -> dict[str, Histogram]:
    """Read what `save_histograms` wrote; ArtifactError for a file that is missing, cut short or altered."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            rows = zip(arrays["counts"], arrays["exponents"], arrays["maxima"], strict=True)
            loaded = [
                Histogram.from_arrays({"counts": counts, "exponent": exponent, "maximum": maximum})
                for counts, exponent, maximum in rows
            ]
            return dict(zip(arrays["names"].tolist(), loaded, strict=True))
    except _UNREADABLE as error:
        raise ArtifactError(f"{path}: not a readable histogram file; calibrate again") from error
