"""Utterances and where they come from: manifests, corpora, loading, batching, the roles of data sets."""

from __future__ import annotations

from speechquant.data.batching import length_batches
from speechquant.data.corpus import Corpus
from speechquant.data.division import divide
from speechquant.data.loading import Skipped, iter_loaded
from speechquant.data.open import open_corpus
from speechquant.data.readers import Entry, Reader, register, registered_readers
from speechquant.data.roles import check_roles
from speechquant.data.segments import Segment, segmented
from speechquant.data.usable import nothing_usable, usable_waves, with_text
from speechquant.data.utterance import AudioSource, Utterance

__all__ = [
    "AudioSource",
    "Corpus",
    "Entry",
    "Reader",
    "Segment",
    "Skipped",
    "Utterance",
    "check_roles",
    "divide",
    "iter_loaded",
    "length_batches",
    "nothing_usable",
    "open_corpus",
    "register",
    "registered_readers",
    "segmented",
    "usable_waves",
    "with_text",
]
