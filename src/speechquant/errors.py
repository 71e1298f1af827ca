"""Every error a user can cause, one class per cause; the message says what, where, and what to do.

The command line prints the message of a `SpeechquantError` as one line and exits with code 2.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "AudioError",
    "DataError",
    "EngineError",
    "MissingExtraError",
    "ModelError",
    "RecipeError",
    "SpeechquantError",
    "StorageError",
]


class SpeechquantError(Exception):
    """Base of all errors whose cause lies in the input or in the surroundings, not in this library."""


class AudioError(SpeechquantError, ValueError):
    """An audio file cannot be read, or holds nothing that could be recognised."""


class DataError(SpeechquantError, ValueError):
    """A data set or manifest is missing, malformed, or used in a role it must not have."""


class ModelError(SpeechquantError, ValueError):
    """A model folder cannot be loaded or its architecture is not supported."""


class RecipeError(SpeechquantError, ValueError):
    """Settings that are unknown, out of range, or exclude each other."""


class ArtifactError(SpeechquantError, ValueError):
    """An artifact folder is incomplete, altered, or of another version."""


class EngineError(SpeechquantError, RuntimeError):
    """An inference engine refused the model or the settings."""


class StorageError(SpeechquantError, OSError):
    """A file cannot be written: disk full, no permission, or not a folder."""


class MissingExtraError(SpeechquantError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
