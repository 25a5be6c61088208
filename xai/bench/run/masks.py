"""Masks at the model's input, and a warning where they say nothing: empty on every image, or full."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from xai.core import Geometry
from xai.core.classes import GENUINE
from xai.stats import MaskWarning

EMPTY, FULL, PART = "empty", "full", "part"  # what a mask marks
COVERED = 0.5  # share of an input pixel that must lie in the mask
Counts = dict[str, list[int]]  # label or kind, "" for neither → images with a mask, empty ones, full ones


def input_mask(mask: np.ndarray, geometry: Geometry, size: tuple[int, int]) -> np.ndarray:
    """A mask of the original image as the model's input shows it.

    An input pixel counts as masked if at least half of the area it shows is; what is padded shows nothing
    and is not masked.

    Args:
        mask: (H, W) bool, at the size of the original image.
        geometry: Which part of the original the input shows.
        size: (height, width) of the input.

    Returns:
        (height, width) bool.
    """
    left, top, right, bottom = geometry.box
    rows = _overlaps(size[0], top, bottom, mask.shape[0])
    cols = _overlaps(size[1], left, right, mask.shape[1])
    return rows @ mask.astype(np.float64) @ cols.T >= COVERED - 1e-9


def input_points(points: np.ndarray, geometry: Geometry, size: tuple[int, int]) -> np.ndarray:
    """Points of the original image at the model's input; what the input does not show is left out.

    Args:
        points: (N, 2) x and y in pixels of the original image, whole numbers in the middle of a pixel.
        geometry: Which part of the original the input shows.
        size: (height, width) of the input.

    Returns:
        (height, width) bool, True in the pixels that hold a point.
    """
    left, top, right, bottom = geometry.box
    x = np.floor((points[:, 0] + 0.5 - left) / (right - left) * size[1]).astype(int)
    y = np.floor((points[:, 1] + 0.5 - top) / (bottom - top) * size[0]).astype(int)
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    shown = np.zeros(size, bool)
    shown[y[inside], x[inside]] = True
    return shown


def extent_of(mask: np.ndarray, at_input: np.ndarray) -> str:
    """Whether a mask marks something: `empty`, `full` or `part`.

    Args:
        mask: (H, W) bool of the image.
        at_input: The same at the model's input: what lies outside of a crop, or is too thin, marks nothing.
    """
    if not at_input.any():
        return EMPTY
    return FULL if mask.all() else PART


def count_masks(images: Iterable[tuple[str, str | None]]) -> Counts:
    """How many images of each label have a mask, an empty one, a full one.

    Args:
        images: Of each its label or kind, and what its mask marks, see `extent_of`; None where it has none.
    """
    counts: Counts = {}
    for label, extent in images:
        if extent is not None:
            count = counts.setdefault(label, [0, 0, 0])
            for place, counted in enumerate((True, extent == EMPTY, extent == FULL)):
                count[place] += counted
    return counts


def added(parts: Iterable[Mapping[str, Sequence[int]]]) -> Counts:
    """The counts of several parts of the images together."""
    total: Counts = {}
    for part in parts:
        for label, numbers in part.items():
            before = total.setdefault(label, [0, 0, 0])
            total[label] = [a + b for a, b in zip(before, numbers, strict=True)]
    return total


def mask_warnings(counts: Mapping[str, Sequence[int]]) -> list[MaskWarning]:
    """Where all masks are empty or full, or all of a label; genuine images may have empty ones."""
    images, empty, full = (sum(one[place] for one in counts.values()) for place in range(3))
    if images and images in (empty, full):
        return [MaskWarning("", images, images == empty)]
    return [
        MaskWarning(label, some, some == none)
        for label, (some, none, whole) in sorted(counts.items())
        if label and some in (none, whole) and not (some == none and label.casefold() in GENUINE)
    ]


def _overlaps(pixels: int, start: float, stop: float, extent: int) -> np.ndarray:
    """(pixels, extent) share of each input pixel's footprint that lies on each original pixel."""
    edges = start + (stop - start) * np.arange(pixels + 1) / pixels
    low, high = edges[:-1, None], edges[1:, None]
    originals = np.arange(extent)
    overlap = np.minimum(high, originals + 1) - np.maximum(low, originals)
    return overlap.clip(0) / (high - low)
