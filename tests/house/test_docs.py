"""What the documents tell users to type works: commands parse, files exist, Python examples fit the interface."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer

import speechquant as sq
from speechquant.cli import app
from speechquant.jobs.recipe import Recipe, load_recipe
from speechquant.jobs.sources import shipped_recipe

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
IDS = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
PROGRAM = typer.main.get_command(app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What follows a command in an example and is the shell's, not the program's.
SHELL = {"|", ">", "&&", ";"}
TOPS = ("src/", "tests/", "docs/", "packages/", "benchmarks/", ".ci/")

every_document = pytest.mark.parametrize("text", [p.read_text(encoding="utf-8") for p in DOCUMENTS], ids=IDS)


def blocks(text, language):
    return [body for found, body in FENCE.findall(text) if found == language]


def inline(text):
    return [span for line in FENCE.sub("", text).splitlines() for span in re.findall(r"`([^`]+)`", line)]


def command_lines(text):
    """Lines of code blocks, indented or fenced, that call the program."""
    indented = re.findall(r"^ {4}(speechquant .+)$", FENCE.sub("", text), re.MULTILINE)
    fenced = [line for _, body in FENCE.findall(text) for line in body.splitlines()]
    return indented + [line for line in fenced if line.startswith("speechquant ")]


def parse(line):
    """Let the program parse a command line without running it; returns the command's name and parameters."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in SHELL), len(words))]
    name, *arguments = words
    context = PROGRAM.commands[name].make_context(name, arguments)
    if name == "quantize":
        given = {key: value for key, value in context.params.items() if key in Recipe.model_fields}
        given = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        if context.params["recipe"] is None:
            load_recipe(shipped_recipe(given["model"]), **given)
    return name, context.params


def known_options():
    commands = (PROGRAM, *PROGRAM.commands.values())
    return {o for c in commands for p in c.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}


def unknown_options(text):
    named = {word for span in inline(text) for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span)}
    return sorted(named - known_options())


def missing_files(text, base):
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))]
    relative = [base / link for link in links if link and "://" not in link]
    spans = [
        span for span in inline(text) if span.startswith(TOPS) and " " not in span and "NAME" not in span
    ]
    return sorted({str(path) for path in (*relative, *(ROOT / span for span in spans)) if not path.exists()})


def verb_calls(tree):
    """Calls of `sq.VERB(...)`, and every name that is read from `sq`."""
    names, calls = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sq":
            names.add(node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("sq."):
            calls.append(node)
    return names, calls


def check_python(source):
    tree = ast.parse(source)
    names, calls = verb_calls(tree)
    assert names <= set(sq.__all__)
    for call in calls:
        verb = call.func.attr
        keywords = {keyword.arg: None for keyword in call.keywords}
        inspect.signature(getattr(sq, verb)).bind(*call.args, **keywords)
        if verb == "quantize":
            own = inspect.signature(sq.quantize).parameters
            assert {k for k in keywords if k not in own} <= set(Recipe.model_fields)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


@every_document
def test_command_lines_parse(text):
    for line in command_lines(text):
        parse(line)


def test_the_readme_shows_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {parse(line)[0] for line in command_lines(text)} == set(PROGRAM.commands)


@every_document
def test_options_that_are_named_exist(text):
    assert unknown_options(text) == []


def test_every_setting_is_documented():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    flags = {"--" + name.replace("_", "-") for name in Recipe.model_fields} - {"--model", "--output"}
    assert sorted(flag for flag in flags if not re.search(rf"{flag}(?![\w-])", text)) == []


def unlisted(pages, index):
    """Pages that an index beside them does not link to."""
    links = set(re.findall(r"\]\(([^)#\s]+)", index))
    return sorted(path.name for path in pages if path.name not in links)


def test_every_page_is_listed():
    index = ROOT / "docs" / "README.md"
    pages = [path for path in index.parent.glob("*.md") if path != index]
    assert unlisted(pages, index.read_text(encoding="utf-8")) == []
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_files_that_are_named_exist(path):
    assert missing_files(path.read_text(encoding="utf-8"), path.parent) == []


@every_document
def test_python_examples_fit_the_interface(text):
    for source in blocks(text, "python"):
        check_python(source)


def test_errors_are_listed_as_they_are():
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    errors = importlib.import_module("speechquant.errors")
    classes = {name for name in errors.__all__ if name != "SpeechquantError"}
    listed = {span for span in inline(text) if re.fullmatch(r"\w+Error", span)} - set(dir(builtins))
    assert listed == classes


def test_make_targets_exist_and_the_checks_run_what_the_readme_says():
    readme, makefile, checks = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile", ".ci/run")
    )
    first_screen = readme[: readme.index("<!-- demo-output -->")]
    shown = set(re.findall(r"^ {4}make (\w+)", first_screen, re.MULTILINE))
    assert shown == {"demo", "test"}
    named = re.findall(r"(?:^ {4}|`)make ([a-z]+)", readme, re.MULTILINE)
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert re.search(r"^(timeout .*)?make test$", checks, re.MULTILINE)
    packages = re.search(r"apt-get install ([a-z ]+)", readme)[1].split()
    assert all(f"missing+=({package})" in checks for package in packages)


def test_the_demo_block_is_filled_from_a_run():
    spec = importlib.util.spec_from_file_location("update_readme", ROOT / "docs" / "update_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    log = (
        "calibrate: done\nWER on the test set, 2 words   \n\n a  1\n\nclipped: x\n\n"
        "u1\n  reference  a\n  quantized  b\n\nGood.\nreport: here/out/report.html\nreal 1s\n"
    )
    screen, told = module.summary(log, Path("here/out"))
    assert screen == (
        "WER on the test set, 2 words\n\n a  1\n\nclipped: x\n\nGood.\nreport: build/demo/report.html"
    )
    assert told == "u1\n  reference  a\n  quantized  b"
    text = f"x\n{module.BEGIN}\nold\n{module.END}\ny"
    assert module.replace_block(text, "new") == "x\nnew\ny"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (readme.count(module.BEGIN), readme.count(module.END)) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "speechquant quantise demo -o out",
        "speechquant quantize demo -o out --bit w8a8",
        "speechquant quantize ./m -o out --dev d",
        "speechquant quantize demo -o out --bits w9",
        "speechquant transcribe out a.wav --format pdf",
        "speechquant evaluate out",
    ],
)
def test_a_wrong_command_line_is_found(line):
    with pytest.raises(Exception, match=r".+"):
        parse(line)


@pytest.mark.parametrize(
    "source", ["sq.quantise('m')", "sq.load('a', gpu=1)", "sq.quantize('m', 'o', bit='w8a8')", "x ="]
)
def test_a_wrong_example_is_found(source):
    with pytest.raises((AssertionError, TypeError, SyntaxError)):
        check_python(source)


def test_other_mistakes_are_found(tmp_path):
    assert unknown_options("see `--gama 0.25` and `--gamma`") == ["--gama"]
    text = "[a](b.md) [c](https://d.org) `src/speechquant/nothing.py` `src/NAME.py` `src/speechquant`"
    assert unlisted([tmp_path / "a.md", tmp_path / "b.md"], "`a.md` [b](b.md#part)") == ["a.md"]
    missing = [str(tmp_path / "b.md"), str(ROOT / "src/speechquant/nothing.py")]
    assert missing_files(text, tmp_path) == sorted(missing)
