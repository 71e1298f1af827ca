"""What the report page says of every tensor of a trained model: what it needs is no search, and one pass at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant import report
from speechquant.data import iter_loaded
from speechquant.jobs.learning.start import calibration_part
from speechquant.jobs.quantization.sites import weight_site
from speechquant.numerics import ScaleTable
from speechquant.simulation import observe, quantized

if TYPE_CHECKING:
    from speechquant.jobs.learning.methods import Compressed
    from speechquant.jobs.learning.session import Session
    from speechquant.numerics import Entry, Role

__all__ = ["activation_sites", "weight_sites"]


def activation_sites(session: Session, found: Compressed) -> tuple[report.SiteHistogram, ...]:
    """Histograms of what reaches the quantizers of inputs, with the ranges that these ended with.

    The speech is that of a calibration. Weights are as they were trained, on their grid; inputs are not quantized, so
    that histograms show what ranges cut off. Empty where activations stay in float.
    """
    entries = _entries(session, found, "input")
    if not entries:
        return ()
    part = calibration_part(session.roles.train, session.recipe)
    # A picture is no reason to lose what training has made.
    waves = [wave for _, wave in iter_loaded(part, strict=False, on_skip=lambda _: None)]
    if not waves:
        return ()
    weights = ScaleTable({e.site.name: e for e in _entries(session, found, "weight")})
    with session.progress.stage("histograms") as advance, quantized(session.model, weights):
        done = iter(range(1, len(waves) + 1))
        histograms = observe(session.model, waves, on_wave=lambda: advance(next(done), len(waves)))
    shown = []
    for entry in entries:
        histogram, scale = histograms[entry.site.name], float(entry.scale)
        thresholds = {"max": histogram.maximum, "chosen": scale * entry.spec.qmax}
        shown.append(
            report.SiteHistogram(
                entry.site.layer, entry.site.name, histogram, thresholds, bits=entry.spec.bits, scale=scale
            )
        )
    return tuple(shown)


def weight_sites(session: Session, found: Compressed) -> tuple[report.WeightSite, ...]:
    """Bits and scales of every operator's weights, with the errors of rounding where no training followed it."""
    errors = {} if found.stages else session.rounding_errors
    return tuple(weight_site(entry, errors) for entry in _entries(session, found, "weight"))


def _entries(session: Session, found: Compressed, role: Role) -> list[Entry]:
    """In the order of the model."""
    layers = session.model.layers()
    entries = [] if found.table is None else [entry for entry in found.table if entry.site.role == role]
    return sorted(entries, key=lambda entry: layers.index(entry.site.layer))
