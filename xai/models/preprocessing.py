"""From an image to the model's input, and back to where it lay: PIL resize, crop, scale, normalise."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor

from xai.core import ConfigError, DataError, Geometry
from xai.models.detector import DetectorConfig

_MAX_PIXELS = 100_000_000  # of the resized image: an extremely long strip would fill the memory

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Cut, resize, centre-crop (zero-padding what lacks), scale, order channels, normalise; each optional.

    Args:
        size: (height, width) to resize to, whatever the aspect; excludes `shortest_edge`.
        shortest_edge: Length to which the short side is resized, aspect kept.
        crop: (height, width) of the centre crop.
        interpolation: Name of a PIL resampling filter.
        mean: Per channel, subtracted after scaling.
        std: Per channel, divided by after that.
        scale: Factor from 8-bit values.
        torchvision_crop: Where the odd pixel of a centre crop falls: as in torchvision's CenterCrop, or as in
            transformers.
        bgr: Whether channels come out blue first; `mean` and `std` are in that order.
        cut: (height, width) of a centre crop before resizing, as shares of the image's short side.
        multiple: With `shortest_edge`, both sides are then rounded up to a multiple of it.
        patches: (side, most): resize so that the image makes as many square patches of that side as fit into
            that number, aspect kept but for rounding up to whole patches (NaFlex); excludes `size` and
            `shortest_edge`.
        whole: After all of that a strip at the right and lower border goes that makes no multiple of it.
    """

    size: tuple[int, int] | None = None
    shortest_edge: int | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    torchvision_crop: bool = False
    # what is written of older models says nothing of these
    bgr: bool = field(default=False, repr=False)
    cut: tuple[float, float] | None = field(default=None, repr=False)
    multiple: int = field(default=1, repr=False)
    patches: tuple[int, int] | None = field(default=None, repr=False)
    whole: int = field(default=1, repr=False)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) of what comes out, None if it depends on the image."""
        return self.crop or self.size

    def __call__(self, image: Image) -> Tensor:
        """(3, H, W) float32 of an image of any mode.

        Raises:
            DataError: When the image is so elongated that resizing its short side is not feasible.
        """
        image = image.convert("RGB")
        image = image if self.cut is None else image.crop(self._cut_box(image.size))
        resized = self._resized(image.size)
        if resized[0] * resized[1] > _MAX_PIXELS:
            raise DataError(
                f"The image is {image.width}×{image.height}; resized for the model it would be "
                f"{resized[0]}×{resized[1]}.",
                "Crop it to the part that matters.",
            )
        if resized != image.size:
            image = image.resize(resized, Resampling[self.interpolation.upper()])
        if self.crop is not None:
            height, width = self.crop
            left, top = self._offset(resized)
            image = image.crop((left, top, left + width, top + height))  # pads with zeros
        if self.whole > 1:
            if not all(self._whole(image.size)):
                raise DataError(
                    f"The image is {image.width}×{image.height}; a patch is {self.whole}×{self.whole}.",
                    "Give a larger one.",
                )
            image = image.crop((0, 0, *self._whole(image.size)))
        pixels = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        pixels = pixels[..., ::-1] if self.bgr else pixels
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Where the input lies in an image of `size` (width, height)."""
        if self.cut is not None:
            left, top, right, bottom = self._cut_box(size)
            inner = replace(self, cut=None).geometry((right - left, bottom - top))
            return inner.within(size, (left, top))
        crop = None if self.crop is None else (self.crop[1], self.crop[0])
        resized = self._resized(size)
        crop = self._whole(crop or resized) if self.whole > 1 else crop
        return Geometry.resize_crop(size, resized, crop, self._offset(resized))

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        if self.size is not None:
            resize: Any = list(self.size)
        else:
            resize = None if self.shortest_edge is None else {"shortest_edge": self.shortest_edge}
        return {
            "backend": "pil",
            "resize": resize,
            "crop": None if self.crop is None else list(self.crop),
            "interpolation": self.interpolation,
            "channels": "BGR" if self.bgr else "RGB",
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            **self.rarer_steps(),
        }

    def rarer_steps(self) -> dict[str, Any]:
        """Those that most models do not have, JSON-ready; {} where there are none."""
        steps = {
            "cut": None if self.cut is None else list(self.cut),
            "multiple": None if self.multiple == 1 else self.multiple,
            "patches": None if self.patches is None else list(self.patches),
            "whole": None if self.whole == 1 else self.whole,
        }
        return {name: value for name, value in steps.items() if value is not None}

    def _whole(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        return width - width % self.whole, height - height % self.whole

    def _cut_box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of what is cut out of an image of `size` (width, height)."""
        width, height = size
        high, wide = (int(share * min(size)) for share in self.cut or (1.0, 1.0))
        left, top = (width - wide) // 2, (height - high) // 2
        return left, top, left + wide, top + high

    def _offset(self, resized: tuple[int, int]) -> tuple[int, int]:
        """(left, top) of the crop in the resized image; negative where it is padded."""
        if self.crop is None:
            return 0, 0
        spare = resized[0] - self.crop[1], resized[1] - self.crop[0]
        if self.torchvision_crop:  # rounds half to even what it cuts, and down what it pads
            left, top = (round(n / 2) if n > 0 else -(-n // 2) for n in spare)
        else:
            left, top = (n // 2 for n in spare)
        return left, top

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) after resizing an image of `size` (width, height)."""
        if self.size is not None:
            return self.size[1], self.size[0]
        if self.patches is not None:
            return _tiled(size, *self.patches)
        if self.shortest_edge is None:
            return size
        width, height = size
        # the long side is cut to an integer, as torchvision and transformers do
        if width <= height:
            sides = self.shortest_edge, int(self.shortest_edge * height / width)
        else:
            sides = int(self.shortest_edge * width / height), self.shortest_edge
        return -(-sides[0] // self.multiple) * self.multiple, -(-sides[1] // self.multiple) * self.multiple


def _tiled(size: tuple[int, int], side: int, most: int) -> tuple[int, int]:
    """(width, height) that an image of `size` (width, height) is resized to for at most so many patches.

    The scale is found by halving an interval, as SigLIP 2 does it: a closed form would round otherwise.
    """

    def at(scale: float) -> tuple[int, int]:
        width, height = (max(side, math.ceil(length * scale / side) * side) for length in size)
        return width, height

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        width, height = at(middle)
        low, high = (middle, high) if (width // side) * (height // side) <= most else (low, middle)
    return at(low)


_HALF = (0.5, 0.5, 0.5)
_SQUARE = {"resize": "square", "crop": "none"}
_CLIP = {"mean": CLIP_MEAN, "std": CLIP_STD}
_SHORT_EDGE = {"resize": "shortest_edge", "crop": "center", **_CLIP}
_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_DINOV2 = {"resize": "shortest_edge", "resize_to": 256, "crop": "center", "resolution": 224, **_IMAGENET}
_BILINEAR = {"interpolation": "bilinear"}  # torchvision's default
_CENTRE = {"resize": "none", "crop": "center", "torchvision_crop": True, **_CLIP}
# how each family was published, where the YAML does not say it; for gend by its tower
PUBLISHED: dict[str, dict[str, Any]] = {
    "clip": {**_SQUARE, "mean": _HALF, "std": _HALF},
    "effort": {**_SQUARE, **_CLIP},
    "clip_enhanced": {**_SHORT_EDGE, "torchvision_crop": True},
    "universalfakedetect": _CENTRE,
    "rine": _CENTRE,
    "uia_vit": {**_SQUARE, "mean": _HALF, "std": _HALF},
    "xception": {**_SQUARE, "resolution": 256, "mean": _HALF, "std": _HALF},
    "efficientnetb4": {**_SQUARE, "resolution": 256, "mean": _HALF, "std": _HALF},
    "c2p_clip": {**_SHORT_EDGE, **_BILINEAR, "torchvision_crop": True},
    "community_forensics": {
        "resize": "shortest_edge",
        "crop": "center",
        "torchvision_crop": True,
        **_BILINEAR,
        **_IMAGENET,
    },
    # images come as they are; the model cuts crops out of them
    "b_free": {"resize": "none", "crop": "none", "whole": 14, **_IMAGENET},
    "clip_vision_model": _SHORT_EDGE,
    "perception_encoder": {
        "resize": "shortest_edge",
        "crop": "center",
        "torchvision_crop": True,
        "resolution": 224,
        "mean": _HALF,
        "std": _HALF,
    },
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": {**_SQUARE, "resolution": 224, **_BILINEAR, **_IMAGENET},
}
# towers whose position embeddings are not interpolated
_OF_ONE_SIZE = ("clip_vision_model", "timm_vit")
# Community Forensics resizes by numbers, not by a share: length of the short side by that of the crop
_ENLARGED = {"community_forensics": {224: 256, 384: 440}}


def published_for(family: str, tower: Any) -> tuple[dict[str, Any], int | None]:
    """How images of a family are prepared, as keys of DetectorConfig, and the only size that it takes.

    Args:
        family: By name.
        tower: Configuration of its tower: `model_type` and, where it takes one size only, `image_size`; a
            convolutional network has none.
    """
    kind = getattr(tower, "model_type", None)
    trained_at = tower.image_size if kind in _OF_ONE_SIZE else None
    published = PUBLISHED.get(family) or PUBLISHED[str(kind)]
    lengths = _ENLARGED.get(family, {})
    if trained_at in lengths:
        published = {**published, "resize_to": lengths[trained_at]}
    elif lengths:
        published = {**published, "resize_to": None}
    return published, trained_at


_PREPROCESSING = {"resolution", "resize", "resize_to", "crop", "interpolation", "mean", "std"}


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
    settings = published | config.model_dump(include=_PREPROCESSING, exclude_none=True)
    if not settings:
        return None
    side = settings.get("resolution", trained_at)
    lacking = [key for key, value in {"resolution": side, **settings}.items() if value is None]
    lacking += [key for key in ("mean", "std") if key not in settings]
    if lacking:
        raise ConfigError(f"The YAML says how images are prepared, but not {' and '.join(lacking)}.")
    if trained_at not in (None, side):
        raise ConfigError(
            f"The YAML says resolution: {side}, but the tower takes {trained_at}×{trained_at} pixels.",
            f"Set resolution: {trained_at}.",
        )
    resize, length = settings.get("resize", "square"), settings.get("resize_to", side)
    return Preprocessing(
        size=(length, length) if resize == "square" else None,
        shortest_edge=length if resize == "shortest_edge" else None,
        crop=(side, side) if settings.get("crop") == "center" else None,
        interpolation=settings.get("interpolation", "bicubic"),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        torchvision_crop=settings.get("torchvision_crop", False),
        whole=settings.get("whole", 1),
    )
