"""Mixed precision without training: from a float model and some speech to an artifact with bits of their own."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from speechquant.artifact import Artifact, ArtifactContents, package_versions, save_artifact
from speechquant.artifact.weights import file_bytes
from speechquant.data import iter_loaded, nothing_usable
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.learning.proof import prove_quantized, reference
from speechquant.jobs.learning.roles import open_roles
from speechquant.jobs.learning.session import Session
from speechquant.jobs.progress import Silent
from speechquant.jobs.quantization.figures import license_of
from speechquant.jobs.scratch import scratch_folder
from speechquant.jobs.sources import resolve_model
from speechquant.jobs.surroundings import check_output, peak_rss_mb, set_threads, work_folder
from speechquant.learn.allocation import allocate as choose_bits
from speechquant.learn.training import processes
from speechquant.models import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data import Corpus, Skipped
    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.learning.proof import Proof
    from speechquant.jobs.progress import Progress
    from speechquant.learn.allocation import Allocation, Budget, Rule

__all__ = ["ALLOCATION", "AllocateOutcome", "allocate"]

ALLOCATION = "allocation.json"
_METHOD = "allocate"
_ROLES = ("train", "dev", "test")
_READ = (
    *("model", "output", *_ROLES, *(f"{role}_minutes" for role in _ROLES)),
    *("normalizer", "seed", "threads", "allow_overlap", "strict"),
)


@dataclass(frozen=True, slots=True, eq=False)
class AllocateOutcome:
    """The artifact, what was chosen, and the evaluations; `work` is the folder from which a run goes on."""

    artifact: Artifact
    allocation: Allocation
    proof: Proof
    metrics: Mapping[str, Any]
    work: Path


def allocate(
    recipe: LearnRecipe,
    budget: Budget,
    *,
    criterion: str = "kl",
    rule: Rule = "paper",
    utterances: int = 8,
    progress: Progress | None = None,
) -> AllocateOutcome:
    """Measure sensitivities on part of the training speech, choose bits, export, evaluate, save.

    Activations stay in float. Costs and evaluations are kept in `<output>.work`: started again, the job goes on
    where it was. `allocation.json` in the artifact has the bits, costs and bytes of every matrix.

    Args:
        recipe: model, output, speech, normaliser, seed and threads; what concerns training is not read.
        budget: how small the result is to be.
        criterion: what measures the sensitivity of a matrix.
        rule: which weights are searched.
        utterances: of the training speech, to measure on; transcripts are not needed.
        progress: hears of every step.

    Raises:
        SpeechquantError: the recipe, the model, the speech or the place for the output is unusable.
    """
    check_output(recipe.output)
    set_threads(recipe.threads)
    listener = progress or Silent()
    roles = open_roles(recipe)
    model = load_model(resolve_model(recipe.model))
    weights = {name: tensor.numpy() for name, tensor in model.module.state_dict().items()}
    work, seconds = work_folder(recipe.output), dict[str, float]()
    for warning in roles.warnings:
        listener.note(warning)
    with EvaluationStore(work / "evaluations.sqlite") as store, scratch_folder(work) as scratch:
        normalizer = recipe.normalizer or ("whisper-english" if model.writes_punctuation else "upper")
        evaluator = Evaluator(normalizer, store, strict=recipe.strict, seed=recipe.seed)
        session = Session(model, roles, recipe, evaluator, listener, processes(), None)
        before = reference(session)
        start = time.perf_counter()
        waves = _speech(roles.train.subset(limit=utterances, seed=recipe.seed), strict=recipe.strict)
        with listener.stage("allocate") as advance:
            found = choose_bits(
                model,
                waves,
                budget=budget,
                criterion=criterion,
                rule=rule,
                file_size=lambda table: file_bytes(weights, table),
                seed=recipe.seed,
                work=work,
                on_step=advance,
            )
        seconds["allocate"] = time.perf_counter() - start
        proof = prove_quantized(session, before, found.table, scratch)
        seconds["evaluate"] = time.perf_counter() - start - seconds["allocate"]
        metrics = _metrics(session, found, proof, seconds)
        text = json.dumps(found.record(), indent=1)
        (scratch / ALLOCATION).write_text(text + "\n", encoding="utf-8")
        corpora = {"train": roles.train, "dev": roles.dev, "test": roles.test}
        contents = ArtifactContents(
            name=model.folder.name,
            source=recipe.model,
            family=model.model_type,
            task=model.runtime.task,
            method=_METHOD,
            bits=metrics["bits"],
            model_files=(*model.kept_files, scratch / ALLOCATION),
            weights=weights,
            table=found.table,
            metrics=metrics,
            model_signature=model.signature,
            data_signatures={role: c.signature for role, c in corpora.items() if c is not None},
            recipe=_settings(recipe, f"{budget!r}, {criterion=}, {rule=}, {utterances=}"),
            onnx=scratch / "quantized",
            license_name=license_of(model.folder),
            searched=found.searched,
        )
        with listener.stage("save"):
            artifact = save_artifact(contents, recipe.output)
    return AllocateOutcome(artifact, found, proof, metrics, work)


def _settings(recipe: LearnRecipe, choices: str) -> str:
    """The settings that were read, as YAML that opens with the call that repeats the run."""
    call = f"# allocate(load_learn_recipe({str(recipe.output / 'recipe.yaml')!r}), {choices})\n"
    values = recipe.model_dump(mode="json", include=set(_READ))
    return call + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _speech(corpus: Corpus, *, strict: bool) -> list[NDArray[np.float32]]:
    skipped: list[Skipped] = []
    waves = [samples for _, samples in iter_loaded(corpus, strict=strict, on_skip=skipped.append)]
    if not waves:
        raise nothing_usable(corpus.name, skipped)
    return waves


def _metrics(
    session: Session, found: Allocation, proof: Proof, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The contents of `metrics.json`; `save_artifact` adds bits and bytes of the file."""
    reported = proof.reported
    before, engines = reported["float"], proof.engines
    assert engines is not None
    coverage = engines.coverage
    p_values = {name: before.compare(item).p_value for name, item in reported.items() if name != "float"}
    return {
        "model": session.model.folder.name,
        "method": _METHOD,
        "bits": f"w{found.average_bits:.2f}a16",
        "normalizer": session.evaluator.normalizer,
        "references": before.references,
        "reported_on": session.roles.reported.name,
        **{
            name: {**item.figures(), "capped": item.capped, "backend": item.backend}
            for name, item in reported.items()
        },
        "p_value": p_values["quantized"],
        "p_values": p_values,
        "dev": {name: item.figures() for name, item in proof.dev.items()},
        "allocation": {
            "criterion": found.criterion,
            "rule": found.rule,
            "budget": str(found.budget),
            "average_bits": found.average_bits,
            "predicted": found.predicted,
        },
        "agreement": {"value": engines.agreement, "unit": engines.unit},
        "bytes": dict(engines.bytes),
        "coverage": {
            "int8": coverage.int8,
            "total": coverage.total,
            "fallbacks": list(coverage.fallbacks),
            "weights_4bit": coverage.weights_4bit,
            "expanded": list(coverage.expanded),
        },
        "selected_layers": [],
        "p_opt": None,
        "seconds": dict(seconds),
        "peak_rss_mb": peak_rss_mb(),
        "warnings": list(session.roles.warnings),
        "versions": package_versions(),
    }
