"""What bits of a weight mean, and which of them a search may choose from."""

from __future__ import annotations

from typing import Literal

__all__ = ["CANDIDATES", "Code"]

Code = Literal["fixed", "entropy"]
"""Bits hold an integer (`fixed`), or are the entropy of the integers (`entropy`), which may be a fraction."""

CANDIDATES: dict[Code, tuple[float, ...]] = {
    "fixed": (2, 3, 4, 6, 8),
    "entropy": (1.5, 2, 2.5, 3, 3.5, 4, 5, 6),
}
"""The bits to choose from where none are named; 2 fixed bits are the ternary code."""
