"""Making the next item while the last one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in order. A thread makes the next one meanwhile: one more is held."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, _END)
        while (one := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield one  # type: ignore[misc] # not the end
