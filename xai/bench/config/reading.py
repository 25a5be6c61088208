"""From a YAML file to a checked configuration; what is wrong is said with its line, before any work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from xai import attr
from xai.bench.config.method_configurations import GREEDY, configured_controls
from xai.bench.config.schema import BenchmarkConfig, ProtocolConfig
from xai.core import ConfigError, UsageError, nearest
from xai.core.files import expanded
from xai.core.yaml_models import read_model
from xai.metrics import METRICS
from xai.metrics.protocol import Protocol

Problem = tuple[tuple[str | int, ...], str]

RESERVED = ("maps", "checks")  # stand where a protocol would for what needs none
CHECKS = ("class", "method")  # what the metrics of `checks` need


def read_benchmark(path: str | Path) -> BenchmarkConfig:
    """Read and check a benchmark's YAML; relative paths in it are taken from the file's folder.

    Raises:
        ConfigError: When the file is missing, no YAML mapping, or holds an unknown key, a wrong value or an
            unknown name of a method, option, metric or protocol; says file:line and the nearest valid one.
    """
    path = Path(path)
    config, file = read_model(
        path, BenchmarkConfig, "benchmark file", "xai benchmark init writes a commented one."
    )
    config = _relative_to(config, path.resolve().parent)
    if wrong := sorted((file.line(loc), text) for loc, text in problems(config)):
        raise ConfigError("\n".join(f"{path}:{line}: {text}" for line, text in wrong))
    return config


def starter_config() -> str:
    """A commented YAML that runs as it is, on the shipped detector and forged shipped photographs."""
    return Path(__file__).with_name("starter.yaml").read_text("utf-8")


def resolve_protocols(config: BenchmarkConfig) -> list[Protocol]:
    """The protocols of the configuration, in order.

    Raises:
        ConfigError: For the first problem that the configuration has.
    """
    for loc, text in problems(config):
        raise ConfigError(f"{'.'.join(map(str, loc))}: {text}")
    return [resolve_protocol(entry) for entry in config.protocols]


def resolve_protocol(entry: ProtocolConfig) -> Protocol:
    """A preset, changed as asked; the changed one says so in its name.

    Raises:
        UsageError: An unknown preset or operator, or a change that does not fit.
    """
    said: dict[str, Any] = {"base": entry.base, **entry.changes}
    return Protocol.from_mapping(said | ({"name": entry.name} if entry.name else {}))


def problems(config: BenchmarkConfig) -> Iterator[Problem]:
    """What is wrong with the names, each with its place in the configuration."""
    yield from _method_problems(config)
    yield from _metric_problems(config)
    names: list[str] = []
    for index, entry in enumerate(config.protocols):
        try:
            names.append(resolve_protocol(entry).name)
        except UsageError as error:
            yield ("protocols", index), _one_line(error)
            continue
        except (TypeError, ValueError) as error:  # of an operator's parameters
            yield ("protocols", index), f"a value has the wrong type: {error}."
            continue
        if names[-1] in RESERVED:
            yield ("protocols", index), f"{names[-1]!r} is the name of other records; give it another one."
        if names[-1] in names[:-1]:
            yield ("protocols", index), f"two protocols are named {names[-1]!r}; give one a name of its own."


def _method_problems(config: BenchmarkConfig) -> Iterator[Problem]:
    seen: set[str] = {GREEDY}
    for index, entry in enumerate(config.methods):
        loc = ("methods", index)
        try:
            # constructors look at their options, not at the model
            attr.create(entry.method, nn.Identity(), **entry.options)
        except UsageError as error:
            yield loc, _one_line(error)
        except TypeError as error:
            yield (*loc, "options"), f"an option of {entry.method!r} has the wrong type: {error}."
        if entry.row in seen:
            yield loc, f"two rows are named {entry.row!r}; give one `name: …`, `method: …`."
        seen.add(entry.row)
    try:
        controls = configured_controls(config)
    except UsageError as error:
        yield ("controls",), _one_line(error)
        return
    for row in controls:
        if row.name in seen:
            yield ("methods",), f"{row.name!r} is the name of a control; give the method another `name`."


def _metric_problems(config: BenchmarkConfig) -> Iterator[Problem]:
    checks = [name for name, info in METRICS.items() if info.needs in CHECKS]
    others = [name for name in METRICS if name not in checks]
    for place, names, valid, elsewhere in (
        (("metrics",), config.metrics, others, "checks.metrics, since it is costly"),
        (("checks", "metrics"), config.checks.metrics, checks, "metrics"),
    ):
        for index, name in enumerate(names):
            if name not in METRICS:
                yield (*place, index), f"unknown metric {name!r}. {nearest(name, valid)}"
            elif name not in valid:
                yield (*place, index), f"{name!r} belongs under {elsewhere}."
            elif name in names[:index]:
                yield (*place, index), f"{name!r} is listed twice."


def _one_line(error: UsageError) -> str:
    return f"{error.message} {error.hint or ''}".strip()


def _relative_to(config: BenchmarkConfig, folder: Path) -> BenchmarkConfig:
    model, data = config.model, config.data
    places: dict[str, Any] = {
        key: folder / expanded(value)
        for key in ("config", "weights")
        if (value := getattr(model, key)) is not None
    }
    if model.spec is not None:
        places["spec"] = _spec_in(folder, model.spec)
    sources: dict[str, Any] = {}
    if data.images is not None:
        sources["images"] = tuple(str(folder / expanded(image)) for image in data.images)
    if data.shards is not None:
        sources["shards"] = tuple(one if "://" in one else str(folder / expanded(one)) for one in data.shards)
    if data.manifest is not None:
        sources["manifest"] = folder / expanded(data.manifest)
    if data.forgeries is not None and data.forgeries.photos != "shipped":
        photos = str(folder / expanded(data.forgeries.photos))
        sources["forgeries"] = data.forgeries.model_copy(update={"photos": photos})
    return config.model_copy(
        update={"model": model.model_copy(update=places), "data": data.model_copy(update=sources)}
    )


def _spec_in(folder: Path, spec: str) -> str:
    if spec.startswith("local:"):
        return f"local:{folder / expanded(spec.removeprefix('local:'))}"
    return str(folder / expanded(spec)) if spec.endswith((".yaml", ".yml")) else spec
