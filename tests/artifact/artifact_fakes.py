"""A small artifact with everything that a real one has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import soundfile

from speechquant.artifact import ArtifactContents
from speechquant.decoding import RuntimeSpec
from speechquant.engines.manifest import Coverage, EngineFile, OperatorRecord
from speechquant.engines.manifest import Manifest as EngineManifest
from speechquant.numerics import Entry, QuantSpec, ScaleTable, Site, weight_scales

CHANNELS, INPUTS, KERNEL = 6, 5, 3
RATE, HOP, STEP = 16_000, 320, 0.125
LETTERS = ["<pad>", "|", "A", "B", "C", "D"]


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
    """A CTC graph that reads letters from amplitudes (see `speech`), and its `engine.json`."""
    save_graph(folder / "model.onnx")
    data = (folder / "model.onnx").read_bytes()
    runtime = RuntimeSpec(
        "ctc", RATE, normalize=False, length_exact=True, minimum_samples=HOP, frame_seconds=0.02
    )
    file = EngineFile("model", "model.onnx", len(data), hashlib.sha256(data).hexdigest())
    operators = (
        OperatorRecord("model", ("conv",), "conv", int8=True),
        OperatorRecord("model", ("head",), "head", int8=True),
    )
    coverage = Coverage(1, 2, ("head",), ("head",))
    EngineManifest("onnxruntime", runtime, (file,), operators, coverage).save(folder)


def save_graph(path):
    """Logits are minus the squared distance of a frame's mean from the amplitude of each letter."""
    levels = (STEP * np.arange(len(LETTERS), dtype=np.float32))[None, None]
    kernel = np.full((1, 1, HOP), 1 / HOP, np.float32)
    make = onnx.helper.make_node
    nodes = [
        make("Unsqueeze", ["wave", "one"], ["channel"]),
        make("Conv", ["channel", "kernel"], ["mean"], strides=[HOP], name="conv"),
        make("Transpose", ["mean"], ["frames"], perm=[0, 2, 1]),
        make("Sub", ["frames", "levels"], ["off"], name="head"),
        make("Mul", ["off", "off"], ["square"]),
        make("Neg", ["square"], ["logits"]),
    ]
    constants = {"one": np.array([1]), "kernel": kernel, "levels": levels}
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value("wave", onnx.TensorProto.FLOAT, [1, "time"])],
        [value("logits", onnx.TensorProto.FLOAT, [1, "frames", len(LETTERS)])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def speech(text, pause=0):
    """Samples that the graph reads as `text`; frames of blank keep equal letters apart."""
    frames = [0] * pause
    for letter in text:
        frames += [LETTERS.index("|" if letter == " " else letter)] * 2 + [0]
    return np.repeat(STEP * np.array(frames, np.float32), HOP)


def write_speech(path, text, pause=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech(text, pause), RATE, subtype="FLOAT")
    return path


def contents(folder, **changes):
    """`folder` receives the model's own files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": '{"model_type": "hubert"}',
        "vocab.json": json.dumps({x: i for i, x in enumerate(LETTERS)}),
    }
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
        maxima={"conv:input": 31.5},
        report="<!doctype html><title>tiny</title>",
        license_name="mit",
    )
    return replace(base, **changes)


def row(wer):
    counts = {"words": 1000, "substitutions": 60, "deletions": 30, "insertions": 15}
    return {"wer": wer, **counts, "low": wer - 1, "high": wer + 1}
