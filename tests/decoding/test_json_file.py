"""JSON that others wrote is bounded, and refused in one line."""

from __future__ import annotations

import pytest

from speechquant.decoding import json_file, read_json
from speechquant.errors import ArtifactError, ModelError


def test_an_object_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, null, "ü"]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, None, "ü"]}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_anything_else_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.json.*fetch the model again") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_the_caller_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot be read.*export it again"):
        read_json(tmp_path / "missing", fault=ArtifactError, advice="export it again")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "MAXIMUM_JSON_BYTES", 10)
    path = tmp_path / "a.json"
    path.write_text('{"a": 123}')
    assert read_json(path) == {"a": 123}
    path.write_text('{"a": 1234}')
    with pytest.raises(ModelError, match="64 MiB"):
        read_json(path)
