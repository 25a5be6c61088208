"""A table of images and what is known of them, CSV or Parquet: label, mask, group, kind, points."""

import csv
import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xai.core import ConfigError, DataError, Sample, UsageError
from xai.core.files import expanded, fault_of, path_from_table, resolved, short_path
from xai.data.find import unique_ids
from xai.data.image import read_turned
from xai.data.mask import DisplaySize, read_mask
from xai.data.points import check_inside, parse_clicks, read_landmarks
from xai.data.samples import Entry, LazySamples
from xai.data.table import LONGEST, TableRow, check_columns, read_csv, read_parquet

FILES = ("path", "mask", "landmarks")
"""Columns that name files."""
COLUMNS = ("path", "label", "mask", "group", "kind", "landmarks", "clicks")
SUFFIXES = (".csv", ".parquet")
MAX_LISTED = 5
"""Rows that one message names; the others are counted."""
Box = tuple[int, int, int, int]
_BOX_COLUMNS = ("image", "x", "y", "w", "h")


@dataclass(frozen=True)
class Row:
    """One row of a manifest.

    Args:
        path: The image, relative to the working folder or absolute.
        label: True class name, if given.
        mask: Image that says which pixels of `path` were tampered with, if given; see `xai.data.mask`. It
            follows the image as it is shown, turned by its EXIF orientation.
        group: Video, identity or photograph that the image belongs to, if given.
        kind: How the image was manipulated, or `pristine`, if given.
        where: File and line, for messages.
        fault: Why the row cannot be used, None if nothing is known against it.
        landmarks: `.npy` with points of the face in pixels of the image as it is shown, if given; see
            `xai.data.points`.
        clicks: `x:y x:y` in the same pixels: where people saw that it was tampered with; empty: not given.
    """

    path: Path
    label: str | None = None
    mask: Path | None = None
    group: str | None = None
    kind: str | None = None
    where: str = ""
    fault: str | None = None
    landmarks: Path | None = None
    clicks: str = ""

    def load(self, id: str) -> Sample:
        """Read the image, its mask and its points.

        Raises:
            DataError: The row has a fault, a file cannot be read, the mask does not say what is inside or
                differs in size, the landmarks are no points of a face, or a click lies outside the image.
        """
        if self.fault is not None:
            raise DataError(f"{self.where}: {self.fault}.")
        image, orientation = read_turned(self.path)
        mask = None
        if self.mask is not None:
            name = f"{self.where}: the mask {short_path(self.mask)}".removeprefix(": ")
            mask = read_mask(self.mask, DisplaySize(image.size, orientation), name)
        landmarks = None if self.landmarks is None else read_landmarks(self.landmarks, self.where)
        clicks = None
        if self.clicks:
            clicks = np.array(parse_clicks(self.clicks))
            check_inside(clicks, image.size, self.where)
        return Sample(
            id,
            image,
            self.path,
            self.label,
            mask,
            group=self.group,
            kind=self.kind,
            landmarks=landmarks,
            clicks=clicks,
        )


def read_manifest(path: str | Path) -> list[Row]:
    """Read a manifest; the files it names are looked for but not opened.

    Only the column path is needed. Paths are relative to the manifest's folder; an empty cell: not known. A
    backslash stands for a slash where only that leads to a file. A row whose files are not there, or whose
    cells hold no paths or texts, keeps its place and has a `fault`; only where all have, it is an error.

    Args:
        path: `.csv` (UTF-8, or UTF-16 with a byte order mark; commas, semicolons or tabs; the first line
            names the columns) or `.parquet` (needs pyarrow).

    Raises:
        ConfigError: No such manifest, another format, an unknown or a missing column, a row with more cells
            than columns or without a path, an image listed twice.
        UsageError: Parquet without pyarrow.
        DataError: No row, or none that can be used, with the rows' numbers.
    """
    path = expanded(path)
    if path.suffix.lower() == ".csv":
        lines = read_csv(path, COLUMNS[:1], "the manifest")
    elif path.suffix.lower() == ".parquet":
        lines = read_parquet(path, FILES, "the manifest", _parquet(path))
    else:
        raise ConfigError(
            f"{short_path(path)}: a manifest ends in .csv or .parquet.", f"Columns: {', '.join(COLUMNS)}."
        )
    check_columns(path, next(lines), COLUMNS)
    rows = list(_rows(path, lines))
    if not rows:
        raise DataError(f"{path}: no row.", "Write one row an image below the line with the column names.")
    faults = [f"{row.where}: {row.fault}" for row in rows if row.fault is not None]
    if len(faults) == len(rows):
        more = f"\n… and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
        raise DataError(
            "\n".join(faults[:MAX_LISTED]) + more, "Paths are relative to the folder of the manifest."
        )
    return rows


def load_samples(rows: Sequence[Row]) -> LazySamples:
    """Samples of the rows, read when asked for; ids are the file names' stems, made unique where shared."""
    names = unique_ids([row.path for row in rows])
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
    used = [name for name in COLUMNS if name in COLUMNS[:5] or any(getattr(row, name) for row in rows)]
    writer.writerow(used)
    for row in rows:
        cells = [getattr(row, name) or "" for name in used]
        writer.writerow([_relative(cell, folder) if isinstance(cell, Path) else cell for cell in cells])
    return text.getvalue()


def _relative(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path.resolve()).as_posix()


def _parquet(path: Path) -> Any:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow.", "pip install 'vit-xai[bench]', or save it as CSV."
        ) from None


def _rows(path: Path, lines: Iterator[TableRow]) -> Iterator[Row]:
    """The rows of the lines, no image twice."""
    earlier: dict[Path, str] = {}
    for line in lines:
        row = _row(path, line)
        if (first := earlier.setdefault(resolved(row.path), row.where)) != row.where:
            raise ConfigError(
                f"{row.where}: {short_path(row.path)} is listed already at {first}.", "One row an image."
            )
        yield row


def _row(manifest: Path, line: TableRow) -> Row:
    where, cells = f"{manifest}:{line.number}", line.cells
    label, group, kind = (cells.get(name, "").strip() or None for name in ("label", "group", "kind"))
    image, clicks = (cells.get(name, "").strip() for name in ("path", "clicks"))
    if not image and line.fault is None:
        raise ConfigError(f"{where}: no path.", "Each row names an image.")
    # nothing lies below a file: the name of a row without a path is no image's
    path = path_from_table(manifest.parent, image) if image else manifest / f"row-{line.number}"
    over, landmarks = (
        path_from_table(manifest.parent, text) if (text := cells.get(name, "").strip()) else None
        for name in ("mask", "landmarks")
    )
    named = {"image": path, "mask": over, "file of landmarks": landmarks}
    faults = [fault for what, file in named.items() for fault in _faults(what, file, line)]
    faults = [line.fault] if line.fault else faults
    try:
        parse_clicks(clicks)
    except ValueError as error:
        faults.append(str(error))
    for name, text in (("label", label), ("group", group), ("kind", kind)):
        if text is not None and len(text) > LONGEST:
            faults.append(f"{len(text)} characters in the column {name}, more than {LONGEST}")
    if faults:
        return Row(
            path, label and label[:LONGEST], None, group and group[:LONGEST], None, where, "; ".join(faults)
        )
    return Row(path, label, over, group, kind, where, None, landmarks, clicks)


def _faults(what: str, path: Path | None, line: TableRow) -> Iterator[str]:
    """What is wrong with a row's image or mask."""
    fault = None if path is None else fault_of(path)
    if fault is None:
        return
    why = ""
    if "\\" in str(path):
        why = " (nor with slashes for its backslashes)"
    elif line.first < line.number:
        why = f" (the row goes over the lines {line.first} to {line.number}: is a quotation mark missing?)"
    fault_text = (
        f"no such {what} {short_path(path)}"
        if fault == "no such file"
        else f"the {what} {short_path(path)}: {fault}"
    )
    yield fault_text + why


def parse_box(text: str) -> Box:
    """Read `x,y,w,h` (left, top, width, height in pixels of the upright image; rounded to whole pixels).

    Raises:
        UsageError: Not four numbers, a negative corner, or an empty box.
    """
    try:
        x, y, w, h = (round(float(part)) for part in text.split(","))
    except (ValueError, OverflowError):
        raise UsageError(f"Box {text!r} is not x,y,w,h.", "Example: --box 40,60,224,224") from None
    if x < 0 or y < 0 or w < 1 or h < 1:
        raise UsageError(f"Box {text!r}: x and y must be ≥ 0, w and h ≥ 1.")
    return x, y, w, h


def read_boxes(path: str | Path) -> Callable[[Path], Box]:
    """Read a CSV file with the columns image, x, y, w, h, in pixels of the upright image.

    Commas, semicolons or tabs; UTF-8, or UTF-16 with a byte order mark. Image names are relative to the CSV
    file's folder or to the working folder; a bare file name also fits an image of that name anywhere.

    Returns:
        A function from image path to its box; DataError for an image without a row.

    Raises:
        ConfigError: Missing or malformed file, a column missing, an image listed twice.
    """
    path = Path(path)
    boxes: dict[Path, Box] = {}
    lines = read_csv(path, _BOX_COLUMNS, "boxes from")
    header = next(lines)
    if missing := [name for name in _BOX_COLUMNS if name not in header.cells]:
        raise ConfigError(f"{path}: no column {', '.join(missing)}.", "Columns: image,x,y,w,h")
    if header.fault:
        raise ConfigError(f"{path}: {header.fault}.", "Columns: image,x,y,w,h")
    for line in lines:
        where = f"{path}:{line.number}"
        if line.fault is not None:
            raise ConfigError(f"{where}: {line.fault}")
        name = path_from_table(path.parent, line.cells["image"])
        name = name.relative_to(path.parent) if name.is_relative_to(path.parent) else name
        if name in boxes:
            raise ConfigError(f"{where}: {short_path(name)} is listed twice.", "One box per image.")
        boxes[name] = _box_of(line.cells, where)
    known = {}
    for name, box in boxes.items():
        known |= {resolved(name): box, resolved(path.parent / name): box}

    def box_of(image: Path) -> Box:
        box = known.get(resolved(image)) or boxes.get(Path(image.name))
        if box is None:
            raise DataError(
                f"{short_path(image)}: no box in {path}.", f"Add a row {short_path(image.name)},x,y,w,h."
            )
        return box

    return box_of


def check_box(box: tuple[float, float, float, float], size: tuple[int, int], name: object) -> None:
    """Raise a DataError unless the box lies inside an image of `size` (width, height)."""
    x, y, w, h = box
    positive = x >= 0 and y >= 0 and w >= 1 and h >= 1  # never of a NaN
    if not (positive and x + w <= size[0] and y + h <= size[1]):
        given = ",".join(f"{side:g}" if abs(side) < 1e15 else "a huge number" for side in box)
        raise DataError(
            f"{name}: the box {given} (x,y,w,h) does not lie inside the image ({size[0]} × {size[1]} pixels)."
        )


def _box_of(row: Mapping[str, str], where: str) -> Box:
    try:
        return parse_box(",".join(row[name] for name in _BOX_COLUMNS[1:]))
    except UsageError as error:
        raise ConfigError(f"{where}: {error.message}") from None
