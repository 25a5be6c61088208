"""Evidence by parts of the face over the images of a run: a table of all, and means with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xai.core import Explanation, derive_seed
from xai.core.csv_table import CsvTable
from xai.core.files import write_json
from xai.core.language import gettext
from xai.data.face_parts import PARTS
from xai.report.encode import finite
from xai.report.face_parts import part_name
from xai.report.image_payload import FaceEvidence, FacePart
from xai.report.text import percent
from xai.stats.bootstrap import bca, resampled_means

RESAMPLES = 9999
ALPHA = 0.05
SCHEMA = "xai.face_parts/1"
COLUMNS = (
    *("image", "path", "group", "true_class", "predicted", "class", "part"),
    *("area", "area_low", "area_high"),
    *("positive", "positive_low", "positive_high", "negative", "negative_low", "negative_high"),
    *("cells", "removed_of", "operator", "clean", "without", "random_low", "random_high", "p"),
)
MEANS = ("area", "positive", "negative", "change", "random_change")
"""What is averaged over images. Changes are of the value of the class that was followed."""


@dataclass(frozen=True, eq=False)
class _Values:
    """Of one image and class: (parts, means) numbers, NaN where there is none."""

    kind: str
    group: str
    label: str
    values: np.ndarray


@dataclass
class FaceTable:
    """Collects the evidence of a run's images.

    Args:
        seed: Of the bootstrap.
    """

    seed: int = 0
    labels: tuple[str, ...] = ()
    images: int = 0
    _rows: CsvTable = field(default_factory=lambda: CsvTable(COLUMNS))
    _values: list[_Values] = field(default_factory=list)

    def add(self, explanation: Explanation, evidence: FaceEvidence) -> None:
        """Count one image; one whose landmarks were of no face is left out."""
        if not evidence.parts:
            return
        self.images += 1
        self.labels = explanation.labels
        self._rows.add(_rows_of(explanation, evidence))
        sample = explanation.sample
        for label in explanation.maps:
            values = np.array([_means_of(part, evidence, label) for part in evidence.parts], float)
            kind = sample.label or explanation.predicted
            self._values.append(_Values(kind, sample.group or f"\0{self.images}", label, values))

    def write(self, out: Path) -> None:
        """Write `face_parts.csv` and `face_parts.json`; without any image nothing.

        Raises:
            OutputError: A file cannot be written.
        """
        if not self.images:
            return
        self._rows.write(out / "face_parts.csv")
        content = {"schema": SCHEMA, "images": self.images, "means": self.means}
        write_json(out / "face_parts.json", content)

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """A table for people: header and rows, a part each, fake before real.

        In a column, images of one class and the map for that same class: the mean share of the positive
        relevance with its interval, and how many times the part's share of the area that is.
        """
        kinds = [kind for kind in self._order if self._chosen(kind, kind)]
        found = {(one["images_of"], one["class"], one["part"]): one for one in self.means}
        header = [gettext("part of the face"), gettext("area")]
        header += [
            gettext("evidence for {label} (n = {n})", label=kind, n=len(self._chosen(kind, kind)))
            for kind in kinds
        ]
        rows = [
            [
                part_name(part),
                percent(found[kinds[0], kinds[0], part]["area"]["mean"]),
                *(_in_words(found[kind, kind, part]) for kind in kinds),
            ]
            for part in PARTS
            if kinds
        ]
        return header, rows

    @cached_property
    def means(self) -> list[dict[str, Any]]:
        """Means over images: of all, and by true class (the predicted one where unknown), with intervals.

        Intervals are the middle 95 % of 2000 means of groups drawn with replacement, a group (a video, a
        person) with all its images; of fewer than five groups there is none. Fake comes before real.
        """
        labels = dict.fromkeys([*self._order, *(one.label for one in self._values)])
        return [
            means
            for kind in (None, *self._order)
            for label in labels
            for means in self._means_of(kind, label, self._chosen(kind, label))
        ]

    @property
    def _order(self) -> list[str]:
        return list(self.labels[::-1] if len(self.labels) == 2 else self.labels)

    def _chosen(self, kind: str | None, label: str) -> list[_Values]:
        return [one for one in self._values if one.label == label and kind in (None, one.kind)]

    def _means_of(self, kind: str | None, label: str, chosen: Sequence[_Values]) -> Iterator[dict[str, Any]]:
        if not chosen:
            return
        values = np.stack([one.values for one in chosen]).reshape(len(chosen), -1)
        groups, of_group = np.unique([one.group for one in chosen], return_inverse=True)
        mean, low, high = (np.full(values.shape[1], np.nan) for _ in range(3))
        # images that lack a number lack it in whole columns, of which there are few kinds
        known = np.isfinite(values)
        for pattern in np.unique(known, axis=1).T:
            columns = np.flatnonzero((known == pattern[:, None]).all(0))
            if not pattern.any():
                continue
            inside = of_group[pattern]
            weights = np.bincount(inside, minlength=len(groups)).astype(float)
            sums = np.zeros((len(groups), len(columns)))
            np.add.at(sums, inside, values[pattern][:, columns])
            there = weights > 0
            blocks, weights = sums[there] / weights[there, None], weights[there]
            mean[columns] = weights @ blocks / weights.sum()
            rng = np.random.default_rng(derive_seed(self.seed, "face parts"))
            resampled = resampled_means(blocks, weights, RESAMPLES, rng)
            low[columns], high[columns] = bca(blocks, weights, resampled, ALPHA)
        shape = len(PARTS), len(MEANS)
        for part, *numbers in zip(PARTS, *(x.reshape(shape) for x in (mean, low, high)), strict=True):
            yield {
                "images_of": kind,
                "class": label,
                "part": part,
                "images": len(chosen),
                "groups": len(groups),
                **{
                    name: {"mean": finite(a), "interval": None if np.isnan(b) else [float(b), float(c)]}
                    for name, a, b, c in zip(MEANS, *numbers, strict=True)
                },
            }


def _rows_of(explanation: Explanation, evidence: FaceEvidence) -> Iterator[Sequence[Any]]:
    sample, removals = explanation.sample, evidence.removals
    known = [sample.id, sample.path, sample.group, sample.label, explanation.predicted]
    removed = [None] * 3 if removals is None else [removals.target, removals.operator, removals.clean]
    for label in explanation.maps:
        for part in evidence.parts:
            found = part.relevance[label]
            random = (min(part.random), max(part.random)) if part.random else (None, None)
            yield [
                *known,
                *(label, part.part, part.area, *part.area_interval),
                *(found.positive, *(found.positive_interval or (None, None))),
                *(found.negative, *(found.negative_interval or (None, None))),
                *(part.cells, *removed, part.without, *random, part.p),
            ]


def _means_of(part: FacePart, evidence: FaceEvidence, label: str) -> Sequence[float | None]:
    """In the order of `MEANS`."""
    found, removals = part.relevance[label], evidence.removals
    change = random = None
    if removals is not None and part.without is not None:
        change = part.without - removals.clean
        random = float(np.mean(part.random)) - removals.clean if part.random else None
    return part.area, found.positive, found.negative, change, random


def _in_words(means: Mapping[str, Any]) -> str:
    share, interval, area = means["positive"]["mean"], means["positive"]["interval"], means["area"]["mean"]
    if share is None:
        return "–"
    text = f"{percent(share)} ({share / area:.2f}×)" if area > 0 else percent(share)
    return text if interval is None else f"{text} [{percent(interval[0])}, {percent(interval[1])}]"
