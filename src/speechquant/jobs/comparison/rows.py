"""One row: find its scales, score it on dev and test, remember it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from speechquant.artifact import is_artifact, load_artifact, shared_or_by_layer
from speechquant.errors import EngineError
from speechquant.jobs.comparison.result import FLOAT_BITS, Found, Row
from speechquant.jobs.comparison.sizes import packed_bytes
from speechquant.jobs.targets import open_target
from speechquant.learn.rounding.store import VERSION as ROUNDING_VERSION
from speechquant.numerics import ScaleTable
from speechquant.search import SearchResult, layer_adaptive, plain_stablequant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from speechquant.artifact import Artifact
    from speechquant.data import Corpus
    from speechquant.decoding import Transcript
    from speechquant.evaluation import Evaluation, Evaluator
    from speechquant.jobs.compare_recipe import RowPlan
    from speechquant.jobs.comparison.bench import RowBench
    from speechquant.numerics import Histogram

    Scores = tuple[Evaluation | None, Evaluation]

__all__ = ["float_row", "given_row", "plain_table", "planned_row"]

_STATE = "compared row"


def float_row(bench: RowBench) -> Row:
    """The model as it is."""
    dev, test = _simulated(bench, ScaleTable({}))
    found = Found(
        test.signature, test.backend, packed_bytes(bench.model, ScaleTable({})), seconds=bench.seconds
    )
    return Row("float", "float", "float", FLOAT_BITS, "none", found, dev, test)


def planned_row(bench: RowBench, plan: RowPlan, histograms: Mapping[str, Histogram], choices: Corpus) -> Row:
    """Quantize and score, or take what an earlier run finished; `choices` is the part of dev to choose on."""
    key = _key(bench, plan, choices)
    done = _remembered(bench, key)
    if done is None:
        result = _search(bench, plan, histograms, choices)
        weights = bench.round(result.table)
        with bench.progress.stage("dev and test"):
            dev, test = _simulated(bench, result.table, weights)
        found = Found(
            signature=test.signature,
            backend=test.backend,
            bytes=packed_bytes(bench.model, result.table),
            clipped=result.selected_layers,
            p_opt=shared_or_by_layer(result.p_opt),
            search_passes=result.dev_passes,
            seconds=bench.seconds,
        )
        bench.store.put(_STATE, key, asdict(found))
        done = found, dev, test
    return Row(plan.name, plan.method.text, plan.method.form, plan.bits, plan.layers, *done)


def given_row(bench: RowBench, name: str, folder: Path) -> Row:
    """An artifact on ONNX Runtime, or a float model in torch."""
    target = open_target(folder, threads=bench.recipe.threads)
    method, bits, layers = "float model", FLOAT_BITS, "none"
    storage = seconds = None
    if is_artifact(folder):
        artifact = load_artifact(folder)
        method, bits, layers = _method(artifact), artifact.info.bits, "as made"
        storage, seconds = artifact.storage(), _number(artifact.metrics.get("compression_seconds"))
    dev, test = _scored(
        bench, lambda evaluator, corpus: bench.recognize(target.recognizer, evaluator, corpus)
    )
    found = Found(
        test.signature,
        test.backend,
        # Without entropy coding, as rows have it whose size is arithmetic.
        storage.packed_bytes if storage else None,
        seconds=bench.seconds,
        storage=storage,
        compression_seconds=seconds,
    )
    return Row(name, method, "given", bits, layers, found, dev, test)


def _search(
    bench: RowBench, plan: RowPlan, histograms: Mapping[str, Histogram], choices: Corpus
) -> SearchResult:
    recipe = bench.recipe
    if not plan.searches:
        return SearchResult(plain_table(bench, histograms), float("nan"))
    evaluator, speech = bench.scoring(choices)
    if plan.method.form == "stablequant":
        return bench.search(histograms, evaluator, speech)
    tables, score = bench.tables(histograms), bench.scorer(evaluator, speech)
    with bench.progress.stage("search") as advance:

        def tell(what: str) -> None:
            advance(0, 1, what)

        if plan.method.form == "plain":
            return plain_stablequant(
                bench.layers, tables, score, bits=recipe.bit_widths, cutoffs=recipe.cutoff_grid, on_step=tell
            )
        return layer_adaptive(
            bench.layers,
            tables,
            score,
            calibrator=recipe.method,
            bits=recipe.bit_widths,
            gamma=recipe.gamma,
            select_bits=recipe.select_bits,
            selection_calibrator=recipe.select_with,
            selection_weights=recipe.select_weights,
            on_step=tell,
        )


def plain_table(bench: RowBench, histograms: Mapping[str, Histogram]) -> ScaleTable:
    """All layers by the calibrator of the recipe, nothing searched."""
    tables, (weight_bits, bits) = bench.tables(histograms), bench.recipe.bit_widths
    table = tables.weights(bench.layers, weight_bits)
    return table.merged(tables.activations(bench.layers, bench.recipe.method, bits))


def _simulated(bench: RowBench, table: ScaleTable, weights: Any = None) -> Scores:
    return _scored(bench, lambda evaluator, corpus: bench.simulate(table, evaluator, corpus, weights=weights))


def _scored(bench: RowBench, evaluate: Callable[[Evaluator, Corpus], Evaluation]) -> Scores:
    """On all of dev, if there is any, and on test."""
    evaluator, dev = bench.scoring(bench.corpora.dev)
    return evaluate(evaluator, dev) if len(dev) else None, evaluate(evaluator, bench.corpora.test)


def _method(artifact: Artifact) -> str:
    """What made it, rounding by speech included; bits that were allocated without training have a criterion besides."""
    method, allocation = artifact.info.method, artifact.metrics.get("allocation")
    criterion = allocation.get("criterion") if isinstance(allocation, dict) else None
    rounding = artifact.info.rounding
    made = method if rounding == "nearest" else f"{method}+{rounding}"
    return f"{made} ({criterion})" if method == "allocate" and isinstance(criterion, str) else made


def _number(value: object) -> float | None:
    """A figure of a file that anybody may have written."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _key(bench: RowBench, plan: RowPlan, choices: Corpus) -> str:
    """Of everything that decides a row: settings, model, speech."""
    corpora = bench.corpora
    speech = (corpora.calibration, choices, corpora.dev, corpora.test)
    # `max_drop` is the same for all rows.
    outside = {"model", "output", "calibration", "dev", "test", "threads", "max_drop"}
    # Defaults do not count, so that a setting which comes into being does not make old rows again.
    settings = bench.recipe.model_dump(mode="json", exclude=outside, exclude_defaults=True)
    names = [bench.model.results_signature, *(corpus.signature for corpus in speech)]
    rounded = [] if bench.recipe.rounding_method == "nearest" else [ROUNDING_VERSION]
    text = json.dumps([plan.name, settings, bench.normalizer, names, *rounded], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _remembered(bench: RowBench, key: str) -> tuple[Found, Evaluation | None, Evaluation] | None:
    """A finished row, scored again from stored transcripts; None if there is none or some are gone."""
    kept = bench.store.get(_STATE, key)
    if kept is None:
        return None
    found = Found(**{**kept, "clipped": tuple(kept["clipped"])})
    recognizer = _Silent(found.backend, found.signature, bench.model.sampling_rate)
    evaluator, dev = bench.scoring(bench.corpora.dev)
    try:
        return found, evaluator.evaluate(recognizer, dev), evaluator.evaluate(recognizer, bench.corpora.test)
    except EngineError:
        return None


@dataclass
class _Silent:
    """Stands for a recogniser whose transcripts are all stored."""

    backend: str
    signature: str
    sampling_rate: int
    length_exact: bool = True

    def recognize(self, waves: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        raise EngineError(f"{len(waves)} transcripts are not in the store")
