"""Everything the report page shows, as plain data: no models, no engines, no files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.numerics import Histogram

__all__ = [
    "Cost",
    "Coverage",
    "CutoffResult",
    "Dataset",
    "LatencyRow",
    "LayerResult",
    "MatrixBits",
    "References",
    "ReportData",
    "SiteHistogram",
    "Sizes",
    "SpeakerResult",
    "StoredWeights",
    "System",
    "SystemKey",
    "TradeoffPoint",
    "TranscriptRow",
    "WeightSite",
]

References = Literal["transcripts", "float model"]
SystemKey = Literal["float", "naive_max", "quantized", "simulated"]
Dataset = Literal["test", "dev"]
Cost = Literal["megabytes", "milliseconds"]


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """One system and what it costs.

    Attributes:
        label: Its name in the picture and in the table.
        wer: Word error rate in percent.
        low: Lower end of its 95 % interval.
        high: Upper end.
        megabytes: Size of all that an engine needs, in 10^6 bytes; None where there is nothing to weigh.
        milliseconds: Latency; None where it was not measured.
        key: Decides colour and shape, where points have no groups.
        group: Points of one group are joined: those of one method.
    """

    label: str
    wer: float
    low: float
    high: float
    megabytes: float | None = None
    milliseconds: float | None = None
    key: SystemKey = "quantized"
    group: str = ""

    def cost(self, kind: Cost) -> float | None:
        """One of the two costs."""
        return self.megabytes if kind == "megabytes" else self.milliseconds


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
    """WER in percent on the dev set with only this layer quantized, and its increase over float in points.

    `share` is the part of the words that were heard; below 1 the layer had lost, and the figures are estimates.
    """

    layer: str
    wer: float
    delta: float
    selected: bool
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class CutoffResult:
    """WER in percent on the dev set with the selected layers clipped at the cut-off `p` (percent).

    `layer` names the one layer that was clipped at `p` while the others kept theirs; None means all alike.
    `share` is the part of the words that were heard; below 1 the cut-off had lost, and the figures are estimates.
    """

    p: float
    wer: float
    errors: int
    layer: str | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class SiteHistogram:
    """The histogram of |x| at one activation site, with clipping thresholds by name.

    The threshold called "chosen" is the range the quantized model uses; the others ("max",
    "percentile 99.99", "mse", ...) are what other calibrators would have taken.

    Attributes:
        bits: Of the quantizer.
        scale: Its step; None where the model keeps the tensor in float.
        cutoff: Percent of the values that were cut off before scales were compared.
        fold: Whether these were counted at the end instead of dropped.
        start_bin: The first bin that was a candidate, counted from 1.
    """

    layer: str
    site: str
    histogram: Histogram
    thresholds: Mapping[str, float]
    bits: int = 8
    scale: float | None = None
    cutoff: float = 0.0
    fold: bool = False
    start_bin: int = 1


@dataclass(frozen=True, slots=True)
class WeightSite:
    """How the weights of one operator are quantized.

    Attributes:
        layer: The layer it belongs to.
        operator: Its name.
        bits: 2 to 16.
        sharing: What shares a scale, e.g. "output channel".
        scales: How many scales there are.
        nearest: Error of the output with weights rounded to nearest, over the output's energy; None if unknown.
        rounded: The same with the weights as they are.
    """

    layer: str
    operator: str
    bits: int
    sharing: str
    scales: int
    nearest: float | None = None
    rounded: float | None = None


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
class StoredWeights:
    """The file of weights of a model whose bits were searched.

    Attributes:
        float_bytes: Of all parameters in float32.
        stored_bytes: Of the file, everything in it included.
        packed_bytes: Of the same file without entropy coding.
        searched_bits: Of the searched weights on average, as the budget counts them.
        average_bits: What holds the integers of all parameters on average, before entropy coding.
    """

    float_bytes: int
    stored_bytes: int
    packed_bytes: int
    searched_bits: float
    average_bits: float


@dataclass(frozen=True, slots=True)
class MatrixBits:
    """The bits that a search gave one weight; fractions are bits of entropy."""

    layer: str
    module: str
    bits: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Weight-bearing operators the engine runs in int8, of how many, and the names of those in float.

    Operators of which the weight alone is quantized compute in float and are counted apart: `weights_4bit` whose
    weight the engine keeps in 4 bits, and the names of those whose weight it makes float when it loads the file.
    `on_purpose` has the layers of those in float that nobody asked to quantize, by name of the operator.
    """

    int8: int
    total: int
    fallbacks: tuple[str, ...] = ()
    weights_4bit: int = 0
    expanded: tuple[str, ...] = ()
    on_purpose: Mapping[str, str] = field(default_factory=dict)

    @property
    def small(self) -> int:
        """Operators that are as small in the file as they were meant to be."""
        return self.int8 + self.weights_4bit + len(self.expanded)

    @property
    def fallen_back(self) -> bool:
        """Whether some are in float that were to be quantized."""
        return self.total - self.small > len(self.on_purpose)


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
        subject: What the page calls the model that float is compared with: the ... model.
        references: What the WER was counted against. With "float model" it is a disagreement, not an error.
        systems: Word error rates, in the order to show.
        layers: The sensitivity analysis, in the model's order.
        gamma: Layers that cost more than this many WER points are clipped.
        selected_layers: The clipped layers.
        float_layers: Layers that the search left in float, because the model was more than `max_drop` WER points
            worse than float with them.
        max_drop: See there.
        cutoffs: The cut-off search, without these layers.
        p_opt: The chosen cut-off in percent; None for methods without one, and where layers have their own.
        p_by_layer: The cut-off of every clipped layer in percent.
        histograms: Activation histograms with their thresholds.
        weights: How weights are quantized.
        tradeoff: Systems with what they cost; empty where nothing was weighed or timed.
        latency: Latency by length of audio.
        sizes: Size on disk, None where nothing was exported.
        coverage: What runs in int8, None where nothing was exported.
        stored: What the file of weights takes, None where no bits were searched.
        matrix_bits: The bits that were found, in the order of the model.
        transcripts: Utterances to show.
        normalizer: What is done to texts before words are compared.
        recordings: Audio of utterances as `data:` addresses, by id; what is here is published with the page.
        left_out: Changed utterances whose audio was asked for and did not fit.
        learning: Lines of a training history, as `draw_learning` reads them.
        learning_float: The float model's WER in percent on the speech that training was judged by.
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
    float_layers: tuple[str, ...] = ()
    max_drop: float = math.inf
    cutoffs: tuple[CutoffResult, ...] = ()
    p_opt: float | None = None
    p_by_layer: Mapping[str, float] = field(default_factory=dict)
    histograms: tuple[SiteHistogram, ...] = ()
    weights: tuple[WeightSite, ...] = ()
    tradeoff: tuple[TradeoffPoint, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    sizes: Sizes | None = None
    coverage: Coverage | None = None
    stored: StoredWeights | None = None
    matrix_bits: tuple[MatrixBits, ...] = ()
    subject: str = "quantized"
    transcripts: tuple[TranscriptRow, ...] = ()
    normalizer: str = "none"
    recordings: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    learning: tuple[Mapping[str, Any], ...] = ()
    learning_float: float | None = None
    recipe_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_rss_mb: float | None = None
    command: str = "speechquant quantize --recipe recipe.yaml"

    def system(self, key: SystemKey, dataset: Dataset) -> System | None:
        """The figures of one system on one data set, None where they are not there."""
        return next((s for s in self.systems if s.key == key and s.dataset == dataset), None)
