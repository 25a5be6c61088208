"""A detector described by a YAML file: a published family, or a class of the user's own."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from torch import nn

from xai.core import ConfigError, ModelError
from xai.models.checkpoint import read_checkpoint
from xai.models.classifier import Classifier, Grid
from xai.models.config import DetectorConfig, read_config
from xai.models.published import load_detector, read_preprocessing_keys


def load_yaml(
    path: Path, name: str, labels: Sequence[str] | None, grid: Grid | None, weights: Path | None
) -> Classifier:
    """The detector that a YAML file describes.

    Args:
        path: The file.
        name: What the classifier is called.
        labels: Instead of the file's.
        grid: Instead of the one read from the model.
        weights: Checkpoint instead of the file's.

    Raises:
        ConfigError: When the file is wrong or says too little.
        ModelError: When the weights are missing, broken or do not fit.
    """
    config, ignored = read_config(path)
    weights = weights or config.weights
    grid = grid or config.grid
    facts: dict[str, Any] = {"config": str(path), "ignored_config_keys": ignored}
    if config.factory is None:
        if weights is None:
            raise ConfigError(f"{path} names no weights.", "Add weights: FILE to it, or pass --weights FILE.")
        return load_detector(config, weights, name, labels, grid, facts)
    return Classifier(
        _from_factory(config, path.parent, weights),
        labels or config.labels,
        name=name,
        grid=grid,
        preprocessing=read_preprocessing_keys(config, {}, None),
        facts={**facts, "family": config.factory, "weights": weights and str(weights)},
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


def _from_factory(config: DetectorConfig, folder: Path, weights: Path | None) -> nn.Module:
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
    finally:
        sys.path.remove(str(folder.resolve()))
    try:
        module = made(**config.kwargs)
    except TypeError as error:
        raise ConfigError(f"factory: {config.factory} cannot be called with kwargs: {error}.") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"factory: {config.factory} made {type(module).__name__}, not a torch module.")
    if weights is not None:
        try:
            module.load_state_dict(read_checkpoint(weights))
        except RuntimeError as error:
            raise ModelError(f"{weights} does not fit {config.factory}: {error}") from None
    return module.eval()
