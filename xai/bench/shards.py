"""Many samples in one file, read in place, one at a time: WebDataset tar, and Parquet of image bytes."""

import importlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Protocol
from warnings import catch_warnings, simplefilter

import numpy as np
from PIL import Image, ImageOps

from xai.bench.remote import Folder
from xai.core import ConfigError, DataError, Sample, valid_text
from xai.data.image import FORMATS, SUFFIXES, to_rgb

KINDS = (".tar", ".parquet")
COLUMNS = ("path", "image", "label", "mask", "group", "kind")
SAID = ("label", "group", "kind")  # in `key.json`
MASK, CLASS, JSON = "mask.png", "cls", "json"
LARGEST = 1 << 30  # bytes of one member of a tar


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
class Content:
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
    try:
        return (TarShard if _kind(path) == ".tar" else ParquetShard)(path)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None


def content_of(path: Folder) -> Content:
    """Read all of a file once.

    Raises:
        ConfigError, DataError: As `open_shard`; or two samples of one name.
    """
    kind, whole = _kind(path), sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
        shard = TarShard(path) if kind == ".tar" else ParquetShard(path)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    names: set[str] = set()
    for number in range(len(shard)):
        if (name := shard.name(number)) in names:
            raise DataError(f"{path}: two samples are named {name!r}.", "Names are unique within a shard.")
        names.add(name)
    return Content(len(shard), whole.hexdigest())


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
            while (member := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue] # it would keep them all
                self._add(member)

    def _add(self, member: tarfile.TarInfo) -> None:
        """A member that belongs to the sample of its key; links and sparse files are none."""
        folder, _, base = member.name.rpartition("/")
        key, _, ending = base.partition(".")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not key or not ending:
            return
        name = f"{folder}/{key}" if folder else key
        if not self._samples or self._samples[-1][0] != name:
            self._samples.append((name, {}))
        self._samples[-1][1][ending.lower()] = member.offset_data, member.size

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, number: int) -> str:
        return valid_text(self._samples[number][0].removeprefix("./"))

    def sample(self, number: int, id: str) -> Sample:
        parts = self._samples[number][1]
        images = [ending for ending in parts if f".{ending}" in SUFFIXES]
        if not images:
            raise DataError(f"{id}: no image among {', '.join(sorted(parts))} in {self._path}.")
        image = decode(self._read(parts[images[0]], id), id)
        said = _said(self._read(parts[JSON], id), id) if JSON in parts else {}
        if CLASS in parts:
            said.setdefault(
                "label", valid_text(self._read(parts[CLASS], id).decode("utf-8", "replace").strip())
            )
        mask = _mask(self._read(parts[MASK], id), id, image) if MASK in parts else None
        return Sample(
            id, image, None, said.get("label"), mask, group=said.get("group"), kind=said.get("kind")
        )

    def _read(self, place: tuple[int, int], id: str) -> bytes:
        offset, size = place
        if size > LARGEST:
            raise DataError(f"{id}: {size} bytes in {self._path}, more than an image may have.")
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
            said = self._read(["path"])["path"].to_pylist() if "path" in self._columns else [None] * len(self)
            self._names = [valid_text(one) if one else str(place) for place, one in enumerate(said)]
        return self._names[number]

    def sample(self, number: int, id: str) -> Sample:
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        if self._held is None or self._held[0] != group:
            self._held = None  # two at once would be twice the memory
            self._held = group, self._read(self._columns, group)
        row = self._held[1].slice(number - int(self._starts[group]), 1).to_pylist()[0]
        picture, said = _bytes(row["image"], id), _bytes(row.get("mask"), id)
        if picture is None:
            raise DataError(f"{id}: no image in its row of {self._path}.")
        image = decode(picture, id)
        mask = None if said is None else _mask(said, id, image)
        label, kin, kind = (None if row.get(name) is None else valid_text(str(row[name])) for name in SAID)
        return Sample(id, image, None, label, mask, group=kin, kind=kind)

    def _read(self, columns: list[str], group: int | None = None) -> Any:
        try:
            if group is None:
                return self._table.read(columns)
            return self._table.read_row_group(group, columns)
        except Exception as error:  # pyarrow raises whatever the broken bytes make it
            raise DataError(f"{self._path} is broken: {error}.") from None


def decode(content: bytes, name: str) -> Image.Image:
    """An image from its bytes, as `xai.data.read_image` reads it from a file.

    Raises:
        DataError: It is none, or a broken or too large one.
    """
    try:
        with catch_warnings():
            simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                return to_rgb(ImageOps.exif_transpose(image), image.format)
    except DataError as error:
        raise DataError(f"{name}: {error.message}", error.hint) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{name}: too many pixels.", "Save it smaller, or cut out the part to explain."
        ) from None
    except Exception as error:  # PIL's decoders raise whatever the broken bytes make them
        raise DataError(f"{name}: broken image ({error}).") from error


def _kind(path: Folder) -> str:
    kind = PurePosixPath(path.name).suffix.lower()
    if kind not in KINDS:
        raise ConfigError(
            f"{path}: a shard ends in {' or '.join(KINDS)}.", "Compressed tars cannot be read in place."
        )
    return kind


def _said(content: bytes, id: str) -> dict[str, str]:
    """Label, group and kind, where a sample's JSON says them."""
    try:
        said = json.loads(content)
    except ValueError as error:
        raise DataError(f"{id}: its JSON cannot be read: {error}.") from None
    if not isinstance(said, Mapping):
        raise DataError(f"{id}: its JSON holds no object.")
    return {name: valid_text(str(said[name])) for name in SAID if said.get(name) is not None}


def _mask(content: bytes, id: str, image: Image.Image) -> np.ndarray:
    mask = np.asarray(decode(content, f"the mask of {id}").convert("L")) >= 128
    if mask.shape != image.size[::-1]:
        raise DataError(
            f"{id}: the mask has {mask.shape[1]} × {mask.shape[0]} pixels, "
            f"its image {image.width} × {image.height}.",
            "A mask must have the size of its image.",
        )
    return mask


def _bytes(cell: Any, id: str) -> bytes | None:
    """A cell of bytes, or of a struct that holds them; None where there are none."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    if cell is not None and not isinstance(cell, bytes):
        raise DataError(f"{id}: {type(cell).__name__} in the place of an image's bytes.")
    return cell
