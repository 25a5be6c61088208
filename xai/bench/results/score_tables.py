"""From records to what statistics take: images × methods, metric by metric and protocol by protocol.

Where a run has scores of lower precision and of full precision, also how far they lie apart.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xai.bench.config.lookup import metric_facts
from xai.bench.config.method_configurations import GREEDY, RANDOM
from xai.bench.data.files import Folder
from xai.bench.results.record_parts import Names, Places, RecordPart, first_records, grown, record_parts
from xai.bench.run.description import RunDescription
from xai.bench.run.items import MEASURED_DTYPE
from xai.bench.run.store import Store, two_scores
from xai.core import DataError, derive_seed
from xai.stats.precision import PrecisionSample

HIT_OR_MISS = ("pointing_game", "pointing_game_clicks")
"""Metrics that are 0 or 1 but for ties, which they count by the share that hits: see `_by_lot`."""

DRAW = re.compile(rf"{RANDOM}_\d+")
LOCATED = ("image", "method", "metric", "protocol", "protocol_hash")
COLUMNS = (
    *LOCATED,
    "group",
    "label",
    "kind",
    "control",
    "value",
    "curve",
    "saturated",
    "tie_fraction",
)

Samples = dict[tuple[str, str], PrecisionSample]  # by metric and protocol hash


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The scores of one metric under one protocol.

    Args:
        metric: Registry name.
        protocol: Name.
        protocol_hash: Digest.
        images: (N,) ids.
        groups: (N,) numbers, in the order of their names, of what each image is a frame or crop of.
        labels: (N,) true class names, None where not known.
        kinds: (N,) how each was manipulated, None where not known.
        methods: (M,) names of method configurations; random seeds are the one method `random`.
        controls: Those of them that are controls.
        values: (N, M) scores, NaN where there is none.
        draws: (N, seeds) scores of the single random maps.
        greedy: (N,) scores of the greedy order, NaN beyond its images; None if there are none.
        saturated: (N, M) curves that rank nothing.
        ties: (M,) mean share of units whose relevance is not unique.
        sources: (M,) columns of `curved` and of the records that a method is the mean of: one, or the seeds'.
        curved: (N, columns) whether there is a curve, finite everywhere.
        fractions: (points,) share of units removed along the curves; empty where there are none.
    """

    metric: str
    protocol: str
    protocol_hash: str
    images: tuple[str, ...]
    groups: np.ndarray
    labels: tuple[str | None, ...]
    kinds: tuple[str | None, ...]
    methods: tuple[str, ...]
    controls: tuple[str, ...]
    values: np.ndarray
    draws: np.ndarray
    greedy: np.ndarray | None
    saturated: np.ndarray
    ties: np.ndarray
    sources: tuple[tuple[int, ...], ...]
    curved: np.ndarray
    fractions: tuple[float, ...]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return metric_facts(self.metric).higher_is_better

    @cached_property
    def grouped(self) -> bool:
        """Whether some images belong together."""
        return len(self.groups) > 0 and int(np.bincount(self.groups).max()) > 1

    def column(self, method: str) -> np.ndarray:
        """(N,) scores of one method."""
        return self.values[:, self.methods.index(method)]


def score_tables(run: str | Folder, exact: bool = False) -> list[ScoreTable]:
    """The tables of a run, finished or not: one per metric and protocol, in the order of the records.

    Args:
        run: Its folder.
        exact: Instead, of the scores in full precision of some images of a run that has a lower one.

    Raises:
        DataError: A broken part, a second score of the same map, or curves of several lengths.
    """
    tables = ScoreTables(run)
    for part in record_parts(Store(run), COLUMNS, {}, exact):
        tables.add(part)
    return tables.finished()


class ScoreTables:
    """Tables that fill as records come, see `score_tables`.

    Args:
        run: What errors call the run.
        images: How many the run has: room for as many is made at once.
    """

    def __init__(self, run: str | Folder, images: int = 0):
        self._run, self._images = run, images
        self._growing: dict[tuple[str, str, str], _GrowingTable] = {}
        self._names: dict[str, Names] = {}

    def add(self, part: RecordPart) -> None:
        """Take records with at least `COLUMNS`.

        Raises:
            DataError: A second score of the same map, or curves of several lengths.
        """
        self._names = part.names
        for key, records in part.scores():
            if key not in self._growing:
                self._growing[key] = _GrowingTable(self._run, self._images, *key)
            self._growing[key].add(part, records)

    def locate(self, part: RecordPart) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Where records that were added before stand: number of the table, records, rows and columns."""
        numbers = {key: number for number, key in enumerate(self._growing)}
        for key, records in part.scores():
            yield numbers[key], records, *self._growing[key].places(part, records)

    def finished(self) -> list[ScoreTable]:
        """The tables, when all records were added; after that, records can only be located."""
        return [one.finished(self._names) for one in self._growing.values()]


class _GrowingTable:
    """One metric under one protocol."""

    def __init__(self, run: str | Folder, images: int, metric: str, protocol: str, protocol_hash: str):
        self._run, self._images, self._key = run, images, (metric, protocol, protocol_hash)
        self._rows, self._columns = Places(), Places()
        self._about: dict[str, list[np.ndarray]] = {name: [] for name in ("group", "label", "kind")}
        self._values = np.empty((0, 0))
        self._there, self._saturated, self._curved = (np.empty((0, 0), bool) for _ in range(3))
        self._ties, self._controls = np.zeros((2, 0)), np.zeros(0, bool)
        self._fractions: tuple[float, ...] = ()

    def places(self, part: RecordPart, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of records."""
        return self._rows[part.codes("image")[records]], self._columns[part.codes("method")[records]]

    def add(self, part: RecordPart, records: np.ndarray) -> None:
        new = records[self._rows.add(part.codes("image")[records])]
        for name, found in self._about.items():
            found.append(part.codes(name)[new])
        self._columns.add(part.codes("method")[records])
        rows, columns = self.places(part, records)
        shape = (max(self._images, len(self._rows)), len(self._columns))
        self._values = grown(self._values, shape, np.nan)
        self._there, self._saturated, self._curved = (
            grown(cells, shape, False) for cells in (self._there, self._saturated, self._curved)
        )
        self._ties = grown(self._ties, (2, shape[1]), 0.0)
        self._controls = grown(self._controls, shape[1:], False)
        self._check_once(part, records, rows, columns)
        self._values[rows, columns] = part.cells("value")[records]
        self._saturated[rows, columns] = part.cells("saturated")[records]
        self._curved[rows, columns] = self._finite_curves(part, records)
        ties = part.cells("tie_fraction")[records]
        known, size = ~np.isnan(ties), self._ties.shape[1]
        self._ties[0] += np.bincount(columns[known], ties[known], size)
        self._ties[1] += np.bincount(columns[known], minlength=size)
        self._controls[columns[part.cells("control")[records]]] = True

    def _check_once(
        self, part: RecordPart, records: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> None:
        twice = self._there[rows, columns]
        self._there[rows, columns] = True
        once = first_records(rows.astype(np.int64) * len(self._columns) + columns)
        if len(once) < len(records) or twice.any():
            twice[np.setdiff1d(np.arange(len(records)), once)] = True
            one = records[np.flatnonzero(twice)[0]]
            image, method = (list(part.names[what])[part.codes(what)[one]] for what in ("image", "method"))
            raise two_scores(self._run, image, method, *self._key[:2])

    def _finite_curves(self, part: RecordPart, records: np.ndarray) -> np.ndarray:
        """(records,) whether there is a curve with a number at every point."""
        starts, _ = part.lists("curve")
        lengths = starts[records + 1] - starts[records]
        there = np.flatnonzero(lengths)
        if len(there) and not self._fractions:
            begin, shares = part.lists("fractions")
            first = records[there[0]]
            self._fractions = tuple(shares[begin[first] : begin[first + 1]].tolist())
        if (lengths[there] != len(self._fractions)).any():
            part.lists("fractions")  # which refuses a file whose curves do not fit them, by its name
            metric, _, protocol = self._key
            raise DataError(
                f"{self._run}: the curves of {metric} under protocol hash {protocol} differ in their number "
                "of points.",
                "A file in its folder parts was changed: delete it and run the same xai benchmark run again.",
            )
        return (lengths > 0) & part.finite("curve")[records]

    def finished(self, names: dict[str, Names]) -> ScoreTable:
        metric, protocol, protocol_hash = self._key
        listed = {name: [*names[name]] for name in ("image", "method", "group", "label", "kind")}
        rows, columns = len(self._rows), len(self._columns)
        columns_of = {listed["method"][code]: place for place, code in enumerate(self._columns.listed())}
        drawn = [name for name in columns_of if DRAW.fullmatch(name)]
        plain = [name for name in columns_of if name not in drawn and name != GREEDY]
        sources = [(columns_of[name],) for name in plain]
        sources += [tuple(columns_of[name] for name in drawn)] if drawn else []
        methods = [*plain, RANDOM] if drawn else plain
        values, saturated = self._values[:rows, :columns], self._saturated[:rows, :columns]
        images = tuple(listed["image"][code] for code in self._rows.listed())
        if metric in HIT_OR_MISS:
            _by_lot(values, images)
        curved = self._curved[:rows, :columns].copy()
        self._values, self._there = np.empty((0, 0)), np.empty((0, 0), bool)  # large, and not needed again
        self._saturated = self._curved = self._there
        ties = np.stack([self._ties[:, list(of)].sum(1) for of in sources], 1) if sources else self._ties
        about = {name: np.concatenate(found) for name, found in self._about.items()}
        return ScoreTable(
            metric=metric,
            protocol=protocol,
            protocol_hash=protocol_hash,
            images=images,
            groups=_in_order(listed["group"])[about["group"]],
            labels=_texts(listed["label"], about["label"]),
            kinds=_texts(listed["kind"], about["kind"]),
            methods=tuple(methods),
            controls=tuple(
                name
                for name, of in zip(methods, sources, strict=True)
                if self._controls[of[0]] or (name == RANDOM and drawn)
            ),
            values=_columns([values[:, of].mean(1) for of in map(list, sources)], values),
            draws=values[:, [columns_of[name] for name in drawn]],
            greedy=values[:, columns_of[GREEDY]].copy() if GREEDY in columns_of else None,
            saturated=_columns([saturated[:, of].max(1) for of in map(list, sources)], saturated),
            ties=np.divide(ties[0], ties[1], out=np.full(len(ties[0]), np.nan), where=ties[1] > 0),
            sources=tuple(sources),
            curved=curved,
            fractions=self._fractions,
        )


def _by_lot(values: np.ndarray, images: Sequence[str]) -> None:
    """Turn shares of tied maxima that hit into a hit or a miss of one of them, by the same lot on an image.

    A constant map would otherwise score chance itself on every image, which is more than a random map earns
    wherever that misses, nearly everywhere: tests on ranks would call it better than random.

    Args:
        values: (images, methods) scores, changed.
        images: Their ids, from which the lots follow.
    """
    shared = (values > 0) & (values < 1)
    for row in np.flatnonzero(shared.any(1)).tolist():
        lot = np.random.default_rng(derive_seed(0, "tied maxima", images[row])).random()
        values[row, shared[row]] = lot < values[row, shared[row]]


def _columns(columns: Sequence[np.ndarray], like: np.ndarray) -> np.ndarray:
    return np.stack(columns, 1) if columns else np.empty((len(like), 0), like.dtype)


def _in_order(names: Sequence[str]) -> np.ndarray:
    """By number of a name: its place among all in their order."""
    place = np.empty(len(names), np.int64)
    place[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return place


def _texts(names: Sequence[str], codes: np.ndarray) -> tuple[str | None, ...]:
    listed = np.array([*names, None], object)
    return tuple(listed[codes])  # `UNKNOWN` is the last one


def dtype_of(description: RunDescription) -> str:
    """Type that a run's perturbed images were computed in; says so if its error is not measured."""
    autocast = description.identity.get("autocast")
    if autocast == MEASURED_DTYPE:
        return "bfloat16"
    return (
        f"{autocast}, error not measured" if autocast else str(description.sessions[-1].content.get("dtype"))
    )


def precision_samples(
    description: RunDescription, run: str | Folder, tables: Iterable[ScoreTable]
) -> Samples:
    """Differences by metric and protocol; none of a run of full precision, empty ones before any is measured.

    Args:
        description: Of the run.
        run: Its folder.
        tables: Of the run.
    """
    if description.identity.get("autocast") != MEASURED_DTYPE:
        return {}
    exact = {(one.metric, one.protocol_hash): one for one in score_tables(run, exact=True)}
    return {
        (table.metric, table.protocol_hash): _sample(table, exact.get((table.metric, table.protocol_hash)))
        for table in tables
        if metric_facts(table.metric).needs == "perturbation"
    }


def _sample(table: ScoreTable, exact: ScoreTable | None) -> PrecisionSample:
    if exact is None:
        return PrecisionSample("bfloat16", (), np.empty((0, 0)))
    row_of = {name: row for row, name in enumerate(exact.images)}
    places = [i for i, name in enumerate(table.images) if name in row_of]
    rows = [row_of[table.images[i]] for i in places]
    methods = [name for name in table.methods if name in exact.methods]
    columns = [table.column(name)[places] - exact.column(name)[rows] for name in methods]
    groups = [table.groups[i] for i in places] if table.grouped else None
    return PrecisionSample("bfloat16", methods, np.stack(columns, 1), groups)
