r"""What an x86 processor without VNNI loses with fast 8-bit products, and what exact ones cost: words, frames, time.

    speechquant quantize demo -o build/demo
    speechquant quantize demo:hubert-mini --max-drop inf --cutoffs 0:0.5:0.05 --dev-minutes 8 -o build/hubert-mini
    python benchmarks/saturation.py --artifact demo=build/demo --artifact demo:hubert-mini=build/hubert-mini \
        --out docs/results/saturation

The same files run in ONNX Runtime with its fast products, and with its exact ones (`session.x64quantprecision`), which
speechquant asks for on such processors. On others both are the same. Times are medians of interleaved turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from harness import cell, provenance

from speechquant.artifact import load_artifact
from speechquant.data import iter_loaded
from speechquant.engines import EngineOptions, load_recognizer, session
from speechquant.engines.cpu import read_cpu
from speechquant.engines.export import export_onnx
from speechquant.evaluation import Evaluator
from speechquant.jobs.sources import resolve_corpus, resolve_model
from speechquant.metrics import token_agreement
from speechquant.models import load_model
from speechquant.simulation import quantized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speechquant.decoding import Transcript

SECONDS, TURNS, WARM = 10, 11, 2
SYSTEMS = ("float32", "fast", "exact")


def main() -> None:
    """Evaluate and time all artifacts, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", action="append", required=True, help="MODEL=FOLDER; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not read_cpu().saturates:
        print("this processor has exact products alone; both rows will be the same")
    found: dict[str, Any] = {}
    for text in options.artifact:
        name, _, folder = text.partition("=")
        found[name] = measured(name, Path(folder), options.threads)
        write(options.out, found, provenance(__doc__ or ""))


def measured(name: str, folder: Path, threads: int) -> dict[str, Any]:
    """Word errors of the float model, the simulation and both kinds of products, and times of engines."""
    model, artifact, test = (
        load_model(resolve_model(name)),
        load_artifact(folder),
        resolve_corpus("demo:test"),
    )
    evaluator = Evaluator("whisper-english" if model.writes_punctuation else "upper")
    with tempfile.TemporaryDirectory() as scratch:
        export_onnx(model, None, Path(scratch))
        engines = {
            "float32": load_recognizer(
                Path(scratch), vocabulary=model.folder, options=EngineOptions(threads)
            ),
            "exact": load_recognizer(folder / "onnx", vocabulary=folder, options=EngineOptions(threads)),
        }
        with fast_products():
            engines["fast"] = load_recognizer(
                folder / "onnx", vocabulary=folder, options=EngineOptions(threads)
            )
        evaluations = {"float": evaluator.evaluate(model.recognizer(), test)}
        stored = load_model(folder, tensors=artifact.tensors())
        with quantized(stored, artifact.scale_table()):
            evaluations["simulated"] = evaluator.evaluate(stored.recognizer(), test)
        for system in ("fast", "exact"):
            evaluations[system] = evaluator.evaluate(engines[system], test)
        times = turns(engines, test)
    reference, simulated = evaluations["float"], evaluations["simulated"]
    rows = {key: value.figures() for key, value in evaluations.items()}
    for key, value in evaluations.items():
        if key != "float":
            rows[key]["p_value"] = reference.compare(value).p_value
        if key in SYSTEMS:
            heard = [
                [said(run.transcripts[name]) for name in reference.transcripts] for run in (simulated, value)
            ]
            rows[key]["agreement"] = token_agreement(*heard)
    return {"words": reference.errors.words, "rows": rows, "ms": times}


def said(transcript: Transcript) -> tuple[int, ...]:
    """Ids of frames for CTC, of tokens otherwise."""
    return transcript.frames or transcript.tokens


@contextmanager
def fast_products() -> Iterator[None]:
    """Sessions that are opened inside do not know that the processor saturates."""
    cpu = read_cpu()
    with patch.object(session, "read_cpu", lambda: replace(cpu, features=(*cpu.features, "avx-vnni"))):
        yield


def turns(engines: dict[str, Any], test: Any) -> dict[str, list[float]]:
    """Milliseconds by engine and turn, of `SECONDS` of speech."""
    waves = [wave for _, wave in iter_loaded(test, strict=True, on_skip=print)]
    rate = next(iter(engines.values())).sampling_rate
    wave = np.concatenate(waves)[: SECONDS * rate]
    found: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for turn in range(WARM + TURNS):
        for name in SYSTEMS:
            start = time.perf_counter()
            engines[name].recognize([wave])
            if turn >= WARM:
                found[name].append(1e3 * (time.perf_counter() - start))
    return found


def write(out: Path, found: dict[str, Any], where: dict[str, Any]) -> None:
    """JSON with everything, Markdown with the table."""
    lines = [
        f"# {where['about']}",
        "",
        "WER on test in % (95 %), S/D/I, p: MAPSSWE against PyTorch float32, two-sided, \\*: p < 0.05. Agreement: one",
        "minus the edit distance to the simulation's frames or tokens, over their number. Time: median of",
        f"{TURNS} turns on {SECONDS} s of speech, and the median",
        "within a turn of ONNX Runtime float32 over it.",
        "",
        "| model | system | WER | agreement | ms | times faster |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, model in found.items():
        for key, row in {**model["rows"], "float32": None}.items():
            times = model["ms"].get(key)
            ratio = "" if times is None else f"{median(np.divide(model['ms']['float32'], times)):.2f}"
            spent = "" if times is None else f"{median(times):.0f}"
            agreement = "" if row is None or "agreement" not in row else f"{100 * row['agreement']:.2f} %"
            label = {
                "fast": "int8, fast products",
                "exact": "int8, exact products",
                "float": "PyTorch float32",
            }
            shown = label.get(key, "ONNX Runtime float32" if key == "float32" else "simulated")
            lines.append(f"| {name} | {shown} | {cell(row)} | {agreement} | {spent} | {ratio} |")
    versions = ", ".join(f"{key} {value}" for key, value in where["versions"].items())
    lines += [
        "",
        f"    {where['command']}",
        "",
        f"Commit {where['commit'][:12]}; {where['machine']};",
        f"{versions}.",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps({"models": found, "provenance": where}, indent=1, default=str)
    out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
