"""The fakes have no name that the real modules have not, so that a misspelt call fails in the other tests."""

from __future__ import annotations

import ast
import enum
import inspect
import sys
from pathlib import Path

import api_names
import fake_tensorrt
import fake_tensorrt_engine
import pytest

from speechquant.engines import tensorrt as room

SOURCES = sorted(Path(room.__file__).parent.glob("*.py"))


def public(names):
    return {name for name in names if not name.startswith("_")}


def classes():
    """Fake classes by the names of the real ones."""
    found = vars(fake_tensorrt) | vars(fake_tensorrt_engine)
    made = {name: value for name, value in found.items() if inspect.isclass(value)}
    made["Runtime"] = fake_tensorrt.module(None).Runtime
    return {name: value for name, value in made.items() if name in api_names.TENSORRT}


# What tests read or set on a fake, beside the interface.
EXTRA = {
    "Builder": {"made"},
    "IBuilderConfig": {"limits"},
    "IOptimizationProfile": {"shapes"},
    "ITimingCache": {"content"},
}


@pytest.mark.parametrize("name", sorted(classes()))
def test_a_fake_class_has_only_real_attributes(name):
    entry = classes()[name]
    names = {m.name for m in entry} if issubclass(entry, enum.Enum) else public(vars(entry))
    assert names - EXTRA.get(name, set()) <= set(api_names.TENSORRT[name].split())


def test_a_fake_module_has_only_real_names(gpu):
    assert public(vars(sys.modules["tensorrt"])) <= set(api_names.MODULE)
    assert public(vars(sys.modules["cuda.bindings.runtime"])) <= api_names.CUDA


@pytest.mark.parametrize("key", sorted(api_names.KEYWORDS), ids=".".join)
def test_arguments_have_their_real_names(key):
    name, method = key
    parameters = list(inspect.signature(getattr(classes()[name], method)).parameters)[1:]
    assert parameters == api_names.KEYWORDS[key].split()


def test_objects_take_no_unknown_attributes():
    config = fake_tensorrt.IBuilderConfig()
    with pytest.raises(AttributeError):
        config.max_workspace_size = 1


def test_every_name_that_the_room_takes_from_tensorrt_is_real():
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if owner in {"trt", "_trt"}:
                    used.add(node.attr)
    assert {"Builder", "Runtime", "nptype"} <= used
    assert used <= {*api_names.MODULE, "__version__"}
