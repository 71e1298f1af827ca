from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Other processes find `bench_fakes` by name.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def made():
    """A result of four systems at 1, 2 and 10 s; system times are constant factors of the length."""
    from speechquant.engines import Coverage, LatencyResult
    from speechquant.jobs.bench import BenchResult, Cell, System
    from speechquant.jobs.bench.footprint import Footprint
    from speechquant.jobs.bench.provenance import provenance

    def make(turns=None, tokens=None, **changes):
        systems = {
            "torch f32": System(None, "f32", "torch", 4000),
            "a f32": System(None, "f32", "a", 4100),
            "a bf16": System(None, "bf16", "a", 4100),
            "a int8": System(None, "int8", "a", 1000, "rest in f32", Coverage(3, 4, ("x",))),
        }
        factors = dict(zip(systems, (8.0, 4.0, 2.0, 1.0), strict=True))
        cells = [
            Cell(
                LatencyResult(
                    seconds,
                    turns or {name: (10 * f * seconds,) * 3 for name, f in factors.items()},
                    batch,
                ),
                tokens or {},
            )
            for batch in (1, 4)
            for seconds in (10.0, 1.0, 2.0)
        ]
        footprints = [
            Footprint(name, seconds, 1, 0.5 * f, 3 * f, 10_000_000, round(1e6 * (100 + seconds * f)))
            for name, f in factors.items()
            for seconds in (1.0, 10.0)
        ]
        where = provenance(threads=2, repeats=3, warmup=2, audio="noise")
        settings = {"footprints": tuple(footprints), **changes}
        return BenchResult("a model", where, systems, tuple(cells), **settings)

    return make
