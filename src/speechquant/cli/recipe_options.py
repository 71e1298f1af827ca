"""Command-line options from the fields of the recipe, so that neither knows a setting the other does not."""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, Signature
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from speechquant.jobs.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = ["recipe_options"]

_SHORT = {"output": "-o"}
_NOT_OPTIONS = {"model"}
_PANELS = {
    "calibration dev test audio_only calibration_minutes dev_minutes test_minutes": "Speech",
    "normalizer allow_overlap strict": "Speech",
    "method bits gamma cutoffs per_layer percentile start_bin fold": "Method",
    "select_bits select_with select_weights": "Method",
    "include exclude weights weight_granularity weight_group rounding": "Layers and weights",
}


def recipe_options(command: Callable[..., None], recipe: type[BaseModel] = Recipe) -> Callable[..., None]:
    """Give a command that takes `**settings` one option per field of `recipe`.

    Options that are not given are None, so that they do not override a recipe file.
    """
    own = [
        p
        for p in Signature.from_callable(command, eval_str=True).parameters.values()
        if p.kind != p.VAR_KEYWORD
    ]
    fields = [_option(name, field) for name, field in recipe.model_fields.items() if name not in _NOT_OPTIONS]

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    wrapper.__signature__ = Signature([*own, *fields])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {}
    return wrapper


def _option(name: str, field: FieldInfo) -> Parameter:
    flag = "--" + name.replace("_", "-")
    given = _cli_type(field.annotation)
    names = (f"{flag}/--no-{flag[2:]}",) if given is bool else (flag, *filter(None, [_SHORT.get(name)]))
    panel = next((title for fields, title in _PANELS.items() if name in fields.split()), None)
    choices = "|".join(_choices(field)) or None
    option = typer.Option(
        *names, help=_help(field), metavar=choices, show_default=False, rich_help_panel=panel
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
