"""YAML files into checked models; what is wrong is said with its line, and the nearest valid key."""

import re
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from xai.core.errors import ConfigError, nearest
from xai.core.yaml_files import Loc, YamlFile, read_yaml

Model = TypeVar("Model", bound=BaseModel)
_INSTANCE = re.compile(r" or instance of \w+")
_LONGEST = 100  # characters of a value in a message


def read_model(
    path: str | Path, model: type[Model], what: str, hint: str, unread: Collection[str] = ()
) -> tuple[Model, YamlFile]:
    """Read a YAML file into a model; see `read_yaml`.

    Raises:
        ConfigError: It cannot be read, or holds an unknown key or a wrong value; says file:line, and the
            nearest valid key. All that is wrong is said at once.
    """
    file = read_yaml(path, what, hint, unread)
    checked, faults = _checked(file.content, model)
    if checked is not None:
        return checked, file
    wrong = sorted((file.line(loc), text) for loc, text in faults)
    raise ConfigError("\n".join(dict.fromkeys(f"{file.path}:{line}: {text}" for line, text in wrong)))


def check_mapping(content: Mapping[str, Any], model: type[Model], what: str) -> Model:
    """What a YAML file of this content would give; `what` names it in errors.

    Raises:
        ConfigError: It holds an unknown key or a wrong value. All that is wrong is said at once.
    """
    checked, faults = _checked(_plain(content), model)
    if checked is not None:
        return checked
    raise ConfigError("\n".join(dict.fromkeys(f"{what}: {text}" for _, text in faults)))


def _plain(value: Any) -> Any:
    """The same of what YAML knows: mappings and lists, paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _checked(content: dict[str, Any], model: type[Model]) -> tuple[Model | None, list[tuple[Loc, str]]]:
    """The model, or None and what is wrong, with its place."""
    try:
        checked = model.model_validate(content)
    except ValidationError as error:
        errors = _innermost(error.errors(include_url=False))
        return None, [(one["loc"], _message(model, one["loc"], one)) for one in errors]
    wrong = [
        (loc, f"{_written(loc)}: a number is needed; got {str(given).lower()}.")
        for loc, given in _booleans_as_numbers(content, checked, ())
    ]
    return (None if wrong else checked), wrong


def _booleans_as_numbers(given: Any, read: Any, loc: Loc) -> Iterator[tuple[Loc, bool]]:
    """Where `true` became 1: Python takes one for the other, and no person means it."""
    if isinstance(given, bool):
        if isinstance(read, int | float) and not isinstance(read, bool):
            yield loc, given
    elif isinstance(given, dict):
        for key, value in given.items():
            inner = getattr(read, key, None) if isinstance(read, BaseModel) else None
            yield from _booleans_as_numbers(value, inner, (*loc, key))
    elif isinstance(given, list) and isinstance(read, tuple | list):
        for index, (value, inner) in enumerate(zip(given, read, strict=False)):
            yield from _booleans_as_numbers(value, inner, (*loc, index))


def _message(model: type[BaseModel], loc: Loc, error: Any) -> str:
    *parents, key = loc or ("",)
    if error["type"] == "extra_forbidden":
        inside = f" in {_written(parents)}" if parents else ""
        return f"unknown key {key!r}{inside}. {nearest(str(key), _keys(model, parents))}"
    where = f"{_written(loc)}: " if loc else ""
    if error["type"] == "missing":
        return f"{where}is missing."
    text = error["msg"].removeprefix("Value error, ")
    text = _INSTANCE.sub("", text).replace("valid tuple", "list").replace("valid dictionary", "mapping")
    text = text.replace("Tuple", "List").replace(" after validation", "")
    if isinstance(error["input"], dict):
        return f"{where}{text}."
    quoted = error["type"] in ("string_type", "path_type") and isinstance(error["input"], bool | int | float)
    return f"{where}{text}; got {_short(error['input'])}." + (" Quote it if it is text." if quoted else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _innermost(errors: list[Any]) -> list[Any]:
    """Without "too few items" where the items themselves are wrong."""
    places = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(
            len(loc) > len(error["loc"]) and loc[: len(error["loc"])] == error["loc"] for loc in places
        )
    ]


def _written(loc: typing.Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def _keys(model: type[BaseModel], loc: typing.Sequence[str | int]) -> list[str]:
    """Valid keys of the mapping at `loc`, without those inherited that a model refuses (`refused_keys`)."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    refused = getattr(model, "refused_keys", ())
    return [name for name in model.model_fields if name not in refused]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
