"""What plots need from histograms of |x|: quantiles, shares, fewer bins, layers pooled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from speechquant.numerics import Histogram
    from speechquant.report.data import SiteHistogram

__all__ = ["Group", "LayerAmplitudes", "by_layer", "clipped_share", "group_of", "layer_amplitudes", "rebin"]

Group = Literal["conv", "transformer", "other"]

QUANTILES = (0.5, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class LayerAmplitudes:
    """Quantiles of |x| over all sites of one layer."""

    layer: str
    group: Group
    median: float
    q99: float
    q999: float
    maximum: float


def group_of(layer: str) -> Group:
    """Conv, Transformer block (any other name that ends in a number), or other."""
    stem, _, index = layer.rpartition(".")
    if not index.isdigit():
        return "other"
    return "conv" if stem.endswith("conv") else "transformer"


def by_layer(histograms: Iterable[SiteHistogram]) -> list[tuple[str, list[SiteHistogram]]]:
    """Sites by layer, layers in order of appearance."""
    order: dict[str, int] = {}
    sites = sorted(histograms, key=lambda site: order.setdefault(site.layer, len(order)))
    return [(layer, list(group)) for layer, group in groupby(sites, key=lambda site: site.layer)]


def layer_amplitudes(layer: str, sites: Sequence[SiteHistogram]) -> LayerAmplitudes | None:
    """Pool the sites of one layer; None where nothing was counted.

    Inside a bin the values are taken as evenly spread.
    """
    histograms = [site.histogram for site in sites if site.histogram.counts.any()]
    if not histograms:
        return None
    uppers = np.concatenate([h.edges[1:] for h in histograms])
    widths = np.concatenate([np.full(len(h.counts), h.width) for h in histograms])
    counts = np.concatenate([h.counts for h in histograms])
    order = np.argsort(uppers, kind="stable")
    maximum = max(h.maximum for h in histograms)
    median, q99, q999 = (
        min(_quantile(uppers[order], widths[order], counts[order], q), maximum) for q in QUANTILES
    )
    return LayerAmplitudes(layer, group_of(layer), median, q99, q999, maximum)


def _quantile(
    uppers: NDArray[np.float64], widths: NDArray[np.float64], counts: NDArray[np.int64], q: float
) -> float:
    cumulative = np.cumsum(counts)
    wanted = q * cumulative[-1]
    j = int(np.searchsorted(cumulative, wanted))
    missing = (cumulative[j] - wanted) / counts[j] if counts[j] else 0.0
    return float(uppers[j] - missing * widths[j])


def clipped_share(histogram: Histogram, threshold: float) -> float:
    """Share of the values above `threshold`, 0 to 1, to one bin."""
    counts = histogram.counts
    total = int(counts.sum())
    return float(counts[histogram.edges[:-1] >= threshold].sum()) / total if total else 0.0


def rebin(histogram: Histogram, bins: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """At most `bins` bars over (0, maximum]: edges of shape (n + 1,) and counts of shape (n,)."""
    used = max(1, int(np.ceil(histogram.maximum / histogram.width)))
    step = -(-used // bins)
    edges, counts = histogram.edges, histogram.counts[:used]
    starts = np.arange(0, used, step)
    return np.append(edges[starts], edges[min(used, len(edges) - 1)]), np.add.reduceat(counts, starts)
