"""What a system needs to start and to run once, measured in a new process that does nothing else."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding import Recognizer

__all__ = ["Footprint", "measure_footprint"]

_PROGRAM = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process that opened `system` and recognised `batch` utterances of `seconds` each once.

    `load_s` runs from importing the engine until the system is ready, `first_ms` is the first call.
    `loaded_bytes` is the peak of resident memory until it was ready, `peak_bytes` until the end; None where the
    operating system does not tell.
    """

    system: str
    seconds: float
    batch: int
    load_s: float
    first_ms: float
    loaded_bytes: int | None
    peak_bytes: int | None


def measure_footprint(
    system: str,
    opener: Callable[[], Recognizer],
    wave: NDArray[np.float32],
    *,
    rate: int,
    batch: int = 1,
) -> Footprint:
    """Open a system in a new process and let it recognise `batch` copies of a wave of shape (time,).

    Raises:
        EngineError: the process cannot open the system, or died.
    """
    waves = [wave] * batch
    try:
        task = pickle.dumps((pickle.dumps(opener), waves))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise EngineError(
            f"{system} cannot be opened in a process of its own ({error}); its memory is not known"
        ) from error
    # -P: files beside the program must not be taken for modules of the standard library.
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", str(_PROGRAM)],
        input=task,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": _search_path()},
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{system} failed in a process of its own: {_reason(done.returncode, done.stderr)}")
    found = json.loads(done.stdout.decode().splitlines()[-1])
    return Footprint(system=system, seconds=wave.size / rate, batch=batch, **found)


def _search_path() -> str:
    """Where this process finds modules, for one that is to find the same."""
    return os.pathsep.join(dict.fromkeys(place or str(Path.cwd()) for place in sys.path))


def _reason(code: int, stderr: bytes) -> str:
    lines: Sequence[str] = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"
