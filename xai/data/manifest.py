"""A table of images and what is known of them: CSV or Parquet; columns path, label, mask, group, kind."""

import csv
import importlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from xai.core import ConfigError, DataError, Sample, UsageError, nearest
from xai.data.find import unique_stems
from xai.data.image import read_image
from xai.data.lazy import Entry, LazySamples

COLUMNS = ("path", "label", "mask", "group", "kind")
MAX_LISTED = 5
"""Rows that one message names; the others are counted."""


@dataclass(frozen=True)
class Row:
    """One row of a manifest.

    Args:
        path: The image, relative to the working folder or absolute.
        label: True class name, if given.
        mask: Image of the size of `path` that is white where it was tampered with, if given.
        group: Video, identity or photograph that the image belongs to, if given.
        kind: How the image was manipulated, or `pristine`, if given.
        where: File and line, for messages.
    """

    path: Path
    label: str | None = None
    mask: Path | None = None
    group: str | None = None
    kind: str | None = None
    where: str = ""

    def load(self, id: str) -> Sample:
        """Read the image and its mask.

        Raises:
            DataError: Either cannot be read, or they differ in size.
        """
        image = read_image(self.path)
        mask = None if self.mask is None else np.asarray(read_image(self.mask).convert("L")) >= 128
        if mask is not None and mask.shape != image.size[::-1]:
            raise DataError(
                f"{self.where}: the mask {self.mask} has {mask.shape[1]} × {mask.shape[0]} pixels, "
                f"its image {self.path} {image.width} × {image.height}.",
                "A mask must have the size of its image.",
            )
        return Sample(id, image, self.path, self.label, mask, group=self.group, kind=self.kind)


def read_manifest(path: str | Path) -> list[Row]:
    """Read a manifest; the files it names are looked for but not opened.

    Only the column path is needed. Paths are relative to the manifest's folder; an empty cell: not known.

    Args:
        path: `.csv` (UTF-8, comma, first line names the columns) or `.parquet` (needs pyarrow).

    Raises:
        ConfigError: No such manifest, another format, an unknown or a missing column, an image listed twice.
        DataError: No row, or an image or a mask that does not exist, with the row's number.
    """
    path = Path(path).expanduser()
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise ConfigError(f"{path}: a manifest ends in .csv or .parquet.", f"Columns: {', '.join(COLUMNS)}.")
    rows: list[Row] = []
    lines: dict[Path, str] = {}
    for line, cells in readers[path.suffix.lower()](path):
        row = _row(path, line, cells)
        if (earlier := lines.setdefault(row.path.resolve(), row.where)) != row.where:
            raise ConfigError(f"{row.where}: {row.path} is listed already at {earlier}.", "One row an image.")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no row.", "Write one row an image below the line with the column names.")
    _check_files(rows)
    return rows


def load_samples(rows: Sequence[Row]) -> LazySamples:
    """Samples of the rows, read when asked for; ids are the file names' stems, made unique where shared."""
    names = unique_stems([row.path for row in rows])
    return LazySamples(
        [
            Entry(name, partial(row.load, name), row.path, row.label, row.group, row.kind)
            for row in rows
            for name in [names[row.path]]
        ]
    )


def manifest_csv(rows: Sequence[Row], folder: Path) -> str:
    """CSV that `read_manifest` reads back once it lies in `folder`; paths below that are relative."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        image, mask = ("" if path is None else _relative(path, folder) for path in (row.path, row.mask))
        writer.writerow([image, row.label or "", mask, row.group or "", row.kind or ""])
    return text.getvalue()


def _relative(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path.resolve()).as_posix()


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="")
            _check_columns(path, reader.fieldnames or ())
            for cells in reader:
                if "" in cells:
                    raise ConfigError(
                        f"{path}:{reader.line_num}: more cells than columns.",
                        "A value with a comma needs quotation marks.",
                    )
                yield reader.line_num, {name: cell or "" for name, cell in cells.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"Cannot read the manifest {path}: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow.", "pip install 'vit-xai[bench]', or save it as CSV."
        ) from None
    try:
        table = parquet.read_table(path)
    except Exception as error:  # pyarrow raises whatever the broken bytes make it
        raise ConfigError(f"Cannot read the manifest {path}: {error}") from None
    _check_columns(path, table.column_names)
    for number, cells in enumerate(table.to_pylist(), start=1):
        yield (
            number,
            {name: "" if cell is None or cell != cell else str(cell) for name, cell in cells.items()},
        )


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise ConfigError(f"{path}: unknown column {name!r}.", nearest(name, COLUMNS))
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: a column is there twice.", f"Columns: {', '.join(COLUMNS)}.")
    if "path" not in names:
        raise ConfigError(
            f"{path}: no column 'path'.", f"Columns: {', '.join(COLUMNS)}; only path is needed."
        )


def _row(manifest: Path, line: int, cells: dict[str, str]) -> Row:
    where = f"{manifest}:{line}"
    label, mask, group, kind = (cells.get(name, "").strip() or None for name in COLUMNS[1:])
    if not cells["path"].strip():
        raise ConfigError(f"{where}: no path.", "Each row names an image.")
    image = manifest.parent / Path(cells["path"].strip()).expanduser()
    return Row(image, label, manifest.parent / Path(mask).expanduser() if mask else None, group, kind, where)


def _check_files(rows: Sequence[Row]) -> None:
    missing = [
        f"{row.where}: no such {kind} {path}"
        for row in rows
        for kind, path in (("image", row.path), ("mask", row.mask))
        if path is not None and not path.is_file()
    ]
    if missing:
        more = f"\n… and {len(missing) - MAX_LISTED} more" if len(missing) > MAX_LISTED else ""
        raise DataError(
            "\n".join(missing[:MAX_LISTED]) + more, "Paths are relative to the folder of the manifest."
        )
