"""Which part of an image to explain: one box for all, or a CSV file with one row per image."""

from collections.abc import Callable, Mapping
from pathlib import Path

from xai.core import ConfigError, DataError, UsageError
from xai.data.paths import resolved, shown, written
from xai.data.table import read_csv

Box = tuple[int, int, int, int]
COLUMNS = ("image", "x", "y", "w", "h")


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
    lines = read_csv(path, COLUMNS, "boxes from")
    header = next(lines)
    if missing := [name for name in COLUMNS if name not in header.cells]:
        raise ConfigError(f"{path}: no column {', '.join(missing)}.", "Columns: image,x,y,w,h")
    if header.fault:
        raise ConfigError(f"{path}: {header.fault}.", "Columns: image,x,y,w,h")
    for line in lines:
        where = f"{path}:{line.number}"
        if line.fault is not None:
            raise ConfigError(f"{where}: {line.fault}")
        name = written(path.parent, line.cells["image"])
        name = name.relative_to(path.parent) if name.is_relative_to(path.parent) else name
        if name in boxes:
            raise ConfigError(f"{where}: {shown(name)} is listed twice.", "One box per image.")
        boxes[name] = _box_of(line.cells, where)
    known = {}
    for name, box in boxes.items():
        known |= {resolved(name): box, resolved(path.parent / name): box}

    def box_of(image: Path) -> Box:
        box = known.get(resolved(image)) or boxes.get(Path(image.name))
        if box is None:
            raise DataError(f"{shown(image)}: no box in {path}.", f"Add a row {shown(image.name)},x,y,w,h.")
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
        return parse_box(",".join(row[name] for name in COLUMNS[1:]))
    except UsageError as error:
        raise ConfigError(f"{where}: {error.message}") from None
