"""A watermark such as picture agencies print on photographs, at a random place that a forgery left alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
AREA = (0.03, 0.06)
"""Share of the photograph that the mark covers, at the least and at the most."""
VEIL, LINE = (255, 255, 255, 77), (24, 24, 24, 140)
"""Red, green, blue and opacity of the disc, and of the ring and the bar on it: seen on any ground."""


@dataclass(frozen=True, eq=False)
class Watermark:
    """A mark at its place.

    Args:
        ink: (H, W, 4) uint8, red, green, blue and opacity; opacity 0 off the mark.
    """

    ink: Photo

    @property
    def mask(self) -> Mask:
        """(H, W) where the mark is."""
        return self.ink[..., 3] > 0

    def on(self, image: Photo) -> Photo:
        """A copy of a photograph (H, W, 3) with the mark on it."""
        opacity = self.ink[..., 3:] / 255
        blended = image + opacity * (self.ink[..., :3].astype(float) - image)
        return np.rint(blended).astype(np.uint8)


def emblem(diameter: int) -> Photo:
    """The mark alone, (diameter, diameter, 4): a veil in a ring, with a bar across."""
    canvas = Image.new("RGBA", (diameter, diameter))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((0, 0, diameter - 1, diameter - 1), fill=VEIL, outline=LINE, width=max(1, diameter // 12))
    draw.rectangle((0.24 * diameter, 0.42 * diameter, 0.76 * diameter, 0.58 * diameter), fill=LINE)
    return np.asarray(canvas)


def place_watermark(taken: Mask, rng: np.random.Generator) -> Watermark:
    """Draw a mark of random size, its centre uniform over all places where it neither touches `taken` nor
    the border.

    Args:
        taken: (H, W) pixels that must stay free of it.
        rng: Source of size and place.

    Raises:
        ValueError: There is no room, not even for the smallest mark.
    """
    height, width = taken.shape
    smallest, drawn = (2 * np.sqrt(area * taken.size / np.pi) for area in (AREA[0], rng.uniform(*AREA)))
    for diameter in (round(drawn), round(smallest)):
        # the border counts as taken; the mark's centre lies half a pixel off where its diameter is even
        room = distance_transform_edt(~np.pad(taken, 1, constant_values=True))[1:-1, 1:-1]
        rows, cols = np.nonzero(room > diameter / 2 + 1)
        if len(rows):
            chosen = rng.integers(len(rows))
            top, left = rows[chosen] - diameter // 2, cols[chosen] - diameter // 2
            ink = np.zeros((height, width, 4), np.uint8)
            ink[top : top + diameter, left : left + diameter] = emblem(diameter)
            return Watermark(ink)
    raise ValueError(f"no room for a watermark: {taken.mean():.0%} of {width} × {height} pixels are taken")
