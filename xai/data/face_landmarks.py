"""The landmarks of a face, also where five points are known: they are drawn, and how far off that is.

Landmarks are numbered as iBUG 300-W does (Sagonas et al. 2013, ICCVW; dlib and DeepfakeBench count alike):
0–16 the jaw from ear to ear, 17–26 the brows, 27–35 the nose, 36–47 the eyes, 48–67 the mouth, each from the
image's left to its right; 68–80, where there are 81, lie along the hairline in any order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.core import DataError

Points = NDArray[np.float64]
COUNTS = (5, 68, 81)  # points that a face may be known by
FARTHEST = 1e9  # pixels
_LEFT_EYE, _RIGHT_EYE, _TIP, _CORNERS = range(36, 42), range(42, 48), 30, (48, 54)


@dataclass(frozen=True)
class _Group:
    """Landmarks that lie on one thing, and so are off together.

    Args:
        kind: Under which `ERRORS` has it.
        first: Of its landmarks.
        stop: The first behind them.
        handles: Landmarks that are off by themselves, too; those between them follow both.
        period: After how many landmarks the outline is at its start again; 0 where it does not close.
    """

    kind: str
    first: int
    stop: int
    handles: tuple[int, ...]
    period: int = 0


GROUPS = (
    _Group("jaw", 0, 17, (0, 4, 8, 12, 16)),
    _Group("brows", 17, 22, (17, 21)),
    _Group("brows", 22, 27, (22, 26)),
    _Group("nose", 27, 36, (27, 30, 31, 35)),
    _Group("eyes", 36, 42, (36, 37, 39, 40), 6),
    _Group("eyes", 42, 48, (42, 43, 45, 46), 6),
    _Group("mouth", 48, 60, (48, 51, 54, 57), 12),
    _Group("hairline", 68, 81, (68, 74, 80)),
)
_DETECTED, _DRAWN_HAIRLINE = (0.015, 0.015), (0.15, 0.05)
ERRORS = {
    5: {
        "jaw": (0.07, 0.07),
        "brows": (0.05, 0.05),
        "nose": (0.025, 0.04),
        "eyes": (0.035, 0.02),
        "mouth": (0.05, 0.055),
        "hairline": _DRAWN_HAIRLINE,
    },
    68: {**dict.fromkeys(("jaw", "brows", "nose", "eyes", "mouth"), _DETECTED), "hairline": _DRAWN_HAIRLINE},
    81: dict.fromkeys(("jaw", "brows", "nose", "eyes", "mouth", "hairline"), _DETECTED),
}
"""Number of known points → kind of landmarks → how far a group of them lies off as a whole, and its handles
beside that: standard deviations in x and in y, in distances between the eyes. `benchmarks/face_parts.py`
measures them, but for the hairline's, which are assumed."""

# A face drawn by hand: the middle between the eyes is (0, 0), their distance 1, y points down. Number of the
# first landmark of a run → the run, on the image's left and in the middle; the right is the mirror image.
_HALF: dict[int, list[tuple[float, float]]] = {
    0: [(-1.13, 0.03), (-1.12, 0.35), (-1.09, 0.68), (-1.03, 1.00), (-0.93, 1.29), (-0.76, 1.54)],
    6: [(-0.55, 1.75), (-0.30, 1.91), (0.0, 1.96)],
    17: [(-0.92, -0.19), (-0.78, -0.33), (-0.58, -0.37), (-0.37, -0.34), (-0.17, -0.26)],
    27: [(0.0, -0.03), (0.0, 0.17), (0.0, 0.37), (0.0, 0.57), (-0.26, 0.69), (-0.14, 0.73), (0.0, 0.77)],
    36: [(-0.71, 0.01), (-0.58, -0.07), (-0.43, -0.06), (-0.29, 0.03), (-0.43, 0.05), (-0.58, 0.05)],
    48: [(-0.41, 1.155), (-0.26, 1.10), (-0.11, 1.07), (0.0, 1.10)],
    57: [(0.0, 1.39), (-0.12, 1.38), (-0.27, 1.31)],
    60: [(-0.35, 1.16), (-0.12, 1.17), (0.0, 1.18)],
    66: [(0.0, 1.23), (-0.12, 1.22)],
    68: [(-1.12, -0.32), (-1.06, -0.55), (-0.94, -0.76), (-0.76, -0.92), (-0.53, -1.04), (-0.27, -1.10)],
    74: [(0.0, -1.12)],
}
# the landmark on the other side of each of 0 … 80
_MIRROR = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1)]
_MIRROR += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
_MIRROR += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65, *range(80, 67, -1)]


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
    try:
        points = np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The landmarks of the face are no numbers: {error}") from None
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] not in COUNTS:
        raise DataError(
            f"Landmarks of a face are {', '.join(map(str, COUNTS))} points (x, y); got {points.shape}.",
            "Five: both eyes, tip of the nose, corners of the mouth. 68 or 81: as dlib numbers them.",
        )
    if not (np.abs(points) < FARTHEST).all():
        raise DataError(
            "The landmarks of the face hold NaN, infinite values, or places that no image has.",
            "They are x and y in pixels of the image.",
        )
    eye, other, _, corner, opposite = np.moveaxis(five_points(points), -2, 0)
    across, down = other - eye, (corner + opposite - eye - other) / 2
    turned = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    if (turned <= 0).any():
        raise DataError(
            "The landmarks are of no face: eyes and mouth lie in one place, on one line or mirrored.",
            "The eye on the left of an upright image comes first, as does the corner of the mouth there.",
        )
    return points


def moved_landmarks(points: np.ndarray, draws: int, rng: np.random.Generator) -> Points:
    """Landmarks as they might as well lie, if they are off as `ERRORS` says of so many points.

    Groups of `GROUPS` are moved as a whole, and their handles by themselves, by independent normal deviates.

    Args:
        points: (5, 2), (68, 2) or (81, 2).
        draws: How many.
        rng: Source of the deviates.

    Returns:
        (draws, 81, 2).
    """
    found = complete_landmarks(points)
    eye, other = five_points(found)[:2]
    errors = [ERRORS[len(points)][group.kind] for group in GROUPS]
    spread = np.concatenate(
        [[whole, *[own] * len(group.handles)] for group, (whole, own) in zip(GROUPS, errors, strict=True)]
    )
    by = rng.standard_normal((draws, len(spread), 2)) * spread[:, None] * np.linalg.norm(other - eye)
    return found + _MOVES @ by


def _moves() -> NDArray[np.float64]:
    """(81, shifts and handles): how much each landmark moves with each group, and with each handle."""
    columns = []
    for group in GROUPS:
        inside, period = np.arange(group.first, group.stop), group.period or None
        with_handles = [
            np.interp(inside, group.handles, own, period=period) for own in np.eye(len(group.handles))
        ]
        for values in (np.ones(len(inside)), *with_handles):
            column = np.zeros(81)
            column[inside] = values
            columns.append(column)
    return np.stack(columns, axis=1)


def _drawn_face() -> tuple[Points, NDArray[np.float64]]:
    """(81, 2) landmarks of the drawn face, and (81, 5) how much each moves with each of the five points."""
    face = np.full((81, 2), np.nan)
    for start, run in _HALF.items():
        face[start : start + len(run)] = run
    other = face[_MIRROR] * (-1, 1)
    face = np.where(np.isnan(face), other, face)
    five = five_points(face)
    eyes, nose, mouth = np.array([(0.5, 0.5, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0.5, 0.5)])
    follows = np.zeros((81, 5))
    down = np.clip(face[:17, 1:] / five[3, 1], 0, 1)  # 0 at the eyes, 1 at the mouth
    follows[:17] = (1 - down) * eyes + down * mouth
    follows[[*range(17, 22), *_LEFT_EYE], 0] = 1
    follows[[*range(22, 27), *_RIGHT_EYE], 1] = 1
    bridge = np.clip(face[27:36, 1:] / face[_TIP, 1], 0, 1)  # 0 between the eyes, 1 from the tip on
    follows[27:36] = (1 - bridge) * eyes + bridge * nose
    across = np.clip((face[48:68, 0] - five[3, 0]) / (five[4, 0] - five[3, 0]), 0, 1)
    follows[48:68, 3], follows[48:68, 4] = 1 - across, across
    follows[68:] = eyes
    return face, follows


_FACE, _FOLLOWS = _drawn_face()
_MOVES = _moves()
