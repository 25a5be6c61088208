"""Image processors with steps that `Preprocessing` has not: run as they are, and measured where they look."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, fromarray
from torch import Tensor

from xai.core import DataError, Geometry
from xai.models.preprocessing import Preprocessing

_LEVELS = 256
_SMALLEST = 4  # sides of an image on which a ramp can be followed
_MOST_PIXELS = 8_000_000  # of what a processor makes: it is run several times
_LONGEST = 50  # times the other side: processors resize the short one without looking at the long one


class UnmeasurableError(Exception):
    """What a processor makes of an image is not one upright view of it."""


@dataclass(frozen=True)
class Measured(Preprocessing):
    """A processor that gives its own pixels; where they lie in the image is measured, once for each size.

    A ramp that grows along x shows in each column of the pixels which column of the image it came from, and
    one along y the rows; black and white images show what is padding.

    Args:
        steps: The processor's configuration as JSON, so that two processors are never taken for one.
        processor: Of transformers'.
    """

    steps: str = ""
    processor: Any = field(default=None, repr=False, compare=False)

    def __call__(self, image: Image) -> Tensor:
        """(3, H, W) float32, as the processor gives it.

        Raises:
            DataError: As `geometry`.
        """
        self.geometry(image.size)
        return torch.from_numpy(run(self.processor, image.convert("RGB")))

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Where the input lies in an image of `size` (width, height), to about one of its own pixels.

        Raises:
            DataError: When the image is too small to tell, or seen otherwise than upright and in one piece.
        """
        try:
            return Geometry(size, _view(self, size))
        except UnmeasurableError as error:
            name = type(self.processor).__name__
            raise DataError(
                f"Where {name} looks in an image of {size[0]}×{size[1]} cannot be seen: {error}.",
                "Give a larger or less elongated image, or preprocess it yourself and give tensors.",
            ) from None

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"backend": f"{type(self.processor).__name__} of transformers", **json.loads(self.steps)}


def measure(processor: Any, sizes: tuple[tuple[int, int], ...]) -> Measured:
    """The preprocessing that runs a processor.

    Args:
        processor: Of transformers'.
        sizes: (width, height) of images on which it is tried.

    Raises:
        UnmeasurableError: When it does not show one upright view of an image.
    """
    steps = {
        k: v for k, v in processor.to_dict().items() if isinstance(v, bool | int | float | str | list | dict)
    }
    made = Measured(steps=json.dumps(steps, sort_keys=True, default=str), processor=processor)
    noise = fromarray(np.random.default_rng(0).integers(0, _LEVELS, (*sizes[0][::-1], 3), dtype=np.uint8))
    if not np.array_equal(run(processor, noise), run(processor, noise)):
        raise UnmeasurableError("it gives other pixels each time")
    for one in sizes:
        _view(made, one)
    shapes = {run(processor, _constant(one, 0)).shape[1:] for one in sizes}
    size = next(iter(shapes)) if len(shapes) == 1 else None
    return Measured(size=size, steps=made.steps, processor=processor)


def run(processor: Any, image: Image) -> np.ndarray:
    """(3, H, W) float32 that a processor makes of an RGB image.

    Raises:
        UnmeasurableError: When it gives something else.
    """
    given = processor(image, return_tensors="pt" if getattr(processor, "backend", "pil") != "pil" else "np")
    pixels = np.asarray(given["pixel_values"], dtype=np.float32)
    if pixels.ndim != 4 or pixels.shape[:2] != (1, 3) or not np.isfinite(pixels).all():
        raise UnmeasurableError(f"it gives values of shape {pixels.shape}, not one image of finite numbers")
    if pixels[0, 0].size > _MOST_PIXELS:
        raise UnmeasurableError(f"it makes {pixels.shape[3]}×{pixels.shape[2]} of it")
    return pixels[0]


def _constant(size: tuple[int, int], level: int) -> Image:
    return fromarray(np.full((size[1], size[0], 3), level, dtype=np.uint8))


@lru_cache(maxsize=256)
def _view(made: Measured, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what the processor shows of an image of `size` (width, height)."""
    if min(size) < _SMALLEST or max(size) > _LONGEST * min(size):
        raise UnmeasurableError("it is too small or too elongated")
    black, white = (run(made.processor, _constant(size, level)) for level in (0, _LEVELS - 1))
    gain = white - black
    seen = (np.abs(gain) > 1e-3 * np.abs(gain).max()).all(0)
    if not seen.any():
        raise UnmeasurableError("black and white make no difference")
    ends = []
    for axis, length in enumerate(size):  # x, y
        ramp = ((np.arange(length) + 0.5) / length * _LEVELS).astype(np.uint8)
        grey = np.broadcast_to(ramp if axis == 0 else ramp[:, None], (size[1], size[0]))
        shown = run(made.processor, fromarray(np.stack([grey] * 3, axis=2)))
        level = ((shown - black) / np.where(seen, gain, 1)).mean(0) * (_LEVELS - 1)
        where = np.where(seen, (level + 0.5) / _LEVELS * length, np.nan)
        ends.append(_line(where if axis == 0 else where.T, length))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _line(where: np.ndarray, length: int) -> tuple[float, float]:
    """Where the first column of the pixels begins in the image and where the last one ends.

    Args:
        where: (rows, columns) place along the image's side that each pixel came from, NaN in padding.
        length: Of that side.
    """
    full = ~np.isnan(where).all(0)
    columns = np.flatnonzero(full)
    place = np.array([np.nanmean(where[:, column]) for column in columns])
    spread = max(float(np.nanmax(where[:, column]) - np.nanmin(where[:, column])) for column in columns)
    if len(columns) < 2:
        raise UnmeasurableError("it shows less than two columns or rows of it")
    # at the image's border resampling sees less than a whole neighbourhood
    margin = max(1.5, 2 * abs(float(place[-1] - place[0])) / (columns[-1] - columns[0]))
    inner = (place > margin) & (place < length - margin)
    inner = inner if inner.sum() > 1 else np.ones_like(inner)
    step, start = np.polyfit(columns[inner] + 0.5, place[inner], 1)
    off = float(np.abs(start + step * (columns[inner] + 0.5) - place[inner]).max())
    quantum = length / _LEVELS
    if step <= 0 or max(off, spread / 2) > 1.5 * max(step, quantum, 0.5):
        raise UnmeasurableError("it is not shown upright and in one piece")
    return float(start), float(start + step * where.shape[1])
