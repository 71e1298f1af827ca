"""The command `bench`, from what the user names to the written result."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from speechquant.artifact import is_artifact
from speechquant.engines import is_export
from speechquant.errors import ArtifactError, MissingExtraError, ModelError, RecipeError
from speechquant.jobs.bench.audio import default_audio, joined_speech, noise
from speechquant.jobs.bench.candidates import ALL, choose_engines, of_artifact, of_float_model
from speechquant.jobs.bench.measure import LENGTHS, REPEATS, check_plan, measure_systems
from speechquant.jobs.bench.result import BenchInterrupted
from speechquant.jobs.bench.write import write
from speechquant.jobs.engines import engines as installed_engines
from speechquant.jobs.outputs import check_folder
from speechquant.jobs.progress import Silent
from speechquant.jobs.scratch import scratch_folder
from speechquant.jobs.sources import DEMO_MODELS, resolve_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from speechquant.data import Corpus
    from speechquant.jobs.bench.audio import Audio
    from speechquant.jobs.bench.result import BenchResult
    from speechquant.jobs.progress import Progress

__all__ = ["bench"]

_DEMO_DATA = "demo:dev"


def bench(
    target: str | Path | None = None,
    *,
    arch: str | None = None,
    engines: Sequence[str] = (ALL,),
    seconds: Sequence[float] = LENGTHS,
    batches: Sequence[int] = (1,),
    threads: int | None = None,
    repeats: int = REPEATS,
    data: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Compare float and int8 on several engines: latency, memory, start, size, real-time factor.

    Args:
        target: an artifact, or a float model (folder, hub id, `demo` or `demo:hubert-mini`).
        arch: in place of `target`, an architecture of `models.random.ARCHITECTURES` with random weights.
        engines: `onnxruntime`, `openvino`, or `all` that are installed.
        seconds: lengths of audio.
        batches: utterances per call.
        threads: of every system; by default one per core that this process may use.
        repeats: turns that count.
        data: a data set for the real-time factor; by default the dev set of the demo for built-in models.
        output: a folder for `bench.json`, `bench.md` and `latency.svg`.
        progress: hears of every step.

    Raises:
        BenchInterrupted: Ctrl-C, after what was measured has been written; it has the result too.
        RecipeError: settings that are out of range or exclude each other.
        ArtifactError, ModelError, EngineError, DataError: what was given cannot be used.
        MissingExtraError: PyTorch for a float model, or an engine that is asked for.
        StorageError: the output cannot be written, or belongs to an artifact or a model.
    """
    cores = installed_engines().cores if threads is None else threads
    _check(target, arch, cores)
    check_plan(seconds, batches, repeats)
    chosen, notes = choose_engines(engines)
    watcher, folder = progress or Silent(), Path(output) if output is not None else None
    if folder is not None:
        check_folder(folder)
    corpus, audio = _speech(target, arch, data, max(seconds))
    with _scratch(folder) as scratch:
        if arch is not None:
            title, source = f"architecture {arch} with random weights", _random(arch, scratch, watcher)
        else:
            title, source = _name(str(target)), str(target)
        if is_artifact(Path(source)):
            found = of_artifact(Path(source), chosen, threads=cores, scratch=scratch, progress=watcher)
        else:
            found = of_float_model(
                source, chosen, threads=cores, scratch=scratch, audio=audio, progress=watcher
            )
        try:
            result = measure_systems(
                found.systems,
                title=title,
                threads=cores,
                seconds=seconds,
                batches=batches,
                repeats=repeats,
                audio=audio,
                corpus=corpus,
                notes=[*notes, *found.notes],
                progress=watcher,
            )
        except BenchInterrupted as stop:
            if folder is not None:
                write(stop.result, folder)
            raise
        if folder is not None:
            write(result, folder)
    return result


def _check(target: str | Path | None, arch: str | None, threads: int) -> None:
    if (target is None) == (arch is None):
        raise RecipeError("give either an artifact or model to measure, or an architecture with --arch")
    if threads < 1:
        raise RecipeError(f"{threads} threads are not possible; give 1 or more")
    if target is not None and is_export(Path(target)) and not is_artifact(Path(target)):
        raise ArtifactError(
            f"{target}: is an export, which has no weights to compare with; give the artifact"
        )


def _speech(
    target: str | Path | None, arch: str | None, data: str | Path | None, seconds: float
) -> tuple[Corpus | None, Audio]:
    """The data set for the real-time factor, and the audio of which latencies are measured."""
    if data is None and str(target) in DEMO_MODELS:
        data = _DEMO_DATA
    if data is not None:
        corpus = resolve_corpus(str(data))
        return corpus, joined_speech(corpus, seconds)
    return None, noise(seconds) if arch is not None else default_audio(seconds)


def _name(target: str) -> str:
    """What is measured, for people."""
    if target in DEMO_MODELS:
        return f"built-in model {target}"
    kind = "artifact" if is_artifact(Path(target)) else "float model"
    return f"{kind} {Path(target).resolve().name}"


def _random(arch: str, scratch: Path, progress: Progress) -> str:
    """A folder with a model of random weights."""
    folder = scratch / "model"
    try:
        from speechquant.models.random import ARCHITECTURES, random_model
    except ImportError as error:
        raise MissingExtraError(
            "--arch makes a float model, which needs PyTorch: pip install 'speechquant[quantize]'"
        ) from error
    if arch not in ARCHITECTURES:
        raise ModelError(f"no architecture {arch!r}; choose one of {', '.join(ARCHITECTURES)}")
    with progress.stage("random weights"):
        random_model(arch, folder)
    return str(folder)


@contextmanager
def _scratch(output: Path | None) -> Iterator[Path]:
    """Space for graphs, in the output folder where there is one, as that is where the user has space."""
    if output is None:
        with tempfile.TemporaryDirectory(prefix="speechquant-bench-") as folder:
            yield Path(folder)
        return
    with scratch_folder(output) as folder:
        yield folder
