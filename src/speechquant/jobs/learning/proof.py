"""What a trained model is worth: against the float model it came from, in simulation and on the engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechquant.engines import load_recognizer
from speechquant.engines.export import export_onnx
from speechquant.metrics import argmax_agreement, token_agreement
from speechquant.simulation import quantized

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from speechquant.data import Corpus
    from speechquant.engines import Coverage
    from speechquant.evaluation import Evaluation
    from speechquant.jobs.learning.session import Session
    from speechquant.numerics import ScaleTable

__all__ = ["Engines", "Proof", "prove_float", "prove_quantized", "reference"]


@dataclass(frozen=True, slots=True, eq=False)
class Engines:
    """Sizes in bytes by system, what runs in int8, and how far simulation and engine agree, in percent."""

    bytes: Mapping[str, int]
    coverage: Coverage
    agreement: float
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Evaluations by system, on the reported speech and on dev; `engines` is None for a float model."""

    reported: Mapping[str, Evaluation]
    dev: Mapping[str, Evaluation]
    engines: Engines | None = field(default=None)


def reference(session: Session) -> dict[str, Evaluation]:
    """The float model before training, by the name of the data set; stored, so that it is computed once."""
    roles = session.roles
    found: dict[str, Evaluation] = {}
    corpora: dict[str, Corpus | None] = {"dev": roles.dev, "check": roles.check, "test": roles.test}
    if roles.check is roles.dev:
        del corpora["check"]
    for name, corpus in corpora.items():
        if corpus is None:
            continue
        with session.progress.stage(f"float model on {name}") as advance:
            found[name] = session.evaluator.evaluate(session.model.recognizer(), corpus, advance)
    return found


def prove_float(session: Session, before: Mapping[str, Evaluation]) -> Proof:
    """Evaluate the trained float model."""
    after = {corpus.name: _run(session, corpus, None) for corpus in _both(session)}
    return _proof(session, before, {"trained": after}, None)


def prove_quantized(
    session: Session, before: Mapping[str, Evaluation], table: ScaleTable, scratch: Path
) -> Proof:
    """Evaluate the simulation and the engine; graphs go to `scratch`, those of the result to `quantized` in it."""
    simulated = {corpus.name: _run(session, corpus, table) for corpus in _both(session)}
    exported = {}
    with session.progress.stage("export") as advance:
        for done, (system, scales) in enumerate({"float": None, "quantized": table}.items()):
            advance(done, 2, system)
            exported[system] = export_onnx(session.model, scales, scratch / system)
    recognizer = load_recognizer(
        scratch / "quantized", threads=session.recipe.threads, vocabulary=session.model.folder
    )
    reported = session.roles.reported
    with session.progress.stage(f"quantized model on {reported.name}, engine") as advance:
        on_engine = session.evaluator.evaluate(recognizer, reported, advance)
    share, unit = _agreement(simulated[reported.name], on_engine)
    engines = Engines(
        {system: item.bytes for system, item in exported.items()}, exported["quantized"].coverage, share, unit
    )
    after = {"quantized": {reported.name: on_engine}, "simulated": simulated}
    return _proof(session, before, after, engines)


def _both(session: Session) -> tuple[Corpus, ...]:
    roles = session.roles
    return (roles.dev,) if roles.test is None else (roles.dev, roles.test)


def _run(session: Session, corpus: Corpus, table: ScaleTable | None) -> Evaluation:
    evaluator, model = session.evaluator, session.model
    with session.progress.stage(f"trained model on {corpus.name}") as advance:
        if table is None:
            return evaluator.evaluate(model.recognizer(), corpus, advance)
        names = f"{model.recognizer().signature}|{table.signature}"
        signature = hashlib.sha256(names.encode()).hexdigest()
        with quantized(model, table):
            return evaluator.evaluate(model.recognizer(signature=signature), corpus, advance)


def _proof(
    session: Session,
    before: Mapping[str, Evaluation],
    after: Mapping[str, Mapping[str, Evaluation]],
    engines: Engines | None,
) -> Proof:
    reported, dev = session.roles.reported.name, session.roles.dev.name
    on_reported = {system: found[reported] for system, found in after.items() if reported in found}
    on_dev = {system: found[dev] for system, found in after.items() if dev in found and dev != reported}
    return Proof({"float": before[reported], **on_reported}, {"float": before[dev], **on_dev}, engines)


def _agreement(simulated: Evaluation, engine: Evaluation) -> tuple[float, str]:
    """Equal arg-max frames, or tokens that need no edit, in percent, and what was counted."""
    pairs = [(simulated.transcripts[id_], engine.transcripts[id_]) for id_ in simulated.transcripts]
    if all(one.frames for one, _ in pairs):
        share = argmax_agreement([one.frames for one, _ in pairs], [two.frames for _, two in pairs])
        return 100 * share, "frames"
    return 100 * token_agreement([one.tokens for one, _ in pairs], [two.tokens for _, two in pairs]), "tokens"
