"""What a survey found, summed up part by part: nothing that is held grows with the number of images."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xai.bench.data.files import Folder
from xai.bench.results.survey_rows import SurveyRow, parts_of, survey_of
from xai.bench.run.description import RunDescription
from xai.bench.run.store import Store
from xai.core import DataError
from xai.core.classes import fakes_first
from xai.data.face_parts import PARTS
from xai.stats import map_agreement
from xai.stats.maps import BlockNumbers, CellTotals, MeanDifference, Totals, map_distance, mean_difference
from xai.stats.survey import (
    AnswerCount,
    FarImage,
    MapContrast,
    MeanMap,
    PairAgreement,
    PartShare,
    Survey,
    SurveySection,
)

Cell = tuple[str | None, str, str | None]
Each = Callable[[SurveyRow, float | None], None]
LEAST_PEERS = 5  # images of a kind from which one can be said to lie far from their mean
SIGNS = ("positive", "negative")


@dataclass(frozen=True)
class _Settings:
    resamples: int
    alpha: float
    seed: int


@dataclass
class _MethodSums:
    """Sums of one method in one frame."""

    shape: tuple[int, int]
    maps: CellTotals
    raw: CellTotals
    shares: dict[str, CellTotals]
    images: int = 0
    blank: int = 0
    outside: dict[Cell, float] = field(default_factory=dict)
    farthest: list[tuple[float, int, FarImage]] = field(default_factory=list)


def survey_results(run: str | Folder, each: Each = lambda row, distance: None) -> Survey:
    """Work out what a survey found, finished or not.

    Its parts are read twice, one at a time: for sums, then for distances to the means.

    Args:
        run: Its folder.
        each: Called with every row, and how far its map lies from the mean of its label, answer and kind;
            None of a map without any relevance, or of too few images for a mean.

    Raises:
        DataError: No survey, one without any finished work item, or a broken part.
    """
    description = survey_of(run)
    configured = description.config.statistics
    settings = _Settings(configured.resamples, configured.alpha, description.config.seed)
    sums = _Sums()
    for rows in parts_of(run):
        sums.add(rows)
    if not sums.sections:
        raise DataError(f"{run} has no map yet.", "Run its survey until a work item is finished.")
    most = int(description.config.content.get("farthest", 0))
    means = _Means(sums)
    for rows in parts_of(run):
        means.measure(rows, most, each)
    store = Store(run)
    exclusions, _ = store.totals()
    return Survey(
        name=description.name,
        units=(len(store.done()), len(store.planned_items())),
        images=description.plan.images,
        used=sums.images,
        groups=sums.blocks.count,
        labels=tuple(fakes_first(description.model.labels)),
        target=str(description.config.content.get("target")),
        answers=tuple(_answers(sums.answers, description)),
        sections=tuple(_section(key, one, settings) for key, one in sums.sections.items()),
        agreement=tuple(_agreement(sums.agreement, settings)),
        exclusions=tuple(exclusions),
        alpha=settings.alpha,
        provenance=description.sessions[-1].content,
    )


class _Sums:
    """All sums, grown by one part after the other."""

    def __init__(self) -> None:
        self.blocks = BlockNumbers()
        self.sections: dict[tuple[str, str], _MethodSums] = {}
        self.agreement: dict[tuple[str, str], CellTotals] = {}
        self.answers: Counter[Cell] = Counter()
        self.images = 0

    def add(self, rows: Sequence[SurveyRow]) -> None:
        """Add a part."""
        for same in by_image(rows):
            self.images += 1
            self.answers[same[0].cell] += 1
            for row in same:
                self._add(row)
            self._compare(same)

    def _add(self, row: SurveyRow) -> None:
        section = self.sections.setdefault(
            (row.method, row.frame),
            _MethodSums(
                row.map.shape,
                CellTotals(self.blocks),
                CellTotals(self.blocks),
                {sign: CellTotals(self.blocks) for sign in SIGNS},
            ),
        )
        section.images += 1
        if row.level == 0:
            section.blank += 1
            return
        section.maps.add(row.cell, row.group, row.relative.ravel())
        section.raw.add(row.cell, row.group, row.map.ravel())
        section.outside[row.cell] = section.outside.get(row.cell, 0.0) + row.outside
        if row.shares is not None:
            for sign, held in zip(SIGNS, row.shares, strict=False):
                if np.isfinite(held).all():  # a map may speak for the class alone
                    section.shares[sign].add(row.cell, row.group, np.concatenate([held, row.shares[-1]]))

    def _compare(self, rows: Sequence[SurveyRow]) -> None:
        """Add how far the methods agree on an image."""
        if len(rows) < 2:
            return
        found = map_agreement(np.stack([row.map.ravel() for row in rows]))
        for i, first in enumerate(rows):
            for j in range(i + 1, len(rows)):
                if np.isfinite(found[i, j]):
                    pair = first.method, rows[j].method
                    totals = self.agreement.setdefault(pair, CellTotals(self.blocks))
                    totals.add(first.cell, first.group, found[i, j : j + 1])


class _Means:
    """The mean of each label, answer and kind, and the images that lie farthest from it."""

    def __init__(self, sums: _Sums):
        self._sections = sums.sections
        self._means: dict[tuple[str, str, Cell], Totals] = {}

    def measure(self, rows: Iterable[SurveyRow], most: int, each: Each) -> None:
        """Keep the farthest images of a part, if they are among the farthest of all."""
        for row in rows:
            found = self.distance(row)
            each(row, found and found[0])
            if most and found is not None:
                distance, peers = found
                farthest = self._sections[row.method, row.frame].farthest
                # of equal distances the first in the data
                entry = distance, -row.place, _far(row, distance, peers)
                (heapq.heappush if len(farthest) < most else heapq.heappushpop)(farthest, entry)

    def distance(self, row: SurveyRow) -> tuple[float, int] | None:
        """Of a map to the mean of its label, answer and kind, and of how many images that is."""
        key = row.method, row.frame, row.cell
        if row.level == 0:
            return None
        if key not in self._means:
            totals = self._sections[row.method, row.frame].maps.of(lambda cell: cell == row.cell)
            if totals is None:
                return None
            self._means[key] = totals
        totals = self._means[key]
        if totals.images < LEAST_PEERS:
            return None
        return map_distance(row.relative.ravel(), totals.mean), totals.images


def by_image(rows: Iterable[SurveyRow]) -> Iterator[list[SurveyRow]]:
    """Rows of one image after the other, which stand together."""
    same: list[SurveyRow] = []
    for row in rows:
        if same and same[0].place != row.place:
            yield same
            same = []
        same.append(row)
    if same:
        yield same


def _far(row: SurveyRow, distance: float, peers: int) -> FarImage:
    return FarImage(
        row.image, row.group, row.label, row.predicted, row.kind, row.place, distance, peers, row.relative
    )


def _section(key: tuple[str, str], sums: _MethodSums, settings: _Settings) -> SurveySection:
    method, frame = key
    farthest = [one for _, _, one in sorted(sums.farthest, key=lambda one: one[:2], reverse=True)]
    return SurveySection(
        method=method,
        frame=frame,
        images=sums.images,
        blank=sums.blank,
        maps=tuple(_maps(sums)),
        contrasts=tuple(_contrasts(sums)),
        parts=tuple(_parts(sums, settings)),
        farthest=tuple(farthest),
    )


def _maps(sums: _MethodSums) -> Iterator[MeanMap]:
    """Of all, by label, by answer, by both, by kind; each only where it says more than the one before."""
    cells: list[Any] = sums.maps.cells
    labels = fakes_first([label for label, _, _ in cells])
    answers = fakes_first([answer for _, answer, _ in cells])
    kinds = fakes_first([kind for _, _, kind in cells])
    asked: list[dict[str, str]] = [{}]
    asked += [{"label": label} for label in labels]
    asked += [{"predicted": answer} for answer in answers]
    asked += [{"label": label, "predicted": answer} for label in labels for answer in answers]
    asked += [{"kind": kind} for kind in kinds]
    for one in asked:
        wanted = _wanted(**one)
        totals, raw = sums.maps.of(wanted), sums.raw.of(wanted)
        if totals is not None and raw is not None:
            outside = sum(value for cell, value in sums.outside.items() if wanted(cell))
            yield MeanMap(
                one.get("label"),
                one.get("predicted"),
                one.get("kind"),
                totals.images,
                len(totals.blocks),
                totals.mean.reshape(sums.shape),
                totals.spread.reshape(sums.shape),
                raw.mean.reshape(sums.shape),
                outside / totals.images,
            )


def _contrasts(sums: _MethodSums) -> Iterator[MapContrast]:
    """Fake minus genuine, by label and by answer, where there are two of them."""
    cells: list[Any] = sums.maps.cells
    for place, of in enumerate(("label", "predicted")):
        names = fakes_first([cell[place] for cell in cells])
        if len(names) == 2:
            first, second = (sums.maps.of(_wanted(**{of: name})) for name in names)
            if first is not None and second is not None:
                yield contrast(of, names, (first, second), mean_difference(first, second), sums.shape)


def contrast(
    of: str,
    names: Sequence[str],
    totals: Sequence[Totals],
    found: MeanDifference,
    shape: tuple[int, int],
    label: str | None = None,
) -> MapContrast:
    """A difference with its names and the shape of its maps."""
    p = None if found.p is None else found.p.reshape(shape)
    images = totals[0].images, totals[-1].images
    return MapContrast(of, names[0], names[1], images, found.value.reshape(shape), p, found.blocks, label)


def _parts(sums: _MethodSums, settings: _Settings) -> Iterator[PartShare]:
    for sign in SIGNS:
        totals = sums.shares[sign]
        for label in (None, *fakes_first([label for label, _, _ in totals.cells])):
            one = totals.of(_wanted(label=label) if label else lambda cell: True)
            if one is None:
                continue
            low, high = one.interval(settings.resamples, settings.alpha, settings.seed)
            for i, part in enumerate(PARTS):
                area = float(one.mean[len(PARTS) + i])
                yield PartShare(
                    part, label, sign, one.images, float(one.mean[i]), float(low[i]), float(high[i]), area
                )


def _agreement(found: dict[tuple[str, str], CellTotals], settings: _Settings) -> Iterator[PairAgreement]:
    for (first, second), totals in found.items():
        yield from agreement_by_label(
            first, second, totals, settings.resamples, settings.alpha, settings.seed
        )


def agreement_by_label(
    first: str, second: str, totals: CellTotals, resamples: int, alpha: float, seed: int
) -> Iterator[PairAgreement]:
    """Mean correlation of all images, then of each label."""
    cells: list[Any] = totals.cells
    for label in (None, *fakes_first([label for label, _, _ in cells])):
        one = totals.of(_wanted(label=label) if label else lambda cell: True)
        if one is not None:
            low, high = one.interval(resamples, alpha, seed)
            yield PairAgreement(
                first, second, label, one.images, float(one.mean[0]), float(low[0]), float(high[0])
            )


def _answers(counted: Counter[Cell], description: RunDescription) -> Iterator[AnswerCount]:
    labels = fakes_first(description.model.labels)
    pairs = list(dict.fromkeys((label, kind) for label, _, kind in counted))
    ordered = fakes_first([label for label, _ in pairs])
    pairs.sort(key=lambda pair: (pair[0] is None or ordered.index(pair[0]), str(pair[1])))
    for label, kind in pairs:
        yield AnswerCount(label, kind, {answer: counted[label, answer, kind] for answer in labels})


def _wanted(
    label: str | None = None, predicted: str | None = None, kind: str | None = None
) -> Callable[[Any], bool]:
    asked = (label, predicted, kind)
    return lambda cell: all(one in (None, given) for one, given in zip(asked, cell, strict=True))
