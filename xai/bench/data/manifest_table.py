"""A manifest as a table of some hundred bytes an image, kept beside the run so that it goes on at once."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from xai.bench.config.method_configurations import digest
from xai.bench.data.files import Folder, write_bytes
from xai.bench.data.parquet import arrow, extra
from xai.data.manifest import FILES, Row, load_samples, read_manifest
from xai.data.samples import Entry

TABLE = "images.parquet"
TEXTS = ("id", "label", "group", "kind", "where", "fault", "digest", "clicks")
PATHS = FILES  # as bytes: a file name need not be text
RARE = ("landmarks", "clicks")  # only there where some image has them
CHECKED_AT_ONCE = 4096  # files


@dataclass(frozen=True, eq=False)
class ManifestImages:
    """The images of a manifest.

    Args:
        table: One row an image of the window, all where there is none.
        first: Place of the first of them.
        total: Images of the data.
    """

    table: Any
    first: int
    total: int

    def __len__(self) -> int:
        return self.total

    def entries(self, start: int, stop: int) -> Sequence[Entry]:
        return [_entry(cells) for cells in self._slice(start, stop).to_pylist()]

    def content(self, start: int, stop: int) -> list[Any]:
        return self._slice(start, stop)["digest"].to_pylist()

    def digest(self) -> str:
        return digest(self.content(0, self.total), 24)

    def faults(self) -> Sequence[tuple[str, str]]:
        pairs = zip(*(self.table[name].to_pylist() for name in ("id", "where", "fault")), strict=True)
        return [(name, f"{where}: {fault}") for name, where, fault in pairs if fault is not None]

    def window(self, start: int, stop: int) -> "ManifestImages":
        chosen = self._slice(start, stop)
        return ManifestImages(
            chosen.take(list(range(len(chosen)))), start, self.total
        )  # a slice would be sent with all

    def _slice(self, start: int, stop: int) -> Any:
        return self.table.slice(start - self.first, stop - start)


def open_manifest(
    path: Path, limit: int | None, run: Folder | None, content_of: Callable[[Entry, Row], str]
) -> ManifestImages:
    """The images of a manifest; from the table in the run's folder as long as no file has changed since.

    A file has changed if its size or its times have.

    Args:
        path: Of the manifest.
        limit: At most so many images, the first ones.
        run: Folder of the run, if there is one.
        content_of: What tells an image's content, from what is known of it.

    Raises:
        ConfigError: A malformed manifest.
        DataError: No row, or an image or a mask that does not exist.
    """
    origin = {
        "manifest": str(path),
        "folder": str(Path.cwd()),
        "stamp": _stamp(os.fsencode(path)),
        "limit": limit,
    }
    stored = None if run is None else _stored(run / TABLE, origin)
    if stored is not None:
        return ManifestImages(stored, 0, len(stored))
    table = _read(path, limit, content_of)
    if run is not None:
        buffer = BytesIO()
        extra("pyarrow.parquet").write_table(
            table.replace_schema_metadata({"xai": json.dumps(origin)}), buffer
        )
        write_bytes(run / TABLE, buffer.getvalue())
    table = table.drop_columns(["stamps"])
    return ManifestImages(table, 0, len(table))


def _read(path: Path, limit: int | None, content_of: Callable[[Entry, Row], str]) -> Any:
    """Read the manifest and every file that it names."""
    rows = read_manifest(path)
    columns: dict[str, list[Any]] = {name: [] for name in (*TEXTS, *PATHS, "stamps")}
    for entry, row in zip(load_samples(rows).entries[:limit], rows, strict=False):
        cells: dict[str, Any] = {
            **{name: None if (file := getattr(row, name)) is None else os.fsencode(file) for name in PATHS},
            "id": entry.id,
            "label": row.label,
            "group": row.group,
            "kind": row.kind,
            "where": row.where,
            "fault": row.fault,
            "clicks": row.clicks or None,
        }
        # before it is read: what changes meanwhile tells
        cells["stamps"] = _stamps(cells[name] for name in PATHS)
        cells["digest"] = content_of(entry, row) if row.fault is None else digest([entry.id, row.fault], 16)
        for name, cell in cells.items():
            columns[name].append(cell)
    pa = arrow()
    types = dict.fromkeys(TEXTS, pa.string()) | dict.fromkeys(PATHS, pa.binary()) | {"stamps": pa.string()}
    unused = {name for name in RARE if not any(columns[name])}
    types = {name: kind for name, kind in types.items() if name not in unused}
    return pa.table({name: columns[name] for name in types}, schema=pa.schema(types.items()))


def _stored(path: Folder, origin: dict[str, Any]) -> Any:
    """The table of an earlier call; None where there is none, or where a file has changed."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            table = extra("pyarrow.parquet").read_table(file)
        known = json.loads(table.schema.metadata[b"xai"])
    except Exception:  # pyarrow raises whatever the broken bytes make it
        return None
    if known != origin or {*TEXTS, *PATHS, "stamps"} != {*table.column_names, *RARE}:
        return None  # of other data, or of an older version
    there = [name for name in PATHS if name in table.column_names]
    for batch in table.select([*there, "stamps"]).to_batches(CHECKED_AT_ONCE):
        files = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if any(_stamps(paths) != stamps for *paths, stamps in files):
            return None
    return table.drop_columns(["stamps"]).replace_schema_metadata(None)


def _stamps(paths: Iterable[bytes | None]) -> str:
    return ", ".join(_stamp(path) for path in paths if path is not None)


def _stamp(path: bytes) -> str:
    """Size and times of a file; nothing for one that is not there, or for a path that is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of a name in bytes
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _entry(cells: dict[str, Any]) -> Entry:
    image, mask, landmarks = (
        None if (file := cells.get(name)) is None else Path(os.fsdecode(file)) for name in PATHS
    )
    texts = {name: cells[name] for name in ("label", "group", "kind", "where", "fault")}
    row = Row(Path(image or ""), mask=mask, landmarks=landmarks, clicks=cells.get("clicks") or "", **texts)
    return Entry(cells["id"], partial(row.load, cells["id"]), row.path, row.label, row.group, row.kind)
