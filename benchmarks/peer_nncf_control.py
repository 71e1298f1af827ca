"""NNCF with accuracy control: operators go back to float, the worst first, until speech is recognised well enough.

The metric is the share of words that the whole recogniser has right on minutes of the development set, of the same
length and drawn as those on which `speechquant quantize` chooses for the built-in models.

It begins with the TRANSFORMER form, but without SmoothQuant: an operator that goes back to float gets the weight of the
float model, while the scale that SmoothQuant took out of that weight stays in its input, and speech is lost (NNCF 3.4:
a quarter of the words of hubert-mini right before, 7 % behind one such step).

Deviation: only the graph that takes the wave is quantized and controlled. The graph of a decoder step stays in float:
the tool compiles what it tries with settings under which OpenVINO computes that graph wrongly (docs/engines.md). So it
cannot be controlled, and quantized without control it may lose what the control of the other graph is to keep.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nncf
import openvino
from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters
from peer_files import maker
from peer_nncf import finished, float_models
from peer_openvino import CompiledGraph, compiled

from speechquant.data import iter_loaded
from speechquant.decoding import load_vocabulary
from speechquant.engines.recognizers import recognizer_of
from speechquant.jobs.sources import resolve_corpus
from speechquant.metrics import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from peer_files import Case

    from speechquant.engines import Coverage

    Item = tuple[str, NDArray[np.float32]]

MINUTES = 8.0
MAX_DROP = 0.0025
"""0.25 points, what StableQuant lets a layer cost; the tool's own default is a whole point."""
RANKED = 16
"""Utterances, those that lost most, on which it is asked for each group of operators what going back would gain."""


@maker("nncf-control")
def make_controlled(case: Case, folder: Path) -> Coverage:
    """`nncf.quantize_with_accuracy_control` on the graph that takes the wave; a decoder stays in float."""
    models = float_models(case)
    first = next(part for part in models if part != "step")
    ready = {part: model for part, model in models.items() if part != first}
    speech = resolve_corpus("demo:dev", require_text=True).subset(seconds=60 * MINUTES, seed=0)
    items = [(item.text or "", wave) for item, wave in iter_loaded(speech, strict=True, on_skip=print)]
    data = case.inputs(first, case.calibration)
    ready[first] = nncf.quantize_with_accuracy_control(
        models[first],
        nncf.Dataset(data),
        nncf.Dataset(items),
        words_right(case, first, ready),
        max_drop=MAX_DROP,
        subset_size=len(data),
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1)
        ),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=RANKED, num_ranking_workers=1
        ),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    for part, model in ready.items():
        openvino.save_model(model, folder / f"{part}.xml", compress_to_fp16=False)
    return finished(case, folder)


def words_right(
    case: Case, part: str, others: dict[str, openvino.Model]
) -> Callable[[openvino.CompiledModel, Iterable[Item]], tuple[float, list[float]]]:
    """The validation function for the graph of `part`, beside graphs that are done.

    It returns 1 - errors / words of all items, and for each item the errors as a negative number.
    """
    vocabulary = load_vocabulary(case.model)
    normalizer = "whisper-english" if case.manifest.runtime.writes_punctuation else "upper"
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    fixed = {name: CompiledGraph(compiled(model, name, "f32", threads)) for name, model in others.items()}

    def validate(model: openvino.CompiledModel, items: Iterable[Item]) -> tuple[float, list[float]]:
        graphs: dict[str, Any] = {part: CompiledGraph(model), **fixed}
        recognizer = recognizer_of(
            case.manifest, vocabulary, graphs.__getitem__, backend="openvino", version=openvino.__version__
        )
        pairs = list(items)
        heard = recognizer.recognize([wave for _, wave in pairs])
        found = score(
            {str(i): text for i, (text, _) in enumerate(pairs)},
            {str(i): one.text for i, one in enumerate(heard)},
            normalizer=normalizer,
        )
        each = [-float(one.errors.errors) for one in found.utterances]
        return 1 - found.totals.errors / found.totals.words, each

    return validate
