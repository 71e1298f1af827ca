"""From network outputs to text without torch: CTC, greedy search, vocabularies, waveform front end."""

from __future__ import annotations

from speechquant.decoding.bpe import BPEVocabulary
from speechquant.decoding.ctc import CTCPath, ctc_greedy, ctc_transcript, timed_words
from speechquant.decoding.frontend import prepare_wave
from speechquant.decoding.greedy import GreedyResult, greedy_search, token_limit
from speechquant.decoding.joining import CTCFrames
from speechquant.decoding.json_file import MAXIMUM_JSON_BYTES, read_json, read_small
from speechquant.decoding.recording import (
    LongTranscript,
    Recording,
    transcribe_long,
    transcribe_recordings,
)
from speechquant.decoding.runtime import RuntimeSpec, Task
from speechquant.decoding.segments import Segment, group_words
from speechquant.decoding.side_by_side import side_by_side
from speechquant.decoding.types import Recognizer, Transcript, Vocabulary, Word
from speechquant.decoding.vocabulary import CTCVocabulary, load_vocabulary

__all__ = [
    "MAXIMUM_JSON_BYTES",
    "BPEVocabulary",
    "CTCFrames",
    "CTCPath",
    "CTCVocabulary",
    "GreedyResult",
    "LongTranscript",
    "Recognizer",
    "Recording",
    "RuntimeSpec",
    "Segment",
    "Task",
    "Transcript",
    "Vocabulary",
    "Word",
    "ctc_greedy",
    "ctc_transcript",
    "greedy_search",
    "group_words",
    "load_vocabulary",
    "prepare_wave",
    "read_json",
    "read_small",
    "side_by_side",
    "timed_words",
    "token_limit",
    "transcribe_long",
    "transcribe_recordings",
]
