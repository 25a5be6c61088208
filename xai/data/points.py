"""Points in an image that are known: landmarks of a face in a file, and clicks of people in a cell."""

import math
from pathlib import Path

import numpy as np

from xai.core import DataError
from xai.core.files import short_path

SIZES = (5, 68, 81)  # landmarks of a face: `xai.core.Face`, dlib's, and dlib's with the forehead
LONGEST = 1_000_000  # bytes of a file of landmarks, far more than any has
EXAMPLE = "412:230 398.5:251"


def read_landmarks(path: Path, where: str = "") -> np.ndarray:
    """Read the points of a face that NumPy saved, as DeepfakeBench does beside its frames.

    Args:
        path: `.npy`; never unpickled.
        where: File and line that names it, for messages.

    Returns:
        (5, 2), (68, 2) or (81, 2) float64: x and y in pixels.

    Raises:
        DataError: It cannot be read, holds another shape or no finite numbers.
    """
    name = f"{where}: the landmarks {short_path(path)}".removeprefix(": ")
    hint = f"An array of shape ({', '.join(map(str, SIZES))}; 2): x and y in pixels of the image."
    try:
        if path.stat().st_size > LONGEST:
            raise DataError(f"{name} take {path.stat().st_size} bytes.", hint)
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # a header may promise more than there is
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name} cannot be read: {error}.", hint) from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise DataError(f"{name} are no array of numbers.", hint)
    points = np.array(found, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in SIZES:
        raise DataError(f"{name} have the shape {points.shape}.", hint)
    if not np.isfinite(points).all():
        raise DataError(f"{name} are not finite.", hint)
    return points


def parse_clicks(text: str) -> list[tuple[float, float]]:
    """Read `x:y x:y`; no text, no clicks.

    Raises:
        ValueError: Anything else, or numbers that are not finite.
    """
    clicks = []
    for part in text.split():
        try:
            x, y = (float(number) for number in part.split(":"))
        except ValueError:
            raise ValueError(f"the click {part[:40]!r} is not x:y (example: {EXAMPLE})") from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"the click {part[:40]!r} is not finite")
        clicks.append((x, y))
    return clicks


def clicks_text(clicks: np.ndarray) -> str:
    """What `parse_clicks` reads back, to a hundredth of a pixel.

    Args:
        clicks: (N, 2).
    """
    return " ".join(
        f"{x:.2f}".rstrip("0").rstrip(".") + ":" + f"{y:.2f}".rstrip("0").rstrip(".") for x, y in clicks
    )


def check_inside(clicks: np.ndarray, size: tuple[int, int], where: str) -> None:
    """Raise a DataError unless all clicks (N, 2) lie in an image of `size` (width, height)."""
    outside = (clicks < -0.5).any(1) | (clicks > np.array(size) - 0.5).any(1)
    if outside.any():
        raise DataError(
            f"{where}: the click {clicks_text(clicks[outside][:1])} lies outside its image of "
            f"{size[0]} × {size[1]} pixels.",
            "Clicks are given in pixels of the image as it is shown, whole numbers in the middle of a pixel.",
        )
