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


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and speech that lies beside the repository."""
    return Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(scope="session")
def shared_models(shared: Path) -> Path:
    return shared / "models"


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
