"""All randomness of a step from the seed and the number of the step, so that a resumed run repeats it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["derived_seed", "seeded"]


def derived_seed(*parts: int | str) -> int:
    """A number below 2^32 that is fixed by `parts` and by nothing else."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Seed torch and NumPy inside the block; their former states are back afterwards.

    Dropout asks torch, transformers' SpecAugment asks NumPy's global generator.
    """
    seed = derived_seed(*parts)
    kept = np.random.get_state()  # noqa: NPY002 - the generator that transformers uses
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(kept)  # noqa: NPY002
