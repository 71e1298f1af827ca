"""From latencies, sizes and memory to the table of goals: pure functions of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["CONTENDERS", "GOALS", "Goal", "Row", "fastest", "goal_rows", "joined", "ratio"]

FLOAT32 = ("ort-f32", "ov-f32")
ORT = ("ort-int8",)
OPENVINO = ("ov-int8-f32", "ov-int8-bf16")
DYNAMIC = ("ort-dynamic", "ort-dynamic-best")
NNCF = tuple(
    f"{kind}-{rest}" for kind in ("nncf", "nncf-transformer", "nncf-control") for rest in ("f32", "bf16")
)
SIGNIFICANT = 0.05
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Goal:
    """One line: `ours` against `peers` (the fastest of each), or a size or memory of `ours` in MB.

    `least` and `aim` are by model; ratios should be above, megabytes below.
    """

    what: str
    ours: tuple[str, ...]
    peers: tuple[str, ...] = ()
    unit: str = "x"
    least: Mapping[str, float] | None = None
    aim: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A goal with what was measured: the figure, the systems behind it, and whether it counts.

    `faster` is a peer that is faster than `peer` but loses words, so that it is no bar; `against_faster` is the ratio
    that it would give.
    """

    what: str
    unit: str
    value: float | None
    ours: str = ""
    peer: str = ""
    least: float | None = None
    aim: float | None = None
    reached: str = ""
    faster: str = ""
    against_faster: float | None = None


GOALS = (
    Goal(
        "int8 on ONNX Runtime against the best float32 engine",
        ORT,
        FLOAT32,
        least={"wav2vec2-base": 2.2, "hubert-large": 2.2},
        aim={"wav2vec2-base": 3.0},
    ),
    Goal(
        "int8 on OpenVINO against the same",
        OPENVINO,
        FLOAT32,
        least={"wav2vec2-base": 2.8, "hubert-large": 2.6},
        aim={"wav2vec2-base": 3.4},
    ),
    Goal(
        "int8 on OpenVINO against OpenVINO bf16",
        OPENVINO,
        ("ov-bf16",),
        least={"wav2vec2-base": 1.5},
        aim={"wav2vec2-base": 1.9},
    ),
    Goal(
        "int8 on ONNX Runtime against ORT quantize_dynamic",
        ORT,
        DYNAMIC,
        least={"wav2vec2-base": 1.6},
        aim={"wav2vec2-base": 2.2},
    ),
    Goal(
        "int8 on OpenVINO against NNCF int8",
        OPENVINO,
        NNCF,
        least={"wav2vec2-base": 1.0},
        aim={"wav2vec2-base": 1.2},
    ),
    Goal(
        "file, int8",
        ORT,
        unit="MB",
        least={"wav2vec2-base": 95.6, "hubert-large": 318.0},
        aim={"wav2vec2-base": 94.8},
    ),
    Goal(
        "file, 4-bit weights",
        ("ort-w4",),
        unit="MB",
        least={"wav2vec2-base": 56.0},
        aim={"wav2vec2-base": 51.0},
    ),
    Goal(
        "peak RSS at 10 s, ORT int8",
        ORT,
        unit="MB RSS",
        least={"wav2vec2-base": 500.0},
        aim={"wav2vec2-base": 400.0},
    ),
)

CONTENDERS = frozenset(key for goal in GOALS if goal.unit == "x" for key in (*goal.ours, *goal.peers))
"""The systems of which ratios are taken, which must therefore run in the same turns."""


def ratio(turns: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times faster `fast` is: the median of the ratios within a turn."""
    return float(np.median(np.asarray(turns[slow]) / np.asarray(turns[fast])))


def fastest(
    turns: Mapping[str, Sequence[float]], names: Iterable[str], refused: Iterable[str] = ()
) -> str | None:
    """The one with the lowest median; None if none of them was measured."""
    known = [name for name in names if name in turns and name not in set(refused)]
    return min(known, key=lambda name: float(np.median(turns[name])), default=None)


def goal_rows(
    model: str,
    turns: Mapping[str, Sequence[float]],
    size: Mapping[str, int],
    memory: Mapping[str, int | None],
    refused: Iterable[str] = (),
) -> list[Row]:
    """The table of one model at one length.

    Args:
        model: the goals are for some models only.
        turns: milliseconds of every turn by system.
        size: bytes on disk by system.
        memory: peak resident bytes by system.
        refused: systems that do not count, ours or peers, because they lose words.
    """
    refused = set(refused)
    rows = []
    for goal in GOALS:
        least, aim = (goal.least or {}).get(model), (goal.aim or {}).get(model)
        if goal.unit == "x":
            rows.append(_against_peers(goal, turns, refused, least, aim))
            continue
        found = (size if goal.unit == "MB" else memory).get(goal.ours[0])
        value = None if found is None else found / MEGABYTE
        reached = _reached(value, least, aim, below=True)
        rows.append(Row(goal.what, goal.unit, value, goal.ours[0], "", least, aim, reached))
    return rows


def _against_peers(
    goal: Goal,
    turns: Mapping[str, Sequence[float]],
    refused: AbstractSet[str],
    least: float | None,
    aim: float | None,
) -> Row:
    """A goal that is a ratio. Who loses words may be as fast as he likes, on either side."""
    ours, peer = fastest(turns, goal.ours, refused), fastest(turns, goal.peers, refused)
    value = ratio(turns, peer, ours) if ours and peer else None
    faster = fastest(turns, goal.peers)
    against = ratio(turns, faster, ours) if ours and faster and faster != peer else None
    reached = _reached(value, least, aim, below=False)
    if value is None and against is not None:
        reached = "no peer keeps its words"
    return Row(
        goal.what,
        goal.unit,
        value,
        ours or "",
        peer or "",
        least,
        aim,
        reached,
        (faster or "") if against is not None else "",
        against,
    )


def _reached(value: float | None, least: float | None, aim: float | None, *, below: bool) -> str:
    if value is None:
        return "not measured"
    sign = -1 if below else 1
    if aim is not None and sign * value >= sign * aim:
        return "aim"
    if least is not None:
        return "least" if sign * value >= sign * least else "missed"
    return ""


def joined(rows: Iterable[Mapping[str, Any]], model: str, *, task: str) -> dict[str, dict[str, Any]]:
    """Fidelity of every system for a model; an architecture without words borrows that of a trained one.

    Returns:
        By system: SQNR, agreement, WER, its p-value, the model it was measured on, and `worse`: significantly more
        errors than float.
    """
    trained = {"ctc": "demo:hubert-mini", "seq2seq": "demo"}
    source = model if model in trained.values() else trained[task]
    found = {}
    reference = next(
        (r for r in rows if r["model"] == source and r["system"] == "torch-f32" and "dev" in r), None
    )
    for row in rows:
        if row["model"] != source or "dev" not in row:
            continue
        p_value = row["dev"].get("p_value")
        more = reference is not None and row["dev"]["wer"] > reference["dev"]["wer"]
        found[row["system"]] = {
            "source": source,
            "sqnr_db": row["sqnr_db"],
            "agreement": row["agreement"],
            "wer": row["dev"]["wer"],
            "p_value": p_value,
            "worse": bool(row["suspect"] or (more and p_value is not None and p_value < SIGNIFICANT)),
        }
    return found
