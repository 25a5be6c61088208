"""A published deepfake detector as a Classifier, with the preprocessing that it was published with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xai.core import ConfigError
from xai.models.checkpoint import open_checkpoint
from xai.models.classifier import Classifier, Grid
from xai.models.config import DetectorConfig
from xai.models.families import build_detector
from xai.models.labels import check_labels
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
    "clip_enhanced": {**_SHORT_EDGE, "torchvision_crop": True},
    "universalfakedetect": {"resize": "none", "crop": "center", "torchvision_crop": True, **_CLIP},
    "clip_vision_model": _SHORT_EDGE,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": {**_SQUARE, "resolution": 224, "interpolation": "bilinear", **_IMAGENET},
}


_PREPROCESSING = {"resolution", "resize", "resize_to", "crop", "interpolation", "mean", "std"}


def load_detector(
    config: DetectorConfig,
    weights: Path,
    name: str,
    labels: Sequence[str] | None,
    grid: Grid | None,
    facts: dict[str, Any],
) -> Classifier:
    """The detector in a checkpoint.

    Args:
        config: What the weights cannot say.
        weights: The checkpoint.
        name: What the classifier is called.
        labels: Instead of the configuration's.
        grid: Instead of the one read from the model.
        facts: Further facts for `Classifier.describe`.

    Raises:
        ConfigError: When the configuration contradicts the weights or says too little.
        ModelError: When the weights are missing, broken or do not fit.
    """
    checkpoint = open_checkpoint(weights, config.weights_key, config.ignore_keys)
    module, family, folded = build_detector(checkpoint.state, config)
    tower: Any = module.tower
    kind = tower.config.model_type
    # the position embeddings of CLIP are not interpolated, those of DINO are
    trained_at = tower.config.image_size if kind == "clip_vision_model" else None
    preprocessing = read_preprocessing_keys(config, _PUBLISHED.get(family) or _PUBLISHED[kind], trained_at)
    labels = labels or config.labels
    check_labels(labels, module.classes, name)
    facts = {
        **facts,
        "family": family,
        "weights": str(weights),
        **checkpoint.facts,
        "folded": folded,
        "normalize_features": module.normalize,
    }
    return Classifier(
        module,
        labels,
        name=name,
        grid=grid,
        preprocessing=preprocessing,
        facts=facts,
        problem_type=config.problem_type,
    )


def read_preprocessing_keys(
    config: DetectorConfig, published: dict[str, Any], trained_at: int | None
) -> Preprocessing | None:
    """How images are prepared, as the configuration says it, else as published.

    Args:
        config: The detector's.
        published: Keys of DetectorConfig.
        trained_at: Side of the only input that the tower takes, None if it takes others.

    Returns:
        None when neither says anything: then the detector takes tensors only.

    Raises:
        ConfigError: When it says half of it, or another size than the tower takes.
    """
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
        torchvision_crop=said.get("torchvision_crop", False),
    )
