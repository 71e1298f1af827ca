"""The architecture: a room imports only from rooms before it, without cycles, and doors only re-export."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "speechquant"
SOURCE = Path(__file__).parents[2] / "src" / PACKAGE
# `_version`, `errors` and `storage` are modules below all rooms, `__main__` is one above them.
ROOMS = (
    "_version",
    "errors",
    "storage",
    "audio",
    "data",
    "decoding",
    "metrics",
    "evaluation",
    "numerics",
    "models",
    "simulation",
    "search",
    "learn",
    "engines",
    "artifact",
    "report",
    "jobs",
    "cli",
    "__main__",
)


def modules(source):
    """Dotted name -> (path, is a package) of every module below `source`."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = [source.name, *path.relative_to(source).with_suffix("").parts]
        door = parts[-1] == "__init__"
        found[".".join(parts[:-1] if door else parts)] = (path, door)
    return found


def imports(name, path, *, door):
    """Dotted names of what a module imports from the package, wherever in the file the import stands."""
    package = name.split(".") if door else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == SOURCE.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            if full.split(".")[0] == SOURCE.name:
                yield from (f"{full}.{a.name}" for a in node.names)


def graph(source):
    """Module -> the modules of the package that it imports."""
    known = modules(source)
    edges = {}
    for name, (path, door) in known.items():
        targets = set()
        for wanted in imports(name, path, door=door):
            if wanted == f"{PACKAGE}.__version__":
                continue
            # The last part may be a name inside a module.
            target = wanted if wanted in known else wanted.rpartition(".")[0]
            if target == PACKAGE or target in known:
                targets.add(target)
            else:
                pytest.fail(f"{name} imports {wanted}, which does not exist")
        edges[name] = targets - {name}
    return edges


def room(module):
    return module.split(".")[1] if "." in module else None


def upward(edges):
    """Imports that break the order of rooms, as readable lines."""
    wrong = []
    for name, targets in edges.items():
        if name == PACKAGE:
            continue
        if room(name) not in ROOMS:
            wrong.append(f"{name} is in no room")
            continue
        for target in sorted(targets):
            if target == PACKAGE:
                # The top re-exports from every room, so that only its version may be read from below.
                wrong.append(f"{name} imports from the top of the package")
            elif room(target) in ROOMS and ROOMS.index(room(target)) > ROOMS.index(room(name)):
                wrong.append(f"{name} imports {target}, a later room")
    return wrong


def cycle(edges):
    """The first import cycle between modules, or None."""
    try:
        TopologicalSorter({name: targets - {PACKAGE} for name, targets in edges.items()}).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return None


def door_faults(path):
    """What a door lacks or holds too much; it has a docstring, imports, and an `__all__` that lists them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    faults = [] if ast.get_docstring(tree) else ["no docstring"]
    exported, imported = None, set()
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.ImportFrom() | ast.Import():
                imported |= {a.asname or a.name for a in node.names} - {"annotations"}
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List()):
                exported = set(ast.literal_eval(node.value))
            case _:
                faults.append(f"line {node.lineno} is not a re-export")
    if exported is None:
        faults.append("no __all__")
    elif exported != imported:
        faults.append(f"__all__ and the imports differ: {sorted(exported ^ imported)}")
    return faults


DOORS = [SOURCE / name / "__init__.py" for name in ROOMS if len(list((SOURCE / name).glob("*.py"))) > 1]


def test_no_room_imports_from_a_later_one():
    assert upward(graph(SOURCE)) == []


def test_no_import_cycles():
    assert cycle(graph(SOURCE)) is None


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.parent.name)
def test_door_only_re_exports(door):
    assert door_faults(door) == []


def test_every_folder_is_a_room():
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(ROOMS)


@pytest.fixture
def build(tmp_path):
    """Write a package of files with given contents and return its import graph."""

    def write(files):
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / PACKAGE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return graph(tmp_path / PACKAGE)

    return write


@pytest.mark.parametrize(
    "text",
    [
        "from speechquant.cli import app\n",
        "import speechquant.cli.app\n",
        "def late():\n    from speechquant.cli import app\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from speechquant.cli.app import thing\n",
        "from ..cli.app import thing\n",
        "from .. import cli\n",
    ],
)
def test_an_upward_import_is_found(build, text):
    doors = {"audio/__init__.py": "", "cli/__init__.py": ""}
    found = upward(build({**doors, "audio/load.py": text, "cli/app.py": "thing = 1\n"}))
    assert len(found) == 1
    assert found[0].startswith("speechquant.audio.load imports speechquant.cli")


def test_the_top_is_closed_but_for_its_version(build):
    assert upward(build({"audio/a.py": "from speechquant import __version__\n"})) == []
    assert len(upward(build({"audio/a.py": "import speechquant\n"}))) == 1


def test_a_downward_import_is_fine(build):
    edges = build({"audio/load.py": "", "cli/app.py": "from speechquant.audio.load import x\n"})
    assert edges["speechquant.cli.app"] == {"speechquant.audio.load"}
    assert upward(edges) == []
    assert cycle(edges) is None


def test_a_cycle_is_found(build):
    edges = build({"audio/a.py": "from speechquant.audio.b import x\n", "audio/b.py": "from .a import y\n"})
    assert "speechquant.audio.a" in cycle(edges)


def test_a_module_outside_the_rooms_is_found(build):
    assert upward(build({"helpers.py": ""})) == ["speechquant.helpers is in no room"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no docstring"),
        ('"""Room."""\n', "no __all__"),
        ('"""Room."""\nfrom a import b\n__all__ = ["c"]\n', "differ"),
        ('"""Room."""\nfrom a import b\n__all__ = ["b"]\ndef f(): ...\n', "line 4 is not a re-export"),
    ],
)
def test_a_faulty_door_is_found(tmp_path, text, fault):
    path = tmp_path / "__init__.py"
    path.write_text(text)
    assert any(fault in line for line in door_faults(path))
