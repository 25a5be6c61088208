"""Samples that are known by name before they are read or made; those that come with the package."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from xai.core import Sample, UsageError
from xai.data.image import read_image

FOLDER = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class Entry:
    """What is known about a sample before its image is there.

    Args:
        id: Unique within the samples.
        make: Reads or makes the sample; DataError if it cannot.
        path: Where the image is read, if from a file of its own.
        label: True class name, if known.
        group: What the image is a frame or crop of, if known.
        kind: How it was manipulated, or `pristine`, if known.
    """

    id: str
    make: Callable[[], Sample]
    path: Path | None = None
    label: str | None = None
    group: str | None = None
    kind: str | None = None


class LazySamples(Sequence[Sample]):
    """A sequence of samples, each read or made anew whenever it is asked for, so that none stays in memory.

    Attributes:
        entries: What is known about each without reading it.
    """

    def __init__(self, entries: Sequence[Entry]):
        self.entries = tuple(entries)
        if len({entry.id for entry in self.entries}) < len(self.entries):
            raise UsageError("Two samples have the same id.")

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the samples."""
        return tuple(entry.id for entry in self.entries)

    @property
    def groups(self) -> tuple[str | None, ...]:
        """Group of each sample, None where it is not known."""
        return tuple(entry.group for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "LazySamples": ...
    def __getitem__(self, index: int | slice) -> "Sample | LazySamples":
        if isinstance(index, slice):
            return LazySamples(self.entries[index])
        return self.entries[index].make()

    def __iter__(self) -> Iterator[Sample]:
        return (entry.make() for entry in self.entries)


def shipped_samples() -> list[Sample]:
    """Read the shipped images, in the order of `manifest.csv`; sources and licences are named there."""
    with (FOLDER / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Sample(
            id=Path(row["image"]).stem,
            image=read_image(FOLDER / row["image"]),
            path=FOLDER / row["image"],
            label=row["label"],
            mask=_mask(FOLDER / row["mask"]) if row["mask"] else None,
        )
        for row in rows
    ]


def _mask(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).convert("L")) >= 128
