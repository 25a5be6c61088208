"""Images that the page works with, and what it is told of them and of their maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xai.core import Explanation, Sample
from xai.explanation import warnings_of
from xai.explanation.removal import RemovedRegions, rank_p
from xai.report.encode import encode_grid, encode_mask, encode_picture, finite
from xai.report.pictures import in_order
from xai.serve.model import Answer

SIDE = 720  # pixels of the picture that is brushed on
LISTED = 5  # classes with their probabilities


@dataclass(eq=False)
class HeldImage:
    """An image to be explained: an upload, or a face that was cut out of one.

    Args:
        upload: What it comes from.
        sample: The image.
        answer: The model's.
        told: What the page is told of it.
        explanations: By method.
    """

    upload: str
    sample: Sample
    answer: Answer
    told: dict[str, Any]
    explanations: dict[str, Explanation] = field(default_factory=dict)


def image_event(image_id: str, sample: Sample, answer: Answer, explained: Sequence[object]) -> dict[str, Any]:
    """What the page is told of an image that the model has looked at.

    Args:
        image_id: Under which it is held.
        sample: The image.
        answer: The model's.
        explained: Classes that were asked for, whose probabilities are always told.
    """
    width, height = sample.image.size
    small = sample.image.copy()
    small.thumbnail((SIDE, SIDE))
    ranked = list(answer.probabilities.items())
    shown = [one for place, one in enumerate(ranked) if place < LISTED or one[0] in explained]
    return {
        "kind": "image",
        "id": image_id,
        "name": sample.id,
        "label": sample.label,
        "width": width,
        "height": height,
        "view": [0, 0, width, height],
        "seen": list(answer.seen),
        "grid": list(answer.grid),
        "picture": encode_picture(small, SIDE),
        "mask": None if sample.mask is None else encode_mask(sample.mask, small.size),
        "predicted": answer.predicted,
        "probabilities": dict(shown),
    }


def map_event(image_id: str, method: str, found: Explanation) -> dict[str, Any]:
    """What the page is told of maps of one image and method, in the order in which they are shown."""
    names = list(found.maps)
    if len(names) > 1:
        first = in_order(names, len(found.labels))
        names = [*first, *(name for name in names if name not in first)]
    maps = {name: encode_grid(found.maps[name]).model_dump() for name in names}
    return {"kind": "map", "image": image_id, "method": method, "maps": maps, "caveats": warnings_of(found)}


def region_event(
    image_id: str, label: str, region: np.ndarray, operator: str, found: RemovedRegions, seed: int
) -> dict[str, Any]:
    """What the page is told of a region that was removed, and of the random ones beside it.

    Args:
        image_id: Of its image.
        label: The class whose score was followed.
        region: (cells,) bool, those removed.
        operator: Name of what was put in their place.
        found: The scores.
        seed: Of the random regions.
    """
    random = found.random[0]
    draws = len(random)
    chance = rank_p(found.without, found.random) if draws else np.array([np.nan])
    return {
        "kind": "region",
        "image": image_id,
        "target": label,
        "cells": np.flatnonzero(region).tolist(),
        "patches": region.size,
        "operator": operator,
        "clean": found.clean,
        "without": finite(found.without[0]),
        "draws": draws,
        "random": random.tolist() if draws and np.isfinite(random).all() else [],
        "p": finite(chance[0]),
        "seed": seed,
    }
