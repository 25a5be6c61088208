"""The images of a benchmark, known by name and content before they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from xai.bench.config.method_configurations import digest
from xai.bench.config.schema import DataConfig
from xai.bench.data.files import Folder, in_threads
from xai.bench.data.manifest_table import open_manifest
from xai.bench.data.shard_source import Each, open_shards
from xai.core import DataError, Sample
from xai.core.files import fault_of
from xai.data import find_images, read_image, unique_ids
from xai.data.forgeries import SIDE, forged_samples, shipped_photos
from xai.data.manifest import Row
from xai.data.samples import Entry

MISSING = "missing"
_USUAL = {"size": SIDE, "strength": 1.0}


class ImageSource(Protocol):
    """The images of a run by their place in the data; nothing is read before it is asked for."""

    def __len__(self) -> int: ...

    def entries(self, start: int, stop: int) -> Sequence[Entry]:
        """The images of a range, in order."""
        ...

    def content(self, start: int, stop: int) -> list[Any]:
        """What tells the content of a range, JSON-ready."""
        ...

    def digest(self) -> str:
        """Of the content of all."""
        ...

    def faults(self) -> Sequence[tuple[str, str]]:
        """Images that are known not to be usable before any is read, and why."""
        ...

    def window(self, start: int, stop: int) -> "ImageSource":
        """The same images at the same places, of which only this range can be asked for: little to send."""
        ...


@dataclass(frozen=True)
class ListedImages:
    """Images that are all known by name.

    Args:
        known: Of the window, all where there is none.
        contents: What tells the content of each.
        first: Place of the first of them.
        total: Images of the data.
    """

    known: Sequence[Entry]
    contents: Sequence[str]
    first: int
    total: int

    def __len__(self) -> int:
        return self.total

    def entries(self, start: int, stop: int) -> Sequence[Entry]:
        return self.known[start - self.first : stop - self.first]

    def content(self, start: int, stop: int) -> list[Any]:
        return list(self.contents[start - self.first : stop - self.first])

    def digest(self) -> str:
        return digest(self.content(0, self.total), 24)

    def faults(self) -> Sequence[tuple[str, str]]:
        faults = ((one.id, one.path and fault_of(one.path)) for one in self.known)
        return [(name, fault) for name, fault in faults if fault]

    def window(self, start: int, stop: int) -> "ListedImages":
        return ListedImages(self.entries(start, stop), self.content(start, stop), start, self.total)


def open_source(data: DataConfig, run: Folder | None = None, each: Each = in_threads) -> ImageSource:
    """The images of a configuration.

    Args:
        data: Of the configuration.
        run: Folder of the run, where it is kept what takes long to find out.
        each: Reads many files at once.

    Raises:
        ConfigError: A malformed manifest, or a shard of another kind.
        DataError: No image, or a manifest that names missing files.
    """
    if data.shards is not None:
        return open_shards(data.shards, data.limit, run, each)
    if data.manifest is not None:
        return open_manifest(data.manifest, data.limit, run, _content_digest)
    entries = list_entries(data)
    return ListedImages(entries, digests(data, entries), 0, len(entries))


def list_entries(data: DataConfig) -> Sequence[Entry]:
    """Every image of a configuration without shards or manifest, in a fixed order; none is read.

    Raises:
        DataError: No image, or no photographs to forge.
    """
    if data.forgeries is not None:
        asked = data.forgeries
        entries = forged_samples(**asked.model_dump()).entries
    else:
        paths = find_images(data.images or ())
        names = unique_ids(paths)
        entries = [Entry(names[path], partial(_read, names[path], path), path) for path in paths]
    if not entries:
        raise DataError("The data hold no image.")
    return entries[: data.limit]


def digests(data: DataConfig, entries: Sequence[Entry]) -> list[str]:
    """What tells each image's content: sha256 of its files, or of the recipe it is made by."""
    if data.forgeries is not None:
        asked = data.forgeries
        shipped = asked.photos == "shipped"
        photos = list(shipped_photos().values()) if shipped else find_images([asked.photos])
        # runs of before there was a size, or a strength, go on
        without = {"photos", "count"} | {key for key, usual in _USUAL.items() if getattr(asked, key) == usual}
        recipe = asked.model_dump(exclude=without) | {"photos": [sha256_of(p) for p in photos]}
        return [digest([recipe, entry.id], 16) for entry in entries]
    return [_content_digest(entry, None) for entry in entries]


def sha256_of(path: Path | None) -> str | None:
    """Hex digest of a file; None for no file, `MISSING` for one that cannot be read."""
    if path is None:
        return None
    if fault_of(path) is not None:  # a pipe would never end
        return MISSING
    try:
        with path.open("rb") as file:
            whole = sha256()
            while block := file.read(1 << 20):
                whole.update(block)
    except OSError:
        return MISSING
    return whole.hexdigest()


def _content_digest(entry: Entry, row: Row | None) -> str:
    mask, landmarks, clicks = (None, None, "") if row is None else (row.mask, row.landmarks, row.clicks)
    # points only where there are any: runs of before there were points go on
    points = [sha256_of(landmarks), clicks] if landmarks or clicks else []
    return digest([*_description(entry), sha256_of(entry.path), sha256_of(mask), *points], 16)


def _description(entry: Entry) -> list[str | None]:
    """What is known of an image; without a kind as before there were kinds, so that such runs go on."""
    return [entry.id, entry.label, entry.group, *([] if entry.kind is None else [entry.kind])]


def _read(name: str, path: Path) -> Sample:
    return Sample(name, read_image(path), path)
