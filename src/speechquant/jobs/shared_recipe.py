"""What all recipes have in common: the model, the speech in its roles, how a run goes, and their files."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from speechquant.errors import RecipeError
from speechquant.jobs.recipe_checks import checked, known_normalizer, parse_cutoffs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "LARGEST_SEED",
    "ROLES",
    "ExcludedLayers",
    "IncludedLayers",
    "RoundingMethod",
    "SearchRecipe",
    "SharedRecipe",
]

ROLES = ("calibration", "dev", "test")

LARGEST_SEED = 2**32 - 1
"""numpy takes none beyond, torch and random do."""

RoundingMethod = Literal["nearest", "adaround", "gptq"]
"""The names that `learn` registers; its code needs torch."""

IncludedLayers = Annotated[
    tuple[str, ...], Field(description="Quantize only layers that match a pattern, such as 'encoder.*'.")
]
ExcludedLayers = Annotated[tuple[str, ...], Field(description="Keep layers that match a pattern in float.")]


class SharedRecipe(BaseModel):
    """The settings that every command with a recipe has; a command may describe one in its own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(description="Model folder, hub id, `demo` or `demo:hubert-mini`.")]
    output: Annotated[Path, Field(description="Folder of the result.")]
    test: Annotated[str | None, Field(description="Transcribed speech on which the result is reported.")] = (
        None
    )
    dev_minutes: Annotated[float | None, Field(gt=0, description="Use a random part of the dev speech.")] = (
        None
    )
    test_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of the test speech.")
    ] = None
    normalizer: Annotated[
        str | None,
        AfterValidator(known_normalizer),
        Field(description="Text normaliser for WER; by default what suits the model's output."),
    ] = None
    allow_overlap: Annotated[bool, Field(description="Accept speech that serves in two roles.")] = False
    strict: Annotated[
        bool, Field(description="Stop at the first unusable utterance instead of skipping it.")
    ] = False
    percentile: Annotated[
        float, Field(gt=0, le=100, description="Percent of magnitudes that percentile calibration keeps.")
    ] = 99.9
    seed: Annotated[
        int, Field(ge=0, le=LARGEST_SEED, description="Seed of random parts and of the bootstrap.")
    ] = 0
    threads: Annotated[int | None, Field(ge=1, description="CPU threads; all cores by default.")] = None

    @classmethod
    def resolve(
        cls, path: Path | None, settings: Mapping[str, Any], *, excluded: Collection[str] = ()
    ) -> Self:
        """A recipe from a YAML file, from settings that override it, or both; settings that are None do not count.

        Args:
            path: the file, if there is one.
            settings: fields by name.
            excluded: fields of the file that do not count.

        Raises:
            RecipeError: the file cannot be read, or a setting is unknown or out of range.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        kept = {} if path is None else _read(path)
        values = {name: value for name, value in kept.items() if name not in excluded} | given
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(_explain(error, path, given.keys())) from error

    def to_yaml(self, command: str) -> str:
        """The settings as YAML that opens with the command that repeats the run."""
        values = self.model_dump(mode="json")
        return f"# {command}\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


class SearchRecipe(SharedRecipe):
    """The settings of commands that calibrate, select layers and choose a cut-off."""

    calibration: Annotated[str | None, Field(description="Speech whose activations set the ranges.")] = None
    dev: Annotated[str | None, Field(description="Transcribed speech on which choices are made.")] = None
    calibration_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of the calibration speech.")
    ] = None
    gamma: Annotated[float, Field(gt=0, description="WER points a layer may cost before it is clipped.")] = (
        0.25
    )
    cutoffs: Annotated[
        str,
        checked(parse_cutoffs),
        Field(description="Cut-offs to try, start:stop:step in percent of the largest magnitudes."),
    ] = "0:0.5:0.01"
    full_search: Annotated[
        bool, Field(description="Evaluate also those candidates to the end that have clearly lost.")
    ] = False

    @property
    def cutoff_grid(self) -> tuple[float, ...]:
        """The candidates of `cutoffs`, in percent, both ends included."""
        return parse_cutoffs(self.cutoffs)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a YAML mapping of settings, such as `bits: w8a8`")
    return values


def _explain(error: ValidationError, path: Path | None, given: Collection[str]) -> str:
    """One line that names the flag, or the setting with the file that it stands in."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and (not path or name in given):
        return f"{name}: no such setting"
    message = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error":
        expected = first["ctx"]["expected"].replace("'", "")
        message = f"choose {expected}, not {first['input']!r}"
    asked = {name} if name else {"audio_only", *ROLES}
    if path and first["type"] != "missing" and not asked & set(given):
        return f"{path}: {name}: {message}" if name else f"{path}: {message}"
    flag = name if name == "model" else "--" + name.replace("_", "-")
    return f"{flag}: {message}" if name else message


_MESSAGES = {"extra_forbidden": "no such setting", "missing": "is missing"}
