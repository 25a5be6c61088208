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


def read_through(
    image: Image.Image,
    matrix: np.ndarray,
    size: tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """The image under an affine map, black where there is none of it.

    Args:
        image: Of any mode.
        matrix: (2, 3) from its pixels to those of the result; whole numbers are centres of pixels.
        size: (width, height) of the result.
        resample: How values between pixels are read.
    """
    back = np.linalg.inv(np.concatenate([matrix, [[0, 0, 1]]]))[:2]
    # Pillow counts from the corner of the first pixel, not from its centre
    back[:, 2] += 0.5 - back[:, :2].sum(1) / 2
    return image.transform(size, Image.Transform.AFFINE, tuple(back.ravel()), resample)


def corners(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4, 2) corners of a crop in pixels of the photograph, clockwise from the upper left.

    Args:
        matrix: (2, 3) from the photograph to the crop.
        size: (width, height) of the crop.
    """
    right, bottom = size[0] - 0.5, size[1] - 0.5
    outline = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    return np.linalg.solve(matrix[:, :2], (outline - matrix[:, 2]).T).T
