"""From a float model and transcribed speech to a trained model with its proof."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechquant.artifact import ArtifactContents, save_artifact, staged_folder, write_float_record
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.learning.figures import describe, joined, page, with_storage
from speechquant.jobs.learning.methods import compress
from speechquant.jobs.learning.proof import prove_float, prove_quantized, reference
from speechquant.jobs.learning.roles import open_roles
from speechquant.jobs.learning.session import HISTORY, Session, vain_settings
from speechquant.jobs.learning.start import check_start
from speechquant.jobs.progress import Silent
from speechquant.jobs.quantization.figures import license_of
from speechquant.jobs.scratch import scratch_folder
from speechquant.jobs.sources import resolve_model
from speechquant.jobs.surroundings import check_output, set_threads, work_folder
from speechquant.learn.float_model import save_float_model
from speechquant.learn.training import processes
from speechquant.models import load_model
from speechquant.report import bits_file, judge, learning_file, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.methods import Compressed
    from speechquant.jobs.learning.proof import Proof
    from speechquant.jobs.progress import Progress
    from speechquant.report import MatrixBits, ReportData

__all__ = ["LearnOutcome", "learn"]

CURVE, ALLOCATION, BITS = "learning.svg", "allocation.json", "bits.svg"


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
    """Train or allocate, export, evaluate, save.

    Checkpoints and evaluations are kept in `<output>.work`: started again after an interruption, the job goes
    on from the last update before Ctrl-C, or from the last evaluation before a kill.

    Returns:
        None in all processes but the first, where several share the work.

    Raises:
        SpeechquantError: the recipe, the model, the speech or the place for the output is unusable.
    """
    check_output(recipe.output, floats=recipe.method == "float", model=recipe.model)
    set_threads(recipe.threads)
    accelerator = processes()
    listener = progress if progress is not None and accelerator.is_main_process else Silent()
    roles = open_roles(recipe)
    model = load_model(resolve_model(recipe.model))
    check_start(model, recipe)
    work, seconds, origin = work_folder(recipe.output), dict[str, float](), model.signature
    for note in (*roles.warnings, *vain_settings(recipe, model)):
        listener.note(note)
    with EvaluationStore(work / "evaluations.sqlite") as store:
        normalizer = recipe.normalizer or ("whisper-english" if model.writes_punctuation else "upper")
        evaluator = Evaluator(normalizer, store, strict=recipe.strict, seed=recipe.seed)
        session = Session(model, roles, recipe, evaluator, listener, accelerator)
        # Before the long training: unusable speech is noticed now.
        with accelerator.main_process_first():
            before = reference(session)
        found = compress(session, work)
        seconds |= found.seconds
        if not accelerator.is_main_process:
            return None
        rows = joined(found.stages)
        with scratch_folder(work) as scratch:
            with _timed(seconds, "evaluate"):
                proof = (
                    prove_float(session, before)
                    if found.table is None
                    else prove_quantized(session, before, found.table, scratch)
                )
            check = before.get("check", before["dev"])
            metrics = describe(session, proof, found, rows=rows, seconds=seconds, float_check=check)
            data = page(session, proof, found, metrics, rows=rows, float_check=check)
            kept = _records(found, rows, check.wer, data.matrix_bits, scratch)
            with listener.stage("save"):
                if found.table is None:
                    _save_float(session, metrics, data, kept)
                else:
                    contents = _contents(
                        session, found, metrics=metrics, data=data, scratch=scratch, kept=kept, origin=origin
                    )
                    # It adds bits and bytes of the file.
                    saved = save_artifact(contents, recipe.output).metrics["storage"]
                    metrics |= {"storage": saved}
                    data = with_storage(data, found, saved)
    verdict = judge(data)
    return LearnOutcome(
        recipe.output, work, f"{verdict.headline}. {verdict.sentence}", verdict.caveats, metrics, proof
    )


def _records(
    found: Compressed,
    rows: Sequence[Mapping[str, Any]],
    float_wer: float,
    bits: Sequence[MatrixBits],
    folder: Path,
) -> tuple[Path, ...]:
    """Files about the way to the result, written to `folder`."""
    texts = {}
    if found.stages:
        texts[HISTORY] = "".join(json.dumps(row) + "\n" for row in rows)
        texts[CURVE] = learning_file(rows, float_wer)
    if found.allocation is not None:
        texts[ALLOCATION] = json.dumps(found.allocation.record(), indent=1) + "\n"
        texts[BITS] = bits_file(bits, rows if found.stages else ())
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tuple(folder / name for name in texts)


def _contents(
    session: Session,
    found: Compressed,
    *,
    metrics: Mapping[str, Any],
    data: ReportData,
    scratch: Path,
    kept: Sequence[Path],
    origin: str,
) -> ArtifactContents:
    model, recipe, roles = session.model, session.recipe, session.roles
    corpora = {"train": roles.train, "dev": roles.dev, "test": roles.test}
    assert found.table is not None
    return ArtifactContents(
        name=metrics["model"],
        source=recipe.model,
        family=model.model_type,
        task=model.runtime.task,
        method=recipe.method,
        bits=metrics["bits"],
        model_files=(*model.kept_files, *kept),
        weights={name: tensor.numpy() for name, tensor in model.module.state_dict().items()},
        table=found.table,
        metrics=metrics,
        model_signature=origin,
        data_signatures={role: c.signature for role, c in corpora.items() if c is not None},
        recipe=data.recipe_yaml,
        onnx=scratch / "quantized",
        report=lambda storage: render(with_storage(data, found, storage.figures())),
        license_name=license_of(model.folder),
        rounding=recipe.rounding,
        searched=() if found.allocation is None else found.allocation.searched,
    )


def _save_float(session: Session, metrics: Mapping[str, Any], data: ReportData, kept: Sequence[Path]) -> None:
    """A model folder with the same records beside the weights as an artifact has."""
    with staged_folder(session.recipe.output, floats=True) as folder:
        save_float_model(session.model, folder)
        for path in kept:
            shutil.copyfile(path, folder / path.name)
        (folder / "recipe.yaml").write_text(data.recipe_yaml, encoding="utf-8")
        (folder / "report.html").write_text(render(data), encoding="utf-8")
        text = json.dumps(metrics, indent=1, ensure_ascii=False)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
        write_float_record(folder)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
