"""Training as a job: from a float model and transcribed speech to an artifact, or to a trained float model."""

from __future__ import annotations

from speechquant.jobs.learning.job import LearnOutcome, learn

__all__ = ["LearnOutcome", "learn"]
