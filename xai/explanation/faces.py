"""Photographs in, their faces as samples out, chosen and cut first; one face followed through a video."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from xai.core import DataError, Face, Sample, UsageError
from xai.core.language import gettext, ngettext
from xai.explanation.inputs import Failure

Given = TypeVar("Given", Sample, Sample | Failure)

AT_ONCE = 8  # photographs in which faces are looked for together
PIXELS = 30_000_000  # of them: 90 MB
EVERY, LARGEST = "all", "largest"

SAME = 0.2  # overlap of boxes from which on a face is the one of the frame before
STILL = 0.5  # overlap of frame and crop from which on a face that was the frame still is
NEAR = 1.0  # sides of its box that it may have moved where nothing overlaps


class FaceFinder:
    """Cuts the faces out of photographs, and counts them.

    A sample with a box, or cut from a photograph already, is handed through. So is an image that is an
    aligned crop of a face as it is, with the face's points. Where landmarks are known (a manifest's) they say
    where the face is, and none is looked for.

    Args:
        which: "all", "largest", or a number from 0, the largest first.

    Raises:
        UsageError: Something else.
        ModelError: The weights are not here.
    """

    def __init__(self, which: str | int = EVERY):
        from xai.faces import find  # few runs need it

        self.which = _parse(which)
        self.photographs = self.faces = self.crops = 0
        self._find = find
        find([])  # missing weights show before the work

    def __call__(self, samples: Iterable[Sample | Failure]) -> Iterator[Sample | Failure]:
        """Faces in the order of the photographs, the largest first; an image without one is a failure."""
        for together in _batches(samples):
            yield from self._flush(together)

    def look(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, list[Face]]]:
        """Each sample with all faces in it, the largest first; nothing is chosen, cut or counted."""
        for together in _batches(samples):
            yield from zip(together, self._find([one.image for one in together]), strict=True)

    def found(self) -> str:
        """What was done, in words; empty if nothing was."""
        parts = []
        if self.photographs:
            faces = ngettext("{n} face", "{n} faces", self.faces)
            photographs = ngettext("{n} photograph", "{n} photographs", self.photographs)
            parts.append(gettext("{faces} explained of {photographs}", faces=faces, photographs=photographs))
        if self.crops:
            images = ngettext("{n} image", "{n} images", self.crops)
            parts.append(gettext("{images} taken whole, as aligned crops of a face already", images=images))
        return gettext("Faces: {parts}.", parts=gettext("; ").join(parts)) if parts else ""

    def _flush(self, waiting: list[Sample | Failure]) -> Iterator[Sample | Failure]:
        whole = [one for one in waiting if isinstance(one, Sample) and _is_whole(one)]
        wanted = [one for one in whole if one.landmarks is None]
        faces = dict(zip(map(id, wanted), self._find([one.image for one in wanted]), strict=True))
        faces |= {id(one): [_marked(one.landmarks)] for one in whole if one.landmarks is not None}
        for one in waiting:
            if not isinstance(one, Sample) or id(one) not in faces:
                yield one
                continue
            try:
                yield from self._cut(one, faces[id(one)])
            except DataError as error:  # landmarks that the image came with, and that mark no face
                yield Failure(str(one.path or one.id), error)

    def _cut(self, sample: Sample, faces: list[Face]) -> Iterator[Sample | Failure]:
        from xai.faces import crop, is_crop

        name = str(sample.path or sample.id)
        if not faces:
            yield Failure(
                name,
                DataError(
                    gettext("{name}: no face found.", name=name),
                    gettext(
                        "Say where it is: --box X,Y,W,H; or explain all of the image: --whole-image "
                        "(in Python box=, whole_image=True)."
                    ),
                ),
            )
        elif isinstance(self.which, int) and self.which >= len(faces):
            yield Failure(name, no_such_face(name, self.which, len(faces)))
        elif self.which in (EVERY, LARGEST, 0) and is_crop(sample.image, faces[0]):
            self.crops += 1
            yield sample if sample.landmarks is not None else replace(sample, landmarks=faces[0].points)
        else:
            self.photographs += 1
            for number, face in enumerate(faces):
                if self.which in (EVERY, number) or (self.which == LARGEST and number == 0):
                    self.faces += 1
                    yield crop(sample, face, number)


def _batches(samples: Iterable[Given]) -> Iterator[list[Given]]:
    """The samples in lists in which faces are looked for together: few at once, and few pixels."""
    waiting: list[Given] = []
    held = 0
    for sample in samples:
        waiting.append(sample)
        held += 0 if isinstance(sample, Failure) else sample.image.width * sample.image.height
        if len(waiting) >= AT_ONCE or held > PIXELS:
            yield waiting
            waiting, held = [], 0
    if waiting:
        yield waiting


def _marked(landmarks: np.ndarray) -> Face:
    """The face that landmarks (5, 68 or 81 of them) mark."""
    (left, top), (right, bottom) = landmarks.min(0).tolist(), landmarks.max(0).tolist()
    return Face(landmarks, (left, top, right - left, bottom - top), 1.0)


def _is_whole(sample: Sample) -> bool:
    """Whether it is a photograph or a frame of which nothing says where to look."""
    return sample.box is None and (sample.origin is None or sample.origin.face is None)


def _parse(which: str | int) -> str | int:
    if isinstance(which, str) and which.isdecimal():
        return int(which)
    if which in (EVERY, LARGEST) or (isinstance(which, int) and not isinstance(which, bool) and which >= 0):
        return which
    raise UsageError(
        f"There is no face {which!r}.", "Give all, largest, or a number from 0, the largest first."
    )


def no_such_face(name: str, number: int, faces: int) -> DataError:
    """The error of an image or frame with fewer faces than the number asked for."""
    found = ngettext("{n} face was found", "{n} faces were found", faces)
    return DataError(
        gettext("{name}: there is no face {number}; {found}.", name=name, number=number, found=found),
        gettext("Faces are numbered from 0, the largest first: --face all explains each."),
    )


class FollowedFace:
    """Cuts one face out of each frame: the one that overlaps most with that of the frame before.

    Where none overlaps, the nearest one counts that moved by no more than its own size. Where there is none
    either (a cut, another scene), it begins anew, as in the first frame. A frame without a face is a failure.
    Where following begins with a frame that is an aligned crop of the face already, frames are taken as they
    are as long as the face stays there roughly: one cut and the next not would show it at changing places.

    Args:
        finder: Says which face to begin with; of "all" the largest, since a video has one line of time.

    Attributes:
        missing: Frames without a face.
        begun: How often following began.
    """

    def __init__(self, finder: FaceFinder):
        self.which = 0 if finder.which in (EVERY, LARGEST) else int(finder.which)
        self.missing = self.begun = 0
        self._finder = finder
        self._last: Face | None = None
        self._as_they_are = False

    def __call__(self, samples: Iterator[Sample]) -> Iterator[Sample | Failure]:
        """The face of each frame, or a failure."""
        for sample, faces in self._finder.look(samples):
            yield self._cut(sample, faces)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know."""
        said = []
        if self.missing:
            said.append(
                ngettext(
                    "{n} frame shows no face that could be followed and was left out.",
                    "{n} frames show no face that could be followed and were left out.",
                    self.missing,
                )
            )
        if self.begun > 1:
            said.append(
                ngettext(
                    "The face was lost and following began anew once, as at a cut: it may not be the same "
                    "person throughout.",
                    "The face was lost and following began anew {n} times, as at a cut: it may not be the "
                    "same person throughout.",
                    self.begun - 1,
                )
            )
        return said

    def _cut(self, sample: Sample, faces: list[Face]) -> Sample | Failure:
        from xai.faces import crop, is_crop

        before = self.begun
        number = self._number(faces)
        if number is None:
            self.missing += 1
            error = DataError(
                gettext("{name}: no face found.", name=sample.id),
                gettext("To explain all of each frame: --whole-image (in Python whole_image=True)."),
            )
            if faces and self._last is None:
                error = no_such_face(sample.id, self.which, len(faces))
            return Failure(sample.id, error)
        self._last = face = faces[number]
        if self.begun > before:
            self._as_they_are = is_crop(sample.image, face)
        elif self._as_they_are:
            self._as_they_are = is_crop(sample.image, face, STILL)
        if self._as_they_are:
            return replace(sample, landmarks=face.points)
        return replace(crop(sample, face, number), id=sample.id)

    def _number(self, faces: list[Face]) -> int | None:
        if self._last is not None and faces:
            overlaps = [box_overlap(face.box, self._last.box) for face in faces]
            if max(overlaps) >= SAME:
                return int(np.argmax(overlaps))
            moved = [_moved(face, self._last) for face in faces]
            if min(moved) <= NEAR:
                return int(np.argmin(moved))
        if len(faces) <= self.which:
            return None
        self.begun += 1
        return self.which


def box_overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    together = one[2] * one[3] + other[2] * other[3] - shared
    return shared / together if together > 0 else 0.0


def _moved(face: Face, last: Face) -> float:
    """How far its middle moved, in sides of the box that it had."""
    middles = [np.array(one.box[:2]) + np.array(one.box[2:]) / 2 for one in (face, last)]
    return float(np.linalg.norm(middles[0] - middles[1]) / np.sqrt(last.box[2] * last.box[3]))
