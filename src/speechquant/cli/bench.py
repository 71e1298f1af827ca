"""`speechquant bench`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from speechquant.cli.engine_options import ThreadsOption  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from speechquant.jobs.bench import BenchResult

__all__ = ["bench"]

_HELP = """Compare float and int8 on several engines: latency, memory, start, size, real-time factor.

Examples:

    speechquant bench hubert-int8 --data LibriSpeech/test-clean -o speed

    speechquant bench --arch wav2vec2-base --seconds 10 --threads 2

    speechquant bench demo:hubert-mini --engine openvino --batch 1 --batch 4
"""
_INTERRUPTED = 130


def bench(
    target: Annotated[
        str | None, typer.Argument(help="Artifact, float model folder, hub id, or built-in model.")
    ] = None,
    *,
    arch: Annotated[
        str | None, typer.Option(help="Full-size architecture with random weights, such as wav2vec2-base.")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", "-e", help="onnxruntime or openvino, repeatable; by default all there are."),
    ] = None,
    seconds: Annotated[
        list[float] | None, typer.Option(help="Length of audio, repeatable; by default 1, 5, 10, 20, 30.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Utterances per call, repeatable; by default 1.")
    ] = None,
    threads: ThreadsOption = None,
    repeats: Annotated[int, typer.Option(help="Interleaved turns that count.")] = 11,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Data set for the real-time factor.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for bench.json, bench.md and latency.svg.")
    ] = None,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.jobs.bench import LENGTHS, BenchInterrupted
    from speechquant.jobs.bench import bench as job

    try:
        result = job(
            target,
            arch=arch,
            engines=engine or ("all",),
            seconds=seconds or LENGTHS,
            batches=batch or (1,),
            threads=threads,
            repeats=repeats,
            data=data,
            output=output,
            progress=StderrProgress(),
        )
    except BenchInterrupted as stop:
        _print(stop.result, output)
        typer.echo("interrupted; what was measured until then is above", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    _print(result, output)


def _print(result: BenchResult, output: Path | None) -> None:
    from speechquant.cli.tables import columns, show
    from speechquant.jobs.bench.tables import (
        conditions,
        latency_grids,
        memory_grids,
        remarks,
        start_grid,
    )

    show(result.title)
    for grid in (*latency_grids(result), start_grid(result), *memory_grids(result)):
        table = columns(*grid.head)
        for row in grid.rows:
            table.add_row(*row)
        show(grid.title, table)
    for line in (*conditions(result), *remarks(result)):
        show(line)
    if output is not None:
        show(f"tables, raw turns and figure: {output}")


bench.__doc__ = _HELP
