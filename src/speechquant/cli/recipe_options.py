"""Command-line options from the fields of the recipe, so that neither knows a setting the other does not."""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from speechquant.jobs.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = ["ModelArgument", "RecipeOption", "recipe_options"]

ModelArgument = Annotated[str | None, typer.Argument(help=Recipe.model_fields["model"].description)]
RecipeOption = Annotated[
    Path | None, typer.Option(help="YAML file of settings; options given here override it.")
]

_SHORT = {"output": "-o"}
_NOT_OPTIONS = {"model"}
_SPEECH = (
    "train calibration dev test audio_only normalizer train_minutes calibration_minutes dev_minutes test_minutes "
    "allow_overlap strict"
)
_METHOD = (
    "method bits gamma cutoffs full_search per_layer max_drop select_bits select_with select_weights percentile "
    "start_bin fold"
)
_WEIGHTS = "weights weight_granularity weight_group rounding include exclude"
_BUDGET = (
    "average_bits megabytes ratio bit_penalty code candidates rule activation_bits unit search_share bit_start "
    "bit_learning_rate gumbel_start gumbel_end second_pass criterion probe_utterances"
)
_TRAINING = (
    "start calibrator calibration_utterances step_sizes steps batch learning_rate scale_learning_rate warmup "
    "weight_decay clip task_weight distillation temperature spec_augment precision maximum_seconds batch_seconds "
    "gradient_checkpointing evaluate_every check_minutes patience"
)
_PANELS = {
    name: panel
    for names, panel in (
        (_SPEECH, "Speech"),
        (_METHOD, "Method"),
        (_WEIGHTS, "Layers and weights"),
        (_BUDGET, "Mixed precision"),
        (_TRAINING, "Training"),
    )
    for name in names.split()
}
"""Which options a help page shows together, in its order."""
_ORDER = (*_PANELS, "seed", "threads")


def recipe_options(command: Callable[..., None], recipe: type[BaseModel] = Recipe) -> Callable[..., None]:
    """Give a command that takes `**settings` one option per field of `recipe`.

    Options that are not given are None, so that they do not override a recipe file.
    """
    own = [
        p
        for p in Signature.from_callable(command, eval_str=True).parameters.values()
        if p.kind != p.VAR_KEYWORD
    ]
    known = recipe.model_fields
    names = (*(name for name in known if name not in _ORDER), *(name for name in _ORDER if name in known))
    fields = [_option(name, known[name]) for name in names if name not in _NOT_OPTIONS]

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        # The shell gives lists, and recipes are frozen.
        command(*args, **{name: tuple(v) if isinstance(v, list) else v for name, v in kwargs.items()})

    wrapper.__signature__ = Signature([*own, *fields])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {}
    return wrapper


def _option(name: str, field: FieldInfo) -> Parameter:
    flag = "--" + name.replace("_", "-")
    given = _cli_type(field.annotation)
    names = (f"{flag}/--no-{flag[2:]}",) if given is bool else (flag, *filter(None, [_SHORT.get(name)]))
    choices = "|".join(_choices(field)) or None
    option = typer.Option(
        *names, help=_help(field), metavar=choices, show_default=False, rich_help_panel=_PANELS.get(name)
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[given | None, option])


def _help(field: FieldInfo) -> str:
    if field.is_required() or field.default in (None, (), False):
        return field.description or ""
    return f"{field.description} [default: {field.default}]".replace("[", r"\[")


def _choices(field: FieldInfo) -> tuple[str, ...]:
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    extra = field.json_schema_extra
    return tuple(str(name) for name in extra["enum"]) if isinstance(extra, dict) else ()  # type: ignore[union-attr]


def _cli_type(annotation: Any) -> Any:
    """The type that typer parses: without None, lists in place of tuples; the recipe checks choices itself."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal:
        return str
    return annotation
