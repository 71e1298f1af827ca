"""Histograms and weights -> scale tables, without running the model again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.numerics import Entry, QuantSpec, ScaleTable, calibrate_many, weight_scales

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from speechquant.models import SpeechModel
    from speechquant.numerics import Granularity, Histogram, Site, WeightMethod

__all__ = ["activation_table", "weight_table"]


def activation_table(
    sites: Collection[Site],
    *,
    histograms: Mapping[str, Histogram],
    calibrator: str,
    bits: int,
    **options: Any,
) -> ScaleTable:
    """Scales of the input sites among `sites`, per tensor, from their histograms by one calibrator.

    `options` go to the calibrator (`cutoff`, `percentile`, `start_bin`, `fold`).
    """
    wanted = {site.name: site for site in sites if site.role == "input"}
    scales = calibrate_many(calibrator, {name: histograms[name] for name in wanted}, bits, **options)
    spec = QuantSpec(bits)
    return ScaleTable(
        {name: Entry(site, spec, np.array(scales[name], np.float32)) for name, site in wanted.items()}
    )


def weight_table(
    model: SpeechModel,
    sites: Collection[Site],
    *,
    bits: int,
    method: WeightMethod = "max",
    granularity: Granularity = "channel",
    group_size: int | None = None,
    percentile: float = 99.9,
) -> ScaleTable:
    """Scales of the weight sites among `sites`, per output channel by default.

    The range is narrow but for groups. `method` and `percentile` are those of `weight_scales`, `granularity` and
    `group_size` those of `QuantSpec`.
    """
    spec = QuantSpec(bits, granularity, narrow=granularity != "group", group_size=group_size)
    entries = {}
    for site in sites:
        if site.role == "weight":
            weight = model.operator(site.module).get_parameter("weight").detach().cpu().numpy()
            scale = weight_scales(weight, spec, method, percentile=percentile)
            entries[site.name] = Entry(site, spec, scale)
    return ScaleTable(entries)
