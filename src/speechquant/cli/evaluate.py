"""`speechquant evaluate`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer

from speechquant.cli.engine_options import (  # noqa: TC001 - typer reads annotations
    CacheOption,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
)

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
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
    cache: CacheOption = None,
    provider: ProviderOption = None,
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
