"""From the points of a face to named parts that divide the image: eyes, brows, nose, mouth and so on.

Landmarks are numbered as iBUG 300-W does (Sagonas et al. 2013, ICCVW; dlib and DeepfakeBench count alike):
0–16 the jaw from ear to ear, 17–26 the brows, 27–35 the nose, 36–47 the eyes, 48–67 the mouth, each from the
image's left to its right; 68–80, where there are 81, lie along the hairline in any order. Five points are
turned into as many by a drawn face, see `complete_landmarks`. `docs/face-parts.md` shows every part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.core import DataError, Geometry

Points = NDArray[np.float64]
PARTS = ("eyes", "brows", "nose", "mouth", "forehead", "skin", "jaw", "hair", "background")
"""The parts, in the order of every array here. Each point of an image belongs to exactly one of them."""
COUNTS = (5, 68, 81)  # points that a face may be known by
SAMPLES = (8, 32)  # least and most places along each side of a cell at which its part is asked for
DIRECTIONS = 32  # corners of a grown outline
BAND = 0.13  # half the width of the band along the jaw, of its distance to the middle of the face
HAIR = (1.25, 1.4)  # how many times farther than the face's outline hair reaches: beside the ears, on top

# A face drawn by hand: the middle between the eyes is (0, 0), their distance 1, y points down. Number of the
# first landmark of a run → the run, on the image's left and in the middle; the right is the mirror image.
_HALF: dict[int, list[tuple[float, float]]] = {
    0: [(-1.15, 0.05), (-1.13, 0.37), (-1.07, 0.69), (-0.98, 0.99), (-0.83, 1.26), (-0.64, 1.49)],
    6: [(-0.42, 1.68), (-0.21, 1.82), (0.0, 1.87)],
    17: [(-0.92, -0.25), (-0.77, -0.38), (-0.58, -0.41), (-0.40, -0.38), (-0.22, -0.31)],
    27: [(0.0, 0.0), (0.0, 0.19), (0.0, 0.38), (0.0, 0.57), (-0.25, 0.70), (-0.13, 0.74), (0.0, 0.77)],
    36: [(-0.73, 0.01), (-0.58, -0.08), (-0.42, -0.07), (-0.27, 0.02), (-0.42, 0.07), (-0.58, 0.07)],
    48: [(-0.41, 1.155), (-0.26, 1.08), (-0.10, 1.04), (0.0, 1.06)],
    57: [(0.0, 1.36), (-0.12, 1.35), (-0.27, 1.28)],
    60: [(-0.34, 1.16), (-0.12, 1.13), (0.0, 1.14)],
    66: [(0.0, 1.21), (-0.12, 1.20)],
    68: [(-1.12, -0.32), (-1.06, -0.55), (-0.94, -0.76), (-0.76, -0.92), (-0.53, -1.04), (-0.27, -1.10)],
    74: [(0.0, -1.12)],
}
# the landmark on the other side of each of 0 … 80
_MIRROR = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
_MIRROR += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
_MIRROR += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65, *range(80, 67, -1)]


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
_LEFT_EYE, _RIGHT_EYE, _TIP, _CORNERS = range(36, 42), range(42, 48), 30, (48, 54)


def five_points(landmarks: Points) -> Points:
    """The middles of both eyes, the tip of the nose and the corners of the mouth.

    Args:
        landmarks: (..., 5, 2), (..., 68, 2) or (..., 81, 2).

    Returns:
        (..., 5, 2) in the order of `xai.core.Face`.
    """
    if landmarks.shape[-2] == 5:
        return landmarks
    eyes = [landmarks[..., eye.start : eye.stop, :].mean(-2) for eye in (_LEFT_EYE, _RIGHT_EYE)]
    return np.stack([*eyes, *(landmarks[..., one, :] for one in (_TIP, *_CORNERS))], axis=-2)


def complete_landmarks(points: np.ndarray) -> Points:
    """The 81 landmarks of faces, those that are not known drawn.

    The drawn face is laid over the five points by the similarity transform of least squares, and what is left
    between it and the five points is shared out: an eye and its brow move with the eye, the nose with its
    tip, lips with the corners of the mouth, the jaw with mouth and eyes by height. So the drawing passes
    through all five points, and turning, moving or scaling them does the same to all landmarks. Of 68
    landmarks the hairline alone is drawn.

    Args:
        points: (..., 5, 2), (..., 68, 2) or (..., 81, 2).

    Returns:
        (..., 81, 2) float64; the last 13 go along the hairline from the image's left to its right.

    Raises:
        DataError: The points are not of a face: another number, not finite, all in one place, or mirrored.
    """
    points = checked_points(points)
    five = five_points(points)
    z, drawn = five[..., 0] + 1j * five[..., 1], _FACE[:, 0] + 1j * _FACE[:, 1]
    corners = five_points(_FACE)
    c = corners[:, 0] + 1j * corners[:, 1]
    middle, centred = z.mean(-1, keepdims=True), c - c.mean()
    # least squares over complex numbers: the factor turns and scales
    factor = ((z - middle) @ centred.conj() / (centred @ centred.conj()))[..., None]
    left = z - (factor * centred + middle)
    placed = factor * (drawn - c.mean()) + middle + left @ _FOLLOWS.T
    found = np.stack([placed.real, placed.imag], axis=-1)
    known = points.shape[-2]
    if known > 5:
        found[..., :68, :] = points[..., :68, :]
    if known == 81:
        across = five[..., 1, :] - five[..., 0, :]
        order = (points[..., 68:, :] @ across[..., None])[..., 0].argsort(-1)
        found[..., 68:, :] = np.take_along_axis(points[..., 68:, :], order[..., None], axis=-2)
    return found


def checked_points(points: np.ndarray) -> Points:
    """The points as float64, if they can be those of a face.

    Raises:
        DataError: See `complete_landmarks`.
    """
    points = np.asarray(points, np.float64)
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] not in COUNTS:
        raise DataError(
            f"Landmarks of a face are {', '.join(map(str, COUNTS))} points (x, y); got {points.shape}.",
            "Five: both eyes, tip of the nose, corners of the mouth. 68 or 81: as dlib numbers them.",
        )
    if not np.isfinite(points).all():
        raise DataError("The landmarks of the face hold NaN or infinite values.")
    eye, other, _, corner, opposite = np.moveaxis(five_points(points), -2, 0)
    across, down = other - eye, (corner + opposite - eye - other) / 2
    turned = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    if (turned <= 0).any():
        raise DataError(
            "The landmarks are of no face: eyes and mouth lie in one place, on one line or mirrored.",
            "The eye on the left of an upright image comes first, as does the corner of the mouth there.",
        )
    return points


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
        labels[_inside(outline, xs, ys)] = PARTS.index(part)
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
    middle = five.mean(1, keepdims=True)
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
    turns = np.bincount(where, minlength=len(outline) * len(ys) * width).astype(np.uint8)
    odd = np.bitwise_xor.accumulate(turns.reshape(-1, width), axis=1) & 1
    return odd[:, :-1].reshape(len(outline), len(ys), len(xs)).astype(bool)


def _drawn_face() -> tuple[Points, NDArray[np.float64]]:
    """(81, 2) landmarks of the drawn face, and (81, 5) how much each moves with each of the five points."""
    face = np.full((81, 2), np.nan)
    for start, run in _HALF.items():
        face[start : start + len(run)] = run
    other = face[_MIRROR] * (-1, 1)
    face = np.where(np.isnan(face), other, face)
    five = five_points(face)
    # 0 at one corner of the mouth, 1 at the other; 0 at the eyes' height, 1 at the mouth's
    across = np.clip((face[:, 0] - five[3, 0]) / (five[4, 0] - five[3, 0]), 0, 1)
    down = np.clip(face[:, 1] / five[3, 1], 0, 1)
    follows = np.zeros((81, 5))
    eyes, mouth = (
        np.array([0.5, 0.5, 0, 0, 0]),
        np.stack([0 * across, 0 * across, 0 * across, 1 - across, across], 1),
    )
    follows[:17] = (1 - down[:17, None]) * eyes + down[:17, None] * np.array([0, 0, 0, 0.5, 0.5])
    follows[[*range(17, 22), *_LEFT_EYE], 0] = 1
    follows[[*range(22, 27), *_RIGHT_EYE], 1] = 1
    bridge = face[27:31, 1, None] / face[_TIP, 1]
    follows[27:31] = (1 - bridge) * eyes + bridge * np.array([0, 0, 1, 0, 0])
    follows[31:36, 2] = 1
    follows[48:68] = mouth[48:68]
    follows[68:] = eyes
    return face, follows


_FACE, _FOLLOWS = _drawn_face()
