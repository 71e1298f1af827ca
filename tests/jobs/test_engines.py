"""What the list of engines says, on processors of all kinds."""

from __future__ import annotations

import json
import sys

import onnxruntime
import pytest

from speechquant.engines.cpu import Cpu
from speechquant.jobs.engines import engines

VNNI = Cpu("v", "x86_64", ("avx2", "avx512", "avx512-vnni", "avx512-bf16"))
OLD = Cpu("o", "x86_64", ("avx2",))
ARM = Cpu("a", "aarch64", ("neon", "dotprod"))


def by_name(report):
    return {engine.name: engine for engine in report.engines}


def test_versions_and_what_is_used():
    found = by_name(engines(VNNI))
    assert found["onnxruntime"].version == onnxruntime.__version__
    uses, _, providers = found["onnxruntime"].uses.partition("; providers ")
    assert uses == "int8 by avx512-vnni, the rest in f32"
    assert "cpu" in providers.split(", ")
    assert "the rest in bf16" in found["openvino"].uses
    assert by_name(engines(ARM))["openvino"].uses == "int8 by dotprod, the rest in f32"


def test_an_engine_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sys.modules["speechquant.jobs.engines"], "find_spec", lambda _: None)
    found = by_name(engines(VNNI))["openvino"]
    assert (found.version, found.uses) == (None, "not installed: pip install 'speechquant[openvino]'")


@pytest.mark.parametrize(
    ("cpu", "words"), [(OLD, "--bits w6a8"), (Cpu("?", "AMD64", (), known=False), "not tell")]
)
def test_warnings(cpu, words):
    (warning,) = engines(cpu).warnings
    assert words in warning


def test_no_warning_without_a_reason():
    assert engines(VNNI).warnings == engines(ARM).warnings == ()


def test_plain_values():
    values = json.loads(json.dumps(engines(OLD).to_dict()))
    assert values["cpu"]["features"] == ["avx2"]
    assert (values["cpu"]["saturates"], values["cpu"]["bf16"], values["cpu"]["integer"]) == (
        True,
        False,
        "avx2",
    )
    assert values["cores"] >= 1
