"""The HTML report: plain data in, one self-contained page out."""

from __future__ import annotations

from speechquant.report.data import (
    Coverage,
    CutoffResult,
    Dataset,
    LatencyRow,
    LayerResult,
    MatrixBits,
    References,
    ReportData,
    SiteHistogram,
    Sizes,
    SpeakerResult,
    StoredWeights,
    System,
    SystemKey,
    TradeoffPoint,
    TranscriptRow,
    WeightSite,
)
from speechquant.report.page import render
from speechquant.report.plots.bits import bits_file
from speechquant.report.plots.learning import learning_file
from speechquant.report.plots.tradeoff import draw_tradeoff
from speechquant.report.recordings import audio_uri, embed
from speechquant.report.verdict import ALPHA, Verdict, judge

__all__ = [
    "ALPHA",
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
    "Verdict",
    "WeightSite",
    "audio_uri",
    "bits_file",
    "draw_tradeoff",
    "embed",
    "judge",
    "learning_file",
    "render",
]
