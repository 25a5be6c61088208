"""Photographs in, their faces out."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL.Image import Image

from xai.core import DataError, Face
from xai.data.face_landmarks import checked_points
from xai.faces.mtcnn import MTCNN, Found
from xai.models import list_fetchable
from xai.models.fetch_faces import FACES, read_face_weights

SMALLEST = 40
"""Side in pixels of the smallest face looked for, as in DeepfakeBench (dlib's 80, after one enlargement)."""
SMALLEST_SHARE = 1 / 64  # of the longer side: a larger photograph costs no more
REDUCED = 2048  # pixels: a photograph twice as long is reduced by a whole factor before it is looked at
PIXELS = 8_000_000  # looked at together
LEAST = 0.9
"""Probability that a face must have. The weights' own limit is 0.7."""


def find(
    images: Sequence[Image], *, smallest: int = SMALLEST, least: float = LEAST, device: str = "cpu"
) -> list[list[Face]]:
    """The faces of each image, the largest first.

    Images of one size are looked at together, at most 8 megapixels at once.

    Args:
        images: RGB, upright.
        smallest: Side of the smallest face looked for, in pixels; at least 1/64 of the longer side.
        least: Probability that a face must have.
        device: Where the networks run.

    Raises:
        ModelError: The weights are not here.
    """
    net = _net(device)
    found: list[list[Face]] = [[] for _ in images]
    for places, factor in _batches(images):
        pixels = torch.stack([_pixels(images[place], factor) for place in places]).to(device)
        longest = max(images[places[0]].size)
        answer = net(pixels, max(smallest, longest * SMALLEST_SHARE) / factor)
        for face, of in _faces(answer, factor, least):
            found[places[of]].append(face)
    return [sorted(faces, key=lambda face: -face.box[2] * face.box[3]) for faces in found]


@lru_cache(maxsize=2)
def _net(device: str) -> MTCNN:
    (entry,) = [entry for entry in list_fetchable() if entry.name == FACES]
    state = read_face_weights(entry.folder())
    with torch.device("meta"):
        net = MTCNN()
    net.load_state_dict(state, assign=True)
    return net.eval().to(device)


def _batches(images: Sequence[Image]) -> Iterator[tuple[list[int], int]]:
    """Places of images of one size, and the factor to reduce them by."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        by_size[image.size].append(place)
    for (width, height), places in by_size.items():
        factor = max(1, max(width, height) // REDUCED)
        step = max(1, PIXELS * factor**2 // (width * height))
        for start in range(0, len(places), step):
            yield places[start : start + step], factor


def _pixels(image: Image, factor: int) -> torch.Tensor:
    """(3, H, W) uint8."""
    reduced = image.convert("RGB")
    if factor > 1:
        reduced = reduced.reduce(factor)
    return torch.from_numpy(np.array(reduced)).permute(2, 0, 1)


def _upright(points: np.ndarray) -> bool:
    """Whether eyes and mouth lie as in a face; by points in a line, or mirrored, no crop can be aligned."""
    try:
        checked_points(points)
    except DataError:
        return False
    return True


def _faces(answer: Found, factor: int, least: float) -> Iterator[tuple[Face, int]]:
    # the centre of pixel i of a reduced image is that of pixels i·factor … of the whole one
    shift = (factor - 1) / 2
    corners = answer.boxes.double().cpu().numpy() * factor + shift
    points = answer.points.double().cpu().numpy() * factor + shift
    rows = zip(corners, points, answer.scores.tolist(), answer.image.tolist(), strict=True)
    for (left, top, right, bottom), at, score, of in rows:
        if score >= least and _upright(at):
            box = (float(left), float(top), float(right - left), float(bottom - top))
            yield Face(at, box, score), of
