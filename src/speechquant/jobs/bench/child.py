"""Run as a program: open one system, use it once, and say what that took. Imports nothing that needs memory.

Standard input has a pickled pair: the function that opens the system, itself pickled, and the waves. The last
line of standard output is a JSON object. It is a file and not a module for `python -m`, which would import the
packages around it first.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import time
from pathlib import Path

__all__ = ["main", "peak_bytes"]

_STATUS = Path("/proc/self/status")


def main() -> None:
    """Measure and report."""
    opener, waves = pickle.load(sys.stdin.buffer)  # noqa: S301 - comes from our own parent process
    start = time.perf_counter()
    recognizer = pickle.loads(opener)()  # noqa: S301 - imports the engine, which is a part of loading
    opened = time.perf_counter()
    loaded = peak_bytes()
    recognizer.recognize(waves)
    done = time.perf_counter()
    found = {
        "load_s": opened - start,
        "first_ms": 1e3 * (done - opened),
        "loaded_bytes": loaded,
        "peak_bytes": peak_bytes(),
    }
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def peak_bytes() -> int | None:
    """The most memory that this process has had resident; None where the system does not tell.

    On Linux `ru_maxrss` would not do: it includes what the parent process had when it made this one.
    """
    if _STATUS.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii", errors="replace"))
        return 1024 * int(found[1]) if found else None
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, others KiB.
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
