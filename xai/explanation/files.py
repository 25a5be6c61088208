"""Results on disk: whole files only, each image's own, never another's."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

import xai.report as report
from xai.core import Explanation, Origin
from xai.core.explanation import CLICK_TOLERANCE
from xai.core.files import disk_errors, write_bytes, write_json
from xai.core.language import gettext
from xai.core.map_statistics import SINK_RATIO, relative_range, sink_share, sinks_of
from xai.core.runtime import versions
from xai.report import words
from xai.report.photograph import PhotographPictures
from xai.report.picture import Picture
from xai.report.pictures import ExplanationPictures

if TYPE_CHECKING:
    from xai.report.image_payload import FaceEvidence

SCHEMA = "xai.explanation/1"
Panels = Mapping[str, Callable[[], Picture]]
ON_PHOTOGRAPH = " on photograph"
PICTURES = ("all", "comparison", "none")
"""Which pictures of the classes are drawn."""


def write_explanation(
    explanation: Explanation,
    out: Path,
    seed: int = 0,
    panels: Panels | None = None,
    *,
    alone: bool = False,
    pictures: str = "all",
    folders: bool | None = None,
    evidence: "FaceEvidence | None" = None,
) -> dict[str, Any]:
    """Write pictures, raw maps and, last of all, the record.

    `{stem}_{class}_attention.png` per map, `{stem}_comparison.png` of the first two,
    `{stem}_face_parts.png` where there is evidence by parts of the face,
    `{stem}_maps.safetensors` (one float32 tensor (rows, cols) per map), `{stem}_explanation.json`.

    Of a face that was cut out of a photograph also `{stem}_{class}_on_photograph.png`, the map on the
    photograph at its own resolution, and `{stem}_comparison_on_photograph.png`.

    An image has its files in one place of `out`. What an earlier run wrote for it under the names of now is
    replaced, and deleted where it would show other maps than those that are there: a picture that is not
    drawn this time, and the files in the other place, if the image is written to another one than before.

    Args:
        explanation: Its sample's id is the stem.
        out: Folder, made if need be.
        seed: Of methods that draw random numbers, for the record.
        panels: What draws further pictures, by name; written as `{stem}_{name}.png`.
        alone: Write panels as `{name}.png`, without the stem, unless another image's panel stands there.
        pictures: One of `PICTURES`: "comparison" draws the comparison alone, or the one map that there is;
            "none" neither. Panels are drawn as they are given.
        folders: Whether the files lie in `out/{stem}` rather than in `out`; None: where the image has them
            from an earlier run, else in `out`.
        evidence: By parts of the face; drawn with all pictures.

    Returns:
        What the JSON file holds; its `files` are relative to `out`.

    Raises:
        OutputError: A file cannot be written. Files written before it are whole.
    """
    stem = explanation.sample.id
    content = record_of(explanation, seed, evidence)
    record = f"{stem}_explanation.json"
    folder = _is_of(out / stem / record, content) if folders is None else folders
    here, there = (out / stem, out) if folder else (out, out / stem)
    drawn = _pictures(explanation)
    wanted = {"all": list(drawn), "comparison": _summaries(drawn), "none": []}[pictures]
    parts = f"{stem}_face_parts.png"
    if pictures == "all" and evidence is not None and evidence.parts:
        drawn["face_parts"] = parts, partial(report.draw_face_parts, explanation, evidence)
        wanted.append("face_parts")
    files = {kind: drawn[kind][0] for kind in wanted}
    with writing(here):
        for kind, name in files.items():
            report.save(drawn[kind][1](), here / name)
        before = _files_of(here / record)
        for name, draw in (panels or {}).items():
            plain = alone and (not (here / f"{name}.png").exists() or f"{name}.png" in before)
            files[name] = f"{name}.png" if plain else f"{stem}_{name}.png"
            report.save(draw(), here / files[name])
        files["maps"] = f"{stem}_maps.safetensors"
        write_bytes(here / files["maps"], safetensors_bytes(dict(explanation.maps)))
        files["record"] = record
        current = {parts, *files.values(), *(name for name, _ in drawn.values())}
        _delete(here, (current & before) - set(files.values()))
        content["files"] = {kind: f"{stem}/{name}" if folder else name for kind, name in files.items()}
        write_json(here / record, content)
        if _is_of(there / record, content):
            _delete(there, current & _files_of(there / record))
    return content


def attention_key(label: str) -> str:
    """The key of a class's picture among the files of a record."""
    return f"attention of {label}"


def _pictures(explanation: Explanation) -> dict[str, tuple[str, Callable[[], Picture]]]:
    """All pictures of an explanation: key in the record → file name, and what draws it."""
    stem, pictures = explanation.sample.id, ExplanationPictures(explanation)
    slugs = report.file_slugs([*explanation.labels, *explanation.maps])  # of all: the same whatever is asked
    drawn: dict[str, tuple[str, Callable[[], Picture]]] = {
        attention_key(name): (
            f"{stem}_{slugs[name]}_attention.png",
            partial(pictures.attention, name),
        )
        for name in explanation.maps
    }
    if len(drawn) > 1:
        comparison = partial(pictures.comparison, *report.compared(explanation))
        drawn["comparison"] = f"{stem}_comparison.png", comparison
    origin = explanation.sample.origin
    if origin is None or origin.face is None:
        return drawn
    on_photograph = PhotographPictures(explanation)
    for name in explanation.maps:
        file = f"{stem}_{slugs[name]}_on_photograph.png"
        drawn[f"{name}{ON_PHOTOGRAPH}"] = file, partial(on_photograph.whole, name)
    if len(explanation.maps) > 1:
        comparison = partial(on_photograph.comparison, *report.compared(explanation))
        drawn[f"comparison{ON_PHOTOGRAPH}"] = f"{stem}_comparison_on_photograph.png", comparison
    return drawn


def _summaries(drawn: Iterable[str]) -> list[str]:
    """The last picture of the image, and the last on the photograph that it was cut from."""
    last = {name.endswith(ON_PHOTOGRAPH): name for name in drawn}
    return list(last.values())


def owner_of(out: Path, folders: bool = False) -> Callable[[str], Path | None]:
    """Tell which image the files of a stem in `out` belong to, side by side with others or in a folder.

    Args:
        out: Folder of the results.
        folders: Whether the stem is to be the name of a folder; one that cannot be belongs to somebody else.
    """

    def owner(stem: str) -> Path | None:
        name = f"{stem}_explanation.json"
        if folders and (_is_taken(stem) or (out / stem).is_file()):
            return out / stem
        path = next((path for path in (out / name, out / stem / name) if path.exists()), None)
        if path is None:
            return None
        try:
            content = _read(path)
            return Path(content["video" if "video" in content else "image"]["path"])
        except (KeyError, TypeError):
            return path  # not a record of ours, so not ours to overwrite

    return owner


def _is_taken(stem: str) -> bool:
    """Whether a folder of this name is no place for one image's files, or the name of another file there."""
    return stem in (".", "..") or stem.casefold().endswith((".html", ".json", ".png", ".safetensors"))


def _is_of(record: Path, content: Mapping[str, Any]) -> bool:
    """Whether a record is there and about the same image as the content of another."""
    image = _read(record).get("image")
    return isinstance(image, dict) and image.get("path", record) == content["image"]["path"]


def delete_old(folder: Path, record: str, kept: Collection[str]) -> None:
    """Delete what an earlier run of the same video wrote into its folder and this one did not."""
    stem = record.removesuffix("explanation.json")
    before = {name for name in _files_of(folder / record) if name.startswith(stem) or name == "index.html"}
    _delete(folder, before - set(kept))


def _delete(folder: Path, names: Iterable[str]) -> None:
    """Delete files, and the folder if nothing is left in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _files_of(record: Path) -> set[str]:
    """Names of the files written with a record, none if there is no record."""
    files = _read(record).get("files")
    return {str(name).rpartition("/")[2] for name in files.values()} if isinstance(files, dict) else set()


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


def record_of(
    explanation: Explanation, seed: int = 0, evidence: "FaceEvidence | None" = None
) -> dict[str, Any]:
    """Everything but the pictures and the raw maps, JSON-ready."""
    sample = explanation.sample
    return {
        "schema": SCHEMA,
        "image": {
            "id": sample.id,
            "path": None if sample.path is None else str(sample.path.resolve()),
            "sha256": None if sample.path is None else _sha256(sample.path),
            "width": sample.image.width,
            "height": sample.image.height,
            "box": None if sample.box is None else list(sample.box),
            "label": sample.label,
            **({} if sample.origin is None else {"origin": _origin(sample.origin)}),
            **({} if sample.landmarks is None else {"landmarks": sample.landmarks.tolist()}),
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
        "sinks": _sinks(explanation),
        "seed": seed,
        "model": dict(explanation.model),
        "face_parts": None if evidence is None else evidence.model_dump(mode="json"),
        "warnings": warnings_of(explanation),
        "versions": versions(),
    }


def _sha256(path: Path) -> str | None:
    """Hex digest of an image's file; None where it is gone, or where a sample's path names none."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _sinks(explanation: Explanation) -> dict[str, Any] | None:
    """Patches whose tokens are outliers by length, as [row, col], and by how much."""
    sinks, norms = sinks_of(explanation), explanation.token_norms
    if sinks is None or norms is None:
        return None
    return {
        "ratio": SINK_RATIO,
        "patches": np.argwhere(sinks).tolist(),
        "norms": [round(float(one), 3) for one in norms[sinks]],
    }


def _origin(origin: Origin) -> dict[str, Any]:
    """The photograph or frame that an image was cut from, JSON-ready; points in pixels of it."""
    face = origin.face
    return {
        "width": origin.image.width,
        "height": origin.image.height,
        "to_crop": origin.to_crop.tolist(),
        "face": None
        if face is None
        else {"points": face.points.tolist(), "box": list(face.box), "score": face.score},
        "number": origin.number,
        "frame": origin.frame,
        "seconds": origin.seconds,
    }


def statistics(explanation: Explanation, name: str) -> dict[str, Any]:
    """Size, range and strongest patch of a map, in the units of the method.

    `score_change` is what the map should sum to, None where that is not known.
    Where the sample's true mask is known, `points_into_mask` says whether the strongest relevance lies in it
    (the pointing game of Zhang et al. 2018, arXiv 1608.00507, without tolerance), and where people clicked on
    it, `points_near_click` whether the centre of the strongest patch lies near a click (with theirs).
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
        "score_change": explanation.score_changes.get(name),
        "strongest_patch": [int(row), int(col)],
        "sink_share": sink_share(explanation, name),
        "relative_range": relative_range(values),
    }
    if explanation.sample.mask is not None:
        place = np.nanargmax(explanation.geometry.project(values))
        found["points_into_mask"] = bool(explanation.sample.mask.ravel()[place])
    if explanation.sample.clicks is not None:
        left, top, right, bottom = explanation.geometry.box
        width, height = right - left, bottom - top
        centre = left + (col + 0.5) / values.shape[1] * width, top + (row + 0.5) / values.shape[0] * height
        near = np.hypot(*(explanation.sample.clicks + 0.5 - centre).T) <= CLICK_TOLERANCE * min(width, height)
        found["points_near_click"] = bool(near.any())
    return found


def warnings_of(explanation: Explanation) -> list[str]:
    """To know of maps that show little or miss their sum, and of an image seen in part or squashed."""
    empty = [
        gettext("no evidence for {label}: the map is all zero", label=name)
        for name, values in explanation.maps.items()
        if not values.any()
    ]
    return [
        *empty,
        *words.near_constant_for(explanation),
        *words.incomplete_for(explanation),
        *words.sinks_for(explanation),
        *words.squashed_for(explanation),
        *words.cut_for(explanation),
    ]
