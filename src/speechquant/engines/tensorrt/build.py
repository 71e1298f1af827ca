"""Build TensorRT engines from exported graphs. Needs TensorRT and a GPU of the type that will run them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from speechquant.engines.base import find_export
from speechquant.engines.coverage import read_coverage
from speechquant.engines.manifest import EngineFile, Manifest
from speechquant.engines.tensorrt.graph import Graph, read_model
from speechquant.engines.tensorrt.half import to_half
from speechquant.engines.tensorrt.libraries import import_tensorrt, make_logger
from speechquant.engines.tensorrt.profiles import Seconds, axis_ranges, shapes
from speechquant.engines.tensorrt.validate import validate_tensorrt
from speechquant.errors import ArtifactError, EngineError, RecipeError
from speechquant.storage import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from speechquant.decoding import RuntimeSpec
    from speechquant.engines.manifest import Coverage

__all__ = [
    "BUILD_NAME",
    "TIMING_CACHE",
    "BuildOptions",
    "Built",
    "Precision",
    "build_engines",
]

BUILD_NAME = "build.json"
TIMING_CACHE = "timing.cache"
Precision = Literal["fp32", "fp16"]

_LOG = logging.getLogger(__name__)
_DIALECT = "tensorrt"
_MEBIBYTE = 2**20
# What a recogniser needs besides the graphs: artifacts keep it beside them or one or two levels above.
_VOCABULARY = ("vocab.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "config.json")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build.

    `seconds` gives one optimisation profile each. `precision` is that of everything but the quantized
    products. `workspace` is the most scratch memory in MiB, all of the GPU's where None. `portable` engines run
    on every GPU from Ampere on, at some cost in speed. `timing_cache` keeps measurements of kernels between
    builds; by default it lies beside the engines. `level` is TensorRT's optimisation level, 0 to 5.
    """

    seconds: tuple[Seconds, ...] = (Seconds(0, 10, 30),)
    batch: int = 8
    precision: Precision = "fp32"
    workspace: int | None = None
    portable: bool = False
    timing_cache: Path | None = None
    level: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds:
            raise RecipeError("an engine needs at least one range of seconds")
        if self.batch < 1:
            raise RecipeError(f"batches of {self.batch} are not possible; give 1 or more")
        if self.workspace is not None and self.workspace < 1:
            raise RecipeError(f"a workspace of {self.workspace} MiB is not possible; give 1 or more")
        if self.level is not None and not 0 <= self.level <= 5:  # noqa: PLR2004 - TensorRT's own range
            raise RecipeError(f"optimisation level {self.level} is not between 0 and 5")


@dataclass(frozen=True, slots=True)
class Built:
    """The engines in `folder`, `bytes` in all, built by TensorRT `version`.

    `coverage` is what its inspector says about them.
    """

    folder: Path
    files: tuple[Path, ...]
    bytes: int
    version: str
    coverage: Coverage


def build_engines(
    source: str | Path,
    folder: str | Path,
    options: BuildOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> Built:
    """Build one engine per graph, and what is needed to run them without anything else.

    Args:
        source: An export for TensorRT, or the artifact that has it.
        folder: Made if it is not there; gets `<part>.plan`, `engine.json`, `build.json`, the vocabulary.
        options: Sizes, precision and limits.
        progress: Called with the name of each step.

    Raises:
        ArtifactError: a graph is missing or altered.
        EngineError: there is no export for TensorRT, a graph breaks a rule, or TensorRT refuses it.
        MissingExtraError: TensorRT or onnx is not installed.
        StorageError: the folder cannot be written.
    """
    options, out = options or BuildOptions(), Path(folder)
    tell = progress or (lambda _: None)
    trt = import_tensorrt()
    home, manifest = _export(Path(source))
    if out.resolve() == home.resolve():
        raise EngineError(f"{out} holds the graphs themselves; choose another folder for the engines")
    builder = _Builder(trt, manifest.runtime, options, options.timing_cache or out / TIMING_CACHE)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = []
        for file in manifest.files:
            tell(f"check {file.part}")
            model = _checked(manifest.path(home, file.part), file, options.precision)
            tell(f"build {file.part}")
            plan = builder.build(model, file.part)
            path = out / f"{file.part}.plan"
            path.write_bytes(plan)
            files.append(EngineFile(file.part, path.name, len(plan), hashlib.sha256(plan).hexdigest()))
        builder.save_timings()
        engines = Manifest(_DIALECT, manifest.runtime, tuple(files), manifest.operators)
        tell("read back coverage")
        coverage = read_coverage(out, engines)
        engines.with_coverage(coverage).save(out)
        _describe(out / BUILD_NAME, trt.__version__, manifest, options)
        _copy_vocabulary(home, out)
    except OSError as error:
        raise storage_error(out, error) from error
    paths = tuple(out / file.name for file in files)
    size = sum(file.size for file in files)
    return Built(out, paths, size, str(trt.__version__), coverage)


def _export(source: Path) -> tuple[Path, Manifest]:
    """The folder below `source` that holds graphs for TensorRT, and what they are."""
    home, manifest = find_export(source, _DIALECT)
    if any(not file.name.endswith(".onnx") for file in manifest.files):
        raise EngineError(f"{home} holds engines already; give the export that they were built from")
    return home, manifest


def _checked(path: Path, file: EngineFile, precision: Precision) -> Any:
    """A graph that is as it was exported and that breaks no rule."""
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            raise ArtifactError(f"{path} was altered after its export; export the model again")
    model = to_half(path) if precision == "fp16" else read_model(path)
    problems = validate_tensorrt(model)
    if problems:
        more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise EngineError(f"{path} is not fit for TensorRT: {problems[0]}{more}; export the model again")
    return model


class _Builder:
    """TensorRT's builder with our settings and one-line errors."""

    def __init__(self, trt: Any, runtime: RuntimeSpec, options: BuildOptions, timings: Path) -> None:
        self._trt, self._runtime, self._options, self._timings = trt, runtime, options, timings
        self._logger = make_logger(trt)
        self._builder = trt.Builder(self._logger)
        # Version 11 knows no other networks and ignores the flag.
        strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._flags = strongly_typed
        self._cache = self._timings.read_bytes() if self._timings.is_file() else b""

    def build(self, model: Any, part: str) -> bytes:
        """The serialized engine of a graph."""
        network = self._builder.create_network(self._flags)
        parser = self._trt.OnnxParser(network, self._logger)
        if not parser.parse(model.SerializeToString()):
            errors = [parser.get_error(i) for i in range(parser.num_errors)]
            first = f"{errors[0].node_name()}: {errors[0].desc()}" if errors else self._logger.last_error
            raise EngineError(
                f"TensorRT {self._trt.__version__} cannot read {part}: {' '.join(first.split())}"
            )
        config = self._config()
        graph = Graph(model)
        for seconds in self._options.seconds:
            self._add_profile(config, graph, seconds)
        self._use_timings(config)
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            reason = self._logger.last_error or "no reason given"
            raise EngineError(f"TensorRT {self._trt.__version__} cannot build {part}: {reason}")
        self._cache = bytes(config.get_timing_cache().serialize())
        content = bytes(plan)
        _LOG.info("built %s: %d bytes", part, len(content))
        return content

    def save_timings(self) -> None:
        """Keep the measurements, so that the next build of a like model is faster."""
        self._timings.parent.mkdir(parents=True, exist_ok=True)
        self._timings.write_bytes(self._cache)

    def _use_timings(self, config: Any) -> None:
        """Give the builder the measurements that it accepts: those of this version and GPU, or none."""
        for content in (self._cache, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
                return
            _LOG.warning("the timing cache %s is of another version or GPU; measuring anew", self._timings)

    def _config(self) -> Any:
        trt, options = self._trt, self._options
        config = self._builder.create_builder_config()
        # Layer names and types stay in the engine, so that what runs in int8 can be read back.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * _MEBIBYTE)
        if options.portable:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        if options.level is not None:
            config.builder_optimization_level = options.level
        return config

    def _add_profile(self, config: Any, graph: Graph, seconds: Seconds) -> None:
        ranges = axis_ranges(self._runtime, seconds, self._options.batch)
        profile = self._builder.create_optimization_profile()
        for value in graph.inputs():
            dims = [dim if dim is not None else "" for dim in graph.shapes[value.name]]
            if any(isinstance(dim, str) for dim in dims):
                smallest, typical, largest = shapes(dims, ranges)
                profile.set_shape(value.name, smallest, typical, largest)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"TensorRT refuses the profile of {seconds} s: {self._logger.last_error}")


def _describe(path: Path, version: str, manifest: Manifest, options: BuildOptions) -> None:
    content = {
        "tensorrt": str(version),
        "source": manifest.signature,
        "precision": options.precision,
        "seconds": [str(seconds) for seconds in options.seconds],
        "batch": options.batch,
        "portable": options.portable,
        "workspace": options.workspace,
        "level": options.level,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _copy_vocabulary(home: Path, out: Path) -> None:
    places = (home, *home.resolve().parents[:2])
    words = next((p for p in places if any((p / name).is_file() for name in _VOCABULARY[:2])), None)
    if words is not None:
        for path in (words / name for name in _VOCABULARY if (words / name).is_file()):
            shutil.copyfile(path, out / path.name)
