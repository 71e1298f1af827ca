"""Recognise audio containers by their first bytes, and files that end too early by their own headers.

libsndfile reads a WAV, AIFF or Opus file that was cut off as if it were merely shorter, so half an utterance
would be scored as a whole one. The containers themselves say how long they ought to be.
"""

from __future__ import annotations

import os
from typing import BinaryIO

__all__ = ["CODEC_SUFFIXES", "NATIVE_SUFFIXES", "is_audio_name", "sniff", "truncation"]

NATIVE_SUFFIXES = frozenset(
    {
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".sph",
        ".w64",
    }
)
CODEC_SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".mov", ".webm", ".mkv", ".mka", ".aac", ".wma", ".amr", ".3gp", ".ac3", ".avi"}
)

# Eleven set bits open a frame of MPEG audio; layer bits 00 after them mean AAC (ADTS).
_MPEG_SYNC = 0xFFE0
_MPEG_LAYER = 0x0006
_OGG_PAGE_HEADER = 27
_OGG_LARGEST_PAGE = _OGG_PAGE_HEADER + 255 + 255 * 255
# Writers that cannot seek back (pipes) leave one of these in place of the length of the samples.
_UNKNOWN_LENGTHS = frozenset({0, 0x7FFFFFFF, 0xFFFFFFFF})
_UNKNOWN_FROM = 0x7FFFF000
# Some writers count a header or a padding byte into the length of the samples.
_SLOPPY_BYTES = 64


def is_audio_name(name: str) -> bool:
    """Whether the file name's suffix is that of an audio (or video) file this room can decode."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # called for every file of large trees
    return suffix in NATIVE_SUFFIXES or suffix in CODEC_SUFFIXES


def sniff(head: bytes) -> str | None:
    """Which decoder the first 16 bytes call for: "native" (libsndfile), "codec" (FFmpeg), or None."""
    native = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3", b".snd", b"caff", b"NIST", b"riff")
    codec = (b"\x1aE\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75", b"\x0b\x77")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "codec"
    if head.startswith(native):
        return "native"
    if head.startswith(codec) or head[4:8] == b"ftyp":
        return "codec"
    sync = int.from_bytes(head[:2], "big")
    if sync & _MPEG_SYNC != _MPEG_SYNC:
        return None
    return "native" if sync & _MPEG_LAYER else "codec"


def truncation(file: BinaryIO) -> str | None:
    """Why the container must have been cut off, or None if nothing shows it.

    Args:
        file: a seekable binary file; its position is left anywhere.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _chunk_overrun(file, size, b"data", "little")
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return _chunk_overrun(file, size, b"SSND", "big")
    if head[:4] == b"OggS":
        return _ogg_overrun(file, size)
    return None


def _chunk_overrun(file: BinaryIO, size: int, wanted: bytes, order: str) -> str | None:
    position = 12
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:8], "little" if order == "little" else "big")
        start = position + 8
        if header[:4] == wanted:
            if (
                length in _UNKNOWN_LENGTHS
                or length >= _UNKNOWN_FROM
                or start + length <= size + _SLOPPY_BYTES
            ):
                return None
            return f"its header promises {length} bytes of samples and {size - start} are there"
        position = start + length + length % 2
    return "its samples are missing"


def _ogg_overrun(file: BinaryIO, size: int) -> str | None:
    start = max(0, size - _OGG_LARGEST_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return "its last Ogg page is missing"
    page = tail[at:]
    if len(page) < _OGG_PAGE_HEADER or len(page) < _OGG_PAGE_HEADER + page[26]:
        return "its last Ogg page is incomplete"
    table = page[_OGG_PAGE_HEADER : _OGG_PAGE_HEADER + page[26]]
    complete = len(page) >= _OGG_PAGE_HEADER + len(table) + sum(table)
    return None if complete else "its last Ogg page is incomplete"
