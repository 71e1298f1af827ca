"""Bits and weights learned together: a super-network whose matrices mix themselves at several numbers of bits."""

from speechquant.learn.mixed.annealing import Annealing, gumbel, relaxed
from speechquant.learn.mixed.choice import BitChoice, Group, SearchPlan, Unit, groups_of
from speechquant.learn.mixed.mixture import WeightMixture, mixture
from speechquant.learn.mixed.network import MixedWeights

__all__ = [
    "Annealing",
    "BitChoice",
    "Group",
    "MixedWeights",
    "SearchPlan",
    "Unit",
    "WeightMixture",
    "groups_of",
    "gumbel",
    "mixture",
    "relaxed",
]
