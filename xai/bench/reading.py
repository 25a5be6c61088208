"""From a YAML file to a checked configuration; what is wrong is said with its line."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from xai.bench.config import BenchmarkConfig
from xai.bench.names import problems
from xai.core import ConfigError, nearest

Loc = tuple[str | int, ...]
_INSTANCE = re.compile(r" or instance of \w+")


def read_benchmark(path: str | Path) -> BenchmarkConfig:
    """Read and check a benchmark's YAML; relative paths in it are taken from the file's folder.

    Raises:
        ConfigError: When the file is missing, no YAML mapping, or holds an unknown key, a wrong value or an
            unknown name of a method, option, metric or protocol; says file:line and the nearest valid one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no benchmark file {path}.", "xai benchmark init writes a commented one."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}.") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{path} must hold `key: value` lines.", "xai benchmark init writes a commented file."
        )
    lines = dict(_lines(path, node, ()))
    try:
        config = BenchmarkConfig.model_validate(content)
    except ValidationError as error:
        errors = sorted(_innermost(error.errors()), key=lambda e: _line(lines, e["loc"]))
        said = [f"{path}:{_line(lines, e['loc'])}: {_say(e)}" for e in errors]
        raise ConfigError("\n".join(dict.fromkeys(said))) from None
    config = _relative_to(config, path.resolve().parent)
    if wrong := sorted((_line(lines, loc), text) for loc, text in problems(config)):
        raise ConfigError("\n".join(f"{path}:{line}: {text}" for line, text in wrong))
    return config


def _lines(path: Path, node: yaml.Node, loc: Loc) -> Iterator[tuple[Loc, int]]:
    """Line of every key and list item; refuses keys said twice, of which YAML would keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(f"{path}:{line}: {key.value!r} is said twice; keep one.")
            seen.add(key.value)
            yield (*loc, key.value), line
            yield from _lines(path, value, (*loc, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*loc, index), value.start_mark.line + 1
            yield from _lines(path, value, (*loc, index))


def _line(lines: dict[Loc, int], loc: Loc) -> int:
    """Of the innermost part of `loc` that stands in the file."""
    return next((lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in lines), 1)


def _say(error: Any) -> str:
    *parents, key = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        inside = f" in {_written(parents)}" if parents else ""
        return f"unknown key {key!r}{inside}. {nearest(str(key), _keys(parents))}"
    where = f"{_written(error['loc'])}: " if error["loc"] else ""
    if error["type"] == "missing":
        return f"{where}is missing."
    text = error["msg"].removeprefix("Value error, ")
    text = _INSTANCE.sub("", text).replace("valid tuple", "list").replace("valid dictionary", "mapping")
    text = text.replace("Tuple", "List").replace(" after validation", "")
    given = "" if isinstance(error["input"], dict) else f"; got {error['input']!r}"
    return f"{where}{text}{given}."


def _innermost(errors: typing.Sequence[Any]) -> list[Any]:
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


def _keys(loc: typing.Sequence[str | int]) -> list[str]:
    """Valid keys of the mapping at `loc`."""
    model: type[BaseModel] = BenchmarkConfig
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def _relative_to(config: BenchmarkConfig, folder: Path) -> BenchmarkConfig:
    model, data = config.model, config.data
    places: dict[str, Any] = {
        key: folder / value.expanduser()
        for key in ("config", "weights")
        if (value := getattr(model, key)) is not None
    }
    if model.spec is not None:
        places["spec"] = _spec_in(folder, model.spec)
    sources: dict[str, Any] = {}
    if data.images is not None:
        sources["images"] = tuple(str(folder / Path(image).expanduser()) for image in data.images)
    if data.shards is not None:
        sources["shards"] = tuple(
            one if "://" in one else str(folder / Path(one).expanduser()) for one in data.shards
        )
    if data.manifest is not None:
        sources["manifest"] = folder / data.manifest.expanduser()
    if data.forgeries is not None and data.forgeries.photos != "shipped":
        photos = str(folder / Path(data.forgeries.photos).expanduser())
        sources["forgeries"] = data.forgeries.model_copy(update={"photos": photos})
    return config.model_copy(
        update={"model": model.model_copy(update=places), "data": data.model_copy(update=sources)}
    )


def _spec_in(folder: Path, spec: str) -> str:
    if spec.startswith("local:"):
        return f"local:{folder / Path(spec.removeprefix('local:')).expanduser()}"
    return str(folder / Path(spec).expanduser()) if spec.endswith((".yaml", ".yml")) else spec
