"""One file per kind of data set; importing this package registers them all."""

from __future__ import annotations

from speechquant.data.readers.base import Entry, Reader, register, registered_readers
from speechquant.data.readers.fairseq import FairseqReader
from speechquant.data.readers.folder import FileReader, FolderReader
from speechquant.data.readers.huggingface import HubReader, SavedReader
from speechquant.data.readers.librispeech import LibriSpeechReader
from speechquant.data.readers.manifest import DelimitedReader, JsonLinesReader

__all__ = [
    "DelimitedReader",
    "Entry",
    "FairseqReader",
    "FileReader",
    "FolderReader",
    "HubReader",
    "JsonLinesReader",
    "LibriSpeechReader",
    "Reader",
    "SavedReader",
    "register",
    "registered_readers",
]
