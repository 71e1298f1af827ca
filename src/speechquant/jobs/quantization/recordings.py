"""Recordings that the user asked to have in the report page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant import report
from speechquant.data import iter_loaded

if TYPE_CHECKING:
    from speechquant.jobs.quantization.findings import Findings
    from speechquant.jobs.quantization.workbench import Workbench

__all__ = ["changed_recordings"]

LIMIT_BYTES = 12_000_000


def changed_recordings(bench: Workbench, findings: Findings) -> tuple[dict[str, str], int]:
    """Audio of the test utterances whose words changed, as addresses by id, and how many did not fit.

    Those with the largest change in errors come first; the page grows by at most `LIMIT_BYTES`. Without
    `report_audio` there are none.
    """
    if not bench.recipe.report_audio:
        return {}, 0
    before = findings.test["float"].score.utterances
    after = findings.test["quantized"].score.utterances
    changes = {
        old.id: abs(new.errors.errors - old.errors.errors)
        for old, new in zip(before, after, strict=True)
        if old.hypothesis != new.hypothesis
    }
    wanted = sorted(
        (utterance for utterance in bench.corpora.test if utterance.id in changes),
        key=lambda utterance: -changes[utterance.id],
    )
    loaded = iter_loaded(wanted, strict=False, on_skip=lambda _: None)
    found = report.embed(((u.id, samples) for u, samples in loaded), bench.model.sampling_rate, LIMIT_BYTES)
    return found, len(wanted) - len(found)
