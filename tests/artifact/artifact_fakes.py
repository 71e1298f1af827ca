"""A small artifact with everything that a real one has."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from speechquant.artifact import ArtifactContents
from speechquant.decoding import RuntimeSpec
from speechquant.engines.manifest import Coverage, EngineFile, OperatorRecord
from speechquant.engines.manifest import Manifest as EngineManifest
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, weight_scales

CHANNELS, INPUTS, KERNEL = 6, 5, 3


def weights(seed=0):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(7, CHANNELS)).astype(np.float32)
    return {
        "conv.weight": rng.normal(size=(CHANNELS, INPUTS, KERNEL)).astype(np.float32),
        "conv.bias": rng.normal(size=CHANNELS).astype(np.float32),
        "head.weight": embedding,
        "embed.weight": embedding,
    }


def table(arrays, bits=8, conv_layer="conv.0"):
    def entry(site, spec, scale):
        return Entry(site, spec, np.asarray(scale, np.float32))

    narrow = QuantSpec(bits, "channel", narrow=True)
    entries = [
        entry(Site("conv", "input", conv_layer), QuantSpec(8), 0.1),
        entry(Site("conv", "weight", conv_layer), narrow, weight_scales(arrays["conv.weight"], narrow)),
        entry(Site("head", "input", "head"), QuantSpec(8, "channel"), np.linspace(0.01, 0.02, CHANNELS)),
        entry(
            Site("head", "weight", "head"),
            QuantSpec(4, narrow=True),
            weight_scales(arrays["head.weight"], QuantSpec(4, narrow=True)),
        ),
    ]
    return ScaleTable({item.site.name: item for item in entries})


def fill_onnx(folder):
    """Graphs that nobody runs; `engine.json` is real."""
    data = b"not run in these tests"
    (folder / "model.onnx").write_bytes(data)
    runtime = RuntimeSpec("ctc", 16_000, True, False, 400, 0.02)
    file = EngineFile("model", "model.onnx", len(data), hashlib.sha256(data).hexdigest())
    operators = (
        OperatorRecord("model", ("conv",), "conv", int8=True),
        OperatorRecord("model", ("head",), "head", int8=True),
    )
    coverage = Coverage(1, 2, ("head",), ("head",))
    EngineManifest("onnxruntime", runtime, (file,), operators, coverage).save(folder)


def contents(folder, **changes):
    """`folder` receives the model's own files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config.json": '{"model_type": "hubert"}', "vocab.json": '{"<pad>": 0, "a": 1}'}
    for name, text in files.items():
        (folder / name).write_text(text)
    arrays = weights()
    base = ArtifactContents(
        name="tiny",
        source="someone/tiny",
        family="hubert",
        task="ctc",
        method="stablequant",
        bits="w8a8",
        model_files=[folder / name for name in files],
        weights=arrays,
        table=table(arrays),
        metrics={
            "float": row(10.0),
            "quantized": row(10.5),
            "p_value": 0.4,
            "bytes": {"float": 4_000_000, "quantized": 1_000_000},
            "latency_ms": {"float": 20.0, "quantized": 10.0, "seconds": 10.0},
            "coverage": {"int8": 2, "total": 2, "fallbacks": []},
        },
        model_signature="m" * 64,
        data_signatures={"dev": "d" * 64},
        recipe="# speechquant quantize\nbits: w8a8\n",
        onnx=fill_onnx,
        selected_layers=("conv.0",),
        p_opt=0.05,
        report="<!doctype html><title>tiny</title>",
        license_name="mit",
    )
    return replace(base, **changes)


def row(wer):
    counts = {"words": 1000, "substitutions": 60, "deletions": 30, "insertions": 15}
    return {"wer": wer, **counts, "low": wer - 1, "high": wer + 1}
