"""What the user names, made real: `demo`, hub ids and folders; `demo:test`, trees and manifests."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechquant.data import Corpus, check_roles, open_corpus
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

SHARES = (0.2, 0.6)
"""Audio without transcripts is divided: a fifth for calibration, two fifths for dev, the rest for test."""

MINIMUM_FILES = 3


@dataclass(frozen=True, slots=True)
class Corpora:
    """The three roles of speech and what is remarkable about them."""

    calibration: Corpus
    dev: Corpus
    test: Corpus
    warnings: tuple[str, ...]


def resolve_model(name: str) -> str:
    """The folder of a built-in model for `demo` and `demo:...`; any other name as it is."""
    if name not in DEMO_MODELS:
        if name.startswith("demo:"):
            raise ModelError(f"no built-in model {name!r}; there are {', '.join(DEMO_MODELS)}")
        return name
    return str(_demo().model(DEMO_MODELS[name]))


def shipped_recipe(model: str) -> Path | None:
    """The recipe that goes with a built-in model, None for the user's own."""
    name = DEMO_RECIPES.get(model)
    return Path(str(files("speechquant.jobs") / "recipes" / name)) if name else None


def resolve_corpus(spec: str, *, name: str | None = None, require_text: bool = False) -> Corpus:
    """Open a corpus; `demo:calibration`, `demo:dev`, `demo:dev-small` and `demo:test` are built in."""
    if spec.startswith("demo:"):
        try:
            spec = str(_demo().corpus(spec.removeprefix("demo:")))
        except ValueError as error:
            raise DataError(str(error)) from error
    return open_corpus(spec, name=name, require_text=require_text)


def open_corpora(recipe: Recipe) -> Corpora:
    """The recipe's speech, cut to the minutes asked for, with its roles checked to be disjoint."""
    seed = recipe.seed
    if recipe.audio_only is not None:
        calibration, dev, test = _divide(resolve_corpus(recipe.audio_only).without_text(), seed)
    else:
        assert recipe.calibration is not None
        assert recipe.dev is not None
        assert recipe.test is not None
        calibration = resolve_corpus(recipe.calibration, name="calibration")
        dev = resolve_corpus(recipe.dev, name="dev", require_text=True)
        test = resolve_corpus(recipe.test, name="test", require_text=True)
    calibration = _part(calibration, recipe.calibration_minutes, seed)
    dev, test = _part(dev, recipe.dev_minutes, seed), _part(test, recipe.test_minutes, seed)
    warnings = check_roles(calibration, dev, test, allow_overlap=recipe.allow_overlap)
    return Corpora(calibration, dev, test, tuple(warnings))


def _part(corpus: Corpus, minutes: float | None, seed: int) -> Corpus:
    return corpus if minutes is None else corpus.subset(seconds=60 * minutes, seed=seed)


def _divide(corpus: Corpus, seed: int) -> tuple[Corpus, Corpus, Corpus]:
    """Three disjoint parts; `subset` ranks by a hash, so the division depends on names and seed alone."""
    if len(corpus) < MINIMUM_FILES:
        raise DataError(
            f"{corpus.name}: --audio-only needs at least {MINIMUM_FILES} audio files, one for each role"
        )
    first = max(1, round(SHARES[0] * len(corpus)))
    second = min(max(first + 1, round(SHARES[1] * len(corpus))), len(corpus) - 1)
    head, middle = corpus.subset(limit=first, seed=seed), corpus.subset(limit=second, seed=seed)
    early, late = {item.id for item in head}, {item.id for item in middle}
    return (
        Corpus("calibration", head.utterances),
        Corpus("dev", tuple(item for item in middle if item.id not in early)),
        Corpus("test", tuple(item for item in corpus if item.id not in late)),
    )


def _demo() -> Any:
    try:
        return importlib.import_module("speechquant_demo")
    except ImportError as error:
        raise MissingExtraError(
            "the built-in models and speech are missing: install speechquant[demo]"
        ) from error
