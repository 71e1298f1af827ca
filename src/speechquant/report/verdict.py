"""The first sentence of the page: what the measurements allow to say, and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechquant.metrics import words_needed
from speechquant.report import formats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speechquant.report.data import Coverage, Dataset, ReportData, System

__all__ = ["ALPHA", "Level", "Verdict", "against_float", "judge", "main_pair", "speedup"]

ALPHA = 0.05

_NAMED = 2

Level = Literal["good", "unclear", "bad"]
Outcome = Literal[
    "unmeasured", "agrees", "differs", "alone", "worse", "better", "untested", "few words", "unproven", "same"
]


_HEADLINES: dict[Outcome, tuple[Level, str]] = {
    "unmeasured": ("unclear", "No accuracy measured"),
    "agrees": ("unclear", "Agrees with the float model"),
    "differs": ("unclear", "Differs from the float model"),
    "alone": ("unclear", "No float model to compare with"),
    "worse": ("bad", "Significantly worse"),
    "better": ("good", "Significantly better"),
    "untested": ("unclear", "Cannot tell: no test"),
    "few words": ("unclear", "Cannot tell: too few words"),
    "unproven": ("unclear", "No significant difference"),
    "same": ("good", "Same accuracy"),
}
_PLAIN: dict[Outcome, str] = {
    "unmeasured": "Nobody measured how accurate the {subject} model is",
    "agrees": "The {subject} model hears what the original hears, but for {wer} of the words",
    "differs": "The {subject} model hears {wer} of the words differently from the original",
    "alone": "The {subject} model makes {wer} word errors, and there is no original to compare it with",
    "worse": "The {subject} model is less accurate than the original, with {errors} more in 1,000 words",
    "better": "The {subject} model is more accurate than the original, with {errors} fewer in 1,000 words",
    "untested": "Nobody tested whether the {subject} model is as accurate as the original",
    "few words": "Too few words were tested to tell whether the {subject} model is as accurate as the original",
    "unproven": "The {subject} model made {errors} more in 1,000 words than the original, which may be chance",
    "same": "The {subject} model is as accurate as the original",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement for people.

    Attributes:
        level: Decides the colour and the sign.
        headline: The outcome in a few words.
        sentence: The figures in one line.
        caveats: What limits it, one line each.
        plain: One sentence for who does not know the terms.
    """

    level: Level
    headline: str
    sentence: str
    caveats: tuple[str, ...]
    plain: str


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
    only simulated, keeps its WER verdict but not the level "good". Layers that were left in float on purpose are
    named and are no fault.
    """
    reference, system = main_pair(data)
    outcome = _outcome(data, reference, system)
    level, headline = _HEADLINES[outcome]
    if level == "good":
        level, addition = _as_far_as_it_holds(data.coverage, system)
        headline += addition
    sentence = ", ".join([_facts(data, reference, system), *_gains(data)])
    return Verdict(
        level,
        headline,
        sentence[:1].upper() + sentence[1:] + ".",
        _caveats(data, system),
        _plain(data, outcome, reference, system),
    )


def _as_far_as_it_holds(coverage: Coverage | None, system: System | None) -> tuple[Level, str]:
    """The level of a good outcome, and what its headline has to add."""
    if coverage is not None and coverage.fallen_back:
        return "unclear", ", but not int8 everywhere"
    if system is not None and system.key == "simulated":
        return "unclear", ", in simulation"
    layers = list(dict.fromkeys(coverage.on_purpose.values())) if coverage is not None else []
    if not layers:
        return "good", ""
    names = " and ".join(layers) if len(layers) <= _NAMED else f"{len(layers)} layers"
    return "good", f" with {names} in float"


def _outcome(data: ReportData, reference: System | None, system: System | None) -> Outcome:
    if system is None:
        return "unmeasured"
    if data.references == "float model":
        return "agrees" if system.wer <= data.gamma else "differs"
    return "alone" if reference is None else _tested(system, reference, data.gamma)


def _tested(system: System, reference: System, gamma: float) -> Outcome:
    delta = system.wer - reference.wer
    if system.p_value is None:
        return "untested"
    if system.p_value < ALPHA:
        return "worse" if delta > 0 else "better"
    if system.words < words_needed(gamma):
        return "few words"
    return "unproven" if delta > gamma else "same"


def _facts(data: ReportData, reference: System | None, system: System | None) -> str:
    if system is None:
        return f"the {data.subject} model was not evaluated"
    words = f"{formats.count(system.words)} words"
    wer = formats.percent(system.wer)
    if data.references == "float model":
        return f"{wer} of the words differ from the float model ({words})"
    if reference is None:
        return f"WER {wer} ({words})"
    test = f"p = {formats.p_value(system.p_value)}".replace("= <", "<")
    test = "no paired test" if system.p_value is None else test
    return f"WER {wer} against {formats.percent(reference.wer)} in float ({test}, {words})"


def _plain(data: ReportData, outcome: Outcome, reference: System | None, system: System | None) -> str:
    """The outcome without a technical term, for who has one minute."""
    difference = 0.0 if reference is None or system is None else abs(system.wer - reference.wer)
    per_thousand = round(10 * difference)
    text = _PLAIN[outcome].format(
        subject=data.subject,
        wer=formats.percent(system.wer) if system is not None else "",
        errors=f"about {per_thousand:,} error{'' if per_thousand == 1 else 's'}"
        if per_thousand
        else "less than one error",
    )
    gains = []
    size = _size(data)
    if size is not None and size[1]:
        gains.append(f"takes {100 * size[0] / size[1]:.0f}{formats.NBSP}% of the space")
    faster = speedup(data)
    if faster:
        gains.append(
            f"is {faster:.1f} times as fast" if faster >= 1 else f"takes {1 / faster:.1f} times as long"
        )
    return f"{text}; it {' and '.join(gains)}." if gains else f"{text}."


def _size(data: ReportData) -> tuple[int, int] | None:
    """Bytes now and in float: of the file of weights where making it small was the job, else of what engines need."""
    if data.stored is not None:
        return data.stored.stored_bytes, data.stored.float_bytes
    return (data.sizes.quantized_bytes, data.sizes.float_bytes) if data.sizes is not None else None


def _gains(data: ReportData) -> list[str]:
    gains = []
    size = _size(data)
    if size is not None:
        gains.append(f"{formats.share(*size)} of the size")
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
    if data.coverage is not None and data.coverage.fallen_back:
        missing, meant = data.coverage.total - data.coverage.small, len(data.coverage.on_purpose)
        what = "quantized" if data.coverage.weights_4bit else "int8"
        purpose = f", {meant} of them on purpose" if meant else ""
        caveats.append(
            f"Not {what} everywhere: {missing} of {data.coverage.total} operators still run in float{purpose}."
        )
    if data.float_layers:
        caveats.append(f"The search left in float what no cut-off saved: {', '.join(data.float_layers)}.")
    if system is not None and data.references == "transcripts" and system.words < words_needed(data.gamma):
        caveats.append(
            f"{formats.count(system.words)} words cannot show a difference of {data.gamma:g} points; "
            f"use at least {formats.count(words_needed(data.gamma))}."
        )
    if system is not None and system.capped:
        caveats.append(f"Decoding ran into its length limit on {system.capped} utterances.")
    return tuple(caveats)
