"""Evidence by parts of the face: how much of the relevance lies there, and the answer without them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xai.core import DataError, Explanation, ModelError, derive_seed
from xai.core.language import gettext
from xai.data.face_landmarks import checked_points, moved_landmarks
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.explanation.explainer import Explainer, prepare
from xai.explanation.removal import VALUE, class_of, removal_operator
from xai.perturb import Operator, Request, States, Stream, image_seeds
from xai.perturb.regions import count_pieces, grown_order
from xai.report.encode import finite
from xai.report.image_payload import FaceEvidence, FacePart, PartRelevance, PartRemovals

PLACEMENTS = 100  # of the landmarks, behind each interval
LEVELS = (2.5, 97.5)  # percentiles of an interval
DRAWS = 19  # random regions for each part: the least p is 1/20
LARGEST = 1 / 3  # of the cells; a part of more leaves no room for regions of its size elsewhere
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


@dataclass(frozen=True, eq=False)
class RemovedParts:
    """Values of an image as it is, without each part, and without random regions instead.

    Args:
        clean: Of the image as it is.
        without: (parts,) NaN of a part that owns no cell.
        random: (parts, draws), NaN of parts without random regions.
        states: Images that went through the model.
    """

    clean: float
    without: np.ndarray
    random: np.ndarray
    states: int


def remove_parts(
    stream: Stream, operator: Operator, pixels: Tensor, target: int, cells: np.ndarray
) -> RemovedParts:
    """The margin of a class without the cells of each part, and without random regions elsewhere.

    The margin is the logit of the class minus the log-sum-exp of all others. A part's cells are those of
    which it covers most. Beside it stand `DRAWS` random regions of as many cells, none of them the part's,
    grown from as many cells as the part has pieces; parts of more than a third of all cells have none.

    Args:
        stream: Over the classifier; its seed, with the image's content, gives the regions.
        operator: What removing means, see `removal_operator`.
        pixels: (1, 3, H, W).
        target: Class index.
        cells: (parts, rows, cols) shares of cells.

    Raises:
        ModelError: One state does not fit into memory, or an output is not finite.
    """
    owned = owned_cells(cells)
    parts, rows, cols = owned.shape
    sizes = owned.sum((1, 2))
    with_control = np.flatnonzero((sizes > 0) & (sizes <= LARGEST * rows * cols))
    rng = np.random.default_rng(derive_seed(image_seeds(pixels, stream.seed)[0], "face parts"))
    repeated = with_control.repeat(DRAWS)
    regions = grown_order(~owned[repeated], count_pieces(owned)[repeated], rng)
    own_first = (~owned).reshape(parts, -1).argsort(1, kind="stable").argsort(1).astype(np.int32)
    rankings = np.concatenate([own_first.reshape(owned.shape), regions])
    table = States(
        rankings=torch.from_numpy(rankings),
        image=torch.zeros(len(rankings), dtype=torch.long),
        row=torch.tensor([0, *range(len(rankings))]),
        low=torch.zeros(len(rankings) + 1, dtype=torch.int32),
        # the first state removes nothing
        high=torch.tensor([0, *sizes, *sizes[repeated]], dtype=torch.int32),
    )
    before = stream.forwards
    (values,) = stream.evaluate(pixels, torch.tensor([target]), [Request(operator, table)])
    margins = values.double().numpy()
    if not np.isfinite(margins).all():
        raise ModelError("the model gave outputs that are not finite.")
    random = np.full((parts, DRAWS), np.nan)
    random[with_control] = margins[1 + parts :].reshape(-1, DRAWS)
    without = np.where(sizes > 0, margins[1 : 1 + parts], np.nan)
    return RemovedParts(float(margins[0]), without, random, stream.forwards - before)


def rank_p(without: np.ndarray, random: np.ndarray) -> np.ndarray:
    """One-sided rank p of each part: how rare so low a value is among random regions and the part itself.

    Args:
        without: (parts,).
        random: (parts, draws); parts with NaN get NaN.
    """
    lower = (random <= without[:, None]).sum(1)
    known = np.isfinite(random).all(1) & np.isfinite(without)
    return np.where(known, (1 + lower) / (1 + random.shape[1]), np.nan)


def _with_removals(
    found: FaceEvidence, removed: RemovedParts, target: str, operator: Operator
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
