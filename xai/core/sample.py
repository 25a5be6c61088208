"""One image on its way through the house."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


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
    """

    id: str
    image: "Image"
    path: Path | None = None
    label: str | None = None
    mask: "np.ndarray | None" = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    kind: str | None = None
