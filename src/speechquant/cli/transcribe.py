"""`speechquant transcribe`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated, Literal

import typer

from speechquant.cli.engine_options import (  # noqa: TC001 - typer reads annotations
    CacheOption,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
)

__all__ = ["transcribe"]

_HELP = """Turn audio files of any length into text.

Examples:

    speechquant transcribe hubert-int8 call.wav

    speechquant transcribe hubert-int8 recordings/ --format srt --output-dir subtitles
"""
_INTERRUPTED = 130


def transcribe(
    model: Annotated[str, typer.Argument(help="Artifact, or a float model folder or hub id.")],
    audio: Annotated[list[Path], typer.Argument(help="Audio files, and folders searched for them.")],
    *,
    kind: Annotated[
        Literal["txt", "json", "srt"], typer.Option("--format", "-f", help="Text, JSON lines or subtitles.")
    ] = "txt",
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Write one file per recording there.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files in --output-dir that are there already.")
    ] = False,
    engine: Annotated[str, typer.Option(help="Engine that runs an artifact.")] = "onnxruntime",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
    cache: CacheOption = None,
    provider: ProviderOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Windows decoded side by side; by default 8, for CTC models 1."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unusable file.")] = False,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.errors import AudioError
    from speechquant.jobs.printable import one_line
    from speechquant.jobs.recordings import find_audio
    from speechquant.jobs.transcribe import transcribe as job
    from speechquant.jobs.transcripts import TranscriptWriter

    files, progress = find_audio(audio), StderrProgress()
    writer = TranscriptWriter(files, kind, folder=output_dir, overwrite=overwrite)
    good = 0
    strict = strict or len(files) == 1
    results = job(
        model,
        files,
        engine=engine,
        threads=threads,
        precision=precision,
        cache=cache,
        provider=provider,
        batch_size=batch_size,
        strict=strict,
        progress=progress,
    )
    try:
        for result in results:
            good += result.transcript is not None
            if result.problem:
                progress.note(one_line(f"skipped: {result.problem}"))
            writer.write(result)
    except KeyboardInterrupt:
        progress.note(f"interrupted; {writer.state}")
        raise typer.Exit(_INTERRUPTED) from None
    if good < len(files):
        progress.note(f"{len(files) - good} of {len(files)} files were skipped")
    if not good:
        raise AudioError(f"none of {len(files)} files could be transcribed")


transcribe.__doc__ = _HELP
