"""What the user asks for: one typed model behind the command line, the Python verb and the YAML file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from speechquant.jobs.recipe_checks import (
    CalibratorName,
    checked,
    known_group,
    leaves_activations,
    parse_bits,
)
from speechquant.jobs.shared_recipe import (
    ROLES,
    ExcludedLayers,
    IncludedLayers,
    RoundingMethod,
    SearchRecipe,
)
from speechquant.numerics import Granularity, WeightMethod

__all__ = ["Recipe", "load_recipe"]

_GROUPED_BITS = 4


class Recipe(SearchRecipe):
    """The settings of `speechquant quantize`; field descriptions are the help texts of the command."""

    output: Annotated[Path, Field(description="Folder of the artifact.")]
    audio_only: Annotated[
        str | None,
        Field(
            description="Speech without transcripts, for all three roles; the float model's texts are the references."
        ),
    ] = None
    method: Annotated[CalibratorName, Field(description="How scales are found.")] = "stablequant"
    bits: Annotated[
        str,
        checked(parse_bits),
        Field(
            description="Bits of weights and activations, w8a8 to w2a2; w4a16 and other a16 keep activations in float."
        ),
    ] = "w8a8"
    per_layer: Annotated[
        bool, Field(description="Search a cut-off for each clipped layer, not one for all.")
    ] = False
    max_drop: Annotated[
        float,
        Field(
            ge=0,
            description="Leave clipped layers in float while dev WER is more points above float; inf never does. "
            "Only for stablequant with quantized activations.",
        ),
    ] = 0.5
    select_bits: Annotated[int, Field(ge=2, le=16, description="Bits while layers are selected.")] = 8
    select_with: Annotated[CalibratorName, Field(description="Calibrator while layers are selected.")] = "max"
    select_weights: Annotated[bool, Field(description="Quantize weights too while a layer is tested.")] = (
        False
    )
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
        int, AfterValidator(known_group), Field(description="Weights in a group: 16, 32, 64, 128 or 256.")
    ] = 64
    rounding: Annotated[
        RoundingMethod | None,
        Field(
            description="How weights are rounded: one by one (nearest), or so that outputs stay; by default gptq up to "
            "w4a16, else nearest.",
            json_schema_extra={"enum": list(get_args(RoundingMethod))},
        ),
    ] = None
    include: IncludedLayers = ()
    exclude: ExcludedLayers = ()
    naive: Annotated[
        bool, Field(description="Also export and test naive max calibration, for comparison.")
    ] = False
    report_audio: Annotated[
        bool,
        Field(
            description="Embed recordings of changed test utterances in report.html: who gets it can play them."
        ),
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
        """Whether activations stay in float."""
        return leaves_activations(self.bits)

    @property
    def scales_by(self) -> str:
        """The method that finds the scales of activations, or that there are none."""
        return "weight-only" if self.weight_only else self.method

    @property
    def weight_form(self) -> tuple[Granularity, int | None]:
        """What shares a weight scale, and the size of groups."""
        granularity: Granularity = self.weight_granularity or ("group" if self._few_bits else "channel")
        return granularity, self.weight_group if granularity == "group" else None

    @property
    def weight_method(self) -> WeightMethod:
        """How weight ranges are found."""
        return self.weights or ("mse" if self.weight_form[0] == "group" else "max")

    @property
    def rounding_method(self) -> RoundingMethod:
        """How weights are rounded."""
        return self.rounding or ("gptq" if self._few_bits else "nearest")

    @property
    def _few_bits(self) -> bool:
        """Weights of at most 4 bits, activations in float."""
        return self.weight_only and self.bit_widths[0] <= _GROUPED_BITS


def load_recipe(path: Path | None = None, **settings: Any) -> Recipe:
    """A recipe from a YAML file, from keyword settings, or both; settings that are None do not count.

    Settings override the file, also where they exclude what it says: `audio_only` its three roles, a role its
    `audio_only`.

    Raises:
        RecipeError: the file cannot be read, or a setting is unknown or out of range.
    """
    given = {name for name, value in settings.items() if value is not None}
    excluded = ROLES if "audio_only" in given else ("audio_only",) if given & set(ROLES) else ()
    return Recipe.resolve(path, settings, excluded=excluded)
