"""A video, explained frame by frame: one answer and one map per class of each, and what they say together."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xai.core import DataError, Explanation, Face, Geometry, ProblemType, Sample, UsageError, predicted_labels
from xai.core.errors import valid_text
from xai.core.explanation import Origin
from xai.core.language import gettext, ngettext
from xai.data import check_box
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.explanation.arguments import Targets
from xai.explanation.explainer import Explainer, logits_of
from xai.explanation.faces import FollowedFace
from xai.explanation.inputs import BoxOf, Failure, in_background
from xai.report.video_words import followed_class
from xai.video import Sampling, Video

WHOLE = np.array([[1.0, 0, 0], [0, 1, 0]])
"""A frame's pixels are the sample's: `Origin.to_crop` changes nothing."""


class Keeper(Protocol):
    """Keeps what is to be shown of a frame; its picture is gone afterwards."""

    def prepare(self, explanation: Explanation) -> bytes:
        """What is kept of it, in any thread."""
        ...

    def keep(self, content: bytes) -> None:
        """Put it after those before it."""
        ...


@dataclass(frozen=True)
class FrameAnswer:
    """What stays of a frame: everything but its picture.

    Args:
        number: Which of the video's frames, from 0.
        seconds: When it is shown, from the first frame on.
        logits: (classes,).
        maps: Class → (rows, cols) relevance.
        geometry: Which part of the frame, or of the face's crop, the model saw.
        face: The face that was cut out of the frame, in its pixels; None: all of it was explained.
        to_crop: (2, 3) from pixels of the frame to pixels of the crop.
        parts: Class → part of the face → share of the relevance for the class that lies there; empty where no
            face is known, or nothing speaks for the class.
    """

    number: int
    seconds: float
    logits: np.ndarray
    maps: Mapping[str, np.ndarray]
    geometry: Geometry
    face: Face | None = None
    to_crop: np.ndarray | None = None
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, explanation: Explanation) -> "FrameAnswer":
        """What stays of an explained frame."""
        origin = explanation.sample.origin
        if origin is None or origin.frame is None or origin.seconds is None:
            raise UsageError(f"{explanation.sample.id} is no frame of a video.")
        return cls(
            origin.frame,
            origin.seconds,
            explanation.logits,
            dict(explanation.maps),
            explanation.geometry,
            origin.face,
            origin.to_crop if origin.face is not None else None,
            _parts(explanation),
        )


@dataclass(frozen=True, eq=False)
class VideoExplanation:
    """The maps and answers of a video's frames. Frames of one video are one group in every statistic.

    Args:
        id: Name of its files.
        path: The video.
        labels: All class names, in the order of the logits.
        frames: Those explained, in order.
        failures: Frames that could not be.
        method: Registry name of the attribution method.
        options: The method's options, JSON-ready.
        preset: Name of the preset whose method and options these are, if any.
        model: What was explained, JSON-ready.
        problem_type: What the logits mean.
        file: What the file says of itself, JSON-ready.
        sampling: Which frames were asked for.
        seconds: How long the video is, as far as that is known.
        remarks: What a reader must know of the file.
        seed: Of whatever was drawn at random.
    """

    id: str
    path: Path
    labels: tuple[str, ...]
    frames: Sequence[FrameAnswer]
    failures: Sequence[Failure]
    method: str
    options: Mapping[str, Any]
    preset: str | None
    model: Mapping[str, Any]
    problem_type: ProblemType
    file: Mapping[str, Any]
    sampling: Sampling
    seconds: float
    remarks: Sequence[str] = ()
    seed: int = 0

    @cached_property
    def logits(self) -> np.ndarray:
        """(frames, classes) float32."""
        return np.stack([frame.logits for frame in self.frames])

    @cached_property
    def frame_probabilities(self) -> np.ndarray:
        """(frames, classes) float64: the softmax of each frame's logits, or the sigmoid of each label."""
        return self.problem_type.probabilities(self.logits)

    @property
    def probabilities(self) -> dict[str, float]:
        """Of the video: the mean of its frames' probabilities, as DeepfakeBench scores a video."""
        return dict(zip(self.labels, self.frame_probabilities.mean(0).tolist(), strict=True))

    @property
    def median_probabilities(self) -> dict[str, float]:
        """The median of the frames' probabilities, which a few odd frames do not move."""
        return dict(zip(self.labels, np.median(self.frame_probabilities, 0).tolist(), strict=True))

    @property
    def predicted(self) -> str:
        """The class with the largest probability of the video."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """The predicted class, or all independent labels of at least one half, the likeliest first."""
        return predicted_labels(self.probabilities, self.problem_type)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the maps, which every frame has: classes, or contrasts of two."""
        return tuple(self.frames[0].maps)

    @property
    def followed(self) -> str:
        """The map that is shown where one has to do; see `followed_class`."""
        return followed_class(self.names, self.labels, self.predicted)

    def maps(self, name: str) -> np.ndarray:
        """(frames, rows, cols) float32 relevance for a class."""
        return np.stack([frame.maps[name] for frame in self.frames])

    @cached_property
    def margins(self) -> np.ndarray:
        """(frames,) logit of the class followed minus the log-sum-exp of all others; alone if independent."""
        label = self.followed if self.followed in self.labels else self.predicted
        place, logits = self.labels.index(label), self.logits.astype(np.float64)
        if self.problem_type.independent:
            return logits[:, place]
        return logits[:, place] - np.logaddexp.reduce(np.delete(logits, place, axis=1), axis=1)


def explain_frames(
    explainer: Explainer,
    path: Path,
    name: str,
    sampling: Sampling,
    *,
    box_of: BoxOf | None = None,
    face: FollowedFace | None = None,
    keeper: Keeper | None = None,
    step: Callable[[], object] = lambda: None,
) -> VideoExplanation:
    """Explain frames of a video in one pass over it; at most three batches of frames are held.

    Where a model has more than two classes and none was asked for, the two most probable of the first frame
    are followed through the video.

    Args:
        explainer: Model, method and targets.
        path: The video.
        name: Of the video: id, group of its frames and name of its files.
        sampling: Which frames.
        box_of: Says which crop of each frame to explain.
        face: Cuts a face out of each frame; None: all of it is explained.
        keeper: Keeps what is to be shown of each frame.
        step: Called after each frame.

    Raises:
        DataError: The video cannot be read, or no frame can be explained.
        ModelError: The model cannot be explained.
        UsageError: The extra `video` is not installed.
    """
    frames: list[FrameAnswer] = []
    failures: list[Failure] = []
    with Video(path) as video:
        samples = _samples(video, name, sampling, box_of)
        explainer, samples = _same_classes(explainer, samples if face is None else face(samples))
        work = _work(explainer.explain(samples), keeper)
        for result in in_background(work, ahead=explainer.batch_size):
            if isinstance(result, Failure):
                failures.append(result)
            elif frames and (fault := _unlike(result[0], frames[0])) is not None:
                failures.append(Failure(_name(name, result[0].number), fault))
            else:
                frames.append(result[0])
                if keeper is not None:
                    keeper.keep(result[1])
            step()
        if not frames:
            first = failures[0].error if failures else DataError("there is none.")
            raise DataError(f"{video.name}: no frame could be explained: {first.message}", first.hint)
        return VideoExplanation(
            id=name,
            path=path,
            labels=explainer.classifier.labels,
            frames=frames,
            failures=failures,
            method=explainer.method_name,
            options=explainer.options,
            preset=explainer.preset,
            model=explainer.model_description,
            problem_type=explainer.classifier.problem_type,
            file=video.describe(),
            sampling=sampling,
            seconds=float(video.length),
            remarks=[*video.remarks, *([] if face is None else face.remarks), *_failed(failures, face)],
            seed=explainer.seed,
        )


def _samples(video: Video, name: str, sampling: Sampling, box_of: BoxOf | None) -> Iterator[Sample]:
    box = None if box_of is None else box_of(video.path)
    name = valid_text(name)  # of any bytes, as file names are
    for frame in video.frames(sampling):
        if box is not None:
            check_box(box, frame.image.size, video.path)
        origin = Origin(frame.image, WHOLE, frame=frame.number, seconds=frame.seconds)
        yield Sample(_name(name, frame.number), frame.image, box=box, group=name, origin=origin)


def _failed(failures: Sequence[Failure], face: FollowedFace | None) -> list[str]:
    """A sentence on frames that were left out for another reason than that they show no face."""
    count = len(failures) - (0 if face is None else face.missing)
    if not count:
        return []
    return [
        ngettext(
            "{n} frame could not be explained and was left out; the record says why.",
            "{n} frames could not be explained and were left out; the record says why.",
            count,
        )
    ]


def _name(video: str, number: int) -> str:
    return gettext("{video}, frame {number}", video=video, number=number)


def _same_classes(
    explainer: Explainer, samples: Iterator[Sample | Failure]
) -> tuple[Explainer, Iterator[Sample | Failure]]:
    """The explainer with the same classes for every frame, and the samples, of which some were looked at."""
    if explainer.targets.chosen:
        return explainer, samples
    before: list[Sample | Failure] = []
    for sample in samples:
        before.append(sample)
        if isinstance(sample, Failure):
            continue
        pixels = explainer.prepare(sample).pixels[None].to(explainer.classifier.device)
        with explainer.memory_errors():
            ranked = logits_of(explainer.classifier, pixels)[0].topk(2).indices.tolist()
        labels, explainer = explainer.classifier.labels, copy.copy(explainer)
        explainer.targets = Targets(labels, tuple((labels[place], place) for place in ranked))
        break
    return explainer, chain(before, samples)


def _parts(explanation: Explanation) -> dict[str, dict[str, float]]:
    """Of each class, what every part of the face holds of the relevance that speaks for it."""
    points = explanation.sample.landmarks
    if points is None:
        return {}
    grid = next(iter(explanation.maps.values())).shape
    cells = cell_shares(points, explanation.geometry, (grid[0], grid[1]))
    shares = {name: part_shares(values, cells) for name, values in explanation.maps.items()}
    return {
        name: dict(zip(PARTS, found.tolist(), strict=True))
        for name, found in shares.items()
        if np.isfinite(found).all()
    }


def _work(
    results: Iterator[Explanation | Failure], keeper: Keeper | None
) -> Iterator[Callable[[], tuple[FrameAnswer, bytes]] | Failure]:
    for result in results:
        yield result if isinstance(result, Failure) else partial(_answer, result, keeper)


def _answer(explanation: Explanation, keeper: Keeper | None) -> tuple[FrameAnswer, bytes]:
    answer = FrameAnswer.of(explanation)
    return answer, b"" if keeper is None else keeper.prepare(explanation)


def _unlike(one: FrameAnswer, first: FrameAnswer) -> DataError | None:
    """Why a frame's maps cannot stand beside those of the first one."""
    if [values.shape for values in one.maps.values()] == [values.shape for values in first.maps.values()]:
        return None
    return DataError(
        f"Frame {one.number} has {one.geometry.size[0]}×{one.geometry.size[1]} pixels and another grid of "
        "patches than the first one.",
        "Cut the video where its size changes.",
    )
