"""Load a float model from a folder or from the Hugging Face hub, or say in one line why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from speechquant.decoding import load_vocabulary, read_json
from speechquant.errors import ModelError
from speechquant.models.base import LICENCE_FILES, families
from speechquant.models.configuration import CONFIGURATION_ERRORS, error_reason, read_configuration
from speechquant.models.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, CTCVocabulary
    from speechquant.models.base import Family, SpeechModel

__all__ = ["load_model"]

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SHARD = re.compile(r"\w[\w.-]*\.safetensors")
_HEAD_DIMENSIONS = 2
# The model card says the licence; all licence files stay with whatever is made from the model.
_HUB_FILES = ["*.json", "*.safetensors", "README.md", *(f"{start}*" for start in LICENCE_FILES)]
# Learned for pre-training only; recognition never reads it and many published checkpoints lack it.
_UNUSED = ("masked_spec_embed",)


def load_model(source: str | Path, *, tensors: Mapping[str, NDArray[Any]] | None = None) -> SpeechModel:
    """Load a recogniser in float32.

    Only safetensors are read; pickled checkpoints are refused because loading one can run any code, and code
    that comes with a model is never run.

    Args:
        source: a folder in the transformers layout, or a hub id such as `facebook/hubert-large-ls960-ft`.
        tensors: the state of `SpeechModel.module`, such as an artifact's tensors, in place of the folder's
            weights, which then need not be there.

    Raises:
        ModelError: no such folder or id, no `config.json` or an impossible one, an unsupported architecture, no
            output layer, weights that are missing, superfluous, damaged, not finite, of other shapes or pickled, no
            vocabulary, or one of another size.
    """
    folder = _folder(source)
    config = read_configuration(folder)
    family = _family(folder, config)
    if tensors is None:
        _check_weights(folder, config, family)
    vocabulary = load_vocabulary(folder)
    _check_vocabulary(folder, config, vocabulary)
    module = _build(folder, family) if tensors is None else _untrained(folder, family)
    model = family.adapter(module, folder=folder, vocabulary=vocabulary)
    if tensors is not None:
        model.load_tensors(tensors)
    return model


def _folder(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    name = str(source)
    if isinstance(source, Path) or path.exists() or not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise ModelError(f"{source} is not a folder; give a model folder or a Hugging Face hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(
            f"{name} is neither a folder nor can it be fetched from the hub ({type(error).__name__}); "
            "check the name and the connection, or download it and give the folder"
        ) from error


def _family(folder: Path, config: dict[str, Any]) -> Family:
    known = families()
    model_type = str(config.get("model_type"))
    if model_type not in known:
        names = ", ".join(sorted(known))
        raise ModelError(f"{folder}: architecture {model_type!r} is not supported; supported are {names}")
    return known[model_type]


def _check_weights(folder: Path, config: dict[str, Any], family: Family) -> None:
    shapes = _shapes(folder)
    head = next((name for name in family.adapter.heads if name in shapes), None)
    if head is None:
        raise ModelError(
            f"{folder} has no output layer ({family.adapter.heads[0]}), so it is not a {family.architecture} "
            "checkpoint; give a fine-tuned recogniser, not a pre-trained encoder"
        )
    if len(shapes[head]) != _HEAD_DIMENSIONS:
        raise ModelError(
            f"{folder}: {head} has the shape {shapes[head]} instead of (vocabulary, channels); fetch the model again"
        )
    rows = shapes[head][0]
    if rows != config.get("vocab_size", rows):
        raise ModelError(
            f"{folder}: vocabulary size mismatch: config.json says {config['vocab_size']}, "
            f"{head} has {rows} rows; fetch the model again"
        )


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every stored tensor, from the headers alone."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is damaged or incomplete ({error}); fetch it again") from error
    return shapes


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        paths = [folder / name for name in _shards(index)]
        for path in paths:
            if not path.is_file():
                raise ModelError(f"{path} is missing, {index.name} lists it; fetch it again")
        return paths
    raise ModelError(
        f"{folder} has no model.safetensors, and pickled weights (pytorch_model.bin) are never loaded; "
        "convert them where you trust them: "
        "from_pretrained(folder, use_safetensors=False).save_pretrained(folder)"
    )


def _shards(index: Path) -> list[str]:
    """The names of the weight files in an index; they lie beside it."""
    table = read_json(index).get("weight_map")
    names = list(table.values()) if isinstance(table, dict) else []
    if not names:
        raise ModelError(f"{index} has no weight_map of tensors to files; fetch the model again")
    for name in names:
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise ModelError(
                f"{index} lists {name!r}, which is not a safetensors file beside it; fetch it again"
            )
    return sorted(set(names))


def _check_vocabulary(
    folder: Path, config: dict[str, Any], vocabulary: CTCVocabulary | BPEVocabulary
) -> None:
    size = config.get("vocab_size")
    missing = 0 if size is None else sum(i not in vocabulary.tokens for i in range(size))
    if missing:
        raise ModelError(
            f"{folder}: vocabulary size mismatch: the model writes {size} symbols, {missing} of them are not "
            "in its vocabulary files; copy the files the model was published with"
        )


def _build(folder: Path, family: Family) -> torch.nn.Module:
    architecture = getattr(transformers, family.architecture)
    try:
        with quiet():
            module, report = architecture.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                # They are refused below, with their shapes; transformers only says that there are some.
                ignore_mismatched_sizes=True,
            )
    except CONFIGURATION_ERRORS as error:
        raise _unbuildable(folder, family, error) from error
    _check_shapes(folder, report["mismatched_keys"])
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_UNUSED))
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}; fetch it again"
        )
    _check_places(folder, module, report["unexpected_keys"])
    assert isinstance(module, torch.nn.Module)
    return module


def _untrained(folder: Path, family: Family) -> torch.nn.Module:
    """The network of `config.json` with random weights; the global random state is left alone."""
    architecture = getattr(transformers, family.architecture)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            module = architecture(architecture.config_class.from_pretrained(folder, local_files_only=True))
    except CONFIGURATION_ERRORS as error:
        raise _unbuildable(folder, family, error) from error
    assert isinstance(module, torch.nn.Module)
    return module


def _check_shapes(folder: Path, mismatched: Collection[tuple[str, Sequence[int], Sequence[int]]]) -> None:
    if mismatched:
        name, stored, wanted = min(mismatched)
        raise ModelError(
            f"{folder}: config.json does not describe these weights: {name} has the shape {tuple(stored)}, "
            f"config.json wants {tuple(wanted)} ({len(mismatched)} such weights); fetch the model again"
        )


def _check_places(folder: Path, module: Any, unexpected: Collection[str]) -> None:
    """Refuse weights that belong to a part of the network; other names are left over from pre-training.

    A checkpoint with more layers than `config.json` would otherwise become a smaller model without a word.
    """
    parts = (module, module.base_model)

    def has_place(name: str) -> bool:
        part = name.removeprefix(f"{module.base_model_prefix}.").partition(".")[0]
        return any(hasattr(owner, part) for owner in parts) and not name.endswith(_UNUSED)

    homeless = sorted(filter(has_place, unexpected))
    if homeless:
        raise ModelError(
            f"{folder} has weights that config.json has no place for, the first is {homeless[0]} ({len(homeless)} in "
            "all); fetch the model again, with the config.json it was published with"
        )


def _unbuildable(folder: Path, family: Family, error: Exception) -> ModelError:
    reason = error_reason(error)
    # transformers refers to a report on the terminal, which was kept silent.
    if "above report" in reason:
        reason = "its weights do not have the form that config.json describes"
    return ModelError(
        f"{folder} cannot be loaded as {family.architecture}: {reason}; check its config.json or fetch it again"
    )
