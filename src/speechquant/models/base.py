"""The family adapter: everything that search, simulation and export need to know about a speech model."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from torch import nn
from torch.nn.utils import parametrize

from speechquant.decoding import prepare_wave
from speechquant.errors import ModelError
from speechquant.numerics.spec import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.decoding import BPEVocabulary, CTCVocabulary, Recognizer, RuntimeSpec

__all__ = ["LICENCE_FILES", "RESULTS_VERSION", "ExportPart", "Family", "SpeechModel", "families", "register"]

_KEPT = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
LICENCE_FILES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")
_DECIDES_TEXT = ("vocab.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json")
_VOLATILE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


RESULTS_VERSION = 1
"""Raise it with every change of decoding or simulation after which the same weights give other results."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportPart:
    """One graph of a model, ready for `torch.onnx.export(module, inputs, dynamo=True, ...)`.

    `inputs` are example arguments of `module.forward`, where lists of tensors stand for repeated inputs.
    `input_names` and `output_names` are flat, in order. `dynamic_shapes` has the structure of `inputs`; its
    leaves map axes to names (axes of one name are equal), as `torch.export` takes them. `operators` maps the
    paths of operators inside `module`, from which the exporter makes the names of initialisers, to
    `Site.module`.
    """

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dynamic_shapes: tuple[Any, ...]
    operators: Mapping[str, str]


class SpeechModel(ABC):
    """A float speech recogniser: its network, and what its family knows about it.

    A family is one subclass: it names the layer of every operator and says how the model is run. `module` is
    float32, in evaluation mode, without gradients and without weight normalisation. `folder` is where the
    model's own files lie, `vocabulary` turns its ids into text, `signature` is a SHA-256 of the
    configuration, the weights and the files that decide the text.
    """

    family: ClassVar[str]
    writes_punctuation: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]]
    """Names one of which the checkpoint must have: the output layer, shape (vocabulary, channels)."""

    def __init__(self, module: Any, *, folder: Path, vocabulary: CTCVocabulary | BPEVocabulary) -> None:
        self.module: nn.Module = module.float().eval().requires_grad_(requires_grad=False)
        self.config: Any = module.config
        self.folder = folder
        self.vocabulary = vocabulary
        _fold_weight_norm(self.module)
        self._adjust()
        self._operators = tuple(
            name for name, part in self.module.named_modules() if isinstance(part, nn.Conv1d | nn.Linear)
        )
        _check_finite(self.module, folder)
        # A folder whose preprocessor cannot be read is refused now, not when the first audio arrives.
        _ = self.runtime
        self.signature = self._sign()

    @property
    def model_type(self) -> str:
        """The architecture as `config.json` names it, `hubert` for instance."""
        return str(self.config.model_type)

    @property
    def sampling_rate(self) -> int:
        """In Hz."""
        return self.runtime.sampling_rate

    @property
    def length_exact(self) -> bool:
        """Whether padding would change the output."""
        return self.runtime.length_exact

    @property
    def kept_files(self) -> tuple[Path, ...]:
        """The model's own small files and its licence, which an artifact keeps; never the weights."""
        kept = [path for name in _KEPT if (path := self.folder / name).is_file()]
        licences = (path for path in self.folder.iterdir() if path.name.upper().startswith(LICENCE_FILES))
        return (*kept, *sorted(path for path in licences if path.is_file()))

    def layers(self) -> tuple[str, ...]:
        """The units of selection, in the order in which data flows."""
        return tuple(dict.fromkeys(site.layer for site in self.sites()))

    def sites(self) -> tuple[Site, ...]:
        """Input and weight of every Conv1d and Linear, in order. A weight has the layer of its input."""
        return self._sites

    @cached_property
    def _sites(self) -> tuple[Site, ...]:
        return tuple(
            Site(module=name, role=role, layer=self._layer(name))
            for name in self._operators
            for role in ("input", "weight")
        )

    def operator(self, name: str) -> nn.Module:
        """The Conv1d or Linear of a site, by `Site.module`."""
        return self.module.get_submodule(name)

    def load_tensors(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Replace all weights, for example by those of an artifact.

        Args:
            tensors: every tensor of `module.state_dict()` by name.

        Raises:
            ModelError: one is missing, superfluous, of another shape, or not finite.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}
        given = {name: torch.tensor(array) for name, array in tensors.items()}
        wrong = sorted(
            name
            for name in own.keys() | given.keys()
            if name not in given or own.get(name) != tuple(given[name].shape)
        )
        if wrong:
            raise ModelError(
                f"{self.folder}: {len(wrong)} tensors do not fit the architecture, the first is {wrong[0]}; "
                "fetch or make the artifact again"
            )
        self.module.load_state_dict(given)
        _check_finite(self.module, self.folder)
        self.signature = self._sign()

    @property
    def results_signature(self) -> str:
        """SHA-256 under which results of the float model may be stored: the model and the code that runs it."""
        code = f"{RESULTS_VERSION}|{torch.__version__}|{transformers.__version__}"
        return hashlib.sha256(f"{self.signature}|{code}".encode()).hexdigest()

    def _sign(self) -> str:
        decides = self.config.to_dict() | {"runtime": self.runtime.to_dict()}
        return _signature(self.module, decides, self.folder)

    def prepare_wave(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples that the network gets, shape (time,); short waves are padded to the receptive field."""
        spec = self.runtime
        return prepare_wave(wave, normalize=spec.normalize, minimum=spec.minimum_samples)

    def features(self, wave: NDArray[np.float32]) -> torch.Tensor:
        """The network's input for one waveform of shape (time,): shape (1, time)."""
        return torch.from_numpy(self.prepare_wave(wave))[None]

    @cached_property
    @abstractmethod
    def runtime(self) -> RuntimeSpec:
        """How to feed the model and read its output, on any engine."""

    @abstractmethod
    def recognizer(self, *, signature: str | None = None) -> Recognizer:
        """A recogniser that runs `module` as it stands, fake quantizers included.

        Args:
            signature: what its results are stored under; give one whenever quantizers are inserted. The
                default describes the float model.
        """

    @abstractmethod
    def observe(self, wave: NDArray[np.float32]) -> None:
        """Run one utterance, shape (time,), such that every site sees exactly what recognition shows it."""

    @abstractmethod
    def parts(self) -> tuple[ExportPart, ...]:
        """The graphs that an engine needs. They share the operators of `module`."""

    def _token_id(self, name: str) -> int:
        """A setting of `config.json` that must be one of the ids that the network writes."""
        value = getattr(self.config, name, None)
        if type(value) is not int or not 0 <= value < self.config.vocab_size:
            raise ModelError(
                f"{self.folder / 'config.json'}: {name} must be an id below {self.config.vocab_size}, not {value!r}; "
                "fetch the model again"
            )
        return value

    def _operators_in(self, part: nn.Module) -> dict[str, str]:
        """Path inside `part` -> path inside `module`, for every operator that they share."""
        paths = {id(self.operator(name)): name for name in self._operators}
        return {name: paths[id(inner)] for name, inner in part.named_modules() if id(inner) in paths}

    @abstractmethod
    def _layer(self, operator: str) -> str:
        """The layer of an operator, by its dotted path."""

    def _adjust(self) -> None:  # noqa: B027 - most families need no adjustment
        """Replace what hides operators from hooks; the output must stay the same."""


@dataclass(frozen=True, slots=True)
class Family:
    """One supported architecture: its `model_type`, its class in transformers, its adapter."""

    model_type: str
    architecture: str
    adapter: type[SpeechModel]


_FAMILIES: dict[str, Family] = {}


def register(architectures: Mapping[str, str]) -> Callable[[type[SpeechModel]], type[SpeechModel]]:
    """Make an adapter available for the given `model_type` -> transformers class names."""

    def decorate(adapter: type[SpeechModel]) -> type[SpeechModel]:
        for model_type, architecture in architectures.items():
            _FAMILIES[model_type] = Family(model_type, architecture, adapter)
        return adapter

    return decorate


def families() -> Mapping[str, Family]:
    """The supported architectures by `model_type`."""
    return dict(_FAMILIES)


def _fold_weight_norm(module: nn.Module) -> None:
    """Replace parametrized weights (weight normalisation of the positional convolution) by their values."""
    for part in module.modules():
        if parametrize.is_parametrized(part):
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
                # Torch leaves a plain tensor where several originals made one weight.
                value = getattr(part, name).detach()
                delattr(part, name)
                part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _check_finite(module: nn.Module, folder: Path) -> None:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(
                f"{folder}: {name} holds NaN or infinite weights; fetch or train the model again"
            )


def _signature(module: nn.Module, config: dict[str, Any], folder: Path) -> str:
    digest = hashlib.sha256()
    lasting = {key: value for key, value in config.items() if key not in _VOLATILE}
    digest.update(json.dumps(lasting, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.contiguous().numpy().data)
    for name in _DECIDES_TEXT:
        path = folder / name
        if path.is_file():
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()
