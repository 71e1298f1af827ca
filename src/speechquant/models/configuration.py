"""What `config.json` must say before anything is built from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError

from speechquant.decoding import read_json
from speechquant.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONFIGURATION_ERRORS", "error_reason", "read_configuration"]

CONFIGURATION_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""How transformers and torch fail to build a network from a configuration that they cannot follow."""

# transformers builds networks with many impossible sizes and fails when they run, or leaves layers out.
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "conv_pos_kernel_size",
    *(
        f"{part}_num_{what}"
        for part in ("encoder", "decoder")
        for what in ("hidden_layers", "attention_heads", "key_value_heads")
    ),
)
_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")


def read_configuration(folder: Path) -> dict[str, Any]:
    """Read `config.json`.

    Raises:
        ModelError: not there, no JSON object, of a model that is quantized already, or with a size that is not
            a positive integer.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no config.json; give a folder in the transformers layout")
    config = read_json(path)
    if config.get("quantization_config") is not None:
        raise ModelError(
            f"{path}: this model is quantized already (quantization_config); give the float model it was made from"
        )
    for name in _SIZES:
        if config.get(name) is not None and not _positive(config[name]):
            raise ModelError(
                f"{path}: {name} must be a positive integer, not {config[name]!r}; fetch the model again"
            )
    _check_convolutions(path, config)
    return config


def error_reason(error: Exception) -> str:
    """The message of one of `CONFIGURATION_ERRORS` in one line."""
    lines = [line.strip().rstrip(".;:") for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        return f"{lines[0]} is not known"
    if isinstance(error, StrictDataclassError):
        # The first line names the validator, the second says what is wrong, between a class and details.
        return lines[-1].partition("Error: ")[2].partition(". Errors: ")[0] or lines[-1]
    return lines[0]


def _check_convolutions(path: Path, config: dict[str, Any]) -> None:
    given = {name: config[name] for name in _CONVOLUTIONS if config.get(name) is not None}
    for name, values in given.items():
        if not isinstance(values, list) or not values or not all(map(_positive, values)):
            raise ModelError(
                f"{path}: {name} must be a list of positive integers, not {values!r}; fetch the model again"
            )
    if len({len(values) for values in given.values()}) > 1:
        found = ", ".join(f"{name} {len(values)}" for name, values in given.items())
        raise ModelError(
            f"{path}: every convolution needs a value in each list, but they have lengths {found}; "
            "fetch the model again"
        )


def _positive(value: object) -> bool:
    return type(value) is int and value > 0
