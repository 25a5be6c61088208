"""Evidence by parts of the face: how much of the relevance lies there, and the answer without them."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from xai.core import DataError, Explanation, ModelError, derive_seed
from xai.core.language import gettext
from xai.data.face_landmarks import checked_points, moved_landmarks
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.explanation.explainer import Explainer
from xai.explanation.inputs import prepare
from xai.explanation.removal import VALUE, RemovedRegions, class_of, rank_p, removal_operator, remove_regions
from xai.perturb import Operator, Stream
from xai.report.encode import finite
from xai.report.image_payload import FaceEvidence, FacePart, PartRelevance, PartRemovals

PLACEMENTS = 100  # of the landmarks, behind each interval
LEVELS = (2.5, 97.5)  # percentiles of an interval
DRAWS = 19  # random regions for each part: the least p is 1/20
SAMPLES = 8  # places along a cell's side at which moved parts are asked for


class FaceExaminer:
    """Finds the evidence by parts of one face after the other.

    Args:
        explainer: Made the explanations.
        removal: Whether parts are removed, which takes up to 181 forward passes of an image.
    """

    def __init__(self, explainer: Explainer, removal: bool = True):
        self.explainer = explainer
        self.removal = removal
        self._stream = Stream(explainer.classifier, seed=explainer.seed)
        self._operator: Operator | None = None

    def __call__(self, explanation: Explanation) -> FaceEvidence | None:
        """The evidence of an explanation whose sample has landmarks; without them None.

        Of landmarks that are of no face there is a caveat alone.
        """
        points = explanation.sample.landmarks
        if points is None:
            return None
        try:
            found = face_evidence(explanation, self.explainer.seed)
        except DataError as error:
            rows, cols = next(iter(explanation.maps.values())).shape
            reason = gettext("Nothing is said of parts of the face. {reason}", reason=error.message)
            return FaceEvidence(points=0, draws=0, grid=(rows, cols), parts=[], caveats=[reason])
        if not self.removal:
            return found
        classifier = self.explainer.classifier
        pixels = prepare(classifier, explanation.sample).pixels[None]
        target = class_of(self.explainer.targets.target_of(explanation.followed))
        cells = cell_shares(points, explanation.geometry, found.grid)
        try:
            if self._operator is None:
                self._operator = removal_operator(classifier, pixels)
            removed = remove_parts(self._stream, self._operator, pixels, target, cells)
        except ModelError as error:
            reason = gettext("Removing parts could not be tried: {reason}", reason=error.message)
            return found.model_copy(update={"caveats": [*found.caveats, reason]})
        return _with_removals(found, removed, classifier.labels[target], self._operator)


def face_evidence(explanation: Explanation, seed: int = 0) -> FaceEvidence:
    """Shares of area and of relevance by parts of the face, with intervals.

    A cell's relevance counts as spread evenly over it. An interval holds 95 of 100 shares found with the
    landmarks moved by their measured error (`moved_landmarks`): it says how well the parts are known, nothing
    of the model or the method.

    Args:
        explanation: Of a sample with landmarks.
        seed: Of the movements; images of equal landmarks are given the same.

    Raises:
        DataError: The sample has no landmarks, or they are of no face.
    """
    points = explanation.sample.landmarks
    if points is None:
        raise DataError(
            f"{explanation.sample.id}: no landmarks are known, so the face has no parts.",
            "Give Sample(landmarks=…), or have faces found.",
        )
    points = checked_points(points)
    grid = next(iter(explanation.maps.values())).shape
    rng = np.random.default_rng(derive_seed(seed, "landmarks"))
    cells = cell_shares(points, explanation.geometry, grid)
    placements = moved_landmarks(points, PLACEMENTS, rng)
    moved = cell_shares(placements, explanation.geometry, grid, SAMPLES)
    relevance = {
        label: _relevance(np.asarray(values, np.float64), cells, moved)
        for label, values in explanation.maps.items()
    }
    area, areas = cells.mean((1, 2)), moved.mean((2, 3))
    low, high = np.percentile(areas, LEVELS, axis=0)
    owned = owned_cells(cells).sum((1, 2))
    return FaceEvidence(
        points=len(points),
        draws=PLACEMENTS,
        grid=(grid[0], grid[1]),
        parts=[
            FacePart(
                part=part,
                area=float(area[place]),
                area_interval=(float(low[place]), float(high[place])),
                relevance={label: of_class[place] for label, of_class in relevance.items()},
                cells=int(owned[place]),
            )
            for place, part in enumerate(PARTS)
        ],
    )


def owned_cells(cells: np.ndarray) -> np.ndarray:
    """(parts, rows, cols) bool: each cell is of the part that covers most of it."""
    return cells.argmax(0) == np.arange(len(cells))[:, None, None]


def remove_parts(
    stream: Stream, operator: Operator, pixels: Tensor, target: int, cells: np.ndarray
) -> RemovedRegions:
    """The margin of a class without the cells of each part, and without random regions elsewhere.

    A part's cells are those of which it covers most; see `remove_regions`.

    Args:
        stream: Over the classifier; its seed, with the image's content, gives the regions.
        operator: What removing means, see `removal_operator`.
        pixels: (1, 3, H, W).
        target: Class index.
        cells: (parts, rows, cols) shares of cells.

    Raises:
        ModelError: One state does not fit into memory, or an output is not finite.
    """
    return remove_regions(stream, operator, pixels, target, owned_cells(cells), "face parts", DRAWS)


def _with_removals(
    found: FaceEvidence, removed: RemovedRegions, target: str, operator: Operator
) -> FaceEvidence:
    chances = rank_p(removed.without, removed.random)
    parts = [
        part.model_copy(
            update={
                "without": finite(removed.without[place]),
                "random": [] if np.isnan(chances[place]) else removed.random[place].tolist(),
                "p": finite(chances[place]),
            }
        )
        for place, part in enumerate(found.parts)
    ]
    removals = PartRemovals(
        target=target, value=VALUE, operator=operator.name, clean=removed.clean, states=removed.states
    )
    return found.model_copy(update={"parts": parts, "removals": removals})


def _relevance(values: np.ndarray, cells: np.ndarray, moved: np.ndarray) -> Sequence[PartRelevance]:
    """Of each part, for one map."""
    found = []
    for signed in (values, -values):
        shares = part_shares(signed, cells)
        low, high = np.percentile(part_shares(signed, moved), LEVELS, axis=0)
        found.append(
            [
                (finite(share), None if np.isnan(share) else (float(a), float(b)))
                for share, a, b in zip(shares, low, high, strict=True)
            ]
        )
    return [
        PartRelevance(positive=up[0], positive_interval=up[1], negative=down[0], negative_interval=down[1])
        for up, down in zip(*found, strict=True)
    ]
