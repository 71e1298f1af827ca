"""Small, fast speech foundation models with the word error rate proven.

Example:
    >>> import speechquant as sq
    >>> print(sq.load("out").transcribe("call.wav").text)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from speechquant._version import __version__

if TYPE_CHECKING:
    from speechquant.errors import SpeechquantError
    from speechquant.jobs.bench import bench
    from speechquant.jobs.evaluate import evaluate
    from speechquant.jobs.export import export
    from speechquant.jobs.inspect import inspect
    from speechquant.jobs.recipe import Recipe
    from speechquant.jobs.transcribe import transcribe
    from speechquant.jobs.verbs import Model, compare, learn, load, quantize
    from speechquant.jobs.verify import verify

__all__ = [
    "Model",
    "Recipe",
    "SpeechquantError",
    "__version__",
    "bench",
    "compare",
    "evaluate",
    "export",
    "inspect",
    "learn",
    "load",
    "quantize",
    "transcribe",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used, so that `import speechquant` is instant."""
    if name not in __all__:
        raise AttributeError(f"module 'speechquant' has no attribute {name!r}")
    room = "speechquant.errors" if name == "SpeechquantError" else "speechquant.jobs"
    return getattr(importlib.import_module(room), name)


class _Called(ModuleType):
    """The room `learn`, which is the verb of this name when it is called."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        from speechquant.jobs.verbs import learn as verb

        return verb(*arguments, **settings)


class _Package(ModuleType):
    """Python puts every submodule that is imported into its package, here over the verb `learn`."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "learn" and isinstance(value, ModuleType):
            value.__class__ = _Called
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
