from __future__ import annotations

import json
import os
import unicodedata

from speechquant.jobs.printable import json_line, one_line, printable


def test_only_control_characters_go_and_tab_and_newline_stay():
    every = "".join(map(chr, range(0x3000)))
    kept = printable(every)
    assert {c for c in every if unicodedata.category(c) == "Cc"} - set(kept) == set(every) - set(kept)
    assert {c for c in kept if unicodedata.category(c) == "Cc"} == {"\t", "\n"}
    assert printable("naïve Ωmega 音") == "naïve Ωmega 音"


def test_a_name_is_one_line():
    assert one_line("a\tb\nc\x1b\r.wav") == r"a\tb\nc.wav"


def test_json_is_the_same_and_readable():
    values = {"a\x1b": ["\x9b2J", "ü", "\x7f", "\n"]}
    line = json_line(values)
    assert json.loads(line) == values
    assert "ü" in line
    assert line.isprintable()


def test_names_that_are_not_utf8_can_be_written():
    name = os.fsdecode(b"caf\xe9.wav")
    assert one_line(name).encode() == b"caf.wav"
    line = json_line({"path": name})
    assert json.loads(line.encode()) == {"path": name}
