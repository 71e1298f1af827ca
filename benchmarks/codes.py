"""Error of quantized weights for the bytes that a file takes, by code: bits that hold integers, or bits of entropy.

    python benchmarks/codes.py demo demo:hubert-mini --out docs/results/codes

All weights of a model are rounded to nearest with the same bits. Bits stored: entropy-coded integers and scales in the
file, per weight. SNR: squared weights over squared errors, summed over all weights. "fixed" has the scale of least
squared error per channel or tensor, "entropy" the uniform grid of `learn --code entropy`.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
from harness import provenance

from speechquant.jobs.sources import resolve_model
from speechquant.learn.allocation import candidates_of
from speechquant.models import load_model
from speechquant.numerics import Code

BITS = {"fixed": (2, 3, 4), "entropy": (1.5, 2, 2.5, 3, 3.5, 4)}


def main() -> None:
    """Measure all models and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for name in options.models:
        model = load_model(resolve_model(name))
        for code in get_args(Code):
            for granularity in ("channel", "tensor"):
                rows += measured(name, model, code, granularity)
    write(options.out, rows, provenance(__doc__ or ""))


def measured(name: str, model: Any, code: Any, granularity: Any) -> list[dict[str, Any]]:
    """A row for each number of bits."""
    found = candidates_of(model, rule="all", code=code, bits=BITS[code], granularity=granularity)
    energy = sum(float(np.square(m.weight, dtype=np.float64).sum()) for m in found.matrices)
    weights = sum(m.weight.size for m in found.matrices)
    rows = []
    for bits in BITS[code]:
        errors = (m.quantized(bits).numpy().astype(np.float64) - m.weight for m in found.matrices)
        lost = sum(float(np.square(error).sum()) for error in errors)
        rows.append(
            {
                "model": name,
                "code": code,
                "scales": granularity,
                "bits": bits,
                "stored": 8 * sum(m.bytes[bits] for m in found.matrices) / weights,
                "held": sum(m.entries[bits].spec.bits * m.weight.size for m in found.matrices) / weights,
                "snr": 10 * math.log10(energy / lost),
            }
        )
        print(rows[-1], flush=True)
    return rows


def write(out: Path, rows: list[dict[str, Any]], where: dict[str, Any]) -> None:
    """`<out>.json` and `<out>.md`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({**where, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    text = [f"# {where['about']}", "", *(__doc__ or "").strip().split("\n\n")[2].splitlines(), ""]
    text += ["| model | code | a scale per | bits | bits that hold it | bits stored | SNR, dB |"]
    text += ["| --- | --- | --- | --- | --- | --- | --- |"]
    text += [
        f"| {row['model']} | {row['code']} | {row['scales']} | {row['bits']:g} | {row['held']:.2f} "
        f"| {row['stored']:.2f} | {row['snr']:.2f} |"
        for row in rows
    ]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
