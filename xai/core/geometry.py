"""Where patch tokens stand, and where the patch grid lies in the original image, through resize and crop."""

import re
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from xai.core.errors import ModelError, UsageError

# how a grid is said, wherever a model is named
SAY_GRID = (
    "--grid 14x14+1 (rows x columns + tokens before them) on the command line, the same after grid: in a "
    "YAML file, grid=PatchGrid(14, 14, 1) in xai.load"
)

GRID_PATTERN = r"^\d{1,5}x\d{1,5}(\+\d{1,5})?$"
Array = TypeVar("Array", bound=Any)  # numpy array or torch tensor: both slice and reshape alike
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PatchGrid:
    """The patch tokens of a vision transformer: `prefix` special tokens, then rows × cols patches.

    Args:
        rows: Patches from top to bottom.
        cols: Patches from left to right.
        prefix: Tokens before the first patch (class token, distillation token, registers).
    """

    rows: int
    cols: int
    prefix: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or self.prefix < 0:
            raise ModelError(f"A patch grid needs rows, cols ≥ 1 and prefix ≥ 0; got {self}.")

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Number of all tokens, prefix included."""
        return self.prefix + self.patches

    def to_patches(self, tokens: Array) -> Array:
        """Drop the prefix and fold the last axis: (..., tokens) → (..., rows, cols)."""
        if tokens.shape[-1] != self.tokens:
            raise ModelError(
                f"The grid has {self.prefix} + {self.rows}×{self.cols} = {self.tokens} tokens, "
                f"the model has {tokens.shape[-1]}.",
                f"Say a grid that fits the model: {SAY_GRID}.",
            )
        return tokens[..., self.prefix :].reshape(*tokens.shape[:-1], self.rows, self.cols)


def parse_grid(text: str) -> PatchGrid | tuple[int, int]:
    """Read "14x14" as (14, 14) and "14x14+1", with one token before the patches, as a PatchGrid.

    Raises:
        UsageError: It is neither.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*(?:\+\s*(\d{1,5})\s*)?", text)
    if found is None or 0 in map(int, found.groups()[:2]):
        raise UsageError(
            f"{text!r} is no patch grid.",
            "Write rows x columns, such as 14x14, and the tokens before the patches after a +: 14x14+1.",
        )
    rows, cols = int(found[1]), int(found[2])
    return (rows, cols) if found[3] is None else PatchGrid(rows, cols, int(found[3]))


@dataclass(frozen=True)
class Geometry:
    """Which rectangle of the original image the model's input shows.

    Resize and crop are both axis-aligned, so one rectangle says it all. It may reach beyond the
    image where the preprocessing pads.

    Args:
        size: (width, height) of the original image in pixels.
        box: (left, top, right, bottom) of the input's field of view, in pixels of the original.
    """

    size: tuple[int, int]
    box: Box

    @classmethod
    def resize_crop(
        cls,
        size: tuple[int, int],
        resized: tuple[int, int] | None,
        crop: tuple[int, int] | None,
        offset: tuple[int, int] | None = None,
    ) -> "Geometry":
        """Geometry of "resize to `resized`, then crop to `crop`" (each (width, height) or None).

        The crop's (left, top) in the resized image is `offset`; None for the centre, rounded down.
        """
        width, height = resized or size
        crop_width, crop_height = crop or (width, height)
        # integer offsets, as the processors cut them
        left, top = offset or ((width - crop_width) // 2, (height - crop_height) // 2)
        sx, sy = size[0] / width, size[1] / height
        return cls(size, (left * sx, top * sy, (left + crop_width) * sx, (top + crop_height) * sy))

    def within(self, size: tuple[int, int], offset: tuple[float, float]) -> "Geometry":
        """The same field of view in a larger image of `size`, of which this image is the crop at `offset`."""
        dx, dy = offset
        left, top, right, bottom = self.box
        return replace(self, size=size, box=(left + dx, top + dy, right + dx, bottom + dy))

    def aspect_change(self, size: tuple[int, int]) -> float:
        """How many times wider, or higher, than it is the view is shown to the model, 1 where it is as it is.

        Args:
            size: (height, width) of the model's input, in any unit.
        """
        left, top, right, bottom = self.box
        change = (right - left) / (bottom - top) * size[0] / size[1]
        return max(change, 1 / change)

    def project(self, patches: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """Lay a patch map over the original image, bilinear between patch centres.

        Args:
            patches: (rows, cols) relevance.
            size: (width, height) to draw at; default the original's own.

        Returns:
            (height, width) array, NaN where the model saw nothing.
        """
        width, height = size or self.size
        left, top, right, bottom = self.box
        rows = _interpolation(height, top, bottom, self.size[1], patches.shape[0])
        cols = _interpolation(width, left, right, self.size[0], patches.shape[1])
        return rows @ np.asarray(patches, dtype=np.float32) @ cols.T


def _interpolation(pixels: int, start: float, stop: float, extent: int, patches: int) -> np.ndarray:
    """(pixels, patches) weights that read patch centres linearly; NaN rows outside [start, stop)."""
    where = (np.arange(pixels) + 0.5) * extent / pixels
    position = (where - start) / (stop - start) * patches - 0.5
    inside = (where >= start) & (where < stop)
    clamped = np.clip(position, 0, patches - 1)
    low = np.minimum(clamped.astype(int), max(patches - 2, 0))
    high = np.minimum(low + 1, patches - 1)
    weight = (clamped - low).astype(np.float32)
    matrix = np.zeros((pixels, patches), np.float32)
    index = np.arange(pixels)
    matrix[index, low] += 1 - weight
    matrix[index, high] += weight
    matrix[~inside] = np.nan
    return matrix
