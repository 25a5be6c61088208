"""From a YAML file to a checked configuration; what is wrong is said with its line, before any work."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from xai import attr
from xai.bench.config.method_configurations import GREEDY, RANDOM, configured_controls
from xai.bench.config.schema import BenchmarkConfig, ProtocolConfig
from xai.bench.config.survey import SurveyConfig
from xai.core import ConfigError, Registry, UsageError, nearest
from xai.core.files import expanded
from xai.core.yaml_models import check_mapping, read_model
from xai.metrics import METRICS
from xai.metrics.protocol import Protocol
from xai.perturb import OPERATORS

Place = tuple[str | int, ...]
Problem = tuple[Place, str]
Config = TypeVar("Config", bound=BenchmarkConfig)

RESERVED = ("maps", "checks")  # stand where a protocol would for what needs none
CHECKS = ("class", "method")  # what the metrics of `checks` need


def read_benchmark(source: str | Path | Mapping[str, Any], *, trust_code: bool = False) -> BenchmarkConfig:
    """Read and check a benchmark's YAML; relative paths in it are taken from the file's folder.

    Args:
        source: The file's path; or what a file would hold, whose paths are taken from the working folder.
        trust_code: Whether methods, metrics and operators that it names as `package.module:Class` may be
            imported, from the file's folder or the installed packages; no configuration can say so itself.

    Raises:
        ConfigError: When the file is missing, no YAML mapping, or holds an unknown key, a wrong value or an
            unknown name of a method, option, metric or protocol, or names code that is not trusted or cannot
            be imported; says file:line and the nearest valid one.
    """
    hint = "xai benchmark init writes a commented one."
    return read_config(source, BenchmarkConfig, "benchmark file", hint, trust_code=trust_code)


def read_config(
    source: str | Path | Mapping[str, Any],
    model: type[Config],
    what: str,
    hint: str,
    *,
    trust_code: bool = False,
) -> Config:
    """The configuration of a run of any kind, read and checked as `read_benchmark` says."""
    if not isinstance(source, Mapping | str | Path):
        raise ConfigError(
            f"{source!r:.80} is no configuration.",
            f"Give the path of a {what}, or what it would hold as a mapping.",
        )
    if isinstance(source, Mapping):
        config, file, folder = check_mapping(source, model, "configuration"), None, Path.cwd()
    else:
        config, file = read_model(source, model, what, hint)
        folder = Path(source).resolve().parent
    config = _relative_to(config, folder)
    faults = [*_code_problems(config, trust_code)] or [*problems(config)]
    if file is None:
        wrong = [f"configuration: {'.'.join(map(str, loc))}: {text}" for loc, text in faults]
    else:
        wrong = [
            f"{file.path}:{line}: {text}"
            for line, text in sorted((file.line(loc), text) for loc, text in faults)
        ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return config


def starter_config() -> str:
    """A commented YAML that runs as it is, on the shipped detector and forged shipped photographs."""
    return Path(__file__).with_name("starter.yaml").read_text("utf-8")


def read_survey(source: str | Path | Mapping[str, Any], *, trust_code: bool = False) -> SurveyConfig:
    """Read and check a survey's YAML; relative paths in it are taken from the file's folder.

    Args:
        source: As of `read_benchmark`.
        trust_code: As there.

    Raises:
        ConfigError: As `read_benchmark`.
    """
    hint = "xai survey init writes a commented one."
    return read_config(source, SurveyConfig, "survey file", hint, trust_code=trust_code)


def starter_survey() -> str:
    """A commented YAML that runs as it is, on the shipped detector and forged shipped photographs."""
    return Path(__file__).with_name("survey.yaml").read_text("utf-8")


def import_code(config: BenchmarkConfig, trusted: bool) -> None:
    """Import the methods, metrics and operators that a configuration names as `package.module:Class`.

    Each process that works on a run does it before it looks names up.

    Raises:
        ConfigError: Code is named and not trusted, or cannot be imported.
    """
    for loc, text in _code_problems(config, trusted):
        raise ConfigError(f"{'.'.join(map(str, loc))}: {text}")


def _code_problems(config: BenchmarkConfig, trusted: bool) -> Iterator[Problem]:
    """What is wrong with the code that a configuration names; imports it if it is trusted."""
    for loc, registry, name in _named(config):
        try:
            registry.resolve(name, trusted=trusted, folder=config.folder)
        except UsageError as error:
            yield loc, _one_line(error)


def _named(config: BenchmarkConfig) -> Iterator[tuple[Place, Registry[Any], str]]:
    """Every name that may be one of code, its place in the configuration, and where it is looked up."""
    for i, method in enumerate(config.methods):
        yield ("methods", i), attr.METHODS, method.method
    for i, name in enumerate(config.metrics):
        yield ("metrics", i), METRICS, name
    for i, name in enumerate(config.checks.metrics):
        yield ("checks", "metrics", i), METRICS, name
    for i, entry in enumerate(config.protocols):
        for operator in (entry.operator, entry.insertion_operator):
            name = operator.get("name") if isinstance(operator, dict) else operator
            if isinstance(name, str):
                yield ("protocols", i), OPERATORS, name


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
    named = {"name": entry.name} if entry.name else {}
    return Protocol.from_mapping({"base": entry.base, **entry.changes, **named})


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
    names: set[str] = {GREEDY}
    for index, entry in enumerate(config.methods):
        loc = ("methods", index)
        try:
            # constructors look at their options, not at the model
            attr.create(entry.method, nn.Identity(), **entry.options)
        except UsageError as error:
            yield loc, _one_line(error)
        except TypeError as error:
            yield (*loc, "options"), f"an option of {entry.method!r} has the wrong type: {error}."
        if entry.full_name in names:
            yield loc, f"two methods are named {entry.full_name!r}; give one `name: …`, `method: …`."
        names.add(entry.full_name)
    try:
        controls = configured_controls(config)
    except UsageError as error:
        yield ("controls",), _one_line(error)
        return
    # the mean of the random maps is a row too
    rows = [control.name for control in controls] + ([RANDOM] if config.controls.random_seeds else [])
    for name in rows:
        if name in names:
            yield ("methods",), f"{name!r} is the name of a control; give the method another `name`."


def _metric_problems(config: BenchmarkConfig) -> Iterator[Problem]:
    for place, names, costly in (
        (("metrics",), config.metrics, False),
        (("checks", "metrics"), config.checks.metrics, True),
    ):
        valid = [name for name, info in METRICS.items() if (info.needs in CHECKS) == costly]
        for index, name in enumerate(names):
            if name not in METRICS:
                yield (*place, index), f"unknown metric {name!r}. {nearest(name, valid)}"
            elif (METRICS[name].needs in CHECKS) != costly:
                elsewhere = "metrics" if costly else "checks.metrics, since it is costly"
                yield (*place, index), f"{name!r} belongs under {elsewhere}."
            elif name in names[:index]:
                yield (*place, index), f"{name!r} is listed twice."


def _one_line(error: UsageError) -> str:
    return f"{error.message} {error.hint or ''}".strip()


def _relative_to(config: Config, folder: Path) -> Config:
    model, data = config.model, config.data
    places: dict[str, object] = {
        key: folder / expanded(value)
        for key in ("config", "weights")
        if (value := getattr(model, key)) is not None
    }
    if model.spec is not None:
        places["spec"] = _spec_in(folder, model.spec)
    sources: dict[str, object] = {}
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
    ).of_folder(folder)


def _spec_in(folder: Path, spec: str) -> str:
    if spec.startswith("local:"):
        return f"local:{folder / expanded(spec.removeprefix('local:'))}"
    return str(folder / expanded(spec)) if spec.endswith((".yaml", ".yml")) else spec
