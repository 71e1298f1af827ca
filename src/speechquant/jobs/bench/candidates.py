"""From what the user names to the systems that are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from speechquant.artifact import load_artifact
from speechquant.engines import EngineOptions, Manifest, find_exports, import_engine, load_recognizer
from speechquant.engines.manifest import MANIFEST_NAME
from speechquant.errors import EngineError, MissingExtraError
from speechquant.jobs.bench.floats import load_float, open_float
from speechquant.jobs.bench.system import System

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from speechquant.decoding import Recognizer
    from speechquant.engines import Precision
    from speechquant.jobs.bench.audio import Audio
    from speechquant.jobs.progress import Progress
    from speechquant.models import SpeechModel
    from speechquant.numerics import ScaleTable

__all__ = ["ALL", "Candidates", "Maker", "choose_engines", "of_artifact", "of_float_model"]

ALL = "all"
_ENGINES = ("onnxruntime", "openvino")
# One of these is all that a recogniser reads besides its graphs.
_VOCABULARIES = ("tokenizer.json", "vocab.json")
_INTEGER_BITS = 8
_CALIBRATION_SECONDS = 10.0
# The largest values of some models are so far out that 8 bits up to them leave nothing of the rest, and a decoder
# that hears nothing writes nothing, which is quick.
_CALIBRATOR, _PERCENTILE = "percentile", 99.9


@dataclass(frozen=True, slots=True)
class Candidates:
    """Systems by name, and what was left out or done differently, one line each."""

    systems: dict[str, System] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def choose_engines(wanted: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The engines to compare, and a line for each that `all` does not find.

    Raises:
        EngineError: an engine that is unknown or does not run on CPUs.
        MissingExtraError: one that is asked for is not installed.
    """
    for name in wanted:
        if name != ALL and name not in _ENGINES:
            raise EngineError(f"bench cannot compare {name!r}; choose {ALL} or from {', '.join(_ENGINES)}")
    found, notes = [], []
    for name in _ENGINES:
        if name not in wanted and ALL not in wanted:
            continue
        try:
            import_engine(name)
        except MissingExtraError as error:
            if name in wanted:
                raise
            notes.append(f"left out: {error}")
        else:
            found.append(name)
    return tuple(found), notes


def of_artifact(
    home: Path, engines: Sequence[str], *, threads: int, scratch: Path, progress: Progress
) -> Candidates:
    """The systems of an artifact: its own graphs where it has them, float graphs of its dequantized weights.

    Args:
        home: folder of the artifact.
        engines: what runs it.
        threads: of every system.
        scratch: where graphs go that the artifact does not hold; they are needed until the end.
        progress: hears of every export.

    Raises:
        ArtifactError, ModelError, EngineError: the artifact is damaged, or an engine refuses a graph.
    """
    info = load_artifact(home)
    own = {manifest.dialect: place for place, manifest in find_exports(home).items()}
    maker, kind = Maker(home, threads, scratch), _kind(info.info.bits)
    made = maker.made
    try:
        model = load_float(str(home))
    except MissingExtraError:
        made.notes.append("there is no float system to compare with, as that needs PyTorch")
        for engine in engines:
            if engine in own:
                maker.add_quantized(engine, own[engine], kind)
            else:
                made.notes.append(f"{engine} is left out: exporting for it needs PyTorch")
        return made
    table = info.scale_table()
    maker.add_torch(model, partial(open_float, str(home), threads), "weights dequantized")
    with progress.stage("export") as advance:
        for done, engine in enumerate(engines):
            advance(done, len(engines), engine)
            maker.add_float(engine, maker.export(model, None, engine))
            graphs = own.get(engine) or maker.export(model, table, engine)
            maker.add_quantized(engine, graphs, kind)
        advance(len(engines), len(engines))
    return made


def of_float_model(
    source: str, engines: Sequence[str], *, threads: int, scratch: Path, audio: Audio, progress: Progress
) -> Candidates:
    """The systems of a float model, and what it becomes with 8 bits for everything after a short calibration.

    Args:
        source: model folder, hub id, or built-in model.
        engines: what runs it.
        threads: of every system.
        scratch: where graphs go; they are needed until the end.
        audio: to calibrate with.
        progress: hears of every export.

    Raises:
        ModelError, EngineError, MissingExtraError: it cannot be loaded or exported.
    """
    with progress.stage("load and calibrate"):
        model = load_float(source)
        table = _quick_table(model, audio)
    maker = Maker(model.folder, threads, scratch)
    maker.add_torch(model, partial(open_float, source, threads))
    maker.made.notes.append(
        f"int8 is made by {_CALIBRATOR} {_PERCENTILE} calibration on {_CALIBRATION_SECONDS:g} s for this "
        "measurement of speed alone; its words are worth nothing"
    )
    with progress.stage("export") as advance:
        for done, engine in enumerate(engines):
            advance(done, len(engines), engine)
            maker.add_float(engine, maker.export(model, None, engine))
            maker.add_quantized(engine, maker.export(model, table, engine), "int8")
        advance(len(engines), len(engines))
    return maker.made


def _quick_table(model: SpeechModel, audio: Audio) -> ScaleTable:
    from speechquant.simulation import activation_table, observe, weight_table

    histograms = observe(model, [audio.first(_CALIBRATION_SECONDS)])
    sites = model.sites()
    inputs = activation_table(
        sites, histograms=histograms, calibrator=_CALIBRATOR, bits=8, percentile=_PERCENTILE
    )
    return weight_table(model, sites, bits=8).merged(inputs)


@dataclass(frozen=True, slots=True)
class Maker:
    """Adds systems of one model: its small files lie in `words`, graphs go below `scratch`."""

    words: Path
    threads: int
    scratch: Path
    made: Candidates = field(default_factory=Candidates)

    def export(
        self, model: SpeechModel, table: ScaleTable | None, engine: str, folder: str | None = None
    ) -> Path:
        """Graphs for an engine, in float without a table; `folder` is needed where there are several tables."""
        from speechquant.engines.export import export_onnx

        name = folder or f"{engine}-{'f32' if table is None else 'int8'}"
        return export_onnx(model, table, self.scratch / name, engine).folder

    def add_torch(self, model: SpeechModel, opener: Callable[[], Recognizer], note: str = "") -> None:
        """The float model in PyTorch; its size is that of its parameters in float32."""
        size = sum(4 * parameter.numel() for parameter in model.module.parameters())
        self.made.systems["torch f32"] = System(opener, "f32", "torch", size, note)

    def add_float(self, engine: str, graphs: Path) -> None:
        """Float graphs in float32, and in bf16 where the engine has it on this processor."""
        size = _bytes(graphs, Manifest.load(graphs), self.words)
        exact, short = self._opener(engine, graphs, "f32"), self._opener(engine, graphs, "bf16")
        self.made.systems[f"{engine} f32"] = System(exact, "f32", engine, size)
        try:
            short()
        except EngineError as error:
            self.made.notes.append(f"no {engine} bf16: {str(error).partition(';')[0]}")
        else:
            self.made.systems[f"{engine} bf16"] = System(short, "bf16", engine, size)

    def add_quantized(
        self, engine: str, graphs: Path, kind: str, name: str | None = None, *, exact_too: bool = True
    ) -> None:
        """Quantized graphs as the engine runs them; `exact_too`, and with float32 for the rest if that differs."""
        shown = name or f"{engine} {kind}"
        manifest = Manifest.load(graphs)
        size, coverage = _bytes(graphs, manifest, self.words), manifest.coverage
        usual, exact = self._opener(engine, graphs, None), self._opener(engine, graphs, "f32")
        differs = usual().signature != exact().signature
        note = "rest in bf16, the engine's default" if differs else "rest in f32"
        self.made.systems[shown] = System(usual, kind, engine, size, note, coverage)
        if differs and exact_too:
            plain = System(exact, kind, engine, size, "rest in f32", coverage)
            self.made.systems[f"{shown}, f32 rest"] = plain

    def add_width(self, engine: str, graphs: Path, bits: str, name: str) -> None:
        """Graphs quantized to these bits under a name of their own, as the engine runs them by default."""
        self.add_quantized(engine, graphs, _kind(bits), name, exact_too=False)

    def _opener(self, engine: str, graphs: Path, precision: Precision | None) -> partial[Recognizer]:
        options = EngineOptions(threads=self.threads, precision=precision)
        return partial(load_recognizer, graphs, engine=engine, vocabulary=self.words, options=options)


def _kind(bits: str) -> str:
    """What a model of these bits computes its products in; more than 8 for activations is no integer product."""
    activations = re.search(r"a(\d+)$", bits)
    return bits if activations and int(activations[1]) > _INTEGER_BITS else "int8"


def _bytes(graphs: Path, manifest: Manifest, words: Path) -> int:
    """Of all files that running needs."""
    text = next((words / name for name in _VOCABULARIES if (words / name).is_file()), None)
    small = [graphs / MANIFEST_NAME, *([text] if text else [])]
    return sum(file.size for file in manifest.files) + sum(path.stat().st_size for path in small)
