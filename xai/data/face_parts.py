"""From the points of a face to named parts that divide the image: eyes, brows, nose, mouth and so on.

Parts are polygons of landmarks, numbered as `xai.data.face_landmarks` says, which also draws those that are
not known. `docs/face-parts.md` shows every part and says where it ends.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.core import Geometry
from xai.data.face_landmarks import Points, complete_landmarks, five_points

PARTS = ("eyes", "brows", "nose", "mouth", "forehead", "skin", "jaw", "hair", "background")
"""The parts, in the order of every array here. Each point of an image belongs to exactly one of them."""
SAMPLES = (8, 32)  # least and most places along each side of a cell at which its part is asked for
DIRECTIONS = 32  # corners of a grown outline
BAND = 0.13  # half the width of the band along the jaw, of its distance to the middle of the face
HAIR = (1.25, 1.4)  # how many times farther than the face's outline hair reaches: beside the ears, on top


@dataclass(frozen=True)
class _Grown:
    """A convex outline: the hull of some landmarks, moved outwards by a share of the eyes' distance."""

    part: str
    landmarks: tuple[int, ...]
    by: float


_CONVEX = (
    _Grown("nose", tuple(range(27, 36)), 0.06),
    _Grown("mouth", tuple(range(48, 60)), 0.05),
    _Grown("brows", tuple(range(17, 22)), 0.07),
    _Grown("brows", tuple(range(22, 27)), 0.07),
    _Grown("eyes", tuple(range(36, 42)), 0.10),
    _Grown("eyes", tuple(range(42, 48)), 0.10),
)


def label_parts(points: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> NDArray[np.uint8]:
    """Which part each place of a raster belongs to.

    Args:
        points: (..., 5, 2), (..., 68, 2) or (..., 81, 2).
        xs: (W,) x of the columns, ascending at equal distances, in the unit of the points.
        ys: (H,) y of the rows, likewise.

    Returns:
        (..., H, W) places in `PARTS`.
    """
    landmarks = complete_landmarks(points)
    lead = landmarks.shape[:-2]
    flat = landmarks.reshape(-1, *landmarks.shape[-2:])
    labels = np.full((len(flat), len(ys), len(xs)), PARTS.index("background"), np.uint8)
    for part, outline in _outlines(flat):
        rows, cols = _reached(outline[..., 1], ys), _reached(outline[..., 0], xs)
        if rows.start < rows.stop and cols.start < cols.stop:
            labels[:, rows, cols][_inside(outline, xs[cols], ys[rows])] = PARTS.index(part)
    return labels.reshape(*lead, len(ys), len(xs))


def part_masks(points: np.ndarray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Parts on the pixels of an image.

    Args:
        points: (5, 2), (68, 2) or (81, 2) in pixels; whole numbers are centres of pixels.
        size: (width, height) of the image.

    Returns:
        (parts, height, width) in the order of `PARTS`, exactly one True per pixel.
    """
    labels = label_parts(points, np.arange(size[0]), np.arange(size[1]))
    return labels == np.arange(len(PARTS), dtype=np.uint8)[:, None, None]


def cell_shares(
    points: np.ndarray, geometry: Geometry, grid: tuple[int, int], samples: int | None = None
) -> NDArray[np.float64]:
    """How much of each cell of a map each part covers.

    Cells are divided into equal squares, as many as they have pixels of the image, at least 8 and at most
    32 along a side; each is of the part that its middle lies in. What lies outside the image is background.

    Args:
        points: (..., 5, 2), (..., 68, 2) or (..., 81, 2) in pixels of the image; whole numbers are centres.
        geometry: Which part of the image the map lies on.
        grid: Rows and columns of the map.
        samples: Squares along a cell's side, in place of those.

    Returns:
        (..., parts, rows, cols) in the order of `PARTS`, adding up to 1 over the parts.
    """
    (left, top, right, bottom), (rows, cols) = geometry.box, grid
    pixels = max((right - left) / cols, (bottom - top) / rows)
    n = samples or int(np.clip(np.ceil(pixels), *SAMPLES))
    # box edges are edges of pixels, whose centres are whole numbers here
    xs = left - 0.5 + (np.arange(cols * n) + 0.5) * (right - left) / (cols * n)
    ys = top - 0.5 + (np.arange(rows * n) + 0.5) * (bottom - top) / (rows * n)
    labels = label_parts(points, xs, ys)
    lead, flat = labels.shape[:-2], labels.reshape(-1, rows * n, cols * n)
    outside = np.logical_or.outer(
        (ys < -0.5) | (ys >= geometry.size[1] - 0.5), (xs < -0.5) | (xs >= geometry.size[0] - 0.5)
    )
    flat[:, outside] = PARTS.index("background")
    kinds = len(PARTS)
    row, col = np.arange(rows * n) // n, np.arange(cols * n) // n
    cell = (row[:, None] * cols + col) * kinds
    first = np.arange(len(flat))[:, None, None] * (rows * cols * kinds)
    counts = np.bincount((first + cell + flat).ravel(), minlength=len(flat) * rows * cols * kinds)
    shares = counts.reshape(*lead, rows, cols, kinds) / n**2
    return np.moveaxis(shares, -1, -3)


def part_shares(maps: np.ndarray, cells: np.ndarray) -> NDArray[np.float64]:
    """What each part holds of a map's positive relevance.

    A cell's relevance counts as spread evenly over it. For the negative relevance give `-maps`, for the share
    that area alone would give `np.ones_like(maps)`.

    Args:
        maps: (..., rows, cols) relevance.
        cells: (..., parts, rows, cols) from `cell_shares`; leading axes are broadcast against each other.

    Returns:
        (..., parts) shares that add up to 1; NaN of a map without positive relevance.
    """
    positive = np.maximum(np.asarray(maps, np.float64), 0.0)
    held = np.einsum("...rc,...prc->...p", positive, cells)
    total = positive.sum((-2, -1))[..., None]
    return np.divide(held, total, out=np.full(held.shape, np.nan), where=total > 0)


def _outlines(landmarks: Points) -> list[tuple[str, Points]]:
    """Outlines (N, corners, 2) of the parts of (N, 81, 2) landmarks, later ones over earlier ones."""
    five = five_points(landmarks)
    middle = five.mean(1, keepdims=True)  # of the face: near the nose
    unit = np.linalg.norm(five[:, 1] - five[:, 0], axis=-1)[:, None, None]
    jaw, arc = landmarks[:, :17], landmarks[:, 68:]
    crown = np.concatenate([jaw[:, 2::-1], arc, jaw[:, :-4:-1]], axis=1)
    reach = HAIR[0] + (HAIR[1] - HAIR[0]) * np.sin(np.linspace(0, np.pi, crown.shape[1]))[:, None]
    brows = landmarks[:, 26:16:-1]
    band = np.concatenate(
        [middle + (1 + BAND) * (jaw - middle), middle + (1 - BAND) * (jaw - middle)[:, ::-1]], axis=1
    )
    found = [
        ("hair", middle + reach * (crown - middle)),
        ("skin", np.concatenate([jaw, arc[:, ::-1]], axis=1)),
        ("forehead", np.concatenate([arc, brows], axis=1)),
        ("jaw", band),
    ]
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    for one in _CONVEX:
        corners = landmarks[:, list(one.landmarks)]
        # the farthest corner in each direction: those of the convex hull, moved outwards
        farthest = (corners @ around.T).argmax(1)
        hull = np.take_along_axis(corners, farthest[..., None], axis=1)
        found.append((one.part, hull + one.by * unit * around))
    return found


def _reached(corners: np.ndarray, places: np.ndarray) -> slice:
    """Which ascending places lie between the least and the greatest of the corners."""
    return slice(*np.searchsorted(places, (corners.min(), corners.max())))


def _inside(outline: Points, xs: np.ndarray, ys: np.ndarray) -> NDArray[np.bool_]:
    """(N, H, W) which places lie inside outlines (N, corners, 2): left of an odd number of crossings."""
    ends = np.roll(outline, -1, axis=1)
    (x0, y0), (x1, y1) = (np.moveaxis(points, -1, 0)[..., None] for points in (outline, ends))
    crosses = (y0 <= ys) != (y1 <= ys)  # (N, corners, H)
    step = np.where(crosses, y1 - y0, 1.0)
    at = x0 + (ys - y0) * (x1 - x0) / step
    spacing = xs[1] - xs[0] if len(xs) > 1 else 1.0
    column = np.clip(np.ceil((at - xs[0]) / spacing), 0, len(xs)).astype(np.int64)
    width = len(xs) + 1
    line = np.arange(len(outline))[:, None, None] * len(ys) + np.arange(len(ys))
    where = (line * width + column)[crosses]
    turns = np.zeros(len(outline) * len(ys) * width, np.uint8)
    np.bitwise_xor.at(turns, where, 1)
    odd = np.bitwise_xor.accumulate(turns.reshape(-1, width), axis=1)
    return odd[:, :-1].reshape(len(outline), len(ys), len(xs)).view(np.bool_)
