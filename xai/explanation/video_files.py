"""What is written of a video: table of frames, maps, filmstrip, timeline, annotated video, page, record."""

import csv
import json
from collections.abc import Sequence
from hashlib import file_digest
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

import xai.report as report
from xai.core import DataError, OutputError
from xai.core.csv_table import inert
from xai.core.files import replacing, write_bytes, write_json
from xai.core.language import gettext
from xai.core.runtime import versions
from xai.data.face_parts import PARTS
from xai.explanation.explainer import Explainer
from xai.explanation.files import delete_old, writing
from xai.explanation.frame_store import FrameStore
from xai.explanation.page import method_card, provenance_of
from xai.explanation.video import FrameAnswer, VideoExplanation
from xai.explanation.video_results import VideoResults, flicker_of
from xai.report.about import model_description
from xai.report.explanations import explanation_page
from xai.report.filmstrip import Annotator, draw_filmstrip, strip_places
from xai.report.payload import Page, PageMethod
from xai.report.text import drawable_language
from xai.report.timeline_chart import draw_timeline
from xai.video import write_mp4

SCHEMA = "xai.video/1"
FACE = ("face_x", "face_y", "face_width", "face_height", "face_score")
LONGEST_HELD = 1.0  # seconds that the last frame of the annotated video is shown, at the most

MOST_FRAMES = 200  # in a page: about 6 MB


def write_video(
    results: VideoResults, out: Path, store: FrameStore | None = None, page: Page | None = None
) -> dict[str, Any]:
    """Write all files of a video into the folder `out/{id}`, the record last.

    `{id}_frames.csv`, `{id}_maps.safetensors` (one float32 tensor (frames, rows, cols) per map; numbers and
    times of the frames as metadata, and where faces were cut out `to_crop`: for each frame the (2, 3) matrix
    from its pixels to the crop's, or null), `{id}_explanation.json`; with pictures also `{id}_filmstrip.png`,
    `{id}_timeline.png` and `{id}_annotated.mp4`; with a page `index.html`.

    Args:
        results: Of the video.
        out: Folder, made if need be.
        store: What was kept of each frame; None: no pictures.
        page: To be written beside them.

    Returns:
        What the JSON file holds; its `files` are relative to `out`.

    Raises:
        OutputError: A file cannot be written. Files written before it are whole.
    """
    explanation = results.explanation
    stem, here = explanation.id, out / explanation.id
    record = f"{stem}_explanation.json"
    files = {"frames": f"{stem}_frames.csv", "maps": f"{stem}_maps.safetensors"}
    with writing(here):
        write_bytes(here / files["frames"], _table(results).encode())
        write_bytes(here / files["maps"], _maps(explanation))
        warnings = list(explanation.remarks)
        if store is not None:
            files |= _write_pictures(results, here, store)
            try:
                _write_annotated(results, here / f"{stem}_annotated.mp4", store)
                files["annotated"] = f"{stem}_annotated.mp4"
            except OutputError:
                raise
            except DataError as error:
                warnings.append(gettext("There is no annotated video: {reason}", reason=error.message))
        if page is not None:
            files["page"] = "index.html"
            report.write_page(page, here / files["page"])
        files["record"] = record
        content = video_record(results) | {
            "warnings": warnings,
            "files": {kind: f"{stem}/{name}" for kind, name in files.items()},
        }
        delete_old(here, record, set(files.values()))
        write_json(here / record, content)
    return content


def _write_pictures(results: VideoResults, here: Path, store: FrameStore) -> dict[str, str]:
    stem = results.explanation.id
    with drawable_language():  # which may be another than the page's
        said = flicker_of(results.flicker[results.explanation.followed])
    timeline = results.timeline.model_copy(update={"flicker": said})
    files = {"filmstrip": f"{stem}_filmstrip.png", "timeline": f"{stem}_timeline.png"}
    strip = [
        (timeline.frames[place].seconds, results.small(place, store[place].entry))
        for place in strip_places(len(store))
    ]
    report.save(draw_filmstrip(strip, timeline, results.scale), here / files["filmstrip"])
    report.save(draw_timeline(timeline), here / files["timeline"])
    return files


def _write_annotated(results: VideoResults, path: Path, store: FrameStore) -> None:
    """Every explained frame at its time."""
    timeline, first = results.timeline, store[0]
    explained = results.small(0, first.entry).sample.image
    annotator = Annotator(timeline, results.scale, (first.whole or explained).size, explained.size)
    kept = (store[place] for place in range(len(store)))
    frames = ((results.small(place, one.entry), one.whole) for place, one in enumerate(kept))
    end = min(timeline.seconds, timeline.frames[-1].seconds + LONGEST_HELD)
    with replacing(path) as file:
        write_mp4(file, annotator.pictures(frames), end)


def video_record(results: VideoResults) -> dict[str, Any]:
    """Everything but the frames' own numbers, JSON-ready."""
    one = results.explanation
    predicted = [one.labels[int(frame.logits.argmax())] for frame in one.frames]
    first = one.frames[0].geometry
    with one.path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return {
        "schema": SCHEMA,
        "video": {"id": one.id, "path": str(one.path.resolve()), "sha256": digest, **one.file},
        "sampling": one.sampling.describe(),
        "frames": {"explained": len(one.frames), "failed": len(one.failures), "seconds": one.seconds},
        "problem_type": one.problem_type.value,
        "predicted": one.predicted,
        "predicted_labels": list(one.predicted_labels),
        "aggregation": "mean of the frames' probabilities",
        "probabilities": one.probabilities,
        "median_probabilities": one.median_probabilities,
        "share_of_frames": {label: predicted.count(label) / len(predicted) for label in one.labels},
        "followed": one.followed,
        "key_frames": {
            "most_certain": [_key(results, place) for place in results.certain],
            "changing_most": [_key(results, place) for place in results.changing],
        },
        "flicker": {name: flicker_of(found).model_dump() for name, found in results.flicker.items()},
        "face": _face(one),
        "geometry": {"size": list(first.size), "box": list(first.box)},
        "method": {"name": one.method, "options": dict(one.options)},
        "preset": one.preset,
        "seed": one.seed,
        "model": dict(one.model),
        "warnings": list(one.remarks),
        "failures": [{"frame": failure.name, "error": str(failure.error)} for failure in one.failures],
        "versions": versions(),
    }


def _face(one: VideoExplanation) -> dict[str, Any] | None:
    """How often a face was followed, and the mean share of the evidence that its parts hold."""
    found = [frame for frame in one.frames if frame.face is not None or frame.parts]
    if not found:
        return None
    parts = {
        name: {
            part: float(np.mean([frame.parts[name][part] for frame in found if name in frame.parts]))
            for part in PARTS
        }
        for name in one.names
        if any(name in frame.parts for frame in found)
    }
    return {"frames": len(found), "cut": sum(frame.face is not None for frame in found), "parts": parts}


def _key(results: VideoResults, place: int) -> dict[str, Any]:
    one, frame = results.explanation, results.explanation.frames[place]
    column = one.labels.index(results.label)
    return {
        "frame": frame.number,
        "seconds": frame.seconds,
        "probability": float(one.frame_probabilities[place, column]),
        "margin": float(one.margins[place]),
        "change": results.changes[place],
    }


def _table(results: VideoResults) -> str:
    """A line for each explained frame."""
    one, text = results.explanation, StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = [f"P({label})" for label in one.labels] + [f"logit({label})" for label in one.labels]
    followed, pairs = one.followed, [None, *results.flicker[one.followed].pairs]
    more = ["margin", "change", "agreement", "strongest_row", "strongest_column"]
    with_face = any(frame.face is not None or frame.parts for frame in one.frames)
    face = [*FACE, *(f"evidence_{part}" for part in PARTS)] if with_face else []
    writer.writerow(["frame", "seconds", "predicted", *classes, *more, *face])
    for place, frame in enumerate(one.frames):
        values = frame.maps[followed]
        row, column = np.unravel_index(values.argmax(), values.shape)
        numbers = [
            *one.frame_probabilities[place].tolist(),
            *frame.logits.tolist(),
            float(one.margins[place]),
        ]
        where = [results.changes[place], pairs[place], int(row), int(column)]
        predicted = one.labels[int(frame.logits.argmax())]
        values = [*where, *(_of_face(frame, followed) if with_face else ())]
        cells = [frame.number, f"{frame.seconds:.6f}", predicted, *numbers, *map(_cell, values)]
        writer.writerow(inert(cells))
    return text.getvalue()


def _of_face(frame: FrameAnswer, followed: str) -> list[float | None]:
    """Where the face lies in the frame, and what its parts hold of the evidence."""
    place = [None] * len(FACE) if frame.face is None else [*frame.face.box, frame.face.score]
    parts = frame.parts.get(followed, {})
    return [*place, *(parts.get(part) for part in PARTS)]


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _maps(explanation: VideoExplanation) -> bytes:
    tensors = {name: explanation.maps(name).astype(np.float32) for name in explanation.names}
    about = {
        "frames": json.dumps([frame.number for frame in explanation.frames]),
        "seconds": json.dumps([frame.seconds for frame in explanation.frames]),
    }
    if any(frame.to_crop is not None for frame in explanation.frames):
        crops = [None if frame.to_crop is None else frame.to_crop.tolist() for frame in explanation.frames]
        about["to_crop"] = json.dumps(crops)
    return safetensors_bytes(tensors, metadata=about)


def video_page(results: VideoResults, store: FrameStore, explainer: Explainer) -> Page:
    """The page of a video, with at most 200 frames: those that matter most, the others evenly spread.

    Args:
        results: Of the video.
        store: What was kept of each frame.
        explainer: Explained it.
    """
    one, timeline = results.explanation, results.timeline
    places = page_places(len(one.frames), [*results.certain, *results.changing])
    images = {place: image for image, place in enumerate(places)}
    frames = [
        frame.model_copy(update={"image": images.get(place)}) for place, frame in enumerate(timeline.frames)
    ]
    settings = {
        "video": {"file": one.path.name, **one.file, **one.sampling.describe()},
        "settings": {
            "preset": one.preset,
            "method": one.method,
            "options": dict(one.options),
            "classes": list(one.names),
            "seed": one.seed,
            "batch_size": explainer.batch_size,
        },
    }
    return explanation_page(
        [store[place].entry for place in places],
        labels=one.labels,
        problem_type=one.problem_type,
        method=PageMethod(name=one.method, method=one.method, options=dict(one.options), preset=one.preset),
        model=model_description(one.model),
        provenance=settings | provenance_of(explainer.classifier),
        cards=[method_card(one.method)],
        asked=len(one.frames),
        timeline=timeline.model_copy(update={"frames": frames}),
    )


def page_places(frames: int, wanted: Sequence[int]) -> list[int]:
    """Which of so many frames a page shows, in order: those wanted, and others as long as there is room."""
    chosen = set(wanted)
    spread = np.linspace(0, frames - 1, min(frames, MOST_FRAMES - len(chosen))).round().astype(int)
    return sorted(chosen | set(spread.tolist()))
