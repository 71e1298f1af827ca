"""What the report page says of every quantized tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant import report
from speechquant.numerics import QuantSpec, calibrate_many, threshold

if TYPE_CHECKING:
    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.workbench import Workbench
    from speechquant.numerics import Entry, Role

__all__ = ["activation_sites", "weight_sites"]


def activation_sites(bench: Workbench, findings: Findings) -> tuple[report.SiteHistogram, ...]:
    """Histograms with the range that was chosen and those that other calibrators would have taken."""
    recipe, bits = bench.recipe, bench.recipe.bit_widths[1]
    entries = _entries(bench, findings, "input")
    histograms = {entry.site.name: findings.histograms[entry.site.name] for entry in entries}
    # All at once: they share the work.
    least = calibrate_many("mse", histograms, bits)
    cutoffs = findings.search.p_opt or {}
    shown = []
    for entry in entries:
        histogram = histograms[entry.site.name]
        thresholds = {
            "max": threshold("max", histogram, bits),
            f"percentile {recipe.percentile:g}": threshold(
                "percentile", histogram, bits, percentile=recipe.percentile
            ),
            "mse": least[entry.site.name] * QuantSpec(bits).qmax,
            "chosen": float(entry.scale) * entry.spec.qmax,
        }
        shown.append(
            report.SiteHistogram(
                entry.site.layer,
                entry.site.name,
                histogram,
                thresholds,
                bits=entry.spec.bits,
                scale=float(entry.scale),
                cutoff=cutoffs.get(entry.site.layer, 0.0),
                fold=recipe.fold,
                start_bin=recipe.start_bin or 1,
            )
        )
    return tuple(shown)


def weight_sites(bench: Workbench, findings: Findings) -> tuple[report.WeightSite, ...]:
    """Bits and scales of every operator's weights, with the errors that rounding left where it measured them."""
    errors = {} if findings.weights is None else findings.weights.errors
    shown = []
    for entry in _entries(bench, findings, "weight"):
        error = errors.get(entry.site.name)
        shown.append(
            report.WeightSite(
                entry.site.layer,
                entry.site.module,
                entry.spec.bits,
                _sharing(entry.spec),
                int(entry.scale.size),
                None if error is None else error.nearest,
                None if error is None else error.rounded,
            )
        )
    return tuple(shown)


def _entries(bench: Workbench, findings: Findings, role: Role) -> list[Entry]:
    """The table has them in the order of the search, the page in that of the model."""
    entries = [entry for entry in findings.search.table if entry.site.role == role]
    return sorted(entries, key=lambda entry: bench.layers.index(entry.site.layer))


def _sharing(spec: QuantSpec) -> str:
    if spec.granularity == "group":
        return f"{spec.group_size} weights"
    return "output channel" if spec.granularity == "channel" else "tensor"
