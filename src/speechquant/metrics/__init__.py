"""Word error rate, significance, confidence intervals and parity between two backends. No torch."""

from __future__ import annotations

from speechquant.metrics.alignment import WordAlignment, align_words
from speechquant.metrics.bootstrap import Interval, bootstrap_interval
from speechquant.metrics.parity import argmax_agreement, token_agreement
from speechquant.metrics.resolution import warn_if_too_small, wer_resolution, words_needed
from speechquant.metrics.significance import PairedTest, Verdict, mapsswe, segment_errors
from speechquant.metrics.text import (
    Normalizer,
    get_normalizer,
    register_normalizer,
)
from speechquant.metrics.wer import (
    AlignedWord,
    Score,
    UtteranceScore,
    WordErrors,
    score,
)

__all__ = [
    "AlignedWord",
    "Interval",
    "Normalizer",
    "PairedTest",
    "Score",
    "UtteranceScore",
    "Verdict",
    "WordAlignment",
    "WordErrors",
    "align_words",
    "argmax_agreement",
    "bootstrap_interval",
    "get_normalizer",
    "mapsswe",
    "register_normalizer",
    "score",
    "segment_errors",
    "token_agreement",
    "warn_if_too_small",
    "wer_resolution",
    "words_needed",
]
