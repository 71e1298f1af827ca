"""4-bit weights in groups, activations in float: error, size and word error rate by group size and method.

    python benchmarks/w4a16.py demo demo:hubert-mini --out docs/results/w4a16

The recipe's default is run on the whole test and dev sets and, on test, by both engines; group sizes and methods are
compared on part of the dev set, in simulation. Evaluations and sizes are kept in `<out>.work`, so an interrupted run
goes on where it stopped. Sizes are those of whole exports, also of an architecture with random weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SIZES = (32, 64, 128)
ENGINES = ("onnxruntime", "openvino")
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
    results: dict[str, Any] = {"sizes": kept(work / "sizes.json", sizes_of), "models": {}}
    with EvaluationStore(work / "evaluations.sqlite") as store:
        places = [Place(name, load_model(resolve_model(name)), store, work) for name in options.models]
        for place in places:
            results["models"][place.name] = {"errors": errors(place)}
        write(options.out, results, provenance(__doc__ or ""))
        for place in places:
            for _ in prove(place, results["models"][place.name]):
                write(options.out, results, provenance(__doc__ or ""))
        for place in places:
            for _ in compare(place, options.utterances, results["models"][place.name]):
                write(options.out, results, provenance(__doc__ or ""))


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier run left, or makes it."""
    if not path.is_file():
        path.write_text(json.dumps(make()), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def settings() -> list[dict[str, Any]]:
    """What is compared: group sizes and methods, then one scale per output channel."""
    groups: list[dict[str, Any]] = [{"weight_group": size} for size in SIZES]
    shapes = [*groups, {"weight_granularity": "channel"}]
    return [
        {"weights": method, "rounding": rounding, **shape}
        for shape in shapes
        for method, rounding in (("max", "nearest"), ("mse", "nearest"), ("mse", "gptq"))
    ]


def label(setting: Mapping[str, Any]) -> str:
    """`group of 64, mse, gptq`."""
    shared = f"group of {setting['weight_group']}" if "weight_group" in setting else "output channel"
    return f"{shared}, {setting['weights']}, {setting['rounding']}"


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


def errors(place: Place) -> dict[str, float]:
    """Signal-to-noise ratio of all weights by setting, in dB."""
    found = {}
    for setting in settings():
        if setting["rounding"] == "nearest":
            found[label(setting)] = signal_to_noise(place.model, table_of(bench_of(place, **setting)))
    return found


def prove(place: Place, found: dict[str, Any]) -> Iterator[None]:
    """The default setting on all of test and dev, simulated and on the engines; yields when there is news."""
    bench = bench_of(place)
    table = table_of(bench)
    weights = bench.round(table)
    found["setting"] = {
        "weights": bench.recipe.weight_method,
        "weight_group": bench.recipe.weight_form[1],
        "rounding": bench.recipe.rounding_method,
    }
    evaluator, test = bench.scoring(bench.corpora.test)
    reference = bench.simulate(ScaleTable({}), evaluator, test)
    simulated = bench.simulate(table, evaluator, test, weights=weights)
    found |= figures("float test", reference) | figures("test", simulated, reference)
    found["engines"] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["float bytes"] = export_onnx(place.model, None, Path(folder) / "float").bytes
        yield
        for engine in ENGINES:
            with bench.on_grid(weights):
                made = export_onnx(place.model, table, Path(folder) / engine, engine)
            options = EngineOptions(precision="f32")
            recognizer = load_recognizer(
                made.folder, engine=engine, vocabulary=place.model.folder, options=options
            )
            heard = evaluator.evaluate(recognizer, test)
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
            yield
    evaluator, dev = bench.scoring(bench.corpora.dev)
    reference = bench.simulate(ScaleTable({}), evaluator, dev)
    found |= figures("float dev", reference)
    found |= figures("dev", bench.simulate(table, evaluator, dev, weights=weights), reference)
    yield


def compare(place: Place, utterances: int, found: dict[str, Any]) -> Iterator[None]:
    """Every setting on part of the dev set; yields after each."""
    found["compare"] = {}
    for setting in settings():
        bench = bench_of(place, **setting)
        evaluator, dev = bench.scoring(bench.corpora.dev)
        part = Corpus("dev", tuple(dev)[:: max(1, len(dev) // utterances)][:utterances])
        reference = bench.simulate(ScaleTable({}), evaluator, part)
        found |= figures("float dev part", reference)
        table = table_of(bench)
        simulated = bench.simulate(table, evaluator, part, weights=bench.round(table))
        row = figures("dev part", simulated, reference)
        found["compare"][label(setting)] = row["dev part"]
        yield


def sizes_of() -> dict[str, Any]:
    """Bytes of the files for a published architecture; only the number of weights matters."""
    found: dict[str, Any] = {"architecture": ARCHITECTURE}
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(ARCHITECTURE, Path(folder) / "model")
        found["weights"] = sum(tensor.numel() for tensor in model.module.state_dict().values())
        for size in SIZES:
            table = weights_in_groups(model, size)
            for engine in ENGINES:
                made = export_onnx(model, table, Path(folder) / f"{engine}-{size}", engine)
                found[f"{engine} {size}"] = made.bytes
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
    """The settings: errors of the weights, and words on part of the dev set."""
    words = f", {found['float dev part']['words']:,} words" if "float dev part" in found else ""
    rows = [
        f"| one scale per | weight SNR, dB (nearest) | part of dev{words}: WER % (95 %), S/D/I, p |",
        "| --- | --- | --- |",
    ]
    rows.append(f"| float | | {cell(found.get('float dev part'))} |")
    done = found.get("compare", {})
    for name in map(label, settings()):
        error = found["errors"].get(name)
        rows.append(f"| {name} | {'' if error is None else f'{error:.2f}'} | {cell(done.get(name))} |")
    return [*rows, ""]


def proof(found: dict[str, Any]) -> list[str]:
    """The default on everything."""
    if "engines" not in found:
        return []
    setting = found["setting"]
    rows = [
        f"The default, groups of {setting['weight_group']} by {setting['weights']}, {setting['rounding']}:",
        "",
    ]
    rows += [
        "| system | MB | held in 4 bits | tokens agree | test | dev |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    dev, test = cell(found.get("float dev")), cell(found["float test"])
    rows.append(f"| float | {found['float bytes'] / 1e6:.2f} | | | {test} | {dev} |")
    rows.append(f"| simulated | | | | {cell(found['test'])} | {cell(found.get('dev'))} |")
    for engine, one in found["engines"].items():
        held = f"{one['weights_4bit']} of {one['total']}, {one['expanded']} expanded"
        agree = f"{one['token agreement']:.2f} %"
        rows.append(f"| {engine} f32 | {one['bytes'] / 1e6:.2f} | {held} | {agree} | {cell(one['test'])} | |")
    return rows


if __name__ == "__main__":
    main()
