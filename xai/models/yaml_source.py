"""A detector described by a YAML file: a published family, or a class of the user's own."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from torch import nn

from xai.core import ConfigError
from xai.models.classifier import Classifier, Grid
from xai.models.detector import DetectorConfig, read_config
from xai.models.families import load_detector
from xai.models.filling import fill
from xai.models.preprocessing import read_preprocessing_keys

SHOWN = 200  # characters of a factory's arguments in a message


def load_yaml(
    path: Path,
    name: str,
    labels: Sequence[str] | None,
    grid: Grid | None,
    weights: Path | None,
    problem_type: str | None = None,
    trust_code: bool = False,
) -> Classifier:
    """The detector that a YAML file describes.

    Args:
        path: The file.
        name: What the classifier is called.
        labels: Instead of the file's.
        grid: Instead of the one read from the model.
        weights: Checkpoint instead of the file's.
        problem_type: Where the file does not say it.
        trust_code: Whether the file's `factory` may run.

    Raises:
        ConfigError: When the file is wrong or says too little, or contradicts `problem_type`.
        ModelError: When the weights are missing, broken or do not fit.
    """
    config, ignored = read_config(path)
    if problem_type is not None and config.problem_type not in (None, problem_type):
        raise ConfigError(
            f"{path} says problem_type: {config.problem_type}, not {problem_type}.",
            "Say it once, in the file.",
        )
    config = config.model_copy(update={"problem_type": problem_type or config.problem_type})
    weights = weights or config.weights
    grid = grid or config.grid
    facts: dict[str, Any] = {"config": str(path), "ignored_config_keys": ignored}
    if config.factory is None:
        if weights is None:
            raise ConfigError(f"{path} names no weights.", "Add weights: FILE to it, or pass --weights FILE.")
        return load_detector(config, weights, name, labels, grid, facts)
    if not trust_code:
        raise _not_trusted(config, path)
    module = _from_factory(config, path.parent)
    if weights is not None:
        facts |= fill(module, weights, config)
    return Classifier(
        module,
        labels or config.labels,
        name=name,
        grid=grid,
        preprocessing=read_preprocessing_keys(config, {}, None),
        facts={**facts, "family": config.factory, "weights": weights and str(weights)},
        problem_type=config.problem_type,
    )


def _not_trusted(config: DetectorConfig, path: Path) -> ConfigError:
    module = str(config.factory).partition(":")[0]
    arguments = ", ".join(f"{key}={value!r}" for key, value in config.kwargs.items())
    if len(arguments) > SHOWN:
        arguments = f"{arguments[:SHOWN]}…"
    return ConfigError(
        f"{path} wants to import {module} and run {config.factory}({arguments}), code that can do "
        "anything on this machine; nothing was run.",
        "If you trust the file and that code: --trust-code, or trust_code=True in Python.",
    )


def _refuse_namesake(package: str, folder: Path) -> None:
    """Python keeps one module per name: a second file of that name would be passed over in silence."""
    beside = PathFinder.find_spec(package, [str(folder.resolve())])
    loaded = getattr(sys.modules.get(package), "__spec__", None)
    if beside is not None and loaded is not None and loaded.origin != beside.origin:
        raise ConfigError(
            f"factory: another module named {package} is in use already ({loaded.origin}).",
            f"Rename {beside.origin}.",
        )


def _from_factory(config: DetectorConfig, folder: Path) -> nn.Module:
    """Import and call the user's class; it may lie beside the YAML file."""
    path, _, attribute = str(config.factory).partition(":")
    _refuse_namesake(path.partition(".")[0], folder)
    sys.path.insert(0, str(folder.resolve()))
    try:
        made: Any = import_module(path)
        for part in attribute.split("."):
            made = getattr(made, part)
    except ImportError as error:
        raise ConfigError(
            f"factory: {path} cannot be imported: {error}.",
            "Install the package, or put the module beside the YAML file.",
        ) from error
    except AttributeError:
        raise ConfigError(f"factory: {path} has no {attribute}.") from None
    except (Exception, SystemExit) as error:  # the module's own
        raise ConfigError(f"factory: {path} cannot be imported: {type(error).__name__}: {error}.") from error
    finally:
        sys.path.remove(str(folder.resolve()))
    try:
        module = made(**config.kwargs)
    except TypeError as error:
        raise ConfigError(f"factory: {config.factory} cannot be called with kwargs: {error}.") from error
    except (Exception, SystemExit) as error:  # of code that is not ours
        raise ConfigError(f"factory: {config.factory} failed: {type(error).__name__}: {error}.") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"factory: {config.factory} made {type(module).__name__}, not a torch module.")
    return module.eval()
