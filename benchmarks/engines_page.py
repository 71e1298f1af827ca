"""The tables of `engines.py` as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from goals import goal_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from goals import Row

__all__ = ["page"]

GOAL_SECONDS = "10"
_LEGEND = """{threads} threads, batch 1, one utterance of real speech per call, medians of {repeats} turns in which
every system runs once, in changing order (those of which ratios are taken in the same turns, then the others); a ratio
is the median of the ratios within a turn. Peers are made from the same float model with the same recordings and run
with their engine's default settings; of several variants, ours or theirs, the fastest counts that does not lose words:
whose WER on the trained model of the same kind is not significantly above that of float (p < 0.05). A peer that is
faster and does lose words is named behind †, with the ratio against it. Architectures of full size have random weights,
on which speed does not depend. PyTorch's load time and memory include the conversion from float32."""
_MARK = "†"


def page(models: Sequence[Mapping[str, Any]], where: Mapping[str, Any]) -> list[str]:
    """All lines."""
    text = [f"# {where['about']}", ""]
    text += [_LEGEND.format(threads=where["threads"], repeats=where["repeats"]), ""]
    for model in models:
        text += [f"## {model['model']}", ""]
        text += _goals(model)
        text += _lengths(model)
        text += _systems(model)
    text += [f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    return [*text, ", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    rows = [head, ["---"] * len(head), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows] + [""]


def rows_at(model: Mapping[str, Any], seconds: str, kind: str = "latency") -> list[Any]:
    """The goals at one length."""
    systems = model["systems"]
    return goal_rows(
        model["model"],
        model[kind].get(seconds, {}).get("turns", {}),
        {row["system"]: row["bytes"] for row in systems if row["bytes"]},
        {row["system"]: row["footprint"].get("peak_bytes") for row in systems},
        [key for key, found in model["fidelity"].items() if found["worse"]],
    )


def _goals(model: Mapping[str, Any]) -> list[str]:
    names = {row["system"]: row["label"] for row in model["systems"]}
    lines = []
    for row in rows_at(model, GOAL_SECONDS):
        unit = row.unit.split()[0]
        lines.append(
            [
                row.what,
                _measured(row),
                _number(row.least, unit),
                _number(row.aim, unit),
                row.reached,
                " / ".join(names.get(key, key) for key in (row.ours, row.peer) if key)
                + (f"; {_MARK} {names.get(row.faster, row.faster)}" if row.faster else ""),
            ]
        )
    head = [f"at {GOAL_SECONDS} s", "measured", "at least", "aim", "reached", "by / against"]
    return table(head, lines)


def _lengths(model: Mapping[str, Any]) -> list[str]:
    """The ratios at every length; of encoders too, where a decoder follows."""
    lines = []
    kinds = ("latency", "encoder") if model["encoder"] else ("latency",)
    seconds = list(model["latency"])
    for kind in kinds:
        columns = [rows_at(model, one, kind) for one in seconds]
        for rows in zip(*columns, strict=True):
            if rows[0].unit == "x":
                what = rows[0].what + (", encoder alone" if kind == "encoder" else "")
                lines.append([what, *(_both(row) for row in rows)])
    return table(["ratio", *(f"{one} s" for one in seconds)], lines)


def _systems(model: Mapping[str, Any]) -> list[str]:
    seconds, fidelity = list(model["latency"]), model["fidelity"]
    source = next((found["source"] for found in fidelity.values()), None)
    factors = next(iter(model["realtime"].values()), {}).get("factor", {})
    head = [
        "system",
        "MB",
        "in int8",
        *(f"{one} s ms" for one in seconds),
        "peak RSS MB",
        "load s",
        "first call ms",
    ]
    head += ["SQNR dB here", *(["RTF"] if factors else [])]
    head += [f"SQNR dB, {source}", "same %", "WER %, p"] if source else []
    lines = []
    for row in model["systems"]:
        key, name = row["system"], f"**{row['label']}**" if row["ours"] else row["label"]
        if row["error"]:
            lines.append([f"{name}: {row['error'].replace('|', '/')}", *[""] * (len(head) - 1)])
            continue
        times = [model["latency"][one]["turns"].get(key) for one in seconds]
        size = [f"{row['bytes'] / 1e6:.1f}", f"{row['coverage'][0]} of {row['coverage'][1]}"]
        line = [
            name,
            *size,
            *(_milliseconds(model, one, key, t) for one, t in zip(seconds, times, strict=True)),
        ]
        line += [*_footprint(row["footprint"]), _check(row["check"])]
        line += [f"{factors[key]:.3f}" if key in factors else ""] if factors else []
        line += _fidelity(fidelity.get(key)) if source else []
        lines.append(line)
    text = table(head, lines)
    if any(model["latency"][one]["tokens"] for one in seconds):
        text += [
            "In brackets: tokens written, as a decoder works for every one; unequal numbers are unequal work.",
            "",
        ]
    return text


def _milliseconds(model: Mapping[str, Any], seconds: str, key: str, times: Sequence[float] | None) -> str:
    if not times:
        return ""
    tokens = model["latency"][seconds]["tokens"].get(key)
    return f"{float(np.median(times)):.0f}" + (f" ({tokens})" if tokens is not None else "")


def _footprint(found: Mapping[str, Any]) -> list[str]:
    if "load_s" not in found:
        return ["", "", ""]
    peak = found["peak_bytes"]
    return [f"{peak / 1e6:.0f}" if peak else "", f"{found['load_s']:.2f}", f"{found['first_ms']:.0f}"]


def _check(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    number = (
        "same"
        if found["sqnr_db"] is None and not found["suspect"]
        else f"{found['sqnr_db'] or float('nan'):.1f}"
    )
    return f"**{number}: another result**" if found["suspect"] and number != "same" else number


def _fidelity(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    sqnr = "" if found["sqnr_db"] is None else f"{found['sqnr_db']:.1f}"
    p_value = "" if found["p_value"] is None else f", p {found['p_value']:.3f}"
    worse = " **worse than float**" if found["worse"] else ""
    return [sqnr, f"{found['agreement']:.2f}", f"{found['wer']:.2f}{p_value}{worse}"]


def _measured(row: Row) -> str:
    """The figure that counts in bold, and beside it that against a peer which loses words."""
    figure = "" if row.value is None else f"**{_number(row.value, row.unit.split()[0])}**"
    against = "" if row.against_faster is None else f"({_MARK} {_number(row.against_faster, 'x')})"
    return " ".join(part for part in (figure, against) if part)


def _both(row: Row) -> str:
    return _measured(row).replace("**", "")


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.2f}x" if unit == "x" else f"{value:.1f} MB"
