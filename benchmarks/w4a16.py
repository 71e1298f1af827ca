"""4-bit weights in groups, activations in float: error, size and word error rate by group size and method.

    python benchmarks/w4a16.py demo demo:hubert-mini --out docs/results/w4a16

Group sizes and methods are compared on part of the dev set, in simulation; the default of the recipe is then run on
the whole dev and test sets and, on test, by both engines. Evaluations are stored in `<out>.work`, so an interrupted
run goes on where it stopped. Sizes are those of whole exports, also of an architecture with random weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import cell, provenance

from speechquant.data import Corpus
from speechquant.engines import EngineOptions, load_recognizer
from speechquant.engines.export import export_onnx
from speechquant.evaluation import Evaluation, EvaluationStore
from speechquant.jobs import Recipe, Silent
from speechquant.jobs.quantization.workbench import Workbench
from speechquant.jobs.sources import open_corpora, resolve_model
from speechquant.metrics import token_agreement
from speechquant.models import SpeechModel, load_model
from speechquant.models.random import random_model
from speechquant.numerics import ScaleTable, dequantize, quantize

SIZES = (32, 64, 128)
METHODS = ("max", "mse")
ENGINES = ("onnxruntime", "openvino")
CHANNELS = {"weight_granularity": "channel"}
ARCHITECTURE = "wav2vec2-base"


@dataclass(frozen=True)
class Place:
    """A model, where its evaluations are stored, and what it is called."""

    name: str
    model: SpeechModel
    store: EvaluationStore
    work: Path


def main() -> None:
    """Run all models and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--utterances", type=int, default=60, help="of the dev set, to compare with")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    work = options.out.with_name(options.out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"sizes": sizes_of(ARCHITECTURE), "models": {}}
    with EvaluationStore(work / "evaluations.sqlite") as store:
        for name in options.models:
            found: dict[str, Any] = {}
            results["models"][name] = found
            model = load_model(resolve_model(name))
            place = Place(name, model, store, work)
            compare(place, options.utterances, found)
            write(options.out, results, provenance(__doc__ or ""))
            prove(place, found)
            write(options.out, results, provenance(__doc__ or ""))


def bench_of(place: Place, **settings: Any) -> Workbench:
    """The main job's workbench for one setting."""
    recipe = Recipe(
        model=place.name,
        output=place.work / "unused",
        calibration="demo:calibration",
        dev="demo:dev",
        test="demo:test",
        bits="w4a16",
        **settings,
    )
    return Workbench(place.model, open_corpora(recipe), recipe, place.store, place.work, Silent())


def compare(place: Place, utterances: int, found: dict[str, Any]) -> None:
    """Every group size and method, and one scale per output channel, on part of the dev set."""
    settings: list[dict[str, Any]] = [{"weights": method, **CHANNELS} for method in METHODS]
    settings += [{"weights": method, "weight_group": size} for size in SIZES for method in METHODS]
    found["compare"] = []
    for setting in settings:
        bench = bench_of(place, **setting)
        evaluator, dev = bench.scoring(bench.corpora.dev)
        part = Corpus("dev", tuple(dev)[:: max(1, len(dev) // utterances)][:utterances])
        reference = bench.simulate(ScaleTable({}), evaluator, part)
        table = table_of(bench)
        row = {"setting": setting, "snr_db": signal_to_noise(place.model, table)}
        row |= figures("dev part", bench.simulate(table, evaluator, part), reference)
        found["float dev part"] = figures("dev part", reference)["dev part"]
        found["compare"].append(row)
        print(place.name, row, flush=True)


def prove(place: Place, found: dict[str, Any]) -> None:
    """The default setting on all of dev and test, simulated and on the engines."""
    bench, model = bench_of(place), place.model
    table = table_of(bench)
    found["setting"] = {"weights": bench.recipe.weight_method, "weight_group": bench.recipe.weight_form[1]}
    for role, corpus in (("dev", bench.corpora.dev), ("test", bench.corpora.test)):
        evaluator, usable = bench.scoring(corpus)
        reference = bench.simulate(ScaleTable({}), evaluator, usable)
        simulated = bench.simulate(table, evaluator, usable)
        found |= figures(f"float {role}", reference) | figures(role, simulated, reference)
    found["engines"] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = export_onnx(model, None, Path(folder) / "float")
        found["float bytes"] = plain.bytes
        for engine in ENGINES:
            made = export_onnx(model, table, Path(folder) / engine, engine)
            options = EngineOptions(precision="f32")
            recognizer = load_recognizer(made.folder, engine=engine, vocabulary=model.folder, options=options)
            heard = evaluator.evaluate(recognizer, usable)
            pairs = [
                (simulated.transcripts[i].tokens, heard.transcripts[i].tokens) for i in heard.transcripts
            ]
            found["engines"][engine] = {
                "bytes": made.bytes,
                "weights_4bit": made.coverage.weights_4bit,
                "expanded": len(made.coverage.expanded),
                "total": made.coverage.total,
                "token agreement": 100 * token_agreement([a for a, _ in pairs], [b for _, b in pairs]),
                **figures("test", heard, reference),
            }
            print(place.name, engine, found["engines"][engine], flush=True)


def sizes_of(architecture: str) -> dict[str, Any]:
    """Bytes of the files for a published architecture; only the number of weights matters."""
    found: dict[str, Any] = {"architecture": architecture}
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(architecture, Path(folder) / "model")
        found["weights"] = sum(tensor.numel() for tensor in model.module.state_dict().values())
        for size in SIZES:
            table = weights_in_groups(model, size)
            for engine in ENGINES:
                made = export_onnx(model, table, Path(folder) / f"{engine}-{size}", engine)
                found[f"{engine} {size}"] = made.bytes
                print(architecture, engine, size, made.bytes, flush=True)
    return found


def weights_in_groups(model: SpeechModel, size: int) -> ScaleTable:
    """Max scales of all weights."""
    from speechquant.simulation import weight_table

    return weight_table(model, model.sites(), bits=4, granularity="group", group_size=size)


def table_of(bench: Workbench) -> ScaleTable:
    """The scales that the main job would take."""
    return bench.tables({}).weights(bench.layers, bench.recipe.bit_widths[0])


def signal_to_noise(model: SpeechModel, table: ScaleTable) -> float:
    """Energy of all weights over that of their rounding errors, in dB."""
    signal = noise = 0.0
    for entry in table:
        weight = model.operator(entry.site.module).get_parameter("weight").detach().numpy()
        integers = quantize(weight, entry.scale, entry.spec)
        wrong = dequantize(integers, entry.scale, group_size=entry.spec.group_size) - weight
        signal += float(np.square(weight, dtype=np.float64).sum())
        noise += float(np.square(wrong, dtype=np.float64).sum())
    return 10 * float(np.log10(signal / noise))


def figures(name: str, found: Evaluation, reference: Evaluation | None = None) -> dict[str, Any]:
    """WER with all that must stand beside it."""
    line = {name: found.figures() | {"capped": found.capped}}
    if reference is not None:
        line[name]["p_value"] = reference.compare(found).p_value
    return line


def write(out: Path, results: dict[str, Any], where: dict[str, Any]) -> None:
    """`<out>.json` with everything and `<out>.md` with the tables."""
    out.with_suffix(".json").write_text(json.dumps({**where, **results}, indent=1) + "\n", encoding="utf-8")
    text = [f"# {where['about']}", "", "p: MAPSSWE against float, two-sided. \\*: p < 0.05.", ""]
    text += size_table(results["sizes"])
    for name, found in results["models"].items():
        text += ["", f"## {name}", "", *comparison(found), *proof(found)]
    text += ["", f"    {where['command']}", "", f"Commit {where['commit'][:12]}; {where['machine']};"]
    text += [", ".join(f"{name} {number}" for name, number in where["versions"].items()) + ".", ""]
    out.with_suffix(".md").write_text("\n".join(text), encoding="utf-8")


def size_table(sizes: dict[str, Any]) -> list[str]:
    """File sizes by group size."""
    rows = [f"Files of {sizes['architecture']} ({sizes['weights'] / 1e6:.1f} M weights), MB:", ""]
    rows += ["| group | ONNX Runtime | OpenVINO |", "| --- | --- | --- |"]
    for size in SIZES:
        cells = [f"{sizes[f'{engine} {size}'] / 1e6:.2f}" for engine in ENGINES]
        rows.append(f"| {size} | {' | '.join(cells)} |")
    return rows


def comparison(found: dict[str, Any]) -> list[str]:
    """The settings, on part of the dev set."""
    words = found["float dev part"]["words"]
    rows = [f"| one scale per | method | weight SNR, dB | {words:,} words of dev, WER % (95 %), S/D/I, p |"]
    rows += ["| --- | --- | --- | --- |", f"| float | | | {cell(found['float dev part'])} |"]
    for row in found["compare"]:
        setting = row["setting"]
        shared = f"group of {setting['weight_group']}" if "weight_group" in setting else "output channel"
        rows.append(f"| {shared} | {setting['weights']} | {row['snr_db']:.2f} | {cell(row['dev part'])} |")
    return [*rows, ""]


def proof(found: dict[str, Any]) -> list[str]:
    """The chosen setting on everything."""
    if "engines" not in found:
        return []
    setting = found["setting"]
    rows = [f"Chosen: groups of {setting['weight_group']}, {setting['weights']}.", ""]
    rows += [
        "| system | MB | held in 4 bits | tokens agree | dev | test |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    dev, test = cell(found["float dev"]), cell(found["float test"])
    rows.append(f"| float | {found['float bytes'] / 1e6:.2f} | | | {dev} | {test} |")
    rows.append(f"| simulated | | | | {cell(found['dev'])} | {cell(found['test'])} |")
    for engine, one in found["engines"].items():
        held = f"{one['weights_4bit']} of {one['total']}, {one['expanded']} expanded"
        agree = f"{one['token agreement']:.2f} %"
        rows.append(f"| {engine} f32 | {one['bytes'] / 1e6:.2f} | {held} | {agree} | | {cell(one['test'])} |")
    return rows


if __name__ == "__main__":
    main()
