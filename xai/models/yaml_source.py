"""A detector described by a YAML file: a published family, or a class of the user's own."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from xai.core import ConfigError, ModelError
from xai.models.checkpoint import read_checkpoint
from xai.models.classifier import Classifier, Grid
from xai.models.config import DetectorConfig, read_config
from xai.models.families import build_detector
from xai.models.preprocessing import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_HALF = (0.5, 0.5, 0.5)
_SQUARE = {"resize": "square", "crop": "none"}
_CLIP = {"mean": CLIP_MEAN, "std": CLIP_STD}
_SHORT_EDGE = {"resize": "shortest_edge", "crop": "center", **_CLIP}
_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_DINOV2 = {"resize": "shortest_edge", "resize_to": 256, "crop": "center", "resolution": 224, **_IMAGENET}
# how each family was published, where the YAML does not say it; for gend by its tower
_PUBLISHED: dict[str, dict[str, Any]] = {
    "clip": {**_SQUARE, "mean": _HALF, "std": _HALF},
    "effort": {**_SQUARE, **_CLIP},
    "clip_enhanced": _SHORT_EDGE,
    "universalfakedetect": {"resize": "none", "crop": "center", **_CLIP},
    "clip_vision_model": _SHORT_EDGE,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": {**_SQUARE, "resolution": 224, "interpolation": "bilinear", **_IMAGENET},
}


_PREPROCESSING = {"resolution", "resize", "resize_to", "crop", "interpolation", "mean", "std"}


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
    facts: dict[str, Any] = {"config": str(path), "ignored_config_keys": ignored}
    if config.factory is not None:
        module: nn.Module = _from_factory(config, path.parent, weights)
        published, trained_at = {}, None
        facts["family"] = config.factory
    else:
        if weights is None:
            raise ConfigError(f"{path} names no weights.", "Add weights: FILE to it, or pass --weights FILE.")
        module, family, folded = build_detector(read_checkpoint(weights), config)
        tower: Any = module.tower.config
        published = _PUBLISHED.get(family) or _PUBLISHED[tower.model_type]
        trained_at = tower.image_size if tower.model_type == "clip_vision_model" else None
        facts |= {
            "family": family,
            "folded": folded,
            "normalize_features": module.normalize,
        }
    if weights is not None:
        facts["weights"] = str(weights)
    preprocessing = _preprocessing(config, published, trained_at)
    return Classifier(
        module, labels or config.labels, name=name, grid=grid, preprocessing=preprocessing, facts=facts
    )


def _preprocessing(
    config: DetectorConfig, published: dict[str, Any], trained_at: int | None
) -> Preprocessing | None:
    """None when neither the file nor the family says anything: then the detector takes tensors only."""
    said = published | config.model_dump(include=_PREPROCESSING, exclude_none=True)
    if not said:
        return None
    side = said.get("resolution", trained_at)
    lacking = [key for key, value in {"resolution": side, **said}.items() if value is None]
    lacking += [key for key in ("mean", "std") if key not in said]
    if lacking:
        raise ConfigError(f"The YAML says how images are prepared, but not {' and '.join(lacking)}.")
    if trained_at not in (None, side):
        raise ConfigError(
            f"The YAML says resolution: {side}, but the tower takes {trained_at}×{trained_at} pixels.",
            f"Set resolution: {trained_at}.",
        )
    resize, length = said.get("resize", "square"), said.get("resize_to", side)
    return Preprocessing(
        size=(length, length) if resize == "square" else None,
        shortest_edge=length if resize == "shortest_edge" else None,
        crop=(side, side) if said.get("crop") == "center" else None,
        interpolation=said.get("interpolation", "bicubic"),
        mean=tuple(said["mean"]),
        std=tuple(said["std"]),
    )


def _from_factory(config: DetectorConfig, folder: Path, weights: Path | None) -> nn.Module:
    """Import and call the user's class; it may lie beside the YAML file."""
    path, _, attribute = str(config.factory).partition(":")
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
