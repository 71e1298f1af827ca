"""Recognisers that do next to nothing. A module of its own, so that other processes can import it."""

from __future__ import annotations

import sys

import numpy as np

from speechquant.decoding import Transcript

kept = []


class Fake:
    """Says how it was called; `tokens` per utterance without frames make it a model that writes."""

    backend, signature, sampling_rate, length_exact = "fake", "x", 16_000, True

    def __init__(self, calls=None, name="fake", tokens=None, cost=None):
        self.calls, self.name, self.tokens, self.cost = calls, name, tokens, cost

    def recognize(self, waves):
        if self.calls is not None:
            self.calls.append((self.name, len(waves), waves[0].size))
        if self.cost is not None:
            self.cost(self)
        if self.tokens is None:
            return [Transcript("A", (1,), frames=(1, 1)) for _ in waves]
        return [Transcript("A", (1,) * self.tokens) for _ in waves]


def light():
    return Fake()


def eats(fake):
    kept.append(np.ones(30_000_000))
    del fake


def hungry_when_used():
    return Fake(cost=eats)


def hungry_when_opened():
    eats(None)
    return Fake()


def lean():
    heavy = {"torch", "transformers", "speechquant.jobs", "speechquant.cli"} & set(sys.modules)
    if heavy:
        raise AssertionError(f"imported {sorted(heavy)}")
    return Fake()


def expects(utterances, samples):
    """Opens a recogniser that fails when it is given anything else."""

    def check(fake):
        assert fake.calls == [("fake", utterances, samples)], fake.calls

    return Fake([], cost=check)


def broken():
    raise ValueError("no such luck")
