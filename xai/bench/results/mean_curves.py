"""Mean curves of a run: curves are read once more and averaged as they come: all of them may not fit."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from xai.bench.results.record_parts import RecordPart
from xai.bench.results.score_tables import ScoreTable, ScoreTables
from xai.stats import Band
from xai.stats.asymptotic import LARGE
from xai.stats.curves import Draws, MeanCurves

RESAMPLES = 1000
HELD = 2**28  # counts of draws held at a time; where images differ between tables, curves are read again


def mean_curves(
    located: ScoreTables,
    tables: Sequence[ScoreTable],
    parts: Callable[[], Iterator[RecordPart]],
    *,
    resamples: int,
    alpha: float,
    seed: int,
) -> list[dict[str, Band]]:
    """Mean curves by method for each table, over the images that all its methods share.

    Random maps are averaged per image first.

    Args:
        located: Where records stand in the tables.
        tables: Of the run.
        parts: The same records again, with at least `LOCATED` and their curves.
        resamples: Of the summary's bootstrap; the curves have `RESAMPLES` at most.
        alpha: The intervals cover 1 − alpha.
        seed: Of the bootstrap.
    """
    resamples = min(RESAMPLES, resamples)
    waiting: dict[tuple[bytes, bytes], list[_Averages]] = {}
    for number, table in enumerate(tables):
        for one in _of_table(number, table):
            waiting.setdefault(one.drawn_alike, []).append(one)
    found: list[dict[str, Band]] = [{} for _ in tables]
    drawn = {key for key, (one, *_) in waiting.items() if one.blocks < LARGE}
    while waiting:
        now: list[_Averages] = []
        held = 0
        for key in list(waiting):
            count = resamples if key in drawn else 0
            held += waiting[key][0].blocks * count
            if held <= HELD or not now:
                same = waiting.pop(key)
                draws = Draws(len(same[0].rows), same[0].groups, resamples=count, seed=seed)
                for one in same:
                    one.begin(draws)
                now += same
        for part in parts():
            _add(part, now, located, tables)
        for one in now:
            bands = one.bands(alpha)
            if bands is None:  # a few images decide these curves: once more, with draws
                drawn.add(one.drawn_alike)
                waiting.setdefault(one.drawn_alike, []).append(one)
            else:
                found[one.number] |= bands
    return [
        {name: bands[name] for name in table.methods if name in bands}
        for table, bands in zip(tables, found, strict=True)
    ]


def _add(
    part: RecordPart, averages: "Sequence[_Averages]", located: ScoreTables, tables: Sequence[ScoreTable]
) -> None:
    starts, values = part.lists("curve")
    for number, records, rows, columns in located.locate(part):
        curved = tables[number].curved[rows, columns]
        points = np.arange(len(tables[number].fractions))
        mine = [one for one in averages if one.number == number]
        if mine and curved.any():
            curves = values[starts[records[curved], None] + points]
            for one in mine:
                one.add(rows[curved], columns[curved], curves)


class _Averages:
    """Methods of one table whose curves are averaged over the same images.

    Args:
        number: Of the table.
        table: The table.
        methods: Their places.
        rows: Of the images.
    """

    def __init__(self, number: int, table: ScoreTable, methods: Sequence[int], rows: np.ndarray):
        self.number, self.rows = number, rows
        self.groups = table.groups[rows] if table.grouped else None
        self.drawn_alike = (rows.tobytes(), b"" if self.groups is None else self.groups.tobytes())
        self.blocks = len(rows) if self.groups is None else len(np.unique(self.groups))
        self._table, self._methods = table, methods
        self._columns = sorted({column for one in methods for column in table.sources[one]})
        self._place = np.full(len(table.images), -1)
        self._place[rows] = np.arange(len(rows))
        self._sums: MeanCurves | None = None
        self._partly: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def begin(self, draws: Draws) -> None:
        """Before curves are added."""
        self._sums = MeanCurves(draws, len(self._methods) * len(self._table.fractions))

    def add(self, rows: np.ndarray, columns: np.ndarray, curves: np.ndarray) -> None:
        """Take (k, points) curves of the table's cells; an image counts when it has those of all methods."""
        mine = self._place[rows] >= 0
        images, inverse = np.unique(rows[mine], return_inverse=True)
        whole = np.zeros((len(images), self._table.curved.shape[1], curves.shape[1]))
        there = np.zeros(whole.shape[:2], bool)
        whole[inverse, columns[mine]] = curves[mine]
        there[inverse, columns[mine]] = True
        for place in np.flatnonzero(~there[:, self._columns].all(1)):  # the rest is in another part
            cells, known = self._partly.setdefault(
                images[place], (np.zeros_like(whole[0]), np.zeros_like(there[0]))
            )
            cells[there[place]] = whole[place, there[place]]
            known |= there[place]
            whole[place], there[place] = cells, known
        done = there[:, self._columns].all(1)
        for image in images[done]:
            self._partly.pop(image, None)
        if self._sums is not None and done.any():
            sources = [list(self._table.sources[one]) for one in self._methods]
            means = np.concatenate([whole[done][:, of].mean(1) for of in sources], 1)
            self._sums.add(self._place[images[done]], means)

    def bands(self, alpha: float) -> dict[str, Band] | None:
        """By method; None if nothing was drawn and these curves need it."""
        bands = self._sums.bands(alpha) if self._sums else None
        if bands is None:
            return None
        ends = [one.reshape(len(self._methods), -1).tolist() for one in bands]
        return {
            self._table.methods[method]: Band(
                self._table.fractions, *(tuple(one[place]) for one in ends), images=len(self.rows)
            )
            for place, method in enumerate(self._methods)
        }


def _of_table(number: int, table: ScoreTable) -> Iterator[_Averages]:
    shared = np.isfinite(table.values).all(1)
    methods: dict[bytes, list[int]] = {}
    for place, source in enumerate(table.sources):
        there = shared & table.curved[:, list(source)].all(1)
        methods.setdefault(there.tobytes(), []).append(place)
    for there, places in methods.items():
        rows = np.flatnonzero(np.frombuffer(there, bool))
        if len(rows):
            yield _Averages(number, table, places, rows)
