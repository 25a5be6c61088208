"""An explanation as JSON: enough to know what was explained, by what, with which settings and result."""

from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import numpy as np

from xai.core import Explanation
from xai.report import words

SCHEMA = "xai.explanation/1"


def record_of(explanation: Explanation, seed: int = 0) -> dict[str, Any]:
    """Everything but the pictures and the raw maps, JSON-ready."""
    sample = explanation.sample
    return {
        "schema": SCHEMA,
        "image": {
            "id": sample.id,
            "path": None if sample.path is None else str(sample.path.resolve()),
            "sha256": None if sample.path is None else sha256(sample.path.read_bytes()).hexdigest(),
            "width": sample.image.width,
            "height": sample.image.height,
            "box": None if sample.box is None else list(sample.box),
            "label": sample.label,
        },
        "problem_type": explanation.problem_type.value,
        "predicted": explanation.predicted,
        "predicted_labels": list(explanation.predicted_labels),
        "probabilities": explanation.probabilities,
        "logits": dict(zip(explanation.labels, explanation.logits.tolist(), strict=True)),
        "maps": {name: statistics(explanation, name) for name in explanation.maps},
        "geometry": {"size": list(explanation.geometry.size), "box": list(explanation.geometry.box)},
        "method": {"name": explanation.method, "options": dict(explanation.options)},
        "preset": explanation.preset,
        "seed": seed,
        "model": dict(explanation.model),
        "warnings": warnings_of(explanation),
        "versions": versions(),
    }


def statistics(explanation: Explanation, name: str) -> dict[str, Any]:
    """Size, range and strongest patch of a map, in the units of the method.

    Where the sample's true mask is known, `points_into_mask` says whether the strongest relevance lies in it
    (the pointing game of Zhang et al. 2018, arXiv 1608.00507, without tolerance).
    """
    values = explanation.maps[name]
    row, col = np.unravel_index(values.argmax(), values.shape)
    found = {
        "rows": values.shape[0],
        "cols": values.shape[1],
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "sum": float(values.sum()),
        "strongest_patch": [int(row), int(col)],
    }
    if explanation.sample.mask is not None:
        place = np.nanargmax(explanation.geometry.project(values))
        found["points_into_mask"] = bool(explanation.sample.mask.ravel()[place])
    return found


def warnings_of(explanation: Explanation) -> list[str]:
    """What a reader should know: a map that is all zero shows no evidence, an image was seen squashed."""
    empty = [
        f"no evidence for {name}: the map is all zero"
        for name, values in explanation.maps.items()
        if not values.any()
    ]
    return empty + words.squashed_for(explanation)


@cache
def versions() -> dict[str, str]:
    """Versions of this package and of those whose numbers the maps depend on."""
    return {"xai": version("vit-xai")} | {name: version(name) for name in ("torch", "transformers", "captum")}
