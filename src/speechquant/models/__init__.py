"""Float speech models: loading, and what each family knows about its layers, its running and its graphs."""

from __future__ import annotations

from speechquant.models.base import ExportPart, Family, SpeechModel, families, register
from speechquant.models.ctc import CTCModel
from speechquant.models.load import load_model
from speechquant.models.moonshine import MoonshineModel

__all__ = [
    "CTCModel",
    "ExportPart",
    "Family",
    "MoonshineModel",
    "SpeechModel",
    "families",
    "load_model",
    "register",
]
