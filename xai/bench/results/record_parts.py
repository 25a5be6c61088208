"""Records part by part, as arrays of numbers: a run of any size is read without being held."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from xai.bench.data.parquet import to_numpy
from xai.bench.run.store import Store
from xai.core.ahead import ahead

UNKNOWN = -1


class Names:
    """Texts, numbered as they appear."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def number(self, name: str) -> int:
        """Of a text, a new one if need be."""
        return self._numbers.setdefault(name, len(self._numbers))


class RecordPart:
    """Some records of a run.

    Args:
        table: Arrow table, texts as dictionaries.
        names: Column → its texts in all parts.
        read: Columns → the same records with these: what few parts are asked for is read then.
    """

    def __init__(self, table: Any, names: dict[str, Names], read: Callable[[Sequence[str]], Any]):
        self._table, self.names, self._read = table, names, read
        self._found: dict[tuple[str, str], Any] = {}  # what was asked for before

    def __len__(self) -> int:
        return self._table.num_rows

    def codes(self, column: str) -> np.ndarray:
        """(records,) numbers of the texts in a column, `UNKNOWN` where there is none."""
        return self._once(self._codes, column)

    def cells(self, column: str) -> np.ndarray:
        """(records,) numbers or truth values of a column."""
        return self._once(self._cells, column)

    def lists(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """(records + 1,) where lists begin, and the last one ends, among the values of all; and these."""
        return self._once(self._lists, column)

    def finite(self, column: str) -> np.ndarray:
        """(records,) whether all numbers of a list are finite."""
        return self._once(self._finite, column)

    def scores(self) -> Iterator[tuple[tuple[str, str, str], np.ndarray]]:
        """Metric, protocol and protocol hash, each with its records, in the order in which they appear."""
        columns = ("metric", "protocol", "protocol_hash")
        codes = np.stack([self.codes(column) for column in columns])
        sizes = [len(self.names[column]) for column in columns]
        joined = (codes[0] * sizes[1] + codes[1]) * sizes[2] + codes[2]
        for place in first_records(joined):
            texts = [list(self.names[c])[code] for c, code in zip(columns, codes[:, place], strict=True)]
            yield (texts[0], texts[1], texts[2]), np.flatnonzero(joined == joined[place])

    def _once(self, make: Callable[[str], Any], column: str) -> Any:
        key = (make.__name__, column)
        if key not in self._found:
            self._found[key] = make(column)
        return self._found[key]

    def _codes(self, column: str) -> np.ndarray:
        names, array = self.names.setdefault(column, Names()), self._table[column].combine_chunks()
        known = np.array([names.number(text) for text in array.dictionary.to_pylist()], int)
        if not array.null_count:
            return known[to_numpy(array.indices)]
        codes = np.full(len(array), UNKNOWN)
        codes[to_numpy(array.is_valid())] = known[to_numpy(array.indices.drop_null())]
        return codes

    def _cells(self, column: str) -> np.ndarray:
        return to_numpy(self._table[column].combine_chunks())

    def _lists(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        if column not in self._table.column_names:
            self._table = self._read([*self._table.column_names, column])
        array = self._table[column].combine_chunks()
        starts = to_numpy(array.offsets)
        return starts - starts[0], to_numpy(array.values)[starts[0] : starts[-1]]  # lists are never null

    def _finite(self, column: str) -> np.ndarray:
        starts, values = self.lists(column)
        finite = np.isfinite(values)
        if finite.all():
            return np.ones(len(self), bool)
        odd = np.append(0, np.cumsum(~finite))
        return odd[starts[1:]] == odd[starts[:-1]]


def record_parts(
    store: Store, columns: Sequence[str], names: dict[str, Names], exact: bool = False
) -> Iterator[RecordPart]:
    """The records of a run part by part, in the order of its plan.

    Args:
        store: Of the run.
        columns: Fields of `xai.core.Record`.
        names: Grows with the texts that appear; the same in another pass over the parts.
        exact: Instead, the records in full precision of some images of a run that has a lower one.
    """
    parts = ((store.records_of(key, columns), key) for key in store.done(exact))
    for table, key in ahead(parts):
        yield RecordPart(table, names, partial(store.records_of, key))


def first_records(codes: np.ndarray) -> np.ndarray:
    """(k,) places in (n,) numbers, in order, where one stands for the first time."""
    if not len(codes):
        return np.empty(0, np.intp)
    codes = codes - codes.min()
    places = np.arange(len(codes))
    first = np.empty(int(codes.max()) + 1, np.intp)
    first[codes[::-1]] = places[::-1]  # of equal numbers the last one written stays
    return np.flatnonzero(first[codes] == places)


def grown(array: np.ndarray, shape: Sequence[int], empty: Any) -> np.ndarray:
    """An array of at least this shape that begins with the given one; it grows by doubling."""
    if all(have >= wanted for have, wanted in zip(array.shape, shape, strict=True)):
        return array
    larger = np.full(
        [
            have if have >= wanted else max(wanted, 2 * have)
            for have, wanted in zip(array.shape, shape, strict=True)
        ],
        empty,
        array.dtype,
    )
    larger[tuple(map(slice, array.shape))] = array
    return larger


class Places:
    """Places of numbers in the order in which they appeared."""

    def __init__(self) -> None:
        self._of = np.empty(0, np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, codes: np.ndarray) -> np.ndarray:
        """Give new numbers a place; returns the records (places in `codes`) where they appear first."""
        if not len(codes):
            return np.empty(0, np.intp)
        self._of = grown(self._of, (int(codes.max()) + 1,), UNKNOWN)
        new = np.flatnonzero(self._of[codes] == UNKNOWN)
        new = new[first_records(codes[new])]
        self._of[codes[new]] = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        return new

    def __getitem__(self, codes: np.ndarray) -> np.ndarray:
        return self._of[codes]

    def listed(self) -> np.ndarray:
        """The numbers by their places."""
        there = np.flatnonzero(self._of != UNKNOWN)
        return there[np.argsort(self._of[there])]
