"""What a survey found, as values: maps by label, answer and kind, shares of face parts, odd images."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from xai.stats.summary import Exclusion

DIGITS = 4  # of the maps in JSON


@dataclass(frozen=True, eq=False)
class MeanMap:
    """The mean map of some images.

    Args:
        label: True class that they share, None where it is not asked for.
        predicted: Class that the model said, likewise.
        kind: How they were manipulated, likewise.
        images: How many.
        groups: Blocks of groups that they are from.
        mean: (rows, cols) of maps each divided by its own mean absolute relevance: 1 is as much as evenly
            spread relevance would give.
        spread: (rows, cols) their standard deviation over images.
        raw: (rows, cols) mean in the method's units.
        outside: Mean share of the frame that the model's input does not show.
    """

    label: str | None
    predicted: str | None
    kind: str | None
    images: int
    groups: int
    mean: np.ndarray
    spread: np.ndarray
    raw: np.ndarray
    outside: float


@dataclass(frozen=True, eq=False)
class MapContrast:
    """Difference of two mean maps.

    Args:
        of: What the two differ in: `label`, `predicted`, or `run`.
        first: Name of the one.
        second: Of the other, which is subtracted.
        images: Of the two, or of both where they are paired.
        difference: (rows, cols).
        p: (rows, cols) adjusted, see `xai.stats.maps`; None where nothing is tested.
        blocks: Groups that the test leaves out by turns.
        label: True class of the images, None for all.
    """

    of: str
    first: str
    second: str
    images: tuple[int, int]
    difference: np.ndarray
    p: np.ndarray | None
    blocks: int
    label: str | None = None


@dataclass(frozen=True)
class PartShare:
    """What a part of the face holds of the relevance of some images.

    Args:
        part: See `xai.data.face_parts.PARTS`.
        label: True class of the images, None for all.
        sign: `positive` or `negative` relevance.
        images: That have any.
        share: Mean share, in [0, 1].
        low: Lower end of its bootstrap interval, groups resampled whole.
        high: Upper end.
        area: Mean share of the area: what evenly spread relevance would give.
    """

    part: str
    label: str | None
    sign: str
    images: int
    share: float
    low: float
    high: float
    area: float


@dataclass(frozen=True)
class PartDifference:
    """What a part of the face holds of the relevance of the same images in two surveys.

    Args:
        part: See `xai.data.face_parts.PARTS`.
        label: True class of the images, None for all.
        sign: `positive` or `negative` relevance.
        images: That have any in both.
        first: Mean share in the first survey, in [0, 1].
        second: In the second.
        difference: First minus second.
        low: Lower end of its bootstrap interval, groups resampled whole.
        high: Upper end.
        area: Mean share of the area, in the first.
    """

    part: str
    label: str | None
    sign: str
    images: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    area: float


@dataclass(frozen=True, eq=False)
class FarImage:
    """An image whose map lies far from the mean of its kind.

    Args:
        image: Id.
        group: What it is a frame or crop of.
        label: True class, if known.
        predicted: What the model said.
        kind: How it was manipulated, if known.
        place: In the data.
        distance: See `xai.stats.maps.map_distance`; 0 … 1.
        peers: Images of the same label, answer and kind, whose mean it is compared with.
        map: (rows, cols) divided by its mean absolute relevance.
        picture: Data URI of a thumbnail; None where the image is not at hand.
    """

    image: str
    group: str
    label: str | None
    predicted: str
    kind: str | None
    place: int
    distance: float
    peers: int
    map: np.ndarray
    picture: str | None = None


@dataclass(frozen=True, eq=False)
class SurveySection:
    """What was found with one method in one frame.

    Args:
        method: Its name in the run.
        frame: `face`, one canonical face, or `crop`, the model's input as it is.
        images: How many.
        blank: Maps without any relevance, which are in no mean.
        maps: Of all images, by label, by answer, by both, by kind; fakes before genuine ones.
        contrasts: Fake minus genuine, by label and by answer.
        parts: Where landmarks are known.
        farthest: The farthest first.
        backdrop: Data URI of the mean of some of the images in this frame; None where they are not at hand.
    """

    method: str
    frame: str
    images: int
    blank: int
    maps: tuple[MeanMap, ...]
    contrasts: tuple[MapContrast, ...]
    parts: tuple[PartShare, ...]
    farthest: tuple[FarImage, ...]
    backdrop: str | None = None


@dataclass(frozen=True)
class PairAgreement:
    """Spearman's rank correlation of two maps of one image, over images.

    Args:
        first: Method, or run.
        second: The other.
        label: True class of the images, None for all.
        images: On which both have an order.
        mean: Of the correlations.
        low: Lower end of its bootstrap interval, groups resampled whole.
        high: Upper end.
    """

    first: str
    second: str
    label: str | None
    images: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class AnswerCount:
    """How many images of a label and kind the model gave each answer."""

    label: str | None
    kind: str | None
    answers: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Survey:
    """All that a survey found.

    Args:
        name: Of the run.
        units: (work items done, of all).
        images: Of the data.
        used: Of them, those that were explained.
        groups: Videos, identities or photographs they are from; at most `xai.stats.maps.MOST` are told apart.
        labels: Classes of the model, fakes first.
        target: What was explained, see `xai.bench.SurveyConfig`.
        answers: By label and kind.
        sections: By method and frame.
        agreement: Of each two methods.
        exclusions: What is missing, and why.
        alpha: Level of tests and intervals.
        provenance: The last session, JSON-ready.
    """

    name: str
    units: tuple[int, int]
    images: int
    used: int
    groups: int
    labels: tuple[str, ...]
    target: str
    answers: tuple[AnswerCount, ...]
    sections: tuple[SurveySection, ...]
    agreement: tuple[PairAgreement, ...]
    exclusions: tuple[Exclusion, ...]
    alpha: float
    provenance: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without pictures; what is undefined is None."""
        return {"schema": "xai.survey-summary/1", **survey_json(self)}


@dataclass(frozen=True, eq=False)
class SurveyComparison:
    """Two surveys on the images that they have in common.

    Args:
        runs: Their names.
        methods: Of each, the one that is compared.
        targets: What each explained: `predicted`, `label` or a class.
        frame: That the maps are compared in.
        images: In common.
        groups: Of them.
        only: Images that only one of them has.
        same_answers: Share of the images with the same answer.
        answers: (answer of the first, of the second) → images.
        agreement: Of the maps of each image, of all and by label.
        contrasts: First minus second of the same images, of all and by label.
        alpha: Level of tests and intervals.
        parts: Shares of face parts, where landmarks are known.
    """

    runs: tuple[str, str]
    methods: tuple[str, str]
    targets: tuple[str, str]
    frame: str
    images: int
    groups: int
    only: tuple[int, int]
    same_answers: float
    answers: tuple[tuple[str, str, int], ...]
    agreement: tuple[PairAgreement, ...]
    contrasts: tuple[MapContrast, ...]
    alpha: float
    parts: tuple[PartDifference, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what is undefined is None."""
        return {"schema": "xai.survey-comparison/1", **survey_json(self)}


def survey_json(value: Any) -> Any:
    """Results as JSON holds them: arrays as lists, no pictures, None for what is not finite."""
    if isinstance(value, np.ndarray):
        return survey_json(np.round(value.astype(np.float64), DIGITS).tolist())
    if is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in fields(value) if one.name not in ("picture", "backdrop")]
        return {name: survey_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): survey_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [survey_json(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
