"""`speechquant evaluate`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated, Literal

import typer

__all__ = ["evaluate"]

_HELP = """Measure word error rates on transcribed speech; two models get a paired test.

Examples:

    speechquant evaluate hubert-int8 --data LibriSpeech/test-clean

    speechquant evaluate facebook/hubert-large-ls960-ft hubert-int8 --data test.tsv --json
"""


def evaluate(
    models: Annotated[list[str], typer.Argument(help="Artifacts, float model folders or hub ids.")],
    *,
    data: Annotated[str, typer.Option("--data", "-d", help="LibriSpeech tree, manifest or folder.")],
    normalizer: Annotated[
        str | None, typer.Option(help="Text normaliser; by default the one that suits the models.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine that runs artifacts.")] = "onnxruntime",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")] = None,
    precision: Annotated[
        Literal["f32", "bf16"] | None,
        typer.Option(help="Of what is not int8; by default the engine's fastest on this processor."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for compiled models (openvino).")] = None,
    provider: Annotated[
        str | None, typer.Option(help="What ONNX Runtime computes with: cpu by default, cuda, ...")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Keep transcripts in this SQLite file, to go on after an interruption."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only this many utterances.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first unusable utterance.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the job; the help text is `_HELP`."""
    from speechquant.cli.progress import StderrProgress
    from speechquant.cli.tables import print_evaluation
    from speechquant.jobs.evaluate import evaluate as job
    from speechquant.jobs.printable import json_line

    report = job(
        models,
        data,
        normalizer=normalizer,
        engine=engine,
        threads=threads,
        precision=precision,
        cache=cache,
        provider=provider,
        store=store,
        limit=limit,
        strict=strict,
        progress=StderrProgress(),
    )
    if as_json:
        typer.echo(json_line(report.to_dict()))
    else:
        print_evaluation(report)


evaluate.__doc__ = _HELP
