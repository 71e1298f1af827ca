"""Run a recogniser over a corpus, keep every transcript, score it. No torch."""

from __future__ import annotations

from speechquant.evaluation.evaluator import Evaluator, Loader, Progress
from speechquant.evaluation.result import Evaluation, ReferencesKind, Transcription
from speechquant.evaluation.store import EvaluationStore, StoredTranscript

__all__ = [
    "Evaluation",
    "EvaluationStore",
    "Evaluator",
    "Loader",
    "Progress",
    "ReferencesKind",
    "StoredTranscript",
    "Transcription",
]
