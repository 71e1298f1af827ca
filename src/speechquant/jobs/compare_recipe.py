"""What the user asks of a comparison: one typed model behind the command line, the Python verb and the YAML file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as validator

from speechquant.errors import RecipeError
from speechquant.jobs.recipe import Recipe
from speechquant.jobs.recipe_checks import known_calibrator, leaves_activations, parse_bits
from speechquant.jobs.shared_recipe import RoundingMethod, SearchRecipe
from speechquant.jobs.sources import DEMO_MODELS
from speechquant.numerics import calibrator_names

__all__ = ["LAYERS", "CompareRecipe", "Method", "RowPlan", "compare_recipes", "load_compare_recipe"]

LAYERS: dict[str, tuple[str, ...]] = {
    "all": (),
    "transformer": ("encoder.*", "decoder.*", "transformer.*", "head", "lm_head"),
}
"""Which layers a row quantizes, as patterns of `include`."""

Form = Literal["plain", "layer-adaptive", "stablequant"]

ADAPTIVE, PLAIN = "adaptive-", "plain-"
# Max on the selected layers is max on all, and StableQuant is layer-adaptive by itself.
_ADAPTIVE_CALIBRATORS = tuple(name for name in calibrator_names() if name not in ("max", "stablequant"))
_ROUNDINGS = tuple(name for name in get_args(RoundingMethod) if name != "nearest")
_METHOD = re.compile(rf"({ADAPTIVE}|{PLAIN})?([a-z]+)(?::([0-9.]+))?(?:\+([a-z]+))?")
_OF_ROWS = (
    "bits",
    "layers",
    "gamma",
    "cutoffs",
    "full_search",
    "percentile",
    "search_minutes",
)
_DEMO_ROLES = {"calibration": "demo:calibration", "dev": "demo:dev", "test": "demo:test"}
# Its speed is that of all methods. The largest values of some models are so far out that 8 bits up to them leave
# nothing of the rest, and a decoder that hears nothing writes nothing, which is quick.
_STAND_IN = "percentile:99.9"
_GRAMMAR = f"write max, percentile:99.99, stablequant, {ADAPTIVE}mse, mse+adaround or the like"


@dataclass(frozen=True, slots=True)
class Method:
    """How one row is quantized, from a text such as `adaptive-percentile:99.99+gptq`.

    `form` says which kind of method it is: "plain" treats all layers alike, others select some. `percentile` is None
    where the recipe's counts.
    """

    text: str
    calibrator: str
    form: Form
    percentile: float | None
    rounding: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """A ValueError says what is impossible."""
        match = _METHOD.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no method; {_GRAMMAR}")
        prefix, calibrator, percentile, rounding = match.groups()
        known_calibrator(calibrator)
        if prefix == PLAIN and calibrator != "stablequant":
            raise ValueError(
                f"{text!r} is no method; {PLAIN} goes with stablequant, the others are plain without it"
            )
        if prefix == ADAPTIVE and calibrator not in _ADAPTIVE_CALIBRATORS:
            raise ValueError(
                f"{text!r} is no method; {ADAPTIVE} goes with {', '.join(_ADAPTIVE_CALIBRATORS)}"
            )
        if rounding and rounding not in _ROUNDINGS:
            raise ValueError(f"{text!r} is no method; after + stands {' or '.join(_ROUNDINGS)}")
        if percentile and (
            calibrator != "percentile" or percentile.count(".") > 1 or not _is_share(percentile)
        ):
            raise ValueError(f"{text!r} is no method; percentile alone takes a number above 0 and up to 100")
        share = float(percentile) if percentile else None
        form: Form = "layer-adaptive" if prefix else "plain"
        if calibrator == "stablequant":
            form = "plain" if prefix else "stablequant"
        return cls(text, calibrator, form, share, rounding or "nearest")


def _is_share(text: str) -> bool:
    return text != "." and 0 < float(text) <= 100  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One row: a method at one width on some of the layers."""

    method: Method
    bits: str
    layers: str

    @property
    def name(self) -> str:
        """For people, and unique among the rows of a recipe."""
        return f"{self.method.text} {self.bits}" + ("" if self.layers == "all" else f" {self.layers}")

    @property
    def selects(self) -> bool:
        """Whether layers are selected for it."""
        return self.method.form != "plain" and not leaves_activations(self.bits)

    @property
    def tries_cutoffs(self) -> bool:
        """Whether a cut-off is chosen for it."""
        return self.method.calibrator == "stablequant" and not leaves_activations(self.bits)

    @property
    def searches(self) -> bool:
        """Whether anything is chosen on dev."""
        return self.selects or self.tries_cutoffs


def _split(value: Any, *, lower: bool = False) -> Any:
    """Items of a list, divided at commas too, without repetitions."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return value
    items = (part.strip() for item in value for part in (item.lower() if lower else item).split(","))
    return tuple(dict.fromkeys(part for part in items if part))


def _each(parse: Any) -> AfterValidator:
    def check(items: tuple[str, ...]) -> tuple[str, ...]:
        for item in items:
            parse(item)
        return items

    return AfterValidator(check)


def _layer_group(text: str) -> None:
    if text not in LAYERS:
        raise ValueError(f"choose {' or '.join(LAYERS)}, not {text!r}")


def _artifact_row(text: str) -> None:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder.strip()):
        raise ValueError(f"{text!r} is not possible; write NAME=FOLDER")


class _RowRecipe(Recipe):
    """The settings of rows, which may not need all roles of speech; `CompareRecipe` knows which."""

    @validator(mode="after")
    def _consistent(self) -> Self:
        return self


class CompareRecipe(SearchRecipe):
    """The settings of `speechquant compare`; field descriptions are the help texts of the command."""

    output: Annotated[Path, Field(description="Folder of the tables and figures.")]
    test: Annotated[str | None, Field(description="Transcribed speech for the final rows alone.")] = None
    methods: Annotated[
        tuple[str, ...],
        BeforeValidator(_split),
        _each(Method.parse),
        Field(description="Methods with commas between: max, adaptive-mse, stablequant, mse+adaround ..."),
    ] = ()
    bits: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda value: _split(value, lower=True)),
        _each(parse_bits),
        Field(min_length=1, description="Bits of weights and activations, such as w8a8,w6a6."),
    ] = ("w8a8",)
    layers: Annotated[
        tuple[str, ...],
        BeforeValidator(_split),
        _each(_layer_group),
        Field(min_length=1, description="Quantize all layers, the transformer alone, or both in turn."),
    ] = ("all",)
    row: Annotated[
        tuple[str, ...],
        _each(_artifact_row),
        Field(
            description="NAME=FOLDER: an artifact or a float model as a row of its own; may be repeated, and without "
            "--methods needs --test alone."
        ),
    ] = ()
    figures: Annotated[
        bool, Field(description="Draw how large activations and weights are (Figure 1 of the paper).")
    ] = False
    latency: Annotated[
        bool,
        Field(
            description="Measure speed on a quiet machine: float engines, every width of --bits, artifacts "
            "(Figure 2 of the paper)."
        ),
    ] = False
    search_minutes: Annotated[
        float | None,
        Field(gt=0, description="Choose on a random part of dev; final rows are always scored on all of it."),
    ] = None

    @validator(mode="before")
    @classmethod
    def _built_in_speech(cls, values: Any) -> Any:
        """The built-in models have built-in speech, unless the user brings some."""
        if not isinstance(values, dict) or values.get("model") not in DEMO_MODELS:
            return values
        if values.keys() & _DEMO_ROLES.keys():
            return values
        measured = values.get("latency") and not values.get("row")
        chosen = values.get("methods") or values.get("figures") or measured
        return values | (_DEMO_ROLES if chosen else {"test": _DEMO_ROLES["test"]})

    @validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.methods or self.row or self.figures or self.latency):
            raise ValueError("nothing to compare; give --methods, --row, --figures, --latency or --recipe")
        needed = _DEMO_ROLES if self.makes_rows else ("test",)
        missing = [f"--{role}" for role in needed if getattr(self, role) is None]
        if missing:
            raise ValueError(f"give {', '.join(missing)} too")
        vain = [name for name in _OF_ROWS if getattr(self, name) != type(self).model_fields[name].default]
        if vain and not self.makes_rows:
            raise ValueError(
                f"--{vain[0].replace('_', '-')} is for rows that are made here; give --methods too"
            )
        names = [name for name, _ in self.artifacts]
        if len(set(names)) < len(names):
            raise ValueError("--row: two rows have one name")
        return self

    @property
    def makes_rows(self) -> bool:
        """Whether anything is calibrated and chosen here; rows that were brought along need test speech alone."""
        return bool(self.methods or self.figures or (self.latency and not self.row))

    @property
    def plans(self) -> tuple[RowPlan, ...]:
        """All rows that are quantized here: every method at every width on each of the choices of layers."""
        methods = [Method.parse(text) for text in self.methods]
        return tuple(
            RowPlan(method, bits, layers)
            for layers in self.layers
            for bits in self.bits
            for method in methods
        )

    @property
    def widths(self) -> tuple[RowPlan, ...]:
        """One row for each of the bits on each of the choices of layers: what decides how fast rows are."""
        if not self.makes_rows:
            return ()
        method = Method.parse(_STAND_IN)
        return tuple(RowPlan(method, bits, layers) for layers in self.layers for bits in self.bits)

    @property
    def artifacts(self) -> tuple[tuple[str, Path], ...]:
        """Names and folders of `row`."""
        pairs = (text.partition("=") for text in self.row)
        return tuple((name.strip(), Path(folder.strip()).expanduser()) for name, _, folder in pairs)

    def settings(self, plan: RowPlan | None = None) -> Recipe:
        """The settings under which `quantize` would make one row; without a plan what all rows share.

        Rows are the methods as published: no layer is left in float because its model is bad.
        """
        values = {name: getattr(self, name) for name in SearchRecipe.model_fields} | {"max_drop": math.inf}
        if not self.makes_rows:
            values["calibration"] = None
        if plan is not None:
            values |= {
                "method": plan.method.calibrator,
                "rounding": plan.method.rounding,
                "bits": plan.bits,
                "include": LAYERS[plan.layers],
                "percentile": plan.method.percentile or self.percentile,
            }
        return _RowRecipe(**values)


def compare_recipes() -> dict[str, Path]:
    """The shipped recipes by name."""
    folder = Path(str(files("speechquant.jobs") / "recipes" / "compare"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_compare_recipe(recipe: str | Path | None = None, **settings: Any) -> CompareRecipe:
    """A recipe from a shipped one by name, from a YAML file, from keyword settings that override it, or both.

    Raises:
        RecipeError: no such recipe, the file cannot be read, or a setting is unknown or out of range.
    """
    path = None if recipe is None else compare_recipes().get(str(recipe), Path(recipe))
    if path is not None and not path.exists():
        names = ", ".join(compare_recipes())
        raise RecipeError(f"{path}: no such recipe; give a YAML file or one of {names}")
    return CompareRecipe.resolve(path, settings)
