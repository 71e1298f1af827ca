"""What the report page says of every quantized tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant import report
from speechquant.numerics import QuantSpec, calibrate_many, threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.workbench import Workbench
    from speechquant.learn.rounding import Reconstruction
    from speechquant.numerics import Entry, Role, Site

__all__ = ["activation_sites", "weight_site", "weight_sites"]


def activation_sites(bench: Workbench, findings: Findings) -> tuple[report.SiteHistogram, ...]:
    """Histograms with the range that was chosen and those that other calibrators would have taken.

    Layers that the search left in float have no chosen one.
    """
    recipe, bits = bench.recipe, bench.recipe.bit_widths[1]
    sites = _inputs(bench, findings)
    histograms = {site.name: findings.histograms[site.name] for site in sites}
    # All at once: they share the work.
    least = calibrate_many("mse", histograms, bits)
    cutoffs = findings.search.p_opt or {}
    shown = []
    for site in sites:
        histogram, entry = histograms[site.name], findings.search.table.get(site.name)
        thresholds = {
            "max": threshold("max", histogram, bits),
            f"percentile {recipe.percentile:g}": threshold(
                "percentile", histogram, bits, percentile=recipe.percentile
            ),
            "mse": least[site.name] * QuantSpec(bits).qmax,
        }
        if entry is not None:
            thresholds["chosen"] = float(entry.scale) * entry.spec.qmax
        shown.append(
            report.SiteHistogram(
                site.layer,
                site.name,
                histogram,
                thresholds,
                bits=bits,
                scale=None if entry is None else float(entry.scale),
                cutoff=cutoffs.get(site.layer, 0.0),
                fold=recipe.fold,
                start_bin=recipe.start_bin or 1,
            )
        )
    return tuple(shown)


def weight_sites(bench: Workbench, findings: Findings) -> tuple[report.WeightSite, ...]:
    """Bits and scales of every operator's weights, with the errors that rounding left where it measured them."""
    errors = {} if findings.weights is None else findings.weights.errors
    return tuple(weight_site(entry, errors) for entry in _entries(bench, findings, "weight"))


def weight_site(entry: Entry, errors: Mapping[str, Reconstruction]) -> report.WeightSite:
    """Bits and scales of one operator's weights, with the error of rounding by name of the site where it is known."""
    error = errors.get(entry.site.name)
    return report.WeightSite(
        entry.site.layer,
        entry.site.module,
        entry.spec.bits,
        _sharing(entry.spec),
        int(entry.scale.size),
        None if error is None else error.nearest,
        None if error is None else error.rounded,
    )


def _inputs(bench: Workbench, findings: Findings) -> list[Site]:
    """Of all layers that were to be quantized, whatever became of them, in the order of the model."""
    sites = [entry.site for entry in _entries(bench, findings, "input")]
    if left := findings.search.float_layers:
        sites += [site for site in bench.model.sites() if site.role == "input" and site.layer in left]
    return sorted(sites, key=lambda site: bench.layers.index(site.layer))


def _entries(bench: Workbench, findings: Findings, role: Role) -> list[Entry]:
    """The table has them in the order of the search, the page in that of the model."""
    entries = [entry for entry in findings.search.table if entry.site.role == role]
    return sorted(entries, key=lambda entry: bench.layers.index(entry.site.layer))


def _sharing(spec: QuantSpec) -> str:
    if spec.granularity == "group":
        return f"{spec.group_size} weights"
    return "output channel" if spec.granularity == "channel" else "tensor"
