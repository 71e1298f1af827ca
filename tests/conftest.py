from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tone = Callable[..., Path]

# On processors with AMX, OpenVINO 2026.4 computes int8 convolutions in groups of fewer than 32 channels wrong. The tiny
# models of the tests have 8 where real ones have 48 and 64, so that they run without AMX (docs/engines.md).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

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


@pytest.fixture(scope="session")
def noise():
    def make(samples, seed=0):
        return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def random_models(tmp_path_factory):
    """Gives whoever asks tiny random models of its own by architecture, each made once."""

    def collection():
        from speechquant.models.random import random_model

        made = {}

        def make(arch):
            if arch not in made:
                made[arch] = random_model(arch, tmp_path_factory.mktemp(arch), tiny=True)
            return made[arch]

        return make

    return collection


@pytest.fixture(scope="session")
def untrained(random_models):
    """The models of tests that leave them as they were."""
    return random_models()


@pytest.fixture(scope="session")
def ctc(untrained):
    return untrained("hubert-large")


@pytest.fixture(scope="session")
def moonshine(untrained):
    return untrained("moonshine-tiny")


@pytest.fixture(scope="session")
def waves():
    rng = np.random.default_rng(7)
    return [
        (level * rng.standard_normal(size)).astype(np.float32)
        for level, size in ((0.05, 6400), (0.2, 9000), (0.1, 4800), (0.01, 8000))
    ]
