"""Size and speed of int8 engine files against float, interleaved, on built-in and full-size architectures.

    python benchmarks/engine_speed.py --out docs/results/engine-speed

Full-size architectures have random weights and are calibrated on noise: speed and size do not depend on the values.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import provenance

from speechquant.data import iter_loaded
from speechquant.engines import load_recognizer, measure
from speechquant.engines.export import export_onnx
from speechquant.jobs.sources import resolve_corpus, resolve_model
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.simulation import activation_table, observe, weight_table

MODELS = ("demo", "demo:hubert-mini", "wav2vec2-base", "hubert-large")


def main() -> None:
    """Measure every model at every length and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", nargs="+", type=float, default=[1, 5, 10, 20])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for name in options.models:
        rows += speed(name, options.seconds, options.repeats, options.threads)
        write(options.out, rows, provenance(__doc__ or ""), options.threads)
        print(rows[-len(options.seconds) :], flush=True)


def speed(name: str, lengths: list[float], repeats: int, threads: int) -> list[dict[str, Any]]:
    """One row per length."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        builtin = name.startswith("demo")
        model = load_model(resolve_model(name)) if builtin else random_model(name, folder / "model")
        calibration = (
            speech(60) if builtin else np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
        )
        histograms = observe(model, [calibration[: 16_000 * 10]])
        table = weight_table(model, model.sites(), bits=8)
        table = table.merged(
            activation_table(model.sites(), histograms=histograms, calibrator="percentile", bits=8)
        )
        exported = {"float": export_onnx(model, None, folder / "float")}
        exported["int8"] = export_onnx(model, table, folder / "int8")
        systems = {
            key: load_recognizer(folder / key, threads=threads, vocabulary=model.folder) for key in exported
        }
        systems["pytorch"] = model.recognizer()
        audio = speech(max(lengths))
        waves = [audio[: int(seconds * 16_000)] for seconds in lengths]
        coverage = exported["int8"].coverage
        return [
            {
                "model": name,
                "seconds": result.seconds,
                "ms": dict(result.median),
                "quartiles": {key: [result.low[key], result.high[key]] for key in result.median},
                "speedup": {key: result.ratio(key, "int8") for key in ("float", "pytorch")},
                "bytes": {key: item.bytes for key, item in exported.items()},
                "coverage": [coverage.int8, coverage.total, list(coverage.fallbacks)],
            }
            for result in measure(systems, waves, repeats=repeats)
        ]


def speech(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Real speech, joined to the length."""
    pieces: list[Any] = []
    for _, samples in iter_loaded(resolve_corpus("demo:dev"), strict=True, on_skip=print):
        pieces.append(samples)
        if sum(piece.size for piece in pieces) >= seconds * 16_000:
            break
    joined: np.ndarray[Any, np.dtype[np.float32]] = np.concatenate(pieces)
    return joined


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    size, speedup, coverage = row["bytes"], row["speedup"], row["coverage"]
    return [
        row["model"],
        f"{row['seconds']:g}",
        *(f"{row['ms'][key]:.0f}" for key in ("pytorch", "float", "int8")),
        f"**{speedup['float']:.2f}x**",
        f"{speedup['pytorch']:.2f}x",
        *(f"{size[key] / 1e6:.1f}" for key in ("float", "int8")),
        f"{100 * size['int8'] / size['float']:.1f} %",
        f"{coverage[0]} of {coverage[1]}",
    ]


def write(out: Path, rows: list[dict[str, Any]], where: dict[str, Any], threads: int) -> None:
    """JSON and table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({**where, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    head = ["model", "s", "PyTorch f32 ms", "ORT f32 ms", "ORT int8 ms", "against ORT f32", "against PyTorch"]
    head += ["MB f32", "MB int8", "size", "in int8"]
    table = [head, ["---"] * len(head), *(cells(row) for row in rows)]
    text = [
        f"# {where['about']}",
        "",
        f"Whole transcription of one utterance, {threads} threads, batch 1; medians of",
    ]
    text += ["interleaved turns, speed-ups are medians of the ratios within a turn.", ""]
    text += ["| " + " | ".join(row) + " |" for row in table]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
