"""Many samples in one file, read in place, one at a time: WebDataset tar, and Parquet of image bytes."""

import importlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from xai.bench.data.files import Folder
from xai.core import ConfigError, DataError, Sample, XaiError, printable
from xai.core.files import check_file, short_path
from xai.data.image import SUFFIXES, read_turned
from xai.data.mask import DisplaySize, read_mask
from xai.data.table import text_of, values_of

KINDS = (".tar", ".parquet")
COLUMNS = ("path", "image", "label", "mask", "group", "kind")
STATED = ("label", "group", "kind")  # in `key.json`
MASK, CLASS, JSON = "mask.png", "cls", "json"
LARGEST = 1 << 30  # bytes of one member of a tar
LARGEST_TEXT = 1 << 24  # of one that holds JSON or a label: parsed, it takes some hundred times as much


class Shard(Protocol):
    """One file of samples."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """Of a sample, unique in the file."""
        ...

    def sample(self, number: int, id: str) -> Sample:
        """Read one; DataError if it cannot be used."""
        ...


@dataclass(frozen=True)
class ShardContent:
    """What tells a file of samples from another.

    Args:
        samples: How many.
        sha256: Of the whole file.
    """

    samples: int
    sha256: str


@lru_cache(maxsize=2)
def open_shard(path: Folder, sha256: str) -> Shard:
    """A file of samples, of which an index is held; the last two stay open.

    Args:
        path: Of the file.
        sha256: Of its content: a file that was written anew is another one.

    Raises:
        ConfigError: Neither a tar nor Parquet.
        DataError: It cannot be read.
    """
    with _broken(path):
        return (TarShard if _kind(path) == ".tar" else ParquetShard)(path)


def content_of_shard(path: Folder) -> ShardContent:
    """Read all of a file once.

    Raises:
        ConfigError, DataError: As `open_shard`; or two samples of one name.
    """
    kind, whole = _kind(path), sha256()
    if isinstance(path, Path):
        check_file(path)  # a pipe has no end
    with _broken(path):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
        shard = TarShard(path) if kind == ".tar" else ParquetShard(path)
    names: set[str] = set()
    for number in range(len(shard)):
        if (name := shard.name(number)) in names:
            raise DataError(f"{path}: two samples are named {name!r}.", "Names are unique within a shard.")
        names.add(name)
    return ShardContent(len(shard), whole.hexdigest())


@contextmanager
def _broken(path: Folder) -> Iterator[None]:
    """What goes wrong with a file, as one DataError: tarfile and pyarrow raise anything over broken bytes."""
    try:
        yield
    except XaiError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    except (Exception, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read: {reason}.") from None


class TarShard:
    """WebDataset: `key.jpg`, `key.png` …, beside it `key.json` or `key.cls`, and `key.mask.png`.

    Members of one key lie together. `key.json` may say label, group and kind; `key.cls` holds the label's
    name. What else there is of a key is passed over. Nothing is ever extracted.

    Args:
        path: An uncompressed tar.
    """

    def __init__(self, path: Folder):
        self._path, self._file = path, path.open("rb")
        self._samples: list[tuple[str, dict[str, tuple[int, int]]]] = []
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            last = -1
            while (member := tar.next()) is not None:
                tar.members = []  # pyrefly: ignore[missing-attribute] # it would keep them all
                if member.size < 0 or tar.offset <= last:  # tarfile would go round for ever
                    raise DataError(f"{path}: the header of {short_path(member.name)!r} leads backwards.")
                last = tar.offset
                self._add(member)
            self._file.seek(tar.offset)
            if self._file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                # where a header is broken tarfile stops without a word, as if nothing came after it
                raise DataError(f"{path}: broken at byte {tar.offset}, or cut off there.")

    def _add(self, member: tarfile.TarInfo) -> None:
        """A member that belongs to the sample of its key; links and sparse files are none."""
        folder, _, base = member.name.rpartition("/")
        key, _, ending = base.partition(".")
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
        if not plain or not key or not ending:
            return
        name = f"{folder}/{key}" if folder else key
        if not self._samples or self._samples[-1][0] != name:
            self._samples.append((name, {}))
        self._samples[-1][1][ending.lower()] = member.offset_data, member.size

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, number: int) -> str:
        return printable(self._samples[number][0].removeprefix("./"))

    def sample(self, number: int, id: str) -> Sample:
        parts = self._samples[number][1]
        images = [ending for ending in parts if f".{ending}" in SUFFIXES]
        if not images:
            raise DataError(f"{id}: no image among {', '.join(sorted(parts))} in {self._path}.")
        image, orientation = read_turned(self._read(parts[images[0]], id), id)
        stated = _stated(self._read(parts[JSON], id, LARGEST_TEXT), id) if JSON in parts else {}
        if CLASS in parts and "label" not in stated:
            label = self._read(parts[CLASS], id, LARGEST_TEXT).decode("utf-8", "replace").strip()
            stated |= _texts({"label": label}, id)
        mask = None
        if MASK in parts:
            mask = read_mask(
                self._read(parts[MASK], id), DisplaySize(image.size, orientation), f"{id}: the mask"
            )
        return Sample(
            id, image, None, stated.get("label"), mask, group=stated.get("group"), kind=stated.get("kind")
        )

    def _read(self, place: tuple[int, int], id: str, largest: int = LARGEST) -> bytes:
        offset, size = place
        if size > largest:
            raise DataError(
                f"{id}: a part of {size} bytes in {self._path}, more than the {largest} it may have."
            )
        self._file.seek(offset)
        content = self._file.read(size)
        if len(content) < size:
            raise DataError(f"{id}: {self._path} ends in the middle of it.")
        return content


class ParquetShard:
    """Parquet with the image's bytes in the column `image`, and the other columns of a manifest.

    `image` and `mask` are bytes, or a struct with a field `bytes` as the library datasets writes it; `path`
    is a name only. One row group is in memory at a time.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Folder):
        parquet = importlib.import_module("pyarrow.parquet")
        self._path = path
        try:
            self._table = parquet.ParquetFile(path.open("rb"))
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise DataError(f"{path} cannot be read: {error}.") from None
        self._columns = [name for name in self._table.schema_arrow.names if name in COLUMNS]
        if "image" not in self._columns:
            raise ConfigError(
                f"{path}: no column 'image'.", f"Columns: {', '.join(COLUMNS)}; image holds bytes."
            )
        footer = self._table.metadata
        sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._names: list[str] | None = None
        self._held: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name(self, number: int) -> str:
        if self._names is None:
            cells = values_of(self._read(["path"])["path"]) if "path" in self._columns else [None] * len(self)
            self._names = [_name(one, place) for place, one in enumerate(cells)]
        return self._names[number]

    def sample(self, number: int, id: str) -> Sample:
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        if self._held is None or self._held[0] != group:
            self._held = None  # two at once would be twice the memory
            self._held = group, self._read(self._columns, group)
        row = self._row(self._held[1].slice(number - int(self._starts[group]), 1), id)
        picture, drawn = _bytes(row["image"], id), _bytes(row.get("mask"), id)
        if picture is None:
            raise DataError(f"{id}: no image in its row of {self._path}.")
        texts = _texts(row, id)
        image, orientation = read_turned(picture, id)
        display = DisplaySize(image.size, orientation)
        mask = None if drawn is None else read_mask(drawn, display, f"{id}: the mask")
        return Sample(
            id, image, None, texts.get("label"), mask, group=texts.get("group"), kind=texts.get("kind")
        )

    def _row(self, table: Any, id: str) -> dict[str, Any]:
        """The cells of a table of one row."""
        try:
            return {name: values_of(table[name])[0] for name in table.column_names}
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise DataError(f"{id}: its row of {self._path} cannot be read: {error}.") from None

    def _read(self, columns: list[str], group: int | None = None) -> Any:
        try:
            if group is None:
                return self._table.read(columns)
            return self._table.read_row_group(group, columns)
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise DataError(f"{self._path} is broken: {error}.") from None


def _kind(path: Folder) -> str:
    kind = PurePosixPath(path.name).suffix.lower()
    if kind not in KINDS:
        raise ConfigError(
            f"{path}: a shard ends in {' or '.join(KINDS)}.", "Compressed tars cannot be read in place."
        )
    return kind


def _stated(content: bytes, id: str) -> dict[str, str]:
    """Label, group and kind, where a sample's JSON says them."""
    try:
        stated = json.loads(content)
    except RecursionError:
        raise DataError(f"{id}: its JSON is nested too deeply.") from None
    except ValueError as error:
        raise DataError(f"{id}: its JSON cannot be read: {error}.") from None
    if not isinstance(stated, Mapping):
        raise DataError(f"{id}: its JSON holds no object.")
    return _texts(stated, id)


def _texts(stated: Mapping[str, Any], id: str) -> dict[str, str]:
    """Label, group and kind of a sample, as far as they are given."""
    try:
        found = {name: text_of(stated.get(name), name) for name in STATED}
    except ValueError as error:
        raise DataError(f"{id}: {error}.") from None
    return {name: text for name, text in found.items() if text is not None}


def _name(cell: Any, place: int) -> str:
    """What a row of the column path is called: its text, or its place."""
    try:
        return printable(text_of(cell, "path") or place)
    except ValueError:
        return str(place)


def _bytes(cell: Any, id: str) -> bytes | None:
    """A cell of bytes, or of a struct that holds them; None where there are none."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    if cell is not None and not isinstance(cell, bytes):
        raise DataError(f"{id}: {type(cell).__name__} in the place of an image's bytes.")
    return cell
