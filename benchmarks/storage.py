"""Bytes of quantized weights: side by side, coded as artifacts store them, by other coders, and their entropy.

    python benchmarks/storage.py demo demo:hubert-mini --out docs/results/storage

Weights are rounded to nearest with one scale per output channel, of least squared error below 8 bits. "entropy" is
what an ideal code with one histogram per tensor would need, without the histogram; rANS has that model and stores 2
bytes per bin. The other coders are the packages `constriction` and `zstandard`. Decoding is CPU time. The last table
reads a file of an architecture with random weights as `speechquant export` does; "3.5, paper": the Linears of the
Transformer in 3 and 4 bits, half each, and all other weights in 8, which is the rule of arXiv 2501.03643 as we read it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from harness import provenance

from speechquant.artifact import storage_of
from speechquant.artifact.weights import Tensors, save_tensors
from speechquant.jobs.sources import resolve_model
from speechquant.learn.allocation import is_searched
from speechquant.models import load_model
from speechquant.models.random import random_model
from speechquant.numerics import decode, encode, pack, quantize, smallest, unpack
from speechquant.numerics.packing import to_bytes
from speechquant.simulation import weight_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.numerics import ScaleTable

BITS = (8, 6, 4, 3, 2)
PAPER = "3.5, paper"
ARCHITECTURES = {"wav2vec2-base": (8, 4, 3), "hubert-large": (PAPER,)}
CODERS = ("packed", "deflate", "zstd", "rans")
NEEDS = {"zstd": "zstandard", "rans": "constriction"}


def main() -> None:
    """Measure all models and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bits", type=int, nargs="+", default=BITS)
    parser.add_argument("--no-load", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    absent = [package for package in NEEDS.values() if importlib.util.find_spec(package) is None]
    if absent:
        parser.error(f"the coders it compares are missing: pip install {' '.join(absent)}")
    results: dict[str, Any] = {"rows": [], "load": []}
    for name in options.models:
        model = load_model(resolve_model(name))
        for bits in options.bits:
            row = {"model": name, "bits": bits, **measured(model, bits)}
            results["rows"].append(row)
            print(row, flush=True)
    if not options.no_load:
        results["load"] = [row for name, widths in ARCHITECTURES.items() for row in loaded(name, widths)]
    write(options.out, results, provenance(__doc__ or ""))


def measured(model: Any, bits: int) -> dict[str, Any]:
    """Bytes and nanoseconds per value by coder, over all weights of a model."""
    table = weight_table(model, model.sites(), bits=bits, method="max" if bits == 8 else "mse")
    size: dict[str, float] = dict.fromkeys((*CODERS, "stored", "entropy"), 0.0)
    seconds = dict.fromkeys(CODERS, 0.0)
    values = 0
    for entry in table:
        weight = model.operator(entry.site.module).get_parameter("weight").detach().numpy()
        integers = quantize(weight, entry.scale, entry.spec)
        values += integers.size
        size["entropy"] += entropy_bytes(integers)
        size["stored"] += smallest(integers, bits)[0].size
        for name, coder in coders(integers, bits).items():
            stored, read = coder()
            start = time.process_time()
            back = read()
            seconds[name] += time.process_time() - start
            assert np.array_equal(np.asarray(back).reshape(-1), integers.reshape(-1))
            size[name] += stored
    return {
        "values": values,
        "bytes": {name: round(count) for name, count in size.items() if count},
        "decode_ns": {name: 1e9 * spent / values for name, spent in seconds.items() if size[name]},
    }


def coders(integers: Any, bits: int) -> dict[str, Callable[[], tuple[int, Callable[[], Any]]]]:
    """Each coder as a function to the bytes and the reader."""

    def packed() -> Any:
        data = pack(integers, bits)
        return data.size, lambda: unpack(data, bits, integers.shape)

    def deflate() -> Any:
        data = encode(integers, bits)
        return data.size, lambda: decode(data, bits, integers.shape)

    def zstd() -> Any:
        from speechquant.numerics.packing import from_bytes

        library = importlib.import_module("zstandard")
        data = library.ZstdCompressor(level=1).compress(to_bytes(integers, bits).tobytes())
        reader = library.ZstdDecompressor()
        return len(data), lambda: from_bytes(
            np.frombuffer(reader.decompress(data), np.uint8), bits, integers.size
        )

    def rans() -> Any:
        stream = importlib.import_module("constriction").stream
        low = int(integers.min())
        symbols = (integers.reshape(-1).astype(np.int32) - low).astype(np.int32)
        counts = np.bincount(symbols)
        model = stream.model.Categorical(counts / counts.sum(), perfect=False)
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(symbols, model)
        data = coder.get_compressed()
        return (
            data.nbytes + 2 * counts.size,
            lambda: stream.stack.AnsCoder(data).decode(model, symbols.size) + low,
        )

    return {"packed": packed, "deflate": deflate, "zstd": zstd, "rans": rans}


def entropy_bytes(integers: Any) -> float:
    """Bytes of an ideal code for independent values of one histogram."""
    _, counts = np.unique(integers, return_counts=True)
    share = counts / counts.sum()
    return -float((share * np.log2(share)).sum()) * integers.size / 8


def loaded(architecture: str, widths: tuple[int | str, ...]) -> list[dict[str, Any]]:
    """Seconds to read all weights of an architecture, median of three."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(architecture, Path(folder) / "model")
        arrays = {name: tensor.numpy() for name, tensor in model.module.state_dict().items()}
        for bits in widths:
            path = Path(folder) / "model.safetensors"
            table = (
                paper_table(model) if bits == PAPER else weight_table(model, model.sites(), bits=int(bits))
            )
            save_tensors(path, arrays, table)
            spent, wall = [], []
            for _ in range(3):
                start, clock = time.process_time(), time.perf_counter()
                _all = dict(Tensors(path))
                spent.append(time.process_time() - start)
                wall.append(time.perf_counter() - clock)
            rows.append(
                {
                    "architecture": architecture,
                    "bits": bits,
                    "cpu_seconds": sorted(spent)[1],
                    "wall_seconds": sorted(wall)[1],
                    **storage_of(path).figures(),
                }
            )
            print(rows[-1], flush=True)
    return rows


def paper_table(model: Any) -> ScaleTable:
    """The Linears of the Transformer in 3 and 4 bits, half of their weights each, and all other weights in 8."""
    sites = [site for site in model.sites() if site.role == "weight"]
    searched = [site for site in sites if is_searched(model.operator(site.module), site.layer, "paper")]
    rest = [site for site in sites if site not in searched]
    blocks: dict[str, list[Any]] = {}
    for site in searched:
        blocks.setdefault(site.layer, []).append(site)
    layers = list(blocks.values())
    table = weight_table(model, rest, bits=8)
    for bits, part in ((3, layers[::2]), (4, layers[1::2])):
        table = table.merged(weight_table(model, [site for block in part for site in block], bits=bits))
    return table


def write(out: Path, results: dict[str, Any], where: dict[str, Any]) -> None:
    """`<out>.json` with everything and `<out>.md` with the tables."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps({**where, **results}, indent=1) + "\n", encoding="utf-8")
    text = [f"# {where['about']}", "", *(__doc__ or "").strip().split("\n\n")[2].splitlines(), ""]
    text += ["Bytes in percent of the packed ones; nanoseconds of decoding per weight in brackets.", ""]
    text += ["| model | bits | packed, MB | as stored | deflate | zstd | rANS | entropy |"]
    text += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in results["rows"]:
        sizes = row["bytes"]
        cells = [share(row, "stored"), *(share(row, name) for name in (*CODERS[1:], "entropy"))]
        text.append(
            f"| {row['model']} | {row['bits']} | {sizes['packed'] / 1e6:.2f} "
            f"({row['decode_ns']['packed']:.1f}) | {' | '.join(cells)} |"
        )
    if results["load"]:
        text += [
            "",
            "| architecture | bits | MB | times smaller | packed only | all weights read, s (CPU s) |",
        ]
        text += ["| --- | --- | --- | --- | --- | --- |"]
    for row in results["load"]:
        text.append(
            f"| {row['architecture']} | {row['bits']} | {row['stored_bytes'] / 1e6:.1f} | {row['ratio']:.2f} | "
            f"{row['packed_ratio']:.2f} | {row['wall_seconds']:.2f} ({row['cpu_seconds']:.2f}) |"
        )
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def share(row: dict[str, Any], name: str) -> str:
    """`87.7 (4.0)`."""
    if name not in row["bytes"]:
        return ""
    text = f"{100 * row['bytes'][name] / row['bytes']['packed']:.1f}"
    spent = row["decode_ns"].get(name)
    return text if spent is None else f"{text} ({spent:.1f})"


if __name__ == "__main__":
    main()
