"""The scale table: what a search returns and what simulation and exporters read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from speechquant.numerics.spec import QuantSpec, Site

__all__ = ["Entry", "ScaleTable"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The quantization of one site.

    `scale` is float32: () per tensor, (channels,) per output channel, (channels, groups) per group.
    """

    site: Site
    spec: QuantSpec
    scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ScaleTable:
    """All quantized sites of a model by site name. A site that is not in the table stays in float."""

    entries: Mapping[str, Entry]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, name: str) -> Entry | None:
        """The entry of a site by name (`...:input`), or None where the site stays in float."""
        return self.entries.get(name)

    def merged(self, other: ScaleTable) -> ScaleTable:
        """This table with the entries of `other` added; `other` wins where both have a site."""
        return ScaleTable({**self.entries, **other.entries})

    @property
    def signature(self) -> str:
        """SHA-256 of every site, spec and scale: equal tables have equal signatures whatever their order."""
        digest = hashlib.sha256()
        for name in sorted(self.entries):
            entry = self.entries[name]
            digest.update(f"{name}|{_words(entry.spec)}|{entry.scale.shape}|".encode())
            digest.update(np.ascontiguousarray(entry.scale, dtype="<f4").tobytes())
        return digest.hexdigest()


def _words(spec: QuantSpec) -> str:
    """A spec in words that stay the same when specs learn something new, as stored results are found by them."""
    words = f"QuantSpec(bits={spec.bits}, granularity={spec.granularity!r}, narrow={spec.narrow}"
    return f"{words})" if spec.group_size is None else f"{words}, group_size={spec.group_size})"
