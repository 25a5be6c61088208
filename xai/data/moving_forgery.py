"""A small clip made of a shipped photograph, in which a forged region comes, moves and goes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.data.forgery import forge
from xai.data.image import read_image
from xai.data.regions import outline_alpha
from xai.data.samples import FOLDER

PHOTO = "cat_real.png"
WIDTH = 300  # pixels; the camera pans over the rest of the photograph, at whole pixels
FRAMES, RATE = 24, 6  # frames, and frames per second
FORGED = range(8, 20)  # frames with the region
RADII = (46, 36)  # half axes of the region, in pixels
PATH = ((70.0, 120.0), (215.0, 95.0))  # where its centre moves from and to, in pixels of a frame
SEED = 2
SOFTNESS = 2.0


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A frame of the demo's clip.

    Args:
        seconds: When it is shown.
        pixels: (height, width, 3) uint8 RGB.
        mask: (height, width) bool: where it is forged; nowhere in a pristine frame.
    """

    seconds: float
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def demo_clip() -> Iterator[ClipFrame]:
    """The frames, forged as `forge` forges photographs (kind `upsampling`), always the same."""
    photo = np.asarray(read_image(FOLDER / PHOTO))
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = np.stack([RADII[0] * np.cos(angle), RADII[1] * np.sin(angle)], axis=1)
    for place in range(FRAMES):
        left = round((photo.shape[1] - WIDTH) * place / (FRAMES - 1))
        pixels = np.ascontiguousarray(photo[:, left : left + WIDTH])
        mask = np.zeros(pixels.shape[:2], bool)
        if place in FORGED:
            share = (place - FORGED.start) / (len(FORGED) - 1)
            x, y = (1 - share) * np.array(PATH[0]) + share * np.array(PATH[1])
            area = np.pi * RADII[0] * RADII[1] / mask.size
            alpha = outline_alpha(pixels.shape[:2], outline, (x, y), area, SOFTNESS)
            forgery = forge(pixels, np.random.default_rng(SEED), "upsampling", alpha)
            pixels, mask = forgery.image, forgery.mask
        yield ClipFrame(place / RATE, pixels, mask)
