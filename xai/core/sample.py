"""An image to be explained, what is known about it, and the photograph or frame that it was cut from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


CLICK_TOLERANCE = 15 / 224
"""Of the shorter side: so near to a click is a hit. Zhang et al. 2018 allow 15 pixels at about 224."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photograph.

    Args:
        points: (5, 2) x and y of the eye on the image's left, the eye on its right, the tip of the nose, the
            left and the right corner of the mouth, in pixels of the photograph. Whole numbers are centres of
            pixels, as in dlib and OpenCV.
        box: (x, y, width, height) around the face, in the same pixels; may reach beyond the photograph.
        score: The detector's confidence, in [0, 1].
    """

    points: np.ndarray
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, eq=False)
class Origin:
    """The photograph or video frame that a sample's image was cut from.

    Args:
        image: The whole of it: RGB, upright, at its own resolution.
        to_crop: (2, 3) float64: pixel (x, y) of the photograph lies at `to_crop @ (x, y, 1)` in the crop.
            Whole numbers are centres of pixels.
        face: The face that the crop was aligned to, if it was.
        number: Which of the faces of the photograph, from 0, the largest first.
        frame: Index of the video frame, if it is one.
        seconds: When the frame is shown.
    """

    image: "Image"
    to_crop: np.ndarray
    face: Face | None = None
    number: int = 0
    frame: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with what is known about it.

    Args:
        id: Unique within a run; also the stem of the files written for it.
        image: RGB, upright, at its own resolution.
        path: Where it was read, if from a file.
        label: True class name, if known.
        mask: (H, W) bool, True where the image was tampered with, if known.
        box: (x, y, width, height) in pixels of `image`: the crop the classifier sees, None for all of it.
        group: What the image is a frame or crop of (video, identity, photograph), if known; images of one
            group are not independent.
        kind: How it was manipulated (`splice`, `Deepfakes` …) or `pristine`, if known.
        origin: What `image` was cut from and turned upright, if it was; maps are drawn back on that too.
        landmarks: (5, 2), (68, 2) or (81, 2) points of the face in pixels of `image`, if known: five as in
            `Face`, more as dlib numbers them. Whole numbers are centres of pixels.
        clicks: (N, 2) x and y in pixels of `image` where people saw that it was tampered with, if known.
            Whole numbers are centres of pixels.
    """

    id: str
    image: "Image"
    path: Path | None = None
    label: str | None = None
    mask: "np.ndarray | None" = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    kind: str | None = None
    origin: Origin | None = None
    landmarks: np.ndarray | None = None
    clicks: np.ndarray | None = None
