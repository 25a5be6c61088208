"""What is written of a video: table of frames, maps, filmstrip, timeline, annotated video, page, record."""

import csv
import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import file_digest
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from xai import report
from xai.core import Explanation, Sample
from xai.core.errors import printable
from xai.core.files import disk_errors, replacing, write_bytes, write_json
from xai.core.runtime import versions
from xai.explanation.files import delete_old, writing
from xai.explanation.video import VideoExplanation
from xai.report.colours import ColourScale
from xai.report.explanations import image_of
from xai.report.filmstrip import Annotator, draw_filmstrip, small_picture, strip_places
from xai.report.payload import Image, MapFlicker, Page, Timeline, TimelineFrame
from xai.report.timeline_chart import draw_timeline
from xai.report.video_words import flicker_verdict, frame_name
from xai.stats import Flicker, map_flicker
from xai.video import write_mp4

SCHEMA = "xai.video/1"
MATTER = 3  # frames named as those that matter most, of each kind
FULL = 0.99  # quantile of the sizes of relevance, of all patches of all frames
LONGEST_HELD = 1.0  # seconds that the last frame of the annotated video is shown, at the most


class FrameStore:
    """What a page holds of each frame (a small picture, its maps), on disk until the video is at its end.

    Args:
        out: Folder for the file, which has no name there and is gone with the process.
    """

    def __init__(self, out: Path):
        with writing(out):
            self._file = TemporaryFile(dir=out)  # noqa: SIM115 - closed by `close`
        self._out = out
        self._ends = [0]

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def prepare(self, explanation: Explanation) -> bytes:
        """A frame's picture as a page shows it, under the frame's time as its name."""
        origin = explanation.sample.origin
        entry = image_of(replace(explanation, layers={}))
        if origin is not None and origin.seconds is not None and origin.frame is not None:
            entry = entry.model_copy(update={"name": frame_name(origin.seconds, origin.frame)})
        return entry.model_dump_json().encode()

    def keep(self, content: bytes) -> None:
        """Append a frame."""
        with disk_errors(self._out):
            self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> Image:
        start, end = self._ends[place], self._ends[place + 1]
        with disk_errors(self._out):
            self._file.seek(start)
            content = self._file.read(end - start)
        return Image.model_validate_json(content)


@dataclass(frozen=True, eq=False)
class VideoResults:
    """What follows from a video's frames, made once."""

    explanation: VideoExplanation

    @cached_property
    def changes(self) -> list[float | None]:
        """By how much the probability of the class followed moved since the frame before."""
        label = self.label
        column = self.explanation.frame_probabilities[:, self.explanation.labels.index(label)]
        return [None, *np.diff(column).tolist()]

    @property
    def label(self) -> str:
        """The class whose probability is followed: that of the map, or of a contrast the one predicted."""
        followed = self.explanation.followed
        return followed if followed in self.explanation.labels else self.explanation.predicted

    @cached_property
    def flicker(self) -> dict[str, Flicker]:
        """By map."""
        one = self.explanation
        return {name: map_flicker(one.maps(name), one.seed) for name in one.names}

    @cached_property
    def certain(self) -> list[int]:
        """Places of the frames with the largest margin, either way."""
        return np.argsort(-np.abs(self.explanation.margins), kind="stable")[:MATTER].tolist()

    @cached_property
    def changing(self) -> list[int]:
        """Places of the frames where the probability changed most from the one before."""
        sizes = np.abs(np.array([change or 0.0 for change in self.changes]))
        ranked = np.argsort(-sizes, kind="stable")[:MATTER]
        return [int(place) for place in ranked if sizes[place] > 0]

    @cached_property
    def scale(self) -> ColourScale:
        """Of all maps of all frames: full colour from `FULL` of their sizes on: one patch pales no other."""
        maps = np.stack([self.explanation.maps(name) for name in self.explanation.names])
        whole = ColourScale.of(maps)
        return replace(whole, limit=float(np.quantile(np.abs(maps), FULL)) or whole.limit)

    @cached_property
    def timeline(self) -> Timeline:
        """For pictures and the page."""
        one, found = self.explanation, self.flicker[self.explanation.followed]
        agreement = [None, *found.pairs]
        frames = [
            TimelineFrame(
                number=frame.number,
                seconds=frame.seconds,
                predicted=one.labels[int(frame.logits.argmax())],
                probabilities=dict(zip(one.labels, one.frame_probabilities[place].tolist(), strict=True)),
                margin=float(one.margins[place]),
                change=self.changes[place],
                agreement=agreement[place],
                parts={},
                image=None,
            )
            for place, frame in enumerate(one.frames)
        ]
        return Timeline(
            video=printable(one.path.name),
            seconds=max(one.seconds, one.frames[-1].seconds),
            label=one.followed,
            limit=self.scale.limit,
            signed=self.scale.signed,
            frames=frames,
            predicted=one.predicted,
            mean=one.probabilities,
            median=one.median_probabilities,
            certain=self.certain,
            changing=self.changing,
            flicker=_flicker(found),
            remarks=list(one.remarks),
        )

    def small(self, place: int, entry: Image) -> Explanation:
        """A frame's explanation over the picture that was kept of it."""
        one, frame = self.explanation, self.explanation.frames[place]
        picture, geometry = small_picture(entry)
        return Explanation(
            sample=Sample(entry.name, picture, group=one.id),
            labels=one.labels,
            logits=frame.logits,
            maps=frame.maps,
            geometry=geometry,
            method=one.method,
            options=one.options,
            model=one.model,
            problem_type=one.problem_type,
            preset=one.preset,
        )


def write_video(
    explanation: VideoExplanation, out: Path, store: FrameStore | None = None, page: Page | None = None
) -> dict[str, Any]:
    """Write all files of a video into the folder `out/{id}`, the record last.

    `{id}_frames.csv`, `{id}_maps.safetensors` (one float32 tensor (frames, rows, cols) per map; numbers and
    times of the frames as metadata), `{id}_explanation.json`; with pictures also `{id}_filmstrip.png`,
    `{id}_timeline.png` and `{id}_annotated.mp4`; with a page `index.html`.

    Args:
        explanation: Of the video.
        out: Folder, made if need be.
        store: What was kept of each frame; None: no pictures.
        page: To be written beside them.

    Returns:
        What the JSON file holds; its `files` are relative to `out`.

    Raises:
        OutputError: A file cannot be written. Files written before it are whole.
        DataError: No encoder for the annotated video.
    """
    stem, here, results = explanation.id, out / explanation.id, VideoResults(explanation)
    record = f"{stem}_explanation.json"
    files = {"frames": f"{stem}_frames.csv", "maps": f"{stem}_maps.safetensors"}
    with writing(here):
        write_bytes(here / files["frames"], _table(results).encode())
        write_bytes(here / files["maps"], _maps(explanation))
        if store is not None:
            files |= _write_pictures(results, here, store)
        if page is not None:
            files["page"] = "index.html"
            report.write_page(page, here / files["page"])
        files["record"] = record
        content = video_record(results) | {"files": {kind: f"{stem}/{name}" for kind, name in files.items()}}
        delete_old(here, record, set(files.values()))
        write_json(here / record, content)
    return content


def _write_pictures(results: VideoResults, here: Path, store: FrameStore) -> dict[str, str]:
    stem, timeline = results.explanation.id, results.timeline
    files = {
        "filmstrip": f"{stem}_filmstrip.png",
        "timeline": f"{stem}_timeline.png",
        "annotated": f"{stem}_annotated.mp4",
    }
    shown = [(place, results.small(place, store[place])) for place in strip_places(len(store))]
    strip = [(timeline.frames[place].seconds, explanation) for place, explanation in shown]
    report.save(draw_filmstrip(strip, timeline, results.scale), here / files["filmstrip"])
    report.save(draw_timeline(timeline), here / files["timeline"])
    annotator = Annotator(timeline, results.scale, shown[0][1].sample.image.size)
    explanations = (results.small(place, store[place]) for place in range(len(store)))
    end = min(timeline.seconds, timeline.frames[-1].seconds + LONGEST_HELD)
    with replacing(here / files["annotated"]) as file:
        write_mp4(file, annotator.pictures(explanations), end)
    return files


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
        "flicker": {name: _flicker(found).model_dump() for name, found in results.flicker.items()},
        "geometry": {"size": list(first.size), "box": list(first.box)},
        "method": {"name": one.method, "options": dict(one.options)},
        "preset": one.preset,
        "seed": one.seed,
        "model": dict(one.model),
        "warnings": list(one.remarks),
        "failures": [{"frame": failure.name, "error": str(failure.error)} for failure in one.failures],
        "versions": versions(),
    }


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


def _flicker(found: Flicker) -> MapFlicker:
    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return MapFlicker(
        pairs=sum(one is not None for one in found.pairs),
        mean=known(found.mean),
        control=known(found.control),
        low=known(found.low),
        high=known(found.high),
        p=known(found.p),
        orders=found.shuffles,
        verdict=flicker_verdict(found),
    )


def _table(results: VideoResults) -> str:
    """A line for each explained frame."""
    one, text = results.explanation, StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = [f"P({label})" for label in one.labels] + [f"logit({label})" for label in one.labels]
    followed, pairs = one.followed, [None, *results.flicker[one.followed].pairs]
    more = ["margin", "change", "agreement", "strongest_row", "strongest_column"]
    writer.writerow(["frame", "seconds", "predicted", *classes, *more])
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
        writer.writerow([frame.number, f"{frame.seconds:.6f}", predicted, *numbers, *map(_cell, where)])
    return text.getvalue()


def _cell(value: float | None) -> float | str:
    return "" if value is None else value


def _maps(explanation: VideoExplanation) -> bytes:
    tensors = {name: explanation.maps(name).astype(np.float32) for name in explanation.names}
    times = {
        "frames": json.dumps([frame.number for frame in explanation.frames]),
        "seconds": json.dumps([frame.seconds for frame in explanation.frames]),
    }
    return safetensors_bytes(tensors, metadata=times)
