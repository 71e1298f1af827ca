"""Everything the report page shows, as plain data: no models, no engines, no files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.numerics import Histogram

__all__ = [
    "Coverage",
    "CutoffResult",
    "Dataset",
    "LatencyRow",
    "LayerResult",
    "References",
    "ReportData",
    "SiteHistogram",
    "Sizes",
    "SpeakerResult",
    "System",
    "SystemKey",
    "TranscriptRow",
]

References = Literal["transcripts", "float model"]
SystemKey = Literal["float", "naive_max", "quantized", "simulated"]
Dataset = Literal["test", "dev"]


@dataclass(frozen=True, slots=True)
class SpeakerResult:
    """The word error rate of one speaker, in percent."""

    speaker: str
    words: int
    wer: float


@dataclass(frozen=True, slots=True)
class System:
    """One system on one data set.

    Attributes:
        key: What the system is; plots take their colour from it.
        label: What the page calls it, e.g. "StableQuant int8".
        words: Reference words of the data set.
        substitutions: Words recognised as another word.
        deletions: Reference words left out.
        insertions: Words nobody said.
        wer: All errors / all words, in percent; may exceed 100.
        low: Lower end of the 95 % bootstrap interval, in percent.
        high: Upper end of it.
        p_value: Two-sided paired test against the float model; None for the float model or where not tested.
        capped: Utterances whose decoding hit its length or repetition limit.
        dataset: The data set the figures come from.
        speakers: The same by speaker; may be empty.
    """

    key: SystemKey
    label: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float
    low: float
    high: float
    p_value: float | None = None
    capped: int = 0
    dataset: Dataset = "test"
    speakers: tuple[SpeakerResult, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerResult:
    """WER in percent on the dev set with only this layer quantized, and its increase over float in points."""

    layer: str
    wer: float
    delta: float
    selected: bool


@dataclass(frozen=True, slots=True)
class CutoffResult:
    """WER in percent on the dev set with the selected layers clipped at the cut-off `p` (percent)."""

    p: float
    wer: float
    errors: int


@dataclass(frozen=True, slots=True)
class SiteHistogram:
    """The histogram of |x| at one activation site, with clipping thresholds by name.

    The threshold called "chosen" is the range the quantized model uses; the others ("max",
    "percentile 99.99", "mse", ...) are what other calibrators would have taken.
    """

    layer: str
    site: str
    histogram: Histogram
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Interleaved medians in milliseconds for `seconds` of audio; `label` names engine and threads.

    `speedup` is the median over turns of float / quantized, fairer than the ratio of the medians.
    """

    seconds: float
    float_ms: float
    quantized_ms: float
    speedup: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk of all that the engine needs."""

    float_bytes: int
    quantized_bytes: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Weight-bearing operators the engine runs in int8, of how many, and the names of the others."""

    int8: int
    total: int
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """One utterance before and after quantization; `reference` is None where nobody wrote it down."""

    id: str
    reference: str | None
    before: str
    after: str
    naive: str | None = None


@dataclass(frozen=True, slots=True)
class ReportData:
    """One quantization run. Empty tuples and None leave the section about them out of the page.

    Attributes:
        title: Heading of the page.
        model: Name of the model.
        method: Name of the calibration method.
        bits: E.g. "W8A8".
        references: What the WER was counted against. With "float model" it is a disagreement, not an error.
        systems: Word error rates, in the order to show.
        layers: The sensitivity analysis, in the model's order.
        gamma: Layers that cost more than this many WER points are clipped.
        selected_layers: The clipped layers.
        cutoffs: The cut-off search.
        p_opt: The chosen cut-off in percent; None for methods without one.
        histograms: Activation histograms with their thresholds.
        latency: Latency by length of audio.
        sizes: Size on disk, None where nothing was exported.
        coverage: What runs in int8, None where nothing was exported.
        transcripts: Utterances to show.
        recipe_yaml: The resolved settings.
        versions: Software by name.
        warnings: One line each.
        seconds: Duration of every phase.
        peak_rss_mb: Peak resident memory in MB (10^6 bytes); None where unknown.
        command: Repeats the run.
    """

    title: str
    model: str
    method: str
    bits: str
    references: References
    systems: tuple[System, ...]
    layers: tuple[LayerResult, ...] = ()
    gamma: float = 0.25
    selected_layers: tuple[str, ...] = ()
    cutoffs: tuple[CutoffResult, ...] = ()
    p_opt: float | None = None
    histograms: tuple[SiteHistogram, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    sizes: Sizes | None = None
    coverage: Coverage | None = None
    transcripts: tuple[TranscriptRow, ...] = ()
    recipe_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_rss_mb: float | None = None
    command: str = "speechquant quantize --recipe recipe.yaml"

    def system(self, key: SystemKey, dataset: Dataset) -> System | None:
        """The figures of one system on one data set, None where they are not there."""
        return next((s for s in self.systems if s.key == key and s.dataset == dataset), None)
