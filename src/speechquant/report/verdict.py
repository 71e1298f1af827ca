"""The first sentence of the page: what the measurements allow to say, and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechquant.metrics import words_needed
from speechquant.report import formats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import Dataset, ReportData, System

__all__ = ["ALPHA", "Level", "Verdict", "against_float", "judge", "main_pair", "speedup"]

ALPHA = 0.05

Level = Literal["good", "unclear", "bad"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement for people: `headline` in a few words, `sentence` with the figures, `caveats` by line."""

    level: Level
    headline: str
    sentence: str
    caveats: tuple[str, ...] = ()


def main_pair(data: ReportData) -> tuple[System | None, System | None]:
    """The float model and the best evidence about the quantized one, on the same data set.

    Test before dev, the engine before the simulation; (None, None) where no system was evaluated.
    """
    datasets: tuple[Dataset, ...] = ("test", "dev")
    for dataset in datasets:
        quantized = data.system("quantized", dataset) or data.system("simulated", dataset)
        if quantized is not None:
            return data.system("float", dataset), quantized
    return next((s for s in data.systems if s.key == "float"), None), None


def speedup(data: ReportData) -> float | None:
    """How many times faster the quantized engine is on the longest audio, None where nothing was timed."""
    longest = max(data.latency, key=lambda row: row.seconds, default=None)
    return longest.speedup if longest is not None and math.isfinite(longest.speedup) else None


def against_float(system: System, systems: Sequence[System]) -> str:
    """`worse`, `better` or `not significant` by the paired test; empty where there was none."""
    reference = next((s for s in systems if s.key == "float"), None)
    if system.p_value is None or reference is None or system is reference:
        return ""
    if system.p_value >= ALPHA:
        return "not significant"
    return "worse" if system.wer > reference.wer else "better"


def judge(data: ReportData) -> Verdict:
    """The verdict of a run.

    "Same" needs a paired test that found no difference (p >= 0.05), a difference of at most gamma, and enough
    words for gamma to be more than one word. A run whose engine fell back to float somewhere, or that was
    only simulated, keeps its WER verdict but not the level "good".
    """
    reference, system = main_pair(data)
    level, headline, facts = _accuracy(data, reference, system)
    caveats = _caveats(data, system)
    fallen_back = data.coverage is not None and data.coverage.small < data.coverage.total
    if level == "good" and (fallen_back or (system is not None and system.key == "simulated")):
        level = "unclear"
        headline += ", but not int8 everywhere" if fallen_back else ", in simulation"
    sentence = ", ".join([facts, *_gains(data)])
    return Verdict(level, headline, sentence[:1].upper() + sentence[1:] + ".", caveats)


def _accuracy(data: ReportData, reference: System | None, system: System | None) -> tuple[Level, str, str]:
    if system is None:
        return "unclear", "No accuracy measured", "the quantized model was not evaluated"
    words = f"{formats.count(system.words)} words"
    if data.references == "float model":
        facts = f"{formats.percent(system.wer)} of the words differ from the float model ({words})"
        agrees = system.wer <= data.gamma
        return "unclear", "Agrees with the float model" if agrees else "Differs from the float model", facts
    wer = formats.percent(system.wer)
    if reference is None:
        return "unclear", "No float model to compare with", f"WER {wer} ({words})"
    test = f"p = {formats.p_value(system.p_value)}".replace("= <", "<")
    test = "no paired test" if system.p_value is None else test
    facts = f"WER {wer} against {formats.percent(reference.wer)} in float ({test}, {words})"
    return *_compare(system, reference, data.gamma), facts


def _compare(system: System, reference: System, gamma: float) -> tuple[Level, str]:
    delta = system.wer - reference.wer
    if system.p_value is not None and system.p_value < ALPHA:
        return ("bad", "Significantly worse") if delta > 0 else ("good", "Significantly better")
    if system.p_value is None or system.words < words_needed(gamma):
        return (
            "unclear",
            "Cannot tell: too few words" if system.p_value is not None else "Cannot tell: no test",
        )
    if delta > gamma:
        return "unclear", "No significant difference"
    return "good", "Same accuracy"


def _gains(data: ReportData) -> list[str]:
    gains = []
    if data.sizes is not None:
        gains.append(f"{formats.share(data.sizes.quantized_bytes, data.sizes.float_bytes)} of the size")
    faster = speedup(data)
    if faster is not None:
        gains.append(
            f"{formats.ratio(faster, 1)} faster" if faster >= 1 else f"{formats.ratio(1, faster)} slower"
        )
    return gains


def _caveats(data: ReportData, system: System | None) -> tuple[str, ...]:
    caveats = []
    if data.references == "float model":
        caveats.append(
            "No transcripts were given: the float model's own output is the reference, so the accuracy of "
            "either model is not known."
        )
    if system is not None and system.dataset == "dev":
        caveats.append(
            "Measured on the dev set, which also chose the settings: expect a little worse elsewhere."
        )
    if system is not None and system.key == "simulated":
        caveats.append("Measured in simulation, not on an int8 engine.")
    if data.coverage is not None and data.coverage.small < data.coverage.total:
        missing = data.coverage.total - data.coverage.small
        caveats.append(
            f"Not quantized everywhere: {missing} of {data.coverage.total} operators still run in float."
            if data.coverage.weights_4bit
            else f"Not int8 everywhere: {missing} of {data.coverage.total} operators still run in float."
        )
    if system is not None and data.references == "transcripts" and system.words < words_needed(data.gamma):
        caveats.append(
            f"{formats.count(system.words)} words cannot show a difference of {data.gamma:g} points; "
            f"use at least {formats.count(words_needed(data.gamma))}."
        )
    if system is not None and system.capped:
        caveats.append(f"Decoding ran into its length limit on {system.capped} utterances.")
    return tuple(caveats)
