"""Upright crops of faces as DeepfakeBench makes them, which the detectors trained with it saw.

Five of dlib's landmarks are brought as near as a similarity (turn, one scale, shift) can to five fixed
places, and the image is read there, bilinear. The numbers are those of its `preprocessing/preprocess.py`
(github.com/SCLBD/DeepfakeBench). Where five points alone are known, dlib's are drawn from them.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from xai.core import Face, Origin, Sample
from xai.data.affine import read_through, similarity
from xai.data.face_landmarks import complete_landmarks

SIZE = 256
"""Side of a crop in pixels."""
SCALE = 1.3
"""Of the crop, beside that in which the places below fill it."""
PLACES = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""(5, 2) where eyes, nose and corners of the mouth lie in 112 × 112 pixels without margin (ArcFace's)."""
FIVE_OF_DLIB = (37, 44, 30, 49, 55)
"""Which of dlib's 68 (or 81) points DeepfakeBench takes: upper lids, tip of the nose, at the mouth the upper
lip beside the corner on the left and the lower lip beside that on the right."""
ALREADY = 0.75
"""Overlap of an image and the crop that would be cut from it, from which on it is such a crop itself."""


def places(size: int = SIZE, scale: float = SCALE) -> np.ndarray:
    """(5, 2) where the points go in a crop of `size` × `size` pixels."""
    margin = size * (scale - 1) / 2
    return (PLACES * size / 112 + margin) / scale


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """(5, 2) the points that DeepfakeBench aligns by, of (5, 2), (68, 2) or (81, 2) landmarks.

    Of 68 and 81 they are five of them. Of the five of `xai.core.Face` they are drawn: middles of the eyes and
    corners of the mouth lie elsewhere than dlib's points, and crops by those are turned and larger.

    Raises:
        DataError: The points are of no face: another number, or not where eyes and mouth can be.
    """
    return complete_landmarks(landmarks)[list(FIVE_OF_DLIB)]


def crop(sample: Sample, face: Face, number: int = 0, *, size: int = SIZE, scale: float = SCALE) -> Sample:
    """Cut a face out of a photograph or frame, upright.

    Beyond the image there is black. The crop keeps what is known of the photograph; its mask is cut likewise.

    Args:
        sample: The photograph. Frame and time of an `origin` that it has already are kept.
        face: In pixels of it.
        number: Which of its faces.
        size: Side of the crop in pixels.
        scale: How much more than the face's places it shows.

    Returns:
        A sample named `{id}_face{number}`, with the face's points as `landmarks`, and `origin`, whose group
        is the photograph if it has none.
    """
    matrix = similarity(five_points(face.points), places(size, scale))
    landmarks = face.points @ matrix[:, :2].T + matrix[:, 2]
    before = sample.origin or Origin(sample.image, matrix)
    return replace(
        sample,
        id=f"{sample.id}_face{number}",
        image=read_through(sample.image, matrix, (size, size)),
        mask=None if sample.mask is None else _mask_of(sample, matrix, (size, size)),
        box=None,
        group=sample.group or sample.id,
        origin=replace(before, image=sample.image, to_crop=matrix, face=face, number=number),
        landmarks=landmarks,
        clicks=None if sample.clicks is None else sample.clicks @ matrix[:, :2].T + matrix[:, 2],
    )


def is_crop(image: Image.Image, face: Face, least: float = ALREADY) -> bool:
    """Whether an image is an aligned crop of this face already, so that none need be cut from it.

    It is if the crop to be cut would show the same: their overlap is at least `least` of their union.
    """
    return overlap(image.size, face) >= least


def overlap(size: tuple[int, int], face: Face) -> float:
    """Intersection over union of an image of `size` and the crop of a face in it, counted on a grid."""
    matrix = similarity(five_points(face.points), places())
    steps = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(steps * size[0] - 0.5, steps * size[1] - 0.5), -1)
    inside = grid @ matrix[:, :2].T + matrix[:, 2]
    shared = float(((inside > -0.5) & (inside < SIZE - 0.5)).all(-1).mean()) * size[0] * size[1]
    area = SIZE**2 / float(np.linalg.det(matrix[:, :2]))
    shared = min(shared, area)  # which the grid may miss by a little
    return shared / (size[0] * size[1] + area - shared)


def _mask_of(sample: Sample, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The photograph's mask, which may have another resolution than it, in the crop."""
    mask = Image.fromarray(np.asarray(sample.mask, np.uint8) * 255)
    factor = np.array(sample.image.size) / mask.size
    turn, shift = matrix[:, :2], matrix[:, 2]
    from_mask = np.column_stack([turn * factor, turn @ (factor / 2 - 0.5) + shift])
    return np.asarray(read_through(mask, from_mask, size)) >= 128
