"""Whether maps and answers stay what they are when the picture gets worse, and what that is measured against.

A rank correlation of 0.6 says little by itself: maps of different pictures agree, too, where faces are in the
middle. So every agreement is placed between what maps of other images give (0) and the same map (1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from xai.core import derive_seed
from xai.core.order import top_shares
from xai.stats.agreement import unit_ranks
from xai.stats.blocks import Blocks
from xai.stats.bootstrap import LEAST_BLOCKS, bca, resampled_means

HALFWAY = 0.5  # from which place between unrelated and the same on a map is kept
LEAST_OTHERS = 5  # maps of other images that an agreement is measured against
MOST_OTHERS = 50


class Steadiness(StrEnum):
    """What a degradation does to a map, or to those of many images.

    Kept: at least half-way from what maps of other images give to the same map. Lost: such as maps of other
    images give. Shifted: between. Of many images the interval of the mean decides, and may leave it unclear.
    """

    KEPT = "kept"
    SHIFTED = "shifted"
    LOST = "lost"
    UNCLEAR = "unclear"
    TOO_FEW = "too_few"
    NOT_COMPARED = "not_compared"


@dataclass(frozen=True)
class Degraded:
    """One image after one degradation, beside itself as it is.

    Args:
        degradation: Name.
        spearman: Rank correlation of the map with the clean one; None where one of them is constant.
        overlap: Share of the strongest patches (a tenth of all) that are the same; None likewise.
        probability: Of the class that is followed.
        margin: Its logit minus the log-sum-exp of the others.
        predicted: Class.
    """

    degradation: str
    spearman: float | None
    overlap: float | None
    probability: float
    margin: float
    predicted: str


@dataclass(frozen=True)
class UnrelatedMaps:
    """How alike an image's map is to maps of other images, by rank correlation.

    Args:
        mean: Over those maps; NaN while not known.
        high: The 95 % quantile: what an unrelated map hardly exceeds.
        maps: How many there were.
    """

    mean: float = float("nan")
    high: float = float("nan")
    maps: int = 0


@dataclass(frozen=True)
class ImageStability:
    """One image through all degradations.

    Args:
        id: Of the image.
        group: What it is a frame or crop of; its own id if nothing.
        target: The class or contrast whose map is followed.
        predicted: Class of the image as it is.
        probability: Of `target`, of the image as it is; NaN of a contrast.
        margin: See `Degraded`.
        changes: One a degradation, mildest first.
        reference: How alike the clean map is to maps of other images.
    """

    id: str
    group: str
    target: str
    predicted: str
    probability: float
    margin: float
    changes: tuple[Degraded, ...]
    reference: UnrelatedMaps = UnrelatedMaps()

    def place(self, change: Degraded) -> float:
        """Where the agreement lies between maps of other images (0) and the same map (1); may be below 0."""
        unrelated = self.reference.mean
        if change.spearman is None or not unrelated < 1:
            return float("nan")
        return (change.spearman - unrelated) / (1 - unrelated)

    def verdict(self, change: Degraded) -> Steadiness:
        """What the degradation does to this image's map."""
        place = self.place(change)
        if np.isnan(place) or change.spearman is None:
            return Steadiness.NOT_COMPARED
        if change.spearman <= self.reference.high:
            return Steadiness.LOST
        return Steadiness.KEPT if place >= HALFWAY else Steadiness.SHIFTED

    @property
    def worst(self) -> Steadiness:
        """The worst verdict of all degradations."""
        order = (Steadiness.LOST, Steadiness.SHIFTED, Steadiness.KEPT, Steadiness.NOT_COMPARED)
        found = [self.verdict(change) for change in self.changes]
        return min(found, key=order.index, default=Steadiness.NOT_COMPARED)

    @property
    def flips(self) -> list[str]:
        """Degradations after which another class is predicted."""
        return [one.degradation for one in self.changes if one.predicted != self.predicted]


@dataclass(frozen=True)
class Interval:
    """A mean over images, and its bootstrap interval over groups; no ends where there are too few."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DegradationSummary:
    """What one degradation does to all images.

    Args:
        degradation: Name.
        spearman: Rank correlation with the clean map.
        overlap: Share of the strongest patches that are the same.
        place: Between maps of other images (0) and the same map (1).
        probability: Change of the probability of the class followed.
        margin: Change of its margin.
        flips: Images of which another class is predicted.
        answered: Images in all.
        images: That have a map to be compared.
        blocks: Independent ones among them: groups, or images.
        verdict: What it comes to.
    """

    degradation: str
    spearman: Interval
    overlap: Interval
    place: Interval
    probability: Interval
    margin: Interval
    flips: int
    answered: int
    images: int
    blocks: int
    verdict: Steadiness


def map_change(clean: np.ndarray, maps: np.ndarray) -> list[tuple[float | None, float | None]]:
    """Rank correlation, and overlap of the strongest patches, of maps with a clean one.

    Patches that tie for the last place among the strongest count by their share.

    Args:
        clean: (rows, cols).
        maps: (M, rows, cols).
    """
    rows = np.concatenate([clean.reshape(1, -1), maps.reshape(len(maps), -1)]).astype(np.float64)
    units = unit_ranks(rows)
    agreement = (units[1:] @ units[0]).clip(-1, 1)
    top = top_shares(rows)
    shared = np.minimum(top[1:], top[0]).sum(1) / top[0].sum()
    return [
        (float(one), float(share)) if np.isfinite(one) else (None, None)
        for one, share in zip(agreement, shared, strict=True)
    ]


def references(
    maps: np.ndarray, groups: Sequence[str], extra: np.ndarray, seed: int = 0
) -> list[UnrelatedMaps]:
    """How alike each map is to maps of images of other groups.

    Where fewer than five images of other groups are there, `extra` counts as well; of more than fifty, fifty
    are drawn.

    Args:
        maps: (N, P) clean maps of one class.
        groups: (N,).
        extra: (E, P) maps of further images.
        seed: Of the draws.
    """
    units, more = unit_ranks(np.asarray(maps, np.float64)), unit_ranks(np.asarray(extra, np.float64))
    known, more = np.isfinite(units[:, 0]), more[np.isfinite(more[:, 0])] if len(more) else more
    names = np.asarray(groups)
    rng = np.random.default_rng(derive_seed(seed, "references"))
    found = []
    for place, unit in enumerate(units):
        others = np.flatnonzero((names != names[place]) & known)
        if len(others) > MOST_OTHERS:
            others = rng.choice(others, MOST_OTHERS, replace=False)
        beside = units[others]
        if len(others) < LEAST_OTHERS and len(more):
            beside = np.concatenate([beside, more])
        alike = beside @ unit
        if len(alike) and np.isfinite(alike).all():
            found.append(UnrelatedMaps(float(alike.mean()), float(np.quantile(alike, 0.95)), len(alike)))
        else:
            found.append(UnrelatedMaps())
    return found


def summarise_stability(
    images: Iterable[ImageStability], *, resamples: int = 9999, alpha: float = 0.05, seed: int = 0
) -> list[DegradationSummary]:
    """What each degradation does over all images; groups are resampled whole.

    Args:
        images: With their references; all through the same degradations.
        resamples: Of the bootstrap.
        alpha: Intervals cover 1 − alpha.
        seed: Of the bootstrap.
    """
    images = list(images)
    names = [one.degradation for one in images[0].changes] if images else []
    return [_summary(name, place, images, resamples, alpha, seed) for place, name in enumerate(names)]


def _summary(
    name: str, place: int, images: Sequence[ImageStability], resamples: int, alpha: float, seed: int
) -> DegradationSummary:
    changes = [image.changes[place] for image in images]
    groups = [image.group for image in images]
    nan = float("nan")
    maps = np.array([
        [nan, nan, nan] if one.spearman is None or one.overlap is None
        else [one.spearman, one.overlap, image.place(one)]
        for image, one in zip(images, changes, strict=True)
    ])  # fmt: skip
    answers = np.array([
        [one.probability - image.probability, one.margin - image.margin]
        for image, one in zip(images, changes, strict=True)
    ])  # fmt: skip
    spearman, overlap, between = _intervals(maps, groups, resamples, alpha, seed)
    probability, margin = _intervals(answers, groups, resamples, alpha, seed)
    compared = [bool(np.isfinite(row).all()) for row in maps]
    blocks = len({group for group, one in zip(groups, compared, strict=True) if one})
    return DegradationSummary(
        degradation=name,
        spearman=spearman,
        overlap=overlap,
        place=between,
        probability=probability,
        margin=margin,
        flips=sum(one.predicted != image.predicted for image, one in zip(images, changes, strict=True)),
        answered=len(images),
        images=sum(compared),
        blocks=blocks,
        verdict=_verdict(between, blocks),
    )


def _intervals(
    values: np.ndarray, groups: Sequence[str], resamples: int, alpha: float, seed: int
) -> list[Interval]:
    """Of each column; the mean of groups, NaN where no image has values."""
    blocks = Blocks.of(values, groups)
    found = iter(_of_blocks(blocks, resamples, alpha, seed))
    # a contrast has no probability, constant maps no order
    return [next(found) if scored else Interval(float("nan")) for scored in blocks.scored]


def _of_blocks(blocks: Blocks, resamples: int, alpha: float, seed: int) -> list[Interval]:
    means = blocks.mean() if len(blocks.values) else np.empty(0)
    if len(blocks.values) < LEAST_BLOCKS:
        return [Interval(float(mean)) for mean in means]
    rng = np.random.default_rng(derive_seed(seed, "stability"))
    drawn = resampled_means(blocks.values, blocks.weights, resamples, rng)
    ends = bca(blocks.values, blocks.weights, drawn, alpha)
    return [Interval(float(m), float(a), float(b)) for m, a, b in zip(means, *ends, strict=True)]


def _verdict(place: Interval, blocks: int) -> Steadiness:
    """By the interval of the mean, not by the mean."""
    if not blocks:
        return Steadiness.NOT_COMPARED
    if place.low is None or place.high is None:
        return Steadiness.TOO_FEW
    if place.low >= HALFWAY:
        return Steadiness.KEPT
    if place.high >= HALFWAY:
        return Steadiness.UNCLEAR
    return Steadiness.SHIFTED if place.low > 0 else Steadiness.LOST
