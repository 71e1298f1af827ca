"""The speech of a training run: to learn from, to choose by, to report on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechquant.data import Corpus, check_roles, with_text
from speechquant.errors import DataError
from speechquant.jobs.sources import resolve_corpus

if TYPE_CHECKING:
    from speechquant.jobs.learn_recipe import LearnRecipe

__all__ = ["Roles", "open_roles"]


@dataclass(frozen=True, slots=True)
class Roles:
    """Data sets without a recording in common; `check` is the part of `dev` that is used while training."""

    train: Corpus
    dev: Corpus
    check: Corpus
    test: Corpus | None
    warnings: tuple[str, ...]

    @property
    def reported(self) -> Corpus:
        """What the figures of the result come from: `test`, or `dev` where there is no test set."""
        return self.test or self.dev


def open_roles(recipe: LearnRecipe) -> Roles:
    """The recipe's speech, cut to the minutes asked for.

    Raises:
        DataError: a data set is not there, or malformed; it lacks the transcripts that its role needs;
            recordings serve in two roles.
    """
    seed, learns_text = recipe.seed, recipe.task_weight > 0 and recipe.method != "allocate"
    train = _part(resolve_corpus(recipe.train, name="train"), recipe.train_minutes, seed)
    dev = _part(resolve_corpus(recipe.dev, name="dev"), recipe.dev_minutes, seed)
    test = None
    if recipe.test is not None:
        test = _part(resolve_corpus(recipe.test, name="test"), recipe.test_minutes, seed)
    for corpus in (*([train] if learns_text else []), dev, *([test] if test else [])):
        _check_text(corpus, recipe)
    warnings = check_roles(None, dev, test, train=train, allow_overlap=recipe.allow_overlap)
    return Roles(train, dev, _part(dev, recipe.check_minutes, seed), test, tuple(warnings))


def _check_text(corpus: Corpus, recipe: LearnRecipe) -> None:
    if not corpus.has_text:
        if corpus.name != "train":
            advice = "they are needed to measure the WER"
        elif recipe.method == "float":
            advice = "the float control learns from nothing else"
        else:
            advice = "or do without them in the training by --task-weight 0"
        raise DataError(
            f"{getattr(recipe, corpus.name)}: the {corpus.name} set has no transcripts; add .txt files or a column "
            f"named text, {advice}"
        )
    with_text(corpus, corpus.name, strict=recipe.strict)


def _part(corpus: Corpus, minutes: float | None, seed: int) -> Corpus:
    return corpus if minutes is None else corpus.subset(seconds=60 * minutes, seed=seed)
