"""What the user names, made real: `demo`, hub ids and folders; `demo:test`, trees and manifests."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant.artifact import is_artifact
from speechquant.data import Corpus, check_roles, divide, open_corpus, segmented, with_text
from speechquant.errors import DataError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from speechquant.jobs.recipe import Recipe

__all__ = ["Corpora", "open_corpora", "resolve_corpus", "resolve_model", "shipped_recipe"]

DEMO_MODELS = {
    "demo": "moonshine-tiny",
    "demo:moonshine": "moonshine-tiny",
    "demo:hubert-mini": "hubert-mini-ctc",
}
DEMO_RECIPES = {
    "demo": "demo.yaml",
    "demo:moonshine": "demo.yaml",
    "demo:hubert-mini": "demo-hubert-mini.yaml",
}


@dataclass(frozen=True, slots=True)
class Corpora:
    """The three roles of speech and what is remarkable about them; a role that a job does not need is empty."""

    calibration: Corpus
    dev: Corpus
    test: Corpus
    warnings: tuple[str, ...]


def resolve_model(name: str) -> str:
    """The folder of a built-in model for `demo` and `demo:...`; any other name as it is.

    Raises:
        ModelError: no built-in model of this name, or an artifact, which cannot be quantized again.
        MissingExtraError: the built-in models are not installed.
    """
    if name not in DEMO_MODELS:
        if name.startswith("demo:"):
            raise ModelError(f"no built-in model {name!r}; there are {', '.join(DEMO_MODELS)}")
        if is_artifact(Path(name).expanduser()):
            raise ModelError(f"{name} is an artifact; give the float model it was made from")
        return name
    return str(_demo().model(DEMO_MODELS[name]))


def shipped_recipe(model: str) -> Path | None:
    """The recipe that goes with a built-in model, None for the user's own."""
    name = DEMO_RECIPES.get(model)
    return Path(str(files("speechquant.jobs") / "recipes" / name)) if name else None


def resolve_corpus(
    spec: str, *, name: str | None = None, require_text: bool = False, otherwise: str = ""
) -> Corpus:
    """Open a corpus, see `open_corpus`; `demo:calibration`, `demo:dev`, `demo:dev-small`, `demo:test` are built in."""
    if spec.startswith("demo:"):
        try:
            spec = str(_demo().corpus(spec.removeprefix("demo:")))
        except ValueError as error:
            raise DataError(str(error)) from error
    return open_corpus(spec, name=name, require_text=require_text, otherwise=otherwise)


def open_corpora(recipe: Recipe, *, otherwise: str = "") -> Corpora:
    """The recipe's speech, cut to the minutes asked for, with its roles checked to be disjoint.

    With `audio_only`, recordings of more than 30 s are cut into utterances first.

    Args:
        recipe: names the speech.
        otherwise: what a user without transcripts can do, for messages.

    Raises:
        DataError: a data set is not there, or malformed; a role needs transcripts and has none, or with
            `strict` lacks one; recordings serve in two roles; too little for three roles.
        MissingExtraError: a format or a place that needs an extra.
    """
    seed = recipe.seed
    notes: list[str] = []
    if recipe.audio_only is not None:
        whole = segmented(resolve_corpus(recipe.audio_only))
        (calibration, dev, test), notes = divide(whole, seed=seed)
    else:
        calibration = _role("calibration", recipe.calibration)
        dev = _role("dev", recipe.dev, require_text=True, otherwise=otherwise)
        test = _role("test", recipe.test, require_text=True, otherwise=otherwise)
    calibration = _part(calibration, recipe.calibration_minutes, seed)
    dev, test = _part(dev, recipe.dev_minutes, seed), _part(test, recipe.test_minutes, seed)
    if recipe.audio_only is None:
        for corpus in filter(None, (dev, test)):
            # The evaluator would refuse them as well, but only after the calibration.
            with_text(corpus, corpus.name, strict=recipe.strict, otherwise=otherwise)
    warnings = check_roles(calibration, dev, test, allow_overlap=recipe.allow_overlap)
    return Corpora(calibration, dev, test, (*notes, *warnings))


def _role(name: str, spec: str | None, *, require_text: bool = False, otherwise: str = "") -> Corpus:
    if spec is None:
        return Corpus(name, ())
    return resolve_corpus(spec, name=name, require_text=require_text, otherwise=otherwise)


def _part(corpus: Corpus, minutes: float | None, seed: int) -> Corpus:
    return corpus if minutes is None else corpus.subset(seconds=60 * minutes, seed=seed)


def _demo() -> Any:
    try:
        return importlib.import_module("speechquant_demo")
    except ImportError as error:
        raise MissingExtraError(
            "the built-in models and speech are missing: install speechquant[demo]"
        ) from error
