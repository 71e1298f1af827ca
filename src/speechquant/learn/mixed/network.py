"""The super-network: a model whose weights are mixtures of their candidates, or have settled on one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from torch import nn

from speechquant.learn.installed import FakeQuantizers
from speechquant.learn.mixed.mixture import WeightMixture
from speechquant.numerics import ScaleTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from speechquant.learn.allocation import Candidates
    from speechquant.learn.mixed.choice import BitChoice
    from speechquant.models import SpeechModel
    from speechquant.numerics import Entry

__all__ = ["MixedWeights"]


class MixedWeights(FakeQuantizers):
    """The quantizers of all weights; activations stay in float.

    There is one float master of each weight, the model's own parameter, whatever the number of candidates:
    `W = sum_n lambda_n Q_n(W)`.

    Args:
        model: whose weights are quantized.
        entries: candidates by site name and bits.
        choice: learns the bits of the matrices that it knows; None where each weight has one candidate.
        learned: whether scales are trained (LSQ), or stay as they are.
    """

    def __init__(
        self,
        model: SpeechModel,
        entries: Mapping[str, Mapping[float, Entry]],
        *,
        choice: BitChoice | None = None,
        learned: bool = True,
    ) -> None:
        modules = {name: next(iter(candidates.values())).site.module for name, candidates in entries.items()}
        super().__init__(model, modules.values())
        self.choice = choice
        searched = set() if choice is None else set(choice.bits())
        self._place = {name: index for index, name in enumerate(entries)}
        self._module = modules
        self.weights = nn.ModuleList()
        for name, candidates in entries.items():
            shares = None
            if choice is not None and modules[name] in searched:
                shares = partial(choice.shares, modules[name])
            self.weights.append(WeightMixture(candidates, learned=learned, shares=shares))

    @classmethod
    def searching(
        cls, model: SpeechModel, candidates: Candidates, choice: BitChoice, *, learned: bool = True
    ) -> MixedWeights:
        """All candidates of the searched matrices, one of the others."""
        searched = {matrix.site.name: matrix.entries for matrix in candidates.matrices}
        others: dict[str, Mapping[float, Entry]] = {
            entry.site.name: {entry.spec.bits: entry} for entry in candidates.others
        }
        return cls(model, {**searched, **others}, choice=choice, learned=learned)

    @classmethod
    def frozen(cls, model: SpeechModel, table: ScaleTable, *, learned: bool = True) -> MixedWeights:
        """The bits of a table, whatever they are."""
        return cls(model, {entry.site.name: {entry.spec.bits: entry} for entry in table}, learned=learned)

    def quantizer(self, site: str) -> WeightMixture | None:
        """The quantizer of a weight; inputs have none."""
        return cast("WeightMixture", self.weights[self._place[site]]) if site in self._place else None

    def candidates(self, site: str) -> dict[float, Entry]:
        """The entries of a weight by bits, with their scales as they are now."""
        weight = cast("WeightMixture", self.weights[self._place[site]])
        return {bits: weight.entry(bits) for bits in weight.widths}

    def table(self) -> ScaleTable:
        """The scale table, if the search ended now."""
        bits = {} if self.choice is None else self.choice.bits()
        entries = {}
        for name, place in self._place.items():
            weight = cast("WeightMixture", self.weights[place])
            entries[name] = weight.entry(bits.get(self._module[name], weight.widths[-1]))
        return ScaleTable(entries)
