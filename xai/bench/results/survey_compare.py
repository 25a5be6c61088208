"""Two surveys on the images that they have in common: two detectors, or two methods."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np
from PIL import Image

from xai.bench.data.files import Folder
from xai.bench.results.survey import SIGNS, agreement_by_label, contrast
from xai.bench.results.survey_rows import SurveyRow, parts_of, rows_of_part, survey_of
from xai.bench.run.store import Store
from xai.bench.run.survey_schema import MAY_BE_NULL, named_columns, schema
from xai.core import DataError, UsageError
from xai.core.classes import fakes_first
from xai.core.options import check_option
from xai.data.face_parts import PARTS
from xai.stats import map_agreement
from xai.stats.maps import BlockNumbers, CellTotals, mean_of_differences
from xai.stats.survey import MapContrast, PartDifference, SurveyComparison

KEPT = 4  # parts of the second run in memory
SIDE = 32  # cells along a side to which maps of different patch grids are resampled


def compare_surveys(
    first: str | Folder, second: str | Folder, methods: tuple[str, str] | None = None
) -> SurveyComparison:
    """Compare two surveys image by image: answers, maps of each image, mean maps, shares of face parts.

    Images are the same where their ids are. Maps of different grids are resampled, bilinear, to a common one.

    Args:
        first: Folder of a survey.
        second: Of another one, whose maps are subtracted; the same one, to compare two of its methods.
        methods: Of the first and of the second, by their names there. None: the first that both have; where
            there is none, and each run has one method only, these two.

    Raises:
        DataError: No survey, or no image in common.
        UsageError: No method in common, or none of that name.
    """
    about = survey_of(first), survey_of(second)
    named = [[method.name for method in one.methods] for one in about]
    if methods is None:
        methods = _paired(named)
    for name, there in zip(methods, named, strict=True):
        check_option("method", name, there)
    others, pairs, single = _Images(second, methods[1]), _Pairs(), 0
    for row in chain.from_iterable(parts_of(first)):
        if row.method == methods[0]:
            other = others.of(row.image)
            if other is None or not pairs.add(row, other):
                single += 1
    if not pairs.images:
        raise DataError(
            f"{first} and {second} have no image in common.",
            "Compare surveys of the same data, in the same frame: images are the same where their ids are.",
        )
    names = about[0].name, about[1].name
    if names[0] == names[1] and methods[0] != methods[1]:
        names = methods
    elif names[0] == names[1]:
        names = f"{names[0]} (1)", f"{names[1]} (2)"
    chosen, seed = about[0].config.statistics, about[0].config.seed
    answers = sorted(pairs.answers.items(), key=lambda one: (-one[1], one[0]))
    return SurveyComparison(
        runs=names,
        methods=methods,
        targets=(str(about[0].config.content.get("target")), str(about[1].config.content.get("target"))),
        frame=pairs.frame,
        images=pairs.images,
        groups=pairs.blocks.count,
        only=(single, len(others) - pairs.images),
        same_answers=sum(count for (one, other), count in answers if one == other) / pairs.images,
        answers=tuple((one, other, count) for (one, other), count in answers),
        agreement=tuple(agreement_by_label(*names, pairs.agreement, chosen.resamples, chosen.alpha, seed)),
        contrasts=tuple(pairs.contrasts(names)),
        alpha=chosen.alpha,
        parts=tuple(pairs.parts(chosen.resamples, chosen.alpha, seed)),
    )


class _Images:
    """The rows of one method by image; names are held, rows are read again part by part."""

    def __init__(self, run: str | Folder, method: str):
        self._store, self._method = Store(run), method
        self._keys = self._store.done()
        columns = named_columns("image", "method")
        self._part_of: dict[str, int] = {}
        for place, table in enumerate(self._store.rows(columns, (), self._keys)):
            pairs = zip(table["image"].to_pylist(), table["method"].to_pylist(), strict=True)
            self._part_of |= {image: place for image, used in pairs if used == method}
        self._part = lru_cache(KEPT)(self._read)

    def __len__(self) -> int:
        return len(self._part_of)

    def of(self, image: str) -> SurveyRow | None:
        """The row of an image."""
        place = self._part_of.get(image)
        return None if place is None else self._part(place)[image]

    def _read(self, place: int) -> dict[str, SurveyRow]:
        (table,) = self._store.rows(schema(), MAY_BE_NULL, [self._keys[place]])
        return {row.image: row for row in rows_of_part(table) if row.method == self._method}


class _Pairs:
    """Sums over the images that two runs have in common."""

    def __init__(self) -> None:
        self.blocks = BlockNumbers()
        self.images, self.frame = 0, ""
        self.answers: Counter[tuple[str, str]] = Counter()
        self.agreement = CellTotals(self.blocks)
        self._differences = CellTotals(self.blocks)
        self._shares = {sign: CellTotals(self.blocks) for sign in SIGNS}
        self._shape: tuple[int, int] | None = None

    def add(self, row: SurveyRow, other: SurveyRow) -> bool:
        """Add an image; not if its two maps, or those of the images before, lie in different frames."""
        self.frame = self.frame or row.frame
        if {row.frame, other.frame} != {self.frame}:
            return False
        self.images += 1
        self.answers[row.predicted, other.predicted] += 1
        if row.level and other.level:
            maps = _alike(row.relative, other.relative)
            self._shape = maps[0].shape[0], maps[0].shape[1]
            self._differences.add(row.cell, row.group, (maps[0] - maps[1]).ravel())
            found = map_agreement(np.stack([one.ravel() for one in maps]))[0, 1]
            if np.isfinite(found):
                self.agreement.add(row.cell, row.group, np.array([found]))
        if row.shares is not None and other.shares is not None:
            for sign, one, two in zip(SIGNS, row.shares, other.shares, strict=False):
                if np.isfinite(one).all() and np.isfinite(two).all():
                    values = np.concatenate([one - two, one, two, row.shares[-1]])
                    self._shares[sign].add(row.cell, row.group, values)
        return True

    def contrasts(self, names: tuple[str, str]) -> Iterator[MapContrast]:
        """First minus second, of all images and of each label."""
        cells = self._differences.cells
        for label in (None, *fakes_first([cell[0] for cell in cells])):
            totals = self._differences.of(lambda cell, label=label: label in (None, cell[0]))
            if totals is not None and self._shape is not None:
                found = mean_of_differences(totals)
                yield contrast("run", names, (totals, totals), found, self._shape, label)

    def parts(self, resamples: int, alpha: float, seed: int) -> Iterator[PartDifference]:
        """Shares of face parts in both, of all images and of each label."""
        for sign, sums in self._shares.items():
            for label in (None, *fakes_first([cell[0] for cell in sums.cells])):
                totals = sums.of(lambda cell, label=label: label in (None, cell[0]))
                if totals is None:
                    continue
                low, high = totals.interval(resamples, alpha, seed)
                difference, first, second, area = totals.mean.reshape(4, len(PARTS)).tolist()
                for i, part in enumerate(PARTS):
                    ends = float(low[i]), float(high[i])
                    yield PartDifference(
                        part, label, sign, totals.images, first[i], second[i], difference[i], *ends, area[i]
                    )


def _paired(methods: Sequence[Sequence[str]]) -> tuple[str, str]:
    first, second = methods
    same = [name for name in first if name in second]
    if same:
        return same[0], same[0]
    if len(first) == len(second) == 1:
        return first[0], second[0]
    raise UsageError(
        f"The surveys have no method in common: {', '.join(first)} and {', '.join(second)}.",
        "Give methods that shall be compared the same name in both configurations.",
    )


def _alike(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two maps on one grid."""
    if one.shape == other.shape:
        return one, other
    pictures = (Image.fromarray(values.astype(np.float32)) for values in (one, other))
    first, second = (
        np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
        for picture in pictures
    )
    return first, second
