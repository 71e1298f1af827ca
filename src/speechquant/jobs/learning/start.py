"""The scales that training starts from."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from speechquant.artifact import load_artifact
from speechquant.data import usable_waves
from speechquant.errors import ArtifactError, RecipeError
from speechquant.numerics import Entry, QuantSpec, ScaleTable, calibrator_options
from speechquant.simulation import activation_table, observe, weight_table

if TYPE_CHECKING:
    from pathlib import Path

    from speechquant.data import Corpus
    from speechquant.jobs.learn_recipe import LearnRecipe
    from speechquant.jobs.progress import Progress
    from speechquant.models import SpeechModel
    from speechquant.numerics import Site

__all__ = ["activation_ranges", "calibration_part", "check_start", "start_table"]

_ANY_BITS = 8


def check_start(model: SpeechModel, recipe: LearnRecipe) -> None:
    """Find out before hours of work whether there are layers, and ranges where the recipe wants them kept.

    Raises:
        RecipeError: no layer is left to quantize.
        ArtifactError: the artifact is none, is of another model, or lacks a layer that is wanted.
    """
    if recipe.method == "float":
        return
    sites = _wanted(model, recipe)
    if recipe.start is not None:
        _kept_ranges(model, sites, recipe.start, _ANY_BITS)


def start_table(model: SpeechModel, train: Corpus, recipe: LearnRecipe, progress: Progress) -> ScaleTable:
    """Weight scales per output channel with the least squared error, and activation scales per tensor.

    Under `--bits w4a16` and the like activations stay in float and have none.

    Raises:
        SpeechquantError: see `activation_ranges`.
    """
    weight_bits, bits = recipe.bit_widths
    weights = weight_table(model, _wanted(model, recipe), bits=weight_bits, method="mse")
    if recipe.weight_only:
        return weights
    return weights.merged(activation_ranges(model, train, recipe, progress, bits))


def activation_ranges(
    model: SpeechModel, train: Corpus, recipe: LearnRecipe, progress: Progress, bits: int
) -> ScaleTable:
    """Activation scales per tensor of the layers that `--include` and `--exclude` leave.

    They are those of the recipe's artifact, for whatever bits it was made, or come from calibration on some
    utterances of the training speech.

    Raises:
        RecipeError: no layer is left to quantize.
        ArtifactError: the artifact is of another model, or does not quantize a layer that is wanted.
        DataError: no utterance can be used for the calibration.
    """
    sites = _wanted(model, recipe)
    if recipe.start is not None:
        return _kept_ranges(model, sites, recipe.start, bits)
    options = (
        {"percentile": recipe.percentile} if "percentile" in calibrator_options(recipe.calibrator) else {}
    )
    part = calibration_part(train, recipe)
    done = 0
    with progress.stage("calibrate") as advance:

        def step() -> None:
            nonlocal done
            done += 1
            advance(done, len(part))

        waves = usable_waves(part, strict=recipe.strict)
        histograms = observe(model, waves, on_wave=step)
    return activation_table(sites, histograms=histograms, calibrator=recipe.calibrator, bits=bits, **options)


def calibration_part(train: Corpus, recipe: LearnRecipe) -> Corpus:
    """The utterances whose activations set the ranges, and by which weights are rounded."""
    return train.subset(limit=recipe.calibration_utterances, seed=recipe.seed)


def _wanted(model: SpeechModel, recipe: LearnRecipe) -> list[Site]:
    def wanted(layer: str) -> bool:
        included = not recipe.include or any(fnmatchcase(layer, pattern) for pattern in recipe.include)
        return included and not any(fnmatchcase(layer, pattern) for pattern in recipe.exclude)

    sites = [site for site in model.sites() if wanted(site.layer)]
    if not sites:
        raise RecipeError(f"--include and --exclude leave no layer; there are {', '.join(model.layers())}")
    return sites


def _kept_ranges(model: SpeechModel, sites: list[Site], folder: Path, bits: int) -> ScaleTable:
    artifact = load_artifact(folder)
    if artifact.info.signatures.model != model.signature:
        raise ArtifactError(
            f"{folder}: was made from another model than {model.folder.name}; give one of this model to --start"
        )
    known, spec = artifact.scale_table(), QuantSpec(bits)
    entries = {}
    for site in sites:
        if site.role != "input":
            continue
        entry = known.get(site.name)
        if entry is None or entry.scale.size != 1:
            raise ArtifactError(
                f"{folder}: has no single scale for {site.name}; give another artifact to --start, or leave "
                f"the layer out with --exclude {site.layer}"
            )
        # The range stays, so that the step grows where there are fewer bits.
        scale = np.float32(entry.scale.reshape(()) * (entry.spec.qmax / spec.qmax))
        entries[site.name] = Entry(site, spec, np.array(scale, np.float32))
    return ScaleTable(entries)
