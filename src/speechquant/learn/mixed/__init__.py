"""Bits and weights learned together: a super-network whose matrices mix themselves at several numbers of bits."""

from speechquant.learn.mixed.annealing import Annealing, gumbel, relaxed
from speechquant.learn.mixed.choice import BitChoice, SearchPlan
from speechquant.learn.mixed.groups import Group, Unit, groups_of
from speechquant.learn.mixed.mixture import WeightMixture, mixture
from speechquant.learn.mixed.network import MixedWeights
from speechquant.learn.mixed.room import Room, room_of, settled, stored, uniform_bits, with_margin

__all__ = [
    "Annealing",
    "BitChoice",
    "Group",
    "MixedWeights",
    "Room",
    "SearchPlan",
    "Unit",
    "WeightMixture",
    "groups_of",
    "gumbel",
    "mixture",
    "relaxed",
    "room_of",
    "settled",
    "stored",
    "uniform_bits",
    "with_margin",
]
