"""What one part of a comparison may fail with that says nothing about the others."""

from __future__ import annotations

from speechquant.errors import SpeechquantError
from speechquant.jobs.printable import printable

__all__ = ["FAULTS", "reason"]

FAULTS = (SpeechquantError, ArithmeticError, LookupError, RuntimeError, ValueError)


def reason(error: Exception) -> str:
    """The message in one line, or the name of the class where there is none."""
    return printable(" ".join(str(error).split())) or type(error).__name__
