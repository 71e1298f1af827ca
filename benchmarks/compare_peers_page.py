"""The table of `compare_peers.py` as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from goals import FLOAT32, fastest, ratio
from harness import cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["page"]

_REFERENCES = {"torch-f32": "float", "ort-int8": "ours"}
_LEGEND = """{model}: dev has {dev:,} words, test {test:,}. WER in % with its 95 % interval, S/D/I words; p: MAPSSWE,
two-sided, against float (PyTorch) and against ours (speechquant int8 on ONNX Runtime), with better or worse where it is
below 0.05. MB: the files that the engine needs. In int8: operators with weights, as read back from the engine. Made in:
seconds of the tool beside other work; ours includes the search on dev, but of a run that was resumed only its last
part, so it is a lower bound. Peers have the same float model and the same calibration recordings; dynamic quantization
needs none. Accuracy control has 8 minutes of dev and may lose 0.25 points on them; of a model with a decoder it
quantizes the encoder alone. Percentiles of decoder steps, which the tool cannot collect, are extremes."""
_LATENCY = """Speed: how many times faster than {best} at {seconds:g} s, the median of the ratios within a turn; ms: the
median. {threads} threads, one utterance per call."""
# Where the result does not say what it was measured at.
_SECONDS = 10.0


def page(result: Mapping[str, Any]) -> list[str]:
    """All lines."""
    rows = result["rows"]
    words = {data: next((row[data]["words"] for row in rows if data in row), 0) for data in ("dev", "test")}
    text = [f"# {result['about']}", "", _LEGEND.format(model=result["model"], **words), ""]
    turns = result.get("turns", {})
    best, seconds = fastest(turns, FLOAT32), result.get("latency_seconds", _SECONDS)
    if best:
        label = next(row["label"] for row in rows if row["system"] == best)
        text += [_LATENCY.format(best=label, threads=result["threads"], seconds=seconds), ""]
    head = ["system", "MB", "in int8", "made in s", "dev WER", "dev p", "test WER", "test p"]
    head += ["speed", f"ms at {seconds:g} s"] if best else []
    table = [head, ["---"] * len(head)]
    for row in rows:
        line = _cells(row)
        if best:
            line += _speed(turns, best, row["system"])
        table.append(line)
    text += ["| " + " | ".join(line) + " |" for line in table] + [""]
    text += [f"    {result['command']}", "", f"Commit {result['commit'][:12]}; {result['machine']};"]
    return [*text, ", ".join(f"{name} {number}" for name, number in result["versions"].items()) + ".", ""]


def _cells(row: Mapping[str, Any]) -> list[str]:
    label = f"**{row['label']}**" if row["ours"] else row["label"]
    if row["error"]:
        return [label, "", "", "", row["error"].replace("|", "/"), "", "", ""]
    made = "" if row["seconds"] is None else f"{'at least ' * row['ours']}{row['seconds']:.0f}"
    size = [f"{row['bytes'] / 1e6:.1f}", f"{row['coverage'][0]} of {row['coverage'][1]}", made]
    words = [text for data in ("dev", "test") for text in (cell(row[data]), _tests(row[data]["against"]))]
    return [label, *size, *words]


def _speed(turns: Mapping[str, Sequence[float]], best: str, system: str) -> list[str]:
    if system not in turns:
        return ["", ""]
    return [f"{ratio(turns, best, system):.2f}x", f"{np.median(turns[system]):.0f}"]


def _tests(against: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{_REFERENCES[name]} {_outcome(test)}" for name, test in against.items())


def _outcome(test: Mapping[str, float]) -> str:
    """The reference is the first system: below zero it errs less."""
    p_value = test["p_value"]
    text = "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
    return text if p_value >= 0.05 else f"{text} **{'worse' if test['z'] < 0 else 'better'}**"
