"""From a float model and a scale table to the files that an engine runs. Needs torch."""

from __future__ import annotations

from speechquant.engines.export.dialects import Dialect, dialect_names, register
from speechquant.engines.export.write import Exported, export_onnx

__all__ = ["Dialect", "Exported", "dialect_names", "export_onnx", "register"]
