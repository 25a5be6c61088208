"""Results on disk: whole files only, each image's own, never another's."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import save as safetensors_bytes

from xai import report
from xai.core import Explanation
from xai.core.files import disk_errors, write_bytes, write_json
from xai.core.language import gettext
from xai.core.runtime import versions
from xai.report import words

SCHEMA = "xai.explanation/1"


def write_explanation(
    explanation: Explanation,
    out: Path,
    seed: int = 0,
    panels: Mapping[str, Figure] | None = None,
    alone: bool = False,
) -> dict[str, Any]:
    """Write pictures, raw maps and, last of all, the record.

    `{stem}_{class}_attention.png` per map, `{stem}_comparison.png` of the first two,
    `{stem}_maps.safetensors` (one float32 tensor (rows, cols) per map), `{stem}_explanation.json`.

    Args:
        explanation: Its sample's id is the stem.
        out: Folder, made if need be.
        seed: Of methods that draw random numbers, for the record.
        panels: Further pictures by name, written as `{stem}_{name}.png`.
        alone: Write panels as `{name}.png`, without the stem, unless another image's panel stands there.

    Returns:
        What the JSON file holds.

    Raises:
        OutputError: A file cannot be written. Files written before it are whole.
    """
    stem, names = explanation.sample.id, list(explanation.maps)
    record_path = out / f"{stem}_explanation.json"
    content = record_of(explanation, seed)
    with writing(out):
        files = {}
        for name in names:
            files[f"attention of {name}"] = f"{stem}_{report.file_slug(name)}_attention.png"
            report.save(report.draw_class(explanation, name), out / files[f"attention of {name}"])
        if len(names) > 1:
            files["comparison"] = f"{stem}_comparison.png"
            comparison = report.draw_comparison(explanation, *report.compared(explanation))
            report.save(comparison, out / files["comparison"])
        for name, figure in (panels or {}).items():
            plain = alone and (not (out / f"{name}.png").exists() or f"{name}.png" in _files_of(record_path))
            files[name] = f"{name}.png" if plain else f"{stem}_{name}.png"
            report.save(figure, out / files[name])
        files["maps"] = f"{stem}_maps.safetensors"
        write_bytes(out / files["maps"], safetensors_bytes(dict(explanation.maps)))
        files["record"] = record_path.name
        write_json(record_path, content | {"files": files})
    return content | {"files": files}


def owner_of(out: Path) -> Callable[[str], Path | None]:
    """Tell which image the files of a stem in `out` belong to."""

    def owner(stem: str) -> Path | None:
        path = out / f"{stem}_explanation.json"
        if not path.exists():
            return None
        try:
            return Path(_read(path)["image"]["path"])
        except (KeyError, TypeError):
            return path  # not a record of ours, so not ours to overwrite

    return owner


def _files_of(record: Path) -> list[str]:
    """Names of the files written with a record, none if there is no record."""
    files = _read(record).get("files") if record.exists() else None
    return list(files.values()) if isinstance(files, dict) else []


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Make the folder; turn what the disk objects into one error."""
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        yield


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
        gettext("no evidence for {label}: the map is all zero", label=name)
        for name, values in explanation.maps.items()
        if not values.any()
    ]
    return empty + words.squashed_for(explanation)
