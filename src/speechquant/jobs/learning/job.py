"""From a float model and transcribed speech to a trained model with its proof."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.artifact import ArtifactContents, save_artifact, staged_folder
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.learning.figures import describe, page
from speechquant.jobs.learning.proof import prove_float, prove_quantized, reference
from speechquant.jobs.learning.roles import open_roles
from speechquant.jobs.learning.session import Session
from speechquant.jobs.learning.start import start_table
from speechquant.jobs.progress import Silent
from speechquant.jobs.quantization.figures import license_of
from speechquant.jobs.scratch import scratch_folder
from speechquant.jobs.sources import resolve_model
from speechquant.jobs.surroundings import check_output, set_threads, work_folder
from speechquant.learn.float_model import save_float_model
from speechquant.learn.training import processes, read_history
from speechquant.models import load_model
from speechquant.report import judge, learning_file, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.proof import Proof
    from speechquant.jobs.progress import Progress
    from speechquant.numerics import ScaleTable
    from speechquant.report import ReportData

__all__ = ["LearnOutcome", "learn"]

HISTORY, CURVE = "history.jsonl", "learning.svg"


@dataclass(frozen=True, slots=True, eq=False)
class LearnOutcome:
    """The finished folder and what is to be said of it.

    `verdict` is one sentence, `caveats` what limits it; `metrics` the contents of `metrics.json`; `work` the
    folder from which another run of the same goes on; `proof` the evaluations behind them.
    """

    folder: Path
    work: Path
    verdict: str
    caveats: tuple[str, ...]
    metrics: Mapping[str, Any]
    proof: Proof


def learn(recipe: LearnRecipe, *, progress: Progress | None = None) -> LearnOutcome | None:
    """Calibrate, train, export, evaluate, save.

    Checkpoints and evaluations are kept in `<output>.work`: started again after an interruption, the job goes
    on from the last update before Ctrl-C, or from the last evaluation before a kill.

    Returns:
        None in all processes but the first, where several share the work.

    Raises:
        SpeechquantError: the recipe, the model, the speech or the place for the output is unusable.
    """
    check_output(recipe.output)
    set_threads(recipe.threads)
    accelerator = processes()
    listener = progress if progress is not None and accelerator.is_main_process else Silent()
    roles = open_roles(recipe)
    model = load_model(resolve_model(recipe.model))
    work, seconds, origin = work_folder(recipe.output), dict[str, float](), model.signature
    for warning in roles.warnings:
        listener.note(warning)
    with EvaluationStore(work / "evaluations.sqlite") as store:
        normalizer = recipe.normalizer or ("whisper-english" if model.writes_punctuation else "upper")
        evaluator = Evaluator(normalizer, store, strict=recipe.strict, seed=recipe.seed)
        with _timed(seconds, "calibrate"):
            start = None if recipe.method == "float" else start_table(model, roles.train, recipe, listener)
        session = Session(model, roles, recipe, evaluator, listener, accelerator, start)
        # Before the long training: unusable speech is noticed now.
        with accelerator.main_process_first():
            before = reference(session)
        with _timed(seconds, "train"):
            trained, table, files = session.train(work)
        if not accelerator.is_main_process:
            return None
        rows = read_history(files / HISTORY)
        with scratch_folder(work) as scratch:
            with _timed(seconds, "evaluate"):
                proof = (
                    prove_float(session, before)
                    if table is None
                    else prove_quantized(session, before, table, scratch)
                )
            check = before.get("check", before["dev"])
            metrics = describe(session, proof, trained, rows=rows, seconds=seconds, float_check=check)
            data = page(session, proof, metrics, rows=rows, float_check=check)
            (scratch / CURVE).write_text(learning_file(rows, check.wer), encoding="utf-8")
            shutil.copyfile(files / HISTORY, scratch / HISTORY)
            with listener.stage("save"):
                if table is None:
                    _save_float(session, metrics, data, scratch)
                else:
                    contents = _contents(
                        session, table, metrics=metrics, data=data, scratch=scratch, origin=origin
                    )
                    save_artifact(contents, recipe.output)
    verdict = judge(data)
    return LearnOutcome(
        recipe.output, work, f"{verdict.headline}. {verdict.sentence}", verdict.caveats, metrics, proof
    )


def _contents(
    session: Session,
    table: ScaleTable,
    *,
    metrics: Mapping[str, Any],
    data: ReportData,
    scratch: Path,
    origin: str,
) -> ArtifactContents:
    model, recipe, roles = session.model, session.recipe, session.roles
    corpora = {"train": roles.train, "dev": roles.dev, "test": roles.test}
    return ArtifactContents(
        name=metrics["model"],
        source=recipe.model,
        family=model.model_type,
        task=model.runtime.task,
        method=recipe.method,
        bits=recipe.bits,
        model_files=(*model.kept_files, scratch / HISTORY, scratch / CURVE),
        weights={name: tensor.numpy() for name, tensor in model.module.state_dict().items()},
        table=table,
        metrics=metrics,
        model_signature=origin,
        data_signatures={role: c.signature for role, c in corpora.items() if c is not None},
        recipe=data.recipe_yaml,
        onnx=scratch / "quantized",
        report=render(data),
        license_name=license_of(model.folder),
    )


def _save_float(session: Session, metrics: Mapping[str, Any], data: ReportData, scratch: Path) -> None:
    """A model folder with the same records beside the weights as an artifact has."""
    with staged_folder(session.recipe.output) as folder:
        save_float_model(session.model, folder)
        for name in (HISTORY, CURVE):
            shutil.copyfile(scratch / name, folder / name)
        (folder / "recipe.yaml").write_text(data.recipe_yaml, encoding="utf-8")
        text = json.dumps(metrics, indent=1, ensure_ascii=False)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
