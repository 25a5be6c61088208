"""What a survey keeps of an image and a method: map in the common frame, answer, shares of face parts.

One row of some hundred numbers, from which every mean, spread, distance and pairing is summed part by part:
nothing that grows with the number of images is ever in memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from xai.bench.config.survey import SurveyConfig
from xai.bench.data.parquet import arrow
from xai.bench.run.context import RunContext
from xai.bench.run.inputs import InputImage, by_shape
from xai.bench.run.items import SURVEY, WorkItem
from xai.bench.run.survey_schema import CROP_FRAME, FACE_FRAME, NO_LANDMARKS, SHARES, schema
from xai.core import DataError, Geometry
from xai.data.affine import similarity
from xai.data.face_landmarks import checked_points, complete_landmarks
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.faces import five_points
from xai.faces.align import SIZE
from xai.faces.align import places as face_places
from xai.stats import Exclusion

FACE = (face_places(SIZE) + 0.5) / SIZE
"""(5, 2) x and y of the points of `xai.core.Face` in the canonical frame, in shares of its side: that of
DeepfakeBench's aligned crops, which lie in it as they are."""


def survey_rows(context: RunContext, item: WorkItem) -> tuple[Any, tuple[Exclusion, ...]]:
    """Explain the images of a work item once, and lay the maps over the common frame.

    Returns:
        An Arrow table of `schema`, one row an image and method in the order of the data; what is missing.
    """
    config = context.config
    if not isinstance(config, SurveyConfig):
        raise TypeError("a survey needs a survey's configuration")
    images, broken = context.images(item.shard)
    images, targets, unknown = context.targets(images, config.target, SURVEY)
    class_of = dict(zip([one.index for one in images], targets, strict=True))
    frames = {one.index: _frame(one, config.frame) for one in images}
    excluded = [*broken, *unknown]
    excluded += [
        Exclusion(one.id, "*", SURVEY, frames[one.index][1]) for one in images if not frames[one.index][0]
    ]
    images = [one for one in images if frames[one.index][0]]
    rows: list[dict[str, Any]] = []
    if images:
        maps = context.maps(item.shard, images, [class_of[one.index] for one in images], config.target)
        excluded += maps.exclusions(SURVEY)
        for group, same in enumerate(by_shape(images)):
            relevance = maps.stacked(context.configurations, group)
            for frame in (FACE_FRAME, CROP_FRAME):
                places = [i for i, one in enumerate(same) if frames[one.index][0] == frame]
                if places:
                    some = [same[i] for i in places]
                    rows += _rows(context, config, frame, some, relevance[:, places], class_of)
    rows.sort(key=lambda row: row["place"])  # stable: methods stay in their order
    return arrow().Table.from_pylist(rows, schema=schema()), tuple(excluded)


def _frame(image: InputImage, asked: str) -> tuple[str, str]:
    """What an image's maps are laid over, or nothing and the reason."""
    if asked == CROP_FRAME or (image.landmarks is None and asked != FACE_FRAME):
        return CROP_FRAME, ""
    if image.landmarks is None:
        return "", NO_LANDMARKS
    try:
        checked_points(image.landmarks)
    except DataError as error:
        return "", error.message
    return FACE_FRAME, ""


def _rows(
    context: RunContext,
    config: SurveyConfig,
    frame: str,
    images: Sequence[InputImage],
    relevance: Tensor,
    class_of: Mapping[int, int],
) -> Iterator[dict[str, Any]]:
    """Rows of images of one shape and frame; none of a map that holds NaN, which is an exclusion already."""
    usable = relevance.isfinite().flatten(2).all(-1)
    level = relevance.double().abs().flatten(2).mean(-1)
    aligned, outside, shares = relevance, torch.zeros(len(images), dtype=torch.float64), None
    if frame == FACE_FRAME:
        height, width = images[0].pixels.shape[1:]
        points = [_at_input(*_face(one)) for one in images]
        aligned, outside = in_frame(relevance, to_input(points, width / height), config.frame_size)
        shares = _part_shares(images, relevance.numpy())
    labels = context.classifier.labels
    for i, one in enumerate(images):
        for m, configuration in enumerate(context.configurations):
            if usable[m, i]:
                row = {
                    "image": one.id,
                    "group": one.group,
                    "label": one.label,
                    "kind": one.kind,
                    "predicted": labels[int(one.logits.argmax())],
                    "target": labels[class_of[one.index]],
                    "method": configuration.name,
                    "frame": frame,
                    "place": one.index,
                    "rows": aligned.shape[-2],
                    "cols": aligned.shape[-1],
                    "level": float(level[m, i]),
                    "outside": float(outside[i]),
                    "logits": one.logits.tolist(),
                    "map": aligned[m, i].flatten().tolist(),
                }
                if shares is not None:
                    row |= dict(zip(SHARES, shares[:, m, i].tolist(), strict=True))
                yield row


def _face(image: InputImage) -> tuple[np.ndarray, Geometry]:
    if image.landmarks is None or image.geometry is None:
        raise TypeError("an image is laid over the face by its landmarks")
    return image.landmarks, image.geometry


def _at_input(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(5, 2) points as shares of the input's width and height; whole numbers are centres of pixels."""
    left, top, right, bottom = geometry.box
    return (five_points(points) + 0.5 - (left, top)) / (right - left, bottom - top)


def _part_shares(images: Sequence[InputImage], relevance: np.ndarray) -> np.ndarray:
    """(3, methods, B, parts) of what speaks for the class, of what speaks against it, and of the area."""
    found = np.empty((len(SHARES), *relevance.shape[:2], len(PARTS)))
    faces: dict[Geometry, list[int]] = {}
    for i, one in enumerate(images):
        faces.setdefault(_face(one)[1], []).append(i)
    for geometry, places in faces.items():  # crops of one size are one call
        points = [complete_landmarks(_face(images[i])[0]) for i in places]
        cells = cell_shares(np.stack(points), geometry, relevance.shape[2:])
        maps = relevance[:, places]
        for share, values in enumerate((maps, -maps, np.ones_like(maps))):
            found[share][:, places] = part_shares(values, cells)
    return found


def to_input(points: Sequence[np.ndarray], aspect: float = 1.0) -> np.ndarray:
    """Of each face the similarity that takes the canonical frame to the input, by least squares.

    Args:
        points: Of each face (5, 2), in shares of the input's width and height.
        aspect: Width of the input over its height.

    Returns:
        (B, 2, 3) float64: canonical (x, y) lies at `matrix @ (x, y, 1)` in shares of width and height.
    """
    square = np.array([aspect, 1.0])
    return np.stack([similarity(FACE, one * square) / square[:, None] for one in points])


def in_frame(maps: Tensor, matrices: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Maps as they lie over the canonical frame: bilinear between patch centres, 0 outside of the input.

    Args:
        maps: (methods, B, rows, cols) relevance of the patches of the input.
        matrices: (B, 2, 3) from `to_input`.
        size: Side of the frame in cells.

    Returns:
        (methods, B, size, size) float32; (B,) share of the frame that lies outside of the input.
    """
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    frame = torch.stack([x, y, torch.ones_like(x)], -1)  # (size, size, 3)
    places = torch.einsum("bij,yxj->byxi", torch.from_numpy(matrices), frame)  # in shares of the input
    inside = ((places >= 0) & (places <= 1)).all(-1)
    # a patch at the border reaches half a patch beyond its centre; beyond the border there is none
    values = grid_sample(
        maps.double().transpose(0, 1), 2 * places - 1, padding_mode="border", align_corners=False
    )
    aligned = (values * inside[:, None]).transpose(0, 1)
    return aligned.float(), 1 - inside.double().flatten(1).mean(1)
