"""A made-up run with the proportions of a real one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from speechquant.numerics import Histogram
from speechquant.report import (
    Coverage,
    CutoffResult,
    LatencyRow,
    LayerResult,
    ReportData,
    SiteHistogram,
    Sizes,
    SpeakerResult,
    System,
    TradeoffPoint,
    TranscriptRow,
    WeightSite,
)

# The driver of the browser is no test.
sys.path.insert(0, str(Path(__file__).parent))

# layer: (WER increase alone, sites, median-like scale, tail exponent, maximum)
LAYERS = {
    "input": (0.01, ("encoder.conv1:input",), 0.05, 1.0, 0.9),
    "conv.0": (0.42, ("encoder.conv2:input",), 0.3, 2.0, 14.0),
    "conv.1": (1.02, ("encoder.conv3:input",), 0.6, 2.5, 31.0),
    "conv.2": (75.11, tuple(f"encoder.layers.0.self_attn.{n}_proj:input" for n in "qv"), 1.1, 2.6, 303.0),
    **{
        f"encoder.{i}": (
            (-0.04, 0.0, 0.02, 0.05, 0.07, 0.17)[i],
            tuple(
                f"encoder.layers.{i}.{n}:input" for n in ("attn.q_proj", "attn.o_proj", "mlp.fc1", "mlp.fc2")
            ),
            0.5 + 0.1 * i,
            1.5,
            9.0 + 3 * i,
        )
        for i in range(6)
    },
    **{
        f"decoder.{i}": (
            (0.02, 0.12, -0.02, 0.05, 0.0, 0.02)[i],
            tuple(f"decoder.layers.{i}.{n}:input" for n in ("self_attn.q_proj", "mlp.fc1", "mlp.fc2")),
            0.4,
            1.8,
            7.0 + 4 * i,
        )
        for i in range(6)
    },
    "head": (0.05, ("proj_out:input",), 0.9, 1.2, 22.0),
}


def site_histogram(layer: str, site: str, shape: tuple[float, float, float], seed: int) -> SiteHistogram:
    scale, tail, maximum = shape
    values = scale * np.abs(np.random.default_rng(seed).standard_normal(60_000)) ** tail
    values = np.append(values[values < maximum], maximum)
    thresholds = {
        "max": maximum,
        "percentile 99.99": float(np.quantile(values, 0.9999)),
        "mse": float(np.quantile(values, 0.9998)),
        "chosen": float(np.quantile(values, 0.9995)) if layer.startswith("conv") else maximum,
    }
    clipped = layer.startswith("conv")
    return SiteHistogram(
        layer,
        site,
        Histogram.empty().add(values),
        thresholds,
        scale=thresholds["chosen"] / 127,
        cutoff=0.05 if clipped else 0.0,
    )


def cutoffs() -> tuple[CutoffResult, ...]:
    rng = np.random.default_rng(7)
    results = []
    for step in range(51):
        p = step / 100
        wer = (
            87.5 if step == 0 else 8.6 + 22 * np.exp(-step / 1.2) + 0.02 * abs(step - 5) + 0.15 * rng.random()
        )
        wer = 8.6 if step == 5 else float(wer)
        results.append(CutoffResult(p, wer, round(wer * 40.99)))
    return tuple(results)


def systems() -> tuple[System, ...]:
    def speakers(a: float, b: float) -> tuple[SpeakerResult, ...]:
        return (SpeakerResult("32", 850, a), SpeakerResult("7312", 834, b))

    return (
        System("float", "Float", 1684, 28, 6, 5, 2.32, 1.61, 3.12, speakers=speakers(2.1, 2.5)),
        System(
            "naive_max",
            "Naive max int8",
            1684,
            1109,
            301,
            372,
            105.82,
            98.2,
            113.9,
            0.0,
            31,
            speakers=speakers(101.0, 110.7),
        ),
        System(
            "quantized",
            "StableQuant int8",
            1684,
            31,
            7,
            5,
            2.55,
            1.80,
            3.39,
            0.31,
            speakers=speakers(2.4, 2.7),
        ),
        System(
            "simulated",
            "StableQuant simulated",
            1684,
            30,
            7,
            5,
            2.49,
            1.75,
            3.30,
            0.42,
            speakers=speakers(2.3, 2.7),
        ),
        System("float", "Float", 4099, 230, 47, 41, 7.76, 6.80, 8.80, dataset="dev"),
        System("naive_max", "Naive max int8", 4099, 2310, 812, 465, 87.5, 83.1, 92.2, 0.0, 44, dataset="dev"),
        System("quantized", "StableQuant int8", 4099, 258, 50, 45, 8.6, 7.58, 9.71, 0.018, dataset="dev"),
    )


TRANSCRIPTS = (
    TranscriptRow(
        "32-4137-0002",
        "in eighteen sixty two a law was enacted with the purpose of suppressing plural marriage",
        "In 1862 a law was enacted with the purpose of suppressing plural marriage.",
        "In 1862 a law was enacted with the purpose of suppressing plural carriage.",
        "and and and and and and the the the of of of",
    ),
    TranscriptRow(
        "7312-92432-0014",
        "the rooks were quiet and the skylark had gone to bed long before the lamps were lit",
        "The rooks were quiet and the skylark had gone to bed long before the lamps were lit.",
        "The rooks were quiet, and the sky lark had gone to bed before the lamps were lit.",
        "",
    ),
    TranscriptRow(
        "32-21631-0007",
        "which was the reason as Milly soon found out why the nest was so warm",
        "Which was the reason, as Millie soon found out, why the nest was so warm.",
        "Which was the reason, as Millie soon found out, why the nest was so warm.",
        "Witch witch witch was.",
    ),
)

RECIPE = """\
# speechquant quantize --recipe recipe.yaml
model: demo
method: stablequant
bits: w8a8
gamma: 0.25
calibration: demo:calibration
dev: demo:dev
test: demo:test
"""


@pytest.fixture(scope="session")
def report_data() -> ReportData:
    layers = tuple(LayerResult(name, 7.76 + v[0], v[0], v[0] > 0.25) for name, v in LAYERS.items())
    seeds = iter(range(1000))
    return ReportData(
        title="Moonshine tiny in 8 bits",
        model="moonshine-tiny",
        method="StableQuant",
        bits="W8A8",
        references="transcripts",
        systems=systems(),
        layers=layers,
        selected_layers=("conv.0", "conv.1", "conv.2"),
        cutoffs=cutoffs(),
        p_opt=0.05,
        histograms=tuple(
            site_histogram(name, site, shape, next(seeds))
            for name, (_, sites, *shape) in LAYERS.items()
            for site in sites
        ),
        latency=(
            LatencyRow(1, 18.2, 9.9, 1.84, "2 threads"),
            LatencyRow(5, 61.0, 28.4, 2.15, "2 threads"),
            LatencyRow(10, 143.0, 66.8, 2.14, "2 threads"),
        ),
        sizes=Sizes(108_400_000, 27_430_000),
        coverage=Coverage(58, 60, ("encoder.conv1", "decoder.layers.1.mlp.fc2")),
        transcripts=TRANSCRIPTS,
        normalizer="lower",
        weights=tuple(
            WeightSite(name, site.removesuffix(":input"), 8, "output channel", 288)
            for name, (_, sites, *_) in LAYERS.items()
            for site in sites
        ),
        tradeoff=(
            TradeoffPoint("Float", 2.32, 1.61, 3.12, 108.4, 143.0, "float"),
            TradeoffPoint("Naive max int8", 105.82, 98.2, 113.9, 27.43, None, "naive_max"),
            TradeoffPoint("StableQuant int8", 2.55, 1.80, 3.39, 27.43, 66.8),
            TradeoffPoint("StableQuant simulated", 2.49, 1.75, 3.30, 27.43, None, "simulated"),
            TradeoffPoint("PyTorch", 2.32, 1.61, 3.12, None, 241.0, "float"),
        ),
        recipe_yaml=RECIPE,
        versions={"speechquant": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1", "numpy": "2.4.6"},
        warnings=("2 of 214 calibration files were skipped: shorter than 0.1 s",),
        seconds={"calibrate": 21.4, "search": 312.0, "export": 18.9, "evaluate": 88.2},
        peak_rss_mb=2310.4,
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    from chromium import Chromium

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH; on Debian and Ubuntu: apt-get install chromium")
    with Chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running
