"""Images turned, scaled and shifted: crops of faces, and maps drawn back on photographs."""

import numpy as np
from PIL import Image

from xai.core import DataError


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The similarity that brings points nearest to targets, by least squares (Umeyama 1991, eqs. 40-42).

    In the plane it needs no decomposition: turn and scale are one complex factor.

    Args:
        points: (n, 2), not all at one place.
        targets: (n, 2).

    Returns:
        (2, 3) float64: (x, y) goes to `matrix @ (x, y, 1)`.

    Raises:
        DataError: The points are one, or not finite.
    """
    centre, goal = points.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    there, here = points - centre, targets - goal
    spread = float((there**2).sum())
    if not np.isfinite(spread) or spread == 0:
        raise DataError("A face cannot be aligned by points that are all at one place, or not finite.")
    along = float((there * here).sum()) / spread
    across = float((there[:, 0] * here[:, 1] - there[:, 1] * here[:, 0]).sum()) / spread
    turn = np.array([[along, -across], [across, along]])
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], 1)


def read_through(image: Image.Image, matrix: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The image under an affine map, bilinear and rounded, black beyond it: what `cv2.warpAffine` does.

    Pixels at the image's border are mixed with the black beyond. Nothing is smoothed first where the map
    shrinks: detectors were trained on crops made without that.

    Args:
        image: 8 bits per channel.
        matrix: (2, 3) from its pixels to those of the result; whole numbers are centres of pixels.
        size: (width, height) of the result.
    """
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1)
    where = (grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    first = np.floor(where).astype(int)
    beyond = (where - first).astype(np.float32)
    # only what is looked at, since the photograph may be large
    low = np.clip(first.min((0, 1)), 0, np.array(image.size) - 1)
    high = np.clip(first.max((0, 1)) + 2, low + 1, image.size)
    pixels = np.asarray(image.crop((*low, *high)))
    found = np.zeros((size[1], size[0], *pixels.shape[2:]), np.float32)
    for step in np.ndindex(2, 2):  # the four pixels around each place
        at = first + step
        inside = ((at >= 0) & (at < image.size)).all(-1)
        cols, rows = np.moveaxis(np.clip(at, low, high - 1) - low, -1, 0)
        across, down = (
            beyond[..., axis] if there else 1 - beyond[..., axis] for axis, there in enumerate(step)
        )
        weight = across * down * inside
        found += weight.reshape(*weight.shape, *(1,) * (pixels.ndim - 2)) * pixels[rows, cols]
    return Image.fromarray(np.rint(found).astype(np.uint8))


def corners(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4, 2) corners of a crop in pixels of the photograph, clockwise from the upper left.

    Args:
        matrix: (2, 3) from the photograph to the crop.
        size: (width, height) of the crop.
    """
    right, bottom = size[0] - 0.5, size[1] - 0.5
    outline = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    return np.linalg.solve(matrix[:, :2], (outline - matrix[:, 2]).T).T
