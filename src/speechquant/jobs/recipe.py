"""What the user asks for: one typed model behind the command line, the Python verb and the YAML file."""

from __future__ import annotations

import math
import re
from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from speechquant.errors import RecipeError
from speechquant.numerics import Granularity, WeightMethod, calibrator_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

__all__ = [
    "CALIBRATORS",
    "Recipe",
    "checked",
    "explain",
    "known_calibrator",
    "load_recipe",
    "parse_bits",
    "read_settings",
]

RoundingMethod = Literal["nearest", "adaround", "gptq"]
"""The names that `learn` registers; its code needs torch."""

_BITS = re.compile(r"w(\d{1,2})a(\d{1,2})")
_MOST_CUTOFFS = 10_000
_ROLES = ("calibration", "dev", "test")
_GROUP_SIZES = (16, 32, 64, 128, 256)
_FLOAT_BITS = 16
_GROUPED_BITS = 4


def parse_bits(bits: str) -> tuple[int, int]:
    """Bits of weights and of activations from `w8a8`; a ValueError says what is impossible."""
    match = _BITS.fullmatch(bits.lower())
    if not match or not all(2 <= int(part) <= 16 for part in match.groups()):  # noqa: PLR2004
        raise ValueError(f"{bits!r} is not possible; write w8a8, w4a8, ...; each from 2 to 16")
    return int(match[1]), int(match[2])


def _cutoff_grid(cutoffs: str) -> tuple[float, ...]:
    try:
        start, stop, step = (float(part) for part in cutoffs.split(":"))
        # A step that does not divide the range ends below `stop`; the margin is for 0.5 / 0.01.
        count = min(math.floor((stop - start) / step + 1e-6), _MOST_CUTOFFS)
        grid = tuple(round(start + k * step, 6) for k in range(count + 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        grid = ()
    if len(grid) > _MOST_CUTOFFS:
        raise ValueError(f"{cutoffs!r} has more than {_MOST_CUTOFFS} of them; choose a larger step")
    if not grid or not 0 <= grid[0] <= grid[-1] < 100:  # noqa: PLR2004
        raise ValueError(f"{cutoffs!r} is not possible; write start:stop:step in percent, such as 0:0.5:0.01")
    return grid


def known_calibrator(name: str) -> str:
    """The name, or a ValueError that lists the names there are."""
    if name not in calibrator_names():
        raise ValueError(f"choose {_listed(calibrator_names())}, not {name!r}")
    return name


def _known_group(size: int) -> int:
    if size not in _GROUP_SIZES:
        raise ValueError(f"choose {_listed([str(size) for size in _GROUP_SIZES])}, not {size}")
    return size


def checked(parse: Callable[[str], object]) -> AfterValidator:
    """Refuses what `parse` refuses and keeps the text."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


CALIBRATORS = {"enum": list(calibrator_names())}


class Recipe(BaseModel):
    """The settings of `speechquant quantize`; field descriptions are the help texts of the command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(description="Model folder, hub id, `demo` or `demo:hubert-mini`.")]
    output: Annotated[Path, Field(description="Folder of the artifact.")]
    calibration: Annotated[str | None, Field(description="Speech whose activations set the ranges.")] = None
    dev: Annotated[str | None, Field(description="Transcribed speech on which choices are made.")] = None
    test: Annotated[str | None, Field(description="Transcribed speech on which the result is reported.")] = (
        None
    )
    audio_only: Annotated[
        str | None,
        Field(
            description="Speech without transcripts, for all three roles; the float model's texts are the references."
        ),
    ] = None
    method: Annotated[
        str,
        AfterValidator(known_calibrator),
        Field(description="How scales are found.", json_schema_extra=CALIBRATORS),
    ] = "stablequant"
    bits: Annotated[
        str,
        checked(parse_bits),
        Field(
            description="Bits of weights and activations, w8a8 to w2a2; w4a16 and other a16 keep activations in float."
        ),
    ] = "w8a8"
    gamma: Annotated[float, Field(gt=0, description="WER points a layer may cost before it is clipped.")] = (
        0.25
    )
    cutoffs: Annotated[
        str,
        checked(_cutoff_grid),
        Field(description="Cut-offs to try, start:stop:step in percent of the largest magnitudes."),
    ] = "0:0.5:0.01"
    per_layer: Annotated[
        bool, Field(description="Search a cut-off for each clipped layer, not one for all.")
    ] = False
    select_bits: Annotated[int, Field(ge=2, le=16, description="Bits while layers are selected.")] = 8
    select_with: Annotated[
        str,
        AfterValidator(known_calibrator),
        Field(description="Calibrator while layers are selected.", json_schema_extra=CALIBRATORS),
    ] = "max"
    select_weights: Annotated[bool, Field(description="Quantize weights too while a layer is tested.")] = (
        False
    )
    percentile: Annotated[
        float, Field(gt=0, le=100, description="Percent of magnitudes that percentile calibration keeps.")
    ] = 99.9
    start_bin: Annotated[
        int | None,
        Field(ge=1, description="First histogram bin that the calibrator tries; by default its own choice."),
    ] = None
    fold: Annotated[
        bool, Field(description="Count clipped values at the last bin instead of dropping them.")
    ] = False
    weights: Annotated[
        WeightMethod | None,
        Field(
            description="How weight ranges are found; by default mse for groups, max otherwise.",
            json_schema_extra={"enum": list(get_args(WeightMethod))},
        ),
    ] = None
    weight_granularity: Annotated[
        Granularity | None,
        Field(
            description="What shares a weight scale; by default groups up to w4a16, else each output channel.",
            json_schema_extra={"enum": list(get_args(Granularity))},
        ),
    ] = None
    weight_group: Annotated[
        int, AfterValidator(_known_group), Field(description="Weights in a group: 16, 32, 64, 128 or 256.")
    ] = 64
    rounding: Annotated[
        RoundingMethod, Field(description="How weights are rounded: one by one, or so that outputs stay.")
    ] = "nearest"
    include: Annotated[
        tuple[str, ...], Field(description="Quantize only layers that match a pattern, such as 'encoder.*'.")
    ] = ()
    exclude: Annotated[tuple[str, ...], Field(description="Keep layers that match a pattern in float.")] = ()
    normalizer: Annotated[
        str | None, Field(description="Text normaliser for WER; by default what suits the model's output.")
    ] = None
    calibration_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of the calibration speech.")
    ] = None
    dev_minutes: Annotated[float | None, Field(gt=0, description="Use a random part of the dev speech.")] = (
        None
    )
    test_minutes: Annotated[
        float | None, Field(gt=0, description="Use a random part of the test speech.")
    ] = None
    seed: Annotated[int, Field(description="Seed of random parts and of the bootstrap.")] = 0
    threads: Annotated[int | None, Field(ge=1, description="CPU threads; all cores by default.")] = None
    naive: Annotated[
        bool, Field(description="Also export and test naive max calibration, for comparison.")
    ] = False
    report_audio: Annotated[
        bool,
        Field(
            description="Embed recordings of changed test utterances in report.html: who gets it can play them."
        ),
    ] = False
    allow_overlap: Annotated[bool, Field(description="Accept speech that serves in two roles.")] = False
    strict: Annotated[
        bool, Field(description="Stop at the first unusable utterance instead of skipping it.")
    ] = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        roles = {"--calibration": self.calibration, "--dev": self.dev, "--test": self.test}
        given = [flag for flag, value in roles.items() if value is not None]
        if self.audio_only is not None and given:
            raise ValueError(f"--audio-only and {given[0]} exclude each other")
        if self.audio_only is None and len(given) < len(roles):
            missing = [flag for flag in roles if flag not in given]
            raise ValueError(f"give {', '.join(missing)} too, or --audio-only for speech without transcripts")
        return self

    @property
    def bit_widths(self) -> tuple[int, int]:
        """Bits of weights and of activations."""
        return parse_bits(self.bits)

    @property
    def weight_only(self) -> bool:
        """Whether activations stay in float: a16, but for w16a16, which puts both on a grid of 16 bits."""
        weights, activations = self.bit_widths
        return activations == _FLOAT_BITS and weights < _FLOAT_BITS

    @property
    def scales_by(self) -> str:
        """The method that finds the scales of activations, or that there are none."""
        return "weight-only" if self.weight_only else self.method

    @property
    def weight_form(self) -> tuple[Granularity, int | None]:
        """What shares a weight scale, and the size of groups."""
        grouped = self.weight_only and self.bit_widths[0] <= _GROUPED_BITS
        granularity: Granularity = self.weight_granularity or ("group" if grouped else "channel")
        return granularity, self.weight_group if granularity == "group" else None

    @property
    def weight_method(self) -> WeightMethod:
        """How weight ranges are found."""
        return self.weights or ("mse" if self.weight_form[0] == "group" else "max")

    @property
    def cutoff_grid(self) -> tuple[float, ...]:
        """The candidates of `cutoffs`, in percent, both ends included."""
        return _cutoff_grid(self.cutoffs)

    def to_yaml(self, command: str) -> str:
        """The settings as YAML that opens with the command that repeats the run."""
        values = self.model_dump(mode="json")
        return f"# {command}\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def load_recipe(path: Path | None = None, **settings: Any) -> Recipe:
    """A recipe from a YAML file, from keyword settings, or both; settings that are None do not count.

    Settings override the file, also where they exclude what it says: `audio_only` its three roles, a role its
    `audio_only`.

    Raises:
        RecipeError: the file cannot be read, or a setting is unknown or out of range.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    excluded = _ROLES if "audio_only" in given else ("audio_only",) if given.keys() & set(_ROLES) else ()
    kept = {
        name: value for name, value in (read_settings(path) if path else {}).items() if name not in excluded
    }
    values = {**kept, **given}
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(explain(error, path, given.keys())) from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a YAML file.

    Raises:
        RecipeError: it cannot be read, or is no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a YAML mapping of settings, such as `bits: w8a8`")
    return values


def explain(error: ValidationError, path: Path | None, given: Collection[str]) -> str:
    """One line that names the flag, or the setting with the file that it stands in."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and (not path or name in given):
        return f"{name}: no such setting"
    message = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if first["type"] == "literal_error":
        expected = first["ctx"]["expected"].replace("'", "")
        message = f"choose {expected}, not {first['input']!r}"
    asked = {name} if name else {"audio_only", *_ROLES}
    if path and first["type"] != "missing" and not asked & set(given):
        return f"{path}: {name}: {message}" if name else f"{path}: {message}"
    flag = name if name == "model" else "--" + name.replace("_", "-")
    return f"{flag}: {message}" if name else message


_MESSAGES = {"extra_forbidden": "no such setting", "missing": "is missing"}
