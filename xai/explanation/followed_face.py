"""One face, followed through the frames of a video."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from xai.core import DataError, Face, Sample
from xai.core.language import gettext, ngettext
from xai.explanation.faces import EVERY, LARGEST, FaceFinder, no_such_face
from xai.explanation.inputs import Failure

SAME = 0.2  # overlap of boxes from which on a face is the one of the frame before
NEAR = 1.0  # sides of its box that it may have moved where nothing overlaps


class FollowedFace:
    """Cuts one face out of each frame: the one that overlaps most with that of the frame before.

    Where none overlaps, the nearest one counts that moved by no more than its own size. Where there is none
    either (a cut, another scene), it begins anew, as in the first frame. A frame without a face is a failure,
    and a frame that is an aligned crop of the face already is taken as it is.

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
        if is_crop(sample.image, face):
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
