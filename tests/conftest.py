from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tone = Callable[..., Path]


DEMO = Path(__file__).resolve().parents[1] / "packages/speechquant-demo/src/speechquant_demo"


@pytest.fixture(scope="session")
def speech() -> Path:
    """Manifests and real speech of the demo package."""
    return DEMO / "data"


@pytest.fixture(scope="session")
def trained() -> Path:
    """Folders of trained models of the demo package."""
    return DEMO / "models"


def sine(seconds: float = 1.0, rate: int = 16_000, hertz: float = 440.0) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def tone(tmp_path: Path) -> Tone:
    """Write a sine of 0.3 amplitude below `tmp_path`; every frequency gives another file."""

    def write(
        name: str = "tone.wav",
        *,
        seconds: float = 1.0,
        rate: int = 16_000,
        hertz: float = 440.0,
        channels: int = 1,
        **options: str,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mono = sine(seconds, rate, hertz)
        soundfile.write(path, mono if channels == 1 else np.stack([mono] * channels, axis=1), rate, **options)
        return path

    return write
