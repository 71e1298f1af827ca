r"""Forms of the int8 graph for ONNX Runtime that were tried: each against the one that is written now.

    python benchmarks/trials.py --model build/wav2vec2-base --out docs/results/engine-trials

A trial changes one thing, by replacing a function of the exporter or an optimisation of the engine. Attention is
also tried alone, on random queries, keys and values.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import onnx_ir as ir
import onnxruntime
from harness import provenance
from onnx import TensorProto, helper, numpy_helper

from speechquant.engines import session
from speechquant.engines.export import export_onnx
from speechquant.engines.export.builder import Builder, replace
from speechquant.engines.export.dialects import convolution
from speechquant.engines.export.dialects import onnxruntime as dialect
from speechquant.engines.export.multihead import fuse_attention
from speechquant.engines.latency import take_turns
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.simulation import activation_table, observe, weight_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXPORT = "speechquant.engines.export.dialects"
WARMUP = 2
MICROSOFT = "com.microsoft"
PLAIN = "products and a softmax"


def projected_inside(model: ir.Model) -> int:
    """Attention that multiplies by the weights of query, key and value itself, in integers."""
    found = fuse_attention(model)
    for node in tuple(model.graph):
        if node.op_type != "MultiHeadAttention":
            continue
        integers, weight, step, scales, zero, _, bias = source(source(node)).inputs
        zeros = Builder(model.graph, node, node.name or "").const(
            np.zeros(scales.shape.numpy(), np.int8), "zeros"
        )
        inputs = [integers, weight, bias, step, scales, None, zero, zeros]
        heads = [ir.AttrInt64("num_heads", node.attributes.get_int("num_heads"))]
        new = ir.Node(MICROSOFT, "QAttention", inputs, heads, name=f"{node.name}/projected")
        new.outputs[0].name = f"{node.name}/projected"
        model.graph.insert_before(node, new)
        replace(node.outputs[0], new.outputs[0])
    return found


def source(node: ir.Node) -> ir.Node:
    """The node that makes the first input."""
    return node.inputs[0].producer()


def own_gelu(model: ir.Model) -> int:
    """ONNX Runtime's operator for GELU in the place of the standard one."""
    for node in model.graph:
        if node.op_type == "Gelu":
            node.domain = MICROSOFT
            node.attributes.pop("approximate", None)
    return fuse_attention(model)


# Name -> what is replaced while the graph is written, and what the engine leaves out beyond the usual.
GRAPHS: dict[str, tuple[str, dict[str, Any], list[str] | None]] = {
    "as written": ("", {}, None),
    "sum and layer norm fused by the engine": ("SkipLayerNormalization", {}, []),
    "group norm as an operator": (
        "InstanceNormalization between two transposes",
        {"convolution.norm_behind": lambda *_: None},
        None,
    ),
    "bias behind the product": ("BiasGelu", {"onnxruntime.product": None, "convolution.product": None}, None),
    "query, key and value apart": (
        "three products instead of one and a Split",
        {"onnxruntime.fuse": lambda jobs, **_: [[job] for job in jobs]},
        None,
    ),
    "attention by products and a softmax": ("", {"onnxruntime.fuse_attention": lambda _: 0}, None),
    "attention with its projections inside": (
        "QAttention",
        {"onnxruntime.fuse_attention": projected_inside},
        None,
    ),
    "ONNX Runtime's own GELU": ("com.microsoft.Gelu", {"onnxruntime.fuse_attention": own_gelu}, None),
    "positional convolution by single frames": ("", {"convolution._BLOCK": 1}, None),
    "positional convolution by 4 frames": ("", {"convolution._BLOCK": 4}, None),
}


def main() -> None:
    """Write all forms, let them run in turns, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--arch", default="wav2vec2-base")
    parser.add_argument(
        "--model", type=Path, required=True, help="folder for the random model, made if absent"
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    where = provenance(__doc__ or "")
    graphs = whole_models(options)
    frames = int(options.seconds * 16_000 - 400) // 320 + 1
    rows = {"graphs": graphs, "attention": attention(frames, options), "biased": biased(frames, options)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(
        json.dumps({**where, **rows}, indent=1) + "\n", encoding="utf-8"
    )
    options.out.with_suffix(".md").write_text(page(where, rows, options), encoding="utf-8")


class Runner:
    """A session that takes its turn."""

    def __init__(self, opened: Any, feed: Mapping[str, Any]) -> None:
        self.session, self.feed = opened, dict(feed)

    def recognize(self, _: Sequence[Any]) -> list[Any]:
        """Run and forget."""
        self.session.run(None, self.feed)
        return []


def whole_models(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every form of the whole graph."""
    rng = np.random.default_rng(0)
    known = (options.model / "config.json").is_file()
    model = load_model(str(options.model)) if known else random_model(options.arch, options.model)
    histograms = observe(model, [rng.normal(0, 0.1, 160_000).astype(np.float32)])
    table = weight_table(model, model.sites(), bits=8)
    table = table.merged(
        activation_table(model.sites(), histograms=histograms, calibrator="percentile", bits=8)
    )
    wave = rng.normal(0, 1, (1, int(options.seconds * 16_000))).astype(np.float32)
    runners = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, replaced, fused) in GRAPHS.items():
            folder = Path(scratch) / name.replace(" ", "-")
            with Replaced(replaced):
                export_onnx(model, table, folder)
            settings = session.SessionOptions(threads=options.threads)
            with patch.object(session, "_SLOWER_FUSED", session._SLOWER_FUSED if fused is None else fused):
                opened = session.open_session(folder / "model.onnx", settings)
            runners[name] = Runner(opened, {"wave": wave})
    return turns(runners, options.repeats, {name: what for name, (what, _, _) in GRAPHS.items()})


class Replaced:
    """Parts of the exporter replaced for a while; a product without bias where nothing is given."""

    def __init__(self, replaced: Mapping[str, Any]) -> None:
        self.patches = [
            patch(f"{EXPORT}.{name}", bias_behind if new is None else new) for name, new in replaced.items()
        ]

    def __enter__(self) -> None:
        for one in self.patches:
            one.start()

    def __exit__(self, *_: object) -> None:
        for one in self.patches:
            one.stop()


_product = convolution.product
assert _product is dialect.product


def bias_behind(b: Any, *parts: Any, bias: Any) -> Any:
    """The product, and a sum behind it."""
    result = _product(b, *parts, bias=None)
    return result if bias is None else b.op("Add", result, bias)


def attention(
    frames: int, options: argparse.Namespace, heads: int = 12, width: int = 768
) -> list[dict[str, Any]]:
    """Ways to compute scaled dot product attention from projections (1, frames, width)."""
    rng = np.random.default_rng(0)
    feed = {name: rng.normal(size=(1, frames, width)).astype(np.float32) for name in "qkv"}
    ways = {
        "MultiHeadAttention": ([ms("MultiHeadAttention", "q k v", "y", num_heads=heads)], "as written"),
        PLAIN: (plain(), "what PyTorch writes"),
        "Attention of opset 23": (
            [helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=heads, kv_num_heads=heads)],
            "one operator",
        ),
        "transposes inside the products": (strided(width, heads), "transBatchA, transBatchB; batch 1 only"),
        "integer products": (integer(width, heads), "uint8 scores and probabilities, int8 keys and values"),
    }
    return compared(ways, feed, heads, options)


def biased(
    frames: int, options: argparse.Namespace, heads: int = 12, width: int = 768
) -> list[dict[str, Any]]:
    """The same with something on top of the scores, as models with relative positions have it."""
    rng = np.random.default_rng(0)
    feed = {name: rng.normal(size=(1, frames, width)).astype(np.float32) for name in "qkv"}
    feed["b"] = rng.normal(size=(1, heads, frames, frames)).astype(np.float32)
    fused = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", "", "", "b"], ["y"], domain=MICROSOFT, num_heads=heads
    )
    ways = {
        "MultiHeadAttention": ([fused], "as written"),
        PLAIN: (plain(bias=True), "what PyTorch writes"),
    }
    return compared(ways, feed, heads, options)


def compared(
    ways: Mapping[str, tuple[list[Any], str]],
    feed: Mapping[str, Any],
    heads: int,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Ways in turns, and what they differ from products and a softmax."""
    runners = {name: Runner(_session(nodes, heads, feed, options), feed) for name, (nodes, _) in ways.items()}
    expected = runners[PLAIN].session.run(None, feed)[0]
    rows = turns(runners, options.repeats, {name: what for name, (_, what) in ways.items()})
    for row in rows:
        error = runners[row["name"]].session.run(None, feed)[0] - expected
        row["sqnr_db"] = float(10 * np.log10(np.sum(expected**2) / max(np.sum(error**2), 1e-30)))
    return rows


def ms(op: str, inputs: str, output: str, **settings: Any) -> Any:
    """An operator of ONNX Runtime's own."""
    return helper.make_node(op, inputs.split(), [output], domain=MICROSOFT, **settings)


def std(op: str, inputs: str, output: str, **settings: Any) -> Any:
    """A standard operator."""
    return helper.make_node(op, inputs.split(), [output], **settings)


def plain(*, bias: bool = False) -> list[Any]:
    """What PyTorch writes."""
    nodes = [std("Reshape", f"{x} split", f"{x}4") for x in "qkv"]
    nodes += [std("Transpose", f"{x}4", f"{x}t", perm=[0, 2, 1, 3]) for x in "qv"]
    nodes += [std("Transpose", "k4", "kt", perm=[0, 2, 3, 1]), std("MatMul", "qt kt", "s")]
    nodes += [std("Mul", "s root", "scaled")]
    nodes += [std("Add", "scaled b", "biased")] if bias else []
    nodes += [
        std("Softmax", "biased" if bias else "scaled", "p", axis=-1),
        std("MatMul", "p vt", "o"),
    ]
    return [*nodes, std("Transpose", "o", "ot", perm=[0, 2, 1, 3]), std("Reshape", "ot join", "y")]


def strided(width: int, heads: int) -> list[Any]:
    """Products that read queries, keys and values where they lie."""
    alpha = float((width / heads) ** -0.5)
    nodes = [std("Reshape", f"{x} split3", f"{x}3") for x in "qkv"]
    nodes += [ms("FusedMatMul", "q3 k3", "s", transBatchA=1, transBatchB=1, transB=1, alpha=alpha)]
    nodes += [std("Softmax", "s", "p", axis=-1), ms("FusedMatMul", "p v3", "o", transBatchB=1)]
    return [*nodes, std("Transpose", "o", "ot", perm=[1, 0, 2]), std("Reshape", "ot join3", "y")]


def integer(width: int, heads: int) -> list[Any]:
    """Both products in 8 bits, with one scale each."""
    del width, heads
    nodes = []
    for x, zero in (("q", "middle"), ("k", "none"), ("v", "none")):
        nodes += [std("QuantizeLinear", f"{x} step {zero}", f"{x}8"), std("Reshape", f"{x}8 split", f"{x}4")]
        nodes += [std("Transpose", f"{x}4", f"{x}t", perm=[0, 2, 3, 1] if x == "k" else [0, 2, 1, 3])]
    nodes += [ms("MatMulIntegerToFloat", "qt kt step_root step middle none", "s")]
    nodes += [std("Softmax", "s", "p", axis=-1), std("QuantizeLinear", "p part bottom", "p8")]
    nodes += [ms("MatMulIntegerToFloat", "p8 vt part step bottom none", "o")]
    return [*nodes, std("Transpose", "o", "ot", perm=[0, 2, 1, 3]), std("Reshape", "ot join", "y")]


def _session(nodes: list[Any], heads: int, feed: Mapping[str, Any], options: argparse.Namespace) -> Any:
    width = feed["q"].shape[-1]
    root, step = np.float32((width / heads) ** -0.5), np.float32(4.5 / 127)
    constants = {
        "split": np.array([0, 0, heads, width // heads]),
        "split3": np.array([-1, heads, width // heads]),
        "join": np.array([0, 0, width]),
        "join3": np.array([1, -1, width]),
        "root": root,
        "step": step,
        "step_root": step * root,
        "part": np.float32(1 / 255),
        "middle": np.uint8(128),
        "bottom": np.uint8(0),
        "none": np.int8(0),
    }
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, dynamic(value)) for x, value in feed.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in read],
    )
    imports = [helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    # Threads that wait busily for their session take the cores of the next one: much, for a few milliseconds.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def dynamic(value: Any) -> list[int | str]:
    """A shape whose number of frames is not known beforehand."""
    frames = value.shape[-2]
    return ["time" if size == frames else size for size in value.shape]


def turns(runners: Mapping[str, Any], repeats: int, about: Mapping[str, str]) -> list[dict[str, Any]]:
    """Medians, and the median over the turns of the time of the first by that of each."""
    start = time.time()
    counted = list(islice(take_turns(runners, []), WARMUP + repeats))[WARMUP:]
    first = next(iter(runners))
    rows = []
    for name in runners:
        ms_of = np.array([turn[name] for turn in counted])
        ratios = np.array([turn[first] for turn in counted]) / ms_of
        quartiles = [float(value) for value in np.percentile(ratios, [25, 50, 75])]
        rows.append({"name": name, "about": about[name], "ms": float(np.median(ms_of)), "speed": quartiles})
    print(f"{len(runners)} forms in {time.time() - start:.0f} s", flush=True)
    return rows


def page(where: Mapping[str, Any], rows: Mapping[str, Any], options: argparse.Namespace) -> str:
    """Two tables."""
    lines = [f"# {where['about']}", ""]
    lines += [f"{options.arch}, {options.seconds:g} s of audio, batch 1, {options.threads} threads,"]
    lines += [f"{options.repeats} turns in changing order. Speed: how many times as fast as the first row,"]
    lines += ["median over the turns (quartiles); below 1 is slower.", ""]
    titles = {
        "graphs": "whole model",
        "attention": "attention alone",
        "biased": "attention with a bias on its scores",
    }
    for title, table in ((titles[key], table) for key, table in rows.items()):
        noisy = "sqnr_db" in table[0]
        head = [title, "what", "ms", "speed", *(["SQNR dB"] if noisy else [])]
        lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        for row in table:
            low, median, high = row["speed"]
            cells = [
                row["name"],
                row["about"],
                f"{row['ms']:.1f}",
                f"**{median:.3f}** ({low:.3f}-{high:.3f})",
            ]
            cells += [f"{row['sqnr_db']:.0f}"] if noisy else []
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    return "\n".join([*lines, ", ".join(f"{n} {v}" for n, v in where["versions"].items()) + ".", ""])


if __name__ == "__main__":
    main()
